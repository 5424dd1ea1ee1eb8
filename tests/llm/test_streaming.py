"""Streams: failover until the first content, honesty after it, permits back on every end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest

from xml_pipeline.errors import (
    BackendError,
    BackendTimeoutError,
    InvalidRequestError,
    MalformedAnswerError,
    NoBackendError,
    OverloadedError,
)
from xml_pipeline.llm import (
    LLMRequest,
    ReasoningDelta,
    Router,
    StreamEnd,
    StreamEvent,
    TextDelta,
    Timeouts,
    ToolCallDelta,
    Usage,
)
from xml_pipeline.llm.providers.scripted import Rule, ScriptedBackend
from xml_pipeline.llm.types import StreamFinished, StreamOpened, UsageReport
from xml_pipeline.testing import run_in_virtual_time


class Playing(ScriptedBackend):
    """Streams what it is given; a number is a pause in seconds, an exception is raised."""

    def __init__(self, name: str, *play: StreamEvent | float | Exception, **settings: Any) -> None:
        super().__init__(name=name, **settings)
        self.play = play
        self.closed = 0

    async def _do_stream(self, client: object, request: LLMRequest) -> AsyncIterator[StreamEvent]:
        self.requests.append(request)
        try:
            for step in self.play:
                if isinstance(step, Exception):
                    raise step
                if isinstance(step, (int, float)):
                    await asyncio.sleep(step)
                else:
                    yield step
        finally:
            self.closed += 1


END = StreamFinished("stop", "m")
B = ScriptedBackend(name="b", rules=(Rule(reply="from b"),), priority=2)


async def text_of(router: Router) -> str:
    return "".join(
        [event.text async for event in router.stream("m", "hello") if isinstance(event, TextDelta)]
    )


def idle(router: Router) -> bool:
    return all(status.in_flight == 0 and status.waiting == 0 for status in router.describe())


def test_everything_that_streams_is_in_the_final_response() -> None:
    async def main() -> None:
        usage = Usage(20, 12, reasoning_tokens=4)
        router = Router(
            [
                Playing(
                    "a",
                    StreamOpened({"x": "y"}, "req-1"),
                    ReasoningDelta("let me "),
                    ReasoningDelta("think"),
                    TextDelta("Hel"),
                    TextDelta("lo"),
                    ToolCallDelta(0, "call_1", "add", '{"a"'),
                    ToolCallDelta(0, arguments=": 1}"),
                    ToolCallDelta(1, "call_2", "sub", "{}", {"gemini": "signed"}),
                    UsageReport(Usage(20, 1)),
                    StreamFinished("tool_calls", "m-2026", provider_data={"a": [1]}),
                    UsageReport(usage),
                )
            ]
        )
        events = [event async for event in router.stream("m", "hello")]
        assert [type(event) for event in events[:2]] == [ReasoningDelta, ReasoningDelta]
        assert not any(isinstance(event, (StreamOpened, UsageReport, StreamFinished)) for event in events)
        assert isinstance(events[-1], StreamEnd)
        response = events[-1].response
        assert (response.content, response.reasoning, response.model) == ("Hello", "let me think", "m-2026")
        assert [(call.id, call.name, call.arguments) for call in response.tool_calls] == [
            ("call_1", "add", {"a": 1}),
            ("call_2", "sub", {}),
        ]
        assert response.usage == usage
        assert (response.finish_reason, response.request_id, response.backend) == ("tool_calls", "req-1", "a")
        assert response.message["tool_calls"][1]["provider_data"] == {"gemini": "signed"}
        assert response.message["provider_data"] == {"a": [1]}

    run_in_virtual_time(main())


@pytest.mark.parametrize(
    "play",
    [
        (OverloadedError("busy"),),
        (StreamOpened(), UsageReport(Usage(5, 0)), OverloadedError("busy")),
        (StreamOpened(),),  # ends before its final event
        (StreamOpened(), 1000.0),  # no content in time
    ],
)
def test_before_the_first_content_another_backend_takes_over_unseen(play: tuple[Any, ...]) -> None:
    async def main() -> None:
        router = Router([Playing("a", *play), B], timeouts=Timeouts(first_token=30))
        events = [event async for event in router.stream("m", "hello")]
        assert "".join(event.text for event in events if isinstance(event, TextDelta)) == "from b"
        assert isinstance(events[-1], StreamEnd)
        assert [attempt.backend for attempt in events[-1].response.attempts] == ["a", "b"]
        assert idle(router)

    run_in_virtual_time(main())


@pytest.mark.parametrize(
    ("play", "kind"),
    [
        ((OverloadedError("busy"),), OverloadedError),
        ((), MalformedAnswerError),
        ((100.0,), BackendTimeoutError),
        ((ConnectionResetError("gone"),), BackendError),
    ],
)
def test_after_the_first_content_an_error_is_an_error(
    play: tuple[Any, ...], kind: type[BackendError]
) -> None:
    async def main() -> None:
        router = Router([Playing("a", TextDelta("half"), *play), B], timeouts=Timeouts(idle=20))
        seen: list[StreamEvent] = []

        async def consume() -> None:
            async for event in router.stream("m", "hello", agent_id="greeter"):
                seen.append(event)

        with pytest.raises(kind) as caught:
            await consume()
        assert seen == [TextDelta("half")]
        assert caught.value.backend == "a"
        assert [attempt.backend for attempt in caught.value.attempts] == ["a"]
        assert router.get_agent_usage("greeter").failure_count == 1
        assert idle(router)

    run_in_virtual_time(main())


def test_the_callers_fault_ends_a_stream_at_once() -> None:
    async def main() -> None:
        with pytest.raises(InvalidRequestError):
            await text_of(Router([Playing("a", InvalidRequestError("no")), B]))

    run_in_virtual_time(main())


def test_a_consumer_may_take_its_time_without_the_backend_being_blamed() -> None:
    async def main() -> None:
        router = Router(
            [Playing("a", TextDelta("1"), TextDelta("2"), END)], timeouts=Timeouts(idle=5, first_token=5)
        )
        async for event in router.stream("m", "hello"):
            if isinstance(event, TextDelta):
                await asyncio.sleep(60)

    run_in_virtual_time(main())


def test_a_long_stream_outlives_the_first_token_and_idle_limits_but_not_the_deadline() -> None:
    async def main() -> None:
        steady = [step for _ in range(30) for step in (TextDelta("x"), 4.0)]
        router = Router([Playing("a", *steady, END)], timeouts=Timeouts(idle=5, first_token=5))
        assert await text_of(router) == "x" * 30
        with pytest.raises(BackendTimeoutError, match="deadline"):
            async for _ in router.stream("m", "hello", timeout=50):
                pass
        assert idle(router)

    run_in_virtual_time(main())


def test_leaving_cancelling_and_closing_give_the_permit_back_and_close_the_source() -> None:
    async def main() -> None:
        a = Playing("a", TextDelta("1"), TextDelta("2"), 1000.0, END)
        router = Router([a])
        async with aclosing(router.stream("m", "hello", agent_id="leaver")) as events:
            async for _ in events:
                break
        assert (a.closed, idle(router)) == (1, True)

        async def consume() -> None:
            async for _ in router.stream("m", "hello", agent_id="cancelled"):
                pass

        task = asyncio.create_task(consume())
        await asyncio.sleep(1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()
        assert (a.closed, idle(router)) == (2, True)
        for name in ("leaver", "cancelled"):
            assert router.get_agent_usage(name).total_tokens > 0, "what came is charged"

    run_in_virtual_time(main())


def test_a_stream_cancelled_before_content_is_unconfirmed() -> None:
    async def main() -> None:
        router = Router([Playing("a", StreamOpened(), 1000.0)])
        task = asyncio.create_task(text_of(router))
        await asyncio.sleep(1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert router.get_total_usage().total_tokens == 0
        assert router.get_total_usage().unconfirmed_tokens > 0
        assert idle(router)

    run_in_virtual_time(main())


def test_a_stream_waits_for_room_and_gives_up_at_its_deadline() -> None:
    async def main() -> None:
        router = Router([Playing("a", 30.0, TextDelta("x"), END, max_concurrent=1)])
        first = asyncio.create_task(text_of(router))
        await asyncio.sleep(0)
        with pytest.raises(BackendTimeoutError):
            async for _ in router.stream("m", "hello", timeout=10):
                pass
        assert asyncio.get_running_loop().time() == 10
        assert await text_of(router) == "x"
        assert await first == "x"
        assert asyncio.get_running_loop().time() == 60

    run_in_virtual_time(main())


def test_a_stream_that_waits_for_a_probe_gives_up_at_its_deadline() -> None:
    async def main() -> None:
        rules = (Rule(error="RateLimitedError", times=1, retry_after=2.0), Rule(latency=100, reply="late"))
        router = Router([ScriptedBackend(name="a", rules=rules)])
        probe = asyncio.create_task(text_of(router))
        await asyncio.sleep(5)
        assert router.describe()[0].health == "probing"
        with pytest.raises(BackendTimeoutError, match="within 10 s"):
            async for _ in router.stream("m", "hello", timeout=10):
                pass
        assert asyncio.get_running_loop().time() == 15
        probe.cancel()
        await asyncio.gather(probe, return_exceptions=True)
        assert idle(router)

    run_in_virtual_time(main())


async def test_wrong_arguments_are_known_before_anything_is_asked() -> None:
    router = Router([ScriptedBackend(supported_models=["m"])])
    with pytest.raises(TypeError, match="did you mean 'temperature'"):
        await text_of_options(router, temprature=1)
    with pytest.raises(TypeError, match="response_type"):
        await text_of_options(router, response_type=int)
    with pytest.raises(NoBackendError):
        async for _ in router.stream("other", "hello"):
            pass


async def text_of_options(router: Router, **options: Any) -> None:
    async for _ in router.stream("m", "hello", **options):
        pass


async def test_the_log_says_once_that_streams_are_not_hedged(caplog: pytest.LogCaptureFixture) -> None:
    router = Router([ScriptedBackend(rules=(Rule(reply="Hi"),))], timeouts=Timeouts(hedge_after=1))
    for _ in range(2):
        assert [event async for event in router.stream("m", "x")]
    said = [record.message for record in caplog.records if "hedge_after" in record.message]
    assert len(said) == 1
    assert "first_token_timeout" in said[0]


class Overhanging(ScriptedBackend):
    """Breaks after it has finished."""

    async def _do_stream(self, client: Any, request: Any) -> AsyncIterator[Any]:
        yield TextDelta("Hi")
        yield StreamFinished("stop", "m")
        raise ConnectionResetError("gone")


def test_nobody_interrupts_a_consumer_that_takes_its_time_with_a_finished_answer() -> None:
    async def main() -> None:
        router = Router([Overhanging()], timeouts=Timeouts(idle=1))
        events = []
        async for event in router.stream("m", "x"):
            events.append(event)
            await asyncio.sleep(1000)
        assert isinstance(events[-1], StreamEnd)
        assert events[-1].response.content == "Hi"

    run_in_virtual_time(main())
