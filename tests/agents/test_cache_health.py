"""A prompt cache that collapses between two turns is told, with the reason and with what moved."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pytest

from tests.emulators import Answer as Written
from tests.emulators import OpenAIEmulator
from tests.emulators.anthropic import AnthropicEmulator
from xml_pipeline import HandlerMetadata, HandlerResponse, Organism, xmlify
from xml_pipeline.events import CacheCollapsed, Event
from xml_pipeline.llm import LLMRequest, LLMResponse, Router, Usage, complete
from xml_pipeline.llm.completion import Clock
from xml_pipeline.llm.http.backend import Backend
from xml_pipeline.llm.providers.anthropic import AnthropicBackend
from xml_pipeline.llm.providers.openai import OpenAIBackend

RULES = {"role": "system", "content": "rules " * 1000}
MODEL = "claude-sonnet-5"


@xmlify
@dataclass
class Go:
    text: str


@xmlify
@dataclass
class Gone:
    text: str


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def said(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


FIRST = [RULES, user("one " * 500)]
SECOND = [*FIRST, said("two"), user("three")]
THIRD = [*SECOND, said("four"), user("five")]
WROTE = Written("Yes.", cache_write_tokens=1500)
READ = Written("Yes.", cached_tokens=1500)
NOTHING = Written("Yes.")


@dataclass
class Silent(Backend):
    """Counts its first answer, and no other."""

    provider: str = "silent"
    counts: list[Usage] = field(default_factory=lambda: [Usage(2000, 5, cache_write_tokens=1500)])
    offline: ClassVar[bool] = True

    async def _do_completion(self, client: Any, request: LLMRequest) -> LLMResponse:
        return LLMResponse("an answer", request.model, self.counts.pop() if self.counts else Usage())


@dataclass
class Talk:
    """A handler that asks one thing after the other, in one thread."""

    turns: list[list[dict[str, Any]]]
    options: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    now: float = 1000.0
    told: list[Event] = field(default_factory=list)
    models: tuple[str, ...] = ()

    async def handler(self, payload: Go, metadata: HandlerMetadata) -> HandlerResponse:
        for number, messages in enumerate(self.turns):
            model = self.models[number] if self.models else MODEL
            options = {"cache_prompt": True, "changing": 0, "max_tokens": 50, **self.options}
            await complete(model, messages, **options)
            self.now += self.seconds
        return HandlerResponse.respond(Gone("done"))

    async def over(self, *backends: Backend, **options: Any) -> list[CacheCollapsed]:
        router = Router(
            backends, retries=0, on_event=self.told.append, clock=Clock(monotonic=lambda: self.now), **options
        )
        made = Organism.build(router=router)
        made.listener(self.handler, name="talker", accepts=[Go])
        async with made:
            await made.ask("talker", Go("x"), timeout=20)
        return [event for event in self.told if isinstance(event, CacheCollapsed)]


async def collapses(talk: Talk, *answers: Written, **keys: Any) -> list[tuple[str, str]]:
    async with AnthropicEmulator() as server:
        server.script.then(*answers)
        backend = AnthropicBackend(base_url=server.base_url, api_key=server.key, **keys)
        return [(event.reason, event.part) for event in await talk.over(backend)]


async def test_turns_that_read_what_was_left_say_nothing() -> None:
    assert await collapses(Talk([FIRST, SECOND, THIRD]), WROTE, READ, READ) == []


async def test_nothing_is_expected_where_nothing_was_left() -> None:
    assert await collapses(Talk([FIRST, SECOND, THIRD]), NOTHING, NOTHING, NOTHING) == []


async def test_a_collapse_says_who_what_and_how_much(caplog: pytest.LogCaptureFixture) -> None:
    talk = Talk([FIRST, SECOND])
    async with AnthropicEmulator() as server:
        server.script.then(WROTE, NOTHING)
        backend = AnthropicBackend(name="claude", base_url=server.base_url, api_key=server.key)
        with caplog.at_level(logging.WARNING, "xml_pipeline.llm"):
            (event,) = await talk.over(backend)
    assert (event.agent, event.backend, event.model) == ("talker", "claude", MODEL)
    assert event.thread_id
    assert event.conversation_id
    assert (event.expected_tokens, event.cached_tokens) == (1500, 0)
    (line,) = [record.getMessage() for record in caplog.records if "prompt cache" in record.getMessage()]
    assert line == (
        "the prompt cache collapsed (unexpected): talker read 0 of 1500 tokens that the turn before left with claude"
    )


@pytest.mark.parametrize(
    ("second", "part"),
    [
        ([{**RULES, "content": "It is noon. " + RULES["content"]}, *SECOND[1:]], "messages[0]"),
        ([RULES, user("another one " * 500), *SECOND[2:]], "messages[1]"),
    ],
    ids=["the system prompt", "a message"],
)
async def test_the_first_part_that_moved_is_named(second: list[dict[str, Any]], part: str) -> None:
    assert await collapses(Talk([FIRST, second]), WROTE, NOTHING) == [("unexpected", part)]


@pytest.mark.parametrize(
    ("third", "part"),
    [
        ([RULES, *THIRD[3:]], "messages[1]"),
        ([RULES, user("one … (shortened)"), *THIRD[2:]], "messages[1]"),
    ],
    ids=["left out", "shortened"],
)
async def test_a_shorter_history_is_compacted(third: list[dict[str, Any]], part: str) -> None:
    assert await collapses(Talk([FIRST, SECOND, third]), WROTE, READ, NOTHING) == [("compacted", part)]


@pytest.mark.parametrize(
    ("ttl", "seconds", "reason"),
    [
        ("5m", 290, "unexpected"),
        ("5m", 310, "ttl_expired"),
        ("1h", 310, "unexpected"),
        ("1h", 3700, "ttl_expired"),
    ],
)
async def test_a_turn_that_comes_too_late_finds_nothing(ttl: str, seconds: float, reason: str) -> None:
    talk = Talk([FIRST, SECOND], seconds=seconds)
    assert await collapses(talk, WROTE, NOTHING, cache_ttl=ttl) == [(reason, "")]


async def test_another_backend_has_another_cache() -> None:
    talk = Talk([FIRST, SECOND])
    async with AnthropicEmulator() as server, OpenAIEmulator() as other:
        server.script.then(WROTE)
        first = AnthropicBackend(name="a", base_url=server.base_url, api_key=server.key, rate_limit_rpm=1)
        second = OpenAIBackend(
            name="b", base_url=other.base_url, api_key=other.key, supported_models=["gpt-4o"]
        )
        found = await talk.over(first, second, models={MODEL: ["claude-opus-5", "gpt-4o"]})
    assert [(event.reason, event.part, event.backend) for event in found] == [("unknown", "", "b")]


async def test_who_asks_for_no_cache_is_told_of_none() -> None:
    assert await collapses(Talk([FIRST, SECOND], {"cache_prompt": False}), WROTE, NOTHING) == []


async def test_what_was_said_to_change_may_change() -> None:
    turns = [[*FIRST, user("noon")], [*FIRST, user("one o'clock")]]
    assert await collapses(Talk(turns, {"changing": 1}), WROTE, NOTHING) == [("unexpected", "")]


async def test_a_mark_that_wanders_moves_nothing() -> None:
    marked = [*FIRST[:-1], {**FIRST[-1], "cache_control": {"type": "ephemeral"}}]
    assert await collapses(Talk([marked, SECOND]), WROTE, NOTHING) == [("unexpected", "")]


async def test_a_provider_that_counts_nothing_leaves_it_unreported() -> None:
    """Its answer has no usage at all, so nobody can tell whether the cache was read: it is not called a fault."""
    talk = Talk([FIRST, SECOND])
    (event,) = await talk.over(Silent(supported_models=[MODEL]))
    assert (event.reason, event.part, event.expected_tokens, event.cached_tokens) == (
        "unreported",
        "",
        1500,
        0,
    )
