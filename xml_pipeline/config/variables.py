"""`${NAME}` and `${NAME:-default}` in the texts of a configuration."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass

FORMS = "`${NAME}` or `${NAME:-default}`; `$$` stands for one `$`"

_NO_VARIABLES = "a file that is not trusted has no variables; write the value (`$$` stands for one `$`)"
_MARK = re.compile(r"\$(?:\$|\{([^}]*)(\}?))")
_BODY = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Expansion:
    """A text after interpolation.

    Attributes:
        text: the result; what could not be replaced is left out.
        replaced: whether there was something to replace.
        size: characters of the result, or more than `most`: then `text` is not all of it.
        used_environment: whether a variable's value is part of it, so that it must not be shown.
        problems: what is wrong, never with a variable's value.
    """

    text: str
    size: int
    replaced: bool = False
    used_environment: bool = False
    problems: tuple[str, ...] = ()


def expand(text: str, environ: Mapping[str, str] | None, *, most: int = sys.maxsize) -> Expansion:
    """Replace variables in `text`; as in a shell, `:-` also replaces an empty variable.

    Args:
        text: as it is written.
        environ: what variables stand for; None where there are none, and each is a mistake.
        most: characters after which no more is replaced.
    """
    if "$" not in text:
        return Expansion(text, len(text))
    used, size = False, len(text)
    problems: list[str] = []

    def replace(match: re.Match[str]) -> str:
        nonlocal size
        value = value_of(match) if size <= most else ""
        size += len(value) - len(match.group())
        return value

    def value_of(match: re.Match[str]) -> str:
        nonlocal used
        body, closed = match.group(1), match.group(2)
        if body is None:
            return "$"
        if environ is None:
            problems.append(f"`{_shown(match.group(0))}` is refused: {_NO_VARIABLES}")
            return ""
        form = _BODY.fullmatch(body) if closed else None
        if form is None or "${" in (form.group(2) or ""):
            problems.append(f"`{_shown(match.group(0))}` is no variable; allowed: {FORMS}")
            return ""
        name, default = form.group(1), form.group(2)
        value = environ.get(name)
        if value or (value is not None and default is None):
            used = True
            return value
        if default is not None:
            return default
        problems.append(
            f"the environment variable {name} is not set; set it, put it into the .env file beside this file,"
            f" or write `${{{name}:-default}}` (`$${{{name}}}` keeps the text as it is)"
        )
        return ""

    result, count = _MARK.subn(replace, text)
    return Expansion(result, size, count > 0, used, tuple(problems))


def _shown(mark: str) -> str:
    """The start of what was written, without what could be a literal default."""
    head = mark.split(":", 1)[0]
    return head if head == mark and len(head) <= 40 else f"{head[:40]}…"
