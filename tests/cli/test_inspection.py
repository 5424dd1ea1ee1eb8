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
    handler: handlers:great
    peers: [shoutr]
  - name: greeter
    handler: handlers:greet
  - name: 2fast
    handler: handlers:greet
  - name: thinker
    agent: true
    handlr: handlers.greet
  - name: slow
    handler: nowhere:at_all
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
    summary, *contracts = done.stdout.splitlines()
    for part in ("ok", "3 listeners", "2 tools", "1 agent", "ANTHROPIC_API_KEY"):
        assert part in summary
    assert contracts == [
        "  greeter: Greeting → Greeted",
        "  calculator.add: Add → Sum",
        "  assistant: Task → Answer",
    ]


def test_check_tells_the_contracts_of_twenty_listeners(tmp_path: Path, xp: Callable[..., Done]) -> None:
    people = "".join(f"  - {{name: p{number}, human: true}}\n" for number in range(22))
    (tmp_path / "organism.yaml").write_text(f"organism: {{name: x}}\nlisteners:\n{people}")
    rows = xp("check", str(tmp_path)).stdout.splitlines()
    assert rows[-2:] == [
        "  p19: Task → Answer",
        "  and 2 more; `xml-pipeline describe NAME` tells of one",
    ]


def test_describe_shows_each_form(project: Path, xp: Callable[..., Done]) -> None:
    def described(*arguments: str) -> str:
        done = xp("describe", *arguments, "-f", str(project))
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "write: @calculator.add a=<int> b=<int>" in described("calculator.add")
    assert "takes and answers: Add → Sum" in described("calculator.add")
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
    assert '(["assistant<br/>Task #8594; Answer"])' in text
    assert '["greeter"]' in text, "nothing is imported, and the file does not say it"
    svg = etree.fromstring(xp("graph", str(project), "--format", "svg").stdout)
    assert "my <house> & co" in svg.xpath("string()")


def test_schema_takes_the_project(project: Path, xp: Callable[..., Done]) -> None:
    schema = json.loads(xp("schema").stdout)
    assert schema["$schema"].startswith("https://json-schema.org/")
    assert set(schema["properties"]) == {
        *("organism", "defaults", "payloads", "listeners", "triggers", "llm", "tests"),
    }


CONTRACTS = """\
organism: {name: x}
listeners:
  - {name: a, handler: mine:f, answers: [mine:Verdict, Answer]}
  - {name: b, handler: mine:g, accepts: mine:Box.Order}
  - {name: c, human: true, accepts: mine:Order}
"""


def test_graph_shows_what_the_file_says_of_contracts(tmp_path: Path, xp: Callable[..., Done]) -> None:
    (tmp_path / "organism.yaml").write_text(CONTRACTS)
    text = xp("graph", str(tmp_path)).stdout
    for part in (
        "a<br/>#8230; #8594; Verdict#44; Answer",
        "b<br/>Order #8594; #8230;",
        "c<br/>Order #8594; Answer",
    ):
        assert part in text
    svg = etree.fromstring(xp("graph", str(tmp_path), "--format", "svg").stdout)
    titles = svg.xpath("//*[local-name()='g']/*[local-name()='title']/text()")
    assert sorted(titles) == ["Order → Answer", "Order → …", "… → Verdict, Answer"]


CODE = "from pathlib import Path\nPath(__file__).with_suffix('.ran').touch()\n"
RUNS = """\
organism: {name: x, default: a}
listeners:
  - {name: a, handler: mine:f, peers: [b]}
  - {name: b, agent: true, model: m}
llm: {modules: [more], backends: [{provider: scripted}]}
"""


@pytest.mark.parametrize(
    ("command", "ran"),
    [
        (("check", "--no-import"), []),
        (("graph",), []),
        (("graph", "--format", "svg"), []),
        (("llm", "list"), ["more"]),
        (("check",), ["mine", "more"]),
        (("describe", "b"), ["mine", "more"]),
    ],
)
def test_commands_run_no_more_code_of_a_file_than_they_need(
    command: tuple[str, ...], ran: list[str], tmp_path: Path, xp: Callable[..., Done]
) -> None:
    (tmp_path / "organism.yaml").write_text(RUNS)
    (tmp_path / "more.py").write_text(CODE)
    (tmp_path / "mine.py").write_text(
        f"{CODE}from xml_pipeline.envelope import Huh\ndef f(p: Huh, m): pass\n"
    )
    xp(*command, "-f", str(tmp_path / "organism.yaml"))
    assert sorted(mark.stem for mark in tmp_path.glob("*.ran")) == ran


def test_check_without_imports_says_what_it_left_out(tmp_path: Path, xp: Callable[..., Done]) -> None:
    (tmp_path / "organism.yaml").write_text(RUNS)
    done = xp("check", "--no-import", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "2 listeners, 1 tool, 1 agent" in done.stdout
    assert done.stdout.splitlines()[1:] == [
        "not checked without an import: listeners[0].handler: mine:f",
        "not checked without an import: llm.modules[0]: more",
    ]


MODELS = """\
organism: {name: x}
listeners:
  - {name: a, agent: true, model: smrt}
  - {name: b, agent: true, model: smart}
  - {name: c, agent: true, model: "${SECRET_MODEL}"}
llm:
  models: {smart: [gpt-4o, claude-sonnet-4-5, gtp-4o]}
  backends:
    - {provider: openai}
    - {provider: xai, supported_models: [claude-*]}
"""


@pytest.mark.parametrize("option", [(), ("--no-import",)])
def test_check_names_models_that_no_backend_serves(
    option: tuple[str, ...], tmp_path: Path, xp: Callable[..., Done], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_MODEL", "smartt")
    (tmp_path / "organism.yaml").write_text(MODELS)
    done = xp("check", *option, str(tmp_path))
    assert done.returncode == 1
    mistakes = done.stderr.splitlines()
    assert len(mistakes) == 3
    assert any("'smrt'; did you mean 'smart'?" in mistake for mistake in mistakes)
    assert any("'gtp-4o'" in mistake for mistake in mistakes)
    assert "smartt" not in done.stderr
    assert "'${SECRET_MODEL}'" in done.stderr


def test_check_notes_a_model_that_looks_like_an_alias(tmp_path: Path, xp: Callable[..., Done]) -> None:
    text = "organism: {name: x}\nlisteners: [{name: a, agent: true, model: smrt}]\n"
    (tmp_path / "organism.yaml").write_text(
        f"{text}llm: {{models: {{smart: m}}, backends: [{{provider: scripted}}]}}\n"
    )
    done = xp("check", str(tmp_path))
    assert done.returncode == 0
    assert "note: " in done.stdout
    assert "'smrt' is no alias; did you mean 'smart'?" in done.stdout


def test_the_root_of_a_file_s_files_is_an_option(tmp_path: Path, xp: Callable[..., Done]) -> None:
    (tmp_path / "prompt.md").write_text("Be brief.")
    home = tmp_path / "home"
    home.mkdir()
    (home / "organism.yaml").write_text(
        "organism: {name: x}\nlisteners: [{name: a, agent: true, model: m, prompt: {file: ../prompt.md}}]\n"
    )
    assert "outside of" in xp("check", str(home)).stderr
    assert xp("check", str(home), "--root", str(tmp_path)).returncode == 0
    for wrong in ("", str(tmp_path / "nowhere"), str(tmp_path / "prompt.md")):
        done = xp("check", str(home), "--root", wrong)
        assert f"the root {wrong!r} is no directory" in done.stderr
        assert done.returncode == 1
