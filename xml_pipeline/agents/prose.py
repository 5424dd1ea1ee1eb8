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

    __slots__ = ("_end", "_held", "_names", "_over")

    def __init__(self, elements: Iterable[str] = ()) -> None:
        self._names = (*TAGS, *elements)
        self._held = ""
        self._end = ""
        self._over = False

    def feed(self, piece: str) -> str:
        """What may be shown now."""
        if self._over:
            return ""
        text, shown = self._held + piece, []
        self._held = ""
        while text:
            if self._end:
                at = text.find(self._end)
                if at < 0:
                    self._held = text[-len(self._end) :]
                    break
                text, self._end = text[at + len(self._end) :], ""
                continue
            at = text.find("<")
            if at < 0:
                shown.append(text)
                break
            shown.append(text[:at])
            text = text[at:]
            name = self._opened(text)
            if name is None:
                self._held = text
                break
            if name in TAGS:
                self._end = f"</{name}>"
            elif name:
                self._over = True
                break
            else:
                shown.append("<")
                text = text[1:]
        return "".join(shown)

    def close(self) -> str:
        """What was held back and turned out to be text."""
        held, self._held = self._held, ""
        return "" if self._over or self._end else held

    def _opened(self, text: str) -> str | None:
        """The element that begins here, "" for none of ours, None while it is not clear."""
        for name in self._names:
            if re.match(rf"<{re.escape(name)}[\s/>]", text):
                return name
        return None if any(f"<{name}".startswith(text) or text == f"<{name}" for name in self._names) else ""
