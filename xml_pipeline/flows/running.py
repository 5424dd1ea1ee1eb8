"""A flow at work, as a value: where it is, what its names stand for, which calls are open; and what follows. Pure.

One step is open at a time; its calls may be several. Names stand for messages that the thread keeps, by their ids:
the value stays small however much was said.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

import msgspec
from msgspec import Struct, field

from xml_pipeline.envelope import Gathered, Huh, SystemError
from xml_pipeline.errors import PayloadError
from xml_pipeline.flows.steps import (
    ABSENT,
    INPUT,
    Answer,
    Build,
    Call,
    Calls,
    Choose,
    Delegate,
    Flow,
    Message,
    Repeat,
    Step,
)
from xml_pipeline.payload import codec_of
from xml_pipeline.templates import Filler, Reference

FATAL = frozenset({"budget", "limit", "interrupted"})
"""Codes of errors that no flow goes on after."""


class Bound(Struct, frozen=True, omit_defaults=True):
    """What a name stands for.

    Attributes:
        message: the id of the message that brought it: the task, or what a call came to.
        root, document: or a value that was made here, as the name of its class and its document.
        items: or a list of those.
    """

    message: str = ""
    root: str = ""
    document: str = ""
    items: tuple[Bound, ...] | None = None


class Frame(Struct):
    """Steps that are worked on.

    Attributes:
        path: which: numbers of steps, and of ways the names, from the outside in.
        index: the step.
        round: of a `repeat`, from 0.
    """

    path: tuple[int | str, ...] = ()
    index: int = 0
    round: int = 0


class Open(Struct, frozen=True):
    """A call that is out.

    Attributes:
        call: its number in the step.
        item: the number of the item it was made for.
    """

    call: int
    item: int = 0


class Run(Struct):
    """A flow at work.

    Attributes:
        frames: the steps around the current one, outermost first.
        names: what is bound; None for what is absent.
        open: calls that are out, by the ids of their messages.
        came: what calls of the step came to so far, by call and item.
        sent: how many items of each call were sent.
        ended: whether it answered, or handed over.
    """

    frames: list[Frame] = field(default_factory=lambda: [Frame()])
    names: dict[str, Bound | None] = field(default_factory=dict)
    open: dict[str, Open] = field(default_factory=dict)
    came: dict[int, dict[int, Bound | None]] = field(default_factory=dict)
    sent: dict[int, int] = field(default_factory=dict)
    ended: bool = False


class Wanted(Struct, frozen=True):
    """A call that is to be made.

    Attributes:
        open: which one it is.
        apart: whether it has a session of its own.
    """

    to: str
    payload: Any
    open: Open
    seconds: float | None
    apart: bool


class Over(Struct, frozen=True):
    """The end: `to` answers, or nobody does it for the flow ("")."""

    payload: Any
    to: str = ""


Next: TypeAlias = list[Wanted] | Over


class Failure(Exception):
    """A flow cannot go on; `error` is what its caller is told."""

    def __init__(self, error: SystemError) -> None:
        self.error = error


def written(run: Run) -> str:
    """As text."""
    return msgspec.json.encode(run).decode()


def read(text: str) -> Run:
    """What `written` wrote. Raises ValueError."""
    return msgspec.json.decode(text, type=Run)


class Work:
    """One message's part of a run.

    Args:
        flow: what is to be done.
        run: how far it is; it is changed.
        kept: payloads by message id.
        classes: payload classes by name, of what was made here.
    """

    def __init__(self, flow: Flow, run: Run, kept: Mapping[str, Any]) -> None:
        self._flow = flow
        self.run = run
        self._kept = kept
        self._classes = {cls.__name__: cls for cls in _made(flow.steps)}

    def begin(self, message_id: str) -> Next:
        """The task came with this message."""
        self.run.names[INPUT] = Bound(message_id)
        return self._ended_or(self._go)

    def come(self, call_id: str, message_id: str, outcome: Any) -> Next:
        """A call came to something: a payload, an error, or nothing (None)."""
        opened = self.run.open.pop(call_id, None)
        if opened is None or self.run.ended:
            return []  # a repetition
        return self._ended_or(lambda: self._come(opened, message_id, outcome))

    def _ended_or(self, act: Any) -> Next:
        try:
            found: Next = act()
        except Failure as failure:
            found = Over(failure.error)
        self.run.ended = isinstance(found, Over)
        return found

    def _come(self, opened: Open, message_id: str, outcome: Any) -> Next:
        step = self._step()
        assert isinstance(step, Calls)
        call = step.calls[opened.call]
        self._note(call, opened, message_id, outcome)
        wanted = self._wanted(opened.call, call, apart=step.apart) if call.each is not None else []
        if wanted or self.run.open:
            return wanted
        return self._done(step)

    def _note(self, call: Call, opened: Open, message_id: str, outcome: Any) -> None:
        error = failure_of(call.to, outcome)
        if error is not None and (error.code in FATAL or not call.catches):
            raise Failure(error)
        bound: Bound | None = Bound(message_id)
        if error is not None:
            bound = None if call.instead is None else self._own(call.instead, self._item(call, opened.item))
        self.run.came.setdefault(opened.call, {})[opened.item] = bound

    def _done(self, step: Calls) -> Next:
        """All calls of the step have come to something."""
        run = self.run
        for number, call in enumerate(step.calls):
            if call.name:
                came = run.came.get(number, {})
                if call.each is None:
                    run.names[call.name] = came[0]
                else:
                    items = tuple(one for _, one in sorted(came.items()) if one is not None)
                    run.names[call.name] = Bound(items=items)
        run.came, run.sent = {}, {}
        frame = run.frames[-1]
        repeat = self._around(frame)
        bound = {call.name for call in step.calls}
        if isinstance(repeat, Repeat) and repeat.until[0].path[0] in bound and self._holds(repeat):
            run.frames.pop()
            run.frames[-1].index += 1
        else:
            frame.index += 1
        return self._go()

    # --- from step to step ---

    def _go(self) -> Next:
        frames = self.run.frames
        while True:
            frame = frames[-1]
            steps = self._steps(frame.path)
            if frame.index == len(steps):
                self._back()
                continue
            step = steps[frame.index]
            match step:
                case Calls(calls):
                    wanted = [
                        each
                        for number, call in enumerate(calls)
                        for each in self._wanted(number, call, apart=step.apart)
                    ]
                    if wanted:
                        return wanted
                    return self._done(step)  # lists without items
                case Choose():
                    way = self._way(step)
                    frames.append(Frame((*frame.path, frame.index, way)))
                case Repeat():
                    frames.append(Frame((*frame.path, frame.index)))
                case Delegate(to, send):
                    return Over(self._message(send), to)
                case Answer(send):
                    return Over(self._message(send))

    def _back(self) -> None:
        """A list of steps is done: once more, or on with what is around it."""
        frames = self.run.frames
        frame = frames[-1]
        repeat = self._around(frame)
        if isinstance(repeat, Repeat) and frame.round + 1 < repeat.at_most:
            frame.round, frame.index = frame.round + 1, 0
            return
        if isinstance(repeat, Repeat) and not repeat.go_on:
            reference, value = repeat.until
            text = f"after {repeat.at_most} rounds '{reference}' is not {value!r}"
            raise Failure(SystemError("limit", text))
        frames.pop()
        frames[-1].index += 1

    def _step(self) -> Step:
        frame = self.run.frames[-1]
        return self._steps(frame.path)[frame.index]

    def _steps(self, path: tuple[int | str, ...]) -> tuple[Step, ...]:
        steps = self._flow.steps
        place = 0
        while place < len(path):
            step = steps[int(path[place])]
            if isinstance(step, Choose):
                steps = step.ways[str(path[place + 1])]
                place += 2
            else:
                assert isinstance(step, Repeat)
                steps = step.steps
                place += 1
        return steps

    def _around(self, frame: Frame) -> Step | None:
        """The step that these steps are a part of."""
        if not frame.path:
            return None
        last = frame.path[-1]
        before = frame.path[:-2] if isinstance(last, str) else frame.path[:-1]
        number = frame.path[-2] if isinstance(last, str) else last
        return self._steps(before)[int(number)]

    # --- calls ---

    def _wanted(self, number: int, call: Call, *, apart: bool) -> list[Wanted]:
        """The calls that can be made now."""
        run = self.run
        if call.each is None:
            return [self._one(number, call, 0, apart=apart)] if number not in run.sent else []
        items = self._items(call)
        if len(items) > call.each.most:
            text = f"'{call.each.of}' has {len(items):,} items; at most {call.each.most:,} are taken"
            raise Failure(SystemError("limit", text))
        out = sum(1 for each in run.open.values() if each.call == number)
        first = run.sent.get(number, 0)
        last = min(len(items), first + call.each.at_once - out)
        return [self._one(number, call, item, apart=apart) for item in range(first, last)]

    def _one(self, number: int, call: Call, item: int, *, apart: bool) -> Wanted:
        self.run.sent[number] = item + 1
        payload = self._message(call.send, self._item(call, item))
        return Wanted(call.to, payload, Open(number, item), call.seconds, apart)

    def _items(self, call: Call) -> list[Any]:
        assert call.each is not None
        found = self._filler({}).value(call.each.of)
        if not isinstance(found, list):
            raise TypeError(f"'{call.each.of}' is no list")
        return found

    def _item(self, call: Call, item: int) -> dict[str, Any]:
        return {} if call.each is None else {call.each.variable: self._items(call)[item]}

    # --- values ---

    def _message(self, message: Message, more: Mapping[str, Any] | None = None) -> Any:
        filler = self._filler(more or {})
        if isinstance(message, Reference):
            return filler.value(message)
        try:
            return filler.message(message.cls, message.given)
        except PayloadError as error:
            raise Failure(SystemError("validation", str(error))) from error

    def _own(self, build: Build, more: Mapping[str, Any]) -> Bound:
        made = self._message(build, more)
        return Bound(root=build.cls.__name__, document=codec_of(build.cls).encode(made).decode())

    def _filler(self, more: Mapping[str, Any]) -> Filler:
        return Filler(_Names(self, more))

    def named(self, name: str) -> Any:
        """What a name stands for now."""
        return self._value(self.run.names[name])

    def _value(self, bound: Bound | None) -> Any:
        if bound is None:
            return None
        if bound.items is not None:
            return [self._value(each) for each in bound.items]
        if bound.root:
            return codec_of(self._classes[bound.root]).decode_bytes(bound.document.encode())
        if bound.message not in self._kept:
            raise Failure(SystemError("handler", "a message that it needs cannot be read any more"))
        payload = self._kept[bound.message]
        return payload.answers[0] if isinstance(payload, Gathered) else payload

    def _way(self, choose: Choose) -> str:
        value = self._filler({}).value(choose.on)
        if value is None:
            return ABSENT
        return type(value).__name__ if len(choose.on.path) == 1 else self._filler({}).inline(choose.on)

    def _holds(self, repeat: Repeat) -> bool:
        reference, wanted = repeat.until
        found = self._filler({}).value(reference)
        return type(found) is type(wanted) and bool(found == wanted)


class _Names(Mapping[str, Any]):
    """The names of a run; a value is made when it is asked for."""

    def __init__(self, work: Work, more: Mapping[str, Any]) -> None:
        self._work = work
        self._more = more

    def __getitem__(self, name: str) -> Any:
        return self._more[name] if name in self._more else self._work.named(name)

    def __iter__(self) -> Iterator[str]:
        return iter({**self._work.run.names, **self._more})

    def __len__(self) -> int:
        return len({**self._work.run.names, **self._more})


def failure_of(to: str, outcome: Any) -> SystemError | None:
    """The error that a call came to; None for an answer."""
    if outcome is None:
        return SystemError("handler", f"'{to}' gave no answer")
    if isinstance(outcome, Huh):
        return SystemError("validation", f"'{to}' did not take the message: {outcome}")
    return outcome if isinstance(outcome, SystemError) else None


def _made(steps: tuple[Step, ...]) -> Iterator[type]:
    """The classes of what is made here for calls that failed."""
    for step in steps:
        match step:
            case Calls(calls):
                yield from (call.instead.cls for call in calls if call.instead is not None)
            case Repeat(steps=inner):
                yield from _made(inner)
            case Choose(ways=ways):
                for way in ways.values():
                    yield from _made(way)
            case _:
                pass
