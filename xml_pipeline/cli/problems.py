"""The mistakes in a file for programs: one JSON document, on one line."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from typing import Any

from xml_pipeline.errors import ConfigError, Problem, XmlPipelineError
from xml_pipeline.terminal import json_text

_QUOTED = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\""""
_WORD = re.compile(_QUOTED)
_NEAR = re.compile(rf"did you mean ({_QUOTED})\?")
_LISTED = re.compile(r"(?:\bare: |`: |\bthere are |\bthey serve |\bown keys are )([^;)]+)")
_CHOICE = re.compile(rf"\bmust be ((?:{_QUOTED})(?:(?:, | or )(?:{_QUOTED}))*)")
_NAME = re.compile(r"[^\s`'\"…]+")


def document(
    file: str, *, summary: str = "", notes: Sequence[str] = (), error: XmlPipelineError | None = None
) -> str:
    """What `check` found, on one line.

    Args:
        file: as it was named.
        summary: what is in it, when all is well.
        notes: what is worth a look, and no mistake.
        error: what is wrong.
    """
    found: dict[str, Any] = {"file": file, "ok": error is None}
    if error is None:
        found |= {"summary": summary, "notes": list(notes)}
    problems = error.problems if isinstance(error, ConfigError) else [Problem(str(error))] if error else []
    found["problems"] = [problem(each) for each in problems]
    if isinstance(error, ConfigError) and error.more:
        found["more"] = error.more
    return json_text(found, None)


def problem(found: Problem) -> dict[str, Any]:
    """One mistake. `allowed` (names, in their order; the first of them when there are many) and `did_you_mean` are
    there when the message has them."""
    told: dict[str, Any] = {
        "file": found.file,
        "line": found.line,
        "column": found.column,
        "path": found.path,
        "message": found.message,
    }
    if names := allowed(found.message):
        told["allowed"] = names
    if near := _NEAR.search(found.message):
        told["did_you_mean"] = ast.literal_eval(near.group(1))
    return told


def allowed(message: str) -> list[str]:
    """The names that a message lists, as `errors.listing` and choices do; [] for none."""
    if choice := _CHOICE.search(message):
        return [ast.literal_eval(each) for each in _WORD.findall(choice.group(1))]
    listed = _LISTED.findall(message)
    names = listed[-1].split(", ") if listed else []
    return names if all(map(_NAME.fullmatch, names)) else []
