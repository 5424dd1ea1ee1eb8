"""The JSON Schema of organism.yaml, for editors."""

from __future__ import annotations

from typing import Any

from xml_pipeline.config.glance import Names
from xml_pipeline.config.models import IMPORT_PATTERN, OrganismConfig
from xml_pipeline.llm.section import NAMES
from xml_pipeline.marks import without_marks

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_VARIABLE = {
    "type": "string",
    "pattern": r"\$\{",
    "description": "a variable: `${NAME}` or `${NAME:-default}`",
}
_TRUE = {"anyOf": [{"const": True}, _VARIABLE]}
_TEXT = ("type", "pattern", "minLength", "maxLength")
_SCALARS = ("integer", "number", "boolean")


def json_schema(names: Names | None = None) -> dict[str, Any]:
    """A schema (draft 2020-12) that takes what `load` takes, as far as a schema can say it.

    Rules between listeners (names there once, classes that fit) are checked by `load` only.

    Args:
        names: what one file names, so that its editor offers it; then names that stand for nothing are mistakes.
    """
    schema: dict[str, Any] = without_marks(OrganismConfig.model_json_schema(mode="validation"))
    _name(schema, names)
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


def _name(node: Any, names: Names | None) -> None:
    """Say which names there are, where one of them belongs; without `names`, only take away the marks."""
    if isinstance(node, list):
        for item in node:
            _name(item, names)
    if not isinstance(node, dict):
        return
    keys = node.get("propertyNames", {}).get(NAMES)
    if keys is not None:
        del node["propertyNames"]
        offered = (*getattr(names, keys, ()), *(("default",) if node["title"] == "Routing" else ()))
        if names is not None and offered:
            node["properties"] = dict.fromkeys(offered, node["additionalProperties"])
    kind = node.pop(NAMES, None)
    if kind is not None and names is not None and (known := getattr(names, kind)):
        others = [] if kind in names.closed else [{key: node.pop(key) for key in list(node) if key in _TEXT}]
        if kind == "classes" and not others:
            others = [{"type": "string", "pattern": IMPORT_PATTERN, "maxLength": node["maxLength"]}]
        for key in _TEXT:
            node.pop(key, None)
        node["anyOf"] = [{"type": "string", "enum": list(known)}, *others]
        return
    for item in node.values():
        _name(item, names)


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
