"""Reading the neutral messages of a request, for dialects that shape them differently. Pure."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from xml_pipeline.errors import InvalidRequestError, cut
from xml_pipeline.llm.types import LLMRequest, Message

BROKEN_ARGUMENTS = "_arguments_that_are_no_json_object"
"""The key under which a broken tool call's text is replayed to APIs that take arguments as an object."""

CONTINUE = "Continue."
"""The user turn for APIs that want one where the conversation has none."""

_DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+);base64,(.*)\Z", re.DOTALL)
_SAFE_ID = re.compile(r"[A-Za-z0-9_-]{1,40}\Z")


def parts_of(message: Message) -> list[Mapping[str, Any]]:
    """The content as parts; empty text parts are left out, because several APIs refuse them."""
    content = message.get("content")
    if content is None:
        return []
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    return [part for part in content if part.get("type") != "text" or part.get("text")]


def text_of(message: Message) -> str:
    """The content as text, for APIs (and places) that take nothing else.

    Raises:
        InvalidRequestError: it holds something that is no text.
    """
    content = message.get("content")
    if content is None or isinstance(content, str):
        return content or ""
    texts = []
    for part in content:
        if part.get("type") != "text":
            raise unsupported(part, f"a {message.get('role')} message")
        texts.append(part["text"])
    return "".join(texts)


def texts_of(message: Message) -> list[Mapping[str, Any]]:
    """The text parts of a message that may hold nothing else. Raises as `text_of`."""
    text_of(message)
    return parts_of(message)


def unsupported(part: Mapping[str, Any], where: str) -> InvalidRequestError:
    """The error for a content part that an API cannot take there."""
    return InvalidRequestError(
        f"{where} with a part of type {cut(part.get('type'))} cannot be sent to this provider; use text"
        " parts, or image_url parts in user messages"
    )


def image_url(part: Mapping[str, Any]) -> str:
    """The address of an `image_url` part.

    Raises:
        InvalidRequestError: it has none.
    """
    image = part.get("image_url")
    url = image.get("url") if isinstance(image, Mapping) else image
    if not isinstance(url, str) or not url:
        raise InvalidRequestError('an image_url part needs {"image_url": {"url": …}}')
    return url


def inline_data(url: str) -> tuple[str, str] | None:
    """(media type, base64 text) of a `data:` URL; None for any other address."""
    match = _DATA_URL.match(url)
    return (match[1], match[2]) if match else None


def leading_system(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The messages with the system messages at their beginning as one.

    Chat templates of open models take one, and several refuse a second. Contents are text already.
    """
    leading = next((at for at, message in enumerate(messages) if message["role"] != "system"), len(messages))
    if leading < 2:
        return messages
    text = "\n\n".join(message["content"] for message in messages[:leading])
    return [{"role": "system", "content": text}, *messages[leading:]]


def calls_of(message: Message) -> Sequence[Mapping[str, Any]]:
    """The tool calls of an assistant message."""
    return message.get("tool_calls") or ()


def arguments_of(call: Mapping[str, Any]) -> dict[str, Any]:
    """A call's arguments as an object; text that is none is kept under `BROKEN_ARGUMENTS`.

    The model sees what it wrote, next to the tool result that tells it what was wrong.
    """
    text = call["function"].get("arguments") or ""
    if isinstance(text, Mapping):
        return dict(text)
    try:
        value = json.loads(text) if text.strip() else {}
    except (ValueError, RecursionError):
        value = None
    return value if isinstance(value, dict) else {BROKEN_ARGUMENTS: text}


def arguments_text(call: Mapping[str, Any]) -> str:
    """A call's arguments as the text of a JSON object; see `arguments_of`."""
    text = call["function"].get("arguments") or ""
    arguments = arguments_of(call)
    if isinstance(text, str) and text.strip() and BROKEN_ARGUMENTS not in arguments:
        return text
    return json.dumps(arguments, ensure_ascii=False)


class CallIds:
    """The ids of a history's tool calls as every API takes them: unique, at most 40 letters, digits, `_`, `-`.

    Sources: OpenAI refuses longer ids (`string_above_max_length`), Anthropic other characters and repeated ones;
    some models write `functions.add:0`, and begin at 0 again in every turn. To be asked in the history's order.
    """

    __slots__ = ("_now", "_used")

    def __init__(self) -> None:
        self._now: dict[str, str] = {}
        self._used: set[str] = set()

    def call(self, call_id: str) -> str:
        """The id of the next call."""
        wire = call_id if _SAFE_ID.match(call_id) else made_id(call_id)
        if wire in self._used:
            wire = made_id(call_id, len(self._used))
        self._used.add(wire)
        self._now[call_id] = wire
        return wire

    def result(self, call_id: str) -> str:
        """The id of the call that the next result answers."""
        return self._now.get(call_id) or self.call(call_id)


def made_id(*facts: object) -> str:
    """An id for a call that came without one: the same facts give the same id."""
    digest = hashlib.sha256("\x00".join(map(str, facts)).encode("utf-8", "replace")).hexdigest()
    return f"call_{digest[:24]}"


def own_data(holder: Mapping[str, Any], dialect: str) -> Mapping[str, Any]:
    """What this dialect left in a message or a tool call, or nothing."""
    data = holder.get("provider_data")
    found = data.get(dialect) if isinstance(data, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def merge_extra(body: dict[str, Any], request: LLMRequest) -> dict[str, Any]:
    """`body` with the request's extra keys; where both hold an object, the two are merged."""
    for key, value in request.extra.items():
        present = body.get(key)
        both = isinstance(present, dict) and isinstance(value, Mapping)
        body[key] = {**present, **value} if both and present is not None else value
    return body
