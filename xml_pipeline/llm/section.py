"""The `llm:` section of organism.yaml, and the router it describes.

Models refuse unknown keys. What needs the provider classes (which keys a provider knows, whether a strategy
exists) is checked here too, so that a file with mistakes never becomes a router.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import CoreSchema

from xml_pipeline.errors import ConfigError, Problem, did_you_mean
from xml_pipeline.events import Hook
from xml_pipeline.keys.names import variable_of
from xml_pipeline.ledger import LedgerFile
from xml_pipeline.llm.accounting.budgets import UNITS, Budget, Budgets
from xml_pipeline.llm.accounting.periods import Per, zone_named
from xml_pipeline.llm.accounting.prices import Price
from xml_pipeline.llm.completion import Clock, Timeouts
from xml_pipeline.llm.http.backend import Backend
from xml_pipeline.llm.http.transport import TransportSettings
from xml_pipeline.llm.lines import Lines
from xml_pipeline.llm.presets import Preset, presets_of
from xml_pipeline.llm.providers import BUILTIN, PROVIDER_CLASSES
from xml_pipeline.llm.providers.keys import HasSettings, keys_of
from xml_pipeline.llm.providers.scripted import ScriptedBackend
from xml_pipeline.llm.router import Router, unique_name
from xml_pipeline.llm.routing.strategies import strategy_of
from xml_pipeline.llm.routing.table import RoutingTable
from xml_pipeline.marks import OPEN

if TYPE_CHECKING:
    from xml_pipeline.keys.keys import Keys

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
Dollars = Annotated[float, Field(ge=0, allow_inf_nan=False)]


NAMES = "x-names"
"""Marks, in the JSON Schema, what names something that is elsewhere in the file: `listeners`, `classes`, `declared`,
`types`, `models` or `operations`."""

ModelName = Annotated[str, Field(json_schema_extra={NAMES: "models"})]
_AgentName = Annotated[str, Field(json_schema_extra={NAMES: "listeners"})]
_Operation = Annotated[str, Field(json_schema_extra={NAMES: "operations"})]

UNIMPORTED = "unimported"
MODULES = "modules"
"""Keys of a validation context: whether `modules` and other packages' providers are not imported yet, and whether
there are such modules."""


class Section(BaseModel):
    """A mapping of the file: its keys are fixed, its values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class BackendSection(Section):
    """One endpoint of one provider. Several of one provider are several backends.

    Beside these keys it takes those that its provider owns.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    provider: str = Field(description="Which provider class speaks to it, as `openai` or `ollama`.")
    name: str = Field("", description="Unique name; the provider's name, numbered, when empty.")
    api_key_env: str = Field(
        "", description="Environment variable that holds the key; the provider's usual one."
    )
    api_key_ref: str = Field(
        "",
        description="Name of the key that `xp auth set` stored; instead of `api_key_env`. Looked up when the backend"
        " could be asked first: in `XML_PIPELINE_KEY_NAME`, the OS keyring, an encrypted file.",
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
        default_factory=dict, repr=False, description="Further HTTP headers of every request."
    )
    options: dict[str, Any] = Field(
        default_factory=dict,
        description="Another place for the provider's own keys, as editors know those of built-in providers only.",
    )

    @model_validator(mode="before")
    @classmethod
    def _no_key(cls, data: Any) -> Any:
        if isinstance(data, Mapping) and "api_key" in data:
            raise ValueError(
                "keys do not stand in this file; write `api_key_env: NAME` with the name of the environment"
                " variable that holds the key, or `api_key_ref: NAME` for one that `xp auth set NAME` stored"
            )
        return data

    @field_validator("provider")
    @classmethod
    def _known_provider(cls, provider: str, info: ValidationInfo) -> str:
        if provider not in PROVIDER_CLASSES and not _to_come(info):
            hint = did_you_mean(provider, PROVIDER_CLASSES, " ({})")
            raise ValueError(
                f"no provider {provider!r}{hint}; there are {', '.join(sorted(PROVIDER_CLASSES))}"
            )
        return provider

    @model_validator(mode="after")
    def _fits_its_provider(self, info: ValidationInfo) -> BackendSection:
        if _unimported(info) and self.provider not in BUILTIN:
            return self
        try:
            kind = PROVIDER_CLASSES[self.provider]
            kind.check(self._fields(kind))
        except ConfigError as error:
            raise ValueError(str(error)) from None
        return self

    def backend(self, environ: Mapping[str, str]) -> Backend:
        """The backend it describes; without its variable in `environ` it has no key.

        Raises:
            ConfigError: the key cannot be sent, or a provider's own class refuses a field.
        """
        kind = PROVIDER_CLASSES[self.provider]
        reference = self.api_key_ref
        variable = variable_of(reference) if reference else self.api_key_env or kind.default_key_env
        return kind(**self._fields(kind), api_key=environ.get(variable, "") if variable else "")

    def _fields(self, kind: type[Backend]) -> dict[str, Any]:
        """What its class is made of.

        Raises:
            ConfigError: a key that this provider does not know.
            ValidationError: a wrong value of one of the provider's own keys.
        """
        given = {
            name: value
            for name in BackendSection.model_fields
            if name != "options" and (value := getattr(self, name)) not in ("", None, (), {})
        }
        return {**given, **self._own(kind)}

    def _own(self, kind: type[Backend]) -> dict[str, Any]:
        """The provider's own fields, checked by the provider's own model."""
        keys = keys_of(kind)
        for name in self.options:
            if name in BackendSection.model_fields or name == "api_key":
                raise ConfigError(f"options.{name} is a key of the backend itself; write it there")
        given = {**(self.model_extra or {}), **self.options}
        unknown = sorted(given.keys() - keys.model_fields)
        if unknown and (_elsewhere().intersection(unknown) or not self.options.keys().isdisjoint(unknown)):
            hints = "".join(did_you_mean(name, keys.model_fields) for name in unknown)
            raise ConfigError(
                f"the provider {self.provider!r} knows no {', '.join(unknown)}{hints}; its own keys are"
                f" {', '.join(sorted(keys.model_fields)) or 'none'}"
            )
        checked = keys.model_validate(given)  # what nobody knows is refused there, with its place
        if isinstance(checked, HasSettings):
            return checked.settings()
        return {name: getattr(checked, name) for name in checked.model_fields_set}

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Its own keys, and those of the built-in providers; other providers' keys are theirs to know."""
        schema = handler.resolve_ref_schema(handler(core_schema))
        own: dict[str, dict[str, Any]] = {}
        providers: dict[str, list[str]] = {}
        for provider in BUILTIN:
            keys = keys_of(PROVIDER_CLASSES[provider])
            theirs = handler.resolve_ref_schema(handler(keys.__pydantic_core_schema__))
            for name, key in theirs.get("properties", {}).items():
                own.setdefault(name, {**key})
                providers.setdefault(name, []).append(f"`{provider}`")
        for name, key in own.items():
            key["description"] = f"{', '.join(providers[name])}: {key['description']}"
            key.pop("default", None)
        options = schema["properties"].pop("options")
        schema["properties"].update(own, options=options)
        schema.pop("additionalProperties", None)
        schema["if"] = {"properties": {"provider": {"enum": list(BUILTIN)}}}
        schema["then"] = {"propertyNames": {"enum": list(schema["properties"])}}
        return schema


def _unimported(info: ValidationInfo) -> bool:
    return bool(info.context and info.context.get(UNIMPORTED))


def _to_come(info: ValidationInfo) -> bool:
    """Whether modules that are still to be imported may bring what is not known yet."""
    return _unimported(info) and bool(info.context and info.context.get(MODULES))


def _elsewhere() -> set[str]:
    """The own keys of all built-in providers."""
    return {name for one in BUILTIN for name in keys_of(PROVIDER_CLASSES[one]).model_fields}


def _one_or_more(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


class BudgetSection(Section):
    """One limit, in tokens, in US dollars, or in several of them."""

    tokens: Annotated[Count | None, OPEN] = Field(None, description="Input plus output tokens.")
    input_tokens: Annotated[Count | None, OPEN] = Field(
        None, description="Tokens of prompts, read from caches or not."
    )
    output_tokens: Annotated[Count | None, OPEN] = Field(
        None, description="Tokens of answers, reasoning included."
    )
    usd: Annotated[Dollars | None, OPEN] = Field(None, description="US dollars.")
    per: Annotated[Per, OPEN] = Field(
        "run",
        description="When it starts anew: with each start (after a death the run goes on), or with an hour, a day, a"
        " week (from Monday) or a month of the calendar, in `budgets.zone`. An agent's may also hold for each `call`"
        " of it, with all that is called below, or for it in each `conversation`; a door's and a trigger's for each"
        " `conversation`.",
    )
    soft: Annotated[bool, OPEN] = Field(False, description="Only warn, also when it is used up.")
    warn_at: Annotated[tuple[Annotated[float, Field(gt=0, le=1)], ...], OPEN] = Field(
        (0.8,), description="Fractions at which a warning event is emitted."
    )

    @model_validator(mode="after")
    def _limits_something(self) -> BudgetSection:
        if all(getattr(self, unit) is None for unit in UNITS):
            raise ValueError(f"a budget limits something: give it {', '.join(f'`{unit}`' for unit in UNITS)}")
        return self


def one_or_several(value: Any) -> Any:
    """One section, or several of them, as a tuple."""
    return (value,) if isinstance(value, Mapping) else value


Limits = Annotated[tuple[BudgetSection, ...], BeforeValidator(one_or_several)]


class MultipleSection(Section):
    """The limits of another operation, times a number: what checks a work may cost a part of the work."""

    of: str = Field(description="The other operation.")
    times: Annotated[float, Field(gt=0, allow_inf_nan=False)] = Field(description="How much of its limits.")


def _several_or_multiple(value: Any) -> Any:
    return value if isinstance(value, Mapping) and "of" in value else one_or_several(value)


OperationLimits = Annotated[
    MultipleSection | tuple[BudgetSection, ...], BeforeValidator(_several_or_multiple)
]


class BudgetsSection(Section):
    """What may be spent. A limit is one mapping, or a list of them (per day and per month)."""

    organism: Limits = Field((), description="Everything together.")
    agents: dict[_AgentName, Limits] = Field(
        default_factory=dict, description="Agent name or glob: its limits, for each agent by itself."
    )
    thread: Limits = Field((), description="Each thread with everything below it.")
    conversation: Limits = Field((), description="Each conversation.")
    operations: dict[_Operation, OperationLimits] = Field(
        default_factory=dict,
        description="Operation or glob: its limits, for each operation by itself; or a multiple of another's.",
    )
    zone: str = Field(
        "UTC", description="Whose calendar begins hours, days, weeks and months, as `Europe/Zurich`."
    )
    default_max_tokens: Count = Field(4096, description="Output limit given to calls that state none.")

    _doors: Mapping[str, tuple[BudgetSection, ...]] = PrivateAttr(default_factory=dict)
    _callers: Mapping[str, tuple[BudgetSection, ...]] = PrivateAttr(default_factory=dict)

    @field_validator("zone")
    @classmethod
    def _known_zone(cls, zone: str) -> str:
        try:
            zone_named(zone)
        except ConfigError as error:
            raise ValueError(str(error)) from None
        return zone

    @field_validator("organism", "thread", "conversation", "operations")
    @classmethod
    def _for_longer_than_a_call(cls, value: Any) -> Any:
        some = value.values() if isinstance(value, Mapping) else (value,)
        for limits in some:
            for one in limits if isinstance(limits, tuple) else ():
                if one.per == "call" or one.per == "conversation":
                    raise ValueError(
                        f"only an agent's budget is `per: {one.per}`; `conversation:` limits each conversation, and"
                        " `thread:` each call of anybody, with all below it"
                    )
        return value

    @model_validator(mode="after")
    def _multiples_of_something(self) -> BudgetsSection:
        for name, limits in self.operations.items():
            if isinstance(limits, MultipleSection) and not isinstance(self.operations.get(limits.of), tuple):
                amounts = ", ".join(each for each, its in self.operations.items() if isinstance(its, tuple))
                raise ValueError(
                    f"operations.{name} is a multiple of '{limits.of}', which has no limits of its own;"
                    f" those that have: {amounts or 'none'}"
                )
        return self

    def budgets(self) -> Budgets:
        """The budgets it describes."""

        def made(sections: tuple[BudgetSection, ...]) -> tuple[Budget, ...]:
            return tuple(Budget(**dict(one)) for one in sections)

        return Budgets(
            made(self.organism),
            {name: made(sections) for name, sections in self.agents.items()},
            made(self.thread),
            made(self.conversation),
            self.default_max_tokens,
            {name: self._of_operation(limits) for name, limits in self.operations.items()},
            self.zone,
            {name: made(sections) for name, sections in self._doors.items()},
            {name: made(sections) for name, sections in self._callers.items()},
        )

    def for_visitors(
        self, doors: Mapping[str, tuple[BudgetSection, ...]], callers: Mapping[str, tuple[BudgetSection, ...]]
    ) -> BudgetsSection:
        """These, and those of doors and of who comes through them, which stand elsewhere in the file."""
        same = self.model_copy()
        same._doors, same._callers = doors, callers
        return same

    def _of_operation(self, limits: tuple[BudgetSection, ...] | MultipleSection) -> tuple[Budget, ...]:
        if isinstance(limits, tuple):
            return tuple(Budget(**dict(one)) for one in limits)
        other = self.operations[limits.of]
        assert isinstance(other, tuple)
        return tuple(Budget(**dict(one)).times(limits.times) for one in other)


class PriceSection(Section):
    """A model's price in US dollars per million tokens."""

    input: Dollars = Field(description="Uncached input.")
    output: Dollars = Field(description="Output, reasoning included.")
    cached: Dollars | None = Field(None, description="Input read from a cache; as `input` when absent.")
    cache_write: Dollars | None = Field(None, description="Input written to a cache; as `input` when absent.")
    cache_write_1h: Dollars | None = Field(
        None, description="Input written to a cache for an hour; as `cache_write` when absent."
    )
    cache_storage: Dollars | None = Field(
        None, description="Input that Gemini stores (`cached_content`), for each hour; unknown when absent."
    )


class TimeoutsSection(Section):
    """How long the calls of one name may take, instead of the section's own times."""

    request: Seconds | None = Field(None, description="Seconds for one call, all tries and waits included.")
    attempt: Seconds | None = Field(None, description="Seconds for one try that does not stream.")
    first_token: Seconds | None = Field(None, description="Seconds to a stream's first content.")
    idle: Seconds | None = Field(None, description="Seconds between two pieces of a stream.")


class PresetSection(Section):
    """Models, and how they are asked by calls that name this and do not say."""

    chain: Annotated[
        tuple[ModelName, ...],
        BeforeValidator(_one_or_more, json_schema_input_type=ModelName | list[ModelName]),
    ] = Field(min_length=1, description="A model, or a chain of models to fall back on.")
    temperature: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = Field(
        None, description="Sampling temperature."
    )
    max_output_tokens: Count | None = Field(
        None, description="Tokens that an answer may have, reasoning included."
    )
    reasoning_effort: str | None = Field(None, min_length=1, description="As `low`, `medium` or `high`.")
    thinking: Literal["off", "low", "medium", "high"] | None = Field(
        None, description="The same as `reasoning_effort`, in the words of models that think or do not."
    )
    cache_ttl: Literal["5m", "1h"] | None = Field(
        None, description="How long a cached prompt lives (Anthropic)."
    )
    timeouts: TimeoutsSection | None = Field(None, description="Its own times.")

    @model_validator(mode="after")
    def _one_effort(self) -> PresetSection:
        if self.thinking is not None and self.reasoning_effort is not None:
            raise ValueError("`thinking` and `reasoning_effort` say the same; keep one")
        return self

    def preset(self, usual: Timeouts) -> Preset:
        """The preset it describes; times that it does not state are the `usual` ones."""
        effort = "none" if self.thinking == "off" else self.thinking or self.reasoning_effort
        own = {} if self.timeouts is None else self.timeouts.model_dump(exclude_none=True)
        times = replace(usual, **own) if own else None
        return Preset(self.chain, self.temperature, self.max_output_tokens, effort, self.cache_ttl, times)


class LedgerSection(Section):
    """Where it is written down what was used, and what it cost."""

    path: str | None = Field(
        None,
        min_length=1,
        description="A file in which each try at a model is a row, so that budgets and reports outlive the process;"
        " relative to organism.yaml. One process at a time may use it. With `organism.journal` the rows are there.",
    )
    lines: str | None = Field(
        None, min_length=1, description="A file that gets a line of JSON for each try that was charged."
    )
    errors: str | None = Field(
        None, min_length=1, description="A file that gets a line of JSON for each try that failed."
    )

    @model_validator(mode="after")
    def _writes_something(self) -> LedgerSection:
        if not (self.path or self.lines or self.errors):
            raise ValueError("a ledger is written somewhere: give it `path`, `lines` or `errors`")
        return self


LedgerKey = Annotated[
    LedgerSection | None,
    BeforeValidator(
        lambda value: {"path": value} if isinstance(value, str) else value,
        json_schema_input_type=str | LedgerSection,
    ),
]


class LLMSection(Section):
    """How the organism reaches language models."""

    modules: tuple[str, ...] = Field(
        (),
        description="Python modules to import first: those that register providers and strategies of your own.",
    )
    on_event: str | None = Field(
        None,
        description="Import path, as `module:function`, of a function that gets every `LLMCalled`,"
        " `BudgetWarning`, `CacheCollapsed` and `BackendStateChanged`.",
    )
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
        description="Seconds after which a slow call is started a second time elsewhere; both may be billed. Not for"
        " streams.",
    )
    proxy: str | None = Field(
        None, repr=False, description="HTTP proxy for all backends; the environment's when absent."
    )
    ca_file: str | None = Field(None, description="PEM file of certificates to trust beside the usual ones.")
    trust_env: bool = Field(True, description="Read HTTP_PROXY, HTTPS_PROXY, NO_PROXY and SSL_CERT_FILE.")
    offline: bool = Field(
        False,
        description="When no backend has what it needs to be asked, answer from a scripted one that says so.",
    )
    models: dict[str, ModelName | tuple[ModelName, ...] | PresetSection] = Field(
        default_factory=dict,
        description="Name: a model, a chain of models to fall back on, or a chain with its own parameters.",
    )
    routing: dict[_Operation, ModelName] = Field(
        default_factory=dict,
        description="Operation: the model, or name of `models`, of calls that name none; `default` for all others.",
    )
    budgets: BudgetsSection = Field(
        default_factory=lambda: BudgetsSection.model_validate({}), description="What may be spent."
    )
    prices: dict[str, PriceSection] = Field(
        default_factory=dict, description="Model name or glob: its price, before the built-in ones."
    )
    ledger: LedgerKey = Field(
        None,
        description="Where it is written down what was used and what it cost, as `ledger: usage.db`. Without it, and"
        " without `organism.journal`, budgets live in the process.",
    )
    backends: tuple[BackendSection, ...] = Field((), description="Where models are.")

    _hook: Hook | None = PrivateAttr(None)

    @field_validator("strategy")
    @classmethod
    def _known_strategy(cls, strategy: str, info: ValidationInfo) -> str:
        if _to_come(info):
            return strategy
        try:
            strategy_of(strategy)
        except ConfigError as error:
            raise ValueError(str(error)) from None
        return strategy

    @model_validator(mode="after")
    def _names_and_chains(self) -> LLMSection:
        names: set[str] = set()
        try:
            for one in self.backends:
                names.add(unique_name(one.name, one.provider, names))
            presets = presets_of({name: _preset(each, Timeouts()) for name, each in self.models.items()})
            RoutingTable(
                (), {name: preset.chain for name, preset in presets.items()}
            )  # refuses aliases that are empty or lead back to themselves
        except ConfigError as error:
            raise ValueError(str(error)) from None
        return self

    def observed_by(self, hook: Hook | None) -> LLMSection:
        """The section with what its `on_event` stands for."""
        copy = self.model_copy()
        copy._hook = hook
        return copy


def build_router(
    section: LLMSection | Mapping[str, Any],
    *,
    environ: Mapping[str, str] | None = None,
    on_event: Hook | None = None,
    clock: Clock | None = None,
    random: Callable[[], float] | None = None,
    base: Path | None = None,
    name: str = "",
    ledger: LedgerFile | None = None,
) -> Router:
    """The router of a section.

    Args:
        section: validated, or a plain mapping.
        environ: where keys are read; the process's environment by default.
        on_event, clock, random: as in `Router`.
        base: the directory that relative paths start from; the current one by default.
        name: of the organism, in lines of JSON.
        ledger: instead of the section's own file.

    Raises:
        ConfigError: every mistake of a plain mapping, each with its path.
    """
    if not isinstance(section, LLMSection):
        section = _checked(section)
    environ = os.environ if environ is None else environ
    timeouts = Timeouts(
        section.request_timeout,
        section.attempt_timeout,
        section.first_token_timeout,
        section.idle_timeout,
        section.hedge_after,
    )
    lines = None
    if (written := section.ledger) is not None:
        base = base or Path()
        if written.lines or written.errors:
            usage, errors = (
                None if name is None else base / name for name in (written.lines, written.errors)
            )
            lines = Lines(usage, errors, name)
        if written.path and ledger is None:
            ledger = _ledger_file(base / written.path, name)
    backends = [one.backend(environ) for one in section.backends]
    if section.offline and all(backend.key_missing or backend.key_pending for backend in backends):
        offline = ScriptedBackend(name="offline")
        offline.stands_in = True
        backends.append(offline)
    return Router(
        backends,
        strategy=section.strategy,
        retries=section.retries,
        retry_base_delay=section.retry_base_delay,
        retry_max_delay=section.retry_max_delay,
        timeouts=timeouts,
        models={name: _preset(each, timeouts) for name, each in section.models.items()},
        routing=section.routing,
        budgets=section.budgets.budgets(),
        prices={name: Price(**dict(one)) for name, one in section.prices.items()},
        transport=TransportSettings(
            section.connect_timeout, section.proxy, section.ca_file, section.trust_env
        ),
        keys=_keys(environ) if any(backend.key_pending for backend in backends) else None,
        on_event=on_event,
        hook=section._hook,
        clock=clock,
        random=random,
        ledger=ledger,
        lines=lines,
    )


def _preset(each: str | tuple[str, ...] | PresetSection, usual: Timeouts) -> str | tuple[str, ...] | Preset:
    return each.preset(usual) if isinstance(each, PresetSection) else each


def _ledger_file(path: Path, organism: str) -> LedgerFile:
    from xml_pipeline.journal.ledger_file import LedgerFile  # SQLite: only for who writes it down

    return LedgerFile(path, organism=organism)


def _keys(environ: Mapping[str, str]) -> Keys:
    from xml_pipeline.keys.keys import Keys  # nobody pays for it who names no key

    return Keys(environ)


def _checked(section: Mapping[str, Any]) -> LLMSection:
    """A plain mapping, with the modules imported that it names."""
    try:
        for module in section.get("modules") or ():
            import_module(module)
        made = LLMSection.model_validate(section)
        if made.on_event is None:
            return made
        module, colon, name = made.on_event.partition(":")
        if not colon:
            raise ValueError(f"on_event is '{made.on_event}'; an import path is written `module:function`")
        return made.observed_by(getattr(import_module(module), name))
    except ValidationError as error:
        raise ConfigError([_problem(one) for one in error.errors()]) from None
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        raise ConfigError([Problem(str(error), "llm")]) from None


def _problem(error: Any) -> Problem:
    path = "llm"
    for part in error["loc"]:
        path += f"[{part}]" if isinstance(part, int) else f".{part}"
    message = str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        message = "there is no such key"
    return Problem(message, path)
