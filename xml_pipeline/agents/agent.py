"""The built-in agent: a handler that lets a model work on a task, peers included, until it has the answer."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from xml_pipeline import events
from xml_pipeline.agents.contract import Answer, Task
from xml_pipeline.agents.memory import Memory
from xml_pipeline.agents.people import reaches_people
from xml_pipeline.agents.prompt import Mode, Prompt, compose
from xml_pipeline.agents.prose import Prose
from xml_pipeline.agents.reading import Fault, Reader, Reading
from xml_pipeline.agents.running import RunningTask, results_of
from xml_pipeline.agents.settings import AgentSettings
from xml_pipeline.agents.toolbox import Toolbox
from xml_pipeline.agents.wording import huh_text, task_text
from xml_pipeline.envelope import Code, Gathered, Huh, SystemError
from xml_pipeline.envelope.repairs import carriable
from xml_pipeline.errors import BackendTimeoutError, BudgetExceededError, LLMError, cut
from xml_pipeline.llm import complete, get_router, stream
from xml_pipeline.llm.types import LLMResponse, Message, StreamEnd, TextDelta
from xml_pipeline.pump.listener import Listener
from xml_pipeline.pump.listener import listener as make_listener
from xml_pipeline.pump.response import RESPOND, GatherResponse, HandlerMetadata, HandlerResponse

if TYPE_CHECKING:
    from xml_pipeline.llm import Router
    from xml_pipeline.pump import Pump

logger = logging.getLogger("xml_pipeline.agents")

MAX_CORRECTIONS = 2
"""Invalid answers in a row that a model is asked to mend; the next one ends the task."""

_REASON_CUT = 500  # characters of a reason that the caller is told


class LLMAgent:
    """A complete agent without code of its own; one object may serve one listener.

    Args:
        name: of its listener.
        settings: its declaration.
        tasks: the payload classes that it takes as tasks.
    """

    def __init__(self, name: str, settings: AgentSettings, tasks: Iterable[type] = (Task,)) -> None:
        self.name = name
        self.settings = settings
        self.memory = Memory(settings.memory, settings.history)
        self.accepts: tuple[type, ...] = (*tasks, Gathered, Huh, SystemError)
        self._running: dict[str, RunningTask] = {}
        self._pump: Pump | None = None
        self._prompt = Prompt("native", settings.prompt)
        self._reader: Reader
        self._people: frozenset[str] = frozenset()

    # --- before the first message ---

    def attach(self, pump: Pump) -> None:
        """The organism starts: freeze the prompt, and watch for what may be forgotten."""
        table = pump.table
        self._pump = pump
        self._prompt = self.prompt_as_sent(table)
        toolbox = Toolbox.of(table[self.name], table)
        self._reader = Reader(toolbox, self._prompt.mode, self.settings.answer_class)
        self._people = reaches_people(table)
        pump.add_hook(self._observe, internal=True)
        logger.info("agent '%s' has the prompt %s", self.name, self._prompt.sha256)

    def prompt_as_sent(self, table: Mapping[str, Listener], router: Router | None = None) -> Prompt:
        """The prompt exactly as its model gets it.

        Args:
            table: all listeners by name, as `organism.listeners`.
            router: decides how `tools: auto` turns out; None for the current one.
        """
        mode = self._mode(router)
        return compose(self.settings.prompt, mode, table[self.name], table, self.settings.answer_class)

    def _mode(self, router: Router | None) -> Mode:
        if self.settings.tools != "auto":
            return self.settings.tools
        try:
            native = (router or get_router()).supports("tools", self.settings.model)
        except LLMError:
            return "native"  # nobody serves the model: every call will say so
        return "native" if native else "xml"

    @property
    def open_tasks(self) -> int:
        """Tasks that are being worked on."""
        return len(self._running)

    def history(self, key: str) -> list[Message]:
        """What is remembered under a session id (or conversation id, as `memory` says)."""
        record = self.memory.get(key)
        return record.messages if record else []

    def _observe(self, event: events.Event) -> None:
        if isinstance(event, events.ThreadEnded):
            running = self._running.pop(event.thread_id, None)
            if running is not None and running.answered and event.how == "answered":
                self.memory.add(running.record, running.exchange)
        else:
            self.memory(event)

    # --- messages ---

    async def __call__(
        self, payload: Any, metadata: HandlerMetadata
    ) -> HandlerResponse | GatherResponse | None:
        """Take a task on, or go on with one when its calls are answered."""
        running = self._running.get(metadata.thread_id)
        if isinstance(payload, Gathered):
            if running is None or not running.take(payload.answers):
                return None  # a repetition: its round is over
        elif isinstance(payload, Huh | SystemError):
            if running is None or not running.answered:
                return self._fail(Fault("validation", "an error message is no task"), metadata)
            running.answered = False
            if isinstance(payload, SystemError):
                return self._fail(Fault(payload.code, f"the answer was refused: {payload.message}"), metadata)
            running.corrections += 1
            if running.corrections > MAX_CORRECTIONS:
                return self._fail(Fault("validation", f"the answer was refused: {payload}"), metadata)
            running.note(huh_text(payload))
        else:
            task: Message = {"role": "user", "content": task_text(payload)}
            running = RunningTask(task, self.memory.record(metadata))
            self._running[metadata.thread_id] = running
        try:
            return await self._work(running, metadata)
        except BudgetExceededError:
            raise  # the pump says so to the caller, with a code of its own
        except LLMError as error:
            code: Code = "timeout" if isinstance(error, BackendTimeoutError) else "handler"
            logger.warning("agent '%s' got no answer from its model: %s", self.name, error)
            return self._fail(Fault(code, f"no model answered: {error}"), metadata)

    async def _work(
        self, running: RunningTask, metadata: HandlerMetadata
    ) -> HandlerResponse | GatherResponse:
        """Ask the model until it calls peers, answers, or has to be given up."""
        correcting = bool(running.exchange.rounds) and not running.exchange.rounds[-1].results
        while True:
            if not correcting:
                if running.turns >= self.settings.max_turns:
                    return self._fail(
                        Fault(
                            "limit",
                            f"no answer after {running.turns} of {self.settings.max_turns} turns (max_turns)",
                        ),
                        metadata,
                    )
                running.turns += 1
            reading = self._reader.read(await self._ask(running, metadata))
            problem = reading.problem
            running.corrections = 0 if problem is None else running.corrections + 1
            if problem is not None and (problem.final or running.corrections > MAX_CORRECTIONS):
                return self._fail(problem, metadata)
            if reading.good:
                return self._call(running, reading)
            if reading.answer is not None:
                running.add(reading)
                running.answered = True
                return HandlerResponse(reading.answer, kind=RESPOND, repairs=reading.repairs)
            running.add(reading, results_of(reading), reading.fault.huh if reading.fault else "")
            correcting = True

    def _call(self, running: RunningTask, reading: Reading) -> GatherResponse:
        """Send the valid calls of an answer together; the complaints about the others wait for their results."""
        running.waiting = reading
        calls = [HandlerResponse(call.payload, call.tool.peer, repairs=call.repairs) for call in reading.good]
        people = any(call.tool.peer in self._people for call in reading.good)
        return HandlerResponse.gather(calls, None if people else self.settings.peer_timeout_seconds)

    def _fail(self, fault: Fault, metadata: HandlerMetadata) -> HandlerResponse:
        text = carriable(cut(fault.reason, _REASON_CUT))
        assert self._pump is not None
        self._pump.emit(
            events.HandlerFailed(metadata.conversation_id, metadata.thread_id, self.name, fault.code, text)
        )
        return HandlerResponse.respond(SystemError(fault.code, text))

    # --- the model ---

    async def _ask(self, running: RunningTask, metadata: HandlerMetadata) -> LLMResponse:
        settings, prompt = self.settings, self._prompt
        past = running.history(settings.history, latest_only=settings.memory == "none")
        messages = [*prompt.messages, *past]
        options: dict[str, Any] = {
            "agent_id": self.name,
            "temperature": settings.temperature,
            "max_tokens": settings.max_tokens,
            "tools": prompt.tools,
            "cache_prompt": bool(prompt.tools),
        }
        assert self._pump is not None
        if not self._pump.observed or settings.answer_class is not Answer:
            return await complete(settings.model, messages, **options)
        return await self._streamed(messages, options, metadata)

    async def _streamed(
        self, messages: list[Message], options: dict[str, Any], metadata: HandlerMetadata
    ) -> LLMResponse:
        prose = Prose(self._reader.call_elements)
        async with aclosing(stream(self.settings.model, messages, **options)) as pieces:
            async for piece in pieces:
                if isinstance(piece, TextDelta):
                    self._show(prose.feed(piece.text), metadata)
                elif isinstance(piece, StreamEnd):
                    self._show(prose.close(), metadata)
                    return piece.response
        raise AssertionError("a stream ends with StreamEnd or an error")

    def _show(self, text: str, metadata: HandlerMetadata) -> None:
        if text:
            assert self._pump is not None
            self._pump.emit(
                events.TextGenerated(metadata.conversation_id, metadata.thread_id, self.name, text)
            )


def agent_listener(
    name: str, settings: AgentSettings, *, tasks: Iterable[type] = (Task,), **options: Any
) -> Listener:
    """A listener that an `LLMAgent` drives; `options` are those of `Listener`. Raises ConfigError."""
    agent = LLMAgent(name, settings, tasks)
    return make_listener(name, agent, accepts=agent.accepts, agent=True, **options)
