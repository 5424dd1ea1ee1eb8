"""Reasoning that a model left in its text, in `<think>` and the like."""

from __future__ import annotations

import re
from collections.abc import Iterable

TAGS = ("think", "thinking", "reasoning")
_TAGS = "|".join(TAGS)
_LONE_END = re.compile(rf"^[^\n]*</(?:{_TAGS})>[ \t]*$", re.MULTILINE)


def without_thinking(text: str, roots: Iterable[str] = ()) -> str:
    """`text` without its thinking; what stands inside an element of `roots` is the payload's own and stays.

    Some chat templates open the thinking themselves, so that the text begins inside it: then all up to an end
    without a beginning, at the end of a line, is thinking. Thinking that never ends takes the rest of the text.
    """
    if "think" not in text and "reasoning" not in text:
        return text
    names = "|".join(re.escape(root) for root in sorted(roots, key=len, reverse=True))
    payload = rf"|<({names})(?=[\s/>])" if names else "|(?!)()"
    token = re.compile(rf"<({_TAGS})>{payload}")
    kept: list[str] = []
    start = at = 0
    lone = _LONE_END.search(text)
    first = token.search(text)
    if lone and (first is None or first.start() >= lone.end()):
        start = at = lone.end()
    while match := token.search(text, at):
        thinking, root = match[1], match[2]
        end = text.find(f"</{thinking or root}>", match.end())
        if thinking:
            kept.append(text[start : match.start()])
            if end < 0:
                return "".join(kept)
            start = at = end + len(f"</{thinking}>")
        elif end < 0:
            break
        else:
            at = end
    kept.append(text[start:])
    return "".join(kept)
