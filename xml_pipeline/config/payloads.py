"""The `payloads` section: what it may hold, for editors and the reference page, and its classes.

What it means is read by `payload/declaring.py`, which says every mistake in the words of the language; the models
here say what a schema can say of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Annotated, Any

from pydantic import Field, PlainValidator

from xml_pipeline.config.classes import BUILT_IN
from xml_pipeline.config.document import Document, Path
from xml_pipeline.config.secrets import refuse_variables
from xml_pipeline.errors import PayloadTypeError
from xml_pipeline.llm.section import NAMES, Section
from xml_pipeline.marks import OPEN
from xml_pipeline.payload.declared import Declarations, classes_of
from xml_pipeline.payload.declaring import read_declarations

SECTION = "payloads"
_TAKEN = (
    *BUILT_IN,
    *("Gathered", "Huh", "SystemError", "BrokenRule", "Approval"),
    *("AgentState", "RememberedTask", "FlowState", "HandOver", "ReadSkill"),
)

_Bound = int | float | str
_TypeName = Annotated[str, Field(json_schema_extra={NAMES: "types"})]
_Declared = Annotated[str, Field(json_schema_extra={NAMES: "declared"})]

_NO_VARIABLE = "holds a variable; what a class is may not depend on the environment, so write the value"
"""Others hold its messages to its schema."""


class TypeSection(Section):
    """A type with its bounds, where a list of it stands: exactly one of `type`, `list`, `one_of` and `any_of`."""

    type: Annotated[_TypeName | list[str] | TypeSection | None, OPEN] = Field(
        default=None,
        description="`text`, `integer`, `number`, `decimal`, `boolean`, `date`, `datetime`, `duration`, or a class of"
        " `payloads`; or words, of which the value is one.",
    )
    list_: Annotated[_TypeName | list[str] | TypeSection | None, OPEN] = Field(
        default=None, alias="list", description="The type of a list's items, written as any type."
    )
    one_of: Annotated[list[str] | None, OPEN] = Field(
        default=None,
        description="Words, of which the value is one; a list in the place of a type says the same. `true`, `1`,"
        " `null` and `yes` are words in quotes only.",
    )
    any_of: Annotated[list[_Declared] | None, OPEN] = Field(
        default=None, description="Two classes or more, of which the value is one."
    )
    min: Annotated[_Bound | None, OPEN] = Field(
        default=None, description="The smallest number, date, time or duration (`PT90S`) that is allowed."
    )
    max: Annotated[_Bound | None, OPEN] = Field(default=None, description="The largest one.")
    min_length: Annotated[int | None, OPEN] = Field(
        default=None, ge=0, description="The fewest characters of a text, or items of a list."
    )
    max_length: Annotated[int | None, OPEN] = Field(default=None, ge=0, description="The most of them.")
    pattern: Annotated[str | None, OPEN] = Field(
        default=None,
        description="What the whole text matches, in what XSD, JSON Schema and Rust's regular expressions have in"
        " common: no `^`, `$`, `(?`, `*?`; `\\d`, `\\w` and `\\s` are those of ASCII. It runs in linear time.",
    )
    example: Annotated[bool | int | float | str | None, OPEN] = Field(
        default=None,
        description="A value for the example that models copy; needed where a required field has bounds that no usual"
        " value keeps.",
    )


class FieldSection(TypeSection):
    """One field: exactly one of `type`, `list`, `one_of` and `any_of`, and what holds of it; `name: text` is short
    for `name: {type: text}`."""

    optional: Annotated[bool, OPEN] = Field(
        default=False, description="Whether it may be absent; in Python it is None then."
    )
    default: Annotated[bool | int | float | str | list[Any] | None, OPEN] = Field(
        default=None,
        description="What stands for it when it is absent; not beside `optional`, and not for classes.",
    )
    description: Annotated[str, OPEN] = Field(default="", description="What it is, for models and people.")


class PayloadSection(Section):
    """One class of messages. Its fields hold values, lists and other classes; a class that holds
    itself does so in an optional field or in a list."""

    description: Annotated[str, OPEN] = Field(
        default="", description="What such a message says; models and people read it."
    )
    fields: Annotated[Mapping[str, _TypeName | list[str] | FieldSection], OPEN] = Field(
        description="Its fields, each with its type. A name begins with a small letter; words of Python are refused."
    )


Payloads = Annotated[
    Mapping[str, Any],
    PlainValidator(lambda value: value, json_schema_input_type=dict[str, PayloadSection]),
]


def declared(document: Document) -> tuple[Declarations, Mapping[str, type[Any]]]:
    """The declarations of a document and their classes; mistakes are reported, and then there are no classes."""
    data: Any = document.data
    organism = data.get("organism")
    name = organism.get("name") if isinstance(organism, Mapping) else None
    owner = name if isinstance(name, str) else ""
    nothing = Declarations(owner), MappingProxyType[str, type[Any]]({})
    if SECTION not in data:
        return nothing
    if data[SECTION] is None:
        document.report((SECTION,), "is empty; declare a class, or leave the key out")
        return nothing
    before = document.found
    refuse_variables(document, SECTION, _NO_VARIABLE)
    doubtful = {path[1:] for path in document.doubtful if path[:1] == (SECTION,)}
    declarations, mistakes = read_declarations(data[SECTION], owner=owner, taken=_TAKEN, doubtful=doubtful)
    for mistake in mistakes:
        document.report((SECTION, *mistake.path), mistake.message, at_key=mistake.at_key)
    if mistakes or document.found > before:
        return nothing
    try:
        return declarations, classes_of(declarations)
    except PayloadTypeError as error:
        for violation in error.violations:
            cls, _, field = violation.field.partition(".")
            path: Path = (SECTION, cls, "fields", field) if field else (SECTION, cls)
            document.report(path, violation.rule, at_key=True)
        return nothing


def words(document: Document) -> tuple[str, ...]:
    """The classes that are declared, well or not: whoever names one of them made no mistake."""
    data: Any = document.data
    section = data.get(SECTION)
    return tuple(section) if isinstance(section, Mapping) else ()


def unused(declarations: Declarations, named: Iterable[str]) -> list[str]:
    """The declared classes that neither `named` ones are nor lead to."""
    declared = {each.name: each for each in declarations.classes}
    used: set[str] = set()
    waiting = [name for name in named if name in declared]
    while waiting:
        name = waiting.pop()
        if name not in used:
            used.add(name)
            waiting += [inner for field in declared[name].fields for inner in field.type.classes]
    return [name for name in declared if name not in used]
