"""Commands about the models of an organism: `llm list`, `llm ask`, `llm test`."""

from __future__ import annotations

import argparse
import sys
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING

from xml_pipeline.cli.auth import unlock
from xml_pipeline.cli.command import FILE_OPTION, argument, command, config, positive
from xml_pipeline.errors import ConfigError, LLMError, NoBackendError, PayloadError, no_such
from xml_pipeline.terminal import count, money, plain, table, visible

if TYPE_CHECKING:
    from xml_pipeline.config import OrganismConfig
    from xml_pipeline.llm import Backend, BackendStatus, LLMResponse, Router

TEST_SECONDS = 60.0
"""How long each of the three parts of `llm test` may take."""


def _router(arguments: argparse.Namespace) -> Router:
    """The router of the file's `llm` section; no handler is imported. Raises ConfigError."""
    from xml_pipeline.composition import router_of

    return router_of(config(arguments, "models"), alone=True)


@command("llm list", "list backends: keys, models, limits, health, prices", FILE_OPTION)
def list_backends(arguments: argparse.Namespace) -> int:
    """Print a table of the backends, one of the aliases, and whose prices hold for the models."""
    import asyncio

    router = _router(arguments)
    found = router.describe()
    if not found:
        print("no backends: add some under `llm: backends:` in organism.yaml")
        return 0
    keys = [_key(router, each) for each in found]
    _print_table(("BACKEND", "PROVIDER", "KEY", "MODELS", "LIMITS", "HEALTH"), *map(_row, found, keys))
    if router.models:
        print()
        _print_table(
            ("ALIAS", "MODELS"), *((name, " → ".join(chain)) for name, chain in router.models.items())
        )
    priced = asyncio.run(_priced(router, found))
    if priced:
        print()
        _print_table(("MODEL", "BACKEND", "PRICED AS"), *priced)
    return 0


async def _priced(router: Router, found: list[BackendStatus]) -> list[tuple[str, str, str]]:
    """A row for each model that the file names, and each backend that serves it."""
    named = [name for chain in router.models.values() for name in chain]
    written = [name for each in found for name in (*each.models, *each.model_map)]
    named += [name for name in written if not any(sign in name for sign in "*?[")]
    rows: dict[tuple[str, str], str] = {}
    for name in named:
        with suppress(NoBackendError):  # `ALIAS` shows it, and each call says so
            rows.update(await router.priced_as(name))
    return [(there, backend, priced or "unknown") for (backend, there), priced in sorted(rows.items())]


def _print_table(*rows: tuple[str, ...]) -> None:
    for each in table(rows, ""):
        print(plain(each).rstrip())


def _key(router: Router, each: BackendStatus) -> str:
    """Where its key is; a name is looked up, without anybody's passphrase."""
    if each.key == "missing":
        return f"missing: set {each.key_variable}"
    if each.key == "present":
        return f"present in environment ({each.key_variable})"
    if not each.key_ref:
        return each.key
    found = router.keys.listed(each.key_ref)
    if found.place:
        return f"present in {found.place} ({each.key_ref})"
    problem = f" ({found.problem})" if found.problem else ""
    return f"missing{problem}: xp auth set {each.key_ref}"


def _row(each: BackendStatus, key: str) -> tuple[str, ...]:
    from xml_pipeline.console.overview import health

    models = [*each.models, *(f"{name} as {there}" for name, there in each.model_map.items())]
    limits = [f"{each.max_concurrent} at once"]
    if each.rate_limit_tpm is not None:
        limits.append(f"{each.rate_limit_tpm:,} tokens/min")
    if each.rate_limit_rpm is not None:
        limits.append(f"{each.rate_limit_rpm:,} requests/min")
    served = ", ".join(models) or "by the provider's rule"
    return each.name, each.provider, key, served, ", ".join(limits), health(each)


@command(
    "llm ask",
    "ask a model, and stream its answer",
    argument("model", metavar="MODEL", help="a model's name, or an alias of the llm section"),
    argument("text", metavar="TEXT", help="what to ask"),
    argument("--max-tokens", type=positive, metavar="N", help="tokens that the answer may have"),
    FILE_OPTION,
)
def ask_model(arguments: argparse.Namespace) -> int:
    """Stream an answer, then say who gave it and what it cost."""
    import asyncio

    router = _router(arguments)
    unlock(router)
    asyncio.run(_ask(router, arguments.model, arguments.text, arguments.max_tokens))
    return 0


async def _ask(router: Router, model: str, text: str, max_tokens: int | None) -> None:
    from xml_pipeline.llm import StreamEnd, TextDelta

    async with router, aclosing(router.stream(model, text, max_tokens=max_tokens)) as pieces:
        async for piece in pieces:
            if isinstance(piece, TextDelta):
                print(visible(piece.text), end="", flush=True)
            elif isinstance(piece, StreamEnd):
                for call in piece.response.tool_calls:  # nobody offered it a tool; it is shown all the same
                    print(visible(f"[calls {call.name} with {call.arguments_text}]"), end="")
                print(flush=True)
                print(_summary(piece.response), file=sys.stderr)


def _summary(response: LLMResponse) -> str:
    """Backend, tokens, cost and latency of an answer, in a line."""
    from xml_pipeline.llm import Usage

    usage = Usage.of(response.usage)
    tries = f", {count(len(response.attempts), 'attempt')}" if len(response.attempts) > 1 else ""
    return visible(
        f"{response.backend}: {response.model}, {count(usage.total_tokens, 'token')} ({usage.prompt_tokens:,} in,"
        f" {usage.completion_tokens:,} out), {money(response.cost)}, {response.latency:.2f} s{tries}"
    )


@command(
    "llm test",
    "ask a backend for an answer, a tool call and a payload; tell what works",
    argument("backend", metavar="BACKEND", help="a backend's name, as `llm list` shows it"),
    argument("--model", metavar="MODEL", help="what to ask for (default: one that it serves)"),
    FILE_OPTION,
)
def test_backend(arguments: argparse.Namespace) -> int:
    """Make a few tiny calls, without retries; 1 when the plain one fails."""
    import asyncio

    from xml_pipeline.composition import router_of

    found = config(arguments, "models")
    configured = router_of(found)
    backend = configured.backends.get(arguments.backend)
    if backend is None:
        raise ConfigError(no_such("backend", arguments.backend, configured.backends))
    if backend.key_missing:
        raise ConfigError(f"the backend '{arguments.backend}' has no key: set {backend.key_variable}")
    model = arguments.model or _model_of(arguments.backend, backend, found)
    router = router_of(_only(found, arguments.backend, configured), alone=True)
    unlock(router)
    return asyncio.run(_test(router, model))


def _only(found: OrganismConfig, name: str, configured: Router) -> OrganismConfig:
    """The configuration with one of its backends; proxies, certificates, times, prices and budgets stay."""
    names = dict(zip(configured.backends, found.llm.backends, strict=False))
    kept = (names[name],) if name in names else ()  # the offline backend has no section
    llm = found.llm.model_copy(update={"backends": kept, "offline": not kept, "retries": 0})
    return found.model_copy(update={"llm": llm})


def _model_of(name: str, backend: Backend, found: OrganismConfig) -> str:
    """A model that the backend serves: the first that its section, an alias or an agent names."""
    from xml_pipeline.llm.routing.endpoint import serves

    own = [model for model in (*backend.model_map, *backend.supported_models) if not set("*?[") & set(model)]
    named = [each.name for each in found.named_models if each.name not in found.llm.models]
    served = [*own, *(model for model in named if serves(backend, model))]
    if not served:
        raise ConfigError(f"which model? Nothing in the file says what '{name}' serves: give --model")
    return served[0]


async def _test(router: Router, model: str) -> int:
    async with router:
        try:
            response = await router.complete(
                model, "Reply with the one word: ready", max_tokens=200, timeout=TEST_SECONDS
            )
        except LLMError as error:
            print(f"answer: fails: {visible(str(error))}")
            return 1
        print(f"answer: works: {visible(response.content.strip())[:60]!r} ({_summary(response)})")
        print(f"tools: {await _test_tools(router, model)}")
        print(f"schema: {await _test_schema(router, model)}")
    return 0


async def _test_schema(router: Router, model: str) -> str:
    from dataclasses import dataclass

    from xml_pipeline.payload import xmlify

    @xmlify
    @dataclass
    class Total:
        sum: int

    how = "by its own schema" if router.supports("schema", model) else "in words: it has no schema of its own"
    try:
        response = await router.complete(
            model, "What is 2 + 40?", response_type=Total, max_tokens=1000, timeout=TEST_SECONDS
        )
    except LLMError as error:
        return f"fails ({how}): {visible(str(error))}"
    if not isinstance(response.parsed, Total):
        return f"fails ({how}): the model called a tool, and there was none"
    works = "works" if response.parsed.sum == 42 else "works, with a wrong sum"
    return f"{works} ({how}): {response.parsed.sum}"


async def _test_tools(router: Router, model: str) -> str:
    from xml_pipeline.llm import ToolSpec

    numbers = {"a": {"type": "integer"}, "b": {"type": "integer"}}
    schema = {"type": "object", "properties": numbers, "required": ["a", "b"], "additionalProperties": False}
    tool = ToolSpec("add", "Adds two integers. Always use it for sums.", schema)
    try:
        response = await router.complete(
            model, "What is 2 + 40? Use the tool.", tools=[tool], max_tokens=1000, timeout=TEST_SECONDS
        )
    except LLMError as error:
        return f"fail: {visible(str(error))}"
    if not response.tool_calls:
        return "the model did not call the tool; agents with `calls: xml` will work"
    call = response.tool_calls[0]
    try:
        works = call.name == tool.name and call.arguments == {"a": 2, "b": 40}
    except PayloadError:
        works = False
    wrote = visible(f"{call.name}({call.arguments_text})")
    return f"work: {wrote}" if works else f"are called, but wrongly: {wrote}"
