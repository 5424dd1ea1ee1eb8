"""A journal in one SQLite file, by one connection in a thread of its own.

Batches form by themselves: steps gather while the event loop makes more of them (`journal.gathering`), and while one
commit is on its way to the disk. Nothing waits on a timer. The one connection that writes is also the only one that
checkpoints: before 3.51.3 SQLite can corrupt a WAL database that two connections checkpoint
(sqlite.org/wal.html#walresetbug). Whoever reads opens the file read-only (`journal.file`).
"""

from __future__ import annotations

import asyncio
import math
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Literal, TypeAlias, TypeVar

from msgspec import Struct

from xml_pipeline.envelope import Message
from xml_pipeline.errors import JournalError
from xml_pipeline.journal import digest
from xml_pipeline.journal.calls import Calls
from xml_pipeline.journal.durable import Kept
from xml_pipeline.journal.file import (
    ANSWERED,
    CONVERSATION,
    DEFINITION,
    LETTER,
    OPEN,
    PATIENCE,
    QUESTION,
    STEP,
    asked_in,
    kept_in,
    made,
    opened,
    read_only,
    sqlite_told,
    steps_of,
    unusable,
)
from xml_pipeline.journal.gathering import Gathering
from xml_pipeline.journal.owner import Owner
from xml_pipeline.journal.protocol import Step
from xml_pipeline.journal.retention import MOST, delete_ended
from xml_pipeline.journal.rows import message_packed, packed
from xml_pipeline.journal.sessions import Sessions
from xml_pipeline.journal.space import together
from xml_pipeline.threads.record import (
    Approved,
    Asked,
    Began,
    Closed,
    DeadLetter,
    Event,
    Handled,
    Remembered,
    Resting,
    ends_conversation,
)

T = TypeVar("T")
Synchronous: TypeAlias = Literal["normal", "full"]

_BATCH = 1000  # steps in one transaction, more or less
_TOGETHER = tuple(1 << power for power in range(9, -1, -1))  # rows in one statement
_LENT = 0.01  # seconds for which a busy event loop lets the thread have the interpreter
_IDLE = 5.0  # seconds without work after which the log is folded into the database, with a sign of life
_LATE = 0.001  # of the time for which a conversation is kept: so much later it may go
_SET = 1.0  # seconds by which a clock differs from one that nobody sets, when it was set
_PATIENCE = (0.05, 0.1, 0.25, 0.5, 1.0)  # seconds between tries while the disk is full; the last one for ever
_PASSING = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL}

_FOLD = "PRAGMA wal_checkpoint(TRUNCATE)"
_ALIVE = "UPDATE lives SET alive = max(alive, ?) WHERE rowid = (SELECT max(rowid) FROM lives)"
_NEW_LIFE = (
    # what is older than all open work is of no use; a time that a clock set back comes to again must not count twice
    "DELETE FROM lives WHERE alive < coalesce((SELECT began FROM conversations WHERE number ="
    " (SELECT min(number) FROM open)), ?)",
    "UPDATE lives SET began = min(began, ?1), alive = min(alive, ?1)",
    "INSERT INTO lives VALUES (?1, ?1)",
)


class _Known(Struct):
    """A conversation that is not over.

    Attributes:
        number: its own in the file.
        seq: how many events it has.
        session: the lasting one that it is in, or "".
        digest: of its last step.
        owes: as of its last step.
        asked: threads in which a message waits for a person, if there are any.
    """

    number: int
    seq: int
    session: str
    digest: bytes
    owes: bool = True
    asked: set[str] | None = None


class _Rows(Struct):
    """What one step writes, and whom to tell when it is durable."""

    done: Callable[[], None]
    began: tuple[int, str, str, str, str, float] | None = None
    step: tuple[int, int, int, float, bytes, bytes] | None = None
    ended: tuple[float, int] | None = None
    owes: tuple[bool, int] | None = None
    other: Sequence[tuple[str, tuple[Any, ...]]] = ()


class _Change(Struct):
    """What somebody else does with the connection that writes, between two batches."""

    carry_out: Callable[[sqlite3.Connection], None]


class SqliteJournal:
    """Steps in a SQLite file; a `journal.Durable`.

    Args:
        path: the file; it is made when it does not exist, readable by its owner alone.
        synchronous: `normal` survives the death of the process, and may lose the last commits at a power cut; `full`
            survives that too.
        keep: seconds for which a conversation is kept after its end; None for ever.
        clock: Unix time in seconds.
        elapsed: seconds since any moment, by a clock that nobody sets.
        idle: seconds without work before the log is folded into the database.

    Attributes:
        trouble: why nothing can be written just now; "" when it can.
        path: the file.
        clock: Unix time in seconds.
        ledger: what models were asked, in the same file.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        synchronous: Synchronous = "normal",
        keep: float | None = None,
        clock: Callable[[], float] = time.time,
        elapsed: Callable[[], float] = time.monotonic,
        idle: float = _IDLE,
        visits: bool = False,
        organism: str = "",
    ) -> None:
        self.path = Path(path)
        self.trouble = ""
        self._synchronous = synchronous
        self._keep = keep
        self.clock = clock
        self._elapsed = elapsed
        self._ahead = math.inf  # so much the clock is ahead of `elapsed`, in the life that is written down
        self._idle = idle
        self.ledger = Calls(self, organism=organism, visits=visits)
        self._queue: SimpleQueue[list[_Rows] | _Change | None] = SimpleQueue()
        self._written_all = threading.Event()  # what the thread took from the queue
        self._thread: threading.Thread | None = None
        self._failure: JournalError | None = None
        self._stopping = threading.Event()
        self._known: dict[str, _Known] = {}
        self._sessions = Sessions()
        self._waiting: set[asyncio.Future[Any]] = set()  # for a row to be durable, or a change to be made
        self._last_number = 0
        self._reader: sqlite3.Connection | None = None
        self._gathered: Gathering[_Rows]
        self._loop: asyncio.AbstractEventLoop
        self._failed: Callable[[JournalError], None]
        self._closed: asyncio.Future[None]

    # --- in the event loop ---

    async def start(self, failed: Callable[[JournalError], None]) -> Kept:
        """As `Durable.start`."""
        self._loop, self._failed = asyncio.get_running_loop(), failed
        self._closed = self._loop.create_future()
        self._gathered = Gathering(self._loop, self._let_write)
        begun: asyncio.Future[Kept] = self._loop.create_future()
        thread = threading.Thread(target=self._run, args=(begun,), name="xml-pipeline-journal", daemon=True)
        thread.start()
        try:
            kept = await begun
        except BaseException:
            self._queue.put(None)  # whoever is cancelled may have opened it
            thread.join()
            raise
        self._thread = thread
        self._reader = read_only(self.path)
        return kept

    def append(self, conversation_id: str, expected_seq: int, step: Step, done: Callable[[], None]) -> None:
        """As `Journal.append`.

        Raises:
            JournalError: the conversation is not open here, or has another number of events.
        """
        rows, events = _Rows(done), step.events
        first = events[0]
        if isinstance(first, Closed | Resting):
            rows.other = list(self._sessions.happened(conversation_id, first))
            self._hand_over(rows)
            return
        if type(first) is Began:
            self._last_number += 1
            session = first.session if first.lasting else ""
            known = self._known[conversation_id] = _Known(
                self._last_number, 0, session, digest.first(conversation_id)
            )
            if session:
                self._sessions.began(session)
            rows.began = (known.number, conversation_id, first.caller, first.listener, session, step.at)
        elif (found := self._known.get(conversation_id)) is None or found.seq != expected_seq:
            raise JournalError(
                f"the journal {self.path} knows another number of events of conversation {conversation_id} than"
                f" {expected_seq}"
            )
        else:
            known = found
        row, size = packed(events), len(events)
        known.digest = digest.following(known.digest, known.seq, size, step.at, row)
        rows.step = (known.number, known.seq, size, step.at, row, known.digest)
        known.seq += size
        if known.asked:
            rows.other = [*rows.other, *_answered(known.asked, events)]
        for event in events:
            if type(event) is DeadLetter:
                letter = event.message
                about = (letter.from_id, letter.to, letter.root, event.reason)
                rows.other = [*rows.other, (LETTER, (known.number, letter.message_id, step.at, *about))]
            elif type(event) is Remembered and event.lasting:
                rows.other = [*rows.other, *self._sessions.remembered(known.session, event)]
            elif type(event) is Asked:
                thread_id = event.message.thread_id
                if known.asked is None:
                    known.asked = set()
                known.asked.add(thread_id)
                question = (thread_id, known.number, message_packed(event.message))
                rows.other = [*rows.other, (QUESTION, question)]
            elif ends_conversation(event):
                rows.ended = (step.at, known.number)
                del self._known[conversation_id]
                if known.session:
                    rows.other = [*rows.other, *self._sessions.ended(known.session)]
        if step.owes != known.owes and rows.ended is None:
            known.owes = step.owes
            rows.owes = (known.owes, known.number)
        self._hand_over(rows)

    def _hand_over(self, rows: _Rows) -> None:
        self._gathered.add(rows)

    def _let_write(self, rows: list[_Rows], more: bool) -> None:
        self._written_all.clear()
        self._queue.put(rows)
        if more:
            self._written_all.wait(_LENT)

    def steps(self, conversation_id: str) -> list[Step]:
        """As `Durable.steps`."""
        with self.reading() as reader:
            return steps_of(reader, conversation_id)

    def asked(self, thread_ids: Sequence[str]) -> list[Message]:
        """As `Durable.asked`."""
        with self.reading() as reader:
            return asked_in(reader, thread_ids)

    # --- rows that are no steps (`journal.calls.Writing`) ---

    def define(self, digest: str, definition: str) -> None:
        """As `Durable.define`."""
        self.hand_over(DEFINITION, (digest, definition))

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """The connection that reads, in the event loop's thread. Raises JournalError."""
        assert self._reader is not None
        with sqlite_told(self.path):
            yield self._reader

    async def read_apart(self, statement: str, values: tuple[Any, ...]) -> list[Any]:
        """The rows of a long look at the file, read in another thread. Raises JournalError."""

        def read() -> list[Any]:
            with sqlite_told(self.path), closing(read_only(self.path)) as reader:
                return reader.execute(statement, values).fetchall()

        return await asyncio.to_thread(read)

    def hand_over(self, statement: str, values: tuple[Any, ...]) -> None:
        """Write it after all that was handed over before."""
        rows = _Rows(_nobody)
        rows.other = [(statement, values)]
        self._hand_over(rows)

    def written(self, statement: str, values: tuple[Any, ...]) -> asyncio.Future[None]:
        """As `hand_over`; the future is done when it is durable.

        Raises:
            JournalError: nothing can be written any more (also out of the future).
        """
        return self._mark((statement, values))

    def _mark(self, *statements: tuple[str, tuple[Any, ...]]) -> asyncio.Future[None]:
        """A future that is done when these, and all that was handed over before, are durable.

        Raises:
            JournalError: nothing can be written any more (also out of the future).
        """
        if self._failure is not None:
            raise self._failure
        durable: asyncio.Future[None] = self._awaited()
        rows = _Rows(lambda: None if durable.done() else durable.set_result(None))
        rows.other = statements
        self._hand_over(rows)
        return durable

    # --- what is done once (`pump.parts.Parts`) ---

    def part(self, message_id: str, key: str) -> bytes | None:
        """As `pump.parts.Parts.part`."""
        with self.reading() as reader:
            found = reader.execute(
                "SELECT value FROM parts WHERE message = ? AND key = ?", (message_id, key)
            ).fetchone()
        return None if found is None else found[0] or b""

    async def begin_part(self, conversation_id: str, message_id: str, key: str) -> None:
        """As `pump.parts.Parts.begin_part`."""
        values = (conversation_id, message_id, key, self.clock())
        await self.written("INSERT INTO parts VALUES (?, ?, ?, ?, NULL)", values)

    async def drop_part(self, message_id: str, key: str) -> None:
        """As `pump.parts.Parts.drop_part`."""
        await self.written("DELETE FROM parts WHERE message = ? AND key = ?", (message_id, key))

    async def end_part(self, message_id: str, key: str, value: bytes) -> None:
        """As `pump.parts.Parts.end_part`."""
        await self.written(
            "UPDATE parts SET value = ? WHERE message = ? AND key = ?", (value, message_id, key)
        )

    def _awaited(self) -> asyncio.Future[Any]:
        """A future that fails when the journal does."""
        future: asyncio.Future[Any] = self._loop.create_future()
        self._waiting.add(future)
        future.add_done_callback(self._waiting.discard)
        return future

    # --- what somebody else changes (`door.desk`) ---

    async def add(self, step: Step, also: Sequence[tuple[str, tuple[Any, ...]]] = ()) -> None:
        """Append a step, and with it statements that hold together with it or not at all; wait until it is durable.

        Raises:
            JournalError: as `append`; or it can be written no more.
        """
        self._refuse_if_troubled()
        durable = self._awaited()
        self.append(
            step.conversation_id,
            step.seq,
            step,
            lambda: None if durable.done() else durable.set_result(None),
        )
        rows = self._gathered.last
        rows.other = [*rows.other, *also]
        await durable

    async def change(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Let `work` use the connection that writes, in its thread, when all that was appended before is durable.

        What is appended meanwhile waits. `work` leaves no transaction open.

        Raises:
            JournalError: it cannot be used; or what `work` raises.
        """
        self._refuse_if_troubled()
        done = self._awaited()

        def settle(result: T | None, error: BaseException | None) -> None:
            if done.done():
                return
            if error is None:
                done.set_result(result)
            else:
                done.set_exception(error)

        def carry_out(connection: sqlite3.Connection) -> None:
            try:
                with sqlite_told(self.path):
                    result = work(connection)
            except StopIteration as error:  # no future takes it
                self._tell(settle, None, RuntimeError(repr(error)))
            except Exception as error:
                self._tell(settle, None, error)
            else:
                self._tell(settle, result, None)

        self._gathered.hand_over()
        self._queue.put(_Change(carry_out))
        found: T = await done
        return found

    def _refuse_if_troubled(self) -> None:
        if self._failure is not None or self.trouble:
            raise self._failure or JournalError(self.trouble)
        if self._thread is None or self._stopping.is_set():
            raise JournalError(f"the journal {self.path} is closed")

    async def flush(self) -> None:
        """As `Durable.flush`."""
        if self._thread is None or self._closed.done():
            return
        if self._stopping.is_set():
            await asyncio.shield(self._closed)
        else:
            await self._mark()

    async def close(self) -> None:
        """As `Durable.close`. While the disk is full it gives up what could not be written."""
        if self._thread is None:
            return
        self._stopping.set()
        self._failure = JournalError(f"the journal {self.path} is closed")
        self._gathered.hand_over()
        self._end_reading()
        self._queue.put(None)
        await self._closed
        self._thread.join()
        self._thread = None

    def end(self) -> None:
        """Let the file go where its event loop is over: what was handed over is written, and nobody is told."""
        if self._thread is not None:
            self._stopping.set()
            self._gathered.hand_over()
            self._end_reading()
            self._queue.put(None)
            self._thread.join()
            self._thread = None

    def _end_reading(self) -> None:
        """Before the writer closes: the last one that closes removes the log, and a reader may not."""
        if self._reader is not None:
            self._reader.close()

    def _broken(self, error: JournalError) -> None:
        self._failure = error
        for future in tuple(self._waiting):
            if not future.done():
                future.set_exception(error)
        self._failed(error)

    def _durable(self, batch: Sequence[_Rows]) -> None:
        for rows in batch:
            rows.done()

    # --- in the thread ---

    def _run(self, begun: asyncio.Future[Kept]) -> None:
        owner: Owner | None = None
        connection: sqlite3.Connection | None = None
        try:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                owner = Owner(self.path)
                made(self.path)
                connection = opened(self.path, self._synchronous)
                kept = self._kept(connection)
                self.ledger.start(connection, self.clock())
            except BaseException as error:
                self._tell(_settle, begun, unusable(self.path, error))
                return
            self._tell(_settle, begun, kept)
            try:
                self._work(connection)
                with _if_there_is_room():
                    self._commit(connection, ())
                    self.ledger.stop(connection, self.clock())
                    _folded(connection)
            except BaseException as error:
                self._tell(self._broken, unusable(self.path, error))
        finally:
            if connection is not None:
                connection.close()
            if owner is not None:
                owner.release()
            self._tell(self._closed.set_result, None)

    def _tell(self, callback: Callable[..., object], *arguments: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(callback, *arguments)
        except RuntimeError:  # the event loop is gone, and with it whoever could be told
            self._stopping.set()

    def _kept(self, connection: sqlite3.Connection) -> Kept:
        rows = connection.execute(
            "SELECT number, id, session, owes, seq + size, digest FROM open JOIN conversations USING (number)"
            " JOIN steps ON conversation = number AND seq = (SELECT max(seq) FROM steps WHERE conversation = number)"
        )
        self._known = {
            each: _Known(number, seq, session, last, bool(owes))
            for number, each, session, owes, seq, last in rows
        }
        by_number = {each.number: each for each in self._known.values()}
        for number, thread_id in connection.execute("SELECT conversation, thread FROM questions"):
            if number in by_number:
                asking = by_number[number]
                if asking.asked is None:
                    asking.asked = set()
                asking.asked.add(thread_id)
        (self._last_number,) = connection.execute(
            "SELECT coalesce(max(number), 0) FROM conversations"
        ).fetchone()
        kept = kept_in(connection)
        closed = [session for session, each in kept.sessions.items() if each.closed]
        running = [each.session for each in kept.open]
        known = [*kept.memories, *kept.sessions, *running]
        statements = list(self._sessions.start(running, closed, filter(None, known)))
        if not statements:
            return kept
        with _if_there_is_room(), together(connection):
            for statement, values in statements:
                connection.execute(statement, values)
        return kept_in(connection)

    def _be_alive(self, connection: sqlite3.Connection) -> None:
        """A sign of life. Time that passed by the clock alone is none: the clock was set, or all slept."""
        now = self.clock()
        if abs(now - self._elapsed() - self._ahead) <= _SET:
            connection.execute(_ALIVE, (now,))
            return
        self._ahead = now - self._elapsed()
        for statement in _NEW_LIFE:
            connection.execute(statement, (now,))

    def _work(self, connection: sqlite3.Connection) -> None:
        """Write what comes, until None comes; in between, delete what is not kept."""
        folded, behind, due = True, False, time.monotonic()
        while True:
            if self._keep is not None and time.monotonic() >= due:
                deleted = self._deleted(connection, self.clock() - self._keep)
                behind = deleted == MOST
                folded = folded and not deleted
                if not behind:
                    due = time.monotonic() + max(self._idle, self._keep * _LATE)
            try:
                more = self._queue.get(timeout=0 if behind else self._idle)
            except Empty:
                if (self._known or not folded) and not behind:
                    self._commit(connection, ())
                if not (folded or behind):
                    folded = _folded(connection)
                continue
            batch: list[_Rows] = []
            while isinstance(more, list):
                batch += more
                if len(batch) >= _BATCH or self._queue.empty():
                    break
                more = self._queue.get()
            if batch:
                self._commit(connection, batch)
                folded = False
                self._tell(self._durable, batch)
                self._written_all.set()
            if isinstance(more, _Change):
                more.carry_out(connection)
                folded = False
            if more is None:
                return

    def _deleted(self, connection: sqlite3.Connection, before: float) -> int:
        """Delete some of what ended before a time; how many. While the disk is full that can wait."""
        try:
            connection.execute("BEGIN IMMEDIATE")
            deleted = delete_ended(connection, before)
            connection.execute("COMMIT")
        except sqlite3.OperationalError as error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            if not _passes(error):
                raise
            return 0
        return deleted

    def _commit(self, connection: sqlite3.Connection, batch: Sequence[_Rows]) -> None:
        """Write a batch, however often it takes while the disk is full or the file is locked."""
        tries = 0
        while True:
            try:
                connection.execute("BEGIN IMMEDIATE")
                _insert(connection, batch)
                self._be_alive(connection)
                connection.execute("COMMIT")
            except sqlite3.OperationalError as error:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                self._ahead = math.inf
                if not _passes(error) or self._stopping.is_set():
                    raise
                self.trouble = f"the journal {self.path} cannot be written ({error}); it is tried again"
                self._stopping.wait(_PATIENCE[min(tries, len(_PATIENCE) - 1)])
                tries += 1
            else:
                self.trouble = ""
                return


def _settle(begun: asyncio.Future[Kept], outcome: Kept | JournalError) -> None:
    """Say what a start came to, unless nobody waits for it any more."""
    if begun.done():
        return
    if isinstance(outcome, JournalError):
        begun.set_exception(outcome)
    else:
        begun.set_result(outcome)


def _nobody() -> None:
    """Who waits for an answer to be durable: the step that follows from it."""


def _answered(asked: set[str], events: Sequence[Event]) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """The questions that do not wait any more after these events; they are taken out of `asked`."""
    for event in events:
        if type(event) is Handled:
            thread_id = event.thread_id
        elif type(event) is Approved or (type(event) is DeadLetter and event.pending):
            thread_id = event.message.thread_id
        else:
            continue
        if thread_id in asked:
            asked.discard(thread_id)
            yield ANSWERED, (thread_id,)


def _passes(error: sqlite3.OperationalError) -> bool:
    code = error.sqlite_errorcode
    # a full disk again: the log found room, and its index in shared memory found none
    return code & 0xFF in _PASSING or code == sqlite3.SQLITE_IOERR_SHMSIZE


@contextmanager
def _if_there_is_room() -> Iterator[None]:
    """What may be left undone while the disk is full, or somebody holds the file."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if not _passes(error):
            raise


def _folded(connection: sqlite3.Connection) -> bool:
    """Fold the log into the database, but wait for nobody who reads it: what is to be written would wait with us."""
    busy = 1
    connection.execute("PRAGMA busy_timeout = 0")
    with _if_there_is_room():
        (busy, _, _) = connection.execute(_FOLD).fetchone()
    connection.execute(PATIENCE)
    return not busy


def _insert(connection: sqlite3.Connection, batch: Sequence[_Rows]) -> None:
    began = [rows.began for rows in batch if rows.began is not None]
    _add(connection, CONVERSATION, began)
    _add(connection, OPEN, [(row[0],) for row in began])
    _add(connection, STEP, [rows.step for rows in batch if rows.step is not None])
    owes = [rows.owes for rows in batch if rows.owes is not None]
    if owes:
        connection.executemany("UPDATE open SET owes = ? WHERE number = ?", owes)
    ended = [rows.ended for rows in batch if rows.ended is not None]
    if ended:
        connection.executemany("UPDATE conversations SET ended = ? WHERE number = ?", ended)
        connection.executemany("DELETE FROM open WHERE number = ?", [(number,) for _, number in ended])
    for rows in batch:
        for statement, values in rows.other:
            connection.execute(statement, values)


def _add(connection: sqlite3.Connection, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert rows with few statements: at the end of each the interpreter's lock has to be won back."""
    done = 0
    for size in _TOGETHER:
        while len(rows) - done >= size:
            values = [value for row in rows[done : done + size] for value in row]
            connection.execute(_repeated(statement, size), values)
            done += size


@cache
def _repeated(statement: str, times: int) -> str:
    head, values, row = statement.partition(" VALUES ")
    return head + values + ", ".join([row] * times)
