"""What is wrong with `tests`, held against the listeners and their contracts, before any case runs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from xml_pipeline.agents import Answer, Task
from xml_pipeline.config.cases import SAYS, SECTION, LineSection
from xml_pipeline.config.document import Document, Path
from xml_pipeline.config.secrets import refuse_variables
from xml_pipeline.envelope import CODES
from xml_pipeline.errors import ConfigError, PayloadError, Violation, cut, did_you_mean, listing
from xml_pipeline.payload import Codec, codec_of, nodes
from xml_pipeline.payload.mistakes import shown
from xml_pipeline.payload.sides import JsonSide
from xml_pipeline.payload.walk import allowed_in
from xml_pipeline.pump.listener import SYSTEM_CLASSES, contract

_JSON = JsonSide()
NO_FIELD = "is not a field"
_STEP = re.compile(r"\[(\d+)\]|([^.\[\]]+)")
_NO_VARIABLE = "holds a variable; a test says the same everywhere, so write the value (`$$` is one `$`)"
_KEYS_OF_LINES = {field.alias or name for name, field in LineSection.model_fields.items()}
_OF_AGENTS_FAULTS = ("handler", "timeout")

Classes = Mapping[str, Codec[Any]]
"""By the name of the class."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a listener.

    Attributes:
        kind: `agent`, `human`, or `tool` for whatever has a handler.
        once: whether what it does must not be done in a test.
        peers: whom it may call.
        accepts, answers: its classes; None where the file alone does not tell.
    """

    kind: str
    once: bool
    peers: tuple[str, ...]
    accepts: Classes | None
    answers: Classes | None


def check_cases(document: Document, resolved: Mapping[str, Any]) -> None:
    """Report what is wrong with the cases.

    Args:
        document: what the files say.
        resolved: what the names of classes and handlers stand for, as far as it is known.
    """
    data: Any = document.data
    cases = data.get(SECTION)
    if not isinstance(cases, list):
        return
    refuse_variables(document, SECTION, _NO_VARIABLE)
    known = dict(_known(data, resolved))
    checks, names = _Checks(document, known), dict[str, Path]()
    for index, case in enumerate(cases):
        here: Path = (SECTION, index)
        if not isinstance(case, Mapping):
            continue
        name = case.get("name")
        if isinstance(name, str):
            if name in names:
                place = document.values[names[name]]
                first = f"{place.file}, line {place.line}"
                document.report(
                    (*here, "name"), f"there is another case '{cut(name)}' ({first}); name each once"
                )
            names.setdefault(name, (*here, "name"))
        checks.case(here, case)


def _known(data: Mapping[str, Any], resolved: Mapping[str, Any]) -> Iterator[tuple[str, Known]]:
    entries = data.get("listeners")
    for entry in entries if isinstance(entries, list) else ():
        if not isinstance(entry, Mapping) or not isinstance(entry.get("name"), str):
            continue
        handler = entry.get("handler")
        kind = "human" if entry.get("human") is True else "tool"
        if entry.get("agent") is True and handler is None:
            kind = "agent"
        peers = entry.get("peers")
        names = tuple(each for each in peers if isinstance(each, str)) if isinstance(peers, list) else ()
        accepts, answers = _contract(entry, kind, handler, resolved)
        yield entry["name"], Known(kind, entry.get("effects") == "once", names, accepts, answers)


def _contract(
    entry: Mapping[str, Any], kind: str, handler: object, resolved: Mapping[str, Any]
) -> tuple[Classes | None, Classes | None]:
    """What it takes and answers; what only a module can tell, or is wrong, is None."""
    usual: tuple[list[type] | None, ...] = ([Task], [Answer]) if kind != "tool" else (None, None)
    takes, gives = (
        default if entry.get(key) is None else _classes(entry[key], resolved)
        for key, default in zip(("accepts", "answers"), usual, strict=True)
    )
    function = resolved.get(str(handler)) if handler is not None else None
    if function is None and kind == "tool":
        return _by_name(takes), _by_name(gives)
    try:
        agreed = contract(str(entry["name"]), function, takes, gives)
    except ConfigError:
        return None, None  # told elsewhere
    accepts = [codec.cls for codec in agreed.accepts.values()]
    return _by_name(accepts), None if agreed.answers is None else _by_name(list(agreed.answers))


def _classes(named: object, resolved: Mapping[str, Any]) -> list[type] | None:
    words = named if isinstance(named, list) else [named]
    found = [resolved.get(str(each)) for each in words]
    return None if None in found else [cls for cls in found if isinstance(cls, type)]


def _by_name(classes: list[type] | None) -> Classes | None:
    if classes is None:
        return None
    return {codec_of(cls).root: codec_of(cls) for cls in classes if cls not in SYSTEM_CLASSES}


class _Checks:
    """The rules, over the listeners there are."""

    def __init__(self, document: Document, known: Mapping[str, Known]) -> None:
        self._document = document
        self._known = known

    def case(self, here: Path, case: Mapping[str, Any]) -> None:
        to = self._listener((*here, "to"), case.get("to"))
        if "send" in case:
            self._message(
                (*here, "send"), case["send"], to.accepts if to else None, "Task", f"'{case.get('to')}' takes"
            )
        script = case.get("script")
        if isinstance(script, Mapping):
            for name, lines in script.items():
                self._lines((*here, "script", name), name, lines)
        expect = case.get("expect")
        if isinstance(expect, Mapping):
            self._expect((*here, "expect"), case, to, expect)
        live = case.get("live")
        if isinstance(live, Mapping):
            times, least = live.get("times", 1), live.get("at_least")
            if isinstance(times, int) and isinstance(least, int) and least > times:
                text = f"is {least}, and it runs {times} times; at most that often can it pass"
                self._report((*here, "live", "at_least"), text)

    def _report(self, path: Path, message: str, *, at_key: bool = False) -> None:
        self._document.report(path, message, at_key=at_key)

    def _listener(self, path: Path, name: object, *, at_key: bool = False) -> Known | None:
        if isinstance(name, str) and name not in self._known:
            there = f"listeners are: {listing(self._known)}" if self._known else "there are no listeners"
            near = did_you_mean(name, self._known)
            self._report(path, f"there is no listener '{cut(name)}'{near}; {there}", at_key=at_key)
        return self._known.get(name) if isinstance(name, str) else None

    # --- scripts ---

    def _lines(self, path: Path, name: str, lines: object) -> None:
        listener = self._listener(path, name, at_key=True)
        several = isinstance(lines, list)
        if lines is None or lines == []:
            self._report(path, "says nothing; write its lines, as `- reply: Hello.`, or leave the name out")
            return
        said: list[str] = []
        for index, line in enumerate(lines if isinstance(lines, list) else [lines]):
            here = (*path, index) if several else path
            if isinstance(line, Mapping):
                said += self._line(here, name, listener, line)
        if listener is None or listener.kind != "tool":
            return
        if "reply" in said and {"answer", "fail"} & {*said}:
            self._report(
                path,
                f"is both: with `reply` the handler of '{name}' runs, and its model says that; with `answer` and"
                " `fail` it is not called. Keep one of the two",
                at_key=True,
            )
        elif "reply" in said and listener.once:
            text = f"'{name}' has effects: once and is never called in a test; write what it answers: `answer: …`"
            self._report(path, text, at_key=True)

    def _line(self, path: Path, name: str, listener: Known | None, line: Mapping[str, Any]) -> list[str]:
        says = [key for key in SAYS if line.get(key) is not None]
        if not says and not {*line} <= _KEYS_OF_LINES:
            return says  # a mistyped key is told once
        if len(says) != 1:
            has = (
                f"has {' and '.join(f'`{key}`' for key in says)}; keep one of them"
                if says
                else "says nothing"
            )
            self._report(path, f"{has}; a line is one of {', '.join(f'`{key}`' for key in SAYS)}")
            return says
        (key,) = says
        self._pattern((*path, "match"), line.get("match"))
        if "with" in line and key != "call":
            self._report((*path, "with"), "goes with `call`; a message of its own", at_key=True)
        if listener is None:
            return says
        wrong = _not_for(listener.kind, key, name)
        if wrong:
            self._report((*path, key), wrong, at_key=True)
        elif key == "answer":
            self._message((*path, key), line[key], listener.answers, "Answer", f"'{name}' answers")
        elif key == "call":
            self._call(path, name, listener, line)
        elif key == "calls" and isinstance(line[key], list):
            for index, each in enumerate(line[key]):
                if isinstance(each, Mapping):
                    self._call((*path, key, index), name, listener, each)
        elif key == "fail" and listener.kind == "agent" and isinstance(line[key], Mapping):
            code = line[key].get("code")
            if isinstance(code, str) and code in CODES and code not in _OF_AGENTS_FAULTS:
                text = "is no way in which a model fails; for an agent write `handler` or `timeout`"
                self._report((*path, key, "code"), text)
        return says

    def _call(self, path: Path, name: str, listener: Known, call: Mapping[str, Any]) -> None:
        peer, here = call.get("call"), (*path, "call")
        called = self._listener(here, peer)
        if called is None:
            return
        if peer not in listener.peers:
            there = f"its peers are: {listing(listener.peers)}" if listener.peers else "it has no peers"
            near = did_you_mean(str(peer), listener.peers)
            self._report(here, f"'{peer}' is no peer of '{name}', so its model cannot call it{near}; {there}")
            return
        if call.get("with") is None:
            self._report(path, f"`with` is missing: what '{peer}' is asked, as `with: {{Task: {{text: …}}}}`")
            return
        self._message((*path, "with"), call["with"], called.accepts, "Task", f"'{peer}' takes")

    # --- expectations ---

    def _expect(
        self, path: Path, case: Mapping[str, Any], to: Known | None, expect: Mapping[str, Any]
    ) -> None:
        answer, error = expect.get("answer"), expect.get("error")
        if answer is not None and error is not None:
            self._report(
                (*path, "error"), "stands beside `answer`, and only one of the two comes", at_key=True
            )
        elif answer is not None:
            who = f"'{case.get('to')}' answers"
            found = self._named((*path, "answer"), answer, to.answers if to else None, "Answer", who)
            if found is not None:
                self._fields(found[0], nodes.Nested(found[1].cls), found[2])
        if isinstance(error, Mapping):
            self._error((*path, "error"), error)
        calls, never = (
            names if isinstance(names := expect.get(key), list) else [] for key in ("calls", "never")
        )
        for key, several in (("calls", calls), ("never", never)):
            for index, name in enumerate(several):
                self._listener((*path, key, index), name)
                if key == "never" and name == case.get("to"):
                    self._report((*path, key, index), f"'{name}' is the one that is asked, so it is called")
                elif key == "never" and name in calls:
                    self._report((*path, key, index), f"'{name}' stands in `calls` too; keep one of the two")

    def _error(self, path: Path, error: Mapping[str, Any]) -> None:
        if isinstance(error.get("message"), Mapping):
            self._matcher((*path, "message"), error["message"])

    def _fields(self, path: Path, node: nodes.Node, value: Any) -> None:
        """Some fields, with values that are possible; a text may be a pattern."""
        match node:
            case nodes.Nullable(inner):
                if value is not None:
                    self._fields(path, inner, value)
            case nodes.Nested(cls):
                self._some_fields(path, cls, value)
            case nodes.ListOf(item=item) if isinstance(value, list):
                for index, each in enumerate(value):
                    self._fields((*path, index), item, each)
            case nodes.ListOf():
                self._report(path, f"must be a list, not {shown(value)}")
            case nodes.Union(choices) if not node.native:
                tags = [tag for tag, _ in choices]
                if not isinstance(value, Mapping) or len(value) != 1 or next(iter(value)) not in tags:
                    self._report(
                        path, f"must be one of {listing(tags)} with its fields, as `{{{tags[0]}: …}}`"
                    )
                    return
                ((tag, inner_value),) = value.items()
                self._fields((*path, tag), dict(choices)[tag], inner_value)
            case nodes.Scalar() | nodes.Choice():
                if isinstance(value, Mapping):
                    self._matcher(path, value)
                else:
                    self._constant(path, node, value)

    def _some_fields(self, path: Path, cls: type, value: Any) -> None:
        fields = {field.name: field.node for field in codec_of(cls).shapes.root.fields}
        if not isinstance(value, Mapping):
            self._report(path, f"must be a mapping with fields of {cls.__name__}, not {shown(value)}")
            return
        for name, inner in value.items():
            if name in fields:
                if inner is not None:
                    self._fields((*path, name), fields[name], inner)
                continue
            there = listing(fields) or "none"
            near = did_you_mean(str(name), fields)
            text = f"{cls.__name__} has no field `{cut(str(name))}`{near}; it has {there}"
            self._report((*path, name), text, at_key=True)

    def _constant(self, path: Path, node: nodes.Scalar | nodes.Choice, value: Any) -> None:
        try:
            read = _JSON.leaf(node, value)
        except ValueError as error:
            self._report(path, f"{error}, it is {shown(value)}; allowed: {allowed_in(node)}")
            return
        broken = node.constraints.broken(read) if isinstance(node, nodes.Scalar) else None
        if broken is not None:
            self._report(path, f"{broken[0]}, it is {shown(value)}, so it never comes; allowed: {broken[1]}")

    def _matcher(self, path: Path, value: Mapping[str, Any]) -> None:
        if (
            len(value) != 1
            or not isinstance(next(iter(value.values())), str)
            or not {*value} <= {"contains", "matches"}
        ):
            known = [key for key in value if key not in ("contains", "matches")]
            near = did_you_mean(str(known[0]), ("contains", "matches")) if known else ""
            self._report(path, f"must be a value, or `{{contains: TEXT}}`, or `{{matches: PATTERN}}`{near}")
            return
        self._pattern((*path, "matches"), value.get("matches"))

    def _pattern(self, path: Path, pattern: object) -> None:
        if not isinstance(pattern, str):
            return
        try:
            re.compile(pattern)
        except (re.error, OverflowError, RecursionError) as error:
            self._report(path, f"is no regular expression: {error}")

    # --- messages ---

    def _message(self, path: Path, said: Any, classes: Classes | None, text_class: str, who: str) -> None:
        """A whole message."""
        found = self._named(path, said, classes, text_class, who)
        if found is None:
            return
        here, codec, fields = found
        try:
            codec.from_json(fields)
        except PayloadError as error:
            told = [(each, *_told(each)) for each in error.violations]
            near = {name for _, _, name in told}
            for each, text, _ in told:
                if each.rule == "is missing" and each.field.rpartition(".")[2] in near:
                    continue  # a mistyped name is told once
                steps = [int(index) if index else name for index, name in _STEP.findall(each.field)[1:]]
                self._report((*here, *steps), text, at_key=each.rule == NO_FIELD)

    def _named(
        self, path: Path, said: Any, classes: Classes | None, text_class: str, who: str
    ) -> tuple[Path, Codec[Any], Any] | None:
        """Where its fields stand, its class, and its fields; None when there is nothing more to look at."""
        if isinstance(said, str):
            if classes is not None and text_class not in classes:
                name = next(iter(classes), "")
                text = f"is a text, which is short for `{{{text_class}: {{text: …}}}}`, and {who} {listing(classes)}"
                self._report(path, f"{text}; write `{{{name}: {{…}}}}`")
                return None
            return None
        if not isinstance(said, Mapping) or len(said) != 1:
            self._report(
                path, f"must be one message, `{{Class: {{field: value}}}}`, or a text, not {_much(said)}"
            )
            return None
        ((name, fields),) = said.items()
        here = (*path, name)
        if classes is None:
            return None
        if name not in classes:
            near = did_you_mean(str(name), classes)
            for root, codec in classes.items():
                if name in (field.name for field in codec.fields):
                    near = f"; write `{{{root}: {{{name}: …}}}}`"
            self._report(here, f"is not what {who}{near}; {who} {listing(classes)}", at_key=True)
            return None
        if not isinstance(fields, Mapping):
            self._report(here, f"must be a mapping with the fields of {name}, not {shown(fields)}")
            return None
        return here, classes[name], fields


def _not_for(kind: str, key: str, name: str) -> str:
    """Why a listener of this kind says no such thing."""
    if kind == "human" and key != "answer":
        return f"'{name}' is a person, who has no model and does not fail; a person's lines are `answer: …`"
    if kind == "tool" and key in ("call", "calls"):
        return f"'{name}' is no built-in agent: write what it answers instead of its handler, `answer: …`"
    return ""


def _told(broken: Violation) -> tuple[str, str]:
    """A broken rule, at its place, and the field that was meant by a mistyped one."""
    if broken.rule != NO_FIELD:
        return f"{broken.field} {broken.rule}{f'; allowed: {broken.allowed}' if broken.allowed else ''}", ""
    fields = [each.strip() for each in broken.allowed.split(",")]
    near = did_you_mean(broken.field.rpartition(".")[2], fields)
    meant = next((name for name in fields if near and repr(name) in near), "")
    return f"is no field{near}; fields are: {broken.allowed}", meant


def _much(said: object) -> str:
    return f"{len(said)} keys" if isinstance(said, Mapping) else shown(said)
