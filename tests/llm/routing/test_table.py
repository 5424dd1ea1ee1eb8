"""From a model's name to backends: rules, globs, maps, aliases, chains; and what is said when there are none."""

from __future__ import annotations

import contextvars
from collections.abc import Mapping
from typing import Any

import pytest

from tests.emulators.openai import OpenAIEmulator
from tests.llm.callers import Handler, running
from xml_pipeline.errors import BackendError, ConfigError, InvalidRequestError, NoBackendError
from xml_pipeline.llm import (
    PROVIDER_CLASSES,
    Router,
    Timeouts,
    complete,
    configure_router,
    forbid_real_requests,
    get_router,
    use_router,
)
from xml_pipeline.llm.http.backend import Backend
from xml_pipeline.llm.providers.openai import OpenAIBackend
from xml_pipeline.llm.providers.scripted import Rule, ScriptedBackend
from xml_pipeline.llm.routing.table import real_requests_forbidden


def backend(name: str, *models: str, **settings: Any) -> ScriptedBackend:
    return ScriptedBackend(name=name, supported_models=models, rules=(Rule(reply=name),), **settings)


async def asked(router: Router, model: str) -> str:
    return (await router.complete(model, "hello")).backend


async def test_supported_models_are_exact_names_or_globs() -> None:
    router = Router([backend("exact", "llama3"), backend("glob", "qwen*", "*-Mini")])
    assert await asked(router, "llama3") == "exact"
    assert await asked(router, "qwen2.5:7b") == "glob"
    assert await asked(router, "gpt-4o-mini") == "glob"
    with pytest.raises(NoBackendError):
        await asked(router, "llama3.1")


async def test_a_providers_own_rule_holds_when_nothing_is_configured() -> None:
    class Grok(ScriptedBackend):
        def serves_model(self, model: str) -> bool:
            return model.startswith("grok-")

    router = Router([Grok(name="xai"), backend("rest", "*", priority=2)])
    assert await asked(router, "grok-4.1") == "xai"
    assert await asked(router, "other") == "rest"
    narrowed = Router([Grok(name="xai", supported_models=["grok-4.1"])])
    with pytest.raises(NoBackendError):
        await asked(narrowed, "grok-3")


async def test_a_model_map_renames_and_serves_its_keys() -> None:
    renaming = backend("a", "only-this", model_map={"smart": "claude-sonnet-4@2026"})
    response = await Router([renaming]).complete("smart", "hello")
    assert response.model == "claude-sonnet-4@2026"
    assert renaming.requests[0].model == "claude-sonnet-4@2026"


async def test_an_alias_may_be_one_model_a_chain_or_lead_to_others() -> None:
    down = ScriptedBackend(name="down", supported_models=["big"], rules=(Rule(error="OverloadedError"),))
    router = Router(
        [down, backend("b", "medium"), backend("c", "small")],
        models={"smart": ["big", "absent", "medium"], "any": ["smart", "small"], "quick": "small"},
    )
    assert await asked(router, "quick") == "c"
    assert await asked(router, "smart") == "b"
    assert await asked(router, "any") == "b"
    assert [len(group) for group in router.routes("any")] == [1, 1, 1]
    response = await router.complete("smart", "hello")
    assert response.model == "medium"


async def test_a_chain_is_walked_in_its_order_whatever_the_priorities() -> None:
    router = Router(
        [backend("first", "small", priority=1), backend("second", "big", priority=9)],
        models={"smart": ["big", "small"]},
    )
    assert await asked(router, "smart") == "second"


def test_an_alias_that_leads_to_itself_or_nowhere_is_a_mistake() -> None:
    with pytest.raises(ConfigError, match="a → b → a leads back to itself"):
        Router(models={"a": ["b"], "b": ["a"]})
    with pytest.raises(ConfigError, match=r"models\.a is empty"):
        Router(models={"a": []})


async def test_nobody_serves_the_model_names_the_configured_and_the_nearest() -> None:
    router = Router([backend("a", "llama3.3"), backend("b", "mistral")], models={"smart": ["llama3.3"]})
    with pytest.raises(NoBackendError) as caught:
        await router.complete("lama3.3", "hello")
    assert str(caught.value) == (
        "no configured backend serves the model 'lama3.3'. Did you mean 'llama3.3'? Configured: a"
        " (scripted: llama3.3), b (scripted: mistral). Name the model in a backend's supported_models or model_map,"
        " or add a backend that serves it"
    )


class Keyed(ScriptedBackend):
    requires_key = True
    default_key_env = "KEYED_API_KEY"


async def test_a_backend_without_its_key_is_passed_over_and_only_then_named() -> None:
    keyless = Keyed(name="keyless", rules=(Rule(reply="x"),))
    router = Router([keyless, backend("b", "m")])
    assert await asked(router, "m") == "b"
    with pytest.raises(
        NoBackendError, match=r"backend 'keyless' serves 'other' but has no key; set the .* KEYED_API_KEY"
    ):
        await asked(router, "other")
    with pytest.raises(NoBackendError, match="OTHER_KEY"):
        await asked(Router([Keyed(api_key_env="OTHER_KEY")]), "m")
    assert [(one.key, one.health, one.key_variable) for one in router.describe()] == [
        ("missing", "no key", "KEYED_API_KEY"),
        ("not needed", "healthy", ""),
    ]


async def test_an_unconfigured_router_says_what_to_do() -> None:
    with use_router(Router()), pytest.raises(NoBackendError, match=r"llm\.backends .* configure_router"):
        await complete("m", "hello")


def test_two_backends_of_one_name_are_a_mistake() -> None:
    with pytest.raises(ConfigError, match="two backends have the name 'a'"):
        Router([backend("a"), backend("a")])


async def test_the_default_router_is_replaced_and_scoped() -> None:
    mine, other = Router([backend("mine", "*")]), Router([backend("other", "*")])
    assert configure_router(mine) is mine
    try:
        assert get_router() is mine
        with use_router(other):
            assert get_router() is other
            assert (await complete("m", "hello")).backend == "other"
        assert (await complete("m", "hello")).backend == "mine"
        assert configure_router([backend("third", "*")], retries=0) is get_router()
        with pytest.raises(TypeError):
            configure_router(mine, retries=0)
    finally:
        configure_router([])


async def test_forbidden_real_requests_leave_only_what_is_on_this_machine() -> None:
    class Remote(Backend):
        def serves_model(self, model: str) -> bool:
            return True

    remote = Remote(name="remote", base_url="https://api.example.com")
    with pytest.raises(NoBackendError, match="real requests are forbidden"):
        await Router([remote]).complete("m", "hello")
    assert await asked(Router([remote, backend("local", "*", priority=2)]), "m") == "local"
    loopback = Remote(base_url="http://127.0.0.1:9")
    assert len(Router([loopback]).routes("m")[0]) == 1


def test_real_requests_are_forbidden_where_it_is_said_and_no_longer() -> None:
    def scene() -> None:
        assert not real_requests_forbidden({})
        with forbid_real_requests() as forbidden:
            assert real_requests_forbidden({})
        assert not real_requests_forbidden({})
        forbidden.__exit__(None, None, None)  # twice is once
        assert not real_requests_forbidden({})
        for value, forbids in (("1", True), ("true", True), ("0", False), ("false", False), ("", False)):
            assert real_requests_forbidden({"XML_PIPELINE_FORBID_REAL_REQUESTS": value}) is forbids

    contextvars.Context().run(scene)


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("api.example.com", "no http or https address"),
        ("ftp://example.com", "no http or https address"),
        ("https://user:pw@example.com", "neither user, password"),
        ("https://example.com/v1?key=1", "neither user, password"),
        ("https://user:pw@example.com:port", "no http or https address"),
        ("https://example.com:99999", "no http or https address"),
        ("https://exa mple.com", "no http or https address"),
        ("https://[::1/v1", "no http or https address"),
    ],
)
def test_a_bad_base_url_is_a_mistake_that_shows_no_password(url: str, what: str) -> None:
    with pytest.raises(ConfigError, match=what) as caught:
        Backend(name="a", base_url=url)
    assert "pw" not in str(caught.value)


def test_a_key_is_taken_without_what_copying_leaves_around_it() -> None:
    assert Backend(api_key=" sk-1234\n").api_key == "sk-1234"


@pytest.mark.parametrize("key", ["sk-\u2026end", "sk-1234 sk-5678", "sk-12\r\nX-Evil: 1"])
def test_a_key_that_no_header_can_carry_is_a_mistake_that_names_the_variable(key: str) -> None:
    with pytest.raises(ConfigError, match=r"environment variable MY_KEY .* copy it again") as caught:
        Backend(name="a", api_key=key, api_key_env="MY_KEY")
    assert key[:7] not in str(caught.value)


def test_a_misspelt_model_of_a_provider_names_what_that_provider_serves() -> None:
    router = Router([PROVIDER_CLASSES["anthropic"](api_key="k"), PROVIDER_CLASSES["openai"](api_key="k")])
    with pytest.raises(
        NoBackendError, match=r"Did you mean 'claude-\*'\? Configured: anthropic .*: claude-\*\)"
    ):
        router.routes("cluade-sonnet-4")


@pytest.mark.parametrize("options", [{"timeout": "soon"}, {"temperature": "hot"}, {"top_p": True}])
async def test_an_option_that_is_no_number_is_the_callers_mistake(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequestError, match=f"{next(iter(options))} is a number"):
        await Router([backend("a", "*")]).complete("m", "hello", **options)


@pytest.mark.parametrize("messages", [None, 7, b"x", {"role": "user", "content": "x"}])
async def test_messages_that_are_no_list_are_the_callers_mistake(messages: Any) -> None:
    with pytest.raises(InvalidRequestError, match="messages is a list of dicts, or one text"):
        await Router([backend("a", "*")]).complete("m", messages)


async def test_a_request_cannot_take_the_key_elsewhere() -> None:
    import httpx

    from xml_pipeline.llm.http.dialect import WireRequest
    from xml_pipeline.llm.http.transport import Connection

    a = Backend(name="a", base_url="https://api.example.com/v1", api_key="sk-secret-key")
    sent: list[str] = []

    class Recording(Connection):
        def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Any:
            sent.append(httpx.URL(url).host)

    connection = Recording(None)  # type: ignore[arg-type]  # nothing is sent
    for path in ("@evil.example.com/v1", "https://evil.example.com", ".evil.example.com/"):
        with pytest.raises(InvalidRequestError, match="would leave"):
            a._post(connection, WireRequest(path, {}))
    assert not sent
    a._post(connection, WireRequest("/../../x", {}))
    assert sent == ["api.example.com"]


@pytest.mark.parametrize(
    ("messages", "what"),
    [
        ([], "empty"),
        ([{"role": "robot", "content": "x"}], r"messages\[0\]: role 'robot'"),
        (
            [{"role": "user", "content": "x"}, {"role": "user"}],
            r"messages\[1\]: a user message needs content",
        ),
        ([{"role": "user", "content": 7}], "content is text or a list of parts, not int"),
        ([{"role": "user", "content": [{"text": "x"}]}], "a content part is a dict with a type"),
        ([{"role": "user", "content": [{"type": "text"}]}], "text part needs its text"),
        ([{"role": "tool", "content": "x"}], "tool_call_id"),
        (["hello"], "a message is a dict"),
    ],
)
async def test_wrong_messages_are_named_before_anything_is_asked(messages: list[Any], what: str) -> None:
    a = backend("a", "*")
    with pytest.raises(InvalidRequestError, match=what):
        await Router([a]).complete("m", messages)
    assert not a.requests


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"max_tokens": 0}, "max_tokens is a whole number from 1"),
        ({"max_tokens": True}, "max_tokens"),
        ({"timeout": 0}, "timeout"),
        ({"tools": [7]}, "a tool is"),
        ({"tools": [{"name": "a"}, {"function": {"name": "a"}}]}, "two tools have one name"),
        ({"tools": [{"name": "a"}], "tool_choice": "b"}, "tool_choice 'b' names no tool"),
    ],
)
async def test_wrong_options_are_named_before_anything_is_asked(options: dict[str, Any], what: str) -> None:
    a = backend("a", "*")
    with pytest.raises(InvalidRequestError, match=what):
        await Router([a]).complete("m", "hello", **options)
    assert not a.requests


async def test_options_reach_the_backend_in_neutral_shapes() -> None:
    a = backend("a", "*")
    await Router([a]).complete(
        "m",
        [{"role": "developer", "content": "be brief"}, {"role": "user", "content": "hello"}],
        tools=[
            {
                "type": "function",
                "function": {"name": "add", "description": "adds", "parameters": {"type": "object"}},
                "cache_control": {"type": "ephemeral"},
            }
        ],
        tool_choice={"type": "function", "function": {"name": "add"}},
        stop="END",
        temperature=None,
        top_p=0.5,
        seed=7,
        reasoning_effort="low",
        cache_prompt=True,
        changing=2,
        cache_key="k",
        extra={"user": "u"},
    )
    request = a.requests[0]
    assert request.messages[0]["role"] == "system"
    assert (request.tools[0].name, request.tools[0].description) == ("add", "adds")
    assert request.tool_choice == "add"
    assert (request.stop, request.temperature, request.top_p, request.seed) == (("END",), None, 0.5, 7)
    assert (request.reasoning_effort, request.cache_prompt, request.cache_key) == ("low", True, "k")
    assert (request.changing, request.tools[0].cache_control) == (2, {"type": "ephemeral"})
    assert request.extra == {"user": "u"}
    assert request.prompt_tokens_estimate > 0


async def test_an_earlier_response_is_a_message() -> None:
    a = backend("a", "*")
    router = Router([a])
    first = await router.complete("m", "hello")
    await router.complete(
        "m", [{"role": "user", "content": "hello"}, first, {"role": "user", "content": "go on"}]
    )
    assert a.requests[1].messages[1] == {"role": "assistant", "content": "a"}


async def test_the_name_of_the_agent_reaches_rules_but_is_the_pumps_to_say() -> None:
    a = backend("a", "*")
    with running(Handler("researcher")):
        await Router([a]).complete("m", "hello", agent_id="other")
    assert a.requests[0].agent == "researcher"


def test_a_custom_registration_and_a_built_in_one_are_found_and_forgotten() -> None:
    assert "scripted" in PROVIDER_CLASSES
    assert PROVIDER_CLASSES["scripted"] is ScriptedBackend
    PROVIDER_CLASSES["mine"] = Keyed
    assert "mine" in list(PROVIDER_CLASSES)
    assert len(PROVIDER_CLASSES) == len(list(PROVIDER_CLASSES))
    del PROVIDER_CLASSES["mine"]
    with pytest.raises(KeyError):
        PROVIDER_CLASSES["mine"]


def test_an_entry_point_registers_a_provider_and_cannot_replace_a_built_in(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from xml_pipeline.llm.providers import BUILTIN, ProviderClasses

    info = tmp_path / "plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        f"[xml_pipeline.providers]\nplugged = {__name__}:Keyed\nscripted = {__name__}:Keyed\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    classes = ProviderClasses(BUILTIN)
    assert classes["plugged"].__name__ == "Keyed"
    assert classes["scripted"] is ScriptedBackend
    assert list(classes).count("scripted") == 1


async def test_supports_asks_every_backend_of_the_model() -> None:
    router = Router([backend("a", "m", native_tools=False), backend("b", "m", "n")], timeouts=Timeouts())
    assert not router.supports("tools", "m")
    assert router.supports("tools", "n")


async def test_a_backend_is_not_tried_until_somebody_asked_it() -> None:
    async with OpenAIEmulator() as server:
        there = OpenAIBackend(
            name="there", base_url=server.base_url, api_key=server.key, supported_models=["m"]
        )
        gone = OpenAIBackend(
            name="gone", base_url="http://127.0.0.1:9", api_key="k", supported_models=["other"]
        )
        async with Router([there, gone], retries=0) as router:
            assert [each.health for each in router.describe()] == ["not tried", "not tried"]
            await router.complete("m", "hello")
            with pytest.raises(BackendError):
                await router.complete("other", "hello")
            answered, failed = router.describe()
            assert answered.health == "healthy"
            assert failed.health == "failing"
