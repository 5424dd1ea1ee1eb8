"""A pattern that a whole text matches, and that means the same to XSD, to JSON Schema and to Rust's `regex` crate.

The three dialects differ: XSD always means the whole value and takes `^` for a letter, JSON Schema and Rust search;
`\\d` is ten digits to one and hundreds to another; each has marks of its own. What is written here is read as their
common part and written out in it: `^(…)$` with classes instead of the letters that differ.

Sources: XSD 1.0 part 2, appendix F; ECMA-262, RegExp with the flag `u`; https://docs.rs/regex/latest/regex/#syntax.
"""

from __future__ import annotations

import math
import re
import string

LONGEST_PATTERN = 1_000
"""Characters of a pattern."""

MOST_REPEATS = 1_000

_SETS = {"d": "0-9", "w": "A-Za-z0-9_", "s": " \\t\\n\\r"}
_CONTROLS = {"n": "\n", "r": "\r", "t": "\t"}
_WRITTEN = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_MARKS = ".\\?*+{}()[]|^"
_CATEGORY = re.compile(r"\{(L[ultmo]?|M[nce]?|N[dlo]?|P[cdseifo]?|Z[slp]?|S[mcko]?)\}")
_DOT = "[^\\n\\r]"  # what `.` means in XSD; elsewhere it takes less or more
_NEGATED = re.compile(r"(?<!\\)(?:\\\\)*(?:\[\^|\\P)")
_SIGN = re.compile(r"\\[pP]\{[^{}]*+\}|\\.|\[(?:\\.|[^\[\]\\])*+\]|\{[^{}]*+\}|.", re.DOTALL)
_REPEAT = re.compile(r"[*+?]|\{([0-9]{1,9})(,([0-9]{0,9}))?\}")


def whole(pattern: str) -> str:
    """The pattern as Python classes and JSON Schema have it: `^(…)$`, for a text that has to match as a whole.

    Raises:
        ValueError: it is not in the common part of the dialects; the message says what to write.
    """
    if not pattern:
        raise ValueError("is empty")
    if len(pattern) > LONGEST_PATTERN:
        raise ValueError(f"has {len(pattern):,} characters; at most {LONGEST_PATTERN:,} are allowed")
    return f"^({_Reader(pattern).read()})$"


def facet(pattern: str) -> str | None:
    """What XSD has for a pattern of the form that `whole` gives; None for others, which Python alone checks.

    Among those are patterns with several negated sets: libxml2 takes two that differ for disjoint, and refuses "ab"
    for `[^x]+[^y]`.
    """
    inner = pattern[2:-2]
    if pattern[:2] != "^(" or pattern[-2:] != ")$" or len(inner) > 2 * LONGEST_PATTERN:
        return None
    try:
        if _Reader(inner).read() != inner:
            return None
    except ValueError:
        return None
    shown = inner.replace(_DOT, ".")
    return shown if len(_NEGATED.findall(shown)) <= 1 else None


def longest(pattern: str) -> float:
    """The most characters of a text that matches a pattern of the form that `whole` gives; infinite for any other."""
    inner = pattern[2:-2]
    try:
        if pattern[:2] != "^(" or pattern[-2:] != ")$" or _Reader(inner).read() != inner:
            return math.inf
    except ValueError:
        return math.inf
    around: list[tuple[float, float]] = []
    most: float = 0  # of the ways before
    before: float = 0  # of this way, without what a repeat would repeat
    last: float = 0  # of that
    for sign in _SIGN.findall(inner):
        repeat = _REPEAT.fullmatch(sign)
        if repeat is not None:
            times = _times(repeat)
            last = last * times if last and times else 0
        elif sign == "(":
            around.append((most, before + last))
            most = before = last = 0
        elif sign == ")":
            inside = max(most, before + last)
            most, before = around.pop()
            last = inside
        elif sign == "|":
            most, before, last = max(most, before + last), 0, 0
        else:
            before, last = before + last, 1
    return max(most, before + last)


def _times(repeat: re.Match[str]) -> float:
    if repeat[1] is None:
        return 1 if repeat[0] == "?" else math.inf
    if repeat[2] is None:
        return int(repeat[1])
    return int(repeat[3]) if repeat[3] else math.inf


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def read(self) -> str:
        out: list[str] = []
        depth, repeatable = 0, False
        while self.at < len(self.text):
            sign = self.text[self.at]
            if sign in "*+?{":
                out.append(self._repeat(repeatable))
                repeatable = False
                continue
            repeatable = sign not in "(|"
            if sign == "(":
                self._open()
                depth += 1
                out.append("(")
            elif sign == "\\":
                out.append(self._escaped())
            elif sign == "[":
                out.append(self._class())
            else:
                depth -= sign == ")"
                if depth < 0:
                    raise ValueError("closes a `)` that is not open; write `\\)` for the sign itself")
                out.append(self._plain(sign))
        if depth:
            raise ValueError("leaves a `(` open; write `\\(` for the sign itself")
        return "".join(out)

    def _plain(self, sign: str) -> str:
        if sign in "^$":
            raise ValueError(
                f"holds `{sign}`: a pattern is for the whole value, so leave `^` and `$` out, or write"
                f" `\\{sign}` for the sign itself"
            )
        if sign in "]}":
            raise ValueError(f"holds a lone `{sign}`; write `\\{sign}` for the sign itself")
        self.at += 1
        return _DOT if sign == "." else _WRITTEN.get(sign, sign)

    def _open(self) -> None:
        if self.text.startswith("(?:", self.at):
            self.at += 3
        elif self.text.startswith("(?", self.at):
            raise ValueError("holds `(?`; groups are written `(…)`, without flags, names and look-around")
        else:
            self.at += 1

    def _repeat(self, repeatable: bool) -> str:
        found = _REPEAT.match(self.text, self.at)
        if found is None:
            raise ValueError("holds a `{` that counts nothing; write `{2}`, `{2,}` or `{2,5}`, or `\\{`")
        if not repeatable:
            raise ValueError(
                f"has nothing before `{found[0]}` that could be repeated (`*?` and `++` are not known)"
            )
        least, most = int(found[1] or 0), int(found[3] or 0)
        if max(least, most) > MOST_REPEATS or (found[3] and most < least):
            raise ValueError(
                f"repeats {found[0]}; the smaller number comes first, and {MOST_REPEATS:,} is the most"
            )
        self.at = found.end()
        return found[0]

    def _escaped(self) -> str:
        single, several = self._escape()
        if single is None:
            return several if several.startswith("\\") else f"[{several}]"
        if single == "$":
            return "[$]"  # XSD 1.0 has no \$
        return _WRITTEN.get(single) or (f"\\{single}" if single in _MARKS else single)

    def _escape(self) -> tuple[str | None, str]:
        """One character that a backslash stands before, or what stands for several inside `[…]`."""
        letter = self.text[self.at + 1 : self.at + 2]
        self.at += 2
        if letter in _SETS:
            return None, _SETS[letter]
        if letter.lower() in _SETS:
            return None, f"^{_SETS[letter.lower()]}"
        if letter in ("p", "P") and (found := _CATEGORY.match(self.text, self.at)):
            self.at = found.end()
            return None, f"\\{letter}{found[0]}"
        if letter in _CONTROLS:
            return _CONTROLS[letter], ""
        if letter and letter in string.punctuation:
            return letter, ""
        raise ValueError(
            f"holds `\\{letter}`; after a backslash comes one of d w s D W S n r t, p{{…}} with a category of"
            " Unicode, or a sign that shall stand for itself"
        )

    def _class(self) -> str:
        self.at += 1
        negated = self.text.startswith("^", self.at)
        self.at += negated
        parts: list[str] = []
        while not self.text.startswith("]", self.at):
            parts.append(self._item(first=not parts))
        self.at += 1
        if not parts:
            raise ValueError("holds an empty `[]`; write `\\]` for the sign itself")
        inside = "".join(parts)
        if "&&" in inside or "~~" in inside:
            raise ValueError("holds `&&` or `~~` in `[…]`; write each sign once")
        return f"[{'^' * negated}{inside}]"

    def _item(self, *, first: bool) -> str:
        """A character, a range or a set inside `[…]`."""
        if self.text.startswith("-", self.at) and not first and self.text[self.at + 1 : self.at + 2] != "]":
            raise ValueError("holds a `-` in `[…]` that is no range; write `\\-` for the sign itself")
        start, several = self._member()
        if start is None:
            if several.startswith("^"):
                raise ValueError("holds `\\D`, `\\W` or `\\S` in `[…]`; write `[^…]`")
            return several
        if self.text[self.at : self.at + 1] != "-" or self.text[self.at + 1 : self.at + 2] in ("]", ""):
            return _in_class(start)
        self.at += 1
        end, _ = self._member()
        if end is None or end < start:
            raise ValueError(f"holds a range from `{start}` that does not go up to a character")
        return f"{_in_class(start)}-{_in_class(end)}"

    def _member(self) -> tuple[str | None, str]:
        sign = self.text[self.at : self.at + 1]
        if not sign:
            raise ValueError("leaves a `[` open; write `\\[` for the sign itself")
        if sign == "[":
            raise ValueError("holds a `[` in `[…]`; write `\\[` for the sign itself")
        if sign == "\\":
            return self._escape()
        self.at += 1
        return sign, ""


def _in_class(sign: str) -> str:
    return _WRITTEN.get(sign) or (f"\\{sign}" if sign in "\\[]^-" else sign)
