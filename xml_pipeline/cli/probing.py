"""`llm test`: what works with a backend."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Mapping

from xml_pipeline.cli.models import router_of, summary
from xml_pipeline.config.nearest import listing, suggestion
from xml_pipeline.console.styled import visible
from xml_pipeline.errors import ConfigError, LLMError, PayloadError
from xml_pipeline.llm import Backend, Router, ToolSpec

SECONDS = 60.0
"""How long each of the two calls may take."""

_TOOL = ToolSpec(
    "add",
    "Adds two integers. Always use it for sums.",
    {
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
        "required": ["a", "b"],
        "additionalProperties": False,
    },
)


def probe(arguments: argparse.Namespace) -> int:
    """Make two calls; 1 when the plain one fails."""
    configured = router_of(arguments)
    backend = configured.backends.get(arguments.backend)
    if backend is None:
        names = configured.backends
        raise ConfigError(
            f"no backend '{arguments.backend}'; there are {listing(names) or 'none'}"
            f"{suggestion(arguments.backend, names)}"
        )
    if backend.key_missing:
        raise ConfigError(
            f"the backend '{arguments.backend}' has no key: set {backend.api_key_env or backend.default_key_env}"
        )
    model = arguments.model or _model(arguments.backend, backend, configured.models)
    return asyncio.run(_probe(Router([backend], retries=0), model))


def _model(name: str, backend: Backend, aliases: Mapping[str, tuple[str, ...]]) -> str:
    """A model that the backend serves: the first that its section or an alias names."""
    exact = [
        model for model in (*backend.model_map, *backend.supported_models) if not set("*?[") & set(model)
    ]
    chained = [model for chain in aliases.values() for model in chain if backend.serves_model(model)]
    found = [*exact, *chained]
    if not found:
        raise ConfigError(f"which model? Nothing in the llm section says what '{name}' serves: give --model")
    return found[0]


async def _probe(router: Router, model: str) -> int:
    async with router:
        try:
            response = await router.complete(
                model, "Reply with the one word: ready", max_tokens=200, timeout=SECONDS
            )
        except LLMError as error:
            print(f"answer: fails: {visible(str(error))}")
            return 1
        print(f"answer: works: {visible(response.content.strip())[:60]!r} ({summary(response)})")
        print(f"tools: {await _tools(router, model)}")
    return 0


async def _tools(router: Router, model: str) -> str:
    try:
        response = await router.complete(
            model,
            "What is 2 + 40? Use the tool.",
            tools=[_TOOL],
            max_tokens=1000,
            timeout=SECONDS,
        )
    except LLMError as error:
        return f"fail: {visible(str(error))}"
    if not response.tool_calls:
        return "the model did not call the tool; agents with `tools: xml` will work"
    call = response.tool_calls[0]
    try:
        works = call.name == _TOOL.name and call.arguments == {"a": 2, "b": 40}
    except PayloadError:
        works = False
    wrote = visible(f"{call.name}({call.arguments_text})")
    return f"work: {wrote}" if works else f"are called, but wrongly: {wrote}"
