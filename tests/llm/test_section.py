"""The `llm:` section: each key has an effect, each mistake is named with its path."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pytest

from xml_pipeline.errors import BackendError, BudgetExceededError, ConfigError
from xml_pipeline.events import Event, LLMCalled
from xml_pipeline.llm import PROVIDER_CLASSES, Router
from xml_pipeline.llm.http.backend import Backend
from xml_pipeline.llm.providers.scripted import ScriptedBackend
from xml_pipeline.llm.providers.scripted.section import RuleSection
from xml_pipeline.llm.section import BackendSection, BudgetsSection, LLMSection, PriceSection, build_router
from xml_pipeline.testing import run_in_virtual_time

Section = dict[str, Any]


def scripted(name: str = "a", **more: Any) -> Section:
    return {"provider": "scripted", "name": name, **more}


def router(**section: Any) -> Router:
    section.setdefault("backends", [scripted()])
    return build_router(section, environ={}, random=lambda: 1.0)


async def seconds_of(one: Router, model: str = "m", **options: Any) -> tuple[str, float]:
    """(content or the error's class, virtual seconds)."""
    started = asyncio.get_running_loop().time()
    try:
        outcome = (await one.complete(model, "hello", **options)).content
    except (BackendError, BudgetExceededError) as error:
        outcome = type(error).__name__
    return outcome, asyncio.get_running_loop().time() - started


def played(**section: Any) -> tuple[str, float]:
    async def main() -> tuple[str, float]:
        return await seconds_of(router(**section))

    return run_in_virtual_time(main())


def failing(**rule: Any) -> list[Section]:
    return [scripted(rules=[{"error": "ServerError", **rule}])]


# One entry for each key of the section; the test below fails when a key has none.

EFFECTS: dict[str, Callable[[], object]] = {}


def effect(key: str) -> Callable[[Callable[[], object]], Callable[[], object]]:
    def add(function: Callable[[], object]) -> Callable[[], object]:
        EFFECTS[key] = function
        return function

    return add


@effect("strategy")
def _strategy() -> None:
    async def main() -> list[str]:
        one = router(strategy="round-robin", backends=[scripted("a"), scripted("b")])
        return [(await one.complete("m", "x")).backend for _ in range(2)]

    assert run_in_virtual_time(main()) == ["a", "b"]


@effect("retries")
def _retries() -> None:
    assert played(retries=0, backends=failing(times=1))[0] == "ServerError"
    assert (
        played(retries=1, backends=[scripted(rules=[{"error": "ServerError", "times": 1}, {"reply": "x"}])])[
            0
        ]
        == "x"
    )


@effect("retry_base_delay")
def _retry_base_delay() -> None:
    assert played(retries=2, retry_base_delay=5, backends=failing())[1] == 15


@effect("retry_max_delay")
def _retry_max_delay() -> None:
    assert played(retries=2, retry_base_delay=5, retry_max_delay=6, backends=failing())[1] == 11


@effect("request_timeout")
def _request_timeout() -> None:
    assert played(request_timeout=3, backends=[scripted(rules=[{"latency": 9}])]) == (
        "BackendTimeoutError",
        3,
    )


@effect("attempt_timeout")
def _attempt_timeout() -> None:
    slow = scripted(rules=[{"latency": 9, "times": 1}, {"reply": "x"}])
    assert played(attempt_timeout=2, retry_base_delay=0.001, backends=[slow]) == (
        "x",
        pytest.approx(2, abs=0.1),
    )


@effect("connect_timeout")
def _connect_timeout() -> None:
    async def main() -> None:
        one = router(connect_timeout=1.5, backends=[http()])
        client = await one._endpoints["h"].transport.open()
        assert client.session.timeout.connect == 1.5
        await one.aclose()

    with_http_provider(main)


def _stream_outcome(**section: Any) -> tuple[str, float]:
    async def main() -> tuple[str, float]:
        one, loop = router(**section), asyncio.get_running_loop()
        try:
            async for _ in one.stream("m", "hello"):
                pass
        except BackendError as error:
            return str(error), loop.time()
        return "", loop.time()

    return run_in_virtual_time(main())


@effect("first_token_timeout")
def _first_token_timeout() -> None:
    slow = [scripted(rules=[{"latency": 9, "reply": "x"}])]
    error, seconds = _stream_outcome(first_token_timeout=4, retries=0, backends=slow)
    assert "no content within 4 s" in error
    assert seconds == 4


@effect("idle_timeout")
def _idle_timeout() -> None:
    assert router(idle_timeout=7)._shared.timeouts.idle == 7  # its effect: test_streaming


@effect("hedge_after")
def _hedge_after() -> None:
    slow = scripted("a", rules=[{"latency": 50, "reply": "slow"}])
    quick = scripted("b", rules=[{"latency": 1, "reply": "quick"}], priority=2)
    assert played(hedge_after=2, backends=[slow, quick]) == ("quick", 3)


@effect("proxy")
def _proxy() -> None:
    assert (
        router(proxy="http://127.0.0.1:3128")._endpoints["a"].transport.settings.proxy
    )  # effect: test_transport


@effect("trust_env")
def _trust_env() -> None:
    assert (
        router(trust_env=False)._endpoints["a"].transport.settings.trust_env is False
    )  # effect: test_transport


@effect("ca_file")
def _ca_file() -> None:
    async def main() -> None:
        one = router(ca_file="/no/such/file.pem", backends=[http(base_url="https://127.0.0.1:1")])
        with pytest.raises(ConfigError, match=r"ca_file '/no/such/file\.pem'"):
            await one._endpoints["h"].transport.open()

    with_http_provider(main)


@effect("offline")
def _offline() -> None:
    keyed = [{"provider": "needs-key", "name": "k"}]

    async def main() -> None:
        one = build_router({"offline": True, "backends": keyed}, environ={})
        answer = await one.complete("any", "hello")
        assert answer.backend == "offline"
        assert "offline" in answer.content
        live = build_router({"offline": True, "backends": keyed}, environ={"NEEDS_KEY": "k"})
        assert list(live.backends) == ["k"]
        assert list(build_router({"offline": True}, environ={}).backends) == ["offline"]
        assert list(build_router({}, environ={}).backends) == []

    with_http_provider(main)


@effect("models")
def _models() -> None:
    async def main() -> str:
        one = router(
            models={"smart": ["big", "small"], "s": "small"}, backends=[scripted(supported_models=["small"])]
        )
        assert (await one.complete("s", "x")).model == "small"
        return (await one.complete("smart", "x")).model

    assert run_in_virtual_time(main()) == "small"


@effect("budgets")
def _budgets() -> None:
    assert played(budgets={"organism": {"tokens": 1}})[0] == "BudgetExceededError"


@effect("prices")
def _prices() -> None:
    async def main() -> float | None:
        section = {"m*": {"input": 1e6, "output": 0}}
        backends = [scripted(rules=[{"reply": "x", "usage": {"prompt_tokens": 3}}])]
        return (await router(prices=section, backends=backends).complete("m1", "x")).cost

    assert run_in_virtual_time(main()) == 3


@effect("modules")
def _modules() -> None:
    with pytest.raises(ConfigError, match="no_such_module"):
        router(modules=["no_such_module"])
    router(modules=["json"])  # its effect in a file: tests/config/test_llm_section.py


@effect("on_event")
def _on_event() -> None:
    one = router(on_event="tests.llm.test_section:observe", backends=[scripted("a")])
    told: list[Event] = []
    one.on_event = told.append
    asyncio.run(one.complete("m", "hello"))
    assert [type(event) for event in OBSERVED] == [type(event) for event in told] == [LLMCalled]


OBSERVED: list[Event] = []


def observe(event: Event) -> None:
    OBSERVED.append(event)


@effect("routing")
def _routing() -> None:
    one = router(routing={"default": "m"}, backends=[scripted("a")])
    assert asyncio.run(one.complete(None, "hello")).backend == "a"


@effect("ledger")
def _ledger() -> None:
    assert router(ledger="usage.db").file is not None  # its effect in a file: tests/config/test_effects.py


@effect("backends")
def _backends() -> None:
    assert list(router(backends=[scripted("a"), scripted("b")]).backends) == ["a", "b"]


@pytest.mark.parametrize("key", LLMSection.model_fields)
def test_every_key_of_the_section_has_an_effect(key: str) -> None:
    EFFECTS[key]()


# Backends


@dataclass
class NeedsKey(Backend):
    provider: str = "needs-key"
    base_url: str = "http://127.0.0.1:1"
    colour: str = "red"
    shades: tuple[str, ...] = field(default=())

    requires_key: ClassVar[bool] = True
    default_key_env: ClassVar[str] = "NEEDS_KEY"

    def serves_model(self, model: str) -> bool:
        return True


def with_http_provider(main: Callable[[], Any]) -> None:
    PROVIDER_CLASSES["needs-key"] = NeedsKey
    try:
        asyncio.run(main())
    finally:
        del PROVIDER_CLASSES["needs-key"]


def http(**more: Any) -> Section:
    return {"provider": "needs-key", "name": "h", **more}


@pytest.fixture
def needs_key() -> Any:
    PROVIDER_CLASSES["needs-key"] = NeedsKey
    yield NeedsKey
    del PROVIDER_CLASSES["needs-key"]


def built(environ: dict[str, str] | None = None, **section: Any) -> Backend:
    return BackendSection.model_validate(section).backend(environ or {})


def test_every_key_of_a_backend_arrives(needs_key: Any) -> None:
    given: Section = {
        "name": "mine",
        "api_key_env": "OTHER",
        "base_url": "http://127.0.0.1:9/v1/",
        "priority": 7,
        "rate_limit_tpm": 1000,
        "rate_limit_rpm": 10,
        "max_concurrent": 3,
        "supported_models": ["a", "b*"],
        "model_map": {"x": "y"},
        "headers": {"X-Team": "blue"},
    }
    backend = built(
        {"OTHER": "the-key", "NEEDS_KEY": "not this"},
        provider="needs-key",
        **given,
        options={"colour": "blue"},
    )
    assert isinstance(backend, NeedsKey)
    assert (backend.api_key, backend.base_url, backend.colour) == ("the-key", "http://127.0.0.1:9/v1", "blue")
    assert (backend.name, backend.priority, backend.max_concurrent) == ("mine", 7, 3)
    assert (backend.rate_limit_tpm, backend.rate_limit_rpm) == (1000, 10)
    assert tuple(backend.supported_models) == ("a", "b*")
    assert (backend.model_map, backend.headers) == ({"x": "y"}, {"X-Team": "blue"})
    assert {*given, "provider", "options", "api_key_ref"} == set(BackendSection.model_fields)
    del given["api_key_env"]
    referred = built({"XML_PIPELINE_KEY_WORK": "its-key"}, provider="needs-key", api_key_ref="work", **given)
    assert (referred.api_key, referred.api_key_ref) == ("its-key", "work")


def test_the_usual_variable_is_read_when_none_is_named(needs_key: Any) -> None:
    assert built({"NEEDS_KEY": "k"}, provider="needs-key").api_key == "k"
    assert built({}, provider="needs-key").key_missing


def test_keys_of_single_providers() -> None:
    compatible = built(provider="openai-compatible", preset="vllm", native_tools=False, native_schema=False)
    assert compatible.base_url == "http://localhost:8000/v1"
    assert not compatible.supports("tools", "m")
    assert not compatible.supports("schema", "m")
    ollama = built(provider="ollama", keep_alive="30m", num_ctx=8192)
    assert (getattr(ollama, "keep_alive"), getattr(ollama, "num_ctx")) == ("30m", 8192)  # noqa: B009 - not of Backend


async def test_rules_of_a_scripted_backend() -> None:
    rules = [
        {
            "match": "hi (.*)",
            "reply": r"hello \1",
            "model": "big",
            "agent": "greeter",
            "finish_reason": "length",
        },
        {
            "match": "tool",
            "tool": "add",
            "arguments": {"a": 1},
            "calls": [{"tool": "say", "arguments": {"text": r"<\g<0>>"}}],
            "times": 1,
        },
        {"on": "tool", "reply": "done", "usage": {"prompt_tokens": 1, "completion_tokens": 2}},
        {"match": "late", "error": "RateLimitedError", "retry_after": 900, "latency": 0.001},
        {"reply": "ab", "chunks": ["a", "b"], "error": "ServerError", "fail_after": 1},
    ]
    assert {key for rule in rules for key in rule} == set(RuleSection.model_fields)
    one = build_router({"retries": 0, "backends": [scripted(rules=rules)]}, environ={})
    response = await one.complete("big", "hi Bob", agent_id="greeter")
    assert (response.content, response.finish_reason) == ("hello Bob", "length")
    calls = (await one.complete("m", "tool")).tool_calls
    assert [(call.name, call.arguments) for call in calls] == [("add", {"a": 1}), ("say", {"text": "<tool>"})]
    result = [{"role": "tool", "tool_call_id": "1", "content": "2"}]
    assert (await one.complete("m", result)).usage["total_tokens"] == 3
    with pytest.raises(BackendError) as caught:
        await one.complete("m", "late", timeout=5)
    assert caught.value.retry_after == 900


def test_budgets_and_prices_in_full() -> None:
    section = BudgetsSection.model_validate(
        {
            "organism": [{"usd": 5, "per": "day"}, {"usd": 50, "per": "month", "warn_at": [0.5, 0.9]}],
            "agents": {"*": {"tokens": 10}, "researcher": [{"tokens": 20}, {"usd": 1}]},
            "thread": {"tokens": 30},
            "conversation": {"tokens": 40},
            "operations": {"write": {"usd": 2, "output_tokens": 50}, "verify": {"of": "write", "times": 0.5}},
            "zone": "Europe/Zurich",
            "default_max_tokens": 100,
        }
    )
    budgets = section.budgets()
    assert [(one.usd, one.per, one.warn_at) for one in budgets.organism] == [
        (5, "day", (0.8,)),
        (50, "month", (0.5, 0.9)),
    ]
    assert [one.tokens for one in budgets.agents["*"]] == [10]
    assert [(one.tokens, one.usd) for one in budgets.agents["researcher"]] == [(20, None), (None, 1)]
    assert (budgets.thread[0].tokens, budgets.conversation[0].tokens) == (30, 40)
    assert budgets.default_max_tokens == 100
    (half,) = budgets.operations["verify"]
    assert (half.usd, half.output_tokens, half.tokens) == (1.0, 25, None)
    assert budgets.zone == "Europe/Zurich"
    assert set(BudgetsSection.model_fields) == {
        "organism",
        "agents",
        "thread",
        "conversation",
        "operations",
        "zone",
        "default_max_tokens",
    }
    assert set(PriceSection.model_fields) == {
        *("input", "output", "cached", "cache_write", "cache_write_1h", "cache_storage"),
    }


@pytest.mark.parametrize(
    ("section", "path", "message"),
    [
        ({"strategy": "failovr"}, "llm.strategy", "did you mean 'failover'?"),
        ({"retrys": 3}, "llm.retrys", "there is no such key"),
        ({"retries": -1}, "llm.retries", "greater than or equal to 0"),
        ({"request_timeout": 0}, "llm.request_timeout", "greater than 0"),
        ({"backends": [{"provider": "opnai"}]}, "llm.backends[0].provider", "did you mean 'openai'?"),
        ({"backends": [{"provider": "openai", "api_key": "sk-secret"}]}, "llm.backends[0]", "api_key_env"),
        (
            {"backends": [scripted(keep_alive="5m")]},
            "llm.backends[0]",
            "knows no keep_alive; its own keys are native",
        ),
        ({"backends": [scripted(options={"priority": 1})]}, "llm.backends[0]", "options.priority is a key"),
        ({"backends": [scripted(base_url="nowhere")]}, "llm.backends[0]", "no http or https address"),
        (
            {"backends": [scripted(rules=[{"match": "("}])]},
            "llm.backends[0].rules[0]",
            "no regular expression",
        ),
        ({"backends": [scripted("x"), scripted("x")]}, "llm", "two backends have the name 'x'"),
        (
            {"backends": [scripted(max_concurrent=0)]},
            "llm.backends[0].max_concurrent",
            "greater than or equal to 1",
        ),
        ({"models": {"a": "b", "b": "a"}}, "llm", "leads back to itself"),
        ({"budgets": {"organism": {"per": "day"}}}, "llm.budgets.organism[0]", "limits something"),
        (
            {"budgets": {"agents": {"a": {"tokens": 1, "per": "year"}}}},
            "llm.budgets.agents.a[0].per",
            "'run', 'hour', 'day'",
        ),
    ],
)
def test_mistakes_are_named_with_their_path(section: Section, path: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build_router(section, environ={})
    assert [problem.path for problem in caught.value.problems] == [path]
    assert message in caught.value.problems[0].message
    assert "sk-secret" not in str(caught.value)


def test_pitfall_13_all_mistakes_come_at_once() -> None:
    section = {"strategy": "failovr", "retrys": 1, "backends": [{"provider": "opnai"}]}
    with pytest.raises(ConfigError) as caught:
        build_router(section)
    assert len(caught.value.problems) == 3


def test_a_section_of_the_seed_is_taken_as_it_stands() -> None:
    section = {
        "strategy": "failover",
        "retries": 3,
        "retry_base_delay": 1.0,
        "retry_max_delay": 60.0,
        "backends": [
            {
                "provider": "xai",
                "api_key_env": "XAI_API_KEY",
                "priority": 1,
                "rate_limit_tpm": 100000,
                "max_concurrent": 20,
            },
            {"provider": "anthropic", "api_key_env": "ANTHROPIC_API_KEY", "priority": 2},
            {"provider": "openai", "api_key_env": "OPENAI_API_KEY", "priority": 3},
            {
                "provider": "ollama",
                "base_url": "http://localhost:11434",
                "supported_models": ["llama3", "mistral"],
            },
        ],
    }
    one = build_router(section, environ={"XAI_API_KEY": "k", "ANTHROPIC_API_KEY": "k", "OPENAI_API_KEY": "k"})
    assert [
        one.routes(model)[0][0].name
        for model in ("grok-4.1", "claude-sonnet-4", "gpt-4o", "o3-mini", "mistral")
    ] == ["xai", "anthropic", "openai", "openai", "ollama"]


def test_the_section_has_a_json_schema_with_a_text_for_every_key() -> None:
    schema = LLMSection.model_json_schema()
    for name in (
        "LLMSection",
        "BackendSection",
        "RuleSection",
        "BudgetSection",
        "BudgetsSection",
        "PriceSection",
    ):
        part = schema if name == "LLMSection" else schema["$defs"][name]
        assert all(one.get("description") for one in part["properties"].values())


def test_a_scripted_backend_needs_no_key() -> None:
    assert isinstance(built(provider="scripted"), ScriptedBackend)
    assert not built(provider="scripted").key_missing


@pytest.mark.parametrize(
    ("budgets", "said"),
    [
        ({"operations": {"verify": {"of": "write", "times": 0.5}}}, "those that have: none"),
        (
            {"operations": {"a": {"tokens": 5}, "b": {"of": "a", "times": 2}, "c": {"of": "b", "times": 2}}},
            "operations.c is a multiple of 'b', which has no limits of its own; those that have: a",
        ),
        ({"operations": {"a": {"of": "a", "times": 2}}}, "those that have: none"),
        ({"operations": {"a": {"tokens": 5}, "b": {"of": "a", "times": 0}}}, "greater than 0"),
        ({"zone": "Mars/Olympus"}, "there is no time zone 'Mars/Olympus'"),
        ({"organism": {"per": "day", "soft": True}}, "`input_tokens`"),
    ],
)
def test_budgets_that_limit_nothing_are_refused(budgets: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build_router({"budgets": budgets})
    assert said in str(caught.value)
