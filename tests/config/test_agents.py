"""`task` and `hands_over_to` of agents, held to the classes they name: every mistake with its place and its mend."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.config.projects import only, problems_in, problems_of, write
from xml_pipeline.config import load, loads
from xml_pipeline.errors import ConfigError, Problem

HEAD = """\
organism: {name: press}
payloads:
  Brief:
    fields:
      subject: {type: text, max_length: 60}
      facts: text
      audience: {type: text, optional: true}
  Revision:
    fields: {text: text, notes: {list: text}}
  Report:
    fields: {text: text}
listeners:
  - name: writer
    agent: true
    model: m
    accepts: [Brief, Revision]
"""
TASK = HEAD + "    task:\n"
CLASSES = '''
from dataclasses import dataclass
from xml_pipeline import HandlerMetadata, HandlerResponse, xmlify

@xmlify
@dataclass
class Order:
    """What was ordered."""
    number: int
    text: str

@xmlify
@dataclass
class Receipt:
    """What was paid."""
    number: int

async def clerk(payload: Order, metadata: HandlerMetadata) -> HandlerResponse[Receipt]:
    return HandlerResponse.respond(Receipt(payload.number))

async def silent(payload: Order, metadata: HandlerMetadata) -> HandlerResponse:
    return HandlerResponse.respond(Receipt(payload.number))
'''


def place(problem: Problem) -> tuple[int, int, str]:
    return problem.line, problem.column, problem.path


def test_a_task_is_a_template_by_class() -> None:
    brief = '      Brief: "About {{subject}} for {{audience or \\"all\\"}}:\\n{{facts}}"\n'
    revision = "      Revision: |\n        {{notes}}\n"
    (writer,) = loads(TASK + brief + revision, environ={}).listeners
    assert list(writer.task) == ["Brief", "Revision"]


BROKEN = {
    '      Breif: "{{subject}}"': (18, 7, "task.Breif", "is no class that it accepts; did you mean 'Brief'?"),
    '      Report: "{{text}}"': (18, 7, "task.Report", "it accepts Brief, Revision"),
    '      Task: "{{text}}"': (18, 7, "task.Task", "is no class that it accepts"),
    '      Brief: "{{subjct}}"': (18, 14, "task.Brief", "did you mean 'subject'?"),
    '      Brief: "{{input.subject}}"': (18, 14, "task.Brief", "there is no 'input' here"),
    '      Brief: "{{subject.x}}"': (18, 14, "task.Brief", "has no fields"),
    '      Brief: "{{audience}}"': (18, 14, "task.Brief", "may be absent"),
    '      Brief: "{{facts or \\"x\\"}}"': (18, 14, "task.Brief", "is always there; remove `or`"),
    '      Brief: "{{facts"': (18, 14, "task.Brief", "is never closed by '}}'"),
    '      Brief: "{{facts | upper}}"': (18, 14, "task.Brief", "is no reference"),
    '      Brief: "{{facts + 1}}"': (18, 14, "task.Brief", "is no reference"),
    '      Brief: ""': (18, 14, "task.Brief", "is empty"),
    "      Brief: 7": (18, 14, "task.Brief", "must be text"),
    "      Brief: [a]": (18, 14, "task.Brief", "must be text"),
    "      Brief: {{facts}}": (18, 14, "task.Brief", "put it into quotes"),
    "      Brief: {{facts}} and so on": (18, 24, "", "is written in quotes"),
    '      Brief: "{{facts}} ${WHO:-x}"': (18, 14, "task.Brief", "a template takes none"),
    '      Brief: "{{facts}} ${WHO}"': (18, 14, "task.Brief", "WHO is not set"),
    "      Revision: \"{{text}} {{notes or 'none'}}\"": (18, 17, "task.Revision", "double quotes"),
}


@pytest.mark.parametrize("line", BROKEN)
def test_a_mistake_in_a_task_is_told_once_with_its_place(line: str) -> None:
    problem = only(problems_of(f"{TASK}{line}\n"))
    row, column, path, said = BROKEN[line]
    assert place(problem) == (row, column, f"listeners[0].{path}" if path else "")
    assert said in problem.message


def test_a_secret_in_a_task_is_not_shown() -> None:
    problem = only(problems_of(TASK + '      Brief: "{{facts}} ${WHO}"\n', WHO="sk-verysecret"))
    assert "verysecret" not in str(problem)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ("agent: true\n    handler: a:b\n    task: {Task: x}", "`task` is for the built-in agent"),
        ("human: true\n    task: {Task: x}", "a person has no `task`"),
        ("agent: true\n    handler: a:b\n    skills: [x]", "`skills` is for the built-in agent"),
        ("agent: true\n    model: m\n    task: x", "must be a mapping"),
        ("agent: true\n    model: m\n    task:", "is empty"),
    ],
)
def test_a_task_is_for_agents_and_by_class(keys: str, said: str) -> None:
    text = f"organism: {{name: x}}\nlisteners:\n  - name: a\n    {keys}\n"
    assert any(said in problem.message for problem in problems_of(text))


def project(tmp_path: Path, listeners: str) -> Path:
    return write(
        tmp_path, {"organism.yaml": f"organism: {{name: x}}\nlisteners:\n{listeners}", "shop.py": CLASSES}
    )


def test_a_class_of_a_module_is_named_by_its_path_or_its_last_word(tmp_path: Path) -> None:
    for key in ("Order", '"shop:Order"'):
        agent = "  - {name: a, agent: true, model: m, accepts: 'shop:Order', task: {%s: '%s'}}\n"
        assert load(project(tmp_path, agent % (key, "No. {{number}}")), environ={}).listeners[0].task
        problem = only(problems_in(project(tmp_path, agent % (key, "No. {{numbr}}"))))
        assert "did you mean 'number'?" in problem.message
        assert problem.line == 3
    both = "  - {name: a, agent: true, model: m, accepts: 'shop:Order', task: {Order: x, 'shop:Order': y}}\n"
    assert "Order is also named as `Order`; keep one" in only(problems_in(project(tmp_path, both))).message


def test_what_is_not_imported_is_checked_as_a_template_all_the_same(tmp_path: Path) -> None:
    agent = "  - {name: a, agent: true, model: m, accepts: 'shop:Order', task: {Order: '%s'}}\n"
    assert load(project(tmp_path, agent % "{{anything}}"), environ={}, imports="nothing").unchecked
    assert "is never closed" in only(problems_in(project(tmp_path, agent % "{{anything"))).message


FRONT = "  - {name: front, agent: true, model: m, answers: %s, hands_over_to: [%s]}\n"
AGENT = "  - {name: desk, agent: true, model: m}\n"
CLERK = "  - {name: clerk, handler: 'shop:clerk'}\n"
SILENT = "  - {name: silent, handler: 'shop:silent'}\n"


@pytest.mark.parametrize(
    ("listeners", "column", "said"),
    [
        (FRONT % ("'shop:Receipt'", "desk") + AGENT, 83, "'desk' may answer Answer, and who hands over"),
        (FRONT % ("Answer", "clerk") + CLERK, 75, "'clerk' may answer Receipt"),
        (
            FRONT % ("Answer", "desk, clerk") + AGENT + CLERK,
            81,
            "it answers Answer; name that in `answers` here",
        ),
        (
            FRONT % ("Answer", "anna") + "  - {name: anna, human: true, answers: [Task, Answer]}\n",
            75,
            "answer Task",
        ),
        (
            "  - {name: front, handler: 'shop:clerk', hands_over_to: [desk]}\n" + AGENT,
            58,
            "may answer Answer",
        ),
    ],
)
def test_a_target_that_answers_something_else_is_told_with_its_place(
    tmp_path: Path, listeners: str, column: int, said: str
) -> None:
    problem = only(problems_in(project(tmp_path, listeners)))
    assert said in problem.message
    assert problem.line == 3
    assert problem.path.startswith("listeners[0].hands_over_to[")
    assert problem.column == column


FLOW = "  - name: steps\n    answers: %s\n    flow: [{answer: {%s: {text: x}}}]\n"


def test_a_flow_that_takes_over_is_held_to_what_it_answers(tmp_path: Path) -> None:
    assert load(project(tmp_path, FRONT % ("Answer", "steps") + FLOW % ("Answer", "Answer")), environ={})
    inferred = (FLOW % ("x", "Task")).replace("    answers: x\n", "")
    for flow in (FLOW % ("Task", "Task"), inferred):
        for imports in ("all", "nothing"):
            file = project(tmp_path, FRONT % ("Answer", "steps") + flow)
            with pytest.raises(ConfigError) as caught:
                load(file, environ={}, imports=imports)  # type: ignore[arg-type]
            assert "'steps' may answer Task" in only(list(caught.value.problems)).message


@pytest.mark.parametrize(
    "listeners",
    [
        FRONT % ("Answer", "desk") + AGENT,
        FRONT % ("['shop:Receipt', Answer]", "desk, clerk") + AGENT + CLERK,
        FRONT % ("Answer", "silent") + SILENT,  # it declares nothing, so the machine holds it to that
        "  - {name: front, handler: 'shop:silent', hands_over_to: [desk]}\n" + AGENT,
        "  - {name: front, agent: true, model: m, hands_over_to: [front]}\n",
    ],
)
def test_a_target_that_answers_a_part_of_it_or_declares_nothing_is_none(
    tmp_path: Path, listeners: str
) -> None:
    assert load(project(tmp_path, listeners), environ={})


def test_without_imports_what_is_declared_is_checked(tmp_path: Path) -> None:
    file = project(tmp_path, FRONT % ("Task", "desk, clerk") + AGENT + CLERK)
    with pytest.raises(ConfigError) as caught:
        load(file, environ={}, imports="nothing")
    assert "'desk' may answer Answer" in only(list(caught.value.problems)).message
