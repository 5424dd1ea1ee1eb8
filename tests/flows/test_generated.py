"""Generated flows against the interpreter: what the check lets through never fails for a name, a way or a type."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.flows.world import CLASSES, CONTRACTS, Draft, Question, Report, Triage, reading
from xml_pipeline import PayloadError, SystemError
from xml_pipeline.agents import Answer
from xml_pipeline.envelope import Gathered
from xml_pipeline.flows.running import Over, Run, Work, read, written
from xml_pipeline.flows.steps import Answer as FlowAnswer
from xml_pipeline.flows.steps import Build, Call, Calls, Choose, Delegate, Each, Flow
from xml_pipeline.payload import codec_of
from xml_pipeline.templates import Reference, parse
from xml_pipeline.templates.types import NoSuchPath

TAKES = {"facts": ["Task"], "triage": ["Question"], "writer": ["Task", "Draft"], "either": ["Task"]}
FIELD = {"facts": "text", "writer": "text", "triage": "kind"}
END = {"answer": {"Report": {"text": "{{input.text}}"}}}


class Author:
    """Writes flows as somebody would who mostly knows what is there."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.count = 0

    def one(self, *some: Any) -> Any:
        return self.draw(st.sampled_from(some))

    def text(self, names: dict[str, str]) -> str:
        """A text field's value; `names`: whom each name was the answer of, with `?` where it may be absent."""
        if not self.draw(st.integers(0, 40)):
            return "{{nobody.text}}"
        known = ["{{input.text}}", "plain", "{{{{ {{input.text}}"]
        for name, of in names.items():
            field = FIELD.get(of.rstrip("?"), "text")
            instead = ' or "none"' if of.endswith("?") and self.draw(st.integers(0, 20)) else ""
            known += [f"{{{{{name}.{field}{instead}}}}}", f"no. {{{{{name}.{field}{instead}}}}}"]
        return self.one(*known)

    def call(self, names: dict[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
        to, self.count = self.one(*TAKES), self.count + 1
        step: dict[str, Any] = {"call": to, "send": {self.one(*TAKES[to]): {"text": self.text(names)}}}
        name = self.one(*names) if names and not self.draw(st.integers(0, 12)) else f"n{self.count}"
        bound = {name: to}
        lists = [known for known, of in names.items() if of == "writer"]
        kind = self.one("plain", "absent", *["each"] * (4 if lists else 1))
        if kind == "absent":
            step["if_fails"], bound = "absent", {name: f"{to}?"}
        elif kind == "each" and lists:
            step |= {
                "for_each": "item",
                "of": f"{{{{{self.one(*lists)}.places}}}}",
                "at_once": self.one(1, 2),
            }
            step["send"] = {TAKES[to][0]: {"text": self.one("{{item}}", "-{{item}}-")}}
            bound = {name: f"list of {to}"}
        if self.one(True, True, False):
            return step | {"as": name}, bound
        return step, {}

    def steps(self, names: dict[str, str], most: int, depth: int) -> list[Any]:
        found = []
        names = dict(names)
        for _ in range(self.draw(st.integers(0, most))):
            step, bound = self.step(names, depth)
            found.append(step)
            names |= bound
        return found

    def step(self, names: dict[str, str], depth: int) -> tuple[dict[str, Any], dict[str, str]]:
        triages = [name for name, of in names.items() if of == "triage"]
        either = [name for name, of in names.items() if of.startswith(("either", "facts?"))]
        kind = self.one("call", "call", "together", "repeat", *["choose"] * (6 if triages or either else 0))
        if kind == "call" or depth > 2:
            return self.call(names)
        if kind == "together":
            first, one = self.call(names)
            second, two = self.call(names)
            return {"together": [first, second]}, one | two
        if kind == "repeat":
            self.count += 1
            name = f"n{self.count}"
            judge = {"call": "triage", "as": name, "send": {"Question": {"text": self.text(names)}}}
            around = [
                self.steps(names | ({name: "triage"} if later else {}), 1, depth + 1) for later in (0, 1)
            ]
            until = {f"{name}.sure": True} if self.one(True, False) else {f"{name}.kind": "other"}
            step = {"repeat": [*around[0], judge, *around[1]], "until": until, "at_most": self.one(1, 2, 3)}
            return step | self.one({}, {"otherwise": "go_on"}), {name: "triage"}
        on = self.one(*triages, *either)
        words = {"triage": ["billing", "technical", "other"], "either": ["Answer", "Triage"]}
        words |= {"either?": ["Answer", "Triage", "absent"], "facts?": ["Answer", "absent"]}
        if names[on] == "triage":
            choose, values = self.one((f"{on}.kind", words["triage"]), (f"{on}.sure", ["true", "false"]))
        else:
            choose, values = on, words[names[on]]
        ways = {value: self.way(names, depth + 1) for value in values}
        return {"choose": choose, "ways": ways}, {}

    def way(self, names: dict[str, str], depth: int) -> list[Any]:
        found = self.steps(names, 2, depth)
        return [*found, self.end(names)] if self.one(True, False) else found

    def end(self, names: dict[str, str]) -> dict[str, Any]:
        lists = [name for name, of in names.items() if of in ("list of facts", "list of writer")]
        notes = {"notes": f"{{{{{self.one(*lists)}.text}}}}"} if lists else {}
        return self.one(
            {"answer": {"Report": {"text": self.text(names), **notes}}},
            {"delegate": "billing", "send": self.one("{{input}}", {"Question": {"text": self.text(names)}})},
        )


@st.composite
def flows(draw: st.DrawFn) -> list[Any]:
    """A flow that passes the check: steps that do not are left out."""
    author, flow, names = Author(draw), list[Any](), dict[str, str]()
    for _ in range(draw(st.integers(1, 5))):
        step, bound = author.step(names, 0)
        if reading(yaml.safe_dump([*flow, step, END])).flow is not None:
            flow.append(step)
            names |= bound
    last = author.end(names)
    return [*flow, last if reading(yaml.safe_dump([*flow, last])).flow is not None else END]


ANSWERS: dict[str, list[Any]] = {
    "facts": [Answer("f")],
    "triage": [
        Triage(kind, sure, note=note)
        for kind in ("billing", "technical", "other")
        for sure in (True, False)
        for note in (None, "n")
    ],
    "writer": [Draft("d", []), Draft("d", ["x"]), Draft("d", ["x", "y", "z"])],
    "either": [Answer("e"), Triage("other")],
    "billing": [Report("r")],
}
FAILURES: list[Any] = [None, SystemError("handler", "x"), SystemError("timeout", "x")]


class Broken(Exception):
    """A flow failed for what a check can know."""


def executed(flow: Any, choices: st.DataObject) -> object:
    """One execution, with outcomes as they are drawn; what the flow ends with."""
    kept: dict[str, Any] = {"task": Question("why")}
    run, number = Run(), 0
    following = Work(flow, run, kept).begin("task")
    out: list[Any] = []
    for _ in range(500):
        if isinstance(following, Over):
            return following
        for each in following:
            number += 1
            run.open[f"call {number}"] = each.open
            contract = CONTRACTS[each.to]
            assert contract.accepts is not None
            if type(each.payload) not in contract.accepts:
                raise Broken(f"{each.to} was sent {each.payload!r}")
            codec_of(type(each.payload)).encode(each.payload)
            out.append((f"call {number}", each.to))
        assert out, "nothing is open, and it has not ended"
        call_id, to = out.pop(choices.draw(st.integers(0, len(out) - 1)))
        outcome = choices.draw(st.sampled_from([*ANSWERS[to], *ANSWERS[to], *FAILURES]))
        number += 1
        kept[f"answer {number}"] = Gathered((outcome,))
        run = read(written(run))  # as in the next life
        following = Work(flow, run, kept).come(call_id, f"answer {number}", outcome)
    raise AssertionError("it does not end")


@settings(max_examples=75)
@given(flows(), st.data())
def test_what_the_check_lets_through_does_not_fail(flow: list[Any], data: st.DataObject) -> None:
    found = reading(yaml.safe_dump(flow))
    assert found.flow is not None
    over = executed(found.flow, data)
    assert isinstance(over, Over)
    if not isinstance(over.payload, SystemError):
        assert type(over.payload) in (found.flow.answers if not over.to else (Question,))


GOOD = """
- {call: facts, as: a, send: {Task: {text: "{{input.text}}"}}, if_fails: absent}
- together:
    - {call: writer, as: b, send: {Draft: {text: "{{input.text}}"}}}
    - {call: either, as: c, send: {Task: {text: "-{{input.text}}-"}}}
- {call: triage, as: verdict, send: "{{input}}"}
- {call: facts, as: items, for_each: item, of: "{{b.places}}", send: {Task: {text: "{{item}}"}}, if_fails: absent}
- choose: verdict.kind
  ways:
    billing: [{delegate: billing, send: "{{input}}"}]
    technical: [{call: facts, as: fact, send: {Task: {text: '{{a.text or "none"}}'}}}]
    other: [{call: facts, as: fact, send: {Task: {text: "{{b.text}}"}}}]
- choose: c
  ways:
    Answer: [{answer: {Report: {text: "{{c.text}}", notes: "{{items.text}}"}}}]
    Triage: [{answer: {Report: {text: "{{c.kind}} {{fact.text}}"}}}]
"""


def faults(good: list[Any]) -> Iterator[tuple[str, list[Any]]]:
    """The flow with one thing wrong, that can be known before it runs."""

    def changed(what: str, change: Any) -> tuple[str, list[Any]]:
        other = copy.deepcopy(good)
        change(other)
        return what, other

    def put(path: list[Any], value: Any) -> Any:
        def change(flow: Any) -> None:
            for part in path[:-1]:
                flow = flow[part]
            flow[path[-1]] = value

        return change

    def drop(path: list[Any]) -> Any:
        def change(flow: Any) -> None:
            for part in path[:-1]:
                flow = flow[part]
            del flow[path[-1]]

        return change

    yield changed("a name that is nowhere", put([0, "send", "Task", "text"], "{{nobody.text}}"))
    yield changed("a name of the same step", put([1, "together", 1, "send", "Task", "text"], "{{b.text}}"))
    yield changed("a name of a later step", put([0, "send", "Task", "text"], "{{verdict.kind}}"))
    yield changed("a field that is not there", put([0, "send", "Task", "text"], "{{input.txt}}"))
    yield changed("a way that is missing", drop([4, "ways", "other"]))
    yield changed("a class that is missing", drop([5, "ways", "Triage"]))
    yield changed(
        "what may be absent", put([4, "ways", "technical", 0, "send", "Task", "text"], "{{a.text}}")
    )
    yield changed("a name of one way only", put([4, "ways", "other"], []))
    yield changed("a class that the listener does not take", put([2, "send"], {"Task": {"text": "x"}}))
    yield changed("a type that does not fit", put([0, "send", "Task", "text"], "{{input.deep}}"))
    yield changed(
        "a field of another class", put([5, "ways", "Answer", 0, "answer", "Report", "text"], "{{c.kind}}")
    )
    yield changed("no list", put([3, "of"], "{{b.text}}"))
    yield changed("an end that is missing", drop([5]))
    yield changed("a field that is missing", put([0, "send", "Task"], {}))


def assembled(flow: list[Any]) -> Flow:
    """The steps as they stand there, looked at by nobody."""

    def message(given: Any) -> Any:
        if isinstance(given, str):
            return parse(given).whole
        ((name, fields),) = given.items()
        return Build(CLASSES[name], fields)

    def call(each: Any) -> Call:
        items = Each(each["for_each"], parse(each["of"]).whole) if "for_each" in each else None  # type: ignore[arg-type]
        absent = each.get("if_fails") == "absent"
        return Call(each["call"], message(each["send"]), each.get("as", ""), absent=absent, each=items)

    def step(each: Any) -> Any:
        if "call" in each:
            return Calls((call(each),))
        if "together" in each:
            return Calls(tuple(map(call, each["together"])))
        if "choose" in each:
            on = Reference(tuple(each["choose"].split(".")))
            return Choose(on, {name: tuple(map(step, way)) for name, way in each["ways"].items()})
        if "delegate" in each:
            return Delegate(each["delegate"], message(each["send"]))
        return FlowAnswer(message(each["answer"]))

    return Flow(tuple(map(step, flow)))


@pytest.mark.parametrize(("what", "flow"), list(faults(yaml.safe_load(GOOD))))
def test_what_the_check_refuses_fails_in_some_execution(what: str, flow: list[Any]) -> None:
    assert reading(GOOD).mistakes == []
    assert reading(yaml.safe_dump(flow)).mistakes
    unchecked, failed = assembled(flow), 0

    @settings(max_examples=150, database=None)
    @given(st.data())
    def search(data: st.DataObject) -> None:
        nonlocal failed
        try:
            over = executed(unchecked, data)
        except (Broken, PayloadError, LookupError, AttributeError, TypeError, ValueError, NoSuchPath):
            failed += 1
            return
        assert isinstance(over, Over)
        error = over.payload if isinstance(over.payload, SystemError) else None
        failed += error.code == "validation" if error else type(over.payload) not in (Report, Question)

    search()
    assert failed, what
