"""People among the peers: the conversation waits for them, without a slot and without a peer timeout."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from xml_pipeline import HandlerMetadata
from xml_pipeline.agents import Answer, Task
from xml_pipeline.llm import LLMRequest, LLMResponse, ToolCall

from .scenes import Scene, calls, virtual


def asking(whom: str) -> Callable[[LLMRequest], str | LLMResponse]:
    """A model whose `bot` asks `whom`, and whose other agents ask `boss`."""

    def say(request: LLMRequest) -> str | LLMResponse:
        last = request.messages[-1]
        if last["role"] == "tool":
            return f"they said {last['content']}"
        peer = whom if request.agent == "bot" else "boss"
        return calls(ToolCall.of("c", peer, {"text": last["content"]}))

    return say


@virtual
async def test_a_person_answers_a_call_whenever_they_like() -> None:
    scene = Scene(asking("boss"), peers=["boss"], peer_timeout_seconds=5)
    organism = scene.organism
    organism.human("boss", accepts=[Task], description="Decides.")
    async with organism:
        asked = asyncio.create_task(organism.ask("bot", Task("May I?")))
        await asyncio.sleep(600)
        (question,) = organism.questions()
        assert (question.listener, question.payload) == ("boss", Task("May I?"))
        assert organism.status().running == 0
        organism.answer(question.thread_id, Answer("yes"))
        assert await asked == Answer("they said yes")
        assert scene.open_tasks() == 0


@virtual
async def test_a_call_that_leads_to_a_person_waits_as_well() -> None:
    scene = Scene(asking("helper"), peers=["helper"], peer_timeout_seconds=5)
    scene.agent("helper", peers=["boss"], peer_timeout_seconds=5)
    scene.organism.human("boss", accepts=[Task])
    async with scene.organism:
        asked = asyncio.create_task(scene.organism.ask("bot", Task("May I?")))
        await asyncio.sleep(600)
        scene.organism.answer(scene.organism.questions()[0].thread_id, Answer("yes"))
        assert await asked == Answer("they said they said yes")


@virtual
async def test_a_peer_that_may_ask_a_person_and_hangs_is_given_up_all_the_same() -> None:
    scene = Scene(asking("helper"), peers=["helper"], peer_timeout_seconds=5)
    scene.organism.human("boss", accepts=[Task])

    @scene.organism.listener(peers=["boss"])
    async def helper(payload: Task, metadata: HandlerMetadata) -> None:
        await asyncio.Event().wait()

    async with scene.organism:
        answer = await scene.organism.ask("bot", Task("May I?"), timeout=60)
        assert "no answer in time" in answer.text
