"""A second try elsewhere while the first is slow; the first answer counts."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from xml_pipeline.errors import BudgetExceededError
from xml_pipeline.llm.accounting.budgets import Reservation
from xml_pipeline.llm.routing.leases import Lease
from xml_pipeline.llm.types import LLMResponse

if TYPE_CHECKING:
    from xml_pipeline.llm.run import Run


async def hedged(run: Run, lease: Lease, hedge_after: float) -> LLMResponse | None:
    """As `Run.send`, with a second attempt elsewhere when the first has not answered after so many seconds."""
    tasks = {_start(run, lease)}
    try:
        done, _ = await asyncio.wait(tasks, timeout=hedge_after)
        other = None if done else _other(run, lease)
        if other is not None:
            tasks.add(_start(run, other))
        pending = set(tasks)
        while pending:
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            answers = [task.result() for task in done if not (task.cancelled() or task.exception())]
            response = next((answer for answer in answers if answer is not None), None)
            if response is not None:
                return response
            for task in done:
                task.result()  # the deadline passed
        return None
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _other(run: Run, taken: Lease) -> Lease | None:
    """A second attempt, if there is another backend for it, and room in the budgets."""
    held: Reservation | None = None
    if run.meters:
        try:
            held = run.reserve()
        except BudgetExceededError:
            return None
    other = run.leases.hedge(taken.route)
    if other is not None:
        other.held = held
    elif held is not None:
        held.close()
    return other


def _start(run: Run, lease: Lease) -> asyncio.Task[LLMResponse | None]:
    task = asyncio.create_task(run.send(lease))
    task.add_done_callback(lambda _: _never_sent(run, lease))
    return task


def _never_sent(run: Run, lease: Lease) -> None:
    """A task that is cancelled before its first step never comes to its own end: leave nothing behind."""
    if not lease.settled:
        lease.settled = True
        lease.permit.unused()
        lease.route.breaker.abandon(lease.route.model, lease.started)
        run.leases.tell_others()
