"""What keys of a listener were called in files without a `format`."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

FORMER: Mapping[str, str] = MappingProxyType(
    {
        "payload_class": "accepts",
        "answer_class": "answers",
        "tools": "calls",
        "prompt_file": "prompt",
    }
)
"""Former key: the key that it is now."""

NOW: Mapping[str, str] = MappingProxyType({**FORMER, "prompt_file": "prompt: {file: …}"})
"""Former key: how it is written now."""
