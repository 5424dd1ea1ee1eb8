"""The built-in agent: a handler that lets a model work on a task, peers included, until it has the answer."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from contextlib import aclosing
from dataclasses import replace
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from typing_extensions import Unpack

from xml_pipeline import events
from xml_pipeline.agents.contract import Answer, Task
from xml_pipeline.agents.history import Exchange, within
from xml_pipeline.agents.prompt import Mode, Prompt, compose
from xml_pipeline.agents.prose import Prose
from xml_pipeline.agents.reading import Fault, Reader, Reading
from xml_pipeline.agents.running import (
    AgentState,
    RememberedTask,
    RunningTask,
    pending,
    recalled,
    results_of,
)
from xml_pipeline.agents.settings import AgentSettings
from xml_pipeline.agents.toolbox import PeerCall, Toolbox
from xml_pipeline.agents.wording import huh_text, task_text
from xml_pipeline.envelope import Code, Gathered, Huh, SystemError
from xml_pipeline.errors import (
    BackendTimeoutError,
    BudgetExceededError,
    ConfigError,
    LLMError,
    Problem,
    TaskFailed,
    cut,
)
from xml_pipeline.llm import complete, get_router, stream
from xml_pipeline.llm.types import LLMResponse, Message, StreamEnd, TextDelta
from xml_pipeline.payload.text import carriable
from xml_pipeline.pump.listener import (
    AgentOptions,
    Listener,
    ListenerOptions,
    Surroundings,
    listener,
    one_or_several,
)
from xml_pipeline.pump.response import (
    DELEGATE,
    RESPOND,
    GatherResponse,
    HandlerMetadata,
    HandlerResponse,
    Keep,
)
from xml_pipeline.templates import told, untellable

if TYPE_CHECKING:
    from xml_pipeline.llm import Router

logger = logging.getLogger("xml_pipeline.agents")

MAX_CORRECTIONS = 2
"""Invalid answers in a row that a model is asked to mend; the next one ends the task."""

_REASON_CUT = 500  # characters of a reason that the caller is told


class LLMAgent:
    """A complete agent without code of its own; one object may serve one listener.

    The task it is working on is its thread's state, what it remembers is its listener's memory: `options` makes the
    listener right for both, as in `organism.listener(agent, name="bot", peers=[...], **agent.options)`.

    Args:
        name: of its listener.
        settings: its declaration.
        accepts: the payload class, or classes, of its tasks.
        answers: those of its answers: the model chooses among several, and an `Answer` is what it writes as text.
    """

    def __init__(
        self,
        name: str,
        settings: AgentSettings,
        *,
        accepts: Iterable[type] | type = Task,
        answers: Iterable[type] | type = Answer,
    ) -> None:
        self.name = name
        self.settings = settings
        self.accepts: tuple[type, ...] = (*one_or_several(accepts), Gathered, Huh, SystemError)
        self.answers: tuple[type, ...] = one_or_several(answers)
        self._surroundings: Surroundings
        self._prompt = Prompt("native", settings.prompt)
        self._reader: Reader
        self._calls_peers = False
        self._hands_over_whole = False
        _check(name, settings, self.accepts)

    @property
    def options(self) -> AgentOptions:
        """What its listener has to be told."""
        return {
            "accepts": self.accepts,
            "answers": self.answers,
            "agent": True,
            "remembers": "conversation" if self.settings.memory == "conversation" else "session",
            "keep": max(1, self.settings.history.messages),
        }

    # --- before the first message ---

    def attach(self, surroundings: Surroundings) -> None:
        """The organism starts: freeze the prompt."""
        listeners = surroundings.listeners
        self._surroundings = surroundings
        self._prompt = self.prompt_as_sent(listeners)
        toolbox = self._toolbox(listeners)
        self._reader = Reader(toolbox, self._prompt.mode, self.answers)
        self._calls_peers = bool(toolbox.tools)
        self._hands_over_whole = any(tool.whole for tool in toolbox.tools)
        logger.info("agent '%s' has the prompt %s", self.name, self._prompt.sha256)

    def prompt_as_sent(self, table: Mapping[str, Listener], router: Router | None = None) -> Prompt:
        """The prompt exactly as its model gets it.

        Args:
            table: all listeners by name, as `organism.listeners`.
            router: decides how `calls: auto` turns out; None for the current one.
        """
        mode = self._mode(router)
        settings = self.settings
        return compose(
            settings.prompt,
            mode,
            table[self.name],
            table,
            self.answers,
            skills=settings.skills,
            tasks=settings.task,
        )

    def task_as_sent(self, payload: Any, mode: Mode) -> str:
        """A task as its model reads it."""
        template = self.settings.task.get(type(payload))
        return task_text(payload, native=mode == "native") if template is None else told(template, payload)

    def asks_again(self, table: Mapping[str, Listener]) -> bool:
        """Whether its model has anything to do but answer."""
        return bool(self._toolbox(table).tools)

    def _toolbox(self, table: Mapping[str, Listener]) -> Toolbox:
        return Toolbox.of(table[self.name], table, hand_overs=True, skills=self.settings.skills)

    def _mode(self, router: Router | None) -> Mode:
        if self.settings.calls != "auto":
            return self.settings.calls
        try:
            native = (router or get_router()).supports("tools", self.settings.model)
        except LLMError:
            return "native"  # nobody serves the model: every call will say so
        return "native" if native else "xml"

    # --- messages ---

    async def __call__(
        self, payload: Any, metadata: HandlerMetadata, state: AgentState | None
    ) -> Keep[AgentState] | HandlerResponse | None:
        """Take a task on, or go on with one when its calls are answered."""
        task = None if state is None else RunningTask.restored(state)
        if isinstance(payload, Gathered):
            if task is None or task.waiting is None:
                return None  # a repetition: its round is over
            task = task.take(payload.answers)
        elif isinstance(payload, SystemError | Huh) and task is not None and task.handing_over:
            task = task.take((payload,))  # refused: the model may do something else
        elif isinstance(payload, SystemError):
            what = "the answer was" if task is None or task.answered else "the peers' answers were"
            raise _given_up(Fault(payload.code, f"{what} refused: {payload.message}"))
        elif isinstance(payload, Huh):
            if task is None:
                return None  # nothing of this thread was refused
            task = replace(task, answered=False, corrections=task.corrections + 1)
            if task.corrections > MAX_CORRECTIONS:
                raise _given_up(Fault("validation", f"the answer was refused: {payload}"))
            task = task.noted(huh_text(payload))
        else:
            text = self.task_as_sent(payload, self._prompt.mode)
            kept = metadata.message_id if self._hands_over_whole else ""
            task = RunningTask(Exchange({"role": "user", "content": text}), message=kept)
        try:
            done = await self._work(task, metadata, {metadata.message_id: payload, **metadata.kept})
            done.message = task.message == metadata.message_id  # where it may be handed over as it came
            return done
        except BudgetExceededError:
            raise  # there is nothing yet; the pump says so to the caller, with a code of its own
        except LLMError as error:
            code: Code = "timeout" if isinstance(error, BackendTimeoutError) else "handler"
            raise _given_up(Fault(code, f"no model answered: {error}")) from error

    async def _work(
        self, task: RunningTask, metadata: HandlerMetadata, messages: Mapping[str, Any]
    ) -> Keep[AgentState]:
        """Ask the model until it calls peers, hands over, answers, or has to be given up."""
        original = messages.get(task.message)
        correcting = bool(task.exchange.rounds) and not task.exchange.rounds[-1].results
        while True:
            if not correcting:
                if task.turns >= self.settings.max_turns:
                    text = f"no answer after {task.turns} of {self.settings.max_turns} turns (max_turns)"
                    raise _given_up(Fault("limit", text))
                task = replace(task, turns=task.turns + 1)
            try:
                response = await self._ask(task, metadata)
            except BudgetExceededError as error:
                partial = task.so_far()
                if not partial:
                    raise
                logger.warning("'%s' ends a task with what it has: %s", self.name, error)
                return Keep(replace(task, answered=True).kept(), _ended_by_budget(partial))
            reading = self._reader.read(response, None if original is None else type(original))
            problem = reading.problem
            if problem is not None:
                task = replace(task, corrections=task.corrections + 1)
                if problem.final or task.corrections > MAX_CORRECTIONS:
                    raise _given_up(problem)
            elif reading.good:  # an answer proves nothing yet: its caller may refuse it
                task = replace(task, corrections=0)
            if reading.hand_over is not None:
                over = self._handed_over(task, reading, reading.hand_over, original)
                return Keep(task.calling(reading).kept(), over)
            if reading.sent:
                return Keep(task.calling(reading).kept(), self._calls(reading))
            if reading.answer is not None:
                task = replace(task.add(reading.message), answered=True)
                return Keep(task.kept(), self._answer(task, reading))
            results = results_of(reading.message, pending(reading))
            task = task.add(reading.message, results, reading.fault.huh if reading.fault else "")
            correcting = problem is not None  # a turn that read skills is one like any other

    def _calls(self, reading: Reading) -> GatherResponse:
        """The valid calls of an answer, together; the complaints about the others wait for their results."""
        calls = [
            HandlerResponse(call.payload, call.tool.peer, repairs=(*reading.repairs, *call.repairs))
            for call in reading.sent
        ]
        return HandlerResponse.gather(calls, self.settings.peer_timeout_seconds)

    def _answer(self, task: RunningTask, reading: Reading) -> HandlerResponse:
        response = HandlerResponse(reading.answer, kind=RESPOND, repairs=reading.repairs)
        return self._remembering(response, task)

    def _handed_over(
        self, task: RunningTask, reading: Reading, call: PeerCall, original: Any
    ) -> HandlerResponse:
        """The task goes to another one for good: as it came, or in what the model wrote."""
        payload = original if call.tool.whole else call.payload
        repairs = () if call.tool.whole else (*reading.repairs, *call.repairs)
        response = HandlerResponse(payload, call.tool.peer, kind=DELEGATE, repairs=repairs)
        return self._remembering(response, task.handed_over(reading, call.tool.peer))

    def _remembering(self, response: HandlerResponse, task: RunningTask) -> HandlerResponse:
        if self.settings.memory in ("session", "conversation"):
            response.remember = task.remembered(self.settings.history)
        return response

    # --- the model ---

    async def _ask(self, task: RunningTask, metadata: HandlerMetadata) -> LLMResponse:
        settings, prompt = self.settings, self._prompt
        messages = [*prompt.messages, *self._history(task, metadata)]
        options: dict[str, Any] = {
            "agent_id": self.name,
            "temperature": settings.temperature,
            "max_tokens": settings.max_tokens,
            "tools": prompt.tools,
            **self._caching(task, metadata, len(messages)),
        }
        if not self._surroundings.observed or self.answers != (Answer,):
            return await complete(settings.model, messages, **options)
        return await self._streamed(messages, options, metadata)

    def _caching(self, task: RunningTask, metadata: HandlerMetadata, messages: int) -> dict[str, Any]:
        """What a later turn will begin with: nothing is cached that nobody will read again."""
        settings = self.settings
        remembers = settings.memory in ("session", "conversation")
        if not remembers and (not self._calls_peers or task.turns >= settings.max_turns):
            return {}
        seen = len(self._prompt.messages) + 1 if settings.memory == "none" else messages
        key = f"{self.name} {metadata.conversation_id}"
        return {
            "cache_prompt": True,
            "changing": messages - seen,
            "cache_key": blake2b(key.encode(), digest_size=16).hexdigest(),
        }

    def _history(self, task: RunningTask, metadata: HandlerMetadata) -> list[Message]:
        """What the model sees of the past: earlier tasks and this one, or this one's latest round only."""
        current = task.exchange
        if self.settings.memory == "none":
            current = replace(current, rounds=current.rounds[-1:])
        earlier = [recalled(entry) for entry in metadata.recall(RememberedTask)]
        kept = within(self.settings.history, earlier, current)
        return [message for exchange in kept for message in exchange.messages()]

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
            self._surroundings.emit(
                events.TextGenerated(
                    metadata.conversation_id, metadata.thread_id, self.name, text,
                    metadata.message_id, metadata.attempt,
                )
            )  # fmt: skip


def _ended_by_budget(partial: str) -> HandlerResponse:
    text = "the budget for this work is used up; what there was of an answer comes with this message"
    return HandlerResponse.respond(SystemError("budget", text, partial))


def _given_up(fault: Fault) -> TaskFailed:
    return TaskFailed(fault.code, carriable(cut(fault.reason, _REASON_CUT)))


def _check(name: str, settings: AgentSettings, accepts: tuple[type, ...]) -> None:
    """Raises ConfigError for templates that do not fit their classes, and for skills that cannot be told apart."""
    wrong = []
    for cls, text in settings.task.items():
        mistakes = untellable(text, cls) if cls in accepts else ["is no class that it accepts"]
        wrong += [f"the task of '{name}' for {cls.__name__}: {mistake}" for mistake in mistakes]
    names = [skill.name for skill in settings.skills]
    wrong += [
        f"'{name}' has two skills named '{each}'" for each in dict.fromkeys(names) if names.count(each) > 1
    ]
    if wrong:
        raise ConfigError([Problem(text) for text in wrong])


def agent_listener(name: str, settings: AgentSettings, **options: Unpack[ListenerOptions]) -> Listener:
    """A listener that an `LLMAgent` drives; `accepts` and `answers` are `Task` and `Answer` if nothing is said.

    Args:
        name: unique in its organism.
        settings: how the agent works.
        options: those of `Listener`.

    Raises:
        ConfigError: as `listener`.
    """
    accepts, answers = options.get("accepts"), options.get("answers")
    agent = LLMAgent(
        name,
        settings,
        accepts=Task if accepts is None else accepts,
        answers=Answer if answers is None else answers,
    )
    every: ListenerOptions = {**options, **agent.options}
    return listener(name, agent, **every)
