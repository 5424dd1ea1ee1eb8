"""What `organism.yaml` may hold, as frozen models; their texts become the reference page and the JSON Schema.

Rules that concern more than one key (peers that exist, keys that fit the kind of listener) are in `checks`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from pydantic import BeforeValidator, Field, PrivateAttr, create_model

from xml_pipeline.agents import Skill
from xml_pipeline.config.cases import CaseSection
from xml_pipeline.config.document import Place
from xml_pipeline.config.names import ListenerName, Name
from xml_pipeline.config.payloads import Payloads, unused
from xml_pipeline.config.triggers import Doors, TriggerSection, WebhooksSection
from xml_pipeline.errors import ConfigError, Problem
from xml_pipeline.flows.section import StepSection
from xml_pipeline.journal.span import PATTERN as SPAN_PATTERN
from xml_pipeline.llm.section import NAMES, BudgetSection, Count, LLMSection, ModelName, Seconds, Section
from xml_pipeline.marks import CLOSED, OPEN, closed, only, up_to
from xml_pipeline.payload.declared import Declarations
from xml_pipeline.pump.listener import MOST_RETRIES, NAME
from xml_pipeline.pump.settings import MOST_PROCESSES

EXTENSION = "x-"
"""How keys of the whole file begin that mean nothing: what they hold is for anchors."""

FORMAT = 1
"""The version of the language that this version of the package reads."""

_WORDS = r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*"
IMPORT_PATTERN = f"^{_WORDS}:{_WORDS}$"
CLASS_PATTERN = rf"^({_WORDS}:{_WORDS}|[A-Za-z_]\w*)$"


def _several(value: object) -> object:
    """One name or mapping, or a list of them, as a tuple."""
    if isinstance(value, str | Mapping):
        return (value,)
    return tuple(value) if isinstance(value, list) else value


ImportPath = Annotated[str, Field(pattern=IMPORT_PATTERN, max_length=500)]
ClassName = Annotated[str, Field(pattern=CLASS_PATTERN, max_length=500, json_schema_extra={NAMES: "classes"})]
Classes = Annotated[
    tuple[ClassName, ...],
    Field(min_length=1),
    BeforeValidator(_several, json_schema_input_type=ClassName | list[ClassName]),
]
Folder = Annotated[str, Field(min_length=1)]
BudgetSections = Annotated[
    tuple[BudgetSection, ...],
    BeforeValidator(_several, json_schema_input_type=BudgetSection | list[BudgetSection]),
]
Kind = Literal["tool", "agent", "human", "flow", "box"]


def _path_alone(value: object) -> object:
    """A path alone is the section; an empty one is none, so that a variable can say whether there is a journal."""
    if value == "" or (isinstance(value, Mapping) and value.get("path") == ""):
        return None
    return {"path": value} if isinstance(value, str) else value


class JournalSection(Section):
    """Where work is written down, so that it survives."""

    path: str = Field(
        min_length=1,
        description="The file, relative to this one's folder; it is made when it does not exist. One process at a"
        " time may use it. Empty for no journal, as `${JOURNAL:-}`.",
    )
    synchronous: Literal["normal", "full"] = Field(
        default="normal",
        description="`normal` survives the death of the process, and may lose the last moments at a power cut; `full`"
        " survives that too, and waits for the disk.",
    )
    keep: str | None = Field(
        default=None,
        pattern=SPAN_PATTERN,
        description="How long a conversation is kept after its end, as `90s`, `15m`, `12h` or `7d`; then it is"
        " deleted, and its key is not known any more. Open ones stay, and those with a dead letter until that is"
        " dropped. Without it, everything is kept.",
    )


JournalKey = Annotated[
    JournalSection | None, BeforeValidator(_path_alone, json_schema_input_type=str | JournalSection)
]


@dataclass(frozen=True, slots=True)
class For:
    """Marks a key with the kinds of listeners that may have it; one without a mark is for handlers and agents."""

    handlers: bool = False
    agents: bool = False
    people: bool = False
    flows: bool = False
    boxes: bool = False


EVERYBODY = For(handlers=True, agents=True, people=True, flows=True, boxes=True)
HANDLERS = For(handlers=True)
AGENTS = For(agents=True)
PEOPLE = For(people=True)
FLOWS = For(flows=True)
BOXES = For(boxes=True)

BY_ITSELF = closed("such a file begins nothing by itself")
USE = closed("such a file uses no other organism")
CODE = closed("it goes with code, and of such a file none is run")


@dataclass(frozen=True, slots=True)
class NamedModel:
    """A model, or an alias of one, as the file names it.

    Attributes:
        name: what is asked for.
        shown: as an error may show it.
        problem: where it stands, with the message still to be written.
    """

    name: str = field(repr=False)
    shown: str
    problem: Problem


class LimitsSection(Section):
    """Where a conversation ends that does not end by itself."""

    messages: Annotated[Count, up_to(10_000)] = Field(
        default=10_000,
        description="Messages of one conversation, answers included; the next one is refused with `limit`.",
    )
    depth: Annotated[Count, up_to(64)] = Field(
        default=64,
        description="Calls below calls in one conversation; a deeper call is refused with `limit`.",
    )
    seconds: Annotated[Seconds, up_to(3600)] = Field(
        default=3600.0,
        description="Seconds that one conversation may last; then it ends with `limit`. Time in which it only waits"
        " for people does not count, nor does time in which the organism was down.",
    )
    handovers: Annotated[Count, up_to(8)] = Field(
        default=8,
        description="How often one call may be handed over, from listener to listener; the next time is refused with"
        " `limit`.",
    )
    message_bytes: Annotated[Count, up_to(12_582_912)] = Field(
        default=12_582_912,
        description="Bytes of one message on the wire, envelope included; a larger one is refused.",
    )


class OrganismSection(Section):
    """The organism as a whole."""

    name: Annotated[str, OPEN] = Field(
        min_length=1, max_length=200, description="The organism's name, as consoles and logs show it."
    )
    format: Annotated[Literal[1], OPEN] = Field(
        default=1,
        description="The version of this file's language. `xml-pipeline migrate` brings a file without one to it.",
    )
    description: Annotated[str, OPEN] = Field(
        default="", description="What the organism is for, in a sentence."
    )
    default: Annotated[ListenerName | None, OPEN] = Field(
        default=None,
        description="The listener that gets what is typed in the console without `@name`. Without it, bare text is"
        " refused with the list of listeners.",
    )
    thread_scheduling: Annotated[Literal["breadth-first", "depth-first"], OPEN] = Field(
        default="breadth-first",
        description="Whose message is next when several wait: `breadth-first` takes turns between conversations,"
        " `depth-first` takes the newest message.",
    )
    max_in_flight: Annotated[Count, up_to(1000)] = Field(
        default=1000,
        description="Messages accepted and not yet handled; `ask` and `send` wait while there are so many.",
    )
    max_concurrent_handlers: Annotated[Count, up_to(256)] = Field(
        default=256,
        description="Handlers that run at once in the organism; beside others, no listener takes the last slot.",
    )
    max_concurrent_per_agent: Annotated[Count, up_to(64)] = Field(
        default=64,
        description="Handlers of one listener that run at once, if it sets no `max_concurrent` of its own.",
    )
    processes: Annotated[int, CLOSED] = Field(
        default=2,
        ge=1,
        le=MOST_PROCESSES,
        description="Processes for listeners with `cpu_bound: true`; they start with the first message to one.",
    )
    journal: Annotated[JournalKey, closed("whoever runs the file says where work is kept")] = Field(
        default=None,
        description="The file in which all work is written down before it goes on, as `journal: state.db`. What was"
        " not done when the process stopped or died goes on with the next start. Without it, that is lost.",
    )
    shutdown_seconds: Annotated[float, up_to(10)] = Field(
        default=10.0,
        ge=0,
        allow_inf_nan=False,
        description="Seconds that a stop waits for running handlers before it cancels them; 0 cancels at once.",
    )
    timeout_seconds: Annotated[Seconds, up_to(3600)] = Field(
        default=300.0,
        description="Seconds that one handler call may take; then its caller gets a `SystemError` with the code"
        " `timeout`. A listener's own `timeout_seconds` goes first.",
    )
    doors: Annotated[Doors, BY_ITSELF] = Field(
        default_factory=dict,
        description="What triggers, webhooks and whoever else comes in by itself may reach: names of listeners, each"
        " with what that may cost, or a list of names. None by default; the console, tests and Python reach all.",
    )
    webhooks: Annotated[WebhooksSection, BY_ITSELF] = Field(
        default_factory=WebhooksSection, description="Where the webhooks of `triggers` are listened for."
    )
    limits: Annotated[LimitsSection, OPEN] = Field(
        default_factory=LimitsSection,
        description="Bounds of one conversation, against graphs that run away.",
    )


class HistorySection(Section):
    """How much an agent remembers; the oldest goes first, a call and its result never apart."""

    messages: Annotated[Count, up_to(1000)] = Field(
        default=40, description="Messages kept of the history, the system prompt not counted."
    )
    tokens: Annotated[Count, up_to(200_000)] = Field(
        default=8000,
        description="Estimated tokens kept of the history; the oldest tool results are shortened first.",
    )


class PromptFile(Section):
    """A file that is a part of a prompt, or all of it."""

    file: Annotated[str, OPEN] = Field(
        min_length=1,
        description="A UTF-8 file, relative to the file that names it; read once, at load.",
    )


def _parts(value: object) -> object:
    """A prompt of one part is a list of one."""
    return tuple(value) if isinstance(value, list | tuple) else value if value is None else (value,)


Prompt = Annotated[
    tuple[str | PromptFile, ...],
    BeforeValidator(_parts, json_schema_input_type=str | PromptFile | list[str | PromptFile]),
]


class ListenerConfig(Section):
    """One listener: a tool (`handler`), an agent (`agent: true`) or a person (`human: true`)."""

    name: Annotated[Name, EVERYBODY, OPEN] = Field(
        description="The listener's name: letters, digits, `_`, `-` and `.` (a dot has no meaning of its own)."
    )
    description: Annotated[str, EVERYBODY, OPEN] = Field(
        default="", description="What it does, in a sentence; agents that may call it read this text."
    )
    handler: Annotated[ImportPath | None, HANDLERS, CODE] = Field(
        default=None,
        description="The function that handles a message, as `module:function`; the module is looked for beside"
        " organism.yaml first, then as every import.",
    )
    accepts: Annotated[Classes | None, EVERYBODY, OPEN] = Field(
        default=None,
        description="The payload class, or classes, of what it is asked: `module:Class`, or a class of this file."
        " Default: for a handler the annotation of its first parameter, for agents and people `Task`.",
    )
    answers: Annotated[Classes | None, EVERYBODY, OPEN] = Field(
        default=None,
        description="The payload class, or classes, that it answers with; with another one it fails, and its caller"
        " gets a `SystemError` with the code `validation`. Default: for a handler what it says it returns, as"
        " `-> HandlerResponse[Sum]` (a plain `HandlerResponse` declares nothing), for agents and people `Answer`,"
        " one text field. Errors may always be answered.",
    )
    agent: Annotated[bool, OPEN] = Field(
        default=False,
        description="Whether an LLM drives it. Without a `handler` it is the built-in agent; with one, the handler"
        " is told its own name and how to call its peers.",
    )
    human: Annotated[bool, PEOPLE, OPEN] = Field(
        default=False, description="Whether a person answers: the console asks, and no slot is held."
    )
    flow: Annotated[tuple[StepSection, ...] | None, FLOWS, OPEN] = Field(
        default=None,
        description="Steps that are done in order, without a model and without code. What a flow calls, and whom it"
        " hands over to, are its steps' business: it has no `peers`. What it answers follows from its ends.",
    )
    use: Annotated[str | None, BOXES, USE] = Field(
        default=None,
        min_length=1,
        description="The organism.yaml of another organism, relative to this file: its listeners work here, each"
        " as `NAME.ITS_NAME`. Only those of `tools` can be called; its `llm` section, limits, journal and default are"
        " not in force.",
    )
    tools: Annotated[
        tuple[Name, ...], BOXES, BeforeValidator(_several, json_schema_input_type=list[Name]), USE
    ] = Field(
        default=(),
        description="The doors of that organism that can be called here; `peers: [NAME]` means all of these.",
    )
    models: Annotated[dict[str, str], BOXES, USE] = Field(
        default_factory=dict,
        description="Which model of this file each model is that the agents of that organism name.",
    )
    people: Annotated[dict[str, ListenerName], BOXES, USE] = Field(
        default_factory=dict,
        description="Who of this file each person of that organism is: asked where that one is asked.",
    )
    peers: Annotated[tuple[ListenerName, ...], OPEN] = Field(
        default=(),
        description="The listeners it may call. None means none; itself and its caller are always allowed.",
    )
    hands_over_to: Annotated[tuple[ListenerName, ...], OPEN] = Field(
        default=(),
        description="The listeners that may take over its calls: they answer its caller. None means none; `peers`"
        " does not imply it, nor it `peers`.",
    )
    approve: Annotated[ListenerName | None, For(handlers=True, agents=True, flows=True), OPEN] = Field(
        default=None,
        description="The person (a listener with `human: true`) who approves each call of it before it is done."
        " Refused, its caller gets a `SystemError` with the code `refused`.",
    )
    asked_on: Annotated[tuple[str, ...], PEOPLE, only("console")] = Field(
        default=("console",),
        description="The channels on which a person is asked and may answer: `console` (with it commands and Python),"
        " or keys of the gateway.",
    )
    broadcast: Annotated[bool, For(handlers=True, agents=True, flows=True), OPEN] = Field(
        default=False,
        description="Whether it also gets what a caller that has it as a peer sends to nobody by name, beside the"
        " other peers that take the class and broadcast.",
    )
    cpu_bound: Annotated[bool, HANDLERS, CODE] = Field(
        default=False,
        description="Whether the handler runs in a process of its own pool, off the event loop.",
    )
    timeout_seconds: Annotated[Seconds | None, up_to(3600)] = Field(
        default=None,
        description="Seconds that one handler call may take; default: `organism.timeout_seconds`.",
    )
    max_concurrent: Annotated[Count | None, up_to(64)] = Field(
        default=None,
        description="Handler calls of this listener that run at once; default: `organism.max_concurrent_per_agent`.",
    )
    remembers: Annotated[Literal["session", "conversation"], HANDLERS, CODE] = Field(
        default="session",
        description="What an entry that an answer adds to the listener's memory is for: later calls of the same"
        " session, or of the same conversation.",
    )
    keep: Annotated[Count, HANDLERS, CODE] = Field(
        default=100, description="Entries that such a memory holds, the newest."
    )
    retries: Annotated[int, HANDLERS, CODE] = Field(
        default=0,
        ge=0,
        le=MOST_RETRIES,
        description="How often a message is handled again whose handler raised: after 1, 2, 4, … seconds, at most 60."
        " Then its caller gets the error, and the message is a dead letter.",
    )
    effects: Annotated[Literal["repeat", "once"], HANDLERS, CODE] = Field(
        default="repeat",
        description="What a handler does when it was interrupted, with `organism.journal`: `repeat` calls it again in"
        " the next life; `once` never does, and its caller gets a `SystemError` with the code `interrupted`.",
    )
    operation: Annotated[str, For(handlers=True, agents=True), OPEN] = Field(
        default="",
        pattern=f"^({NAME.pattern})?$",
        description="What its calls of models are for, as `llm.budgets.operations`, `llm.routing` and reports"
        " know it.",
    )
    model: Annotated[ModelName | None, AGENTS, OPEN] = Field(
        default=None,
        min_length=1,
        description="The model, or a name of `llm.models`; default: what `llm.routing` says for its operation.",
    )
    prompt: Annotated[Prompt, AGENTS, OPEN] = Field(
        default=(),
        description="The system prompt: a text, a file, or a list of texts and files, with an empty line between"
        " them. How to call the peers is added to it.",
    )
    task: Annotated[Mapping[str, str], AGENTS, OPEN] = Field(
        default_factory=dict,
        description="How a task is told to the model, by class of `accepts`: a text in which `{{field}}` and"
        ' `{{field.below or "text"}}` stand for what came. Default: a `Task` is its text, every other class its XML.',
    )
    skills: Annotated[tuple[Folder, ...], AGENTS, OPEN] = Field(
        default=(),
        description="Folders with a SKILL.md, relative to the file that names them, read once, at load. The name and"
        " the description of each stand in the prompt; the model reads the rest when it needs it.",
    )
    max_turns: Annotated[Count, AGENTS, up_to(100)] = Field(
        default=8,
        description="Turns for one task, each an answer of the model with all its calls; after the last one the"
        " caller gets an error. Corrections of an invalid answer, at most two in a row, are not counted.",
    )
    max_tokens: Annotated[Count | None, AGENTS, OPEN] = Field(
        default=None, description="Tokens that one answer of the model may have; default: the provider's."
    )
    temperature: Annotated[float | None, AGENTS, OPEN] = Field(
        default=None,
        ge=0,
        le=2,
        allow_inf_nan=False,
        description="Sampling temperature; default: the provider's.",
    )
    history: Annotated[HistorySection, AGENTS, OPEN] = Field(
        default_factory=HistorySection, description="Bounds of what the agent remembers."
    )
    calls: Annotated[Literal["auto", "native", "xml"], AGENTS, OPEN] = Field(
        default="auto",
        description="How the model calls peers: `native` tool calls, `xml` in its text, or `auto`: native where the"
        " backend can.",
    )
    memory: Annotated[Literal["call", "session", "conversation", "none"], AGENTS, OPEN] = Field(
        default="session",
        description="How long it remembers: one `call` with all its turns, a `session` (all calls that one caller's"
        " thread makes), the `conversation`, or `none` (a model call sees the task and the latest results only).",
    )
    peer_timeout_seconds: Annotated[Seconds, AGENTS, up_to(3600)] = Field(
        default=300.0,
        description="Seconds that the agent waits for its peers' answers; a missing one becomes a tool"
        " result that says so. Time in which only people are waited for does not count.",
    )

    budget: Annotated[BudgetSections, For(handlers=True, agents=True, flows=True, boxes=True), OPEN] = Field(
        default=(),
        description="What it may spend on models, in tokens and USD: one limit, or a list of them (per day and per"
        " month). The same as `llm.budgets.agents` with its name.",
    )

    @property
    def prompt_text(self) -> str:
        """The whole prompt, once the file was loaded: then no part of it is a file."""
        texts = [part for part in self.prompt if isinstance(part, str)]
        return texts[0] if len(texts) == 1 else "\n\n".join(text.strip("\n") for text in texts)

    @property
    def kind(self) -> Kind:
        """`tool` has a handler, `agent` is the built-in one, `human` a person, `flow` steps, `box` another file."""
        if self.use is not None:
            return "box"
        if self.flow is not None:
            return "flow"
        if self.human:
            return "human"
        return "agent" if self.agent and self.handler is None else "tool"


DEFAULTED = (
    "model",
    "calls",
    "max_turns",
    "max_tokens",
    "temperature",
    "memory",
    "history",
    "peer_timeout_seconds",
    "timeout_seconds",
    "max_concurrent",
)
"""Keys of agents that may stand in `defaults`: those that say how an agent works.

Who it is and what it may do stands at itself (`name`, `description`, `prompt`, `accepts`, `answers`, `peers`), and so
does what it may spend: a `budget` for all would be read as one for all together.
"""

if TYPE_CHECKING:
    from xml_pipeline.config.untrusted import Untrusted

    AgentDefaults: TypeAlias = Section
else:
    AgentDefaults = create_model(
        "AgentDefaults",
        __base__=Section,
        __doc__="What built-in agents have that do not say otherwise, each key for itself.",
        **{
            key: (field.annotation, field)
            for key, field in ListenerConfig.model_fields.items()
            if key in DEFAULTED
        },
    )


class DefaultsSection(Section):
    """The only place for defaults."""

    agents: Annotated[AgentDefaults, OPEN] = Field(
        default_factory=AgentDefaults,
        description="What built-in agents have that do not say otherwise, each key for itself.",
    )


class OrganismConfig(Section):
    """An organism: its listeners, their limits and the models they may use."""

    organism: Annotated[OrganismSection, OPEN] = Field(description="The organism as a whole.")
    defaults: Annotated[DefaultsSection, OPEN] = Field(
        default_factory=DefaultsSection, description="What listeners have that do not say otherwise."
    )
    listeners: Annotated[tuple[ListenerConfig, ...], OPEN] = Field(
        default=(),
        description="The listeners; or a directory, relative to this file, of *.yaml files that hold one listener or"
        " a list of them each.",
    )
    payloads: Annotated[Payloads, OPEN] = Field(
        default_factory=dict,
        description="Payload classes by name, without Python; listeners name them in `accepts` and the like.",
    )
    triggers: Annotated[tuple[TriggerSection, ...], BY_ITSELF] = Field(
        default=(), description="What begins conversations by itself, while `xml-pipeline run` runs."
    )
    llm: Annotated[
        LLMSection,
        closed("models are those of whoever runs the file: `--llm FILE`, in Python `Untrusted(llm=...)`"),
    ] = Field(
        default_factory=LLMSection, description="Backends, models, limits and budgets of language models."
    )
    tests: Annotated[
        tuple[CaseSection, ...],
        closed("cases stand in a *.test.yaml file of their own"),
    ] = Field(
        default=(),
        description="Cases for `xml-pipeline test`; nothing of them is in force when the organism runs.",
    )

    _base: Path = PrivateAttr(default_factory=Path)
    _untrusted: Untrusted | None = PrivateAttr(default=None)
    _environ: Mapping[str, str] = PrivateAttr(default_factory=lambda: MappingProxyType({}))
    _resolved: Mapping[str, Any] = PrivateAttr(default_factory=lambda: MappingProxyType({}))
    _unchecked: tuple[str, ...] = PrivateAttr(default=())
    _declarations: Declarations = PrivateAttr(default=Declarations(""))
    _boxes: Mapping[str, Box] = PrivateAttr(default_factory=lambda: MappingProxyType({}))
    _flows: Mapping[str, Any] = PrivateAttr(default_factory=lambda: MappingProxyType({}))
    _classes: Mapping[str, type[Any]] = PrivateAttr(default_factory=lambda: MappingProxyType({}))
    _models: tuple[NamedModel, ...] = PrivateAttr(default=())
    _test_places: tuple[Place, ...] = PrivateAttr(default=())
    _skills: Mapping[int, tuple[Skill, ...]] = PrivateAttr(default_factory=lambda: MappingProxyType({}))

    @property
    def base(self) -> Path:
        """The directory that relative paths and import paths start from."""
        return self._base

    @property
    def llm_base(self) -> Path:
        """The directory that relative paths of the `llm` section start from."""
        return (self._untrusted and self._untrusted.base) or self._base

    @property
    def untrusted(self) -> Untrusted | None:
        """How it was read, if it is from somebody else."""
        return self._untrusted

    @property
    def environ(self) -> Mapping[str, str]:
        """The variables the file was read with: the process's over those of `.env`. Never shown."""
        return self._environ

    @property
    def resolved(self) -> Mapping[str, Any]:
        """What the import paths of the file (`handler`, `accepts`, …) stand for.

        Raises:
            ConfigError: the file was read without importing its handlers.
        """
        if self._unchecked:
            raise ConfigError("the file was read without importing what it names; load it with imports='all'")
        return self._resolved

    @property
    def declarations(self) -> Declarations:
        """What `payloads` declares."""
        return self._declarations

    @property
    def classes(self) -> Mapping[str, type[Any]]:
        """The classes of `payloads`, by name."""
        return self._classes

    @property
    def known(self) -> Mapping[str, Any]:
        """`resolved`, as far as it goes."""
        return self._resolved

    @property
    def boxes(self) -> Mapping[str, Box]:
        """The other organisms that are used, by the names of their listeners here."""
        return self._boxes

    @property
    def flows(self) -> Mapping[str, Any]:
        """What each `flow` does, by the name of its listener (`config.flows.FlowConfig`)."""
        return self._flows

    @property
    def unused(self) -> list[str]:
        """The classes of `payloads` that no listener names, by itself or within another class."""
        named = [name for each in self.listeners for name in (*(each.accepts or ()), *(each.answers or ()))]
        named += [cls.__name__ for each in self._flows.values() for cls in each.flow.answers]
        return unused(self._declarations, named)

    @property
    def unchecked(self) -> tuple[str, ...]:
        """What was not imported and so not checked, as `listeners[2].handler: handlers:greet`."""
        return self._unchecked

    @property
    def skills(self) -> Mapping[int, tuple[Skill, ...]]:
        """What agents may read, by the index of the listener."""
        return self._skills

    @property
    def named_models(self) -> tuple[NamedModel, ...]:
        """Where models are named: by agents, and in the chains of the `llm` section."""
        return self._models

    @property
    def test_places(self) -> tuple[Place, ...]:
        """Where each of `tests` stands."""
        return self._test_places


@dataclass(frozen=True, slots=True)
class Box:
    """Another organism that is used in this one.

    Attributes:
        entry: what this file says of it.
        config: what its own file says.
    """

    entry: ListenerConfig
    config: OrganismConfig

    @property
    def full_names(self) -> Mapping[str, str]:
        """Its listeners' names in their own file, and here."""
        return {each.name: f"{self.entry.name}.{each.name}" for each in self.config.listeners}


def listener_keys() -> dict[str, For]:
    """Each key of a listener, and who may have it."""
    return {
        name: next(
            (each for each in field.metadata if isinstance(each, For)), For(handlers=True, agents=True)
        )
        for name, field in ListenerConfig.model_fields.items()
    }
