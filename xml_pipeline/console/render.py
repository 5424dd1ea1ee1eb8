"""Payloads, errors and events as lines for a person."""

from __future__ import annotations

import json
from typing import Any

from lxml import etree

from xml_pipeline.envelope import Gathered, Huh, SystemError
from xml_pipeline.envelope.system import is_error
from xml_pipeline.errors import AnswerError, ConfigError, PayloadError
from xml_pipeline.events import BackendStateChanged, BudgetWarning, ThreadEnded
from xml_pipeline.payload import FieldInfo, codec_of
from xml_pipeline.terminal import Line, count, labelled, line, lines

TRACE_CUT = 200
"""Characters of a payload that a trace line shows."""

ADVICE = {
    "routing": "it wrote to a listener that it may not call; see its `peers` in organism.yaml",
    "validation": "a message was refused; the rules it breaks are above",
    "timeout": "ask again, or raise `timeout_seconds` in organism.yaml",
    "handler": "the log says more about it; /status tells where it is",
    "budget": "raise the budget in the `llm` section, or wait for its period to end",
    "interrupted": "the process ended while it was worked on, again and again; see the log for why",
    "limit": "see `max_turns` and `max_tokens` of the agent, and `organism.limits`, in organism.yaml",
}
"""What a person can do, by the code of a SystemError."""


def answer(payload: Any) -> list[Line]:
    """A payload as a person reads it: the text of an only text field, else `field: value`, else XML."""
    if isinstance(payload, Gathered):
        return [each for part in payload.answers for each in _part(part)]
    codec = codec_of(type(payload))
    arguments = codec.to_json(payload)
    if not codec.fields:
        return [line(("dim", codec.root))]
    if len(codec.fields) == 1 and codec.fields[0].type == "str":
        return lines(str(arguments.get(codec.fields[0].name, "")))
    if all(_flat(arguments.get(field.name)) for field in codec.fields):
        return [each for field in codec.fields for each in _field(field, arguments)]
    return lines(indented(codec.encode(payload)))


def _part(payload: Any) -> list[Line]:
    if payload is None:
        return [line(("warn", "(no answer)"))]
    return problem(payload) if is_error(payload) else answer(payload)


def _flat(value: object) -> bool:
    if isinstance(value, list):
        return all(isinstance(item, str | int | float) and "\n" not in str(item) for item in value)
    return not isinstance(value, dict)


def _field(field: FieldInfo, arguments: dict[str, Any]) -> list[Line]:
    value = arguments.get(field.name)
    text = ", ".join(map(_scalar, value)) if isinstance(value, list) else _scalar(value)
    return labelled(line(("dim", f"{field.name}: ")), lines(text))


def _scalar(value: object) -> str:
    return value if isinstance(value, str) else "–" if value is None else json.dumps(value)


def indented(data: bytes) -> str:
    """A canonical document with line breaks for reading."""
    element = etree.fromstring(data)  # our own encoder's output
    etree.indent(element)
    return etree.tostring(element, encoding="unicode")


def error(raised: BaseException, *, log: str = "") -> list[Line]:
    """What went wrong and what to do about it; `log` is where the log goes."""
    if isinstance(raised, AnswerError):
        return problem(raised.answer, log=log)
    if isinstance(raised, ConfigError):
        return [line(("error", f"error: {each}")) for each in raised.problems]
    if isinstance(raised, PayloadError):
        return [line(("error", f"error: {each}")) for each in raised.violations]
    return lines(f"error: {raised or type(raised).__name__}", "error")


def problem(payload: SystemError | Huh, *, log: str = "") -> list[Line]:
    """An error message that came as an answer."""
    if isinstance(payload, Huh):
        return [*lines(f"error (validation): {payload}", "error"), line(("dim", ADVICE["validation"]))]
    advice = (
        f"the log says more about it: {log}" if log and payload.code == "handler" else ADVICE[payload.code]
    )
    partial = [line(("dim", "so far:")), *lines(payload.partial)] if payload.partial else []
    return [
        *lines(f"error ({payload.code}): {payload.message or 'no details'}", "error"),
        *partial,
        line(("dim", advice)),
    ]


def trace(from_id: str, to: str, payload: Any, *, whole: bool) -> Line:
    """One message on its way, in one line; `whole` shows its content too."""
    head = f"  {from_id} → {to}  "
    if not isinstance(payload, Gathered):
        return line(("dim", head + _traced(payload, whole=whole)))
    if not whole:
        return line(("dim", f"{head}Gathered"))
    answers = "; ".join("(no answer)" if each is None else _traced(each) for each in payload.answers)
    return line(("dim", f"{head}Gathered {count(len(payload.answers), 'answer')}: {answers}"))


def goes_on(number: int, to: str, said: str) -> Line:
    """An ask of an earlier life, whose answer is still to come."""
    return line(("name", to), ("dim", f" #{number} goes on: {said}"))


def ended(event: ThreadEnded) -> Line:
    """How a call ended, where that may surprise."""
    return line(("dim", f"  {event.listener} {event.how}: {event.note}"))


def _traced(payload: Any, *, whole: bool = True) -> str:
    codec = codec_of(type(payload))
    if not whole:
        return codec.root
    content = json.dumps(codec.to_json(payload), ensure_ascii=False)
    cut = content if len(content) <= TRACE_CUT else f"{content[:TRACE_CUT]}… ({len(content)} characters)"
    return f"{codec.root} {cut}"


def warning(event: BudgetWarning | BackendStateChanged) -> Line:
    """What will soon, or does now, keep models from answering."""
    if isinstance(event, BudgetWarning):
        used = f"{event.fraction:.0%} of its {event.limit:g} {event.unit}"
        return line(("warn", f"budget: {event.scope} has used {used}"))
    return line(("warn", f"backend {event.backend} is out: {event.reason}"))
