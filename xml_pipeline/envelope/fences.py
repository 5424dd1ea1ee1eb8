"""Code fences around, and in, the text of a model. Pure; each function looks at each character once."""

from __future__ import annotations

from collections.abc import Iterator

_FENCE = "```"
_CODE = "```tool_code"  # Gemini's and Gemma's calls, which are no quotation


def unfenced(text: str) -> str:
    """`text` without blanks and a code fence around the whole of it."""
    text = text.strip()
    if len(text) < 2 * len(_FENCE) or not (text.startswith(_FENCE) and text.endswith(_FENCE)):
        return text
    head, newline, body = text[len(_FENCE) : -len(_FENCE)].partition("\n")
    language = head.rstrip(" \t")
    return body.strip() if newline and (not language or (language.isascii() and language.isalpha())) else text


def without_quotations(text: str) -> str:
    """`text` without its fenced code: what stands in a fence is talk. A fence that is never closed is none."""
    if _FENCE not in text:
        return text
    kept: list[str] = []
    quoted: list[str] = []
    for line in _lines(text):
        start = line.lstrip(" \t")
        if quoted:
            quoted.append(line)
            if start.startswith(_FENCE):
                kept.append(start.removeprefix(_FENCE))
                quoted = []
        elif start.startswith(_FENCE) and not start.startswith(_CODE) and line.endswith("\n"):
            quoted.append(line)
        else:
            kept.append(line)
    return "".join((*kept, *quoted))


def _lines(text: str) -> Iterator[str]:
    """The lines with their ends, as `\\n` alone ends one."""
    at = 0
    while at < len(text):
        end = text.find("\n", at)
        end = len(text) if end < 0 else end + 1
        yield text[at:end]
        at = end
