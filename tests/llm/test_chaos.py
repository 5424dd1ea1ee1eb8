"""Three backends that flap, two thousand calls: everyone gets an answer or a typed error, and the books agree."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass

from tests.emulators.openai import OpenAIEmulator
from tests.emulators.script import Answer, Fail, Failure, Fault, Place, Recorded, Script, Step
from xml_pipeline.errors import BackendError
from xml_pipeline.events import Event, LLMCalled
from xml_pipeline.llm import LLMResponse, Router, StreamEnd, TextDelta, Timeouts
from xml_pipeline.llm.providers.openai import OpenAIBackend

CALLS = 2000
IN_FLIGHT = 64
DEADLINE = 30.0  # seconds of one call
PATIENCE = 4.0  # seconds with a backend that hangs; a good answer never takes so long, also on a busy machine
SLACK = 5.0  # seconds that a busy machine may take to notice a deadline

TROUBLES: tuple[Step, ...] = (
    Fail(Failure.RATE, retry_after="0.02"),
    Fail(Failure.OVERLOADED),
    Fail(Failure.INTERNAL),
    Fail(Failure.BAD_GATEWAY),
    Fail(Failure.UNAVAILABLE),
    Fail(Failure.INTERNAL, place=Place.BODY),
    Fail(Failure.OVERLOADED, place=Place.STREAM, after=1),
    Answer(fault=Fault.RESET),
    Answer(fault=Fault.DROPPED),
    Answer(fault=Fault.TRUNCATED),
    Answer(fault=Fault.NO_END),
    Answer(fault=Fault.HTML),
    Answer(fault=Fault.EMPTY),
    Answer(fault=Fault.HANG),
    Answer(fault=Fault.STALL),
)


@dataclass
class Flapping:
    """Good for a while, then bad for a while; deterministic for a seed."""

    seed: int

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._left = 0
        self._bad = False

    def __call__(self, request: Recorded) -> Step:
        if not self._left:
            self._bad = not self._bad
            self._left = self._random.randrange(5, 60)
        self._left -= 1
        if self._random.random() < (0.6 if self._bad else 0.02):
            # What hangs costs time, so it is rarer than what fails at once.
            return self._random.choice(TROUBLES[:-2] if self._random.random() < 0.9 else TROUBLES)
        words = self._random.randrange(1, 12)
        return Answer(" ".join(["word"] * words))


async def test_every_call_ends_and_the_books_agree_with_the_servers() -> None:
    told: list[Event] = []
    async with AsyncExitStack() as stack:
        servers = [
            await stack.enter_async_context(OpenAIEmulator(Script(default=Flapping(seed))))
            for seed in (1, 2, 3)
        ]
        router = await stack.enter_async_context(
            Router(
                [
                    OpenAIBackend(
                        name=f"b{n}", base_url=server.base_url, api_key=server.key, max_concurrent=40
                    )
                    for n, server in enumerate(servers)
                ],
                strategy="least-loaded",
                retries=6,
                retry_base_delay=0.005,
                retry_max_delay=0.05,
                on_event=told.append,
                timeouts=Timeouts(request=DEADLINE, attempt=PATIENCE, first_token=PATIENCE, idle=PATIENCE),
            )
        )
        tasks_before = len(asyncio.all_tasks())
        outcomes: Counter[str] = Counter()
        trails: list[int] = []
        answered = 0
        numbers = iter(range(CALLS))
        clock = asyncio.get_running_loop().time

        async def one(number: int) -> LLMResponse:
            text = f"question {number} " * (number % 7 + 1)
            if number % 2:
                return await router.complete("gpt-4o", text, agent_id=f"agent {number % 5}")
            pieces: list[str] = []
            async for event in router.stream("gpt-4o", text, agent_id=f"agent {number % 5}"):
                if isinstance(event, TextDelta):
                    pieces.append(event.text)
                elif isinstance(event, StreamEnd):
                    assert event.response.content == "".join(pieces)
                    return event.response
            raise AssertionError("a stream ended without its end")

        async def work() -> None:
            nonlocal answered
            for number in numbers:
                started = clock()
                try:
                    response = await one(number)
                except BackendError as error:
                    outcomes[type(error).__name__] += 1
                    trails.append(len(error.attempts))
                else:
                    outcomes["answered"] += 1
                    answered += response.usage["total_tokens"]
                assert clock() - started < DEADLINE + SLACK

        await asyncio.gather(*(work() for _ in range(IN_FLIGHT)))

        assert sum(outcomes.values()) == CALLS
        assert all(trails)
        assert outcomes["answered"] > 0.8 * CALLS, outcomes
        counted = sum(server.tally.prompt_tokens + server.tally.completion_tokens for server in servers)
        usage = router.get_all_usage()
        spent = router.get_backend_usage()
        charged = sum(one.prompt_tokens + one.completion_tokens for one in told if isinstance(one, LLMCalled))
        total = router.get_total_usage()
        assert answered == counted == total.total_tokens - total.estimated_tokens
        assert total.estimated_tokens > 0, (
            "streams that broke after content are charged, and say that it is a guess"
        )
        assert sum(one.total_tokens for one in usage.values()) == total.total_tokens
        assert sum(one.total_tokens + one.unconfirmed_tokens for one in spent.values()) == charged
        for server, status in zip(servers, router.describe(), strict=True):
            exact = status.usage.total_tokens - status.usage.estimated_tokens
            assert exact == server.tally.prompt_tokens + server.tally.completion_tokens
            assert status.usage.request_count == server.tally.requests
            assert (status.in_flight, status.waiting) == (0, 0)
        assert sum(one.failure_count for one in usage.values()) == CALLS - outcomes["answered"]
        assert sum(one.request_count for one in usage.values()) == outcomes["answered"]
        await asyncio.sleep(0)
        ours = [task for task in asyncio.all_tasks() if "xml_pipeline" in repr(task.get_coro())]
        assert not ours
        assert len(asyncio.all_tasks()) <= tasks_before + 2 * IN_FLIGHT, (
            "only the servers' own tasks are left"
        )
