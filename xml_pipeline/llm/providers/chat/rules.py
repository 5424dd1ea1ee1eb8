"""Which parameters a model takes, as data. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
"""All reasoning efforts, rising."""

SAMPLING = frozenset(("temperature", "top_p"))


@dataclass(frozen=True, slots=True)
class ModelRule:
    """What the models that `models` matches take.

    Attributes:
        models: matched at the start of the model's name, in lower case.
        refuses: parameters they refuse; they are left out.
        sampling_without_effort: takes what it `refuses` when the effort is `none`.
        efforts: the reasoning efforts they know; empty when the parameter itself is refused. Any other
            effort becomes the nearest one, the lower of two.
        responses_for_tools: takes tools at `/responses` only.
    """

    models: re.Pattern[str]
    refuses: frozenset[str] = frozenset()
    sampling_without_effort: bool = False
    efforts: Sequence[str] = ()
    responses_for_tools: bool = False

    def effort(self, asked: str | None) -> str | None:
        """The effort to send, None for none."""
        if asked is None or not self.efforts:
            return None
        if asked in self.efforts or asked not in EFFORTS:
            return asked  # a word we do not know may be newer than we are
        place = EFFORTS.index(asked)
        return min(self.efforts, key=lambda effort: abs(EFFORTS.index(effort) - place))

    def takes(self, parameter: str, effort: str | None) -> bool:
        """Whether to send a parameter."""
        return parameter not in self.refuses or (self.sampling_without_effort and effort == "none")


def rule(
    models: str,
    refuses: str = "",
    efforts: str = "",
    *,
    sampling_without_effort: bool = False,
    responses_for_tools: bool = False,
) -> ModelRule:
    """A row, written short: words separated by blanks."""
    return ModelRule(
        re.compile(models),
        frozenset(refuses.split()),
        sampling_without_effort,
        tuple(efforts.split()),
        responses_for_tools,
    )


ANY = ModelRule(re.compile(""), efforts=EFFORTS)
"""A model nothing is known about: everything is passed on."""


def rule_for(model: str, rules: Sequence[ModelRule]) -> ModelRule:
    """The first row that matches the model; a fine-tuned one (`ft:gpt-…`) is as its base."""
    name = model.lower().removeprefix("ft:")
    return next((row for row in rules if row.models.match(name)), ANY)
