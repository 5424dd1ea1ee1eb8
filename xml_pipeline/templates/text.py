"""A template as text: `{{path}}`, `{{path or "text"}}`, and `{{{{` for two braces. Pure.

It is read in one pass, from the text as it was written.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from xml_pipeline.errors import cut

_OPEN, _CLOSE, _LITERAL = "{{", "}}", "{{{{"
_STEP = r"[A-Za-z_][A-Za-z0-9_]*"
_INSIDE = re.compile(rf'\s*({_STEP}(?:\.{_STEP})*)(?:\s+or\s+"((?:[^"\\]|\\.)*)")?\s*\}}\}}', re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_MOST_STEPS = 20
HELP = 'write {{path}}, or {{path or "text"}} where it may be absent; {{{{ stands for two braces'


class TemplateFault(Exception):
    """A text that is no template; the message says where, and what is allowed."""


@dataclass(frozen=True, slots=True)
class Reference:
    """One path, as `input.text`.

    Attributes:
        path: the name, and the fields below it.
        otherwise: the text that stands there when the value is absent; None where nothing may.
    """

    path: tuple[str, ...]
    otherwise: str | None = None

    def __str__(self) -> str:
        return ".".join(self.path)


@dataclass(frozen=True, slots=True)
class Template:
    """What a text is made of: texts and references, in order."""

    parts: tuple[str | Reference, ...]

    @property
    def whole(self) -> Reference | None:
        """The reference that is the whole text; its value keeps its type."""
        first = self.parts[0] if len(self.parts) == 1 else None
        return first if isinstance(first, Reference) else None

    @property
    def references(self) -> tuple[Reference, ...]:
        """All of them."""
        return tuple(part for part in self.parts if isinstance(part, Reference))


def is_template(value: object) -> bool:
    """Whether a value of a file is a text with a reference, or with braces that stand for themselves, in it."""
    return isinstance(value, str) and _OPEN in value


@lru_cache(maxsize=4096)
def parse(text: str) -> Template:
    """The template that a text is.

    Raises:
        TemplateFault: two braces open no reference.
    """
    return Template(tuple(_parts(text)))


def _parts(text: str) -> Iterator[str | Reference]:
    plain, place = "", 0
    while (found := text.find(_OPEN, place)) >= 0:
        plain += text[place:found]
        if text.startswith(_LITERAL, found):
            plain += _OPEN
            place = found + len(_LITERAL)
            continue
        inside = _INSIDE.match(text, found + len(_OPEN))
        if inside is None:
            raise TemplateFault(_why(text, found))
        steps = tuple(inside[1].split("."))
        if len(steps) > _MOST_STEPS:
            raise TemplateFault(
                f"'{cut(inside[1])}' has {len(steps)} steps; at most {_MOST_STEPS} are allowed"
            )
        if plain:
            yield plain
        plain = ""
        yield Reference(steps, None if inside[2] is None else _ESCAPE.sub(r"\1", inside[2]))
        place = inside.end()
    plain += text[place:]
    if plain:
        yield plain


def _why(text: str, start: int) -> str:
    end = text.find(_CLOSE, start)
    if end < 0:
        return f"{cut(text[start:])!r} is never closed by '}}}}'; {HELP}"
    inside = text[start : end + len(_CLOSE)]
    if "${" in inside:
        return f"{cut(inside)!r} holds a variable of the environment, which no template takes; {HELP}"
    if "'" in inside:
        return f"{cut(inside)!r} is no reference: the text after `or` stands in double quotes; {HELP}"
    return f"{cut(inside)!r} is no reference; {HELP}"
