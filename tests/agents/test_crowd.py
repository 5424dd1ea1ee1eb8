"""A thousand conversations at once over a team of five: all answered, all charged, nothing kept."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict

from xml_pipeline.agents import Answer, Task
from xml_pipeline.events import LLMCalled, ThreadOpened
from xml_pipeline.llm import LLMRequest, LLMResponse, ToolCall, Usage
from xml_pipeline.testing import Recorder

from .scenes import Scene, calls, virtual

CONVERSATIONS = 1000
SPECIALISTS = ("researcher", "analyst", "writer", "critic")


def say(request: LLMRequest) -> LLMResponse:
    """The manager asks all specialists at once, and quotes what they said."""
    last = request.messages[-1]
    usage = Usage(len(str(request.messages)), len(request.agent))
    if request.agent != "bot":
        return LLMResponse(f"{request.agent} on {last['content']}", "m", usage=usage)
    if last["role"] == "user":
        asked = calls(
            *(ToolCall.of(f"c-{name}", name, {"text": str(last["content"])}) for name in SPECIALISTS)
        )
        asked.usage = usage
        return asked
    results = [str(message["content"]) for message in request.messages if message["role"] == "tool"]
    return LLMResponse("; ".join(results), "m", usage=usage)


@virtual
async def test_a_thousand_conversations_at_once() -> None:
    scene = Scene(say, peers=SPECIALISTS)
    for name in SPECIALISTS:
        scene.agent(name)
    organism = scene.organism
    recorder = Recorder(organism)
    async with organism:
        answers = await asyncio.gather(
            *(organism.ask("bot", Task(f"case {n}")) for n in range(CONVERSATIONS))
        )
        assert answers == [
            Answer("; ".join(f"{name} on case {n}" for name in SPECIALISTS)) for n in range(CONVERSATIONS)
        ]
        assert not scene.memories()
        status = organism.status()
        assert (status.in_flight, status.running, status.threads, status.conversations) == (0, 0, 0, 0)
        assert status.dead_letters == 0
    check_accounts(scene, recorder)


def check_accounts(scene: Scene, recorder: Recorder) -> None:
    """What the router says was used is what the calls used, by agent, thread and conversation."""
    router = scene.organism.router
    by_agent: Counter[str] = Counter()
    by_thread: dict[str, int] = defaultdict(int)
    by_conversation: dict[str, int] = defaultdict(int)
    for called in recorder.of(LLMCalled):
        tokens = called.prompt_tokens + called.completion_tokens
        by_agent[called.agent] += tokens
        by_thread[called.thread_id] += tokens
        by_conversation[called.conversation_id] += tokens
    usage = router.get_all_usage()
    assert {name: totals.total_tokens for name, totals in usage.items()} == by_agent
    assert usage["bot"].request_count == 2 * CONVERSATIONS
    assert all(usage[name].request_count == CONVERSATIONS for name in SPECIALISTS)
    assert len(by_conversation) == CONVERSATIONS
    for conversation, tokens in by_conversation.items():
        assert router.get_conversation_usage(conversation).total_tokens == tokens
    for opened in recorder.of(ThreadOpened):
        top = opened.listener == "bot"
        expected = by_conversation[opened.conversation_id] if top else by_thread[opened.thread_id]
        assert router.get_thread_usage(opened.thread_id).total_tokens == expected
    assert router.get_total_usage().total_tokens == sum(by_agent.values())
