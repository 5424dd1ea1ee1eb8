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

LEAST_CACHEABLE = (
    (re.compile(r"claude-opus-5(-|$)"), 512),
    (re.compile(r"claude-(opus-4-7|3-5-haiku|3-haiku)"), 2048),
    (re.compile(r"claude-(opus-4-[56]|haiku-4-5)"), 4096),
    (re.compile(r"claude-(opus-4|sonnet-[45]|3-7-sonnet|3-5-sonnet|3-opus)(-|$)"), 1024),
)
"""Tokens below which a marked prefix is not cached, silently and at no cost
(platform.claude.com/docs/en/build-with-claude/prompt-caching, late 2026); unlisted models say nothing."""

EFFORTS = {"minimal": "low"}
"""Efforts that the API does not know → the nearest it does."""


def least_cacheable(model: str) -> int | None:
    """Tokens that a prefix needs to be cached; None where it is not known."""
    name = model.lower()
    return next((tokens for models, tokens in LEAST_CACHEABLE if models.match(name)), None)


def rule_for(model: str) -> ClaudeRule:
    """The first row that matches."""
    name = model.lower()
    return next(row for row in RULES if row.models.match(name))
