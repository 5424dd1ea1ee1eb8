"""The `tests` section: cases, each a message to a listener, what others say meanwhile, and what is to come of it.

A message is written in one way everywhere here: `{Class: {field: value}}`, or a text, which is a `Task` where
something is asked and an `Answer` where something is answered.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, WithJsonSchema

from xml_pipeline.config.names import ListenerName
from xml_pipeline.envelope import Code
from xml_pipeline.llm.section import Count, Dollars, Section

SECTION = "tests"
Ending: TypeAlias = Literal[
    "routing", "validation", "timeout", "handler", "budget", "limit", "interrupted", "huh", "unanswered"
]
"""How an ask ends without a good answer: a code of `SystemError`, a message that was refused, or nothing at all."""

SAYS = ("reply", "call", "calls", "answer", "fail")
"""What a line of a script may be: exactly one of these."""


def _plain(value: object) -> object:
    """Lists as the file has them: the rest of it is read strictly, with tuples in their place."""
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value


def _several(value: object) -> object:
    return tuple(value) if isinstance(value, list | tuple) else value if value is None else (value,)


Said: TypeAlias = Annotated[
    Any, PlainValidator(_plain, json_schema_input_type=str | dict[str, dict[str, Any]])
]
"""A message; that its class and fields fit is checked with the contracts of the listeners."""


def _times(value: int | str) -> int | str:
    if value == "any" or (isinstance(value, int) and value >= 1):
        return value
    raise ValueError(f"must be a whole number from 1, or `any`, not {value}")


Times = Annotated[
    int | str,
    AfterValidator(_times),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1}, {"const": "any"}]}),
]


class PatternSection(Section):
    """What a text is held against, where it need not be exactly this."""

    contains: str | None = Field(default=None, description="A part of the text.")
    matches: str | None = Field(
        default=None, description="A regular expression that is found somewhere in the text."
    )


class PeerCallSection(Section):
    """A call of a peer."""

    call: ListenerName = Field(description="The peer.")
    with_: Said = Field(
        default=None, alias="with", description="The message: `{Class: {field: value}}`, or a text."
    )


class FailSection(Section):
    """How a listener fails."""

    code: Code = Field(
        default="handler",
        description="As in `SystemError`. For an agent, whose model fails then, `handler` or `timeout`.",
    )
    message: str = Field(default="it fails in this test", description="What is told with it.")


class LineSection(Section):
    """One thing that somebody says: exactly one of `reply`, `call`, `calls`, `answer` and `fail`."""

    match: str = Field(
        default="",
        description="A regular expression: the line is for what it is found in (the message to a model, or the"
        " results of its calls; the XML of what others are asked). Without it, for anything.",
    )
    reply: str | None = Field(default=None, description="What the model writes, as it is.")
    call: ListenerName | None = Field(default=None, description="The peer that the model calls.")
    with_: Said = Field(default=None, alias="with", description="The message of that `call`.")
    calls: tuple[PeerCallSection, ...] | None = Field(
        default=None, min_length=1, description="Several calls, all in the same answer of the model."
    )
    answer: Said = Field(
        default=None, description="What the listener answers: `{Class: {field: value}}`, or a text."
    )
    fail: FailSection | None = Field(default=None, description="That it fails, and how.")
    times: Times = Field(
        default=1,
        description="How often it is said; with `any` as often as it is needed, and not at all is no mistake.",
    )


Lines = Annotated[
    tuple[LineSection, ...], BeforeValidator(_several, json_schema_input_type=LineSection | list[LineSection])
]


class ErrorSection(Section):
    """An error that is to come."""

    code: Ending = Field(
        description="As in `SystemError`; `huh` for a message that was refused, `unanswered` when nothing comes back."
    )
    message: str | PatternSection | None = Field(
        default=None, description="Its text, or `{contains: …}`, or `{matches: …}`."
    )


class ExpectSection(Section):
    """What is to come of it. Without `answer` and `error`, any answer that is no error."""

    answer: Said = Field(
        default=None,
        description="The answer: its class, and those of its fields that matter. A text in it may be"
        " `{contains: …}` or `{matches: …}`.",
    )
    error: ErrorSection | None = Field(default=None, description="The error that comes instead of an answer.")
    calls: tuple[ListenerName, ...] = Field(
        default=(), description="Listeners that are called, in this order; others may be called between."
    )
    never: tuple[ListenerName, ...] = Field(default=(), description="Listeners that are not called.")
    usd_at_most: Dollars | None = Field(
        default=None,
        description="What models may cost together. Offline they cost what `llm.prices` says, or nothing.",
    )
    tokens_at_most: Count | None = Field(
        default=None,
        description="Input and output tokens of all models together; offline by the texts' length.",
    )


class LiveSection(Section):
    """How often a case runs with `--live`, where models do not say the same every time."""

    times: Count = Field(default=1, description="How often it runs.")
    at_least: Count | None = Field(default=None, description="How often it has to pass; default: every time.")


class CaseSection(Section):
    """One case: a message to a listener, what models, people and other listeners say, and what is to come of it."""

    name: str = Field(min_length=1, max_length=200, description="What it shows, in a few words; there once.")
    to: ListenerName = Field(description="The listener that is asked.")
    send: Said = Field(
        description="What it is asked: `{Class: {field: value}}`, or a text, which is a `Task`."
    )
    script: dict[str, Lines] = Field(
        default_factory=dict,
        description="Who says what: an agent's model, a person, another listener in the place of"
        " its handler, which is not called then. Lines are said in their order, each once.",
    )
    expect: ExpectSection = Field(default_factory=ExpectSection, description="What is to come of it.")
    live: LiveSection = Field(
        default_factory=LiveSection, description="How often it runs with `xp test --live`, and has to pass."
    )


def said_as(line: LineSection) -> str:
    """Which of `SAYS` a line is."""
    return next(key for key in SAYS if getattr(line, key) is not None)


def calls_of(line: LineSection) -> tuple[tuple[str, Any], ...]:
    """The calls that a model makes: peer and message."""
    if line.call is not None:
        return ((line.call, line.with_),)
    return tuple((each.call, each.with_) for each in line.calls or ())


def class_and_fields(said: Any, text_class: str) -> tuple[str, Any]:
    """The class of a message and its fields; of one that was checked."""
    if isinstance(said, str):
        return text_class, {"text": said}
    ((name, fields),) = said.items()
    return name, fields
