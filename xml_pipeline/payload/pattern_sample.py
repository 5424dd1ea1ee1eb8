"""A text that a regular expression matches, for the common kinds of pattern."""

from __future__ import annotations

import re
from collections.abc import Iterator

_CLASSES = {"d": "1", "w": "a", "s": " ", "D": "a", "W": "-", "S": "a"}
_COUNT = re.compile(r"\{([0-9]+)(?:,[0-9]*)?\}")


def sample_of_pattern(pattern: str) -> Iterator[str]:
    """Candidates to try: repetitions at their least, and once more where they may be missing.

    Nothing is promised of them; the caller checks. Patterns beyond literals, classes, groups, alternatives
    and counts give no candidate.
    """
    for optional in (False, True):
        try:
            text, end = _alternatives(pattern, 0, optional)
        except (ValueError, IndexError, RecursionError):
            return
        if end == len(pattern):
            yield text


def _alternatives(pattern: str, at: int, optional: bool) -> tuple[str, int]:
    """The first alternative's text; the others are read to find the end."""
    first, at = _sequence(pattern, at, optional)
    while at < len(pattern) and pattern[at] == "|":
        _, at = _sequence(pattern, at + 1, optional)
    return first, at


def _sequence(pattern: str, at: int, optional: bool) -> tuple[str, int]:
    text = ""
    while at < len(pattern) and pattern[at] not in "|)":
        piece, at = _atom(pattern, at, optional)
        least, at = _repetition(pattern, at, optional)
        if least > 1000:
            raise ValueError("too long for an example")
        text += piece * least
    return text, at


def _repetition(pattern: str, at: int, optional: bool) -> tuple[int, int]:
    least = 1
    counted = _COUNT.match(pattern, at)
    if counted:
        least, at = int(counted[1]), counted.end()
    elif at < len(pattern) and pattern[at] in "*?+":
        least = 1 if optional or pattern[at] == "+" else 0
        at += 1
    else:
        return 1, at
    return least, at + (at < len(pattern) and pattern[at] == "?")


def _atom(pattern: str, at: int, optional: bool) -> tuple[str, int]:
    char = pattern[at]
    if char in "^$":
        return "", at + 1
    if char == ".":
        return "a", at + 1
    if char == "\\":
        return _escape(pattern[at + 1]), at + 2
    if char == "[":
        return _set(pattern, at + 1)
    if char != "(":
        return char, at + 1
    if pattern.startswith("(?:", at):
        at += 2
    elif pattern.startswith("(?", at):
        raise ValueError("a group of another kind")
    text, at = _alternatives(pattern, at + 1, optional)
    if pattern[at] != ")":
        raise ValueError("an open group")
    return text, at + 1


def _escape(char: str) -> str:
    if char in _CLASSES:
        return _CLASSES[char]
    if char in "Abzn":
        return "\n" if char == "n" else ""
    if char.isalnum():
        raise ValueError("an escape of another kind")
    return char


def _set(pattern: str, at: int) -> tuple[str, int]:
    """The first member of `[...]`; for `[^...]` the first usual character that is not in it."""
    negated = pattern[at] == "^"
    start = at + negated
    at = start + 1 if pattern[start] == "]" else start
    while pattern[at] != "]":
        at += 2 if pattern[at] == "\\" else 1
    body = pattern[start:at]
    if negated:
        return next(char for char in "a1-. _zZ" if not re.match(f"[{body}]", char)), at + 1
    return (_escape(body[1]) if body[0] == "\\" else body[0]), at + 1
