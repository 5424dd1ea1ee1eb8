"""The lines of a case's script, said one after the other. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from xml_pipeline.config.cases import LineSection, said_as
from xml_pipeline.errors import cut

ASKED_CUT = 300  # characters of what somebody was asked who has nothing to say


class NothingToSay(Exception):
    """Somebody was asked, and the script has no line for it; the text says who, and what was asked."""


class Script:
    """Who says what, and how often it was said."""

    def __init__(self, lines: Mapping[str, Sequence[LineSection]]) -> None:
        self._lines = lines
        self._said = {name: [0] * len(of_one) for name, of_one in lines.items()}

    def next(self, name: str, who: str, asked: str) -> LineSection:
        """The line for what somebody was asked.

        Args:
            name: the listener.
            who: it, as a person reads it.
            asked: the message, as text.

        Raises:
            NothingToSay: no line that is left fits.
        """
        lines, said = self._lines.get(name, ()), self._said.get(name, [])
        for index, line in enumerate(lines):
            spent = isinstance(line.times, int) and said[index] >= line.times
            if not spent and re.search(line.match, asked, re.DOTALL):
                said[index] += 1
                return line
        left = [line for index, line in enumerate(lines) if not said[index]]
        why = "no line of it is left" if lines else "the script says nothing for it"
        if left:
            why = f"no line that is left fits ({', '.join(f'match: {each.match}' for each in left)})"
        raise NothingToSay(f"{who} was asked, and {why}. It was asked: {cut(asked, ASKED_CUT)}")

    def left_over(self) -> Iterator[str]:
        """The lines that were not said, each as a problem."""
        for name, lines in self._lines.items():
            for index, (line, said) in enumerate(zip(lines, self._said[name], strict=True)):
                if isinstance(line.times, int) and said < line.times:
                    often = f" ({said} of {line.times} times)" if line.times > 1 else ""
                    yield f"script.{name}[{index}] was not said{often}: {_shown(line)}"


def _shown(line: LineSection) -> str:
    key = said_as(line)
    value = (
        line.call if key == "call" else [each.call for each in line.calls or ()] if key == "calls" else None
    )
    if value is None:
        value = line.fail.message if line.fail is not None else getattr(line, key)
    return f"{key}: {cut(value)}"
