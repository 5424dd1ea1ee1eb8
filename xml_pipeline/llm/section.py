"""The `llm:` section of organism.yaml, and the router it describes.

Models refuse unknown keys. What needs the provider classes (which keys a provider knows, whether a strategy
exists) is checked here too, so that a file with mistakes never becomes a router.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from xml_pipeline.errors import ConfigError, Problem, did_you_mean
from xml_pipeline.events import Hook
from xml_pipeline.llm.accounting.budgets import Budget, Budgets
from xml_pipeline.llm.accounting.prices import Price
from xml_pipeline.llm.completion import Clock, Timeouts
from xml_pipeline.llm.http.backend import Backend
from xml_pipeline.llm.http.transport import TransportSettings
from xml_pipeline.llm.providers import PROVIDER_CLASSES
from xml_pipeline.llm.providers.scripted import Rule, ScriptedBackend
from xml_pipeline.llm.router import Router
from xml_pipeline.llm.routing.strategies import strategy_of

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
Dollars = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Section(BaseModel):
    """A mapping of the file: its keys are fixed, its values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class CallSection(Section):
    """One tool call of a scripted answer."""

    tool: str = Field(description="The tool's name.")
    arguments: str | dict[str, Any] = Field(
        "{}", description="A mapping, or JSON text, with groups of `match`."
    )


class RuleSection(Section):
    """One rule of a scripted backend; the first that fits the last message answers."""

    match: str = Field(
        "",
        description="Regular expression, searched in the last message's text, or in all tool results since the"
        " model's last answer; empty fits any.",
    )
    on: Literal["user", "tool"] = Field("user", description="Which last message it looks at.")
    model: str = Field("*", description="Name or glob of the model asked for.")
    agent: str = Field("*", description="Name or glob of the agent that asks.")
    reply: str = Field("", description="The answer; `\\1` and `\\g<name>` stand for the groups of `match`.")
    tool: str = Field("", description="Name of a tool to call instead of answering.")
    arguments: str | dict[str, Any] = Field(
        "{}", description="Arguments of that call: a mapping, or JSON text, with groups as in `reply`."
    )
    calls: tuple[CallSection, ...] = Field((), description="Further tool calls in the same answer.")
    error: str | None = Field(None, description="Name of an error to fail with, as `RateLimitedError`.")
    retry_after: Dollars | None = Field(None, description="Seconds that the error asks to wait.")
    latency: Dollars = Field(0.0, description="Seconds until the answer.")
    chunks: tuple[str, ...] = Field((), description="Pieces of a streamed answer; by words when empty.")
    fail_after: int | None = Field(None, ge=0, description="Pieces after which a stream breaks with `error`.")
    usage: dict[str, int] | None = Field(
        None, description="Tokens to report; by the texts' length when absent."
    )
    finish_reason: str = Field("", description="Why the answer ended; `stop` or `tool_calls` when empty.")
    times: Count | None = Field(None, description="How often the rule holds; always when absent.")

    @model_validator(mode="after")
    def _makes_a_rule(self) -> RuleSection:
        try:
            self.rule()
        except ConfigError as error:
            raise ValueError(str(error)) from None
        return self

    def rule(self) -> Rule:
        """The rule it describes."""
        calls = tuple((call.tool, call.arguments) for call in self.calls)
        return Rule(**{**dict(self), "calls": calls})


class BackendSection(Section):
    """One endpoint of one provider. Several of one provider are several backends."""

    provider: str = Field(description="Which provider class speaks to it, as `openai` or `ollama`.")
    name: str = Field("", description="Unique name; the provider's name, numbered, when empty.")
    api_key_env: str = Field(
        "", description="Environment variable that holds the key; the provider's usual one."
    )
    base_url: str = Field("", description="Address, as https://host/v1; the provider's usual one.")
    priority: int = Field(1, description="Lower is preferred by `failover`.")
    rate_limit_tpm: Count | None = Field(
        None, description="Tokens a minute; calls wait or go elsewhere beyond."
    )
    rate_limit_rpm: Count | None = Field(
        None, description="Requests a minute; calls wait or go elsewhere beyond."
    )
    max_concurrent: Count | None = Field(None, description="Requests in flight at once; 20 when absent.")
    supported_models: tuple[str, ...] = Field(
        (), description="Names or globs of the models it serves, instead of the provider's own rule."
    )
    model_map: dict[str, str] = Field(
        default_factory=dict, description="Name in a request: name at this backend. Its keys are served too."
    )
    headers: dict[str, str] = Field(
        default_factory=dict, description="Further HTTP headers of every request."
    )
    preset: str | None = Field(None, description="`openai-compatible` only: which server it is, as `vllm`.")
    keep_alive: str | None = Field(
        None, description="`ollama` only: how long a model stays loaded, as `10m`."
    )
    num_ctx: Count | None = Field(
        None, description="`ollama` only: context length; by the prompt when absent."
    )
    native_tools: bool | None = Field(
        None,
        description="`openai-compatible`, `ollama` and `scripted`: whether the model can call tools; if not, they are"
        " put into words.",
    )
    native_schema: bool | None = Field(
        None, description="`openai-compatible` and `scripted`: whether it takes a JSON Schema for its answer."
    )
    rules: tuple[RuleSection, ...] | None = Field(None, description="`scripted` only: its answers.")
    options: dict[str, Any] = Field(
        default_factory=dict, description="Further fields of the provider's class, for providers of your own."
    )

    @model_validator(mode="before")
    @classmethod
    def _no_key(cls, data: Any) -> Any:
        if isinstance(data, Mapping) and "api_key" in data:
            raise ValueError(
                "keys do not stand in this file; write `api_key_env: NAME` with the name of the environment"
                " variable that holds the key"
            )
        return data

    @field_validator("provider")
    @classmethod
    def _known_provider(cls, provider: str) -> str:
        if provider not in PROVIDER_CLASSES:
            hint = did_you_mean(provider, PROVIDER_CLASSES, " ({})")
            raise ValueError(
                f"no provider {provider!r}{hint}; there are {', '.join(sorted(PROVIDER_CLASSES))}"
            )
        return provider

    @model_validator(mode="after")
    def _makes_a_backend(self) -> BackendSection:
        try:
            self.backend({})
        except ConfigError as error:
            raise ValueError(str(error)) from None
        return self

    def backend(self, environ: Mapping[str, str]) -> Backend:
        """The backend it describes; without its variable in `environ` it has no key.

        Raises:
            ConfigError: a key that this provider does not know, or a bad address.
        """
        kind = PROVIDER_CLASSES[self.provider]
        known = {field.name for field in fields(kind) if field.init}
        given: dict[str, Any] = {
            name: value
            for name, value in self
            if name not in ("options", "rules") and value not in ("", None, (), {})
        }
        if self.rules is not None:
            given["rules"] = tuple(rule.rule() for rule in self.rules)
        for name, value in self.options.items():
            if name in BackendSection.model_fields or name == "api_key":
                raise ConfigError(f"options.{name} is a key of the backend itself; write it there")
            given[name] = value
        unknown = sorted(given.keys() - known)
        if unknown:
            raise ConfigError(
                f"the provider {self.provider!r} knows no {', '.join(unknown)}; its own keys are"
                f" {', '.join(sorted(known - _COMMON)) or 'none'}"
            )
        variable = self.api_key_env or kind.default_key_env
        return kind(**given, api_key=environ.get(variable, "") if variable else "")


_COMMON = frozenset(field.name for field in fields(Backend))


class BudgetSection(Section):
    """One limit, in tokens, in US dollars, or both."""

    tokens: Count | None = Field(None, description="Input plus output tokens.")
    usd: Dollars | None = Field(None, description="US dollars.")
    per: Literal["run", "day", "month"] = Field(
        "run", description="When it starts anew; days and months in UTC."
    )
    warn_at: tuple[Annotated[float, Field(gt=0, le=1)], ...] = Field(
        (0.8,), description="Fractions at which a warning event is emitted."
    )

    @model_validator(mode="after")
    def _limits_something(self) -> BudgetSection:
        if self.tokens is None and self.usd is None:
            raise ValueError("a budget limits something: give it `tokens`, `usd` or both")
        return self


def _several(value: Any) -> Any:
    return (value,) if isinstance(value, Mapping) else value


class BudgetsSection(Section):
    """What may be spent. A limit is one mapping, or a list of them (per day and per month)."""

    organism: tuple[BudgetSection, ...] = Field((), description="Everything together.")
    agents: dict[str, tuple[BudgetSection, ...]] = Field(
        default_factory=dict, description="Agent name or glob: its limits, for each agent by itself."
    )
    thread: tuple[BudgetSection, ...] = Field((), description="Each thread with everything below it.")
    conversation: tuple[BudgetSection, ...] = Field((), description="Each conversation.")
    default_max_tokens: Count = Field(
        4096, description="Output limit given to calls that state none while a budget applies to them."
    )

    @field_validator("organism", "thread", "conversation", mode="before")
    @classmethod
    def _one_or_more(cls, value: Any) -> Any:
        return _several(value)

    @field_validator("agents", mode="before")
    @classmethod
    def _each_one_or_more(cls, value: Any) -> Any:
        return {name: _several(one) for name, one in value.items()} if isinstance(value, Mapping) else value

    def budgets(self) -> Budgets:
        """The budgets it describes."""

        def made(sections: tuple[BudgetSection, ...]) -> tuple[Budget, ...]:
            return tuple(Budget(one.tokens, one.usd, one.per, one.warn_at) for one in sections)

        return Budgets(
            made(self.organism),
            {name: made(sections) for name, sections in self.agents.items()},
            made(self.thread),
            made(self.conversation),
            self.default_max_tokens,
        )


class PriceSection(Section):
    """A model's price in US dollars per million tokens."""

    input: Dollars = Field(description="Uncached input.")
    output: Dollars = Field(description="Output, reasoning included.")
    cached: Dollars | None = Field(None, description="Input read from a cache; as `input` when absent.")
    cache_write: Dollars | None = Field(None, description="Input written to a cache; as `input` when absent.")


class LLMSection(Section):
    """How the organism reaches language models."""

    strategy: str = Field(
        "failover", description="`failover`, `round-robin`, `least-loaded`, or one of your own."
    )
    retries: int = Field(3, ge=0, description="Tries after the first, over all backends of one call.")
    retry_base_delay: Seconds = Field(
        1.0, description="Seconds of the first backoff; it doubles with each failure."
    )
    retry_max_delay: Seconds = Field(
        60.0, description="Seconds of the longest backoff and granted Retry-After."
    )
    request_timeout: Seconds = Field(600.0, description="Seconds for one call, all tries and waits included.")
    attempt_timeout: Seconds | None = Field(None, description="Seconds for one try that does not stream.")
    connect_timeout: Seconds = Field(10.0, description="Seconds for DNS, TCP and TLS.")
    first_token_timeout: Seconds = Field(120.0, description="Seconds to a stream's first content.")
    idle_timeout: Seconds = Field(60.0, description="Seconds between two pieces of a stream.")
    hedge_after: Seconds | None = Field(
        None,
        description="Seconds after which a slow call is started a second time elsewhere; both may be billed.",
    )
    proxy: str | None = Field(None, description="HTTP proxy for all backends; the environment's when absent.")
    ca_file: str | None = Field(None, description="PEM file of certificates to trust beside the usual ones.")
    trust_env: bool = Field(True, description="Read HTTP_PROXY, HTTPS_PROXY, NO_PROXY and SSL_CERT_FILE.")
    offline: bool = Field(
        False,
        description="When no backend has what it needs to be asked, answer from a scripted one that says so.",
    )
    models: dict[str, str | tuple[str, ...]] = Field(
        default_factory=dict, description="Alias: a model, or a chain of models to fall back on."
    )
    budgets: BudgetsSection = Field(
        default_factory=lambda: BudgetsSection.model_validate({}), description="What may be spent."
    )
    prices: dict[str, PriceSection] = Field(
        default_factory=dict, description="Model name or glob: its price, before the built-in ones."
    )
    backends: tuple[BackendSection, ...] = Field((), description="Where models are.")

    @field_validator("strategy")
    @classmethod
    def _known_strategy(cls, strategy: str) -> str:
        try:
            strategy_of(strategy)
        except ConfigError as error:
            raise ValueError(str(error)) from None
        return strategy

    @model_validator(mode="after")
    def _names_and_chains(self) -> LLMSection:
        try:
            Router([one.backend({}) for one in self.backends], models=self.models)
        except ConfigError as error:
            raise ValueError(str(error)) from None
        return self


def build_router(
    section: LLMSection | Mapping[str, Any],
    *,
    environ: Mapping[str, str] | None = None,
    on_event: Hook | None = None,
    clock: Clock | None = None,
    random: Callable[[], float] | None = None,
) -> Router:
    """The router of a section.

    Args:
        section: validated, or a plain mapping.
        environ: where keys are read; the process's environment by default.
        on_event, clock, random: as in `Router`.

    Raises:
        ConfigError: every mistake of a plain mapping, each with its path.
    """
    if not isinstance(section, LLMSection):
        try:
            section = LLMSection.model_validate(section)
        except ValidationError as error:
            raise ConfigError([_problem(one) for one in error.errors()]) from None
    environ = os.environ if environ is None else environ
    backends = [one.backend(environ) for one in section.backends]
    if section.offline and all(backend.key_missing for backend in backends):
        backends.append(ScriptedBackend(name="offline"))
    return Router(
        backends,
        strategy=section.strategy,
        retries=section.retries,
        retry_base_delay=section.retry_base_delay,
        retry_max_delay=section.retry_max_delay,
        timeouts=Timeouts(
            section.request_timeout,
            section.attempt_timeout,
            section.first_token_timeout,
            section.idle_timeout,
            section.hedge_after,
        ),
        models=section.models,
        budgets=section.budgets.budgets(),
        prices={
            name: Price(one.input, one.output, one.cached, one.cache_write)
            for name, one in section.prices.items()
        },
        transport=TransportSettings(
            section.connect_timeout, section.proxy, section.ca_file, section.trust_env
        ),
        on_event=on_event,
        clock=clock,
        random=random,
    )


def _problem(error: Any) -> Problem:
    path = "llm"
    for part in error["loc"]:
        path += f"[{part}]" if isinstance(part, int) else f".{part}"
    message = str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        message = "there is no such key"
    return Problem(message, path)
