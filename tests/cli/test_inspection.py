"""`check`, `describe`, `graph`, `schema`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from lxml import etree

from tests.cli.conftest import Done

TEN_MISTAKES = """\
organism:
  nam: demo
  thread_scheduling: sideways
  max_in_flight: 0
listeners:
  - name: greeter
    handler: handlers.great
    peers: [shoutr]
  - name: greeter
    handler: handlers.greet
  - name: 2fast
    handler: handlers.greet
  - name: thinker
    agent: true
    handlr: handlers.greet
  - name: slow
    handler: nowhere.at_all
    timeout_seconds: soon
llm:
  strategy: fastest
  backends:
    - provider: opnai
"""


def test_check_lists_every_mistake(tmp_path: Path, xp: Callable[..., Done]) -> None:
    (tmp_path / "organism.yaml").write_text(TEN_MISTAKES)
    (tmp_path / "handlers.py").write_text("def greet(payload, metadata): return None\n")
    done = xp("check", str(tmp_path / "organism.yaml"))
    assert (done.returncode, done.stdout) == (1, "")
    mistakes = done.stderr.splitlines()
    assert len(mistakes) >= 9, done.stderr
    for part in (
        ":2:",
        "shoutr",
        "thread_scheduling",
        "did you mean 'openai'",
        "2fast",
    ):
        assert part in done.stderr
    assert all("organism.yaml:" in mistake for mistake in mistakes)


def test_check_sums_up_what_is_right(project: Path, xp: Callable[..., Done]) -> None:
    done = xp("check", str(project))
    assert done.returncode == 0
    assert done.stdout.count("\n") == 1
    for part in ("ok", "3 listeners", "2 tools", "1 agent", "ANTHROPIC_API_KEY"):
        assert part in done.stdout


def test_describe_shows_each_form(project: Path, xp: Callable[..., Done]) -> None:
    def described(*arguments: str) -> str:
        done = xp("describe", *arguments, "-f", str(project))
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "write: @calculator.add a=<int> b=<int>" in described("calculator.add")
    schema = etree.XMLSchema(etree.fromstring(described("calculator.add", "--xsd").encode()))
    schema.assertValid(etree.fromstring(described("calculator.add", "--example")))
    assert set(json.loads(described("calculator.add", "--json-schema"))["required"]) == {"a", "b"}
    assert "Example:" in described("calculator.add", "Add", "--prompt")
    prompt = described("assistant", "--prompt")
    assert "You answer in two sentences" in prompt
    assert "calculator_add" in prompt
    assert "tokens" in prompt


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("calculator",), "there are assistant, calculator.add, greeter"),
        (("calculatr.add", "--xsd"), "did you mean 'calculator.add'"),
        (("greeter", "Greting", "--xsd"), "did you mean 'Greeting'"),
    ],
)
def test_describe_names_what_there_is(
    arguments: tuple[str, ...], says: str, project: Path, xp: Callable[..., Done]
) -> None:
    done = xp("describe", *arguments, "-f", str(project))
    assert done.returncode == 1
    assert says in done.stderr


def test_graph_draws_mermaid_and_svg(project: Path, xp: Callable[..., Done]) -> None:
    text = xp("graph", str(project)).stdout
    assert text.startswith("flowchart TD\n")
    assert '(["assistant"])' in text
    svg = etree.fromstring(xp("graph", str(project), "--format", "svg").stdout)
    assert "my <house> & co" in svg.xpath("string()")


def test_schema_takes_the_project(project: Path, xp: Callable[..., Done]) -> None:
    schema = json.loads(xp("schema").stdout)
    assert schema["$schema"].startswith("https://json-schema.org/")
    assert set(schema["properties"]) == {"organism", "listeners", "llm"}
