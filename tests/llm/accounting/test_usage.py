"""Who is charged, and for how much."""

from __future__ import annotations

import asyncio

import pytest

from tests.llm.callers import Handler, answered, running
from xml_pipeline.errors import BackendError, NoBackendError
from xml_pipeline.events import Event, LLMCalled
from xml_pipeline.llm import LLMResponse, Price, Router, StreamEnd, Usage, complete, stream, use_router
from xml_pipeline.llm.accounting.usage import MAX_NAMES, MAX_THREADS, Charge, UsageTally
from xml_pipeline.llm.http.backend import Backend
from xml_pipeline.llm.providers.scripted import Rule, ScriptedBackend
from xml_pipeline.testing import run_in_virtual_time

TEN = Rule(reply="x", usage={"prompt_tokens": 7, "completion_tokens": 3})


def scripted(**settings: object) -> ScriptedBackend:
    return ScriptedBackend(rules=(TEN,), **settings)  # type: ignore[arg-type]  # fields by name


async def test_pitfall_11_no_path_to_a_model_skips_accounting() -> None:
    router = Router([scripted()])
    with use_router(router), running(Handler("researcher")):
        await complete("m", "hello")
        await router.complete("m", "hello")
        async for _ in stream("m", "hello"):
            pass
        async for _ in router.stream("m", "hello"):
            pass
        await asyncio.create_task(complete("m", "hello"))
    usage = router.get_agent_usage("researcher")
    assert (usage.request_count, usage.total_tokens) == (5, 50)


async def test_pitfall_11_a_handler_cannot_charge_another() -> None:
    router = Router([scripted()])
    with running(Handler("researcher")):
        await router.complete("m", "hello", agent_id="greeter")
    assert router.get_agent_usage("greeter").total_tokens == 0
    assert router.get_agent_usage("researcher").total_tokens == 10


async def test_outside_of_a_handler_the_caller_says_who_pays() -> None:
    router = Router([scripted()])
    await router.complete("m", "hello", agent_id="greeter")
    await router.complete("m", "hello")
    assert router.get_all_usage().keys() == {"greeter"}
    assert router.get_total_usage().request_count == 2


async def test_a_thread_is_charged_for_everything_below_it() -> None:
    router = Router([scripted()])
    with running(Handler("planner", "top")):
        await router.complete("m", "hello")
    with running(Handler("worker", "below", above=("top",))):
        await router.complete("m", "hello")
    with running(Handler("worker", "deeper", above=("below", "top"))):
        await router.complete("m", "hello")
    assert router.get_thread_usage("top").total_tokens == 30
    assert router.get_thread_usage("below").total_tokens == 20
    assert router.get_thread_usage("deeper").total_tokens == 10
    assert router.get_conversation_usage("c1").request_count == 3
    assert router.get_thread_usage("never seen").total_tokens == 0


async def test_every_kind_of_token_and_the_cost_are_summed() -> None:
    usage = {
        "prompt_tokens": 1000,
        "completion_tokens": 100,
        "cached_tokens": 400,
        "cache_write_tokens": 200,
        "reasoning_tokens": 60,
    }
    backend = ScriptedBackend(name="a", rules=(Rule(reply="x", usage=usage),))
    router = Router([backend], prices={"m": Price(input=2.0, output=10.0, cached=0.5, cache_write=3.0)})
    response = await router.complete("m", "hello", agent_id="greeter")
    assert response.cost == pytest.approx((400 * 2 + 400 * 0.5 + 200 * 3 + 100 * 10) / 1e6)
    totals = router.get_agent_usage("greeter")
    assert (totals.cached_tokens, totals.cache_write_tokens, totals.reasoning_tokens) == (400, 200, 60)
    assert totals.cost == pytest.approx(response.cost)
    assert router.get_model_usage()["m"].total_tokens == 1100
    assert router.get_backend_usage()["a"].total_tokens == 1100


async def test_sums_tell_what_caching_came_to() -> None:
    wrote = Rule(
        reply="x", usage={"prompt_tokens": 10, "cache_write_tokens": 8, "cache_write_1h_tokens": 6}, times=1
    )
    read = Rule(reply="x", usage={"prompt_tokens": 10, "cached_tokens": 8})
    price = Price(input=1, output=0, cached=0, cache_write=2, cache_write_1h=3)
    async with Router([ScriptedBackend(rules=(wrote, read))], prices={"m": price}) as router:
        await router.complete("m", "hello")
        first = router.get_total_usage()
        await router.complete("m", "hello")
        both = router.get_total_usage()
    assert (first.cache_write_tokens, first.cache_write_1h_tokens) == (8, 6)
    assert (first.known_cost, first.plain_cost) == (24e-6, 10e-6)
    assert first.saved == pytest.approx(-14e-6)
    assert (both.known_cost, both.plain_cost) == (26e-6, 20e-6)


async def test_an_unknown_price_is_none_and_never_zero() -> None:
    class Unpriced(ScriptedBackend):
        offline = False

    router = Router([Unpriced(base_url="http://127.0.0.1:1", rules=(TEN,))])
    response = await router.complete("m", "hello", agent_id="greeter")
    assert response.cost is None
    totals = router.get_agent_usage("greeter")
    assert totals.cost is None
    assert totals.unpriced_count == 1
    await router.aclose()


async def test_resetting_forgets_one_agent_or_all() -> None:
    router = Router([scripted()])
    for name in ("a", "b", "c"):
        await router.complete("m", "hello", agent_id=name)
    router.reset_agent_usage("a")
    assert router.get_all_usage().keys() == {"b", "c"}
    router.reset_agent_usage()
    assert router.get_all_usage() == {}
    assert router.get_total_usage().request_count == 3


async def test_failed_calls_count_for_the_agent_and_failed_tries_for_the_backend() -> None:
    router = Router([ScriptedBackend(name="a", rules=(Rule(error="AuthenticationError"),))])
    with pytest.raises(BackendError):
        await router.complete("m", "hello", agent_id="greeter")
    assert router.get_agent_usage("greeter").failure_count == 1
    assert router.get_agent_usage("greeter").request_count == 0
    assert router.get_backend_usage()["a"].failure_count == 1


async def test_an_answer_without_usage_is_estimated_and_says_so() -> None:
    class Silent(Backend):
        offline = True

        def serves_model(self, model: str) -> bool:
            return True

        async def _do_completion(self, client: object, request: object) -> LLMResponse:
            return LLMResponse(content="a" * 350, model="m")

    router = Router([Silent()])
    response = await router.complete("m", "x" * 700, agent_id="greeter")
    usage = Usage.of(response.usage)
    assert usage.estimated
    assert usage.completion_tokens == 100
    assert 200 <= usage.prompt_tokens <= 220
    assert router.get_agent_usage("greeter").total_tokens == usage.total_tokens


async def test_every_call_is_an_event() -> None:
    events: list[Event] = []
    router = Router([scripted(name="a")], on_event=events.append)
    with running(Handler("researcher", "t7", "c3")):
        await router.complete("m", "hello")
    called = [event for event in events if isinstance(event, LLMCalled)]
    assert [(one.agent, one.thread_id, one.conversation_id, one.backend) for one in called] == [
        ("researcher", "t7", "c3", "a")
    ]
    assert (called[0].prompt_tokens, called[0].completion_tokens, called[0].cost) == (7, 3, 0.0)


async def test_an_observer_that_fails_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def broken(event: Event) -> None:
        raise RuntimeError("observer")

    router = Router([scripted()], on_event=broken)
    assert (await router.complete("m", "hello")).content == "x"
    assert "observer" in caplog.text


def test_a_consumer_that_leaves_a_stream_is_charged_for_what_came() -> None:
    async def main() -> None:
        backend = ScriptedBackend(rules=(Rule(reply="word " * 1000),))
        router = Router([backend])
        events = router.stream("m", "x" * 400, agent_id="greeter")
        seen = 0
        async for _ in events:
            seen += 1
            if seen == 100:
                break
        await events.aclose()
        usage = router.get_agent_usage("greeter")
        assert usage.request_count == 1
        assert usage.prompt_tokens > 100
        assert 50 <= usage.completion_tokens <= 200
        assert router.describe()[0].in_flight == 0

    run_in_virtual_time(main())


async def test_a_stream_is_accounted_like_a_whole_answer() -> None:
    router = Router([scripted()])
    events = [event async for event in router.stream("m", "hello", agent_id="greeter")]
    assert isinstance(events[-1], StreamEnd)
    assert events[-1].usage["total_tokens"] == 10
    assert router.get_agent_usage("greeter").total_tokens == 10


def test_the_tally_keeps_a_bounded_number_of_threads() -> None:
    tally = UsageTally()
    for number in range(MAX_THREADS + 10):
        charge = Charge("a", f"t{number}", f"c{number}", (f"t{number}",))
        tally.settle(answered(charge, "b", "m", Usage(1, 1), 0))
    assert tally.one("thread", "t0").request_count == 0
    assert tally.one("thread", f"t{MAX_THREADS + 9}").request_count == 1
    assert tally.one("agent", "a").request_count == MAX_THREADS + 10


def test_the_threads_that_are_forgotten_first_are_those_not_heard_of() -> None:
    tally = UsageTally()

    def call(thread: str) -> None:
        tally.settle(answered(Charge("a", thread, thread, (thread,)), "b", "m", Usage(1, 1), 0))

    call("old but busy")
    for number in range(MAX_THREADS - 1):
        call(f"t{number}")
    call("old but busy")
    call("one more")
    assert tally.one("thread", "old but busy").request_count == 2
    assert tally.one("thread", "t0").request_count == 0


def test_names_that_anybody_may_invent_are_bounded_and_nothing_is_lost_of_their_sum() -> None:
    tally = UsageTally()
    for number in range(MAX_NAMES + 50):
        for model in (f"m{number}", "usual"):
            tally.settle(answered(Charge("a", "t", "c", ("t",)), "b", model, Usage(1, 1), 0))
    models = tally.all("model")
    assert len(models) <= MAX_NAMES
    assert sum(each.request_count for each in models.values()) == 2 * (MAX_NAMES + 50)
    assert models["usual"].request_count == MAX_NAMES + 50
    assert models[f"m{MAX_NAMES + 49}"].request_count == 1


async def test_a_call_that_nobody_can_serve_is_charged_to_nobody() -> None:
    router = Router()
    with pytest.raises(NoBackendError):
        await router.complete("m", "hello", agent_id="greeter")
    assert router.get_all_usage() == {}
    router.forget_conversation("c1")
