"""What Anthropic's models take, as data. Pure.

Sources: platform.claude.com/docs, the model overview, thinking, structured outputs and versioning (late 2026).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

NEWEST_VERSION = "2026-10-21"
SAMPLING_VERSION = "2023-06-01"
"""The last API version that knows `temperature`, `top_p` and `top_k`."""


@dataclass(frozen=True, slots=True)
class ClaudeRule:
    """What the models that `models` matches take.

    Attributes:
        sampling: `temperature` and `top_p`.
        adaptive: `thinking: adaptive` with `output_config.effort`; else a token budget.
        prefill: a conversation that ends with an assistant turn.
        schema: `output_config.format`.
    """

    models: re.Pattern[str]
    sampling: bool = False
    adaptive: bool = True
    prefill: bool = False
    schema: bool = True


_OLD = ClaudeRule(
    re.compile(r"claude-(\d|instant|opus-4(-0|-2025|$)|sonnet-4(-0|-2025|$))"), True, False, True, False
)
_NEW = ClaudeRule(re.compile(""))

RULES = (
    _OLD,
    ClaudeRule(re.compile(r"claude-(opus-4-[15]|sonnet-4-5|haiku-4-5)"), True, False, True, True),
    ClaudeRule(re.compile(r"claude-(opus|sonnet|haiku)-4-6"), True, True, False, True),
    _NEW,
)
"""Unknown models count as the newest."""

BUDGETS = {"minimal": 1024, "low": 1024, "medium": 4096, "high": 16_384, "xhigh": 32_768, "max": 49_152}
"""Reasoning effort → thinking tokens, for models without adaptive thinking; 1,024 is the API's least."""

EFFORTS = {"minimal": "low"}
"""Efforts that the API does not know → the nearest it does."""


def rule_for(model: str) -> ClaudeRule:
    """The first row that matches."""
    name = model.lower()
    return next(row for row in RULES if row.models.match(name))
