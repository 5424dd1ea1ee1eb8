"""What becomes of a request: decided here, whether an organism runs or nobody does."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from xml_pipeline.door.requests import (
    Amend,
    Cancel,
    Compact,
    Drop,
    Erase,
    Exchange,
    Fire,
    Forgive,
    Reply,
    Request,
    Retry,
    Told,
)
from xml_pipeline.errors import JournalError
from xml_pipeline.journal import letters
from xml_pipeline.journal.amending import Cap, amend, forgive
from xml_pipeline.journal.erasure import Erased, erase
from xml_pipeline.journal.history import conversation_named
from xml_pipeline.journal.space import compact, fold, together
from xml_pipeline.journal.sqlite import SqliteJournal
from xml_pipeline.ledger import Amended, Forgiven
from xml_pipeline.llm.accounting.periods import period_of, zone_named
from xml_pipeline.terminal import count, money


class Holder(Protocol):
    """Who has the journal: a running organism, or somebody who only changes something."""

    def begun(self, conversation_id: str) -> None:
        """A conversation has begun in the journal."""

    def cancel(self, conversation_id: str) -> bool:
        """Append the end of a conversation; False when there is none of that id."""

    def answer(self, request: Reply) -> None:
        """Append a person's answer. Raises RoutingError, PayloadError, EnvelopeError."""

    def dropped(self, message_ids: Sequence[str]) -> None:
        """Dead letters about these messages are off the list."""

    def erased(self, conversation_id: str, what: Erased) -> None:
        """What was said in a conversation is erased."""

    def forgiven(self, what: Forgiven) -> None:
        """Something is held no more against a budget."""

    def amended(self, what: Amended) -> None:
        """A call was put right."""

    async def fire(self, name: str) -> str:
        """Let a trigger fire: the id of its conversation. Raises RoutingError."""

    async def exchange(self, request: Exchange) -> bytes:
        """An envelope in, the answer's out; as `Organism.exchange`."""


class Desk:
    """Carries requests out.

    Args:
        journal: started, and ours.
        holder: who has it.
        new_id: where ids come from.
        clock: Unix time in seconds.
    """

    def __init__(
        self,
        journal: SqliteJournal,
        holder: Holder,
        new_id: Callable[[], str],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._journal = journal
        self._holder = holder
        self._new_id = new_id
        self._clock = clock
        self._letters = asyncio.Lock()  # two must not send the same one

    async def serve(self, request: Request) -> Told:
        """What is told when it is durable.

        Raises:
            XmlPipelineError: it cannot be done, and nothing was changed.
        """
        match request:
            case Exchange():
                return Told([(await self._holder.exchange(request)).decode()])
            case Retry(letter=letter):
                async with self._letters:
                    return await self._retry(letter)
            case Drop(letter=letter):
                async with self._letters:
                    return await self._drop(letter)
            case Erase(conversation=start):
                return await self._erase(start)
            case Compact(keep=keep):
                return await self._compact(keep)
            case Cancel(conversation=start):
                return await self._cancel(start)
            case Reply():
                self._holder.answer(request)
                await self._settled()
                return Told([f"thread {request.thread} is answered"])
            case Fire(trigger=name):
                return Told([f"trigger {name} has fired: conversation {await self._holder.fire(name)}"])
            case Forgive():
                return await self._forgive(request)
            case Amend():
                return await self._amend(request)

    async def _retry(self, letter: int | None) -> Told:
        journal, rows, sent = self._journal, [], 0
        waiting = await journal.change(letters.numbers) if letter is None else [letter]
        failed = False
        while waiting:
            number = waiting.pop(0)
            try:
                again = await journal.change(partial(self._again, number))
            except letters.Unsendable as reason:
                failed = True
                rows.append(f"dead letter {number} cannot be sent again: {reason}; `dead drop` drops it")
                continue
            await journal.add(again.step, [again.taken])
            self._holder.dropped([again.message_id])
            self._holder.begun(again.step.conversation_id)
            sent += 1
            rows.append(f"dead letter {number} is sent: conversation {again.step.conversation_id}")
            left = set(await journal.change(letters.numbers)) if waiting else set()
            waiting = [each for each in waiting if each in left]  # two may be about one message
        return Told([*rows, f"{count(sent, 'message')} sent"], failed)

    def _again(self, number: int, connection: sqlite3.Connection) -> letters.Again:
        return letters.again(connection, number, self._clock(), self._new_id)

    async def _drop(self, letter: int | None) -> Told:
        dropped = await self._journal.change(lambda connection: _dropped(connection, letter))
        self._holder.dropped(dropped)
        return Told([f"{count(len(dropped), 'dead letter')} dropped"])

    async def _erase(self, start: str) -> Told:
        journal = self._journal
        name = await journal.change(lambda connection: conversation_named(connection, start))
        what = await journal.change(lambda connection: erase(connection, name))
        self._holder.erased(name, what)
        await journal.change(lambda connection: fold(connection, journal.path))
        return Told([f"conversation {name} is erased"])

    async def _compact(self, keep: float | None) -> Told:
        journal = self._journal
        before = journal.path.stat().st_size
        then = None if keep is None else self._clock() - keep
        deleted = await journal.change(lambda connection: compact(connection, then))
        await journal.change(lambda connection: fold(connection, journal.path))
        after = journal.path.stat().st_size
        why = "; nobody said how long they are kept: --keep 7d" if keep is None else ""
        text = f"{count(deleted, 'conversation')} deleted{why}; {before:,} bytes before, {after:,} now"
        return Told([text])

    async def _cancel(self, start: str) -> Told:
        name = await self._journal.change(lambda connection: conversation_named(connection, start))
        if not self._holder.cancel(name):
            raise JournalError(f"conversation {name} is over already")
        await self._settled()
        return Told([f"conversation {name} is cancelled"])

    async def _forgive(self, request: Forgive) -> Told:
        cap = self._cap(request)
        made = await self._journal.change(lambda connection: forgive(connection, cap, self._clock()))
        self._holder.forgiven(made)
        what = f"{made.prompt:,} input and {made.output:,} output tokens, {money(made.micro_usd / 1_000_000)}"
        return Told([f"{made.scope}, this {made.per}: {what} forgiven"])

    def _cap(self, request: Forgive) -> Cap:
        if request.per == "run":
            lasts = request.scope.startswith(("conversation ", "thread "))  # they have one run
            return Cap(request.scope, "run", 0.0 if lasts else float(self._journal.ledger.before))
        period = period_of(request.per, self._clock(), zone_named(request.zone))
        return Cap(request.scope, request.per, period.start, period.end)

    async def _amend(self, request: Amend) -> Told:
        micro_usd = None if request.usd is None else round(request.usd * 1_000_000)
        made = await self._journal.change(
            lambda connection: amend(
                connection,
                request.call,
                request.tokens,
                micro_usd,
                self._clock(),
                self._journal.ledger.before,
            )
        )
        self._holder.amended(made)
        return Told([f"call {made.number}: {_came(*made.now_is)}; it was {_came(*made.was)}"])

    async def _settled(self) -> None:
        """Wait until all that was appended so far is durable."""
        await self._journal.change(lambda connection: None)


def _came(prompt: int, output: int, micro_usd: int | None) -> str:
    cost = money(None if micro_usd is None else micro_usd / 1_000_000)
    return f"{prompt:,} input and {output:,} output tokens, {cost}"


def _dropped(connection: sqlite3.Connection, letter: int | None) -> list[str]:
    """Drop one, or all; the ids of their messages."""
    with together(connection):
        found = letters.numbers(connection) if letter is None else [letter]
        return [letters.drop(connection, number) for number in found]
