"""A payload told to a model by a template of its class. Pure.

What cannot be more than a part of a sentence stands in it: numbers, times, words that a class lists, and texts of
which `max_length` or a pattern says that they have at most `SHORT` characters, without their line breaks. Every other
text stands in an element with the field's name, so that a model sees where it begins and ends. No value can open or
close an element, and none is read as a template.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from xml_pipeline.payload import codec_of, is_payload, nodes
from xml_pipeline.payload.constraints import Constraints
from xml_pipeline.payload.pattern import longest
from xml_pipeline.payload.scalars import BYTES, KINDS, STR
from xml_pipeline.payload.text import escape
from xml_pipeline.templates.filling import Filler
from xml_pipeline.templates.fitting import check_inline, is_single
from xml_pipeline.templates.text import Reference, TemplateFault, parse
from xml_pipeline.templates.types import NoSuchPath, Scope, Type, lead

SHORT = 100
"""Characters up to which a text stands in the line, where its class says that it has no more."""


def untellable(text: str, cls: type) -> Iterator[str]:
    """What is wrong with a template for payloads of a class: every mistake. Its paths begin with a field."""
    try:
        template = parse(text)
    except TemplateFault as error:
        yield str(error)
        return
    scope = _scope(cls)
    for reference in dict.fromkeys(template.references):
        try:
            _check(reference, scope)
        except NoSuchPath as error:
            yield str(error)


def told(text: str, payload: Any) -> str:
    """A payload as a template of its class tells it, one without mistakes."""
    scope = _scope(type(payload))
    filler = Filler({name: getattr(payload, name) for name in scope})
    out = ""
    alone = False  # whether what comes next has to begin a line
    for part in parse(text).parts:
        if isinstance(part, str):
            piece, in_lines = part, False
        else:
            piece, in_lines = _told(part, lead(part, scope).node, filler.value(part))
        if piece and out and (alone or in_lines) and not out.endswith("\n") and not piece.startswith("\n"):
            out += "\n"
        out += piece
        alone = in_lines if piece else alone
    return out


def _scope(cls: type) -> Scope:
    fields = codec_of(cls).shapes.root.fields
    return {field.name: Type(field.node, field.nullable) for field in fields}


def _check(reference: Reference, scope: Scope) -> None:
    """Raises NoSuchPath for what cannot be told."""
    found = lead(reference, scope)
    node = found.node
    if node is None:
        return
    if isinstance(node, nodes.ListOf):
        if not _is_item(node.item):
            raise NoSuchPath(
                f"'{reference}' is {found.words}; a list is told only where each item is one value"
            )
        if found.optional and reference.otherwise is None:
            raise NoSuchPath(f"'{reference}' may be absent: write {{{{{reference} or \"…\"}}}}")
    elif not _is_item(node):
        raise NoSuchPath(f"'{reference}' is {found.words}, which cannot be told; name what is in it")
    elif is_single(node):
        check_inline(reference, scope)
    elif found.optional is (reference.otherwise is None):
        advice = "may be absent: write `or`" if found.optional else "is always there; remove `or`"
        raise NoSuchPath(f"'{reference}' {advice}")


def _is_item(node: nodes.Node) -> bool:
    """Whether a value of this type is one thing to tell."""
    if isinstance(node, nodes.Union):
        return all(_is_item(inner) for _, inner in node.choices)
    return is_single(node) or isinstance(node, nodes.Nested)


def _told(reference: Reference, node: nodes.Node | None, value: Any) -> tuple[str, bool]:
    """A value, and whether it stands in lines of its own."""
    if value is None or (isinstance(node, nodes.ListOf) and not value):
        return reference.otherwise or "", False
    name = reference.path[-1]
    if isinstance(node, nodes.ListOf):
        items = [f"- {_item(name, node.item, each)}" for each in value]
        return "\n".join(items if isinstance(value, list) else sorted(items)), True
    return _item(name, node, value), False


def _item(name: str, node: nodes.Node | None, value: Any) -> str:
    if is_payload(type(value)):
        return codec_of(type(value)).encode(value).decode()
    if isinstance(node, nodes.Choice):
        return node.text(value) or ""
    kind = KINDS.get(type(value), STR)
    text = str(value) if kind is STR else kind.to_text(value)
    if kind not in (STR, BYTES):
        return text
    if isinstance(node, nodes.Scalar) and kind is STR and _most(node.constraints) <= SHORT:
        return escape(" ".join(text.split()))
    return f"<{name}>{escape(text)}</{name}>"


def _most(constraints: Constraints) -> float:
    """The most characters that a text of this type has; infinite where nothing says so."""
    most = math.inf if constraints.max_length is None else constraints.max_length
    return min(most, math.inf if constraints.pattern is None else longest(constraints.pattern))
