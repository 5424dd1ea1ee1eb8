"""Who plays in a case: models that say their lines, people who answer, and stand-ins for handlers."""

from __future__ import annotations

import asyncio
import contextvars
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from xml_pipeline.agents import Toolbox
from xml_pipeline.cases.script import NothingToSay, Script
from xml_pipeline.config import ListenerConfig
from xml_pipeline.config.cases import LineSection, calls_of, class_and_fields, said_as
from xml_pipeline.errors import BackendTimeoutError, InvalidRequestError, PayloadError, TaskFailed, cut
from xml_pipeline.llm import LLMRequest, LLMResponse
from xml_pipeline.llm.accounting.estimate import prompt_size, text_size
from xml_pipeline.llm.providers.scripted import BYTES_PER_TOKEN, Rule, latest_text
from xml_pipeline.llm.types import ToolCall, Usage
from xml_pipeline.payload import Codec, codec_of, is_payload
from xml_pipeline.pump import HandlerMetadata, HandlerResponse, Listener
from xml_pipeline.pump.listener import Attaching
from xml_pipeline.terminal import visible

TEXT_CUT = 200  # characters of a model's line in a trace


class Cast:
    """Everybody who says what the script says.

    Args:
        script: the lines.
        listeners: all of the organism, as it is declared.

    Attributes:
        trace: what was said, a line each.
        problems: why the case cannot pass any more.
        stopped: set with the first of these: nothing more is to be played.
    """

    def __init__(self, script: Script, listeners: Mapping[str, Listener]) -> None:
        self._script = script
        self._listeners = listeners
        self.trace: list[str] = []
        self.problems: list[str] = []
        self.stopped = asyncio.Event()

    def stop(self, problem: str) -> None:
        """The case has failed."""
        self.problems.append(problem)
        self.stopped.set()

    def told(self, text: str) -> None:
        """Add to the trace."""
        self.trace.append(visible(text).replace("\n", " "))

    # --- models ---

    def rules(self) -> tuple[Rule, ...]:
        """What a scripted backend does for all models."""
        return Rule(reply=self._model), Rule(reply=self._model, on="tool")

    def _model(self, request: LLMRequest) -> LLMResponse:
        name = request.agent
        who = f"the model of '{name}'" if name else "a model, outside of any listener,"
        try:
            line = self._script.next(name, who, latest_text(request.messages))
            content = self._content(name, line)
        except NothingToSay as nothing:
            self.stop(str(nothing))
            raise InvalidRequestError("the script of the test has no line for it") from None
        if line.fail is not None:
            self.told(f"  the model of {name} fails: {line.fail.message}")
            kind = BackendTimeoutError if line.fail.code == "timeout" else InvalidRequestError
            raise kind(line.fail.message)
        calls = tuple(
            self._tool_call(name, peer, said, f"call_{len(request.messages)}_{number}")
            for number, (peer, said) in enumerate(calls_of(line))
        )
        said = content or f"calls {', '.join(call.name for call in calls)}"
        self.told(f"  the model of {name}: {cut(said, TEXT_CUT)}")
        return LLMResponse(
            content=content,
            model=request.model,
            usage=_usage(request, content, calls),
            finish_reason="tool_calls" if calls else "stop",
            tool_calls=calls,
        )

    def _content(self, name: str, line: LineSection) -> str:
        if line.answer is None:
            return line.reply or ""
        answer = self._answer(name, line)
        codec = codec_of(type(answer))
        return str(answer.text) if codec.root == "Answer" else codec.encode(answer).decode()

    def _tool_call(self, name: str, peer: str, said: Any, id: str) -> ToolCall:
        root, fields = class_and_fields(said, "Task")
        (tool, *_) = Toolbox.of(self._listeners[name], self._listeners).takers(root, peer)
        return ToolCall.of(id, tool.name, fields)

    # --- people and stand-ins ---

    def person(self, name: str, asked: Any) -> Any:
        """What a person answers. Raises NothingToSay."""
        line = self._script.next(name, f"'{name}', a person,", _xml(asked))
        return self._answer(name, line)

    def stand_in(self, each: Listener) -> Listener:
        """A listener whose answers come from the script."""

        async def answers(payload: Any, metadata: HandlerMetadata) -> HandlerResponse:
            try:
                line = self._script.next(each.name, f"the stand-in for '{each.name}'", _xml(payload))
                answer = None if line.fail is not None else self._answer(each.name, line)
            except NothingToSay as nothing:
                self.stop(str(nothing))
                raise TaskFailed("handler", "the script of the test has no line for it") from None
            if line.fail is not None:
                raise TaskFailed(line.fail.code, line.fail.message)
            return HandlerResponse.respond(answer)

        return replace(each, handler=answers, accepts=each.requests, state=None, cpu_bound=False, retries=0)

    def not_played(self, each: Listener) -> Listener:
        """A listener with effects that nobody stands in for."""

        async def fails(payload: Any, metadata: HandlerMetadata) -> HandlerResponse:
            self.stop(
                f"'{each.name}' has effects: once and was called; in a test it is not run. Write what it answers:"
                f" `script: {{{each.name}: {{answer: …}}}}`. It was asked: {cut(_xml(payload))}"
            )
            raise TaskFailed("handler", "it has effects, and nobody stands in for it in this test")

        return replace(each, handler=fails, accepts=each.requests, state=None, cpu_bound=False)

    def _answer(self, name: str, line: LineSection) -> Any:
        """What the script says somebody answers. Raises NothingToSay: it is no message that is known."""
        root, fields = class_and_fields(line.answer, "Answer")
        near = _classes_near(self._listeners[name], self._listeners)
        known: Iterator[Codec[Any]] = (codec_of(cls) for cls in near)
        codec = next((each for each in known if each.root == root), None)
        if codec is None:
            raise NothingToSay(
                f"the class {root} that the script answers for '{name}' is not known: say there what it answers,"
                " `answers: module:Class`"
            )
        try:
            return codec.from_json(fields)
        except PayloadError as error:
            raise NothingToSay(f"what the script answers for '{name}' is not valid: {error}") from None


def _classes_near(listener: Listener, listeners: Mapping[str, Listener]) -> Iterator[type]:
    """What it answers, then what the module of its handler knows, then what others take and answer."""
    yield from listener.answers or ()
    module = sys.modules.get(getattr(listener.handler, "__module__", ""))
    yield from (value for value in vars(module).values() if is_payload(value)) if module else ()
    for each in listeners.values():
        yield from (*(codec.cls for codec in each.requests.values()), *(each.answers or ()))


def plays(config: ListenerConfig, lines: tuple[LineSection, ...] | None) -> str:
    """How a listener takes part: as it is (""), by a stand-in, or not at all."""
    if config.kind in ("agent", "human"):
        return ""
    if lines and said_as(lines[0]) in ("answer", "fail"):
        return "stand-in"
    return "not played" if config.effects == "once" else ""


def in_thread(each: Listener) -> Listener:
    """A handler that may not run in the event loop, called where the loop knows of it and lets no time pass."""
    handler: Callable[..., Any] | None = each.handler
    if handler is None or isinstance(handler, Attaching) or (each.is_async and not each.cpu_bound):
        return each

    async def elsewhere(*arguments: Any) -> Any:
        if each.is_async:
            return await handler(*arguments)
        context = contextvars.copy_context()
        return await asyncio.get_running_loop().run_in_executor(
            None, lambda: context.run(handler, *arguments)
        )

    return replace(each, handler=elsewhere, cpu_bound=False)


def _xml(payload: Any) -> str:
    return codec_of(type(payload)).encode(payload).decode()


def _usage(request: LLMRequest, content: str, calls: tuple[ToolCall, ...]) -> Usage:
    """Tokens by the length of the texts, the same every time."""
    written = text_size(content) + sum(text_size(call.arguments_text) for call in calls)
    return Usage(-(-prompt_size(request.messages) // BYTES_PER_TOKEN), -(-written // BYTES_PER_TOKEN))
