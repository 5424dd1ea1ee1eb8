"""Budgets: nothing is spent beyond them, whatever runs at the same time."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.emulators.raw import Exchange, RawServer, head
from tests.llm.callers import Handler, running
from xml_pipeline.errors import (
    BackendTimeoutError,
    BudgetExceededError,
    ConfigError,
    InvalidRequestError,
    NoBackendError,
    ServerError,
)
from xml_pipeline.events import BudgetWarning, Event
from xml_pipeline.llm import (
    PROVIDER_CLASSES,
    Budget,
    Budgets,
    LLMRequest,
    LLMResponse,
    Price,
    Router,
    Timeouts,
)
from xml_pipeline.llm.completion import Clock
from xml_pipeline.llm.providers.scripted import Rule, ScriptedBackend
from xml_pipeline.testing import run_in_virtual_time


def model(prompt: int = 7, completion: int = 3, **rule: Any) -> ScriptedBackend:
    usage = {"prompt_tokens": prompt, "completion_tokens": completion}
    return ScriptedBackend(rules=(Rule(reply="x", usage=usage, **rule),))


async def test_a_call_that_does_not_fit_is_refused_before_anything_is_spent() -> None:
    backend = model()
    router = Router([backend], budgets=Budgets(agents={"greeter": [Budget(tokens=100)]}))
    with pytest.raises(BudgetExceededError) as caught:
        await router.complete("m", "hello", agent_id="greeter", max_tokens=200)
    assert not backend.requests
    error = caught.value
    assert (error.scope, error.limit, error.unit, error.period) == ("agent greeter", 100, "tokens", "run")
    assert error.requested > 200
    assert (await router.complete("m", "hello", agent_id="other", max_tokens=200)).content == "x"


async def test_an_agents_glob_holds_for_each_agent_and_an_exact_name_hides_it() -> None:
    limits = {"*": [Budget(tokens=600)], "rich": [Budget(tokens=10_000)]}
    router = Router([model(400, 100)], budgets=Budgets(agents=limits))
    for name in ("a", "b"):
        await router.complete("m", "hello", agent_id=name, max_tokens=200)
        with pytest.raises(BudgetExceededError):
            await router.complete("m", "hello", agent_id=name, max_tokens=200)
    for _ in range(3):
        await router.complete("m", "hello", agent_id="rich", max_tokens=200)


async def test_a_threads_budget_covers_everything_below_it() -> None:
    router = Router([model(400, 100)], budgets=Budgets(thread=[Budget(tokens=1100)]))
    with running(Handler("worker", "below", above=("top",))):
        await router.complete("m", "hello", max_tokens=200)
    with running(Handler("worker", "other", above=("top",))):
        await router.complete("m", "hello", max_tokens=200)
    with (
        running(Handler("worker", "third", above=("top",))),
        pytest.raises(BudgetExceededError, match="thread top"),
    ):
        await router.complete("m", "hello", max_tokens=200)
    with running(Handler("worker", "elsewhere", "c2", above=("top 2",))):
        await router.complete("m", "hello", max_tokens=200)


async def test_an_agents_budget_per_call_covers_all_below_that_call() -> None:
    limits = {"writer": [Budget(tokens=1100, per="call")]}
    router = Router([model(400, 100)], budgets=Budgets(agents=limits))
    below = {"above": ("first", "top"), "called_by": ("writer", "desk")}
    for thread in ("a", "b"):
        with running(Handler("checker", thread, **below)):
            await router.complete("m", "hello", max_tokens=200)
    for handler in (Handler("checker", "c", **below), Handler("writer", "first")):
        with running(handler), pytest.raises(BudgetExceededError, match="call first is 1100 tokens per call"):
            await router.complete("m", "hello", max_tokens=200)
    with running(Handler("writer", "second")), running(Handler("checker", "d", above=("second",))):
        await router.complete("m", "hello", max_tokens=200)
    router.forget_thread("first")
    with running(Handler("writer", "first")):
        await router.complete("m", "hello", max_tokens=200)


async def test_an_agents_budget_per_conversation_holds_in_each_for_this_agent_alone() -> None:
    limits = {"w*": [Budget(tokens=600, per="conversation")], "wise": []}
    router = Router([model(400, 100)], budgets=Budgets(agents=limits))
    for name, conversation in (("writer", "c1"), ("worker", "c1"), ("writer", "c2"), ("wise", "c1")):
        with running(Handler(name, name + conversation, conversation)):
            await router.complete("m", "hello", max_tokens=200)
    with (
        running(Handler("writer", "t9")),
        pytest.raises(BudgetExceededError, match="agent writer in c1 is 600"),
    ):
        await router.complete("m", "hello", max_tokens=200)
    with running(Handler("wise", "t9")):
        await router.complete("m", "hello", max_tokens=200)
    router.forget_conversation("c1")
    with running(Handler("writer", "t9")):
        await router.complete("m", "hello", max_tokens=200)


@pytest.mark.parametrize("per", ["call", "conversation"])
@pytest.mark.parametrize("scope", ["organism", "thread", "conversation", "operations"])
def test_only_an_agents_budget_is_per_call_or_conversation(scope: str, per: Any) -> None:
    limits = [Budget(tokens=1, per=per)]
    with pytest.raises(ConfigError, match=f"only an agent's budget is per {per}"):
        Budgets(**{scope: {"x": limits} if scope == "operations" else limits})


async def test_one_thread_can_get_a_budget_of_its_own() -> None:
    router = Router([model(400, 100)])
    router.set_thread_budget("t1", Budget(tokens=600))
    with running(Handler("worker")):
        await router.complete("m", "hello", max_tokens=200)
        with pytest.raises(BudgetExceededError):
            await router.complete("m", "hello", max_tokens=200)
    with running(Handler("worker", "t2")):
        await router.complete("m", "hello", max_tokens=200)
    router.set_thread_budget("t1")
    with running(Handler("worker")):
        await router.complete("m", "hello", max_tokens=200)


async def test_a_budget_that_is_set_for_a_thread_leaves_the_others_as_they_are() -> None:
    router = Router([model(400, 100)], budgets=Budgets(thread=[Budget(tokens=1100)]))
    with running(Handler("worker")):
        for _ in range(2):
            await router.complete("m", "hello", max_tokens=200)
            router.set_thread_budget("t1", Budget(tokens=5000))
        with pytest.raises(BudgetExceededError, match="is 1100 tokens per run; 1000 are spent"):
            await router.complete("m", "hello", max_tokens=200)
        router.set_thread_budget("t1")
        with pytest.raises(BudgetExceededError, match="is 1100 tokens per run; 1000 are spent"):
            await router.complete("m", "hello", max_tokens=200)


async def test_a_threads_own_budget_that_is_set_again_goes_on() -> None:
    router = Router([model(400, 100)])
    with running(Handler("worker")):
        router.set_thread_budget("t1", Budget(tokens=600))
        await router.complete("m", "hello", max_tokens=200)
        router.set_thread_budget("t1", Budget(tokens=600), Budget(tokens=9000))
        with pytest.raises(BudgetExceededError, match="is 600 tokens"):
            await router.complete("m", "hello", max_tokens=200)


async def test_a_conversations_budget_and_its_end() -> None:
    router = Router(
        [model(400, 100)], budgets=Budgets(conversation=[Budget(tokens=600)], thread=[Budget(tokens=10_000)])
    )
    with running(Handler("worker")):
        await router.complete("m", "hello", max_tokens=200)
        with pytest.raises(BudgetExceededError, match="conversation c1"):
            await router.complete("m", "hello", max_tokens=200)
        router.forget_thread("t1")
        router.forget_conversation("c1")
        await router.complete("m", "hello", max_tokens=200)


async def test_all_budgets_take_their_share_or_none_does() -> None:
    router = Router(
        [model(400, 100)],
        budgets=Budgets(
            organism=[Budget(tokens=10_000)], agents={"a": [Budget(tokens=700)], "b": [Budget(tokens=5)]}
        ),
    )
    for _ in range(3):
        with pytest.raises(BudgetExceededError, match="agent b"):
            await router.complete("m", "hello", agent_id="b", max_tokens=200)
    await router.complete("m", "hello", agent_id="a", max_tokens=200)
    organism = router._book.meters(router_charge("b"))[0]
    assert (organism.spent, organism.reserved) == (500, 0)


def router_charge(agent: str) -> Any:
    from xml_pipeline.llm.accounting.usage import Charge

    return Charge(agent)


async def test_a_failed_call_gives_its_reservation_back() -> None:
    backend = ScriptedBackend(
        rules=(
            Rule(error="ServerError", times=1),
            Rule(reply="x", usage={"prompt_tokens": 50, "completion_tokens": 1}),
        )
    )
    router = Router([backend], retries=0, budgets=Budgets(organism=[Budget(tokens=1200)]))
    with pytest.raises(ServerError):
        await router.complete("m", "hello", max_tokens=800)
    assert (await router.complete("m", "hello", max_tokens=800)).content == "x"


async def test_a_call_without_max_tokens_gets_one_that_fits() -> None:
    backend = model(40, 10)
    router = Router([backend], budgets=Budgets(organism=[Budget(tokens=3000)], default_max_tokens=2000))
    await router.complete("m", "hello")
    assert backend.requests[0].max_tokens == 2000
    for _ in range(30):
        await router.complete("m", "hello")
    assert backend.requests[-1].max_tokens is not None
    assert backend.requests[-1].max_tokens < 2000
    free = model()
    await Router([free]).complete("m", "hello")
    assert free.requests[0].max_tokens == 4096, "an answer has an end, budget or not"
    await Router([free]).complete("m", "hello", extra={"max_completion_tokens": 7})
    assert free.requests[1].max_tokens is None, "which may be stated elsewhere"


async def test_money_is_counted_in_micro_dollars() -> None:
    router = Router(
        [model(1000, 1000)],
        prices={"m": Price(input=1.0, output=1.0)},
        budgets=Budgets(organism=[Budget(usd=0.005)]),
    )
    await router.complete("m", "x" * 3000, max_tokens=1000)
    await router.complete("m", "x" * 3000, max_tokens=1000)
    with pytest.raises(BudgetExceededError) as caught:
        await router.complete("m", "x" * 3000, max_tokens=1000)
    assert caught.value.unit == "usd"
    assert caught.value.spent == pytest.approx(0.004)


async def test_calls_too_small_to_see_use_up_a_dollar_budget_too() -> None:
    budgets = Budgets(organism=[Budget(usd=0.0001)])
    router = Router([model(1, 1)], prices={"*": Price(0.01, 0.01)}, budgets=budgets)
    answered = 0
    with suppress(BudgetExceededError):
        for _ in range(200):
            await router.complete("m", "hello", max_tokens=1)
            answered += 1
    assert 0 < answered < 200


async def test_no_more_of_a_prompt_is_from_a_cache_than_there_is_of_it() -> None:
    """A provider that counts a million cached tokens of ten."""
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "cached_tokens": 10**6, "cache_write_tokens": 10**6}
    backend = ScriptedBackend(rules=(Rule(reply="x", usage=usage),))
    router = Router([backend], prices={"*": Price(1, 2, cached=0.1, cache_write=3)})
    assert (await router.complete("m", "hello")).cost == pytest.approx((10 * 0.1 + 5 * 2) / 1e6)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        (lambda: Budget(tokens=-5), "tokens is a whole number from 0, not -5"),
        (lambda: Budget(tokens="5"), "tokens"),  # type: ignore[arg-type]
        (lambda: Budget(tokens=5.5), "tokens"),  # type: ignore[arg-type]
        (lambda: Budget(usd=float("nan")), "usd"),
        (lambda: Budget(usd=float("inf")), "usd"),
        (
            lambda: Budget(tokens=5, per="year"),
            "per is one of run, hour, day, week, month, call, conversation, not 'year'",
        ),  # type: ignore[arg-type]
        (lambda: Budget(tokens=5, warn_at=(float("nan"),)), "warn_at"),
        (lambda: Price(-1, 1), "input is a number of USD from 0, not -1"),
        (lambda: Price(1, float("inf")), "output"),
        (lambda: Price(1, 1, cached=float("nan")), "cached"),
        (lambda: Price(None, 1), "input"),  # type: ignore[arg-type]
    ],
)
def test_what_is_no_budget_and_no_price_is_refused_where_it_is_written(wrong: Any, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        wrong()


async def test_a_dollar_budget_refuses_a_model_whose_price_nobody_knows() -> None:
    class Unpriced(ScriptedBackend):
        offline = False

    backend = Unpriced(name="a", base_url="http://127.0.0.1:1", rules=(Rule(reply="x"),))
    async with Router([backend], budgets=Budgets(organism=[Budget(usd=1)])) as router:
        with pytest.raises(NoBackendError, match=r"llm\.prices"):
            await router.complete("m", "hello")
    priced = model()
    chain = Router([backend, priced], budgets=Budgets(organism=[Budget(usd=1)]))
    assert (await chain.complete("m", "hello")).backend == "scripted"


async def test_warnings_come_once_at_each_threshold() -> None:
    events: list[Event] = []
    router = Router(
        [model(80, 20)],
        budgets=Budgets(organism=[Budget(tokens=1000, warn_at=(0.9, 0.5))]),
        on_event=events.append,
    )
    for _ in range(9):
        await router.complete("m", "h", max_tokens=20)
    warnings = [event for event in events if isinstance(event, BudgetWarning)]
    assert [(one.fraction, one.spent, one.limit, one.unit) for one in warnings] == [
        (0.5, 500, 1000, "tokens"),
        (0.9, 900, 1000, "tokens"),
    ]
    assert warnings[0].scope == "organism"


@pytest.mark.parametrize(
    ("per", "later"),
    [
        ("day", datetime(2026, 11, 22, 0, 0, 1, tzinfo=UTC)),
        ("month", datetime(2026, 12, 1, 0, 0, 1, tzinfo=UTC)),
    ],
)
async def test_a_period_ends_with_the_calendar(per: Any, later: datetime) -> None:
    wall = [datetime(2026, 11, 21, 23, 59, tzinfo=UTC).timestamp()]
    router = Router(
        [model(400, 100)],
        budgets=Budgets(organism=[Budget(tokens=600, per=per)]),
        clock=Clock(wall=lambda: wall[0]),
    )
    await router.complete("m", "hello", max_tokens=200)
    with pytest.raises(BudgetExceededError) as caught:
        await router.complete("m", "hello", max_tokens=200)
    assert caught.value.period == per
    wall[0] = later.timestamp()
    await router.complete("m", "hello", max_tokens=200)


async def test_each_period_warns_anew() -> None:
    wall, seen = [datetime(2026, 11, 21, 12, tzinfo=UTC).timestamp()], list[Event]()
    router = Router(
        [model(400, 100)],
        budgets=Budgets(organism=[Budget(tokens=1000, per="day", warn_at=(0.5,))]),
        clock=Clock(wall=lambda: wall[0]),
        on_event=seen.append,
    )
    for day in range(1, 4):
        await router.complete("m", "hello", max_tokens=200)
        assert sum(isinstance(event, BudgetWarning) for event in seen) == day
        wall[0] += 86_400


def test_what_is_in_flight_when_a_period_ends_counts_for_the_new_one() -> None:
    async def main() -> None:
        wall = [datetime(2026, 11, 21, 23, 59, tzinfo=UTC).timestamp()]
        router = Router(
            [model(400, 100, latency=60)],
            budgets=Budgets(organism=[Budget(tokens=1000, per="day")]),
            clock=Clock(wall=lambda: wall[0]),
        )
        late = asyncio.create_task(router.complete("m", "hello", max_tokens=200))
        await asyncio.sleep(1)
        wall[0] += 3600
        await late
        (meter,) = router._book.meters(router_charge(""))
        assert (meter.spent, meter.reserved) == (500, 0)

    run_in_virtual_time(main())


async def test_a_run_does_not_end_with_the_calendar() -> None:
    wall = [datetime(2026, 11, 21, tzinfo=UTC).timestamp()]
    limits = [Budget(tokens=600), Budget(tokens=50_000, per="month")]
    router = Router([model(400, 100)], budgets=Budgets(organism=limits), clock=Clock(wall=lambda: wall[0]))
    await router.complete("m", "hello", max_tokens=200)
    for later in (datetime(2026, 11, 22), datetime(2026, 12, 1), datetime(2027, 12, 1)):
        wall[0] = later.replace(tzinfo=UTC).timestamp()
        with pytest.raises(BudgetExceededError, match="600 tokens per run; 500 are spent"):
            await router.complete("m", "hello", max_tokens=200)


@pytest.mark.parametrize("unit", ["tokens", "usd"])
async def test_a_limit_is_exact(unit: str) -> None:
    """A call that needs exactly what is left is let through; one that needs the least bit more is not."""
    needs = 33 + 128 + 1000

    def limit(least_bits: int) -> Budget:
        return Budget(tokens=least_bits) if unit == "tokens" else Budget(usd=least_bits / 1_000_000)

    for room, fits in ((needs, True), (needs - 1, False)):
        router = Router(
            [model()], prices={"*": Price(input=1.0, output=1.0)}, budgets=Budgets(organism=[limit(room)])
        )
        asked = router.complete("m", "hello", max_tokens=1000)
        if fits:
            assert (await asked).content == "x"
        else:
            with pytest.raises(BudgetExceededError) as caught:
                await asked
            scale = 1 if unit == "tokens" else 1_000_000
            assert caught.value.requested * scale == pytest.approx(needs)
            assert caught.value.limit * scale == pytest.approx(needs - 1)


async def test_money_is_reserved_at_the_dearest_backend_that_may_be_asked() -> None:
    cheap = ScriptedBackend(name="cheap", rules=(Rule(error="ServerError"),), model_map={"m": "small"})
    dear = ScriptedBackend(
        name="dear",
        rules=(Rule(reply="x", usage={"prompt_tokens": 100, "completion_tokens": 1000}),),
        model_map={"m": "large"},
        priority=2,
    )
    prices = {"small": Price(input=1.0, output=1.0), "large": Price(input=10.0, output=100.0)}
    for backends in ([cheap, dear], [dear, cheap]):
        router = Router(backends, prices=prices, budgets=Budgets(organism=[Budget(usd=0.15)]))
        assert (await router.complete("m", "hello", max_tokens=1000)).cost == pytest.approx(0.101)
        with pytest.raises(BudgetExceededError):
            await router.complete("m", "hello", max_tokens=1000)
        assert router.get_total_usage().known_cost <= 0.15


def test_each_further_try_needs_room_of_its_own() -> None:
    """The first try may have been billed, so a second one could pass the limit together with it."""

    async def main() -> None:
        backend = model(7, 3, latency=0.0)
        hanging = ScriptedBackend(name="slow", rules=(Rule(latency=100),))
        settings: Any = {"timeouts": Timeouts(attempt=10), "retry_base_delay": 0.1}
        router = Router([hanging, backend], budgets=Budgets(organism=[Budget(tokens=1500)]), **settings)
        with pytest.raises(BudgetExceededError) as caught:
            await router.complete("m", "hello", max_tokens=1000)
        assert isinstance(caught.value.__cause__, BackendTimeoutError)
        assert not backend.requests
        assert 1000 < router.get_total_usage().unconfirmed_tokens <= 1500
        roomy = Router([hanging, backend], budgets=Budgets(organism=[Budget(tokens=2500)]), **settings)
        assert (await roomy.complete("m", "hello", max_tokens=1000)).content == "x"

    run_in_virtual_time(main())


def test_a_try_that_cost_nothing_needs_no_further_room() -> None:
    async def main() -> None:
        flaky = ScriptedBackend(
            rules=(
                Rule(error="ServerError", times=2),
                Rule(reply="x", usage={"prompt_tokens": 7, "completion_tokens": 3}),
            )
        )
        router = Router([flaky], budgets=Budgets(organism=[Budget(tokens=1200)]))
        assert (await router.complete("m", "hello", max_tokens=1000)).content == "x"
        (meter,) = router._book.meters(router_charge(""))
        assert (meter.spent, meter.reserved) == (10, 0)

    run_in_virtual_time(main())


def test_no_hedge_starts_for_which_there_is_no_room() -> None:
    async def main() -> None:
        for limit, hedged in ((1500, 0), (3000, 1)):
            slow = ScriptedBackend(name="slow", rules=(Rule(latency=20, reply="slow"),))
            quick = ScriptedBackend(name="quick", rules=(Rule(latency=1, reply="quick"),), priority=2)
            router = Router(
                [slow, quick],
                timeouts=Timeouts(hedge_after=5),
                budgets=Budgets(organism=[Budget(tokens=limit)]),
            )
            await router.complete("m", "hello", max_tokens=1000)
            assert len(quick.requests) == hedged
            (meter,) = router._book.meters(router_charge(""))
            assert meter.reserved == 0
            assert meter.spent <= limit

    run_in_virtual_time(main())


def test_a_hedge_that_has_no_room_changes_nothing_for_the_tries_after_it() -> None:
    async def main() -> None:
        asked: list[int | None] = []

        class Greedy(ScriptedBackend):
            async def _do_completion(self, client: object, request: LLMRequest) -> LLMResponse:
                asked.append(request.max_tokens)
                usage = {"prompt_tokens": 5, "completion_tokens": request.max_tokens or 100_000}
                return LLMResponse("x", "m", usage)

        slow = ScriptedBackend(name="slow", rules=(Rule(latency=20, error="RateLimitedError"),))
        router = Router(
            [slow, Greedy(name="greedy", priority=2)],
            timeouts=Timeouts(hedge_after=5),
            budgets=Budgets(organism=[Budget(tokens=1500)]),
        )
        await router.complete("m", "hello")
        assert asked[0] is not None
        assert asked[0] < 1500
        assert router.get_total_usage().total_tokens <= 1500

    run_in_virtual_time(main())


def test_each_try_is_held_to_its_own_reservation() -> None:
    """A hedge that found more room, because another call ended, does not lend it to the tries of the first."""

    async def main() -> None:
        sent: list[int | None] = []

        class Greedy(ScriptedBackend):
            async def _do_completion(self, client: object, request: LLMRequest) -> LLMResponse:
                await asyncio.sleep(1)
                if request.messages[-1]["content"] == "other":
                    await asyncio.sleep(5)
                    return LLMResponse("x", "m", {"prompt_tokens": 5, "completion_tokens": 5})
                sent.append(request.max_tokens)
                if len(sent) <= 2:
                    await asyncio.sleep(10 * len(sent))
                    raise ServerError("no")
                usage = {"prompt_tokens": 5, "completion_tokens": request.max_tokens or 100_000}
                return LLMResponse("x", "m", usage)

        backends = [Greedy(name=name) for name in ("a", "b", "c")]
        router = Router(
            backends, timeouts=Timeouts(hedge_after=10), budgets=Budgets(organism=[Budget(tokens=8000)])
        )
        other = asyncio.create_task(router.complete("m", "other", max_tokens=6000))
        await asyncio.sleep(0.1)
        await router.complete("m", "hello")
        await other
        first, hedge, third = sent
        assert first is not None
        assert hedge is not None
        assert first < hedge
        assert third == first  # whose reservation it has

    run_in_virtual_time(main())


@pytest.mark.parametrize("per", ["day", "month"])
async def test_a_clock_that_is_set_back_at_a_border_gives_no_budget_twice(per: Any) -> None:
    wall = [datetime(2026, 11, 30, 23, 59, 59, tzinfo=UTC).timestamp()]
    told: list[Event] = []
    router = Router(
        [model(400, 100)],
        budgets=Budgets(organism=[Budget(tokens=600, per=per)]),
        clock=Clock(wall=lambda: wall[0]),
        on_event=told.append,
    )
    answered = 0
    for step in (2, -2, 2, -2, 2, -2):
        with suppress(BudgetExceededError):
            await router.complete("m", "hello", max_tokens=200)
            answered += 1
        wall[0] += step
    assert answered == 2
    assert len([event for event in told if isinstance(event, BudgetWarning)]) == 2


@pytest.mark.parametrize("limit", [Budget(tokens=7000), Budget(usd=0.09)], ids=["tokens", "usd"])
@pytest.mark.parametrize("max_tokens", [None, 1000])
async def test_thinking_on_top_of_the_output_limit_is_reserved_too(
    limit: Budget, max_tokens: int | None
) -> None:
    """Claude before 4.6 counts thinking within `max_tokens`, so its dialect adds what thinking may take."""
    asked: list[int] = []

    async def play(exchange: Exchange) -> None:
        asked.append(json.loads(exchange.body)["max_tokens"])
        answer = {
            "type": "message",
            "model": "claude-sonnet-4-5",
            "content": [{"type": "text", "text": "x"}],
            "stop_reason": "end_turn",
            "usage": {"input_tokens": 20, "output_tokens": asked[-1]},
        }
        body = json.dumps(answer).encode()
        await exchange.send(head(length=len(body)), body)

    async with RawServer(play) as server:
        backend = PROVIDER_CLASSES["anthropic"](base_url=server.origin, api_key="sk-ant-recorded-key")
        prices = {"claude-*": Price(3, 15)}
        async with Router([backend], budgets=Budgets(organism=[limit]), prices=prices) as router:
            for effort in ("low", "medium", "high", "max"):
                with suppress(BudgetExceededError):
                    await router.complete(
                        "claude-sonnet-4-5", "hello", max_tokens=max_tokens, reasoning_effort=effort
                    )
            assert asked
            (meter,) = router._book.meters(router_charge(""))
            assert (meter.reserved, meter.spent <= meter.limit) == (0, True)


@pytest.mark.parametrize(
    "extra",
    [
        {"max_tokens": None},
        {"max_completion_tokens": 0},
        {"options": {"num_predict": -1}},
        {"generationConfig": {"maxOutputTokens": "many"}},
    ],
    ids=str,
)
async def test_an_extra_that_takes_the_output_limit_away_is_refused_under_a_budget(
    extra: dict[str, Any],
) -> None:
    backend = model()
    router = Router([backend], budgets=Budgets(organism=[Budget(tokens=100_000)]))
    with pytest.raises(InvalidRequestError, match=r"and a budget applies.* Write a number of tokens"):
        await router.complete("m", "hello", max_tokens=10, extra=extra)
    assert not backend.requests
    await Router([backend]).complete(
        "m", "hello", extra=extra
    )  # without a budget it is the caller's own affair


@pytest.mark.parametrize(
    "extra",
    [{"generationConfig": {"maxOutputTokens": "90000"}}, {"max_tokens": 90000.0}, {"n": "90"}],
    ids=str,
)
async def test_an_extra_limit_counts_in_all_its_spellings(extra: dict[str, Any]) -> None:
    router = Router([model()], budgets=Budgets(organism=[Budget(tokens=80_000)]))
    with pytest.raises(BudgetExceededError):
        await router.complete("m", "hello", max_tokens=1000, extra=extra)


def test_a_call_that_can_never_fit_is_refused_at_once_although_others_are_in_flight() -> None:
    async def main() -> None:
        router = Router([model(400, 100, latency=50)], budgets=Budgets(organism=[Budget(tokens=2500)]))
        first = asyncio.create_task(router.complete("m", "hello", max_tokens=1500))
        await asyncio.sleep(1)
        with pytest.raises(BudgetExceededError):
            await router.complete("m", "hello", max_tokens=2400)
        assert asyncio.get_running_loop().time() == 1
        await first

    run_in_virtual_time(main())


def test_a_call_that_waits_for_a_budget_gives_up_at_its_deadline() -> None:
    async def main() -> None:
        router = Router([model(400, 100, latency=50)], budgets=Budgets(organism=[Budget(tokens=2500)]))
        first = asyncio.create_task(router.complete("m", "hello", max_tokens=1500))
        await asyncio.sleep(1)

        async def stream() -> None:
            async for _ in router.stream("m", "hello", max_tokens=1500, timeout=10):
                pass

        for waiting in (router.complete("m", "hello", max_tokens=1500, timeout=10), stream()):
            started = asyncio.get_running_loop().time()
            with pytest.raises(BudgetExceededError):
                await waiting
            assert asyncio.get_running_loop().time() == started + 10
        assert (await first).content == "x"

    run_in_virtual_time(main())


def test_calls_that_would_fit_wait_for_those_in_flight_to_settle() -> None:
    async def main() -> None:
        router = Router([model(400, 100, latency=2)], budgets=Budgets(organism=[Budget(tokens=3000)]))
        answers = await asyncio.gather(*(router.complete("m", "hello", max_tokens=1500) for _ in range(3)))
        assert len(answers) == 3
        assert asyncio.get_running_loop().time() == 6
        with pytest.raises(BudgetExceededError):
            await router.complete("m", "hello", max_tokens=2000)

    run_in_virtual_time(main())


class Metered(ScriptedBackend):
    """Answers with as many tokens as the plan says, never more than was allowed; counts them like a provider."""

    def __init__(self, plan: list[tuple[float, float]]) -> None:
        super().__init__(name="metered")
        self.plan = plan
        self.billed = 0

    async def _do_completion(self, client: object, request: LLMRequest) -> LLMResponse:
        latency, share = self.plan[len(self.requests) % len(self.plan)]
        self.requests.append(request)
        assert request.max_tokens is not None
        await asyncio.sleep(latency)
        output = max(1, int(request.max_tokens * share))
        self.billed += 10 + output
        return LLMResponse("x", request.model, {"prompt_tokens": 10, "completion_tokens": output})


@settings(max_examples=60, deadline=None)
@example(50, [(0.0, 0.0)], [(1, 0.0, False)] * 6)
@given(
    st.integers(50, 3000),
    st.lists(st.tuples(st.floats(0, 3), st.floats(0, 1)), min_size=1, max_size=8),
    st.lists(st.tuples(st.integers(1, 500), st.floats(0, 2), st.booleans()), min_size=1, max_size=30),
)
def test_concurrent_calls_never_pass_a_budget_together(
    limit: int, plan: list[tuple[float, float]], calls: list[tuple[int, float, bool]]
) -> None:
    async def main() -> None:
        backend = Metered(plan)
        router = Router([backend], budgets=Budgets(organism=[Budget(tokens=limit)]))

        async def ask(max_tokens: int, starts: float, cancelled: bool) -> None:
            await asyncio.sleep(starts)
            task = asyncio.create_task(router.complete("m", "hello", max_tokens=max_tokens))
            if cancelled:
                await asyncio.sleep(0.5)
                task.cancel()
            done = (await asyncio.gather(task, return_exceptions=True))[0]
            assert isinstance(done, (LLMResponse, BudgetExceededError, asyncio.CancelledError))

        await asyncio.gather(*(ask(*one) for one in calls))
        assert backend.billed <= limit
        meter = router._book.meters(router_charge(""))[0]
        assert meter.reserved == 0
        totals = router.get_total_usage()
        assert meter.spent == totals.total_tokens + totals.unconfirmed_tokens
        assert totals.total_tokens <= backend.billed

    run_in_virtual_time(main())


@pytest.mark.parametrize(
    ("limit", "fits"),
    [
        (Budget(input_tokens=400), {"prompt": 100, "completion": 1000}),
        (Budget(output_tokens=400), {"prompt": 10_000, "completion": 100}),
    ],
)
async def test_input_and_output_have_limits_of_their_own(limit: Budget, fits: dict[str, int]) -> None:
    router = Router([model(**fits)], budgets=Budgets(organism=[limit]))
    for _ in range(3):
        await router.complete("m", "hello", max_tokens=100)
    (meter,) = router._book._organism
    assert meter.spent == 300
    await router.complete("m", "hello", max_tokens=100 if limit.output_tokens else 1000)
    with pytest.raises(BudgetExceededError) as caught:
        await router.complete("m", "hello", max_tokens=100)
    assert caught.value.unit == ("input_tokens" if limit.input_tokens else "output_tokens")


async def test_a_call_without_max_tokens_gets_the_output_that_is_left() -> None:
    backend = model(40, 10)
    router = Router([backend], budgets=Budgets(organism=[Budget(output_tokens=1000)]))
    await router.complete("m", "hello")
    assert backend.requests[0].max_tokens == 1000


async def test_a_soft_limit_warns_and_lets_everything_through() -> None:
    told: list[Event] = []
    limits = [Budget(tokens=25, warn_at=(0.5,), soft=True), Budget(usd=0.0001, warn_at=(), soft=True)]
    router = Router(
        [model()], budgets=Budgets(organism=limits), on_event=told.append, prices={"m": Price(1, 1)}
    )
    for _ in range(20):
        await router.complete("m", "hello", max_tokens=200)
    warnings = [(one.unit, one.fraction) for one in told if isinstance(one, BudgetWarning)]
    assert warnings == [("tokens", 0.5), ("tokens", 1.0), ("usd", 1.0)]


async def test_a_soft_limit_shortens_no_answer_and_asks_for_no_price() -> None:
    backend = model()
    router = Router([backend], budgets=Budgets(organism=[Budget(tokens=300, usd=0.1, soft=True)]))
    await router.complete("of unknown price", "hello")
    assert backend.requests[0].max_tokens == 4096


async def test_an_operation_has_its_budget_whoever_works_on_it() -> None:
    limits = {"verify": [Budget(tokens=600)], "s*": [Budget(tokens=600)]}
    router = Router([model(400, 100)], budgets=Budgets(operations=limits))
    with running(Handler("one", operation="verify")):
        await router.complete("m", "hello", max_tokens=200)
    with running(Handler("two")):
        with pytest.raises(BudgetExceededError, match="operation verify"):
            await router.complete("m", "hello", max_tokens=200, operation="verify")
        await router.complete("m", "hello", max_tokens=200)
        await router.complete("m", "hello", max_tokens=200, operation="sum")
        await router.complete("m", "hello", max_tokens=200, operation="search")
        with pytest.raises(BudgetExceededError, match="operation search"):
            await router.complete("m", "hello", max_tokens=200, operation="search")


@pytest.mark.parametrize("operation", ["", "two words", "a" * 101, 7, "\x1b[0m"])
async def test_what_is_no_operation_is_refused(operation: Any) -> None:
    router = Router([model()])
    with pytest.raises(InvalidRequestError, match="operation is a name"):
        await router.complete("m", "hello", operation=operation)


async def test_what_costs_nothing_is_asked_with_no_money_left_and_held_to_tokens() -> None:
    paid, local = model(400, 100), model(400, 100)
    paid.name, paid.supported_models = "paid", ("big",)
    local.name, local.supported_models = "local", ("small",)
    router = Router(
        [paid, local],
        models={"smart": ["big", "small"]},
        prices={"big": Price(10, 10), "small": Price(0, 0)},
        budgets=Budgets(organism=[Budget(usd=0.01), Budget(tokens=3000)]),
    )
    asked = [(await router.complete("smart", "hello", max_tokens=200)).backend for _ in range(5)]
    assert asked == ["paid", "local", "local", "local", "local"]
    with pytest.raises(BudgetExceededError) as caught:
        await router.complete("small", "hello", max_tokens=400)
    assert caught.value.unit == "tokens"
    with pytest.raises(BudgetExceededError) as caught:
        await router.complete("big", "hello", max_tokens=200)
    assert caught.value.unit == "usd"


@pytest.mark.parametrize("per", ["hour", "day", "week", "month"])
async def test_a_period_is_the_calendars(per: Any) -> None:
    now = datetime(2026, 11, 26, 23, 30, tzinfo=UTC).timestamp()
    router = Router(
        [model(400, 100)],
        budgets=Budgets(organism=[Budget(tokens=600, per=per)], zone="Asia/Kathmandu"),
        clock=Clock(wall=lambda: now),
    )
    await router.complete("m", "hello", max_tokens=100)
    with pytest.raises(BudgetExceededError, match=f"tokens per {per}"):
        await router.complete("m", "hello", max_tokens=100)
    now += {"hour": 3600, "day": 86_400, "week": 7 * 86_400, "month": 31 * 86_400}[per]
    await router.complete("m", "hello", max_tokens=100)
