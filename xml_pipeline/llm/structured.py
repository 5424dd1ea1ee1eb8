"""Answers that are payloads: what the model is told, and how its text is read. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from xml_pipeline.envelope import extract_payloads
from xml_pipeline.envelope.fences import unfenced
from xml_pipeline.errors import PayloadError, Violation, cut
from xml_pipeline.llm.types import LLMResponse, Message, ResponseSchema, Usage, after_system
from xml_pipeline.payload import Codec
from xml_pipeline.payload.text import carriable, deeply

MAX_REPAIRS = 2
_COUNTS = [field.name for field in fields(Usage) if field.name not in ("estimated", "service_tier")]


def schema_of(codec: Codec[Any]) -> ResponseSchema:
    """What backends with native structured output are asked for."""
    return ResponseSchema(codec.root, codec.json_schema, codec.description)


def with_instruction(messages: Sequence[Message], codec: Codec[Any]) -> list[Message]:
    """The messages with the instruction for models that are asked in text."""
    return after_system(
        messages, f"Answer with exactly one XML document and nothing else.\n\n{codec.prompt_text}"
    )


def read(codec: Codec[Any], text: str) -> Any:
    """The payload that a model wrote, as JSON or as XML, whichever it is.

    Raises:
        PayloadError: it is neither, or breaks a rule of the class.
    """
    body = unfenced(text)
    if body.startswith("{"):
        try:
            return codec.from_json(deeply(carriable, json.loads(body)))
        except (ValueError, RecursionError) as error:
            raise PayloadError(Violation(codec.root, f"this is no valid JSON: {error}", cut(body))) from None
    return _read_xml(codec, text)


def _read_xml(codec: Codec[Any], text: str) -> Any:
    extraction = extract_payloads(text, [codec])
    if len(extraction.found) == 1:
        return extraction.found[0].payload
    if extraction.errors:
        raise extraction.errors[0][1]
    what = "no" if not extraction.found else "more than one"
    raise PayloadError(
        Violation(
            codec.root, f"there is {what} <{codec.root}> document in the answer", cut(text), codec.example
        )
    )


def joined(rounds: Sequence[LLMResponse]) -> LLMResponse:
    """The last response, with the usage, cost, tries and time of all rounds."""
    last = rounds[-1]
    if len(rounds) > 1:
        usages = [Usage.of(one.usage) for one in rounds]
        sums = {name: sum(getattr(usage, name) for usage in usages) for name in _COUNTS}
        last.usage = Usage(
            **sums,
            estimated=any(usage.estimated for usage in usages),
            service_tier=usages[-1].service_tier,
        )
        costs = [one.cost for one in rounds]
        last.cost = None if None in costs else sum(cost for cost in costs if cost is not None)
        last.attempts = tuple(attempt for one in rounds for attempt in one.attempts)
        last.latency = sum(one.latency for one in rounds)
    return last


def repair_request(response: LLMResponse, error: PayloadError) -> list[Message]:
    """The messages that ask the model to correct its answer."""
    rules = "\n".join(f"- {violation}" for violation in error.violations)
    return [
        response.message,
        {
            "role": "user",
            "content": f"Your answer was not accepted:\n{rules}\nAnswer again in full, correctly, and with"
            " nothing else.",
        },
    ]
