"""`defaults`: what agents have that do not say otherwise, and its mistakes, told once and at their place."""

from __future__ import annotations

from typing import Any

import pytest

from tests.config.projects import config_of, only, problems_of
from xml_pipeline.config import OrganismConfig, json_schema, loads
from xml_pipeline.config.models import DEFAULTED, AgentDefaults, listener_keys

ORGANISM = "organism: {name: x}\nllm: {backends: [{provider: scripted, supported_models: [m]}]}\n"
AGENTS = "listeners: [{name: a, agent: true, model: m}, {name: b, agent: true, model: m}]\n"


def with_defaults(agents: str, listeners: str = AGENTS) -> str:
    return f"{ORGANISM}defaults: {{agents: {agents}}}\n{listeners}"


@pytest.mark.parametrize(
    ("agents", "path", "told"),
    [
        ("{max_turns: 0}", "defaults.agents.max_turns", "must be greater than or equal to 1"),
        ("{max_trns: 3}", "defaults.agents.max_trns", "did you mean 'max_turns'?"),
        ("{calls: nativ}", "defaults.agents.calls", "did you mean 'native'?"),
        ("{name: a}", "defaults.agents.name", "`name` is no key here"),
        ("{prompt: a}", "defaults.agents.prompt", "`prompt` is no key here"),
        ("{accepts: Task}", "defaults.agents.accepts", "`accepts` is no key here"),
        ("{peers: [a]}", "defaults.agents.peers", "`peers` is no key here"),
        ("{budget: {usd: 1}}", "defaults.agents.budget", "`budget` is no key here"),
        ("{history: {mesages: 1}}", "defaults.agents.history.mesages", "did you mean 'messages'?"),
        ("7", "defaults.agents", "must be a mapping"),
    ],
)
def test_a_mistake_in_them_is_told_once_where_it_stands(agents: str, path: str, told: str) -> None:
    problem = only(problems_of(with_defaults(agents)))
    assert (problem.path, problem.line) == (path, 3)
    assert told in problem.message


def test_other_kinds_have_no_defaults() -> None:
    problem = only(problems_of(f"{ORGANISM}defaults: {{handlers: {{retries: 1}}}}\n{AGENTS}"))
    assert (problem.path, "keys are: agents" in problem.message) == ("defaults.handlers", True)


def test_they_are_for_built_in_agents_alone() -> None:
    listeners = (
        "listeners:\n"
        "  - {name: bot, agent: true, model: m}\n"
        "  - {name: tool, handler: xml_pipeline.testing:run_in_virtual_time}\n"
        "  - {name: anna, human: true}\n"
    )
    text = with_defaults("{timeout_seconds: 5, max_concurrent: 2}", listeners)
    bot, tool, anna = loads(text, environ={}, imports="nothing").listeners
    assert (bot.timeout_seconds, bot.max_concurrent) == (5.0, 2)
    for other in (tool, anna):
        assert (other.timeout_seconds, other.max_concurrent) == (None, None)


def test_an_agent_that_says_nothing_of_its_model_has_the_usual_one() -> None:
    listeners = "listeners: [{name: a, agent: true}, {name: b, agent: true, model: other}]\n"
    config = config_of(with_defaults("{model: m}", listeners))
    assert [each.model for each in config.listeners] == ["m", "other"]
    assert [each.name for each in config.named_models] == ["other", "m"]
    assert config.named_models[1].problem.path == "defaults.agents.model"
    empty = "listeners: [{name: a, agent: true, model: }]\n"
    assert "without a `model`" in only(problems_of(with_defaults("{model: m}", empty))).message


def test_a_key_without_a_value_is_said_all_the_same() -> None:
    listeners = "listeners: [{name: a, agent: true, model: m, temperature: null}]\n"
    assert config_of(with_defaults("{temperature: 1}", listeners)).listeners[0].temperature is None


def test_they_are_keys_of_agents_with_the_same_meaning() -> None:
    fields: Any = AgentDefaults.model_fields
    assert set(fields) == set(DEFAULTED)
    for key in DEFAULTED:
        assert listener_keys()[key].agents
    shown = json_schema()["$defs"]
    for key, meaning in shown["AgentDefaults"]["properties"].items():
        assert meaning == shown["ListenerConfig"]["properties"][key]


def test_a_file_of_another_format_is_told_one_thing() -> None:
    for number in (0, 2, 99):
        problem = only(problems_of(f"organism: {{name: x, format: {number}, new: 1}}\nmore: [&a]\n"))
        assert (problem.path, problem.line) == ("organism.format", 1)
        assert f"is {number}; this version of xml-pipeline reads format 1" in problem.message
    for odd in ("one", "'1'", "1.0", "true", ""):
        assert only(problems_of(f"organism: {{name: x, format: {odd}}}\n")).path == "organism.format"
    assert isinstance(config_of("organism: {name: x, format: 1}\n"), OrganismConfig)
