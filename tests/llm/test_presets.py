"""Names that say which models are meant, and how they are asked."""

from __future__ import annotations

from typing import Any

import pytest

from tests.llm.callers import Handler, running
from xml_pipeline.errors import BackendTimeoutError, ConfigError, InvalidRequestError
from xml_pipeline.llm import LLMRequest, LLMResponse, Router, Timeouts
from xml_pipeline.llm.http.backend import Backend
from xml_pipeline.llm.presets import Preset
from xml_pipeline.llm.providers.scripted import Rule, ScriptedBackend
from xml_pipeline.llm.section import build_router
from xml_pipeline.testing import run_in_virtual_time


def backend() -> ScriptedBackend:
    return ScriptedBackend(rules=(Rule(reply="x"),))


CAREFUL = Preset(("a", "b"), temperature=0.0, max_output_tokens=77, reasoning_effort="high", cache_ttl="1h")


@pytest.mark.parametrize("streams", [False, True])
async def test_a_preset_says_what_the_call_leaves_open(streams: bool) -> None:
    asked = backend()
    router = Router([asked], models={"careful": CAREFUL})
    if streams:
        _ = [event async for event in router.stream("careful", "hello")]
    else:
        await router.complete("careful", "hello")
    (request,) = asked.requests
    assert (request.model, request.temperature, request.max_tokens) == ("a", 0.0, 77)
    assert (request.reasoning_effort, request.cache_ttl) == ("high", "1h")


async def test_what_the_call_says_goes_first_and_others_are_not_touched() -> None:
    asked = backend()
    router = Router([asked], models={"careful": CAREFUL, "plain": "a"})
    await router.complete(
        "careful", "hello", temperature=0.9, max_tokens=5, reasoning_effort="low", cache_ttl="5m"
    )
    await router.complete("plain", "hello")
    first, second = asked.requests
    assert (first.temperature, first.max_tokens, first.reasoning_effort, first.cache_ttl) == (
        0.9,
        5,
        "low",
        "5m",
    )
    assert (second.temperature, second.max_tokens, second.reasoning_effort) == (None, 4096, None)


def test_its_times_are_its_own() -> None:
    class Slow(Backend):
        offline = True

        async def _do_completion(self, client: Any, request: LLMRequest) -> LLMResponse:
            import asyncio

            await asyncio.sleep(30)
            return LLMResponse("late", "m")

    async def main() -> None:
        models = {"quick": Preset(("m",), timeouts=Timeouts(request=10)), "slow": "m"}
        router = Router([Slow(name="s", supported_models=["m"])], models=models, retries=0)
        with pytest.raises(BackendTimeoutError):
            await router.complete("quick", "hello")
        assert (await router.complete("slow", "hello")).content == "late"

    run_in_virtual_time(main())


def test_a_chain_over_a_preset_with_parameters_is_refused_because_nobody_would_hear_them() -> None:
    with pytest.raises(
        ConfigError, match=r"models\.both leads to 'careful', which has parameters of its own"
    ):
        Router([backend()], models={"careful": CAREFUL, "both": ["x", "careful"]})
    Router([backend()], models={"plain": Preset(("a",)), "both": ["x", "plain"]})


async def test_a_call_that_names_no_model_is_routed_by_what_it_is_for() -> None:
    asked = backend()
    router = Router(
        [asked], models={"big": "gpt", "small": "llama"}, routing={"verify": "small", "default": "big"}
    )
    await router.complete(None, "hello")
    await router.complete(None, "hello", operation="verify")
    with running(Handler("one", operation="verify")):
        await router.complete(None, "hello")
        await router.complete(None, "hello", operation="write")
        await router.complete("own", "hello")
    assert [request.model for request in asked.requests] == ["gpt", "llama", "llama", "gpt", "own"]


async def test_where_nothing_says_which_model_it_is_said_what_to_do() -> None:
    router = Router([backend()], routing={"verify": "small"})
    with pytest.raises(InvalidRequestError, match=r"calls without an operation \(it knows: verify\)"):
        await router.complete(None, "hello")
    with pytest.raises(InvalidRequestError, match="the operation 'write'"):
        await router.complete(None, "hello", operation="write")


def test_in_yaml() -> None:
    router = build_router(
        {
            "request_timeout": 100,
            "models": {
                "careful": {
                    "chain": ["a", "b"],
                    "thinking": "off",
                    "max_output_tokens": 9,
                    "timeouts": {"idle": 5},
                },
                "one": {"chain": "a", "cache_ttl": "1h"},
                "plain": ["a", "b"],
            },
            "routing": {"default": "plain"},
        }
    )
    assert dict(router.models) == {"careful": ("a", "b"), "one": ("a",), "plain": ("a", "b")}
    careful = router._how["careful"]
    assert (careful.reasoning_effort, careful.max_output_tokens) == ("none", 9)
    assert careful.timeouts == Timeouts(request=100, idle=5)
    assert set(router._how) == {"careful", "one"}


@pytest.mark.parametrize(
    ("models", "said"),
    [
        ({"a": {"chain": []}}, "chain"),
        ({"a": {"temperature": 1}}, "chain"),
        ({"a": {"chain": "x", "thinking": "low", "reasoning_effort": "low"}}, "say the same"),
        ({"a": {"chain": "x", "cache_ttl": "2h"}}, "cache_ttl"),
        ({"a": {"chain": "x", "temprature": 1}}, "temprature"),
        ({"a": {"chain": "x", "temperature": 0}, "b": ["a"]}, "models.b leads to 'a'"),
        ({"a": {"chain": ["a"]}}, "leads back to itself"),
    ],
)
def test_mistakes_are_named(models: Any, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build_router({"models": models})
    assert said in str(caught.value)
