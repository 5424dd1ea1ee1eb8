"""`${NAME}`, `.env`, and keys that do not belong into the file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.config.projects import config_of, only, problems_in, problems_of, write
from xml_pipeline.config import load
from xml_pipeline.errors import ConfigError, Problem


def name_of(written: str, **environ: str) -> str:
    return config_of(f"organism:\n  name: {written}\n", **environ).organism.name


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("${WHO}", "alice"),
        ("a-${WHO}-b", "a-alice-b"),
        ('"${WHO} ${WHO}"', "alice alice"),
        ("${WHO:-bob}", "alice"),
        ("${NOBODY:-bob}", "bob"),
        ("x${NOBODY:-}", "x"),
        ("${EMPTY:-bob}", "bob"),
        ("x${EMPTY}", "x"),
        ("${NOBODY:-a:-b}", "a:-b"),
        ("$${WHO}", "${WHO}"),
        ("$$$${WHO}", "$${WHO}"),
        ("$WHO costs $5", "$WHO costs $5"),
    ],
)
def test_variables_stand_for_their_values(written: str, name: str) -> None:
    assert name_of(written, WHO="alice", EMPTY="") == name


@pytest.mark.parametrize("written", ["${MANY}", '"${MANY}"', "${NONE:-42}", "4${TWO}"])
def test_a_variable_becomes_what_its_key_asks_for(written: str) -> None:
    config = config_of(
        f"organism: \n  name: {written}\n  max_in_flight: {written}\n  timeout_seconds: {written}\n",
        MANY="42",
        TWO="2",
    )
    assert (config.organism.name, config.organism.max_in_flight) == ("42", 42)
    assert config.organism.timeout_seconds == 42.0


def test_a_variable_may_be_a_truth_value() -> None:
    config = config_of(
        "organism: {name: x}\nlisteners:\n  - {name: a, agent: '${YES}', model: m}\n", YES="true"
    )
    assert config.listeners[0].agent is True


def test_a_value_is_not_expanded_again() -> None:
    assert name_of("${A}", A="${B} $$ *x", B="no") == "${B} $$ *x"


def test_a_missing_variable_is_named_with_the_ways_out() -> None:
    problem = only(problems_of("organism:\n  name: demo\n  max_in_flight: ${MANY}\n"))
    assert (problem.line, problem.column, problem.path) == (3, 18, "organism.max_in_flight")
    assert "the environment variable MANY is not set" in problem.message
    assert "`${MANY:-default}`" in problem.message


@pytest.mark.parametrize("written", ["${A B}", "${1}", "${}", "${A", "${A:-${B}}", "${A-b}"])
def test_a_mark_that_is_no_variable_is_refused(written: str) -> None:
    problem = only(problems_of(f"organism:\n  name: '{written}'\n", A="1"))
    assert "allowed: `${NAME}` or `${NAME:-default}`; `$$` stands for one `$`" in problem.message


SECRET = "hunter2-is-nobodys-name"


@pytest.mark.parametrize(
    "text",
    [
        "organism: {name: x, max_in_flight: '${S}'}",
        "organism: {name: x, thread_scheduling: '${S}'}",
        "organism: {name: x, default: '${S}'}",
        "organism: {name: x, limits: '${S}'}",
        "organism: {name: x}\nlisteners: ${S}",
        "organism: {name: x}\nlisteners:\n  - {name: '${S} x', human: true}",
        "organism: {name: x}\nlisteners:\n  - {name: '${S}', human: true}\n  - {name: '${S}', human: true}",
        "organism: {name: x, default: b}\nlisteners:\n  - {name: '${S}', human: true}",
        "organism: {name: x}\nlisteners:\n  - {name: a, handler: '${S}'}",
        "organism: {name: x}\nlisteners:\n  - {name: a, handler: '${D}'}",
        "organism: {name: x}\nlisteners:\n  - {name: a, handler: 'json.${D}'}",
        "organism: {name: x}\nlisteners:\n  - {name: a, handler: json:dumps, peers: ['${S}']}",
        "organism: {name: x}\nlisteners:\n  - {name: a, agent: true, model: m, prompt: {file: '${S}'}}",
        "organism: {name: x}\nlisteners:\n  - {name: a, agent: true, model: m, accepts: '${D}'}",
        "organism: {name: x}\nlisteners:\n  - {name: a, agent: true, model: m, temperature: '${N}'}",
    ],
)
def test_values_from_the_environment_are_not_shown(text: str, tmp_path: Path) -> None:
    file = write(tmp_path, {"organism.yaml": text})
    environ = {"S": SECRET, "D": "hunter2.hunter2", "N": "77.125"}
    found = "\n".join(map(str, problems_in(file, **environ)))
    assert "hunter2" not in found
    assert "77.125" not in found
    assert "${" in found or "is no listener 'b'" in found


@pytest.mark.parametrize(
    "text",
    [
        "organism: {name: x}\nlisteners:\n"
        "  - {name: shouter, human: true}\n  - {name: a, human: true, peers: ['${S}']}",
        "organism: {name: x, default: '${S}'}\nlisteners:\n  - {name: shouter, human: true}",
        "organism: {name: x, thread_scheduling: '${B}'}",
        "organism: {name: x}\nlisteners:\n  - {name: a, handler: 'json.${L}'}",
        "organism: {name: x}\nlisteners:\n  - {name: a, handler: '${J}.dumps'}",
        "organism: {name: x}\nlisteners:\n  - {name: a, agent: true, model: m, prompt: {file: '${T}'}}",
        "organism: {name: x}\nlisteners:\n  - {name: a, agent: true, model: m, tools: '${N}'}",
    ],
)
def test_what_is_near_to_a_value_from_the_environment_is_not_told(text: str, tmp_path: Path) -> None:
    file = write(tmp_path, {"organism.yaml": text, "shouter.txt": ""})
    near = {"S": "shoutr", "B": "breadth_frist", "L": "dumsp", "J": "jsn", "T": "shoutr.txt", "N": "natve"}
    found = "\n".join(map(str, problems_in(file, **near)))
    assert found
    assert "did you mean" not in found
    assert not [value for value in near.values() if value in found]


def test_the_env_file_beside_the_organism_is_read(tmp_path: Path) -> None:
    before = dict(os.environ)
    file = write(
        tmp_path,
        {
            "organism.yaml": "organism: {name: '${A}', description: '${B} ${C}'}",
            ".env": "# settings\nA=from-file\nexport B='two words'\nC=\"x${A}\"\nNOTHING\n",
        },
    )
    config = load(file, environ={})
    assert (config.organism.name, config.organism.description) == ("from-file", "two words x${A}")
    assert config.environ["B"] == "two words"
    assert dict(os.environ) == before


def test_the_process_goes_before_the_env_file(tmp_path: Path) -> None:
    file = write(tmp_path, {"organism.yaml": "organism: {name: '${A}'}", ".env": "A=file\n"})
    assert load(file, environ={"A": "process"}).organism.name == "process"


def test_the_environment_of_the_process_is_the_default() -> None:
    name, value = next((name, value) for name, value in os.environ.items() if value and name.isidentifier())
    from xml_pipeline.config import loads

    assert loads(f"organism: {{name: x, description: '${{{name}}}'}}").organism.description == value


def test_an_env_file_that_is_no_text_is_a_problem(tmp_path: Path) -> None:
    file = write(tmp_path, {"organism.yaml": "organism: {name: x}"})
    (tmp_path / ".env").write_bytes(b"A=\xff\n")
    problem = only(problems_in(file))
    assert problem.file.endswith(".env")
    assert "it is not UTF-8 text" in problem.message


def test_a_config_does_not_show_its_environment(tmp_path: Path) -> None:
    file = write(tmp_path, {"organism.yaml": "organism: {name: x}", ".env": f"KEY={SECRET}\n"})
    config = load(file, environ={})
    assert config.environ["KEY"] == SECRET
    assert SECRET not in repr(config) + str(config) + config.model_dump_json()


KEY = "sk-proj-Abc123Def456Ghi789Jkl012"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"organism: {{name: x}}\nllm: {{backends: [{{api_key: {KEY}}}]}}", "api_key_env: NAME"),
        ("organism: {name: x}\nllm: {backends: [{provider: openai, api-key: short1}]}", "api_key_env: NAME"),
        (f"organism: {{name: x}}\nllm: {{backends: [{{api_key_env: {KEY}}}]}}", "holds a key; `api_key_env`"),
        ("organism: {name: x}\nllm: {backends: [{my_key_file: xai-abc}]}", "looks like an API key"),
        (f"organism: {{name: x, description: {KEY}}}", "looks like an API key"),
        (f"organism: {{name: x, {KEY}: 1}}", "no key here"),
        (f"organism: {{name: x, default: {KEY}}}", "looks like an API key"),
        (f"organism: {{name: x}}\nlisteners: [{{name: a, handler: {KEY}}}]", "looks like an API key"),
        ("organism: {name: x}\nllm: {password: hunter2}", "secrets do not stand in this file"),
    ],
)
def test_a_key_in_the_file_is_refused_and_not_shown(text: str, message: str) -> None:
    found = problems_of(text)
    assert any(message in one.message for one in found), found
    shown = "\n".join(map(str, found))
    assert KEY not in shown
    assert "short1" not in shown
    assert "xai-abc" not in shown
    assert "hunter2" not in shown


def test_a_key_by_interpolation_is_told_the_better_way() -> None:
    found = problems_of("organism: {name: x}\nllm: {backends: [{api_key: '${MY}'}]}", MY=KEY)
    assert any("api_key_env: NAME" in one.message for one in found)
    assert KEY not in "\n".join(map(str, found))


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30))
def test_doubled_dollars_write_any_text(text: str) -> None:
    quoted = text.replace("$", "$$")
    written = "".join(f"\\U{ord(char):08x}" for char in quoted)
    config = config_of(f'organism: {{name: x, description: "{written}"}}')
    assert config.organism.description == text


@given(st.text(max_size=40))
def test_no_text_breaks_the_interpolation(text: str) -> None:
    written = "".join(f"\\U{ord(char):08x}" for char in text)
    problems: tuple[Problem, ...] = ()
    try:
        config_of(f'organism: {{name: x, description: "{written}"}}', A="1")
    except ConfigError as error:
        problems = error.problems
    assert {(one.line, one.path) for one in problems} <= {(1, "organism.description"), (1, "")}
