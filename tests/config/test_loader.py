"""A valid organism.yaml becomes models; mistakes become problems, all at once, each with its place."""

from __future__ import annotations

from pathlib import Path

import pydantic
import pytest

from tests.config.projects import HANDLERS, config_of, only, problems_in, problems_of, write
from xml_pipeline.config import load
from xml_pipeline.errors import ConfigError

VALID = """\
organism:
  name: demo
  default: greeter
  limits: {messages: 10}
listeners:
  - name: greeter
    description: Greets by name.
    handler: handlers:greet
    peers: [shouter]
  - name: shouter
    handler: handlers:shout
    accepts: handlers:Reply
    timeout_seconds: 5
  - name: researcher
    agent: true
    model: smart
    prompt: {file: prompts/researcher.md}
    peers: [greeter]
    accepts: [handlers:Greeting]
    answers: handlers:Reply
  - name: approver
    human: true
    description: Says yes or no.
"""
PROMPT = "Be brief: ${NOT} a variable.\n"
FILES = {"organism.yaml": VALID, "handlers.py": HANDLERS, "prompts/researcher.md": PROMPT}

MISTAKES = """\
organism:
  name: demo
  defualt: greeter
  max_in_flight: many
  thread_scheduling: bredth-first
listeners:
  - name: greeter
    handler: handlers:gret
    peers: [shoutr]
  - name: shouter
    handler: handler:shout
    broadcast: yes
  - name: shouter
    handler: handlers:answer
  - name: researcher
    agent: true
    prompt: {file: prompts/reseacher.md}
"""


def test_a_valid_file_becomes_models(tmp_path: Path) -> None:
    config = load(write(tmp_path, FILES), environ={})
    greeter, shouter, researcher, approver = config.listeners
    assert (config.organism.name, config.organism.default) == ("demo", "greeter")
    assert (config.organism.limits.messages, config.organism.limits.depth) == (10, 64)
    assert greeter.peers == ("shouter",)
    assert shouter.accepts == ("handlers:Reply",)
    assert shouter.timeout_seconds == 5.0
    assert [one.kind for one in config.listeners] == ["tool", "tool", "agent", "human"]
    assert researcher.prompt_text == PROMPT
    assert approver.description == "Says yes or no."
    assert config.base == tmp_path


def test_what_import_paths_stand_for_comes_with_the_config(tmp_path: Path) -> None:
    config = load(write(tmp_path, FILES), environ={})
    assert config.resolved["handlers:greet"].__name__ == "greet"
    assert config.resolved["handlers:shout"].__name__ == "shout"
    assert {"handlers:Reply", "handlers:Greeting"} <= config.resolved.keys()


def test_a_config_does_not_change(tmp_path: Path) -> None:
    config = load(write(tmp_path, FILES), environ={})
    with pytest.raises(pydantic.ValidationError):
        config.organism.name = "other"  # type: ignore[misc]
    with pytest.raises(TypeError):
        config.environ["X"] = "1"  # type: ignore[index]


def test_mistakes_are_problems_in_the_order_of_their_lines(tmp_path: Path) -> None:
    file = write(tmp_path, {**FILES, "organism.yaml": MISTAKES})
    problems = problems_in(file)
    assert [(one.line, one.column, one.path) for one in problems] == [
        (3, 3, "organism.defualt"),
        (4, 18, "organism.max_in_flight"),
        (5, 22, "organism.thread_scheduling"),
        (9, 13, "listeners[0].peers[0]"),
        (12, 16, "listeners[1].broadcast"),
        (13, 11, "listeners[2].name"),
        (15, 5, "listeners[3]"),
        (17, 20, "listeners[3].prompt.file"),
    ]
    assert {one.file for one in problems} == {str(file)}
    messages = [one.message for one in problems]
    assert "did you mean 'default'?" in messages[0]
    assert "must be a whole number" in messages[1]
    assert "'breadth-first' or 'depth-first'" in messages[2]
    assert "did you mean 'breadth-first'?" in messages[2]
    assert "there is no listener 'shoutr'; did you mean 'shouter'?" in messages[3]
    assert "write `true`" in messages[4]
    assert "another listener 'shouter'" in messages[5]
    assert "line 10" in messages[5]
    assert "without a `model`" in messages[6]
    assert "did you mean 'researcher.md'?" in messages[7]


IMPORTS = """\
organism: {name: demo}
listeners:
  - name: greeter
    handler: handlers:gret
  - {name: shouter, handler: handler:shout}
  - {name: answer, handler: handlers:answer}
"""


def test_import_paths_that_lead_nowhere_are_problems_in_the_order_of_their_lines(tmp_path: Path) -> None:
    problems = problems_in(write(tmp_path, {**FILES, "organism.yaml": IMPORTS}))
    assert [(one.line, one.column, one.path) for one in problems] == [
        (4, 14, "listeners[0].handler"),
        (5, 30, "listeners[1].handler"),
        (6, 29, "listeners[2].handler"),
    ]
    assert "has no 'gret'; did you mean 'greet'?" in problems[0].message
    assert "there is no module 'handler'; did you mean 'handlers'?" in problems[1].message
    assert "a handler is a function" in problems[2].message


def test_the_error_s_text_holds_every_problem() -> None:
    with pytest.raises(ConfigError) as caught:
        config_of("organism: {name: x, a: 1, b: 2}")
    assert str(caught.value).splitlines() == [str(one) for one in caught.value.problems]
    assert str(caught.value.problems[0]).startswith("organism.yaml:1:21: organism.a: `a` is no key here")


ORGANISM = "organism:\n  name: demo\n"
LISTENER = ORGANISM + "listeners:\n  - name: one\n    handler: json:dumps\n"
AGENT = ORGANISM + "listeners:\n  - name: one\n    agent: true\n    model: m\n"


@pytest.mark.parametrize(
    ("text", "line", "path", "message"),
    [
        ("", 1, "", "holds no organism"),
        ("- a\n- b\n", 1, "", "holds no organism"),
        ("listeners: []\n", 1, "", "`organism` is missing"),
        ("organism:\n  description: x\n", 1, "organism", "`name` is missing: The organism's name"),
        ("organism:\n", 1, "organism", "must be a mapping"),
        ("organism: demo\n", 1, "organism", "must be a mapping (`key: value`), not 'demo'"),
        ("organism: {name: 12}\n", 1, "organism.name", 'must be text, not 12; quote it: "12"'),
        ("organism: {name: ''}\n", 1, "organism.name", "at least 1 character"),
        (ORGANISM + "  default: greter\n", 3, "organism.default", "there are no listeners"),
        (ORGANISM + "  max_in_flight: 0\n", 3, "organism.max_in_flight", "greater than or equal to 1, not 0"),
        (ORGANISM + "  max_in_flight: 1.5\n", 3, "organism.max_in_flight", "must be a whole number, not 1.5"),
        (
            ORGANISM + "  max_in_flight: true\n",
            3,
            "organism.max_in_flight",
            "a whole number, not true",
        ),
        (ORGANISM + '  max_in_flight: "9"\n', 3, "organism.max_in_flight", "must be a whole number, not '9'"),
        (ORGANISM + "  timeout_seconds: .inf\n", 3, "organism.timeout_seconds", "finite"),
        (ORGANISM + "  timeout_seconds: -1\n", 3, "organism.timeout_seconds", "greater than 0"),
        (ORGANISM + "  timeout_seconds:\n", 3, "organism.timeout_seconds", "is empty; it must be a number"),
        (ORGANISM + "  limits: {dept: 3}\n", 3, "organism.limits.dept", "did you mean 'depth'?"),
        (ORGANISM + "lisseners: []\n", 3, "lisseners", "did you mean 'listeners'?"),
        (ORGANISM + "listeners: {a: 1}\n", 3, "listeners", "must be a list, not a mapping"),
        (
            ORGANISM + "listeners: [shouter]\n",
            3,
            "listeners[0]",
            "must be a mapping (`key: value`)",
        ),
        (LISTENER + "    peers: two\n", 6, "listeners[0].peers", "must be a list, not 'two': `[two]`"),
        (LISTENER + "    peers: [one, one]\n", 6, "listeners[0].peers[1]", "named twice"),
        (LISTENER + "    peers: [one, {}]\n", 6, "listeners[0].peers[1]", "must be text, not a mapping"),
        (LISTENER + "    human: maybe\n", 6, "listeners[0].human", "must be `true` or `false`, not 'maybe'"),
        (LISTENER + "    model: smart\n", 6, "listeners[0].model", "is for agents (`agent: true`)"),
        (LISTENER + "    agent: true\n    model: m\n", 7, "listeners[0].model", "is for the built-in agent"),
        (LISTENER + "    human: true\n", 5, "listeners[0].handler", "a person has no `handler`"),
        (LISTENER.replace("json:dumps", ""), 5, "listeners[0].handler", "is empty; write `module:function`"),
        (LISTENER.replace("one", "a b"), 4, "listeners[0].name", "must be a name"),
        (LISTENER.replace("one", "system"), 4, "listeners[0].name", "the sender of system messages"),
        (LISTENER.replace("json:dumps", "dumps"), 5, "listeners[0].handler", "must be an import path"),
        (ORGANISM + "listeners:\n  - name: one\n", 4, "listeners[0]", "has no `handler`"),
        (ORGANISM + "listeners:\n  - handler: json:dumps\n", 4, "listeners[0]", "`name` is missing"),
        (AGENT.replace("    model: m\n", ""), 4, "listeners[0]", "is an agent without a `model`"),
        (AGENT + "    cpu_bound: true\n", 7, "listeners[0].cpu_bound", "goes with a `handler`"),
        (AGENT + "    payload_class: a:B\n", 7, "listeners[0].payload_class", "is called `accepts` now"),
        (AGENT + "    calls: nativ\n", 7, "listeners[0].calls", "did you mean 'native'?"),
        (AGENT + "    memory: sesion\n", 7, "listeners[0].memory", "did you mean 'session'?"),
        (AGENT + "    temperature: 3\n", 7, "listeners[0].temperature", "less than or equal to 2, not 3"),
        (
            AGENT + "    history: {mesages: 3}\n",
            7,
            "listeners[0].history.mesages",
            "did you mean 'messages'?",
        ),
        (AGENT + "    human: true\n    peers: []\n", 8, "listeners[0].peers", "a person has no `peers`"),
    ],
)
def test_each_mistake_has_its_place_and_says_what_is_allowed(
    text: str, line: int, path: str, message: str
) -> None:
    found = [one for one in problems_of(text) if message in one.message]
    assert len(found) == 1, problems_of(text)
    assert (found[0].line, found[0].path) == (line, path)


def test_an_agent_and_a_person_at_once_is_neither() -> None:
    found = problems_of(AGENT + "    human: true\n")
    assert "an agent or a person, not both" in found[0].message


def test_a_file_that_is_not_there_names_the_nearest(tmp_path: Path) -> None:
    write(tmp_path, FILES)
    problem = only(problems_in(tmp_path / "organsim.yaml"))
    assert problem.file == str(tmp_path / "organsim.yaml")
    assert problem.message == "cannot be read: No such file or directory; did you mean 'organism.yaml'?"


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    assert "cannot be read" in only(problems_in(tmp_path)).message


def test_a_prompt_file_that_is_not_text(tmp_path: Path) -> None:
    file = write(tmp_path, {"organism.yaml": AGENT + "    prompt: {file: p.md}\n"})
    (tmp_path / "p.md").write_bytes(b"\xff\xfe")
    assert "the file p.md cannot be read: it is not UTF-8 text" in only(problems_in(file)).message


def test_an_organism_without_listeners_is_for_those_that_code_adds() -> None:
    assert config_of(ORGANISM).listeners == ()


def test_a_prompt_file_is_the_prompt(tmp_path: Path) -> None:
    for text in ("Be brief.\n", "Be long: ${X} $$ ä\n"):
        files = {"organism.yaml": AGENT + "    prompt: {file: deep/p.md}\n", "deep/p.md": text}
        assert load(write(tmp_path, files), environ={}).listeners[0].prompt_text == text


@pytest.mark.parametrize(
    "entry",
    [
        "agnt: true, model: m, prompt: x, peers: [a]",
        "handlr: 'handlers:echo', cpu_bound: true",
        "humn: true, asked_on: [console]",
        "flw: [{answer: {Answer: {text: a}}}]",
    ],
)
def test_what_follows_from_a_letter_is_not_told(entry: str) -> None:
    (problem,) = problems_of(f"organism: {{name: x}}\nlisteners:\n  - {{name: a, {entry}}}\n")
    assert "is no key here; did you mean" in problem.message
