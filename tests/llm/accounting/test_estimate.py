"""What is learned of a model's tokens."""

from __future__ import annotations

import itertools

import pytest

from xml_pipeline.llm.accounting.estimate import DEFAULT_OUTPUT, REMEMBERED_OUTPUTS, Estimator
from xml_pipeline.llm.accounting.usage import UsageTally, UsageTotals


def test_an_answer_is_expected_as_long_as_the_longest_of_the_last_ones() -> None:
    estimator = Estimator()
    assert [estimator.output_tokens(most) for most in (None, 7, 5000)] == [DEFAULT_OUTPUT, 7, 5000]
    for length in (50, 80, 20):
        estimator.observe(0, 0, length)
    assert [estimator.output_tokens(most) for most in (None, 60, 500)] == [80, 60, 80]
    for _ in range(REMEMBERED_OUTPUTS):
        estimator.observe(0, 0, 10)
    assert estimator.output_tokens(None) == 10


def test_how_far_a_prompt_came_above_the_line_fades_slowly() -> None:
    estimator = Estimator()
    for _ in range(50):
        estimator.observe(10_000, 2_500, 1)
    usual = estimator.tokens(10_000, 0)
    estimator.observe(10_000, 7_500, 1)
    dense = estimator.tokens(10_000, 0)
    assert dense >= 7_500
    over = [dense / 2_500]
    for _ in range(30):
        estimator.observe(10_000, 2_500, 1)
        over.append(estimator.tokens(10_000, 0) / 2_500)
    assert all(after <= before for before, after in itertools.pairwise(over))
    assert over[3] > 1.3  # not forgotten with the next prompt
    assert over[-1] < 1.1
    assert usual < 2_600


def test_an_answer_that_came_has_at_least_a_token() -> None:
    estimator = Estimator()
    assert [estimator.answer_tokens(size) for size in (0, 1, 350)] == [0, 1, 100]


@pytest.mark.parametrize("kind", ["agent", "thread", "conversation", "model", "backend"])
def test_whoever_never_called_has_used_nothing(kind: str) -> None:
    totals = UsageTally().one(kind, "nobody")  # type: ignore[arg-type]
    assert totals == UsageTotals()
    assert (totals.total_tokens, totals.cost) == (0, 0.0)
