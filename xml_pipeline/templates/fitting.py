"""Whether what a file wants sent fits the class that it names, before there are values: every mistake. Pure.

A text that is one whole reference keeps its type; within other text there are values of one text only. An integer is
a number; nothing else becomes something else. A text does not become a word of a list, or a text with a pattern,
because whether it is one is not known before.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from xml_pipeline.errors import cut, did_you_mean, listing
from xml_pipeline.payload import codec_of, nodes
from xml_pipeline.payload.mistakes import Mistake, Path
from xml_pipeline.payload.scalars import FLOAT, INT, STR
from xml_pipeline.payload.shapes import Field
from xml_pipeline.payload.sides import JsonSide
from xml_pipeline.payload.walk import Wrong, allowed_in
from xml_pipeline.templates.text import Reference, Template, TemplateFault, is_template, parse
from xml_pipeline.templates.types import NoSuchPath, Scope, lead, words

_JSON = JsonSide()


def mistakes_in(cls: type, given: object, scope: Scope, path: Path = ()) -> Iterator[Mistake]:
    """What is wrong with the fields that a file gives for a message of `cls`.

    Args:
        cls: a payload class.
        given: a mapping of field names to constants and templates.
        scope: the names that templates may use.
        path: of `given`.
    """
    shape = codec_of(cls).shapes.root
    if not isinstance(given, Mapping):
        yield Mistake(path, f"must be a mapping with the fields of {cls.__name__}, not {_shown(given)}")
        return
    fields = {field.name: field for field in shape.fields}
    hints = ""
    for name in given:
        if name not in fields:
            hint = did_you_mean(str(name), fields)
            hints += hint
            there = listing(list(fields)) or "none"
            yield Mistake(
                (*path, name),
                f"{cls.__name__} has no field `{cut(str(name))}`{hint}; it has {there}",
                at_key=True,
            )
    for name, field in fields.items():
        if name in given:
            yield from _in_field(field, given[name], scope, (*path, name))
        elif field.required and repr(name) not in hints:  # a mistyped name is told once
            yield Mistake(path, f"`{name}` of {cls.__name__} is missing; it is {words(field.node)}")


def _in_field(field: Field, value: object, scope: Scope, path: Path) -> Iterator[Mistake]:
    if value is None and not field.required:
        return
    yield from _in_value(field.node, value, scope, path, may_lack=not field.required)


def _in_value(
    node: nodes.Node, value: object, scope: Scope, path: Path, *, may_lack: bool = False
) -> Iterator[Mistake]:
    if is_template(value):
        assert isinstance(value, str)
        try:
            template = parse(value)
            if (whole := template.whole) is not None:
                _check_whole(node, whole, scope, may_lack=may_lack)
            else:
                _check_text(node, template, scope)
        except (TemplateFault, NoSuchPath) as error:
            yield Mistake(path, str(error))
        return
    match node, value:
        case nodes.Nested(cls), _:
            yield from mistakes_in(cls, value, scope, path)
        case nodes.ListOf(item=item), list():
            for index, each in enumerate(value):
                yield from _in_value(item, each, scope, (*path, index))
            if (broken := node.constraints.broken(value)) is not None:
                yield Mistake(path, f"{broken[0]}; allowed: {broken[1]}")
        case nodes.Nullable(inner), _:
            yield from _in_value(inner, value, scope, path, may_lack=True)
        case nodes.Scalar() | nodes.Choice(), _:
            yield from _in_constant(node, value, path)
        case nodes.Union(), _:
            member = _JSON.member(node, value)
            if isinstance(member, Wrong):
                yield Mistake(path, f"{member.rule}; allowed: {member.allowed}")
            else:
                tag, inner, part = member
                yield from _in_value(inner, part, scope, path if node.native else (*path, tag))
        case _:
            wrong = _JSON.misfit(node, value)
            if wrong is not None:
                yield Mistake(path, wrong.rule)


def _in_constant(node: nodes.Scalar | nodes.Choice, value: object, path: Path) -> Iterator[Mistake]:
    try:
        read = _JSON.leaf(node, value)
    except ValueError as error:
        yield Mistake(path, f"{error}, it is {_shown(value)}; allowed: {allowed_in(node)}")
        return
    broken = node.constraints.broken(read) if isinstance(node, nodes.Scalar) else None
    if broken is not None:
        yield Mistake(path, f"{broken[0]}, it is {_shown(value)}; allowed: {broken[1]}")


def _check_whole(node: nodes.Node, reference: Reference, scope: Scope, *, may_lack: bool) -> None:
    """Raises NoSuchPath where the value does not fit."""
    found = lead(reference, scope)
    if found.node is None:
        return
    if not fits(found.node, node):
        advice = ""
        if is_text(node) and is_single(found.node):
            advice = '; within other text it is written out, as "no. {{' + str(reference) + '}}"'
        elif isinstance(node, nodes.Scalar | nodes.Choice) and is_text(found.node):
            advice = "; whether a text is one is not known before it is there"
        raise NoSuchPath(f"'{reference}' is {found.words}, and {words(node)} is needed{advice}")
    if reference.otherwise is not None:
        if not found.optional:
            raise NoSuchPath(f"'{reference}' is always there; remove `or`")
        if not isinstance(node, nodes.Scalar | nodes.Choice):
            raise NoSuchPath(f"`or` gives a text, and '{reference}' is {found.words}")
        for mistake in _in_constant(node, reference.otherwise, ()):
            raise NoSuchPath(f"the text after `or` {mistake.message}")
    elif found.optional and not may_lack:
        raise NoSuchPath(f"'{reference}' may be absent: write {{{{{reference} or \"…\"}}}}")


def _check_text(node: nodes.Node, template: Template, scope: Scope) -> None:
    """Raises NoSuchPath where a text with references in it does not fit."""
    for reference in template.references:
        check_inline(reference, scope)
    if not template.references and isinstance(node, nodes.Scalar):  # only braces that stand for themselves
        for mistake in _in_constant(node, "".join(map(str, template.parts)), ()):
            raise NoSuchPath(mistake.message)
    if not is_text(node):
        raise NoSuchPath(f"is a text with references in it, and {words(node)} is needed")


def check_inline(reference: Reference, scope: Scope) -> None:
    """Whether a reference may stand within other text. Raises NoSuchPath."""
    found = lead(reference, scope)
    if found.node is None:
        return
    if not is_single(found.node):
        raise NoSuchPath(f"'{reference}' is {found.words}; within text only values of one text can stand")
    if found.optional and reference.otherwise is None:
        raise NoSuchPath(f"'{reference}' may be absent: write {{{{{reference} or \"…\"}}}}")
    if not found.optional and reference.otherwise is not None:
        raise NoSuchPath(f"'{reference}' is always there; remove `or`")


def fits(source: nodes.Node, target: nodes.Node) -> bool:
    """Whether every value of one type is of another one, as far as types say it."""
    if source == target:
        return True
    match source, target:
        case _, nodes.Nullable(inner):
            return fits(source, inner)
        case nodes.Nested(cls), nodes.Nested(wanted):
            return cls is wanted
        case nodes.Union(choices), nodes.Union() | nodes.Nested():
            return all(fits(inner, target) for _, inner in choices)
        case _, nodes.Union(choices):
            return any(fits(source, inner) for _, inner in choices)
        case nodes.Scalar(kind), nodes.Scalar(wanted):
            return (
                kind is wanted or (kind is INT and wanted is FLOAT)
            ) and target.constraints.pattern is None
        case nodes.Choice(values=values), nodes.Choice(values=allowed):
            known = {text for text, _ in allowed}
            return all(text in known for text, _ in values)
        case nodes.Choice(values=values), nodes.Scalar(kind):
            return (
                kind is STR and target.constraints.pattern is None and all(type(v) is str for _, v in values)
            )
        case nodes.ListOf(item=item), nodes.ListOf(container, inner):
            return container is list and fits(item, inner)
        case _:
            return False


def is_single(node: nodes.Node) -> bool:
    """Whether a value of this type is one text."""
    return isinstance(node, nodes.Scalar | nodes.Choice)


def is_text(node: nodes.Node) -> bool:
    """Whether any text fits, but for its length."""
    match node:
        case nodes.Scalar(kind, constraints):
            return kind is STR and constraints.pattern is None
        case nodes.Nullable(inner):
            return is_text(inner)
        case nodes.Union(choices):
            return any(is_text(inner) for _, inner in choices)
        case _:
            return False


def _shown(value: object) -> str:
    kinds: dict[type, str] = {dict: "a mapping", list: "a list", type(None): "empty"}
    return kinds.get(type(value)) or cut(repr(value))


def template_in(value: Any) -> bool:
    """Whether a template stands somewhere in a value."""
    if isinstance(value, Mapping):
        return any(map(template_in, value.values()))
    return any(map(template_in, value)) if isinstance(value, list) else is_template(value)
