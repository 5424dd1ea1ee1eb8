"""The part of a streamed answer that is for people: neither thinking nor calls. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

from xml_pipeline.envelope.thinking import TAGS


class Prose:
    """Takes an answer's text piece by piece and gives back what may be shown.

    A `<` is held back until it is clear what it begins. Thinking is left out; from the first call on nothing
    is shown any more.

    Args:
        elements: names of the elements that a call consists of.
    """

    __slots__ = ("_end", "_held", "_longest", "_opening", "_over", "_starts")

    def __init__(self, elements: Iterable[str] = ()) -> None:
        names = (*TAGS, *elements)
        self._opening = re.compile(rf"<({'|'.join(map(re.escape, names))})[\s/>]")
        self._starts = {f"<{name}"[:length] for name in names for length in range(1, len(name) + 2)}
        self._longest = max(map(len, self._starts))
        self._held = ""
        self._end = ""
        self._over = False

    def feed(self, piece: str) -> str:
        """What may be shown now."""
        if self._over:
            return ""
        text, shown, at = self._held + piece, [], 0
        self._held = ""
        while at < len(text):
            if self._end:
                end = text.find(self._end, at)
                if end < 0:
                    self._held = text[max(at, len(text) - len(self._end)) :]
                    break
                at, self._end = end + len(self._end), ""
                continue
            start = text.find("<", at)
            shown.append(text[at:] if start < 0 else text[at:start])
            if start < 0:
                break
            opened = self._opening.match(text, start)
            if opened is None:
                if len(text) - start <= self._longest and text[start:] in self._starts:
                    self._held = text[start:]
                    break
                shown.append("<")
                at = start + 1
            elif opened[1] in TAGS:
                self._end = f"</{opened[1]}>"
                at = start
            else:
                self._over = True
                break
        return "".join(shown)

    def close(self) -> str:
        """What was held back and turned out to be text."""
        held, self._held = self._held, ""
        return "" if self._over or self._end else held
