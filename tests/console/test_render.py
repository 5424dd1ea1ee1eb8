"""Payloads, errors and events as lines."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

import pytest

from tests.console.organisms import Order, Ping, Shout, Sum
from xml_pipeline import AnswerError, ConfigError, Huh, SystemError, xmlify
from xml_pipeline.console import render
from xml_pipeline.envelope import Gathered
from xml_pipeline.envelope.system import BrokenRule
from xml_pipeline.errors import PayloadError, Problem, Violation
from xml_pipeline.terminal import Line, plain


@xmlify
@dataclass
class Basket:
    """Orders."""

    orders: list[Order]
    total: Decimal


def shown(lines: list[Line]) -> str:
    return "\n".join(map(plain, lines))


@pytest.mark.parametrize(
    ("payload", "text"),
    [
        (Shout("two\nlines"), "two\nlines"),
        (Shout(""), ""),
        (Sum(42), "value: 42"),
        (Order("tea", 2), "item: tea\nquantity: 2\ntags: –"),
        (Order("tea", 2, ["hot", "green"]), "item: tea\nquantity: 2\ntags: hot, green"),
        (Ping(), "Ping"),
        (Gathered((Sum(1), None, SystemError("timeout", "too slow"))), None),
    ],
)
def test_an_answer_is_its_text_or_its_fields(payload: object, text: str | None) -> None:
    if text is None:
        assert shown(render.answer(payload)).startswith("value: 1\n(no answer)\nerror (timeout): too slow")
    else:
        assert shown(render.answer(payload)) == text


def test_a_nested_answer_is_xml() -> None:
    text = shown(render.answer(Basket([Order("tea")], Decimal("4.15"))))
    assert text.startswith("<Basket>\n  <orders>\n    <item>")
    assert "<total>4.15</total>" in text


@pytest.mark.parametrize("code", ["routing", "validation", "timeout", "handler", "budget", "limit"])
def test_every_error_code_says_what_to_do(code: str) -> None:
    text = shown(render.error(AnswerError(SystemError(code, "it broke"), code, "it broke")))  # type: ignore[arg-type]  # each is a code
    first, advice = text.split("\n")
    assert first == f"error ({code}): it broke"
    assert len(advice) > 20


def test_the_log_is_named_where_the_trace_is() -> None:
    error = AnswerError(SystemError("handler", "it broke"), "handler", "it broke")
    assert shown(render.error(error, log="/var/xp.log")).endswith("the log says more about it: /var/xp.log")


def test_a_huh_shows_its_rules_and_its_example() -> None:
    huh = Huh("Sum is not valid", [BrokenRule("Sum.value", "is no number", "x", "an integer")], "<Sum/>")
    text = shown(render.error(AnswerError(huh, "validation", str(huh))))
    for part in ("error (validation)", "Sum.value: is no number", "'x'", "an integer", "<Sum/>"):
        assert part in text


def test_several_mistakes_are_several_lines() -> None:
    assert shown(render.error(ConfigError([Problem("one"), Problem("two")]))) == "error: one\nerror: two"
    broken = PayloadError([Violation("A.a", "is missing"), Violation("A.b", "is missing")])
    assert shown(render.error(broken)) == "error: A.a: is missing\nerror: A.b: is missing"


def test_a_trace_line_is_one_line_and_cut() -> None:
    whole = plain(render.trace("a", "b", Shout("x\n" * 1000), whole=True))
    assert whole.startswith('  a → b  Shout {"text": "x\\nx')
    assert len(whole) < 300
    assert "characters" in whole
    assert plain(render.trace("a", "b", Shout("secret"), whole=False)) == "  a → b  Shout"
    answers = Gathered((Sum(42), None, Shout("x" * 1000)))
    assert plain(render.trace("a", "b", answers, whole=False)) == "  a → b  Gathered"
    several = plain(render.trace("a", "b", answers, whole=True))
    assert several.startswith(
        '  a → b  Gathered 3 answers: Sum {"value": 42}; (no answer); Shout {"text": "xxx'
    )
    assert len(several) < 400
