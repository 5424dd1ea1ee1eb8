"""The `llm` section inside organism.yaml: its mistakes have places, its budgets meet those of listeners."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from tests.config.projects import config_of, only, problems_of, write
from xml_pipeline import Organism
from xml_pipeline.config import load
from xml_pipeline.errors import ConfigError
from xml_pipeline.llm import PROVIDER_CLASSES, Backend
from xml_pipeline.llm.routing.strategies import STRATEGIES

HEAD = """\
organism: {name: x}
listeners:
  - {name: a, agent: true, model: smart, budget: {tokens: 5}}
  - {name: b, agent: true, model: smart, budget: [{usd: 1.5, per: day}, {tokens: 9, per: month}]}
"""
VALID = (
    HEAD
    + """\
llm:
  models: {smart: [gpt-4o, claude-x], fast: gpt}
  budgets: {organism: {usd: 3}, agents: {c*: [{tokens: 4}]}}
  backends:
    - {provider: openai, supported_models: [gpt-*], headers: {X-Key: "${K}"}, rate_limit_tpm: "${R:-100}"}
    - {provider: scripted, rules: [{match: x, tool: y, arguments: {a: [1, 2]}}]}
"""
)


def test_the_section_is_read() -> None:
    llm = config_of(VALID, K="secret").llm
    assert llm.models == {"smart": ("gpt-4o", "claude-x"), "fast": "gpt"}
    assert llm.backends[0].rate_limit_tpm == 100
    assert llm.backends[0].headers == {"X-Key": "secret"}
    assert [one.provider for one in llm.backends] == ["openai", "scripted"]


def test_without_a_section_the_defaults_hold() -> None:
    assert config_of("organism: {name: x}").llm.backends == ()


def test_a_listener_s_budget_is_the_budget_of_its_agent() -> None:
    agents = config_of(VALID, K="s").llm.budgets.budgets().agents
    assert {name: [(one.tokens, one.usd, one.per) for one in limits] for name, limits in agents.items()} == {
        "a": [(5, None, "run")],
        "b": [(None, 1.5, "day"), (9, None, "month")],
        "c*": [(4, None, "run")],
    }


def test_a_budget_stands_in_one_place() -> None:
    problem = only(problems_of(HEAD + "llm: {budgets: {agents: {a: {tokens: 4}}}}\n"))
    assert (problem.line, problem.column, problem.path) == (3, 42, "listeners[0].budget")
    assert "also in llm.budgets.agents (line 5)" in problem.message


@pytest.mark.parametrize(
    ("llm", "path", "message"),
    [
        ("{strategy: failver}", "llm.strategy", "did you mean 'failover'"),
        ("{retrys: 3}", "llm.retrys", "did you mean 'retries'?"),
        ("{retries: many}", "llm.retries", "must be a whole number, not 'many'"),
        ("{models: {smart: 5}}", "llm.models.smart", "must be text or a list or a mapping"),
        ("{models: {smart: [5]}}", "llm.models.smart[0]", "must be text, not 5"),
        ("{models: {smart.1: [gpt, 5]}}", 'llm.models["smart.1"][1]', "must be text, not 5"),
        ("{budgets: {organism: {usd: lots}}}", "llm.budgets.organism.usd", "must be a number, not 'lots'"),
        ("{budgets: {organism: {token: 1}}}", "llm.budgets.organism.token", "did you mean 'tokens'?"),
        ("{budgets: {agents: {a*: [{per: dya}]}}}", 'llm.budgets.agents["a*"][0].per', "mean 'day'?"),
        ("{backends: [{provider: opnai}]}", "llm.backends[0].provider", "did you mean 'openai'"),
        ("{backends: [{priority: 1}]}", "llm.backends[0]", "`provider` is missing"),
        ("{backends: [{provider: openai, num_ctx: 5}]}", "llm.backends[0]", "knows no num_ctx"),
        ("{backends: [{provider: ollama, num_ctx: big}]}", "llm.backends[0].num_ctx", "a whole number"),
        (
            "{backends: [{provider: ollama, num_ctx: 0}]}",
            "llm.backends[0].num_ctx",
            "greater than or equal to 1",
        ),
        ("{backends: [{provider: ollama, num_ct: 8}]}", "llm.backends[0].num_ct", "did you mean 'num_ctx'?"),
        (
            "{backends: [{provider: ollama, native_tools: 1}]}",
            "llm.backends[0].native_tools",
            "`true` or `false`",
        ),
        (
            "{backends: [{provider: scripted, rules: [{times: x}]}]}",
            "llm.backends[0].rules[0].times",
            "a whole number",
        ),
        ("{modules: [no_such_module]}", "llm.modules[0]", "there is no module 'no_such_module'"),
        ("{on_event: json:dumbs}", "llm.on_event", "did you mean 'dumps'?"),
        ("{on_event: math:pi}", "llm.on_event", "a function is needed"),
        ("{prices: {gpt: {input: 1}}}", "llm.prices.gpt", "`output` is missing: Output, reasoning included."),
        ("", "llm", "is empty; it must be a mapping"),
    ],
)
def test_its_mistakes_have_places(llm: str, path: str, message: str) -> None:
    found = [one for one in problems_of(f"organism: {{name: x}}\nllm: {llm}\n") if one.path == path]
    assert len(found) == 1, problems_of(f"organism: {{name: x}}\nllm: {llm}\n")
    assert message in found[0].message
    assert found[0].line == 2


def test_an_address_from_the_environment_is_not_shown() -> None:
    text = "organism: {name: x}\nllm: {backends: [{provider: openai, base_url: '${U}'}]}\n"
    problem = only(problems_of(text, U="ftp://user:hunter2@host"))
    assert "hunter2" not in str(problem)
    assert "is no http or https address" in problem.message


@pytest.mark.parametrize("header", ["Authorization: Bearer abc", "X-Api-Key: abc", "api-key: abc"])
def test_a_header_may_hold_a_secret_only_from_the_environment(header: str) -> None:
    text = "organism: {{name: x}}\nllm:\n  backends:\n    - provider: openai\n      headers:\n        {}\n"
    assert "do not stand in this file" in only(problems_of(text.format(header))).message
    config = config_of(text.format(header.replace("abc", "${TOKEN}")), TOKEN="abc")
    assert next(iter(config.llm.backends[0].headers.values())).endswith("abc")


OWN = """\
from dataclasses import dataclass
from typing import Annotated

from xml_pipeline.llm import PROVIDER_CLASSES, Backend, LLMResponse
from xml_pipeline.llm.http.backend import Key
from xml_pipeline.llm.routing.strategies import STRATEGIES

seen = []


@dataclass
class Echo(Backend):
    provider: str = "echo"
    loudness: Annotated[int, Key("How loud it is.", ge=1)] = 1
    words: tuple[str, ...] = ()
    offline = True

    def serves_model(self, model):
        return True

    async def _do_completion(self, client, request):
        return LLMResponse(f"{self.name} {self.loudness} {'-'.join(self.words)}", request.model, {"total_tokens": 3})


class Last:
    def order(self, candidates):
        return list(reversed(candidates))

    def taken(self, candidate):
        pass


def on_event(event):
    seen.append(event)


PROVIDER_CLASSES["echo"] = Echo
STRATEGIES["last"] = Last
"""
ORGANISM = """\
organism: {name: x}
listeners:
  - {name: a, agent: true, description: Answers., model: any}
llm:
  modules: [my_providers]
  on_event: my_providers:on_event
  strategy: last
  backends:
    - {provider: echo, name: first}
    - {provider: echo, name: second, loudness: "${LOUD}", words: [x, y]}
"""


@pytest.fixture
def registered() -> Iterator[None]:
    yield
    PROVIDER_CLASSES.pop("echo", None)
    STRATEGIES.pop("last", None)


async def test_modules_of_the_file_add_providers_strategies_and_an_observer(
    tmp_path: Path, registered: None
) -> None:
    from xml_pipeline.agents import Task
    from xml_pipeline.events import LLMCalled

    config = load(write(tmp_path, {"organism.yaml": ORGANISM, "my_providers.py": OWN}), environ={"LOUD": "7"})
    told: list[object] = []
    async with Organism.from_config(config) as organism:
        organism.add_hook(told.append)
        answer = await organism.ask("a", Task("hello"), timeout=10)
    assert answer.text == "second 7 x-y"
    import sys

    hook = config.llm._hook
    assert hook is not None
    seen = sys.modules.get("my_providers") or hook.__globals__  # type: ignore[attr-defined]  # a function
    events = seen["seen"] if isinstance(seen, dict) else seen.seen
    assert [event.backend for event in events if isinstance(event, LLMCalled)] == ["second"]
    assert any(isinstance(event, LLMCalled) for event in told), "the organism's own observers are told, too"


def test_a_key_of_a_provider_of_ones_own_is_checked_by_it(tmp_path: Path, registered: None) -> None:
    from xml_pipeline.errors import ConfigError

    broken = ORGANISM.replace('loudness: "${LOUD}"', "loudness: 0, colour: red")
    with pytest.raises(ConfigError) as caught:
        load(write(tmp_path, {"organism.yaml": broken, "my_providers.py": OWN}))
    assert {problem.path for problem in caught.value.problems} == {
        "llm.backends[1].loudness",
        "llm.backends[1].colour",
    }


@dataclass
class Echo(Backend):
    """A provider of one's own, which refuses a field of its own."""

    provider: str = "echo"
    loudness: int = 1

    @classmethod
    def check(cls, given: Mapping[str, Any]) -> None:
        if given.get("loudness", cls.loudness) > 10:
            raise ConfigError("loudness is at most 10")
        super().check(given)


def test_a_provider_of_one_s_own_refuses_its_fields_with_their_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(cast(dict[str, Any], PROVIDER_CLASSES), "echo", Echo)
    text = "organism: {name: x}\nllm:\n  backends:\n    - {provider: echo, options: {loudness: 11}}\n"
    problem = only(problems_of(text))
    assert (problem.line, problem.path, problem.message) == (4, "llm.backends[0]", "loudness is at most 10")
    with pytest.raises(ConfigError, match="at most 10"):
        Echo(loudness=11)
