"""How errors name what there is and what was meant."""

from __future__ import annotations

import pytest

from xml_pipeline.errors import NAMES_LISTED, did_you_mean, listing, no_such


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("shoutr", "; did you mean 'shouter'?"),
        ("SHOUTER", "; did you mean 'shouter'?"),
        ("round_robin", "; did you mean 'round-robin'?"),
        ("zebra", ""),
    ],
)
def test_the_nearest_name_is_suggested(word: str, meant: str) -> None:
    assert did_you_mean(word, ["greeter", "shouter", "round-robin"]) == meant


def test_a_form_surrounds_a_suggestion_only() -> None:
    assert did_you_mean("gretr", ["greeter"], " ({})") == " (did you mean 'greeter'?)"
    assert did_you_mean("zebra", ["greeter"], " ({})") == ""


def test_many_names_are_cut() -> None:
    assert listing(["b", "a", "b"]) == "a, b"
    assert listing(map(str, range(100, 100 + NAMES_LISTED + 1))).endswith(", … (21 in all)")


def test_what_is_not_there_is_told_with_what_is() -> None:
    assert no_such("backend", "x", ()) == "no backend 'x'; there are none"
    assert (
        no_such("listener", "b", {"b2": 1, "a": 2}) == "no listener 'b'; there are a, b2; did you mean 'b2'?"
    )
