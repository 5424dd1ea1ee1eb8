"""`flow:` in organism.yaml: read with what it names, done, kept through lives and changes of the file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.journal.lives import killed
from tests.journal.test_recovery import came_to
from xml_pipeline import AnswerError, Organism
from xml_pipeline.agents import Answer
from xml_pipeline.config import load, loads
from xml_pipeline.errors import ConfigError, Problem

HEAD = """
organism: {name: x}
payloads:
  Question: {fields: {text: text}}
  Triage: {fields: {kind: [billing, other], sure: boolean}}
  Report: {fields: {text: text, note: {type: text, optional: true}}}
listeners:
  - {name: anna, human: true, accepts: Question, answers: Report}
  - {name: triage, human: true, accepts: Question, answers: Triage}
"""
FLOW = """
  - name: desk
    accepts: Question
    flow:
      - {call: anna, as: said, send: "{{input}}"}
      - answer: {Report: {text: "FORM {{said.text}}", note: "{{input.text}}"}}
"""


def problems(text: str, **environ: str) -> list[Problem]:
    with pytest.raises(ConfigError) as caught:
        loads(text, environ=environ)
    return caught.value.problems


def steps(*some: str, more: str = "") -> str:
    return (
        HEAD
        + more
        + "\n  - name: desk\n    accepts: Question\n    flow:\n"
        + "".join(f"      - {each}\n" for each in some)
    )


END = 'answer: {Report: {text: "{{input.text}}"}}'


def test_a_flow_is_a_listener_with_a_contract() -> None:
    flow = loads(HEAD + FLOW.replace("FORM ", "")).flows["desk"].flow
    assert [cls.__name__ for cls in flow.answers] == ["Report"]
    assert flow.calls == ("anna",)


@pytest.mark.parametrize(
    ("text", "path", "said"),
    [
        (steps('{call: ana, send: "{{input}}"}', END), "flow[0].call", "did you mean 'anna'"),
        (steps('{call: anna, sned: "{{input}}"}', END), "flow[0].sned", "did you mean 'send'"),
        (steps('{call: anna, send: "{{inptu}}"}', END), "flow[0].send", "did you mean 'input'"),
        (steps('{call: anna, send: "{{input}}"}'), "flow", "does not end on every path"),
        (steps(END + "\n        call: anna"), "flow[0]", "exactly one of"),
        (
            steps("{call: anna, send: {Question: {text: '${WHO} {{input.text}}'}}}", END),
            "flow[0].send.Question.text",
            "takes none",
        ),
        (steps("{choose: input.text, ways: {}}", END), "flow[0].choose", "between declared words"),
        (
            steps("{call: triage, as: it, send: '{{input}}'}", "{choose: it.kind, ways: {billing: []}}", END),
            "flow[1].ways",
            "other has no way",
        ),
        (steps(END) + "    peers: [anna]\n", "peers", "a flow has no `peers`"),
        (steps(END) + "    agent: true\n", "agent", "a flow has no `agent`"),
        (steps(END) + "    answers: Triage\n", "flow[0].answer.Report", "does not fit"),
        (HEAD + "\n  - {name: desk, flow: }\n", "flow", "is empty"),
        (HEAD + "\n  - {name: desk, flow: []}\n", "flow", "does not end"),
        (HEAD + "\n  - {name: desk, flow: steps}\n", "flow", "must be a list"),
        (
            steps('{call: desk, send: "{{input}}"}', END) + "    answers: Report\n",
            "flow",
            "calls itself on every path (desk → desk)",
        ),
        (
            steps('{call: desk, as: again, send: "{{input}}"}', END),
            "flow",
            "depends on itself (desk → desk)",
        ),
    ],
)
def test_a_mistake_has_its_place(text: str, path: str, said: str) -> None:
    found = problems(text, WHO="me")
    assert [each.path for each in found] == [f"listeners[2].{path}"], found
    assert found[0].line > 8
    assert said in found[0].message


def test_flows_that_call_flows_are_read_in_whatever_order_they_stand() -> None:
    outer = "\n  - {name: outer, accepts: Question, flow: [{delegate: inner, send: '{{input}}'}]}"
    inner = "\n  - {name: inner, accepts: Question, flow: [{" + END + "}]}\n"
    for text in (HEAD + outer + inner, HEAD + inner + outer):
        config = loads(text)
        assert [cls.__name__ for cls in config.flows["outer"].flow.answers] == ["Report"]
    circle = (
        HEAD
        + outer
        + "\n  - {name: inner, accepts: Question, flow: [{delegate: outer, send: '{{input}}'}]}\n"
    )
    assert any("depends on itself" in each.message for each in problems(circle))


def test_what_a_handler_answers_is_known_when_it_is_imported(tmp_path: Path) -> None:
    (tmp_path / "hands.py").write_text(
        "from dataclasses import dataclass\n"
        "from xml_pipeline import HandlerMetadata, HandlerResponse, xmlify\n"
        "@xmlify\n@dataclass\nclass Sum:\n    value: int\n"
        "@xmlify\n@dataclass\nclass Add:\n    a: int\n    b: int\n"
        "async def add(payload: Add, metadata: HandlerMetadata) -> HandlerResponse[Sum]:\n"
        "    return HandlerResponse.respond(Sum(payload.a + payload.b))\n"
        "async def mute(payload: Add, metadata: HandlerMetadata) -> HandlerResponse:\n"
        "    return HandlerResponse.respond(Sum(1))\n"
    )
    text = (
        "organism: {name: x}\nlisteners:\n  - {name: add, handler: hands:add}\n"
        "  - {name: mute, handler: hands:mute}\n"
        "  - name: desk\n    flow:\n      - {call: WHO, as: sum, send: {Add: {a: 1, b: B}}}\n"
        '      - answer: {Answer: {text: "{{sum.value}} of {{input.text}}"}}\n'
    )
    file = tmp_path / "organism.yaml"

    def check(who: str, b: str, **options: Any) -> list[str]:
        file.write_text(text.replace("WHO", who).replace("B}", f"{b}}}"))
        try:
            load(file, **options)
        except ConfigError as error:
            return [f"{each.path}: {each.message}" for each in error.problems]
        return []

    assert check("add", "2") == []
    assert check("add", "2", imports="nothing") == []
    assert check("add", "two", imports="nothing") == []
    (wrong,) = check("add", "two")
    assert wrong.startswith("listeners[2].flow[0].send.Add.b: ")
    (unknown,) = check("mute", "2")
    assert "what 'mute' answers is not known" in unknown
    assert check("nobody", "2", imports="nothing") != []


def organism(folder: Path, form: str, **more: Mapping[str, Any]) -> Organism:
    data = yaml.safe_load(HEAD + FLOW.replace("FORM", form))
    data["organism"] |= {"journal": "state.db", "shutdown_seconds": 0}
    folder.mkdir(exist_ok=True)
    (folder / "organism.yaml").write_text(yaml.safe_dump({**data, **more}))
    return Organism.from_file(folder / "organism.yaml")


async def test_an_open_call_goes_on_with_the_steps_it_began_with(tmp_path: Path) -> None:
    folder, later = tmp_path / "one", tmp_path / "two"
    first = organism(folder, "before:")
    async with first:
        await first.send("desk", {"Question": {"text": "why"}}, key="k")
        await came_to(first.questions)
        death = killed(folder / "state.db")
        later.mkdir()
        for end in ("", "-wal"):
            source = death.with_name(death.name + end)
            if source.exists():
                source.rename(later / f"state.db{end}")
    second = organism(later, "after:")
    async with second:
        (question,) = second.questions()
        second.answer(question.thread_id, second.payloads["Report"](text="because"))
        answer = await second.ask("desk", {"Question": {"text": "why"}}, key="k")
        assert (answer.text, answer.note) == ("before: because", "why")
        await second.send("desk", {"Question": {"text": "and now"}})
        await came_to(second.questions)
        (question,) = second.questions()
        conversation = question.conversation_id
        assert conversation
        second.answer(question.thread_id, second.payloads["Report"](text="so"))


async def test_steps_that_nobody_knows_any_more_are_an_error(tmp_path: Path) -> None:
    folder = tmp_path / "one"
    first = organism(folder, "before:")
    async with first:
        await first.send("desk", {"Question": {"text": "why"}}, key="k")
        await came_to(first.questions)
    data = yaml.safe_load((folder / "organism.yaml").read_text())
    data["payloads"]["Report"]["fields"]["text"] = "integer"  # the old steps do not fit it
    data["listeners"][2]["flow"] = [{"answer": {"Report": {"text": 1}}}]
    (folder / "organism.yaml").write_text(yaml.safe_dump(data))
    second = Organism.from_file(folder / "organism.yaml")
    async with second:
        (question,) = second.questions()
        second.answer(question.thread_id, second.payloads["Report"](text=5))
        with pytest.raises(AnswerError, match="does not know any more"):
            await second.ask("desk", {"Question": {"text": "why"}}, key="k")


def test_agents_and_people_that_say_nothing_take_tasks_and_give_answers() -> None:
    text = (
        "organism: {name: x}\nlisteners:\n"
        "  - {name: bot, agent: true, model: m}\n  - {name: chief, human: true}\n"
        "  - {name: f, flow: [{call: bot, send: '{{input}}', as: said}, {answer: '{{said}}'}]}\n"
        "  - {name: g, flow: [{delegate: chief, send: '{{input}}'}]}\n"
    )
    flows = loads(text, environ={}, imports="nothing").flows
    assert [flows[name].flow.answers for name in "fg"] == [(Answer,), (Answer,)]
    (problem,) = problems(text.replace("answer: '{{said}}'", "answer: '{{said.nothing}}'"))
    assert "Answer, which has no field 'nothing'" in problem.message
