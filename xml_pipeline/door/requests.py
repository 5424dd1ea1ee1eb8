"""What is said at the door: a greeting, one request, one reply, each a line of JSON.

The greeting comes first and names the version, so a caller that hears none has asked for nothing.
"""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias

import msgspec
from msgspec import Meta, Struct

from xml_pipeline.llm.accounting.periods import Per

Tokens: TypeAlias = Annotated[int, Meta(ge=0, le=10**12)]
Dollars: TypeAlias = Annotated[float, Meta(ge=0, le=10**9)]

VERSION = 1
LONGEST = 32 * 2**20  # bytes of a request: an envelope of the usual limit, with each sign of it escaped


class Greeting(Struct, frozen=True):
    """Who listens.

    Attributes:
        version: of what is said here.
        process: its id.
        busy: whether it has no time for this caller; then nothing follows.
    """

    version: int
    process: int
    busy: bool = False


class _Said(Struct, frozen=True, tag_field="do", forbid_unknown_fields=True):
    pass


class Retry(_Said, frozen=True, tag="dead retry"):
    """Send dead letters again; `letter` is a number, None for all."""

    letter: int | None = None


class Drop(_Said, frozen=True, tag="dead drop"):
    """Take dead letters off the list; `letter` is a number, None for all."""

    letter: int | None = None


class Erase(_Said, frozen=True, tag="journal erase"):
    """Take out what was said in the conversation whose id begins so."""

    conversation: str


class Compact(_Said, frozen=True, tag="journal compact"):
    """Delete what ended more than `keep` seconds ago (None: nothing), and make the file small."""

    keep: float | None = None


class Cancel(_Said, frozen=True, tag="cancel"):
    """End the conversation whose id begins so."""

    conversation: str


class Reply(_Said, frozen=True, tag="answer"):
    """A person's answer.

    Attributes:
        conversation: the question's.
        thread: the question's.
        document: the answer's payload, as XML.
    """

    conversation: str
    thread: str
    document: str


class Exchange(_Said, frozen=True, tag="exchange"):
    """Take an envelope in, and give the answer's envelope.

    Attributes:
        envelope: the message, as XML.
        timeout: seconds for all of it; None for no limit.
        key: names the request for ever; None for no name.
    """

    envelope: str
    timeout: float | None = None
    key: str | None = None


class Fire(_Said, frozen=True, tag="triggers fire"):
    """Let the trigger of this name fire now."""

    trigger: str


class Forgive(_Said, frozen=True, tag="llm caps reset"):
    """Hold what was spent so far no more against a budget.

    Attributes:
        scope: `organism`, or `agent`, `operation`, `caller`, `door`, `conversation` or `thread` and a name.
        per: its period: `run`, `hour`, `day`, `week` or `month`.
        zone: whose calendar says when that began.
    """

    scope: str
    per: Per
    zone: str = "UTC"


class Amend(_Said, frozen=True, tag="llm amend"):
    """Put a call right; what is None stays as it is.

    Attributes:
        call: its number.
        tokens: input and output.
        usd: what it cost.
    """

    call: int
    tokens: tuple[Tokens, Tokens] | None = None
    usd: Dollars | None = None


Request: TypeAlias = Retry | Drop | Erase | Compact | Cancel | Reply | Exchange | Fire | Forgive | Amend


class Told(Struct, frozen=True, tag_field="is", tag="told"):
    """What became of a request.

    Attributes:
        rows: in words, or an envelope.
        failed: whether any part of it could not be done.
    """

    rows: list[str]
    failed: bool = False


class Refused(Struct, frozen=True, tag_field="is", tag="refused"):
    """Why nothing was done."""

    why: str


class Nonsense(Exception):
    """What was heard is none of this; the text says what is wrong with it."""


_encoder = msgspec.json.Encoder()
_greeting = msgspec.json.Decoder(Greeting)
_request = msgspec.json.Decoder(Request)
_answer = msgspec.json.Decoder(Told | Refused)


def line(said: Struct) -> bytes:
    """One line. Raises UnicodeEncodeError: a text that is none."""
    return _encoder.encode(said) + b"\n"


def greeting_in(heard: bytes) -> Greeting:
    """The greeting in a line. Raises Nonsense."""
    greeting: Greeting = _understood(_greeting, heard)
    return greeting


def request_in(heard: bytes) -> Request:
    """The request in a line. Raises Nonsense."""
    request: Request = _understood(_request, heard)
    return request


def answer_in(heard: bytes) -> Told | Refused:
    """The reply in a line. Raises Nonsense."""
    answer: Told | Refused = _understood(_answer, heard)
    return answer


def _understood(decoder: msgspec.json.Decoder[Any], heard: bytes) -> Any:
    try:
        return decoder.decode(heard)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Nonsense(str(error)) from error
