"""pydantic's errors → problems with a place, in the words of somebody who writes YAML."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from pydantic import ValidationError

from xml_pipeline.config.document import Document, Path, plain_value
from xml_pipeline.config.former import NOW
from xml_pipeline.config.imports import with_colon
from xml_pipeline.config.models import CLASS_PATTERN, IMPORT_PATTERN
from xml_pipeline.config.names import NAME_PATTERN
from xml_pipeline.config.triggers import PATH_PATTERN, VARIABLE_PATTERN
from xml_pipeline.errors import cut, did_you_mean, listing
from xml_pipeline.journal.span import PATTERN as SPAN_PATTERN

Schema = Mapping[str, Any]

_PATTERNS = {
    NAME_PATTERN: "must be a name: a letter or `_`, then letters, digits, `_`, `-` and `.`, at most 100",
    IMPORT_PATTERN: "must be an import path, as `module:function`",
    PATH_PATTERN: "must be a path, as `/hooks/order`",
    VARIABLE_PATTERN: "must be the name of an environment variable",
    SPAN_PATTERN: "must be a length of time, as `90s`, `15m`, `12h` or `7d`",
    CLASS_PATTERN: "must be a payload class: a name of `payloads`, `Task`, `Answer`, or `module:Class`",
}
_WANTED = {
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "`true` or `false`",
    "string_type": "text",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a mapping (`key: value`)",
    "model_type": "a mapping (`key: value`)",
    "model_attributes_type": "a mapping (`key: value`)",
}
_TYPED_BY_KEY = ("int_type", "float_type", "bool_type")


def retype(document: Document, error: ValidationError) -> bool:
    """Give texts with `${…}` the number or truth value that their key asks for; whether any changed."""
    changed = False
    for detail in error.errors(include_url=False, include_context=False):
        path = written_path(document, detail["loc"])
        if detail["type"] in _TYPED_BY_KEY and path in document.expanded and isinstance(detail["input"], str):
            value = plain_value(detail["input"])
            if not isinstance(value, str):
                _put(document.data, path, value)
                changed = True
    return changed


def _put(data: Any, path: Path, value: object) -> None:
    for part in path[:-1]:
        data = data[part]
    data[path[-1]] = value


def diagnose(document: Document, error: ValidationError, schema: Schema) -> None:
    """Report every mistake in `error`; `schema` is the JSON Schema of the whole document."""
    for path, detail in _by_path(document, error):
        kind = detail["type"]
        message = partial(_MESSAGES.get(kind, _message), document, path, detail, schema)
        document.report(path, message, at_key=kind in _MESSAGES)


def _by_path(document: Document, error: ValidationError) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Each mistake with its path; what a union's members say about one value is one mistake."""
    typed: dict[Path, dict[str, Any]] = {}
    others: list[Path] = []
    for detail in error.errors(include_url=False):
        path = written_path(document, detail["loc"])
        if detail["type"] == "too_short" and len(detail["input"]) > detail["ctx"]["actual_length"]:
            continue  # only what was right is counted, and what was not is told
        one: dict[str, Any] = {**detail, "wanted": _WANTED.get(detail["type"], "")}
        if not one["wanted"]:
            others.append(path)
            yield path, one
        elif path in typed:
            if one["wanted"] not in typed[path]["wanted"]:
                typed[path]["wanted"] += f" or {one['wanted']}"
        else:
            typed[path] = one
    above = {path[:length] for path in (*others, *typed) for length in range(len(path))}
    for path, one in typed.items():
        if path not in above:
            yield path, one


def written_path(document: Document, loc: Sequence[str | int]) -> Path:
    """The part of a pydantic location that stands in the document (it also names union members)."""
    path: Path = ()
    for part in loc:
        if (*path, part) in document.values:
            path = (*path, part)
    return path


def _unknown(document: Document, path: Path, detail: Mapping[str, Any], schema: Schema) -> str:
    name = str(path[-1]) if path else ""
    if len(path) == 3 and path[0] == "listeners" and name in NOW:
        return f"`{name}` is called `{NOW[name]}` now; `xml-pipeline migrate` mends the file"
    known = {key for place in _at(schema, schema, path[:-1]) for key in place.get("properties", {})}
    return f"`{cut(name)}` is no key here{did_you_mean(name, known)}; keys are: {listing(known)}"


def _missing(document: Document, path: Path, detail: Mapping[str, Any], schema: Schema) -> str:
    name = detail["loc"][-1]
    described = _described(schema, (*path, name))
    return f"`{name}` is missing{f': {described}' if described else ''}"


def _message(document: Document, path: Path, detail: Mapping[str, Any], schema: Schema) -> str:
    kind, value, context = detail["type"], detail["input"], detail.get("ctx", {})
    text = f"must be {detail['wanted']}" if detail["wanted"] else _requirement(kind, detail["msg"], context)
    if value is None:
        return f"is empty; it {text}, or leave the key out"
    if path in document.hidden:
        # pydantic's own texts hold no values; those of validators may.
        text = text.replace(str(value), document.hidden[path]) if str(value) else text
        return f"{text} (the value of {document.hidden[path]} is not)" if kind != "value_error" else text
    if kind == "value_error":
        return _without_hidden(document, path, text)
    if isinstance(value, str):
        options = {str(option) for place in _at(schema, schema, path) for option in place.get("enum", ())}
        hint = did_you_mean(value, options)
        if kind in ("tuple_type", "list_type"):
            hint = f": `[{cut(value)}]`"
        elif context.get("pattern") in (IMPORT_PATTERN, CLASS_PATTERN) and with_colon(value) != value:
            hint = f"; write `{with_colon(value)}`"
        elif kind == "bool_type" and value.lower() in ("yes", "no", "on", "off", "y", "n"):
            hint = f"; write `{'true' if value.lower() in ('yes', 'on', 'y') else 'false'}`"
        return f"{text}, not '{cut(value)}'{hint}"
    if kind == "string_type" and isinstance(value, int | float):
        return f'{text}, not {_yaml_word(value)}; quote it: "{_yaml_word(value)}"'
    return f"{text}, not {_yaml_word(value)}"


def _without_hidden(document: Document, path: Path, text: str) -> str:
    """A validator's text without the values from the environment that stand below `path`."""
    for below, written in document.hidden.items():
        if below[: len(path)] == path:
            value: Any = document.data
            for part in below:
                value = value[part]
            if len(str(value)) > 2:
                text = text.replace(str(value), written)
    return text


def _requirement(kind: str, message: str, context: Mapping[str, Any]) -> str:
    if kind == "string_pattern_mismatch" and context.get("pattern") in _PATTERNS:
        return _PATTERNS[context["pattern"]]
    message = message.removeprefix("Value error, ").removeprefix("Assertion failed, ")
    message = re.sub(
        r"^(Input|Value|String|Tuple|List|Dictionary) should (be|have|match)", r"must \2", message
    )
    return message.replace("a valid integer", "a whole number").replace(" after validation", "")


def _yaml_word(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return "a list"
    return "a mapping" if isinstance(value, dict) else cut(value)


def _described(schema: Schema, path: Path) -> str:
    for place in _at(schema, schema, path[:-1]):
        text = place.get("properties", {}).get(path[-1], {}).get("description")
        if text:
            return str(text)
    return ""


def _at(root: Schema, schema: Schema, path: Path) -> Iterator[Schema]:
    """The parts of a JSON Schema that may describe what stands at `path`."""
    if "$ref" in schema:
        target: Any = root
        for part in schema["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        yield from _at(root, target, path)
    for option in (*schema.get("anyOf", ()), *schema.get("oneOf", ()), *schema.get("allOf", ())):
        yield from _at(root, option, path)
    if not path:
        yield schema
        if "items" in schema:  # one part where a list of them may stand
            yield from _at(root, schema["items"], ())
        return
    head, rest = path[0], path[1:]
    if isinstance(head, int):
        below = [schema.get("items")]
    elif "items" in schema:
        below, rest = [schema["items"]], path
    else:
        properties = schema.get("properties", {})
        below = [properties[head]] if head in properties else [schema.get("additionalProperties")]
    for part in below:
        if isinstance(part, Mapping):
            yield from _at(root, part, rest)


_MESSAGES = {"extra_forbidden": _unknown, "missing": _missing}
"""What is told at the key, and how."""
