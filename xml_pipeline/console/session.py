"""A conversation between a person and an organism, without a terminal: what is typed goes in, lines come out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Iterable, Sequence
from contextlib import suppress
from contextvars import ContextVar, copy_context
from functools import partial
from types import TracebackType
from typing import Any

from xml_pipeline import events
from xml_pipeline.console import commands, people, render
from xml_pipeline.console.earlier import Left, left_open
from xml_pipeline.console.fill import accepted, fill
from xml_pipeline.console.parse import Command, InputError, Say, Tell, parse
from xml_pipeline.console.transcript import Ask, Screen, Transcript
from xml_pipeline.errors import OrganismClosed, XmlPipelineError, listing, no_such
from xml_pipeline.organism import Organism, Question, Session
from xml_pipeline.payload import Codec
from xml_pipeline.terminal import Line, line

SENDER = "console"
"""What listeners see as `from_id`; a listener of this name makes it `console-2`, and so on."""


SESSION = "console"
"""With a journal, the name of the session: another console on it goes on with what this one leaves open."""

LEFT = "left open; the next start goes on with it"

_current: ContextVar[Ask | None] = ContextVar("xml_pipeline_console_ask", default=None)


class Console:
    """Talks to a running organism; an async context manager that keeps one session open.

    Attributes:
        failed: whether any answer was an error, or any line could not be understood.
        tracing: whether every message is shown.
        quitting: whether the person wants to leave.
        person: whether there is one, and no script.
        log: where the log goes, as a path; "" for nowhere.
        began: when it was made, in seconds of Unix time.
    """

    def __init__(
        self,
        organism: Organism,
        screen: Screen,
        *,
        log: str = "",
        streaming: bool = True,
        person: bool = True,
    ) -> None:
        self.organism = organism
        self.screen = screen
        self.log = log
        self.failed = False
        self.tracing = False
        self.quitting = False
        self.person = person
        self.running: dict[int, Ask] = {}  # by the number that `/cancel` takes
        self.began = time.time()
        self._streaming = streaming
        self._transcript = Transcript(screen, numbered=person)
        self._number = 0
        self._sender = _free_name(organism)
        self._session: Session
        self._left: list[Left] = []
        self._errands: set[asyncio.Task[list[Line]]] = set()
        self._farewell = "cancelled"  # what is said of an ask that is waited for no longer; "" for nothing
        self._given_way = False  # whether what is left open goes on in another organism
        self._told: set[str] = set()  # threads of questions that are answered
        self._threads: dict[str, Ask] = {}
        self._asked: set[str] = set()
        self._question = asyncio.Event()

    async def __aenter__(self) -> Console:
        journal = self.organism.journal
        if journal is None:
            self._session = self.organism.session(self._sender)
        else:
            self._session = self.organism.session(self._sender, id=SESSION)
            self._left = left_open(journal, self._sender)
        self.organism.add_hook(self._on_event)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.organism.journal is None:
            self.cancel()
            await self.drain()
        elif left := self._tasks():
            self._farewell = LEFT if error is None else ""  # whoever ends all tells it in one line
            for task in left:
                task.cancel()
            await asyncio.wait(left)
            return
        self._session.close()

    def go_on(self) -> None:
        """Wait for the answers to what an earlier life of this console left open."""
        for left in self._left:
            ask = self._begun(left.listener, left.conversation_id)
            self._threads |= dict.fromkeys(left.threads, ask)
            self._await(ask, self.organism.join(left.conversation_id))
            self._transcript.note([render.goes_on(ask.number, ask.to, left.said)])

    # --- what is typed ---

    def submit(self, text: str) -> Ask | None:
        """Act on what was typed; the ask whose answer will come, if it was a message."""
        try:
            typed = parse(text)
            match typed:
                case Command():
                    commands.run(self, typed)
                case Tell():
                    self.tell(self._oldest_question(), typed.body)
                case Say():
                    return self._say(typed)
        except XmlPipelineError as error:
            self.complain(render.error(error))
        return None

    def complain(self, lines: Iterable[Line]) -> None:
        """Show an error, and remember that there was one."""
        self.failed = True
        self._transcript.complain(lines)

    def _say(self, say: Say) -> Ask:
        table = self.organism.listeners
        to = say.to or self.organism.default
        if to is None:
            raise InputError(
                "there is no default listener: write @name before the text; there are "
                f"{listing(table) or 'no listeners'}"
            )
        listener = table.get(to)
        if listener is None:
            raise InputError(no_such("listener", to, table))
        payload = fill(to, accepted(listener), say.body)
        ask = self._begun(to)
        self._await(ask, self._session.ask(to, payload))
        return ask

    def _begun(self, to: str, conversation_id: str = "") -> Ask:
        self._number += 1
        ask = self.running[self._number] = Ask(self._number, to, conversation_id=conversation_id)
        return ask

    def _await(self, ask: Ask, answering: Coroutine[Any, Any, Any]) -> None:
        context = copy_context()
        context.run(_current.set, ask)
        ask.task = asyncio.create_task(answering, name=f"ask {ask.number}", context=context)
        ask.task.add_done_callback(partial(self._over, ask))

    def _over(self, ask: Ask, task: asyncio.Task[Any]) -> None:
        """What becomes of an ask that has ended: also of one whose task was cancelled before its first step."""
        del self.running[ask.number]
        self._threads = {thread: each for thread, each in self._threads.items() if each is not ask}
        try:
            answer = task.result()
        except asyncio.CancelledError:
            if self._farewell:
                self._fail(ask, [line(("warn", self._farewell))])
        except XmlPipelineError as error:
            if not (self._given_way and isinstance(error, OrganismClosed)):
                self._fail(ask, render.error(error, log=self.log))
        else:
            self._transcript.answered(ask, answer)

    def _fail(self, ask: Ask, lines: Iterable[Line]) -> None:
        self.failed = True
        self._transcript.failed(ask, lines)

    # --- what takes a moment and is no message ---

    def errand(self, doing: Coroutine[Any, Any, list[Line]]) -> None:
        """Show what comes of it; the next line of a script waits for it."""
        task = asyncio.create_task(doing)
        self._errands.add(task)
        task.add_done_callback(self._shown)

    def _shown(self, task: asyncio.Task[list[Line]]) -> None:
        self._errands.discard(task)
        try:
            self.screen.show(task.result())
        except asyncio.CancelledError:
            pass
        except XmlPipelineError as error:
            self.complain(render.error(error))

    # --- people ---

    def _oldest_question(self) -> Question:
        waiting = self._unanswered()
        if not waiting:
            raise InputError("nobody waits for an answer: `!text` answers the question of a `human` listener")
        return waiting[0]

    def tell(self, question: Question, body: str) -> None:
        """Answer a question. Raises as `fill`, and JournalError."""
        answer = people.said(question.listener, self._answers(question), body)
        self.organism.answer(question.thread_id, answer)
        self._told.add(question.thread_id)

    def _answers(self, question: Question) -> Sequence[Codec[Any]]:
        """What may be answered."""
        table = self.organism.listeners
        found = (each for each in self.organism.threads() if each.thread_id == question.thread_id)
        asking = next(found, None)
        caller = None if asking is None else table.get(asking.caller)
        return people.answer_classes(table.get(question.listener), caller)

    def _unanswered(self) -> list[Question]:
        """Questions that wait for a person; with a journal one that is answered is listed until that is durable."""
        waiting = self.organism.questions()
        self._told &= {question.thread_id for question in waiting}
        return [question for question in waiting if question.thread_id not in self._told]

    def _show_questions(self) -> None:
        waiting = self.organism.questions()
        self._asked &= {question.thread_id for question in waiting}
        for question in waiting:
            if question.thread_id not in self._asked:
                self._asked.add(question.thread_id)
                several = len(waiting) > 1
                self._transcript.note(people.shown(question, self._answers(question), several=several))
                self._question.set()

    async def settled(self) -> None:
        """Return when nothing runs any more, or a person is asked something first."""
        while self._errands or (self.running and not self._stuck()):
            await self._news()

    async def _news(self) -> None:
        """Return with the next answer, or when a person is asked."""
        self._question.clear()
        asked = asyncio.create_task(self._question.wait())
        try:
            await asyncio.wait([*self._tasks(), *self._errands, asked], return_when=asyncio.FIRST_COMPLETED)
        finally:
            asked.cancel()

    def _stuck(self) -> list[Ask]:
        """Those whose answers cannot come without a person."""
        waiting = {question.conversation_id for question in self._unanswered()}
        return [
            ask
            for ask in self.running.values()
            if ask.conversation_id in waiting and not (ask.task is not None and ask.task.cancelling())
        ]

    def _tasks(self) -> list[asyncio.Task[Any]]:
        return [ask.task for ask in self.running.values() if ask.task is not None]

    # --- ending ---

    def cancel(self, number: int | None = None) -> int:
        """Cancel one ask, or all; how many there were."""
        asks = list(self.running.values()) if number is None else [self.running[number]]
        for ask in asks:
            if ask.task is not None:
                ask.task.cancel()
            if ask.conversation_id:  # with a journal it would go on, though nobody waits
                self.organism.cancel(ask.conversation_id)
        return len(asks)

    async def drain(self) -> None:
        """Wait for all answers that can come without a person; cancel the others, or leave them to the journal."""
        while self.running:
            await self.settled()
            stuck = self._stuck()
            if self.organism.journal is not None:
                if len(stuck) == len(self.running):
                    return
                await self._news()
                continue
            for ask in stuck:
                self.cancel(ask.number)
            if stuck:
                await asyncio.wait([ask.task for ask in stuck if ask.task is not None])

    def tell_mistakes(self, error: XmlPipelineError) -> None:
        """Say why no other organism takes over, though its files have changed."""
        note = line(("warn", "the files have changed, and are wrong; what ran goes on"))
        self.screen.complain([*render.error(error), note])

    async def give_way(self) -> None:
        """Because another organism takes over: let what runs finish, for `shutdown_seconds`.

        With a journal the rest goes on there. Without one it ends here, and so does what waits for a person.
        """
        self.screen.note([line(("dim", "the files have changed; beginning anew"))])
        if self.organism.journal is None:
            with suppress(TimeoutError):
                async with asyncio.timeout(self.organism.shutdown_seconds):
                    await self.drain()
        else:
            self._farewell = ""
            self._given_way = True
            await self.organism.stop()
            if left := self._tasks():
                await asyncio.wait(left)

    # --- what happens ---

    def _on_event(self, event: events.Event) -> None:
        match event:
            case events.ConversationStarted():
                ask = _current.get()
                if ask is not None and not ask.conversation_id:
                    ask.conversation_id = event.conversation_id
            case events.ThreadOpened(caller=self._sender):
                for ask in self.running.values():
                    if ask.conversation_id == event.conversation_id:
                        self._threads[event.thread_id] = ask
            case events.ThreadEnded():
                self._threads.pop(event.thread_id, None)
                if self.tracing and event.note:
                    self._transcript.note([render.ended(event)])
            case events.TextGenerated():
                if self._streaming and event.thread_id in self._threads:
                    self._transcript.grow(self._threads[event.thread_id], event.text)
            case events.QuestionAsked():
                asyncio.get_running_loop().call_soon(self._show_questions)
            case events.MessageDelivered():
                self._delivered(event)
            case events.BudgetWarning() | events.BackendStateChanged(state="dead"):
                self.screen.note([render.warning(event)])
            case _:
                pass

    def _delivered(self, event: events.MessageDelivered) -> None:
        table = self.organism.listeners
        sender, receiver = table.get(event.from_id), table.get(event.to)
        calls_tool = sender is not None and sender.agent and receiver is not None and sender is not receiver
        if self.tracing or (calls_tool and self._streaming):
            if receiver is not None:
                self._transcript.interrupt(event.conversation_id)
            self._transcript.note([render.trace(event.from_id, event.to, event.payload, whole=self.tracing)])


def _free_name(organism: Organism) -> str:
    name, number = SENDER, 1
    while name in organism.listeners:
        number += 1
        name = f"{SENDER}-{number}"
    return name
