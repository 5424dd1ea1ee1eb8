"""Texts cleaned of keys.

A server that echoes a key does so whole, cut, half masked or encoded. So what is looked for is any part of a secret
that is long enough to be one, in the text as it stands and as its escapes read, and the ends of one beside a mask.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import unquote, urlsplit

from xml_pipeline.keys.secret import MASK

PART = 8  # characters of a secret that are taken for a part of it
_SHORTEST = 4  # characters below which a word is no secret
_END = 64  # characters of a secret beside a mask that are looked at
_ROUNDS = 3  # escapes of escapes that are read
# Looks of the providers' own keys (`sk-…`, `sk-ant-…`, `xai-…`, Google's `AIza…`), also half-masked ones,
# as error bodies echo them.
_KEY_LIKE = re.compile(r"\b(?:sk|pk|rk|xai|gsk|hf|r8)[-_][A-Za-z0-9_*.\-]{6,}+|\bAIza[A-Za-z0-9_*\-]{6,}+")
_BEARER = re.compile(r"(?i)\b(bearer|basic)\s++[A-Za-z0-9+/=_.~\-]{6,}+")
_MASKED = re.compile(
    r"[*\u2022\u25cf\u2026\u00b7\u2588#]++|\.{2,}+|[xX]{3,}+|_{3,}+|\?{3,}+|\[[a-z]{3,10}\]|(?:\\x[89a-f][0-9a-f])++"
)
_ESCAPE = re.compile(
    r"%([0-9a-fA-F]{2})|\\u00([0-9a-fA-F]{2})|\\x([0-9a-fA-F]{2})|&#x0{0,6}([0-9a-fA-F]{2});"
    r"|&#0{0,6}([0-9]{2,3});|&(amp|lt|gt|quot|apos);|\\([/\"'\\])"
)
_NAMED = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'"}
# Headers that carry words; only their whole values are taken out.
_WORDS = frozenset(
    ("accept", "accept-language", "content-type", "http-referer", "referer", "user-agent", "x-title")
)


def in_headers(headers: Mapping[str, str]) -> tuple[str, ...]:
    """The secrets in headers that a user configured: all values but words."""
    return tuple(value for name, value in headers.items() if name.lower() not in _WORDS)


def words_in_headers(headers: Mapping[str, str]) -> tuple[str, ...]:
    """The values that are taken out as a whole only."""
    return tuple(value for name, value in headers.items() if name.lower() in _WORDS)


def in_url(url: str) -> tuple[str, ...]:
    """The secrets in the address of a proxy: password, query, and a user's name that is long enough to be a key."""
    parts = urlsplit(url)
    name = parts.username or ""
    found = (parts.password, parts.query, name if len(name) >= PART else "")
    return tuple(dict.fromkeys(form for each in found if each for form in (each, unquote(each))))


class Scrubber:
    """Takes secrets out of texts.

    Args:
        secrets: whatever may not show, also in part.
        words: what may not show as a whole.
    """

    __slots__ = ("_heads", "_parts", "_tails", "_whole")

    def __init__(self, secrets: Iterable[str] = (), words: Iterable[str] = ()) -> None:
        known = tuple(dict.fromkeys(str(each) for each in secrets if len(each) >= _SHORTEST))
        also = tuple(dict.fromkeys(str(each) for each in words if len(each) >= PART))
        self._heads = tuple(each[:_END] for each in known)
        self._tails = tuple(each[-_END:] for each in known)
        forms = [form for each in known for form in (each, *_encoded(each))]
        self._parts = {form[at : at + PART] for form in forms for at in range(len(form) - PART + 1)}
        short = [form for form in forms if len(form) < PART]
        self._whole = tuple(sorted({*short, *known, *also}, key=len, reverse=True))

    def __call__(self, text: str) -> str:
        """`text` without them, and without anything that looks like a provider's key."""
        if self._whole:
            text = self._without_ends(_masked(text, self._spans(text)))
        return _BEARER.sub(rf"\1 {MASK}", _KEY_LIKE.sub(MASK, text))

    def _spans(self, text: str) -> Iterator[tuple[int, int]]:
        for view, places in _views(text):
            for word in self._whole:
                at = view.find(word)
                while at >= 0:
                    yield places[at], places[at + len(word)]
                    at = view.find(word, at + len(word))
            parts = self._parts
            for at in range(len(view) - PART + 1) if parts else ():
                if view[at : at + PART] in parts:
                    yield places[at], places[at + PART]

    def _without_ends(self, text: str) -> str:
        """The beginning of a secret before a mask, and the end of one behind it."""
        spans = []
        for mask in _MASKED.finditer(text):
            before, after = (
                text[max(0, mask.start() - _END) : mask.start()],
                text[mask.end() : mask.end() + _END],
            )
            head = max((_overlap(before, head) for head in self._heads), default=0)
            tail = max((_overlap(tail, after) for tail in self._tails), default=0)
            if head + tail >= 2:
                spans.append((mask.start() - head, mask.end() + tail))
        return _masked(text, spans)


def scrub(text: str, secrets: Iterable[str] = ()) -> str:
    """`text` without the given secrets and without anything that looks like a provider's key."""
    return Scrubber(secrets)(text)


def _encoded(secret: str) -> Iterator[str]:
    """The forms of a secret in which none of its characters stands for itself."""
    data = secret.encode("utf-8", "surrogatepass")
    yield data.hex()
    yield data.hex().upper()
    for shift in range(3):  # base64 of a text in which the secret begins at any of three places
        skipped = -(-shift * 8 // 6)
        whole = (shift + len(data)) * 8 // 6
        text = b64encode(b"\0" * shift + data).decode()[skipped:whole]
        yield text
        if "+" in text or "/" in text:
            yield text.translate({ord("+"): "-", ord("/"): "_"})


def _views(text: str) -> Iterator[tuple[str, range | list[int]]]:
    """`text` as it stands and as its escapes read, each with where its characters stand."""
    places: range | list[int] = range(len(text) + 1)
    yield text, places
    for _ in range(_ROUNDS):
        pieces: list[str] = []
        where: list[int] = []
        end = 0
        for found in _ESCAPE.finditer(text):
            pieces += text[end : found.start()], _read(found)
            where += places[end : found.start() + 1]
            end = found.end()
        if not end:
            return
        pieces.append(text[end:])
        where += places[end:]
        text, places = "".join(pieces), where
        yield text, places


def _read(escape: re.Match[str]) -> str:
    *hexadecimal, decimal, name, plain = escape.groups()
    if decimal:
        return chr(int(decimal))
    code = next((each for each in hexadecimal if each), "")
    return chr(int(code, 16)) if code else _NAMED.get(name or "", plain or "")


def _masked(text: str, spans: Iterable[tuple[int, int]]) -> str:
    pieces: list[str] = []
    end = 0
    for first, last in sorted(spans):
        if first >= end and (first > end or not pieces):
            pieces += text[end:first], MASK
        end = max(end, last)
    return "".join((*pieces, text[end:]))


def _overlap(first: str, second: str) -> int:
    """How many characters at the end of `first` are the beginning of `second`."""
    most = min(len(first), len(second))
    return next((size for size in range(most, 0, -1) if first.endswith(second[:size])), 0)
