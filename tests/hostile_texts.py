"""Texts that make a scanner slow, if any does: general ones, and those that a pattern's form invites."""

from __future__ import annotations

import re
import re._constants as op  # the only way to a pattern's form
import re._parser as parser
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any, TypeAlias

Text: TypeAlias = Callable[[int], str]
"""A text of about so many characters."""

UNITS = (
    " ", "\n", "\t", "\r\n", "a", "Z", "_", "1", ".", "-", "é", "日", "\x00", "\x1b", "\u202e", "*", "=", ",", ":",
    "/", "\\", "'", '"', "`", "&", "<", ">", "{", "}", "[", "]", "(", "$", "@", "%41", "\\u0041", "&#x41;", "```\n",
    "\n```", "```a\n", "<a ", "<a>", "</", "</a>", "<a b=", "<![CDATA[", "]]>", "<!--", "<?a", "Action:",
    "Action: a\n", "\nAction Input:", "<think>", "</think>", "\n</think>", "<tool_call>",
    '<tool_call>{"a":"', "<tool_call>[1,",
    "<result of=", "<call to=", '<call to="a">', "</call>", "<message>", "</message>", "<meta>", "</meta>", "<to>",
    "<Add>", "<Add ", "</Add>", "<Add/>", "\n{", '{"a":', '\n{"a":1}', "${", "${A:-", "$$", "sk-", "sk-a", "Bearer ",
    "data:", "data:a/b;base64,", "x=", '@a x="', "| a |", "\n\n\n", "key-", "***",
)  # fmt: skip
BEGINNINGS = (
    "",
    " ",
    "\n",
    "a",
    "<",
    '"',
    "`",
    "Action:",
    "<think>",
    "<tool_call>",
    "<Add>",
    "<a ",
    "```\n",
    "{",
)


def filled(start: str, unit: str, end: str = "") -> Text:
    """`start`, then `unit` as often as it goes, then `end`."""
    return lambda size: start + unit * max(1, (size - len(start) - len(end)) // len(unit)) + end


def general() -> Iterator[Text]:
    """Each unit again and again, behind each beginning, and in pairs."""
    for start, unit in product(BEGINNINGS, UNITS):
        yield filled(start, unit)
        yield filled(start, unit, "\x01")
    for first, second in product(UNITS, repeat=2):
        if first != second:
            yield filled("", first + second)


def invited(pattern: re.Pattern[Any]) -> Iterator[Text]:
    """What repeats each part of a pattern that may be repeated, after what leads there, and breaks off."""
    form = parser.parse(
        pattern.pattern, pattern.flags & ~re.UNICODE if isinstance(pattern.pattern, bytes) else pattern.flags
    )
    seen: set[tuple[str, str]] = set()
    for start, unit in _repeats(list(form), ""):
        for before, again in ((start, unit), ("", start + unit), ("", start), ("\n", unit), ("", unit)):
            if again and (before, again) not in seen:
                seen.add((before, again))
                for end in ("", "\x01", "\n", " "):
                    yield filled(before, again, end)


def _repeats(items: list[Any], start: str) -> Iterator[tuple[str, str]]:
    """(what leads there, what is repeated) for each repetition in a pattern."""
    before = start
    for position, item in enumerate(items):
        kind, value = item
        if kind in (op.MAX_REPEAT, op.MIN_REPEAT, op.POSSESSIVE_REPEAT):
            inner = list(value[2])
            for unit in {_sample(inner), _sample(inner, last=True)}:
                yield before, unit
                # two repetitions side by side that take the same
                yield before, unit + _sample(items[position + 1 : position + 2])
            yield from _repeats(inner, before)
        else:
            for inner in _inside(kind, value):
                yield from _repeats(inner, before)
        before += _sample([item])
    if before != start:
        yield start, before[len(start) :]


def _inside(kind: Any, value: Any) -> list[list[Any]]:
    if kind is op.SUBPATTERN:
        return [list(value[3])]
    if kind is op.BRANCH:
        return [list(branch) for branch in value[1]]
    if kind in (op.ASSERT, op.ASSERT_NOT):
        return [list(value[1])]
    if kind is op.ATOMIC_GROUP:
        return [list(value)]
    return []


_CATEGORIES = {
    op.CATEGORY_DIGIT: "1", op.CATEGORY_SPACE: " ", op.CATEGORY_WORD: "a",
    op.CATEGORY_NOT_DIGIT: "a", op.CATEGORY_NOT_SPACE: "a", op.CATEGORY_NOT_WORD: "-",
}  # fmt: skip


def _sample(items: list[Any], *, last: bool = False) -> str:
    """A short text that the parts match, look-arounds aside; `last` takes the last choice of each."""
    return "".join(_one(kind, value, last) for kind, value in items)


def _one(kind: Any, value: Any, last: bool) -> str:
    if kind is op.LITERAL:
        return chr(value)
    if kind is op.NOT_LITERAL:
        return "a" if value != ord("a") else "b"
    if kind is op.ANY:
        return "a"
    if kind is op.IN:
        return _of_set(value, last)
    if kind in (op.MAX_REPEAT, op.MIN_REPEAT, op.POSSESSIVE_REPEAT):
        return _sample(list(value[2]), last=last) * max(1, min(value[0], 8))
    if kind is op.BRANCH:
        return _sample(list(value[1][-1 if last else 0]), last=last)
    inside = _inside(kind, value) if kind not in (op.ASSERT, op.ASSERT_NOT) else []
    return "".join(_sample(inner, last=last) for inner in inside)


def _of_set(members: list[Any], last: bool) -> str:
    if members and members[0][0] is op.NEGATE:
        taken = re.compile(f"[{''.join(re.escape(_one_of(member)) for member in members[1:])}]")
        return next((each for each in "a 1-<\n~\u00e9" if not taken.match(each)), "\u4e00")
    return _one_of(members[-1 if last else 0])


def _one_of(member: Any) -> str:
    kind, value = member
    if kind is op.LITERAL:
        return chr(value)
    if kind is op.RANGE:
        return chr(value[0])
    return _CATEGORIES[value]
