"""Keys that do not show themselves, and texts cleaned of them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import quote

MASK = "***"
# Looks of the providers' own keys (`sk-…`, `sk-ant-…`, `xai-…`, Google's `AIza…`), also half-masked ones,
# as error bodies echo them.
_KEY_LIKE = re.compile(r"\b(?:sk|pk|rk|xai|gsk|hf|r8)[-_][A-Za-z0-9_*.\-]{6,}|\bAIza[A-Za-z0-9_*\-]{6,}")
_BEARER = re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9+/=_.~\-]{6,}")


class Secret(str):
    """A string whose `repr` is masked.

    `str()` and f-strings give the value, because `f"Bearer {self.api_key}"` is how a backend uses its key;
    everything that shows objects (`repr`, dataclass reprs, tracebacks of locals, `%r`) gives `***`.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return f"Secret({MASK!r})" if self else "Secret('')"


def scrub(text: str, secrets: Iterable[str] = ()) -> str:
    """`text` without the given secrets and without anything that looks like a provider's key."""
    for secret in secrets:
        if len(secret) >= 4:
            text = text.replace(str(secret), MASK)
            encoded = quote(secret, safe="")
            if encoded != secret:
                text = text.replace(encoded, MASK)
    return _BEARER.sub(rf"\1 {MASK}", _KEY_LIKE.sub(MASK, text))
