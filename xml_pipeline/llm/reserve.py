"""How much of its budgets a call takes before it starts."""

from __future__ import annotations

from collections.abc import Sequence

from xml_pipeline.errors import BudgetExceededError
from xml_pipeline.llm.accounting.budgets import Meter, Reservation
from xml_pipeline.llm.completion import Call

LEAST_OUTPUT = 256  # tokens; below this a call without max_tokens waits for others to settle, or is refused


async def reserve(call: Call) -> Reservation | None:
    """Reserve an upper bound of what the call can use in all budgets that apply; None when none does.

    A call that would fit if the calls in flight used less than they reserved waits for them.

    Raises:
        BudgetExceededError: it does not fit; nothing was spent.
        NoBackendError: a USD budget applies, and no backend's price is known.
    """
    book = call.core.book
    while True:
        meters = book.meters(call.charge)
        if not meters:
            return None
        try:
            return _try(call, meters)
        except BudgetExceededError as error:
            remaining = call.deadline - call.core.clock.monotonic()
            if remaining <= 0 or not any(meter.reserved for meter in meters):
                raise
            if not _would_fit_alone(call, meters):
                raise error
            await call.core.settlements.wait(remaining)


def _try(call: Call, meters: Sequence[Meter]) -> Reservation:
    tokens, micro_usd, max_tokens = _amounts(call, [(meter, meter.headroom()) for meter in meters])
    reservation = call.core.book.reserve(meters, tokens, micro_usd)
    call.limit_output(max_tokens)
    return reservation


def _would_fit_alone(call: Call, meters: Sequence[Meter]) -> bool:
    tokens, micro_usd, _ = _amounts(call, [(meter, meter.unspent) for meter in meters])
    return all((micro_usd if meter.unit == "usd" else tokens) <= meter.unspent for meter in meters)


def _amounts(call: Call, rooms: Sequence[tuple[Meter, int]]) -> tuple[int, int, int]:
    """(tokens, micro-USD, output limit) of the call, given the room of each meter."""
    prompt = call.most_prompt_tokens()
    priced = any(meter.unit == "usd" for meter, _ in rooms)
    rates = call.known_rates() if priced else []
    output = call.max_tokens
    if output is None:
        output = call.core.book.budgets.default_max_tokens
        for meter, room in rooms:
            if meter.unit == "tokens":
                output = min(output, room - prompt)
            else:
                output = min(output, *(rate.output_for(room, prompt) for rate in rates))
        output = max(output, min(LEAST_OUTPUT, call.core.book.budgets.default_max_tokens))
    micro_usd = max((rate.highest(prompt, output) for rate in rates), default=0)
    return prompt + output, micro_usd, output
