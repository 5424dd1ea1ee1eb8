"""`llm list` and `llm ask`."""

from __future__ import annotations

import argparse
import asyncio
import sys
from contextlib import aclosing

from xml_pipeline.cli.files import organism_file
from xml_pipeline.config import load
from xml_pipeline.console.overview import table
from xml_pipeline.console.render import count, money
from xml_pipeline.console.styled import plain, visible
from xml_pipeline.llm import BackendStatus, LLMResponse, Router, StreamEnd, TextDelta, Usage
from xml_pipeline.llm.section import LLMSection, build_router


def router_of(arguments: argparse.Namespace) -> Router:
    """The router that the organism's `llm` section describes. Raises ConfigError."""
    config = load(organism_file(arguments))
    return build_router(config.llm or LLMSection.model_validate({}), environ=config.environ)


def show(arguments: argparse.Namespace) -> int:
    """List the backends and the aliases."""
    router = router_of(arguments)
    found = router.describe()
    if not found:
        print("no backends: add some under `llm: backends:` in organism.yaml")
        return 0
    rows = [("BACKEND", "PROVIDER", "KEY", "MODELS", "LIMITS", "HEALTH"), *map(_row, found)]
    for each in table(rows, ""):
        print(plain(each).rstrip())
    if router.models:
        print()
        for each in table(
            [("ALIAS", "MODELS"), *((name, " → ".join(chain)) for name, chain in router.models.items())], ""
        ):
            print(plain(each).rstrip())
    return 0


def _row(each: BackendStatus) -> tuple[str, ...]:
    key = f"missing: set {each.key_variable}" if each.key == "missing" else each.key
    models = [*each.models, *(f"{name} as {there}" for name, there in each.model_map.items())]
    limits = [f"{each.max_concurrent} at once"]
    if each.rate_limit_tpm is not None:
        limits.append(f"{each.rate_limit_tpm:,} tokens/min")
    if each.rate_limit_rpm is not None:
        limits.append(f"{each.rate_limit_rpm:,} requests/min")
    health = f"offline, {each.health}" if each.offline else each.health
    return (
        each.name,
        each.provider,
        key,
        ", ".join(models) or "by the provider's rule",
        ", ".join(limits),
        health,
    )


def ask(arguments: argparse.Namespace) -> int:
    """Stream an answer, then say who gave it and what it cost."""
    asyncio.run(_ask(router_of(arguments), arguments.model, arguments.text, arguments.max_tokens))
    return 0


async def _ask(router: Router, model: str, text: str, max_tokens: int | None) -> None:
    async with router, aclosing(router.stream(model, text, max_tokens=max_tokens)) as pieces:
        async for piece in pieces:
            if isinstance(piece, TextDelta):
                print(visible(piece.text), end="", flush=True)
            elif isinstance(piece, StreamEnd):
                for call in piece.response.tool_calls:  # nobody offered it a tool; it is shown all the same
                    print(visible(f"[calls {call.name} with {call.arguments_text}]"), end="")
                print(flush=True)
                print(summary(piece.response), file=sys.stderr)


def summary(response: LLMResponse) -> str:
    """Backend, tokens, cost and latency of an answer, in a line."""
    usage = Usage.of(response.usage)
    tries = f", {count(len(response.attempts), 'attempt')}" if len(response.attempts) > 1 else ""
    return visible(
        f"{response.backend}: {response.model}, {count(usage.total_tokens, 'token')}"
        f" ({usage.prompt_tokens:,} in, {usage.completion_tokens:,} out), {money(response.cost)},"
        f" {response.latency:.2f} s{tries}"
    )
