"""Sections → steps, and every mistake that can be known before anything runs. Pure.

A name is visible where it is bound on every path. What a flow passes this check with cannot fail at run time for a
name, a field, a way or a type that is not there; that a text is too long for a field is seen when it is there.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from xml_pipeline.errors import cut, did_you_mean, listing
from xml_pipeline.flows.section import KEYS, StepSection
from xml_pipeline.flows.steps import (
    ABSENT,
    INPUT,
    Answer,
    Build,
    Call,
    Calls,
    Choose,
    Delegate,
    Each,
    Flow,
    Message,
    Repeat,
    Step,
)
from xml_pipeline.payload import nodes
from xml_pipeline.payload.mistakes import Mistake, Path
from xml_pipeline.payload.scalars import BOOL
from xml_pipeline.payload.sides import JsonSide
from xml_pipeline.payload.walk import allowed_in
from xml_pipeline.templates import Reference, Scope, TemplateFault, Type, lead, of_classes, parse
from xml_pipeline.templates.fitting import mistakes_in
from xml_pipeline.templates.types import UNKNOWN, NoSuchPath

NAME = re.compile(r"[a-z_][A-Za-z0-9_]{0,99}")
MOST_STEPS = 500
DEEPEST = 12
AT_ONCE, MOST_ITEMS = 8, 100

_JSON = JsonSide()


@dataclass(frozen=True, slots=True)
class Contract:
    """What a listener takes and answers.

    Attributes:
        accepts: the classes that others may send it; None while they are not imported.
        answers: those that it answers with; None when it does not say so.
        known: whether both are known by now: what they name is imported.
    """

    accepts: tuple[type, ...] | None = None
    answers: tuple[type, ...] | None = None
    known: bool = True


@dataclass(frozen=True, slots=True)
class World:
    """What a flow can name.

    Attributes:
        listeners: all of the file, by name; of a flow `answers` is what it declares, or None.
        classes: payload classes by name.
        complete: whether all classes that the file names are among them.
    """

    listeners: Mapping[str, Contract]
    classes: Mapping[str, type]
    complete: bool = True


@dataclass(slots=True)
class Reading:
    """A flow as far as it could be read.

    Attributes:
        flow: with mistakes it is none.
        mistakes: with paths below the list of steps.
        waits_for: flows whose answers have to be known first.
    """

    flow: Flow | None
    mistakes: list[Mistake]


def read_flow(
    sections: Sequence[StepSection],
    *,
    accepts: tuple[type, ...] | None,
    answers: tuple[type, ...] | None,
    world: World,
) -> Reading:
    """What a flow does, and what is wrong with it.

    Args:
        sections: its steps.
        accepts: the classes of its task; None while they are not known.
        answers: those that it says it answers with; None for those that it does answer with.
        world: what it can name.
    """
    reader = _Reader(world, answers)
    task = UNKNOWN if accepts is None else of_classes(accepts)
    steps, after = reader.steps(sections, {INPUT: task}, (), _Place())
    if after is not None and not reader.mistakes:
        reader.note((), "does not end on every path: its last step is an `answer` or a `delegate`")
    if reader.mistakes:
        return Reading(None, reader.mistakes)
    found = tuple(dict.fromkeys(reader.answered))
    flow = Flow(
        steps,
        found if answers is None else answers,
        tuple(dict.fromkeys(reader.called)),
        tuple(dict.fromkeys(reader.handed)),
        _always(steps),
    )
    return Reading(flow, [])


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a step stands.

    Attributes:
        inside: the step around it in which no flow may end; "" for none.
        repeats: whether names may be bound once more.
        depth: of steps within steps.
    """

    inside: str = ""
    repeats: bool = False
    depth: int = 0


@dataclass(slots=True)
class _Reader:
    world: World
    declared: tuple[type, ...] | None
    mistakes: list[Mistake] = field(default_factory=list)
    called: list[str] = field(default_factory=list)
    handed: list[str] = field(default_factory=list)
    answered: list[type] = field(default_factory=list)
    after: dict[Path, Scope | None] = field(default_factory=dict)  # the names after each step
    count: int = 0

    def note(self, path: Path, message: str, *, at_key: bool = False) -> None:
        self.mistakes.append(Mistake(path, message, at_key))

    # --- lists of steps ---

    def steps(
        self, sections: Sequence[StepSection], scope: Scope, path: Path, place: _Place
    ) -> tuple[tuple[Step, ...], Scope | None]:
        """The steps, and the names that are known after them; None where every path has ended."""
        found: list[Step] = []
        after: Scope | None = dict(scope)
        if place.depth > DEEPEST:
            self.note(
                path, f"has steps within steps deeper than {DEEPEST}; make a listener with a flow of them"
            )
            return (), None
        for number, section in enumerate(sections):
            here = (*path, number)
            self.count += 1
            if self.count == MOST_STEPS + 1:
                self.note(here, f"is step {self.count}; a flow has at most {MOST_STEPS}")
            if after is None:
                self.note(here, "is never reached: the step before it ends the flow on every path")
                return tuple(found), None
            kind = self._kind(section, here)
            if kind is None:
                return tuple(found), None  # what follows may need its names
            step, after = getattr(self, f"_{kind}")(section, after, here, place)
            self.after[here] = after
            if step is not None:
                found.append(step)
        return tuple(found), after

    def _kind(self, section: StepSection, path: Path) -> str | None:
        given = _names(section)
        kinds = [name for name in KEYS if name in given]
        if len(kinds) != 1:
            which = f"has {listing([f'`{each}`' for each in kinds])}" if kinds else "says nothing to do"
            self.note(path, f"{which}; a step has exactly one of {listing(list(KEYS))}")
            return None
        (kind,) = kinds
        for name in given:
            if name != kind and name not in KEYS[kind]:
                there = listing([f"`{each}`" for each in KEYS[kind]]) or "nothing else"
                self.note(
                    (*path, name), f"`{name}` does not go with `{kind}`, which takes {there}", at_key=True
                )
        return kind

    # --- calls ---

    def _call(
        self, section: StepSection, scope: Scope, path: Path, place: _Place
    ) -> tuple[Step | None, Scope | None]:
        call, bound = self._one_call(section, scope, path, place, set())
        return (None if call is None else Calls((call,))), {**scope, **bound}

    def _together(
        self, section: StepSection, scope: Scope, path: Path, place: _Place
    ) -> tuple[Step | None, Scope | None]:
        calls: list[Call] = []
        bound: dict[str, Type] = {}
        if not section.together:
            self.note((*path, "together"), "has no calls")
        for number, each in enumerate(section.together or ()):
            here = (*path, "together", number)
            kind = self._kind(each, here)
            if kind is not None and kind != "call":
                self.note(
                    here, f"is a `{kind}`; `together` holds calls: make a listener with a flow of such steps"
                )
            elif kind is not None:
                call, names = self._one_call(each, scope, here, place, set(bound))
                bound.update(names)
                if call is not None:
                    within = [one for one in (call.seconds, section.timeout_seconds) if one is not None]
                    calls.append(replace(call, seconds=min(within, default=None)))
        return (Calls(tuple(calls)) if calls else None), {**scope, **bound}

    def _one_call(
        self, section: StepSection, scope: Scope, path: Path, place: _Place, taken: set[str]
    ) -> tuple[Call | None, dict[str, Type]]:
        to = section.call or ""
        contract = self._listener(to, (*path, "call"))
        each, inner = self._each(section, scope, path)
        send = self._send(section.send, "send", contract, inner, path)
        instead = self._instead(section, contract, to, inner, path)
        absent = section.if_fails == ABSENT
        answer = self._answer_type(contract, to, (*path, "call"))
        bound: dict[str, Type] = {}
        if section.as_ is not None:
            found = answer
            if each is not None:
                found = UNKNOWN if answer.node is None else Type(nodes.ListOf(list, answer.node))
            elif absent:
                found = replace(answer, optional=True)
            if self._may_bind(section.as_, found, scope, (*path, "as"), place, taken):
                bound[section.as_] = found
            else:
                bound[section.as_] = UNKNOWN  # told once
        if contract is None or send is None:
            return None, bound
        self.called.append(to)
        return (
            Call(to, send, section.as_ or "", section.timeout_seconds, absent, instead, each),
            bound,
        )

    def _each(self, section: StepSection, scope: Scope, path: Path) -> tuple[Each | None, Scope]:
        if section.for_each is None:
            for name in ("of", "at_once", "max_items"):
                if name in _names(section):
                    self.note((*path, name), f"`{name}` goes with `for_each`", at_key=True)
            return None, scope
        variable = section.for_each
        if self._is_name(variable, (*path, "for_each")) and variable in scope:
            self.note(
                (*path, "for_each"), f"'{cut(variable)}' is the name of something else here; choose another"
            )
        if section.of is None:
            self.note((*path, "for_each"), 'needs `of`, the list, as `of: "{{draft.places}}"`', at_key=True)
            return None, {**scope, variable: UNKNOWN}
        of = self._reference(section.of, scope, (*path, "of"), braces=True)
        if of is None:
            return None, {**scope, variable: UNKNOWN}
        reference, found = of
        item = UNKNOWN
        if found.optional:
            self.note((*path, "of"), f"'{reference}' may be absent; a list is needed")
        elif isinstance(found.node, nodes.ListOf):
            item = Type(found.node.item)
            if not isinstance(found.node.item, nodes.Nested | nodes.Union | nodes.Scalar | nodes.Choice):
                self.note((*path, "of"), f"'{reference}' is {found.words}, whose items have no names")
        elif found.node is not None:
            self.note((*path, "of"), f"'{reference}' is {found.words}; a list is needed")
        each = Each(variable, reference, section.at_once or AT_ONCE, section.max_items or MOST_ITEMS)
        return each, {**scope, variable: item}

    def _instead(
        self, section: StepSection, contract: Contract | None, to: str, scope: Scope, path: Path
    ) -> Build | None:
        given = section.if_fails
        here = (*path, "if_fails")
        if given is None or given == ABSENT:
            return None
        if isinstance(given, str):
            self.note(here, f"is {cut(repr(given))}; allowed: absent, or {{Class: {{field: value}}}}")
            return None
        answers = None if contract is None else contract.answers
        built = self._build(given, here, scope, answers, f"'{to}' answers")
        return built if isinstance(built, Build) else None

    def _answer_type(self, contract: Contract | None, to: str, path: Path) -> Type:
        if contract is None or not contract.known:
            return UNKNOWN
        if contract.answers is None:
            self.note(
                path,
                f"what '{to}' answers is not known; say it with `answers:`, or annotate its handler with"
                " -> HandlerResponse[Class]",
            )
            return UNKNOWN
        return of_classes(contract.answers) if contract.answers else UNKNOWN

    # --- several ways, and again ---

    def _choose(
        self, section: StepSection, scope: Scope, path: Path, place: _Place
    ) -> tuple[Step | None, Scope | None]:
        found = self._reference(section.choose or "", scope, (*path, "choose"))
        ways, expected = section.ways or {}, None
        if section.ways is None:
            self.note((*path, "choose"), "needs `ways`, with steps for each value", at_key=True)
        if found is not None:
            expected = self._values(*found, (*path, "choose"))
        if expected is not None and section.ways is not None:
            for name in ways:
                if name not in expected:
                    hint = did_you_mean(name, expected)
                    what = f"`{cut(name)}` is no value of '{found and found[0]}'{hint}; they are"
                    self.note((*path, "ways", name), f"{what} {listing(list(expected))}", at_key=True)
            missing = [name for name in expected if name not in ways]
            if missing:
                self.note(
                    (*path, "ways"),
                    f"{listing(missing)} has no way; `{missing[0]}: []` goes on with the next step",
                )
        steps: dict[str, tuple[Step, ...]] = {}
        scopes: list[Scope] = []
        for name, each in ways.items():
            inner = scope
            if found is not None and len(found[0].path) == 1 and expected is not None:
                narrow = expected.get(name, UNKNOWN)
                inner = {known: of for known, of in scope.items() if known != found[0].path[0]}
                if name != ABSENT:
                    inner = {**inner, found[0].path[0]: narrow}
            below = replace(place, depth=place.depth + 1)
            steps[name], after = self.steps(each, inner, (*path, "ways", name), below)
            if after is not None:
                scopes.append(after)
        step = None if found is None else Choose(found[0], steps)
        if ways and not scopes:
            return step, None
        return step, _joined(scope, scopes)

    def _values(self, reference: Reference, found: Type, path: Path) -> dict[str, Type] | None:
        """What a choice may come to; None where that is not known, or it is no choice."""
        node = found.node
        if node is None:
            return None
        absent = {ABSENT: UNKNOWN} if found.optional else {}
        named = len(reference.path) == 1
        match node:
            case nodes.Nested(cls) if named and found.optional:
                return {cls.__name__: Type(node), **absent}
            case nodes.Union(choices) if named:
                return {name: Type(inner) for name, inner in choices} | absent
            case nodes.Choice(values=values):
                words = {text: UNKNOWN for text, _ in values}
                if absent and ABSENT in words:
                    self.note(
                        path,
                        f"'{reference}' may be absent, and one of its words is `absent`; rename the word",
                    )
                return words | absent
            case nodes.Scalar(kind) if kind is BOOL:
                return {"true": UNKNOWN, "false": UNKNOWN} | absent
        why = "only one class" if isinstance(node, nodes.Nested) and named else found.words
        self.note(
            path, f"'{reference}' is {why}; a choice is between declared words, true and false, or classes"
        )
        return None

    def _repeat(
        self, section: StepSection, scope: Scope, path: Path, place: _Place
    ) -> tuple[Step | None, Scope | None]:
        inside = _Place("repeat", True, place.depth + 1)
        if not section.repeat:
            self.note((*path, "repeat"), "has no steps")
            return None, scope
        if section.at_most is None:
            self.note(path, "`repeat` needs `at_most`, the number of rounds")
        steps, after = self.steps(section.repeat or (), scope, (*path, "repeat"), inside)
        if after is None:  # an end in it, which is told already
            return None, scope
        until = self._until(section, after, steps, path)
        if until is None:
            return None, after
        # What is bound after the step that `until` looks at need not be there when it ends.
        last = next(
            (
                number
                for number, step in enumerate(steps)
                if isinstance(step, Calls) and any(call.name == until[0].path[0] for call in step.calls)
            ),
            0,
        )
        visible = self.after.get((*path, "repeat", last)) or after
        return Repeat(steps, until, section.at_most or 1, section.otherwise == "go_on"), visible

    def _until(
        self, section: StepSection, after: Scope, steps: tuple[Step, ...], path: Path
    ) -> tuple[Reference, Any] | None:
        here = (*path, "until")
        if not section.until or len(section.until) != 1:
            self.note(here if section.until else path, "`repeat` needs `until: {path: value}`, with one path")
            return None
        ((written, value),) = section.until.items()
        found = self._reference(written, after, (*here, written))
        if found is None:
            return None
        reference, kind = found
        names = {call.name for step in steps if isinstance(step, Calls) for call in step.calls}
        if reference.path[0] not in names:
            bound = listing(sorted(names - {""})) or "none"
            self.note(
                (*here, written),
                f"'{reference.path[0]}' is bound by no step of this `repeat`, so it never changes; bound are {bound}",
                at_key=True,
            )
            return None
        node = kind.node
        if node is None:
            return reference, value
        if len(reference.path) == 1 or not isinstance(node, nodes.Scalar | nodes.Choice):
            self.note(
                (*here, written),
                f"'{reference}' is {kind.words}; one value of a field is needed",
                at_key=True,
            )
            return None
        try:
            wanted = _JSON.leaf(node, value)
        except ValueError as error:
            self.note((*here, written), f"{error}; allowed: {allowed_in(node)}")
            return None
        return reference, wanted

    # --- ends ---

    def _delegate(
        self, section: StepSection, scope: Scope, path: Path, place: _Place
    ) -> tuple[Step | None, Scope | None]:
        self._may_end(place, path, "delegate")
        to = section.delegate or ""
        contract = self._listener(to, (*path, "delegate"))
        send = self._send(section.send, "send", contract, scope, path)
        answer = self._answer_type(contract, to, (*path, "delegate"))
        if contract is not None and contract.answers and answer is not UNKNOWN:
            for cls in contract.answers:
                self._answers(
                    cls, (*path, "delegate"), f"'{to}' answers {cls.__name__}, and this flow does not"
                )
        if contract is None or send is None:
            return None, None
        self.handed.append(to)
        return Delegate(to, send), None

    def _answer(
        self, section: StepSection, scope: Scope, path: Path, place: _Place
    ) -> tuple[Step | None, Scope | None]:
        self._may_end(place, path, "answer")
        given, here = section.answer, (*path, "answer")
        if isinstance(given, str):
            found = self._reference(given, scope, here, braces=True)
            if found is None:
                return None, None
            reference, kind = found
            classes = _classes(kind.node)
            if kind.optional:
                self.note(here, f"'{reference}' may be absent; a message is needed")
            elif kind.node is not None and classes is None:
                self.note(here, f"'{reference}' is {kind.words}; a message is needed")
            for cls in classes or ():
                self._answers(cls, here, f"'{reference}' is {cls.__name__}, which `answers` does not name")
            return Answer(reference), None
        built = self._build(given or {}, here, scope, self.declared, "this flow answers")
        if isinstance(built, Build):
            self.answered.append(built.cls)
        return (None if built is None else Answer(built)), None

    def _answers(self, cls: type, path: Path, why: str) -> None:
        if self.declared is not None and cls not in self.declared:
            there = listing([each.__name__ for each in self.declared])
            self.note(path, f"{why}; it answers {there}")
        self.answered.append(cls)

    def _may_end(self, place: _Place, path: Path, kind: str) -> None:
        if place.inside:
            self.note(
                path,
                f"`{kind}` ends the flow, which cannot be inside `{place.inside}`; end it after that",
            )

    # --- messages and names ---

    def _listener(self, name: str, path: Path) -> Contract | None:
        contract = self.world.listeners.get(name)
        if contract is None:
            hint = did_you_mean(name, self.world.listeners)
            self.note(path, f"there is no listener '{cut(name)}'{hint}")
        return contract

    def _send(
        self,
        given: str | dict[str, Any] | None,
        key: str,
        contract: Contract | None,
        scope: Scope,
        path: Path,
    ) -> Message | None:
        here = (*path, key)
        if given is None:
            self.note(path, 'needs `send`, the message: `{Class: {field: value}}`, or `"{{input}}"`')
            return None
        accepts = None if contract is None else contract.accepts
        if not isinstance(given, str):
            return self._build(given, here, scope, accepts, "it takes")
        found = self._reference(given, scope, here, braces=True)
        if found is None:
            return None
        reference, kind = found
        classes = _classes(kind.node)
        if kind.optional:
            self.note(here, f"'{reference}' may be absent; a message is needed")
        elif kind.node is not None and classes is None:
            self.note(here, f"'{reference}' is {kind.words}; a message is needed")
        elif accepts is not None:
            for cls in classes or ():
                if cls not in accepts:
                    takes = listing([each.__name__ for each in accepts]) or "nothing"
                    self.note(here, f"'{reference}' is {kind.words}; it takes {takes}")
                    break
        return reference

    def _build(
        self,
        given: Mapping[str, Any],
        path: Path,
        scope: Scope,
        allowed: tuple[type, ...] | None,
        words: str,
    ) -> Build | Message | None:
        if len(given) != 1:
            self.note(path, "must be one class with its fields, as {Report: {text: ...}}")
            return None
        ((name, fields),) = given.items()
        near = {cls.__name__: cls for cls in allowed or ()}
        cls = near.get(name) or (self.world.classes.get(name) if allowed is None else None)
        if cls is None:
            if allowed is None and not self.world.complete:
                return Build(object, {})
            known = near or self.world.classes
            hint = did_you_mean(str(name), known)
            what = "is no class here" if allowed is None else "does not fit"
            there = listing(list(known)) or "nothing"
            self.note((*path, name), f"`{cut(str(name))}` {what}{hint}; {words} {there}", at_key=True)
            return None
        fields = _plain(fields if fields is not None else {})
        before = len(self.mistakes)
        self.mistakes += mistakes_in(cls, fields, scope, (*path, name))
        return Build(cls, fields) if len(self.mistakes) == before else None

    def _reference(
        self, text: str, scope: Scope, path: Path, *, braces: bool = False
    ) -> tuple[Reference, Type] | None:
        """A path, in braces or (where nothing else can stand) without them, and what it stands for."""
        try:
            template = parse(text if "{{" in text or braces else f"{{{{{text}}}}}")
            reference = template.whole
            if reference is None or reference.otherwise is not None:
                self.note(path, f'is {cut(repr(text))}; one whole reference is needed, as "{{{{input}}}}"')
                return None
            return reference, lead(reference, scope)
        except (TemplateFault, NoSuchPath) as error:
            self.note(path, str(error))
            return None

    def _is_name(self, name: str, path: Path) -> bool:
        if not NAME.fullmatch(name) or keyword.iskeyword(name):
            self.note(path, f"'{cut(name)}' is no name: a small letter first, then letters, digits and `_`")
            return False
        if name in (INPUT, ABSENT):
            self.note(path, f"'{name}' has a meaning of its own; choose another name")
            return False
        return True

    def _may_bind(
        self, name: str, found: Type, scope: Scope, path: Path, place: _Place, taken: set[str]
    ) -> bool:
        if not self._is_name(name, path):
            return False
        if name in taken:
            self.note(path, f"'{name}' is bound by another call of this step; choose another name")
            return False
        if name not in scope:
            return True
        before = scope[name]
        if not place.repeats:
            self.note(path, f"'{name}' is bound already, and only `repeat` binds again; choose another name")
            return False
        if None not in (before.node, found.node) and before != found:
            maybe = ", or nothing" if found.optional else ""
            self.note(
                path, f"'{name}' was {before.words} and would be {found.words}{maybe}; choose another name"
            )
            return False
        return True


def _names(section: StepSection) -> list[str]:
    """The keys that stand in the file."""
    return ["as" if name == "as_" else name for name in section.model_fields_set]


def _plain(value: Any) -> Any:
    """Lists where validation made tuples."""
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value


def _classes(node: nodes.Node | None) -> tuple[type, ...] | None:
    """The payload classes that a value is of; None for what is no message."""
    match node:
        case nodes.Nested(cls):
            return (cls,)
        case nodes.Union(choices) if all(isinstance(inner, nodes.Nested) for _, inner in choices):
            return tuple(inner.cls for _, inner in choices if isinstance(inner, nodes.Nested))
        case _:
            return None


def _joined(before: Scope, scopes: Sequence[Scope]) -> Scope:
    """What is known after several ways: what is known, and the same, after each of them."""
    if not scopes:
        return before
    first, *others = scopes
    joined: dict[str, Type] = {}
    for name, found in first.items():
        if all(name in other for other in others):
            kinds = [found, *(other[name] for other in others)]
            if name in before:
                joined[name] = before[name]
            elif all(kind == found for kind in kinds):
                joined[name] = found
    return joined


def _always(steps: Sequence[Step], after: frozenset[str] = frozenset()) -> frozenset[str]:
    """Whom steps call, or hand over to, on every path; `after`: whom those that go on after them do."""
    for step in reversed(steps):
        match step:
            case Calls(calls):
                after |= {call.to for call in calls if call.each is None}
            case Repeat(steps=inner):
                after |= _always(inner)
            case Choose(ways=ways) if ways:
                after = frozenset.intersection(*(_always(way, after) for way in ways.values()))
            case Delegate(to):
                after = frozenset((to,))
            case _:
                after = frozenset()
    return after
