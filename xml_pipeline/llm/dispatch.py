"""Tries backends until one answers: one after the other, or two at a time when the first is slow."""

from __future__ import annotations

import asyncio

from xml_pipeline.errors import BackendError
from xml_pipeline.llm.attempt import Try
from xml_pipeline.llm.completion import Call
from xml_pipeline.llm.types import LLMResponse


async def answer(call: Call) -> LLMResponse:
    """Try backends until one answers.

    Raises:
        BackendError: none did, or the request itself is wrong; with the trail of attempts.
    """
    try:
        async with asyncio.timeout(call.deadline - call.core.clock.monotonic()) as scope:
            hedge_after = call.core.timeouts.hedge_after
            return await (_in_turn(call) if hedge_after is None else _hedged(call, hedge_after))
    except TimeoutError:
        if not scope.expired():
            raise
        raise call.timed_out() from None


async def _in_turn(call: Call) -> LLMResponse:
    while True:
        route, permit = await call.next_route()
        try:
            return await Try(call, route, permit).complete()
        except BackendError as error:
            call.check(error)


async def _hedged(call: Call, hedge_after: float) -> LLMResponse:
    """As `_in_turn`, with a second try elsewhere when the first is slow; the first answer counts."""
    while True:
        route, permit = await call.next_route()
        tasks = {_start(Try(call, route, permit))}
        try:
            done, _ = await asyncio.wait(tasks, timeout=hedge_after)
            other = None if done else call.other_route(route)
            if other is not None:
                second = await other.endpoint.limiter.acquire(call.estimate(other))
                call.core.strategy.taken(other)
                tasks.add(_start(Try(call, other, second)))
            answered = await _first(call, tasks)
            if answered is not None:
                return answered
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _first(call: Call, pending: set[asyncio.Task[LLMResponse]]) -> LLMResponse | None:
    """The first answer of these tries; None when all of them failed and the call goes on."""
    while pending:
        done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            error = task.exception()
            if error is None:
                return task.result()
            if not isinstance(error, BackendError):
                raise error
            if not error.failover or not pending:
                call.check(error)
    return None


def _start(one: Try) -> asyncio.Task[LLMResponse]:
    task = asyncio.create_task(one.complete())
    task.add_done_callback(lambda _: one.close())
    return task
