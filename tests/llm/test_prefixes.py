"""Beginnings of prompts that Gemini stores by name: made once, named, kept, deleted, paid. No call fails for them."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.emulators import Answer, Fail, Failure
from tests.emulators.gemini import GeminiEmulator
from tests.journal.test_recovery import came_to
from tests.llm.callers import Handler, running
from xml_pipeline.errors import BudgetExceededError
from xml_pipeline.events import Event, LLMCalled
from xml_pipeline.journal.file import read_only
from xml_pipeline.journal.ledger_file import LedgerFile
from xml_pipeline.journal.spending import Span, calls
from xml_pipeline.llm import Budget, Budgets, LLMResponse, Price, Router, StreamEnd, Timeouts, ToolSpec
from xml_pipeline.llm.completion import Clock
from xml_pipeline.llm.providers.gemini import GeminiBackend

MODEL = "gemini-3.5-flash"
RULES = {"role": "system", "content": "Rules of the house. " * 1500}
OTHER_RULES = {"role": "system", "content": "Other rules there. " * 1500}
ADD = ToolSpec("add", "Adds two numbers.")
PRICE = Price(input=2, output=8, cached=0.2, cache_storage=3)


@dataclass
class House:
    """A router with one Gemini backend, and the time of both."""

    server: GeminiEmulator
    router: Router
    time: list[float]
    events: list[Event] = field(default_factory=list)

    async def ask(
        self, text: str = "Go on.", *, rules: Any = RULES, thread: str = "t1", **options: Any
    ) -> LLMResponse:
        """A turn of a session."""
        messages = [rules, {"role": "user", "content": text}]
        options = {"tools": [ADD], "cache_prompt": True, "changing": 1, "max_tokens": 50, **options}
        with running(Handler("writer", thread, f"c {thread}")):
            return await self.router.complete(MODEL, messages, **options)

    def sent(self, method: str = "POST") -> list[Any]:
        """What was asked of `cachedContents`."""
        asked = self.server.requests
        return [each for each in asked if "cachedContents" in each.path and each.method == method]

    @property
    def named(self) -> list[str]:
        """Which name each completion carried, "" for none."""
        found = [each.body for each in self.server.requests if ":" in each.path]
        for body in found:
            assert ("cachedContent" in body) == ("systemInstruction" not in body)
        return [body.get("cachedContent", "") for body in found]


@asynccontextmanager
async def house(ledger: Path | None = None, **options: Any) -> AsyncIterator[House]:
    async with GeminiEmulator() as server:
        time = [
            float(int(asyncio.get_running_loop().time()))
        ]  # of the same order: a stream's watchdog compares
        server.clock = lambda: time[0]
        events: list[Event] = []
        backend = GeminiBackend(base_url=f"{server.origin}/v1beta", api_key=server.key, cached_content=True)
        router = Router(
            [backend],
            clock=Clock(monotonic=lambda: time[0], wall=lambda: 1_790_000_000 + time[0]),
            on_event=events.append,
            retries=0,
            **{"prices": {MODEL: PRICE}, "ledger": None if ledger is None else LedgerFile(ledger), **options},
        )
        async with router:
            yield House(server, router, time, events)
        refused = [each for each in server.requests if each.outcome == "refused" and ":" in each.path]
        assert all("cachedContent" in each.body for each in refused)


async def test_a_session_stores_its_beginning_once_and_names_it_from_then_on() -> None:
    async with house() as at:
        answers = [await at.ask(f"turn {number}") for number in range(3)]
        (made,) = at.sent()
        assert made.body["model"] == f"models/{MODEL}"
        assert made.body["ttl"] == "300s"
        assert made.body["systemInstruction"]["parts"] == [{"text": RULES["content"]}]
        assert made.body["tools"][0]["functionDeclarations"][0]["name"] == "add"
        (name,) = at.server.cached
        assert at.named == [name] * 3
        tokens = at.server.cached[name].tokens
        assert [answer.usage["cached_tokens"] for answer in answers] == [tokens] * 3
    assert [each.path for each in at.sent("DELETE")] == [f"/v1beta/{name}"]
    assert at.server.cached == {}


async def test_it_is_stored_for_an_hour_where_the_call_says_so() -> None:
    async with house() as at:
        await at.ask(cache_ttl="1h")
        assert at.sent()[0].body["ttl"] == "3600s"


async def test_streams_name_it_too() -> None:
    async with house() as at:
        messages = [RULES, {"role": "user", "content": "Go on."}]
        for _ in range(2):
            async with aclosing(at.router.stream(MODEL, messages, cache_prompt=True)) as events:
                last = [event async for event in events][-1]
            assert isinstance(last, StreamEnd)
            assert last.usage.cached_tokens
        assert at.named == list(at.server.cached) * 2
        at.server.cached.clear()
        async with aclosing(at.router.stream(MODEL, messages, cache_prompt=True)) as events:
            assert [event async for event in events]
        assert at.named[-1] == ""
        assert at.router.get_total_usage().failure_count == 0


@pytest.mark.parametrize(
    "options",
    [
        {"cache_prompt": False},
        {"rules": {"role": "system", "content": "Be short."}},
        {"tool_choice": "required"},
        {"extra": {"toolConfig": {"functionCallingConfig": {"mode": "NONE"}}}},
    ],
    ids=["a one-shot", "a short beginning", "a call that must call", "a call with its own"],
)
async def test_what_is_not_worth_it_is_not_stored(options: dict[str, Any]) -> None:
    async with house() as at:
        for _ in range(3):
            await at.ask(**options)
        assert at.sent() == []
        assert at.named == [""] * 3


async def test_what_is_read_for_no_less_is_not_stored() -> None:
    async with house(prices={MODEL: Price(input=2, output=8)}) as at:
        await at.ask()
        assert at.sent() == []


async def test_who_does_not_ask_for_it_stores_nothing() -> None:
    async with GeminiEmulator() as server:
        backend = GeminiBackend(base_url=f"{server.origin}/v1beta", api_key=server.key)
        async with Router([backend]) as router:
            await router.complete(MODEL, [RULES, {"role": "user", "content": "x"}], cache_prompt=True)
        assert [":" in each.path for each in server.requests] == [True]


async def test_calls_that_begin_together_share_one() -> None:
    async with house() as at:
        gate = asyncio.Event()
        at.server.caching.then(Answer(gate=gate))
        asking = [asyncio.create_task(at.ask(thread=f"t{number}")) for number in range(8)]
        await came_to(lambda: len(at.sent()) == 1)
        gate.set()
        await asyncio.gather(*asking)
        assert len(at.sent()) == 1
        assert at.named == list(at.server.cached) * 8


async def test_a_caller_that_leaves_ends_nothing_for_the_others() -> None:
    async with house() as at:
        gate = asyncio.Event()
        at.server.caching.then(Answer(gate=gate))
        first, second = asyncio.create_task(at.ask()), asyncio.create_task(at.ask(thread="t2"))
        await came_to(lambda: len(at.sent()) == 1)
        first.cancel()
        assert isinstance((await asyncio.gather(first, return_exceptions=True))[0], asyncio.CancelledError)
        gate.set()
        await second
        assert len(at.sent()) == 1
        assert at.named == list(at.server.cached)


async def test_nobody_waits_long_for_it() -> None:
    async with house(timeouts=Timeouts(attempt=0.2)) as at:
        gate = asyncio.Event()
        at.server.caching.then(Answer(gate=gate))
        assert (await at.ask()).attempts[0].error == ""
        await at.ask(thread="t2")  # and no second one waits at all
        assert at.named == ["", ""]
        gate.set()
        await came_to(lambda: len(at.server.cached) == 1)
        await came_to(lambda: at.router.get_total_usage().cache_write_tokens > 0)
        await at.ask()
        assert at.named[-1] in at.server.cached


async def test_each_key_has_its_own() -> None:
    async with house() as at:
        await at.ask()
        (backend,) = at.router.backends.values()
        at.server.key = "AIzaAnother0123456789abcdefghijklmnopqrs"
        backend.take_key(at.server.key)
        await at.ask()
        assert len(at.sent()) == 2
        assert len(set(at.named)) == 2


async def test_it_is_kept_longer_while_it_is_read() -> None:
    async with house() as at:
        await at.ask()
        at.time[0] += 200
        await at.ask()
        assert at.sent("PATCH") == []
        at.time[0] += 50
        await at.ask()
        await came_to(lambda: [each.outcome for each in at.sent("PATCH")] == ["answered"])
        (patched,) = at.sent("PATCH")
        assert (patched.body, patched.query) == ({"ttl": "300s"}, {"updateMask": "ttl"})
        at.time[0] += 200  # beyond its first end
        await at.ask()
        assert len(at.sent()) == 1
        assert at.named == list(at.server.cached) * 4


async def test_what_has_expired_is_stored_anew() -> None:
    async with house() as at:
        await at.ask()
        at.time[0] += 299
        await at.ask()
        assert len(at.sent()) == 2
        assert len(set(at.named)) == 2


@pytest.mark.parametrize(
    "refusal",
    [
        None,
        Fail(Failure.NO_MODEL),
        Fail(Failure.BAD_REQUEST, body=b'{"error": {"code": 400, "message": "Cache content 7 is expired."}}'),
    ],
    ids=["403", "404", "400"],
)
async def test_a_name_that_is_gone_is_left_out_in_the_same_try(refusal: Fail | None) -> None:
    async with house() as at:
        await at.ask()
        if refusal is None:
            at.server.cached.clear()
        else:
            at.server.script.then(refusal)
        answer = await at.ask()
        assert [attempt.error for attempt in answer.attempts] == [""]
        assert at.named[1:] == [at.named[0], ""]
        await at.ask()  # not paid anew at once, lest it is lost each time
        assert len(at.sent()) == 1
        at.time[0] += 61
        await at.ask()
        assert len(at.sent()) == 2
        assert at.router.get_total_usage().failure_count == 0


async def test_a_refusal_that_has_another_reason_is_told() -> None:
    async with house() as at:
        await at.ask()
        at.server.script.fail(Failure.BAD_REQUEST)
        with pytest.raises(Exception, match="contents is not specified"):
            await at.ask()
        assert len(at.named) == 2
        await at.ask()
        assert at.named[-1] == at.named[0]


@pytest.mark.parametrize(
    ("failure", "outcome"),
    [
        (Fail(Failure.RATE), "failed"),
        (Fail(Failure.INTERNAL), "failed"),
        (Fail(Failure.FORBIDDEN), "failed"),
    ],
    ids=["429", "500", "403"],
)
async def test_what_cannot_be_stored_is_told_once_and_fails_no_call(
    failure: Fail, outcome: str, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    async with house(tmp_path / "usage.db") as at:
        at.server.caching.then(failure, failure)
        with caplog.at_level(logging.WARNING, "xml_pipeline.llm"):
            for _ in range(3):
                await at.ask()
            at.time[0] += 61
            await at.ask()
        assert [each.outcome for each in at.sent()] == [outcome] * 2
        assert at.named == [""] * 4
        told = [record.getMessage() for record in caplog.records]
        assert len(told) == 1
        assert told[0].startswith(
            f"gemini does not store the beginning of prompts to {MODEL}; calls go on without"
        )
        assert at.server.key not in told[0]
        at.time[0] += 61
        await at.ask()
        assert at.named[-1]
    rows = [row for row in written(tmp_path / "usage.db") if row.outcome in ("failed", "stored")]
    assert [(row.outcome, row.confirmed) for row in rows] == [
        ("failed", True),
        ("failed", True),
        ("stored", True),
    ]
    assert [row.prompt for row in rows[:2]] == [0, 0]


async def test_a_session_that_begins_otherwise_deletes_what_only_it_had() -> None:
    async with house() as at:
        await at.ask()
        first = at.named[0]
        await at.ask(rules=OTHER_RULES)
        await came_to(lambda: [each.path for each in at.sent("DELETE")] == [f"/v1beta/{first}"])
        assert len(at.sent()) == 1  # whoever has moved once may move each time
        await at.ask(rules=OTHER_RULES)
        assert len(at.sent()) == 2
        assert at.named[-1] in at.server.cached


async def test_a_session_that_goes_to_and_fro_stores_nothing_more() -> None:
    async with house() as at:
        for _ in range(4):
            await at.ask(rules=RULES)
            await at.ask(rules=OTHER_RULES)
        assert len(at.sent()) == 1


async def test_sessions_share_it_and_none_takes_it_from_another() -> None:
    async with house() as at:
        await at.ask(thread="t1")
        await at.ask(thread="t2")
        await at.ask(thread="t1", rules=OTHER_RULES)
        at.router.forget_thread("t2")  # its time is paid: whoever comes next reads it
        await at.ask(thread="t3")
        assert len(at.sent()) == 1
        assert at.sent("DELETE") == []
        assert at.named == [at.named[0], at.named[0], "", at.named[0]]


async def test_closing_deletes_also_what_is_being_stored() -> None:
    async with house() as at:
        gate = asyncio.Event()
        at.server.caching.then(Answer(gate=gate))
        asking = asyncio.create_task(at.ask())
        await came_to(lambda: len(at.sent()) == 1)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        gate.set()
        await at.router.aclose()
        assert at.server.cached == {}
        assert len(at.sent("DELETE")) == 1


async def test_a_deletion_that_fails_is_nobodys_trouble() -> None:
    async with house() as at:
        await at.ask()
        at.server.caching.fail(Failure.INTERNAL)


def written(path: Path) -> list[Any]:
    with closing(read_only(path)) as ledger:
        return calls(ledger, Span(), most=100)


async def test_storing_is_counted_to_the_micro_dollar(tmp_path: Path) -> None:
    path = tmp_path / "usage.db"
    async with house(path) as at:
        answers = [await at.ask() for _ in range(2)]
        tokens = next(iter(at.server.cached.values())).tokens
        at.time[0] += 250
        await at.ask()
        await came_to(lambda: [each.outcome for each in at.sent("PATCH")] == ["answered"])
        await came_to(lambda: at.router.get_total_usage().known_cost > 3 * (answers[0].cost or 0))
        usage = at.router.get_agent_usage("writer")
        await came_to(lambda: len(written(path)) == 5)
    (begun, *_), rows = written(path), {row.number: row for row in written(path)}
    assert begun.outcome in ("answered", "stored")
    stored = [row for row in rows.values() if row.outcome == "stored"]
    made, kept = stored
    assert (made.agent, made.conversation, made.thread) == ("writer", "c t1", "t1")
    assert (made.prompt, made.cache_write, made.output, made.estimated) == (tokens, tokens, 0, False)
    assert made.micro_usd == 2 * tokens + -(-3 * tokens * 300 // 3600)
    assert (kept.prompt, kept.micro_usd) == (0, -(-3 * tokens * 250 // 3600))
    assert {row.priced_as for row in rows.values()} == {MODEL}
    assert usage.request_count == 3
    assert usage.cache_write_tokens == tokens
    assert round(usage.known_cost * 1e6) == sum(row.micro_usd for row in rows.values())
    assert usage.prompt_tokens == sum(row.prompt for row in rows.values())
    told = [event for event in at.events if isinstance(event, LLMCalled)]
    assert round(sum(event.cost or 0 for event in told) * 1e6) == round(usage.known_cost * 1e6)
    assert sum(event.ended for event in told) == 3


async def test_storage_of_unknown_price_is_named(tmp_path: Path) -> None:
    path = tmp_path / "usage.db"
    async with house(path, prices={MODEL: Price(input=2, output=8, cached=0.2)}) as at:
        await at.ask()
    (made,) = (row for row in written(path) if row.outcome == "stored")
    assert made.priced_as == f"{MODEL} (storage unknown)"
    assert made.micro_usd == 2 * made.prompt


async def test_a_usd_budget_stores_nothing_of_unknown_price(caplog: pytest.LogCaptureFixture) -> None:
    budgets = Budgets(organism=[Budget(usd=100)])
    async with house(budgets=budgets, prices={MODEL: Price(input=2, output=8, cached=0.2)}) as at:
        with caplog.at_level(logging.WARNING, "xml_pipeline.llm"):
            await at.ask()
        assert at.sent() == []
        assert "write it as cache_storage under llm.prices" in caplog.text


@pytest.mark.parametrize("unit", ["usd", "tokens", "input_tokens"])
async def test_no_budget_is_passed_by_storing(unit: str) -> None:
    """There is room for the call, and none for what it would have stored."""
    limit = 0.1 if unit == "usd" else 45_000
    async with house(budgets=Budgets(organism=[Budget(**{unit: limit})])) as at:
        await at.ask()
        assert at.sent() == []
        assert at.router.get_total_usage().request_count == 1


async def test_budgets_count_what_was_stored() -> None:
    budgets = Budgets(organism=[Budget(input_tokens=150_000)])
    async with house(budgets=budgets) as at:
        await at.ask()
        tokens = next(iter(at.server.cached.values())).tokens
        spent = at.router.get_total_usage().prompt_tokens
        assert spent > 2 * tokens
        with pytest.raises(BudgetExceededError) as refused:
            await asyncio.gather(*(at.ask() for _ in range(20)))
        assert refused.value.spent == at.router.get_total_usage().prompt_tokens


async def test_a_session_that_fails_over_has_one_at_each_place() -> None:
    async with GeminiEmulator() as one, GeminiEmulator() as two:
        backends = [
            GeminiBackend(
                name=name,
                base_url=f"{server.origin}/v1beta",
                api_key=server.key,
                cached_content=True,
                priority=place,
            )
            for place, (name, server) in enumerate({"a": one, "b": two}.items())
        ]
        one.script.say("first").fail(Failure.INTERNAL)
        async with Router(backends, retries=1, retry_base_delay=0.001, retry_max_delay=0.001) as router:
            with running(Handler("writer")):
                for _ in range(3):
                    await router.complete(MODEL, [RULES, {"role": "user", "content": "x"}], cache_prompt=True)
            stored = [
                [each.path for each in server.requests if "cached" in each.path] for server in (one, two)
            ]
        assert stored == [["/v1beta/cachedContents"]] * 2
        assert (one.cached, two.cached) == ({}, {})


@pytest.mark.parametrize("name", [None, "cachedContents/../models/x", "models/x", 7])
async def test_a_name_that_is_none_is_not_used(name: object) -> None:
    """It would go into a path, with the key."""
    async with house() as at:
        body = json.dumps({"name": name}).encode()
        at.server.caching.then(Fail(Failure.INTERNAL, status=200, body=body))
        await at.ask()
        assert at.named == [""]
    assert {each.method for each in at.server.requests} == {"POST"}
