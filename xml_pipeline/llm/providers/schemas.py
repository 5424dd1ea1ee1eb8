"""JSON Schemas as the providers' structured outputs take them. Pure.

Both closed forms want every object closed. OpenAI's strict form wants every property required besides
(platform.openai.com/docs/guides/structured-outputs); Anthropic's knows no number, length and pattern limits and no
recursion (platform.claude.com/docs/en/build-with-claude/structured-outputs). Limits that cannot be expressed move
into the description, where the model can read them; the answer is validated against all of them anyway.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from xml_pipeline.llm.providers.tool_names import ToolNames
from xml_pipeline.llm.types import ResponseSchema

_LIMITS = (
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "pattern",
    "minItems",
    "maxItems",
    "uniqueItems",
    "minProperties",
    "maxProperties",
)
_NOT_STRICT = ("oneOf", "allOf", "not", "patternProperties", "prefixItems", "if", "propertyNames")
_TYPES = {str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null"}


class _Inexpressible(Exception):
    """The schema has no closed form."""


def in_words(schema: Mapping[str, Any]) -> str:
    """The instruction for an API that cannot be asked natively for this schema in this request."""
    written = json.dumps(schema, ensure_ascii=False)
    return (
        f"Give the final answer as one JSON object that fits this JSON Schema, and nothing else:\n{written}"
    )


def named_schema(schema: ResponseSchema) -> dict[str, Any]:
    """A schema as OpenAI's APIs take it, strict where it allows that."""
    strict = strict_schema(schema.schema)
    return {
        "name": ToolNames((schema.name,)).wire(schema.name),
        "schema": dict(schema.schema) if strict is None else strict,
        "strict": strict is not None,
    }


def strict_schema(schema: Mapping[str, Any]) -> dict[str, Any] | None:
    """The schema in OpenAI's strict form; None when it has none (optional properties, maps)."""
    return _try_close(schema, all_required=True)


def closed_schema(schema: Mapping[str, Any]) -> dict[str, Any] | None:
    """The schema in Anthropic's form; None when it has none (maps, recursion)."""
    return None if _recursive(schema) else _try_close(schema, all_required=False)


def _try_close(schema: Mapping[str, Any], *, all_required: bool) -> dict[str, Any] | None:
    try:
        return _close(schema, all_required)
    except _Inexpressible:
        return None


def _close(schema: Any, all_required: bool) -> dict[str, Any]:
    if not isinstance(schema, Mapping) or any(key in schema for key in _NOT_STRICT):
        raise _Inexpressible
    closed: dict[str, Any] = {}
    limits: list[str] = []
    for key, value in schema.items():
        if key in ("properties", "$defs"):
            closed[key] = {name: _close(part, all_required) for name, part in value.items()}
        elif key == "items":
            closed[key] = _close(value, all_required)
        elif key == "anyOf":
            closed[key] = [_close(part, all_required) for part in value]
        elif key in _LIMITS:
            limits.append(f"{key}: {value}")
        elif key not in ("default", "$schema", "examples", "title"):
            closed[key] = value
    if limits:
        known = closed.get("description", "")
        closed["description"] = f"{known} ({', '.join(limits)})".strip()
    if "enum" in closed and "type" not in closed:
        _type_enum(closed)
    if closed.get("type") == "object" or "properties" in closed:
        _close_object(closed, all_required)
    return closed


def _type_enum(closed: dict[str, Any]) -> None:
    types = sorted({_TYPES.get(type(value), "") for value in closed["enum"]})
    if "" in types:
        raise _Inexpressible
    closed["type"] = types[0] if len(types) == 1 else types


def _close_object(closed: dict[str, Any], all_required: bool) -> None:
    if closed.get("additionalProperties") not in (None, False):
        raise _Inexpressible  # a map from names to values
    properties = closed.setdefault("properties", {})
    closed["type"] = "object"
    closed["additionalProperties"] = False
    required = list(closed.get("required", ()))
    if all_required and set(required) != set(properties):
        raise _Inexpressible
    closed["required"] = required


def _recursive(schema: Mapping[str, Any]) -> bool:
    definitions = schema.get("$defs", {})

    def reaches(part: Any, seen: frozenset[str]) -> bool:
        if isinstance(part, list):
            return any(reaches(item, seen) for item in part)
        if not isinstance(part, Mapping):
            return False
        target = part.get("$ref")
        if isinstance(target, str):
            if target in seen or target == "#":
                return True
            inner = definitions.get(target.rpartition("/")[2], {})
            if reaches(inner, seen | {target}):
                return True
        return any(reaches(value, seen) for key, value in part.items() if key not in ("$ref", "$defs"))

    return reaches(schema, frozenset())
