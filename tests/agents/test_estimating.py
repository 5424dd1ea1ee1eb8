"""What a task would cost, before it is begun."""

from __future__ import annotations

import pytest

from xml_pipeline import ConfigError, HandlerMetadata, HandlerResponse, Organism
from xml_pipeline.agents import AgentSettings, Task, agent_listener
from xml_pipeline.errors import NoBackendError, RoutingError
from xml_pipeline.llm import PROVIDER_CLASSES, Backend, Price, Router
from xml_pipeline.llm.providers.scripted import Rule, ScriptedBackend
from xml_pipeline.pump import listener

PROMPT = "You answer questions about tides. " * 40
TASK = Task("When is the next spring tide?")


def organism(
    backend: Backend, *, model: str = "m", peers: tuple[str, ...] = (), memory: str = "none"
) -> Organism:
    settings = AgentSettings(model, PROMPT, max_turns=4, max_tokens=200, memory=memory)  # type: ignore[arg-type]

    async def helper(payload: Task, metadata: HandlerMetadata) -> HandlerResponse:
        return HandlerResponse.respond(payload)

    listeners = [agent_listener("bot", settings, peers=peers), listener("helper", helper)]
    return Organism("x", listeners, router=Router([backend], prices={"m": Price(10, 20)}))


def scripted() -> ScriptedBackend:
    return ScriptedBackend(rules=(Rule(reply="yes"),))


async def test_the_bill_lies_between_the_least_and_the_most_and_nobody_was_asked_for_it() -> None:
    backend = scripted()
    one = organism(backend)
    estimate = await one.estimate("bot", TASK)
    assert not backend.requests
    assert (estimate.listener, estimate.model, estimate.backend, estimate.priced_as) == (
        "bot",
        "m",
        "scripted",
        "m",
    )
    assert (estimate.turns, estimate.output_cap, estimate.caching) == (1, 200, "")
    assert 0 < estimate.stable_tokens < estimate.input_tokens < estimate.input_at_most
    assert estimate.usd_short is not None
    assert estimate.usd_once is not None
    assert estimate.usd_most is not None
    assert estimate.usd_most == (estimate.input_at_most * 10 + 200 * 20) / 1_000_000
    async with one:
        await one.ask("bot", TASK)
        cost = one.router.get_total_usage().cost
    assert cost is not None
    assert 0.7 * estimate.usd_short <= cost <= estimate.usd_once <= estimate.usd_most, (
        "a prompt is an estimate"
    )


async def test_an_agent_with_peers_may_take_all_its_turns_and_keeps_its_beginning_in_a_cache() -> None:
    alone, helped = organism(scripted()), organism(scripted(), peers=("helper",))
    one, several = await alone.estimate("bot", TASK), await helped.estimate("bot", TASK)
    assert (several.turns, several.caching) == (4, "5m")
    assert several.stable_tokens > one.stable_tokens, "its tools belong to the beginning"
    assert one.usd_most is not None
    assert several.usd_most is not None
    assert several.usd_most > 4 * one.usd_most
    remembering = organism(scripted(), memory="session")
    assert (await remembering.estimate("bot", TASK)).caching == "5m"


async def test_the_least_length_of_a_cache_and_its_price_are_the_provider_s() -> None:
    backend = PROVIDER_CLASSES["anthropic"](api_key="sk-ant-x", cache_ttl="1h")  # type: ignore[call-arg]
    estimate = await organism(backend, model="claude-opus-4-6", memory="session").estimate("bot", TASK)
    assert estimate.priced_as == "anthropic/claude-opus-4-6"
    assert (estimate.caching, estimate.least_cacheable, estimate.clears) == ("1h", 4096, False)
    assert estimate.usd_once is not None


async def test_what_cannot_be_known_is_said() -> None:
    one = organism(scripted())
    with pytest.raises(ConfigError, match="'helper' costs cannot be known before: it is no built-in agent"):
        await one.estimate("helper", TASK)
    with pytest.raises(RoutingError, match="no listener 'bott'"):
        await one.estimate("bott", TASK)
    unknown = Organism(
        "x",
        [agent_listener("bot", AgentSettings("m"))],
        router=Router([ScriptedBackend(supported_models=["other"])]),
    )
    with pytest.raises(NoBackendError):
        await unknown.estimate("bot", TASK)
