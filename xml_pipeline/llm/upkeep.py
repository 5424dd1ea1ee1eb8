"""A request that asks for no answer: within budgets, written down and settled as any try at a model.

Storing the beginning of prompts is billed like a prompt, and for the time that it is stored. Who has it stored pays.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from xml_pipeline.errors import BackendError, NoBackendError
from xml_pipeline.events import LLMCalled
from xml_pipeline.ledger import Try
from xml_pipeline.llm.accounting.budgets import Most, Reservation
from xml_pipeline.llm.accounting.prices import Rates
from xml_pipeline.llm.accounting.usage import Answered, Charge, Outcome
from xml_pipeline.llm.entries import ended
from xml_pipeline.llm.http.transport import may_be_billed
from xml_pipeline.llm.routing.endpoint import Route
from xml_pipeline.llm.types import Usage

if TYPE_CHECKING:
    from xml_pipeline.llm.run import Shared

LONGEST = 60.0  # seconds that a request of this kind may take


@dataclass(frozen=True, slots=True)
class Upkeep:
    """What a prompt's beginning costs to be stored, or to be kept.

    Attributes:
        shared: the router's.
        route: where.
        charge: who pays.
        preset: the model as the caller named it.
        seconds: of storage that are paid.
        written: tokens that are sent for it, as expected; 0 where they stand there already.
        stored: tokens that it is, as expected.
        most: that these can come to.
    """

    shared: Shared
    route: Route
    charge: Charge
    preset: str
    seconds: float
    written: int
    stored: int
    most: int

    async def paid(self, act: Callable[[], Awaitable[int]]) -> int:
        """Do it, and account for it; the tokens that are stored, which `act` gives (0 for: as expected).

        Raises:
            BackendError: it was not done.
            BudgetExceededError, NoBackendError: the budgets do not allow it; nothing was sent.
            JournalError: it cannot be written down; nothing was sent.
        """
        shared, route, clock = self.shared, self.route, self.shared.clock
        rates = route.rates(shared.prices, clock.wall())
        held = self._hold(rates)
        row, told, tokens, sent, started = 0, 0, 0, False, clock.monotonic()
        outcome: Outcome = "cancelled"
        error: BackendError | None = None
        try:
            if shared.ledger is not None:
                row, durable = shared.ledger.begin(self._try(rates, held))
                await durable
            sent = True
            async with asyncio.timeout(LONGEST):
                told = await act()
            tokens = told or self.stored
            outcome = "stored"
        except Exception as raised:
            if not sent:
                raise
            outcome, error = "failed", route.typed(raised)
            sent = may_be_billed(error)
            raise error from None
        finally:
            confirmed = outcome == "stored" or not sent
            usage, cost = self._came_to(rates, tokens if confirmed else self.stored, counted=told > 0)
            at, name = clock.monotonic(), self._priced_as(rates)
            plain = None if cost is None else 0  # nobody stores anything without a cache
            fact = Answered(
                *(self.charge, route.name, route.model, outcome, usage, confirmed, cost, started, at, 0),
                error=error,
                plain=plain,
                priced_as=name,
            )
            self._settle(fact, held, row)
        return tokens

    def _hold(self, rates: Rates | None) -> Reservation | None:
        book = self.shared.book
        if not book.active:
            return None
        meters = book.meters(self.charge)
        storage = None if rates is None else rates.stored_micro_usd(self.most, self.seconds)
        if storage is None and any(meter.unit == "usd" and not meter.budget.soft for meter in meters):
            raise NoBackendError(
                f"a USD budget applies, and what it costs to store {self.route.model} prompts is unknown: write it"
                " as cache_storage under llm.prices"
            )
        written = self.most if self.written else 0
        prompt = 0 if rates is None or not written else rates.highest(written, 0)
        return book.reserve(meters, Most(written, 0, prompt + (storage or 0)))

    def _came_to(self, rates: Rates | None, stored: int, *, counted: bool) -> tuple[Usage, int | None]:
        """(usage, micro-USD) of so many tokens that are stored; the part of the cost that is known."""
        written = stored if self.written else 0
        usage = Usage(written, cache_write_tokens=written, estimated=bool(written) and not counted)
        if rates is None:
            return usage, None
        prompt = rates.micro_usd(usage) if written else 0
        return usage, prompt + (rates.stored_micro_usd(stored, self.seconds) or 0)

    def _priced_as(self, rates: Rates | None) -> str:
        if rates is None:
            return ""
        return rates.name if rates.storage is not None else f"{rates.name} (storage unknown)"

    def _try(self, rates: Rates | None, held: Reservation | None) -> Try:
        charge = self.charge
        usage, cost = self._came_to(rates, self.most, counted=False)
        return Try(
            *(charge.agent, charge.operation, charge.conversation_id, charge.threads, None),
            *(self.route.name, self.route.model, self._priced_as(rates), self.shared.clock.wall()),
            *(usage.prompt_tokens, 0, cost if held is None else held.most.micro_usd or cost),
            *(1, charge.caller, charge.door),
        )

    def _settle(self, fact: Answered, held: Reservation | None, row: int) -> None:
        shared, wall = self.shared, self.shared.clock.wall()
        shared.usage.settle(fact)
        if row and shared.ledger is not None:
            shared.ledger.end(row, ended(None, fact, None, wall))
        if shared.lines is not None:
            shared.lines.add(self.preset, fact, None, wall)
        if held is not None:
            held.settle(fact)
            held.close()
        if shared.observers and (fact.usage.total_tokens or fact.micro_usd):
            charge, usage, error = fact.charge, fact.usage, fact.error
            shared.emit(
                LLMCalled(
                    *(charge.agent, charge.thread_id, charge.conversation_id, fact.backend, fact.model),
                    *(usage.prompt_tokens, 0, fact.cost, fact.at - fact.started),
                    *("" if error is None else type(error).__name__, charge.message_id, charge.attempt),
                    *(usage.estimated, fact.confirmed, False),
                )
            )
