"""What a model reads of payloads: tasks, results, complaints. Pure."""

from __future__ import annotations

import json
import re
from typing import Any

from xml_pipeline.agents.contract import Task
from xml_pipeline.envelope import BrokenRule, Huh
from xml_pipeline.errors import PayloadError, Violation
from xml_pipeline.payload import Codec, codec_of

NO_ANSWER = "no answer"
"""The result of a call that ended without one."""


_RESULT = re.compile(r"<(?=\s*+result\s++of\b)", re.IGNORECASE)
_RESULT_END = re.compile(r"<(?=\s*+/\s*+result\b)", re.IGNORECASE)


def task_text(payload: Any, *, native: bool) -> str:
    """A task as the user message: a `Task` is its text, every other payload its XML document.

    Where results are given in text, no task can hold one.
    """
    if not isinstance(payload, Task):
        return document(payload)
    return payload.text if native else _RESULT.sub("&lt;", payload.text)


def inside_result(text: str) -> str:
    """Words of the system as they stand in a result in text: what they quote can neither end it nor begin another."""
    return _RESULT_END.sub("&lt;", _RESULT.sub("&lt;", text))


def result_text(answer: Any) -> str:
    """A peer's answer as a tool result: bare text if text is all it is, else its XML document."""
    if answer is None:
        return NO_ANSWER
    if isinstance(answer, Huh):
        return huh_text(answer)
    codec = codec_of(type(answer))
    name = text_field(codec)
    return str(getattr(answer, name)) if name else document(answer)


def is_plain(answer: Any) -> bool:
    """Whether a result is words of the system, which need no markup around them."""
    return answer is None or isinstance(answer, Huh)


def text_field(codec: Codec[Any]) -> str:
    """The name of a class's one field, if that is a text; else ""."""
    fields = codec.fields
    return fields[0].name if len(fields) == 1 and fields[0].type == "str" else ""


def document(payload: Any) -> str:
    """A payload as its canonical XML document."""
    return codec_of(type(payload)).encode(payload).decode()


def huh_text(huh: Huh) -> str:
    """A complaint as models read it: element name outside, plain lines inside."""
    return f"<huh>\n{str(huh).strip()}\n</huh>"


def complaint(error: PayloadError, what: str, example: str = "") -> str:
    """The `<huh>` about a call or an answer that breaks the rules in `error`."""
    return huh_text(Huh.from_error(error, what, example))


def rule(what: str, text: str, allowed: str = "") -> str:
    """The `<huh>` about one broken rule."""
    return huh_text(Huh(f"{what} was not accepted", [BrokenRule(what, text, None, allowed)]))


def broken(field: str, text: str, allowed: str = "") -> PayloadError:
    """A broken rule as an error."""
    return PayloadError(Violation(field, text, None, allowed))


def json_example(codec: Codec[Any]) -> str:
    """Valid arguments of a tool call."""
    example = codec.decode_bytes(codec.example.encode())
    return json.dumps(codec.to_json(example), ensure_ascii=False)
