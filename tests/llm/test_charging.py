"""What was sent and received is charged on every path, and says whether it was counted or estimated."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from tests.emulators.openai import OpenAIEmulator
from tests.emulators.script import Answer, Choice, Fail, Failure, Fault, Place, Recorded, Script, Step
from tests.emulators.server import closed_port, count_tokens
from tests.llm.callers import answered
from tests.llm.test_streaming import END, Playing
from xml_pipeline.errors import BackendError, BudgetExceededError, ConnectionFailedError
from xml_pipeline.events import Event, LLMCalled
from xml_pipeline.llm import (
    Budget,
    Budgets,
    LLMRequest,
    LLMResponse,
    Price,
    ReasoningDelta,
    Router,
    StreamEnd,
    StreamEvent,
    TextDelta,
    Timeouts,
    ToolCallDelta,
    Usage,
    UsageTotals,
)
from xml_pipeline.llm.accounting.budgets import Most
from xml_pipeline.llm.accounting.usage import Charge
from xml_pipeline.llm.http.backend import Backend
from xml_pipeline.llm.providers.openai import OpenAIBackend
from xml_pipeline.llm.providers.scripted import Rule, ScriptedBackend
from xml_pipeline.llm.types import StreamOpened, UsageReport
from xml_pipeline.testing import run_in_virtual_time

LONG = "many words of a long answer " * 40
PRICES = {"*": Price(input=1.0, output=2.0)}


@dataclass
class Books:
    """What one router wrote down, in all the places where it writes."""

    router: Router
    told: list[LLMCalled] = field(default_factory=list)

    @property
    def totals(self) -> UsageTotals:
        return self.router.get_total_usage()

    def meters(self) -> list[Any]:
        return self.router._book.meters(Charge())

    def agree(self) -> None:
        """Budgets, totals and events tell the same, and nothing is held."""
        totals, (tokens, money) = self.totals, self.meters()
        assert tokens.reserved == money.reserved == 0
        assert tokens.spent == totals.total_tokens + totals.unconfirmed_tokens
        assert tokens.spent == sum(one.prompt_tokens + one.completion_tokens for one in self.told)
        unconfirmed = sum(one.prompt_tokens + one.completion_tokens for one in self.told if not one.confirmed)
        assert unconfirmed == totals.unconfirmed_tokens
        assert money.spent == pytest.approx(sum(one.cost or 0 for one in self.told) * 1e6, abs=2)
        guessed = sum(
            one.prompt_tokens + one.completion_tokens for one in self.told if one.estimated and one.confirmed
        )
        assert guessed == totals.estimated_tokens
        for status in self.router.describe():
            assert (status.in_flight, status.waiting) == (0, 0)


def booked(*backends: Backend, **settings: Any) -> Books:
    books: list[Books] = []

    def note(event: Event) -> None:
        if isinstance(event, LLMCalled):
            books[0].told.append(event)

    settings.setdefault("retries", 0)
    budgets = Budgets(organism=[Budget(tokens=100_000, usd=1.0)])
    books.append(Books(Router(backends, prices=PRICES, budgets=budgets, on_event=note, **settings)))
    return books[0]


@asynccontextmanager
async def served(*steps: Choice, **settings: Any) -> AsyncIterator[tuple[OpenAIEmulator, Books]]:
    async with OpenAIEmulator(Script(*steps)) as server:
        books = booked(OpenAIBackend(base_url=server.base_url, api_key=server.key), **settings)
        async with books.router:
            yield server, books


async def read(router: Router, leave_after: int | None = None, **options: Any) -> str:
    """All text of a stream that comes, until it ends, breaks or has been left."""
    text = ""
    try:
        async with aclosing(router.stream("gpt-4o", "a question", max_tokens=2000, **options)) as events:
            async for event in events:
                if isinstance(event, TextDelta):
                    text += event.text
                    if leave_after is not None and len(text) >= leave_after:
                        break
    except BackendError:
        pass
    return text


# Streams that broke off


@pytest.mark.parametrize(
    "step",
    [
        Answer(LONG, fault=Fault.DROPPED, after=100),
        Answer(LONG, fault=Fault.TRUNCATED, after=100),
        Answer(LONG, fault=Fault.NO_END, after=100),
        Answer(LONG, fault=Fault.STALL, after=100),
        Fail(Failure.OVERLOADED, place=Place.STREAM, after=3),
    ],
    ids=lambda step: str(getattr(step, "fault", "error inside")),
)
async def test_a_stream_that_breaks_off_is_charged_for_what_came(step: Step) -> None:
    async with served(step, timeouts=Timeouts(idle=0.2)) as (_, books):
        text = await read(books.router)
        totals = books.totals
        assert text
        assert totals.completion_tokens >= count_tokens(text)
        assert totals.completion_tokens <= 2 * count_tokens(text) + 2
        assert totals.prompt_tokens > 0
        assert totals.estimated_tokens == totals.total_tokens
        assert (totals.request_count, totals.failure_count, totals.unconfirmed_tokens) == (0, 1, 0)
        assert totals.known_cost > 0
        charged, end = books.told
        assert (charged.estimated, charged.confirmed, charged.ended) == (True, True, False)
        assert (end.prompt_tokens, end.completion_tokens, end.ended) == (0, 0, True)
        books.agree()


async def test_a_consumer_that_leaves_is_charged_for_what_came() -> None:
    async with served(Answer(LONG)) as (_, books):
        text = await read(books.router, leave_after=300)
        totals = books.totals
        assert totals.completion_tokens >= count_tokens(text)
        assert (totals.request_count, totals.failure_count) == (1, 0)
        assert totals.estimated_tokens == totals.total_tokens
        (event,) = books.told
        assert (event.error, event.estimated, event.confirmed, event.ended) == ("Dropped", True, True, True)
        books.agree()


async def test_a_stream_that_reaches_its_deadline_is_charged_for_what_came() -> None:
    async with served(Answer(LONG, fault=Fault.STALL, after=100)) as (_, books):
        text = await read(books.router, timeout=0.3)
        assert books.totals.completion_tokens >= count_tokens(text) > 0
        books.agree()


def streaming(*play: StreamEvent | float | Exception) -> Books:
    return booked(Playing("a", *play))


@pytest.mark.parametrize("broken", [ConnectionFailedError("gone"), None])
def test_the_providers_count_comes_first(broken: Exception | None) -> None:
    """Each piece with its count, as vLLM sends it: what was counted is charged as counted."""

    async def main() -> None:
        counted = UsageReport(Usage(500, 400, cached_tokens=100))
        books = streaming(TextDelta("word " * 400), counted, *([broken] if broken else ()))
        with pytest.raises(BackendError):
            async for _ in books.router.stream("m", "hello", max_tokens=1000):
                pass
        totals = books.totals
        assert (totals.prompt_tokens, totals.completion_tokens, totals.cached_tokens) == (500, 400, 100)
        assert (totals.estimated_tokens, totals.unconfirmed_tokens) == (0, 0)
        assert not books.told[0].estimated
        assert books.told[0].cost == pytest.approx((500 + 800) / 1e6)
        books.agree()

    run_in_virtual_time(main())


def test_what_came_after_the_providers_last_count_is_estimated() -> None:
    async def main() -> None:
        books = streaming(UsageReport(Usage(500, 1)), TextDelta("word " * 400), ConnectionFailedError("gone"))
        with pytest.raises(ConnectionFailedError):
            async for _ in books.router.stream("m", "hello", max_tokens=1000):
                pass
        assert books.totals.prompt_tokens == 500
        assert 400 <= books.totals.completion_tokens <= 700
        assert books.told[0].estimated
        books.agree()

    run_in_virtual_time(main())


@pytest.mark.parametrize(
    "piece",
    [TextDelta("x" * 700), ReasoningDelta("x" * 700), ToolCallDelta(0, "1", "add", "x" * 697)],
    ids=lambda piece: type(piece).__name__,
)
def test_all_that_a_model_writes_counts(piece: StreamEvent) -> None:
    async def main() -> None:
        broken = streaming(piece, ConnectionFailedError("gone"))
        with pytest.raises(ConnectionFailedError):
            async for _ in broken.router.stream("m", "hello"):
                pass
        assert broken.totals.completion_tokens == 200
        uncounted = streaming(piece, END)
        async for _ in uncounted.router.stream("m", "hello"):
            pass
        assert uncounted.totals.completion_tokens == 200
        assert uncounted.totals.estimated_tokens == uncounted.totals.total_tokens
        broken.agree()
        uncounted.agree()

    run_in_virtual_time(main())


def test_a_call_in_words_that_never_came_whole_is_charged_too() -> None:
    async def main() -> None:
        books = booked(Playing("a", TextDelta('<tool_call>{"name": "add", ' + "x" * 673), native_tools=False))
        tool = {"name": "add", "parameters": {"type": "object"}}
        with pytest.raises(BackendError):
            async for _ in books.router.stream("m", "hello", tools=[tool]):
                pass
        assert books.totals.completion_tokens == 200
        books.agree()

    run_in_virtual_time(main())


def test_a_prompt_that_was_counted_before_the_stream_failed_is_charged() -> None:
    async def main() -> None:
        books = streaming(StreamOpened(), UsageReport(Usage(50, 0)), ConnectionFailedError("gone"))
        with pytest.raises(ConnectionFailedError):
            async for _ in books.router.stream("m", "hello"):
                pass
        assert (books.totals.total_tokens, books.totals.estimated_tokens) == (50, 0)
        books.agree()

    run_in_virtual_time(main())


def test_an_estimate_never_passes_what_was_reserved() -> None:
    async def main() -> None:
        books = streaming(TextDelta("x" * 100_000), ConnectionFailedError("gone"))
        with pytest.raises(ConnectionFailedError):
            async for _ in books.router.stream("m", "hello", max_tokens=100):
                pass
        assert books.totals.completion_tokens == 100
        books.agree()

    run_in_virtual_time(main())


async def test_broken_streams_use_up_a_budget() -> None:
    broken = Answer(LONG, fault=Fault.DROPPED, after=150)
    async with OpenAIEmulator(Script(default=broken)) as server:
        budgets = Budgets(agents={"reader": [Budget(tokens=3000)]})
        backend = OpenAIBackend(base_url=server.base_url, api_key=server.key)
        patience: Any = {"retries": 0, "retry_base_delay": 0.001, "retry_max_delay": 0.002}
        async with Router([backend], budgets=budgets, **patience) as router:

            async def read_on() -> None:
                for _ in range(100):
                    await read(router, agent_id="reader")

            with pytest.raises(BudgetExceededError):
                await read_on()
            usage = router.get_agent_usage("reader")
            assert 3000 - 2000 - 200 <= usage.total_tokens <= 3000
            assert len(server.requests) < 20


# Whole answers


@pytest.mark.parametrize(
    "fault", [Fault.RESET, Fault.DROPPED, Fault.TRUNCATED, Fault.HTML, Fault.EMPTY, Fault.HANG, Fault.STALL]
)
async def test_a_sent_request_without_a_readable_answer_may_have_been_billed(fault: Fault) -> None:
    async with served(Answer(LONG, fault=fault), timeouts=Timeouts(attempt=0.2)) as (_, books):
        with pytest.raises(BackendError):
            await books.router.complete("gpt-4o", "a question", max_tokens=300)
        totals = books.totals
        assert 300 < totals.unconfirmed_tokens < 700
        assert (totals.total_tokens, totals.request_count, totals.failure_count) == (0, 0, 1)
        assert (books.told[0].estimated, books.told[0].confirmed) == (True, False)
        assert books.meters()[1].spent > 600, "in USD too"
        books.agree()


async def test_a_call_that_is_cancelled_or_too_late_may_have_been_billed() -> None:
    asked = asyncio.Event()

    def hang(request: Recorded) -> Step:
        asked.set()
        return Answer(fault=Fault.HANG)

    async with served(hang, hang) as (_, books):
        call = asyncio.create_task(books.router.complete("gpt-4o", "a question", max_tokens=300))
        await asked.wait()
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        cancelled = books.totals.unconfirmed_tokens
        assert cancelled > 300
        assert [one.error for one in books.told] == ["Cancelled"]
        with pytest.raises(BackendError):
            await books.router.complete("gpt-4o", "a question", max_tokens=300, timeout=0.2)
        assert books.totals.unconfirmed_tokens == 2 * cancelled
        books.agree()


PAGES = (
    Failure.BAD_GATEWAY,
    Failure.GATEWAY_TIMEOUT,
)  # of a proxy: nobody can tell what a 200 with one means


@pytest.mark.parametrize(
    ("failure", "place"),
    [(one, Place.STATUS) for one in Failure] + [(one, Place.BODY) for one in Failure if one not in PAGES],
)
async def test_what_a_provider_refused_costs_nothing(failure: Failure, place: Place) -> None:
    async with served(Fail(failure, place=place)) as (_, books):
        with pytest.raises(BackendError):
            await books.router.complete("gpt-4o", "a question", max_tokens=300)
        assert (books.totals.total_tokens, books.totals.unconfirmed_tokens) == (0, 0)
        books.agree()


class Posting(Backend):
    """A backend of somebody else's, which does its own I/O."""

    def serves_model(self, model: str) -> bool:
        return True

    async def _do_completion(self, client: httpx.AsyncClient, request: LLMRequest) -> LLMResponse:
        answer = await client.post(f"{self.base_url}/answer", json={"model": request.model})
        answer.raise_for_status()
        return LLMResponse("never", request.model)


@pytest.mark.parametrize("kind", [OpenAIBackend, Posting])
async def test_what_never_left_this_machine_costs_nothing(kind: type[Backend]) -> None:
    books = booked(kind(base_url=f"http://127.0.0.1:{closed_port()}", api_key="k"))
    async with books.router:
        with pytest.raises(ConnectionFailedError):
            await books.router.complete("gpt-4o", "a question")
        assert await read(books.router) == ""
        assert (books.totals.total_tokens, books.totals.unconfirmed_tokens) == (0, 0)
        books.agree()


async def test_a_request_that_cannot_be_written_costs_nothing() -> None:
    async with served() as (server, books):
        with pytest.raises(BackendError):
            await books.router.complete("gpt-4o", "a question", extra={"metadata": {1, 2}})
        assert not server.requests
        assert books.totals.unconfirmed_tokens == 0
        books.agree()


@pytest.mark.parametrize(
    "usage", [{}, {"prompt_tokens": 30}, {"completion_tokens": 9}, {"prompt_tokens": -5}]
)
async def test_what_a_provider_did_not_count_is_estimated(usage: dict[str, int]) -> None:
    books = booked(ScriptedBackend(rules=[Rule(reply="x" * 350, usage=usage)]))
    response = await books.router.complete("m", "x" * 700)
    counted = Usage.of(response.usage)
    assert counted.prompt_tokens == (usage.get("prompt_tokens", 0) if usage == {"prompt_tokens": 30} else 205)
    assert counted.completion_tokens == usage.get("completion_tokens", 100)
    assert counted.estimated
    assert books.told[0].estimated
    books.agree()


async def test_reasoning_and_tool_calls_without_a_count_are_estimated_too() -> None:
    whole = LLMResponse("", "m", reasoning="x" * 350)
    books = booked(ScriptedBackend(rules=[Rule(reply=lambda _: whole)]))
    assert (await books.router.complete("m", "hello")).usage["completion_tokens"] == 100
    called = ScriptedBackend(rules=[Rule(tool="add", arguments='"' + "x" * 345 + '"', usage={})])
    books = booked(called)
    assert (await books.router.complete("m", "hello")).usage["completion_tokens"] == 100


# Several tries of one call


def test_each_try_of_a_call_is_charged_to_its_backend() -> None:
    async def main() -> None:
        books = booked(
            Playing("a", UsageReport(Usage(50, 0)), ConnectionFailedError("gone")),
            Playing("b", TextDelta("x"), UsageReport(Usage(40, 2)), END, priority=2),
            retries=1,
        )
        events = [event async for event in books.router.stream("m", "hello")]
        assert isinstance(events[-1], StreamEnd)
        assert events[-1].usage == Usage(40, 2)
        by_backend = books.router.get_backend_usage()
        assert (by_backend["a"].total_tokens, by_backend["b"].total_tokens) == (50, 42)
        assert [(one.backend, one.ended, one.error) for one in books.told] == [
            ("a", False, "ConnectionFailedError"),
            ("b", True, ""),
        ]
        books.agree()

    run_in_virtual_time(main())


async def test_nothing_stays_held_when_the_books_themselves_fail() -> None:
    """A count that no sum can be made of: whatever becomes of the call, it leaves nothing behind."""
    absurd = Usage(10**400, 1)
    books = booked(ScriptedBackend(name="a", max_concurrent=1, rules=[Rule(reply=lambda _: odd(absurd))]))
    calls = (books.router.complete("m", "hello", max_tokens=10, timeout=1) for _ in range(3))
    await asyncio.gather(*calls, return_exceptions=True)
    assert [meter.reserved for meter in books.meters()] == [0, 0]
    assert (books.router.describe()[0].in_flight, books.router.describe()[0].waiting) == (0, 0)


def odd(usage: Usage) -> LLMResponse:
    return LLMResponse("x", "m", usage)


def test_the_money_of_tries_that_nobody_confirms_is_spent() -> None:
    async def main() -> None:
        books = booked(
            ScriptedBackend(rules=[Rule(latency=100, reply="late")]), timeouts=Timeouts(attempt=10)
        )
        with pytest.raises(BackendError):
            await books.router.complete("m", "hello", max_tokens=1000)
        tokens, money = books.meters()
        prompt = tokens.spent - 1000
        assert 0 < prompt < 50
        assert money.spent == prompt + 2000
        books.agree()

    run_in_virtual_time(main())


def test_usage_whose_price_nobody_knows_any_more_spends_what_was_reserved() -> None:
    books = booked()
    tokens, money = books.meters()
    held = books.router._book.reserve([tokens, money], Most(100, 50, 700))
    assert held.settle(answered(Charge(), "a", "m", Usage(9, 1), None))
    assert (tokens.spent, money.spent) == (10, 700)
    assert (tokens.reserved, money.reserved) == (0, 0)
