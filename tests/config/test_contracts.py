"""`accepts` and `answers` of every kind of listener, and how classes and handlers are named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.config.projects import HANDLERS, only, problems_in, problems_of, write
from xml_pipeline import Organism
from xml_pipeline.agents import Answer, Task
from xml_pipeline.config import loads
from xml_pipeline.pump import Listener

ORGANISM = "organism: {name: x}\nllm: {backends: [{provider: scripted, supported_models: [m]}]}\nlisteners:\n"
TYPED = HANDLERS + (
    "\n\nasync def typed(payload: Greeting, metadata) -> HandlerResponse[Reply]: ...\n"
    "\n\nasync def wrong(payload: Greeting, metadata) -> HandlerResponse[NoPayload]: ...\n"
)
KINDS = {
    "handler": "handler: handlers:greet",
    "hand-written agent": "agent: true, handler: handlers:greet",
    "agent": "agent: true, model: m",
    "person": "human: true",
}


def one(tmp_path: Path, entry: str) -> Listener:
    file = write(tmp_path, {"organism.yaml": f"{ORGANISM}  - {{name: one, {entry}}}\n", "handlers.py": TYPED})
    return Organism.from_file(file, environ={}).listeners["one"]


def wrong(tmp_path: Path, entry: str) -> tuple[str, str]:
    """Where the one mistake is, and what is told of it."""
    file = write(tmp_path, {"organism.yaml": f"{ORGANISM}  - {{name: one, {entry}}}\n", "handlers.py": TYPED})
    problem = only(problems_in(file))
    assert problem.line == 4
    return problem.path, problem.message


def contract(made: Listener) -> tuple[list[str], Any]:
    return list(made.requests), made.answers and [cls.__name__ for cls in made.answers]


@pytest.mark.parametrize(
    ("kind", "by_default"),
    [
        ("handler", (["Greeting"], None)),
        ("hand-written agent", (["Greeting"], None)),
        ("agent", (["Task"], ["Answer"])),
        ("person", (["Task"], ["Answer"])),
    ],
)
def test_every_kind_takes_and_answers_what_is_said_or_usual(
    kind: str, by_default: Any, tmp_path: Path
) -> None:
    assert contract(one(tmp_path, KINDS[kind])) == by_default
    said = "accepts: handlers:Reply, answers: [handlers:Greeting, Answer]"
    assert contract(one(tmp_path, f"{KINDS[kind]}, {said}")) == (["Reply"], ["Greeting", "Answer"])
    words = "accepts: [Task, handlers:Reply], answers: Task"
    assert contract(one(tmp_path, f"{KINDS[kind]}, {words}")) == (["Task", "Reply"], ["Task"])


def test_a_handler_answers_what_its_annotation_promises(tmp_path: Path) -> None:
    assert contract(one(tmp_path, "handler: handlers:typed")) == (["Greeting"], ["Reply"])
    assert contract(one(tmp_path, "handler: handlers:typed, answers: Answer")) == (["Greeting"], ["Answer"])
    path, message = wrong(tmp_path, "handler: handlers:wrong")
    assert (path, "answers NoPayload, which is no payload class" in message) == ("listeners[0].handler", True)


def test_words_stand_for_classes_that_need_no_import() -> None:
    text = f"{ORGANISM}  - {{name: one, human: true, accepts: Task, answers: [Answer, Task]}}\n"
    config = loads(text, environ={}, imports="nothing")
    assert config.unchecked == ()
    assert config.listeners[0].answers == ("Answer", "Task")
    loaded = loads(text, environ={})
    assert (loaded.resolved["Task"], loaded.resolved["Answer"]) == (Task, Answer)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("said", "where", "told"),
    [
        ("accepts: Tsak", "accepts", "there is no class 'Tsak'; did you mean 'Task'?"),
        ("answers: [Answer, Awnser]", "answers[1]", "there is no class 'Awnser'; did you mean 'Answer'?"),
        (
            "answers: Verdict",
            "answers",
            "classes are: Answer, Task; one of a module is written `module:Class`",
        ),
        ("accepts: handlers.Reply", "accepts", "not 'handlers.Reply'; write `handlers:Reply`"),
        ("answers: [Answer, a.b.Reply]", "answers[1]", "write `a.b:Reply`"),
        ("answers: a.Outer.Inner", "answers", "write `a:Outer.Inner`"),
        ("answers: []", "answers", "at least 1 item"),
        ("answers: {}", "answers", "must be text, not a mapping"),
        ("answers:", "answers", "is empty"),
        (
            "accepts: [a b]",
            "accepts[0]",
            "must be a payload class: a name of `payloads`, `Task`, `Answer`, or `module:Class`",
        ),
        ("answers: [handlers:Reply, handlers:Reply2]", "answers[1]", "did you mean 'Reply'?"),
        ("answers: handlers:NoPayload", "answers", "is no payload class; decorate it with @xmlify"),
        ("answers: xml_pipeline:Gathered", "answers", "which only the system sends"),
        ("answers: [Answer, twins:Answer]", "answers", "answers two classes named Answer"),
    ],
)
def test_a_class_that_is_none_is_told_at_its_place(
    kind: str, said: str, where: str, told: str, tmp_path: Path
) -> None:
    twin = "from dataclasses import dataclass\nfrom xml_pipeline import xmlify\n\n\n"
    write(tmp_path, {"twins.py": f"{twin}@xmlify\n@dataclass\nclass Answer:\n    text: str\n"})
    path, message = wrong(tmp_path, f"{KINDS[kind]}, {said}")
    assert path == f"listeners[0].{where}"
    assert told in message


@pytest.mark.parametrize(
    ("handler", "told"),
    [
        (
            "handlers.greet",
            "as `module:function`, not 'handlers.greet'; write `handlers:greet`",
        ),
        ("a.b.Class.method", "write `a.b:Class.method`"),
        ("greet", "must be an import path, as `module:function`, not 'greet'"),
        ("a:b:c", "must be an import path, as `module:function`, not 'a:b:c'"),
    ],
)
def test_a_handler_is_named_with_a_colon(handler: str, told: str, tmp_path: Path) -> None:
    path, message = wrong(tmp_path, f"handler: '{handler}'")
    assert path == "listeners[0].handler"
    assert told in message


@pytest.mark.parametrize(
    ("entry", "former", "told"),
    [
        (
            "handler: handlers:greet, payload_class: handlers:Greeting",
            "payload_class",
            "called `accepts` now",
        ),
        ("agent: true, model: m, answer_class: handlers:Reply", "answer_class", "called `answers` now"),
        ("agent: true, model: m, tools: native", "tools", "called `calls` now"),
    ],
)
def test_a_former_key_is_told_its_present_name(entry: str, former: str, told: str, tmp_path: Path) -> None:
    path, message = wrong(tmp_path, entry)
    assert path == f"listeners[0].{former}"
    assert told in message
    assert "`xml-pipeline migrate` mends the file" in message


def test_a_word_from_the_environment_is_not_shown() -> None:
    text = f"{ORGANISM}  - {{name: one, human: true, accepts: '${{W}}', answers: '${{D}}'}}\n"
    problems = problems_of(text, W="Tsk", D="secret.Word")
    assert [problem.path for problem in problems] == ["listeners[0].accepts", "listeners[0].answers"]
    assert "there is no class '${W}'; classes are" in problems[0].message
    for problem in problems:
        assert "Tsk" not in problem.message
        assert "secret" not in problem.message
