"""Declarations as a Python module: what `xp payloads --python` prints, the way out of YAML."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from xml_pipeline.payload.declared import SCALARS, Declaration, Declarations, DeclaredField, Type
from xml_pipeline.payload.shapes import MISSING


def module_of(declarations: Declarations) -> str:
    """A module with the same classes: the same XSD, JSON Schema, errors and bytes."""
    return _Printer(declarations).module()


class _Printer:
    def __init__(self, declarations: Declarations) -> None:
        self.declarations = declarations
        # In a class, a field's default hides a module of its name from the fields below.
        self.hidden = {field.name for each in declarations.classes for field in each.fields}
        self.used: set[str] = set()

    def module(self) -> str:
        classes = [line for each in self.declarations.classes for line in ("", "", *self._class(each))]
        imports = [f"import {name}{self._alias(name)}" for name in sorted(self.used)]
        title = _docstring(f"The payloads of {self.declarations.owner or 'an organism'}.")
        future, decorator = "from __future__ import annotations", "from xml_pipeline import xmlify"
        return "\n".join([title, "", future, "", *imports, "", decorator, *classes]) + "\n"

    def _alias(self, module: str) -> str:
        return f" as _{module}" if module in self.hidden else ""

    def _of(self, module: str, name: str) -> str:
        self.used.add(module)
        return f"{'_' * (module in self.hidden)}{module}.{name}"

    def _class(self, declared: Declaration) -> Iterator[str]:
        yield "@xmlify"
        yield f"@{self._of('dataclasses', 'dataclass')}(kw_only=True)"
        yield f"class {declared.name}:"
        if declared.description:
            yield f"    {_docstring(declared.description)}"
        for field in declared.fields:
            yield from self._field(field)
        if not declared.description and not declared.fields:
            yield "    pass"

    def _field(self, field: DeclaredField) -> Iterator[str]:
        annotation = self.type(field.type)
        if field.optional:
            annotation = f"{annotation} | None"
        if field.description:
            annotation = f"{self._of('typing', 'Annotated')}[{annotation}, {_literal(field.description)}]"
        yield f"    {field.name}: {annotation}{self._default(field)}"

    def _default(self, field: DeclaredField) -> str:
        if field.optional:
            return " = None"
        if field.default is MISSING:  # every class has a `mro`, which would be taken for the default
            return f" = {self._of('dataclasses', 'field')}()" if hasattr(type, field.name) else ""
        if isinstance(field.default, tuple):
            items = ", ".join(map(self.value, field.default))
            return f" = {self._of('dataclasses', 'field')}(default_factory=lambda: [{items}])"
        return f" = {self.value(field.default)}"

    def type(self, declared: Type) -> str:
        """A type's annotation; as a text it is read when all classes are there."""
        match declared.kind:
            case "class":
                found = declared.names[0]
            case "any_of":
                found = " | ".join(declared.names)
            case "one_of":
                found = f"{self._of('typing', 'Literal')}[{', '.join(map(_literal, declared.names))}]"
            case "list" if declared.item is not None:
                found = f"list[{self.type(declared.item)}]"
            case kind:
                python = SCALARS[kind]
                builtin = python.__module__ == "builtins"
                found = python.__name__ if builtin else self._of(python.__module__, python.__name__)
        if not declared.facets:
            return found
        facets = ", ".join(f"{name}={self.value(value)}" for name, value in declared.facets)
        return f"{self._of('typing', 'Annotated')}[{found}, {self._of('pydantic', 'Field')}({facets})]"

    def value(self, value: Any) -> str:
        """A Python expression for a bound, an example or a default."""
        match value:
            case tuple():
                return f"[{', '.join(map(self.value, value))}]"
            case str():
                return _literal(value)
            case Decimal():
                return f"{self._of('decimal', 'Decimal')}({str(value)!r})"
            case timedelta():
                parts = f"days={value.days}, seconds={value.seconds}, microseconds={value.microseconds}"
                return f"{self._of('datetime', 'timedelta')}({parts})"
            case datetime():
                return f"{self._of('datetime', 'datetime')}.fromisoformat({value.isoformat()!r})"
            case date():
                return f"{self._of('datetime', 'date')}.fromisoformat({value.isoformat()!r})"
            case _:
                return repr(value)


def _literal(text: str) -> str:
    """A text in quotes, on one line, with no character that an editor or a terminal takes for another."""
    return (
        ascii(text) if not text.isprintable() else '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    )


def _docstring(text: str) -> str:
    """A description as a docstring that reads back as it is."""
    lines = text.split("\n")
    if not all(map(str.isprintable, lines)) or "\\" in text or '"""' in text or text.endswith('"'):
        return _literal(text)
    if len(lines) == 1:
        return f'"""{text}"""'
    shown = "\n".join([lines[0], *(f"    {line}" if line else "" for line in lines[1:]), "    "])
    return f'"""{shown}"""' if inspect.cleandoc(shown) == inspect.cleandoc(text) else _literal(text)
