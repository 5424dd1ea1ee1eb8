"""What came, held against what was expected: every difference, to be read. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from xml_pipeline.config.cases import ErrorSection, ExpectSection, PatternSection, class_and_fields
from xml_pipeline.envelope import Huh, SystemError
from xml_pipeline.errors import AnswerError, XmlPipelineError, cut
from xml_pipeline.payload import codec_of

SHOWN = 500  # characters of a value in a difference


def in_answer(expect: ExpectSection, came: Any) -> Iterator[str]:
    """The differences of an answer, or of the error that was raised instead."""
    if expect.error is not None:
        yield from _in_error(expect.error, came)
    elif isinstance(came, XmlPipelineError):
        wanted = _one_line(expect.answer) if expect.answer is not None else "an answer that is no error"
        yield _difference("answer", wanted, f"error: {came}")
    elif expect.answer is not None:
        name, fields = class_and_fields(expect.answer, "Answer")
        codec = codec_of(type(came))
        if codec.root != name:
            yield _difference("answer", name, f"{codec.root} {_one_line(codec.to_json(came))}")
        else:
            yield from _in_value(f"answer.{name}", fields, codec.to_json(came))


def in_calls(expect: ExpectSection, called: Sequence[str]) -> Iterator[str]:
    """The differences of who was called, in order."""
    rest = iter(called)
    missing = next((name for name in expect.calls if name not in rest), None)
    if missing is not None:
        yield _difference(
            "calls",
            ", ".join(expect.calls),
            ", ".join(called) or "nobody",
            f"'{missing}' is missing, or comes too early",
        )
    for name in dict.fromkeys(expect.never):
        if name in called:
            yield f"never: '{name}' was called"


def in_cost(expect: ExpectSection, tokens: int, usd: float | None) -> Iterator[str]:
    """What went beyond a bound."""
    if expect.tokens_at_most is not None and tokens > expect.tokens_at_most:
        yield f"tokens_at_most: {expect.tokens_at_most:,}, and there were {tokens:,}"
    if expect.usd_at_most is not None and usd is None:
        yield "usd_at_most: what a model cost is not known; say its price in `llm.prices`"
    elif expect.usd_at_most is not None and usd is not None and usd > expect.usd_at_most:
        yield f"usd_at_most: {expect.usd_at_most:g}, and it cost {usd:.6f}"


def _in_error(expected: ErrorSection, came: Any) -> Iterator[str]:
    if not isinstance(came, XmlPipelineError):
        codec = codec_of(type(came))
        yield _difference("error", expected.code, f"{codec.root} {_one_line(codec.to_json(came))}")
        return
    code, text = ending_of(came)
    if code != expected.code:
        yield _difference("error.code", expected.code, f"{code}: {text}")
    elif expected.message is not None:
        message = expected.message
        wanted = message.model_dump(exclude_none=True) if isinstance(message, PatternSection) else message
        yield from _in_value("error.message", wanted, text)


def ending_of(error: XmlPipelineError) -> tuple[str, str]:
    """How an ask ended without a good answer, as `ErrorSection` names it, and in words."""
    answer = error.answer if isinstance(error, AnswerError) else None
    if isinstance(answer, SystemError):
        return answer.code, answer.message
    return ("huh" if isinstance(answer, Huh) else "unanswered"), str(answer or error)


def _in_value(path: str, wanted: Any, came: Any) -> Iterable[str]:
    if isinstance(wanted, Mapping) and isinstance(came, Mapping):
        for name, inner in wanted.items():
            yield from _in_value(f"{path}.{name}", inner, came.get(name))
    elif isinstance(wanted, Mapping):
        ((how, text),) = wanted.items() if len(wanted) == 1 else [("", "")]
        found = isinstance(came, str) and how in ("contains", "matches")
        if not found or not (text in came if how == "contains" else re.search(text, came, re.DOTALL)):
            yield _difference(path, f"{how} {text!r}" if how else _one_line(wanted), _one_line(came))
    elif isinstance(wanted, list) and isinstance(came, list) and len(wanted) == len(came):
        for index, (one, other) in enumerate(zip(wanted, came, strict=True)):
            yield from _in_value(f"{path}[{index}]", one, other)
    elif not _same(wanted, came):
        yield _difference(path, _one_line(wanted), _one_line(came))


def _same(wanted: Any, came: Any) -> bool:
    if isinstance(wanted, bool) or isinstance(came, bool) or wanted is None or came is None:
        return wanted is came
    if isinstance(wanted, int | float) and isinstance(came, str):  # a decimal stands as a text in JSON
        try:
            return Decimal(str(wanted)) == Decimal(came)
        except InvalidOperation:
            return False
    return bool(wanted == came)


def _difference(path: str, wanted: str, came: str, note: str = "") -> str:
    return f"{path}{f': {note}' if note else ''}\n  expected  {wanted}\n  came      {came}"


def _one_line(value: Any) -> str:
    if isinstance(value, str):
        return (
            cut(value, SHOWN)
            if value.strip() == value and value and "\n" not in value
            else cut(repr(value), SHOWN)
        )
    if isinstance(value, Mapping):
        return cut("{" + ", ".join(f"{name}: {_one_line(each)}" for name, each in value.items()) + "}", SHOWN)
    if isinstance(value, list):
        return cut(f"[{', '.join(map(_one_line, value))}]", SHOWN)
    return "nothing" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
