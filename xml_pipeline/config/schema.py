"""The JSON Schema of organism.yaml, for editors."""

from __future__ import annotations

from typing import Any

from xml_pipeline.config.models import OrganismConfig
from xml_pipeline.marks import without_marks

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_VARIABLE = {
    "type": "string",
    "pattern": r"\$\{",
    "description": "a variable: `${NAME}` or `${NAME:-default}`",
}
_TRUE = {"anyOf": [{"const": True}, _VARIABLE]}
_SCALARS = ("integer", "number", "boolean")


def json_schema() -> dict[str, Any]:
    """A schema (draft 2020-12) that takes what `load` takes, as far as a schema can say it.

    Rules between listeners (peers that exist, names there once) are checked by `load` only.
    """
    schema: dict[str, Any] = without_marks(OrganismConfig.model_json_schema(mode="validation"))
    _allow_variables(schema)
    _allow_one(schema, "#/$defs/BudgetSection")
    schema["patternProperties"] = {"^x-": {"description": "ignored; a place for anchors"}}
    listener = schema["$defs"]["ListenerConfig"]
    listener["anyOf"] = [
        {"required": ["handler"]},
        {"properties": {"agent": _TRUE}, "required": ["agent"]},
        {"properties": {"human": _TRUE}, "required": ["human"]},
    ]
    listeners = schema["properties"]["listeners"]
    entries = {key: listeners.pop(key) for key in ("type", "items")}
    listeners["anyOf"] = [entries, {"type": "string", "minLength": 1}]
    return {"$schema": DIALECT, **schema, "title": "organism.yaml"}


def _allow_one(node: Any, reference: str) -> None:
    """A list of such parts may also be one of them."""
    if isinstance(node, list):
        for item in node:
            _allow_one(item, reference)
    if not isinstance(node, dict):
        return
    for item in node.values():
        _allow_one(item, reference)
    if node.get("items") == {"$ref": reference}:
        node["anyOf"] = [{"type": node.pop("type"), "items": node.pop("items")}, {"$ref": reference}]


def _allow_variables(node: Any) -> None:
    """What is not any text (a number, a truth value, a choice, a name) may also be written as a variable."""
    if isinstance(node, list):
        for item in node:
            _allow_variables(item)
    if not isinstance(node, dict):
        return
    for item in node.values():
        _allow_variables(item)
    if node.get("type") in _SCALARS or (
        node.get("type") == "string" and ("enum" in node or "pattern" in node)
    ):
        kept = {key: node.pop(key) for key in list(node) if key not in ("description", "title", "default")}
        node["anyOf"] = [kept, dict(_VARIABLE)]
