"""The envelope: `<message>` around one payload, as canonical bytes and back.

What `encode` writes is Exclusive C14N 1.0 by construction (https://www.w3.org/TR/xml-exc-c14n/): no
declaration, no self-closing tags, namespaces declared where they are used, text escaped by its rules. So no
serialiser has to run on the way, and the tests hold the output against lxml's own canonicaliser.
"""

from __future__ import annotations

from importlib import resources
from typing import Any

from lxml import etree
from msgspec import Struct

from xml_pipeline.errors import EnvelopeError
from xml_pipeline.hardened import DEFAULT_LIMITS, Limits, parse
from xml_pipeline.payload import PayloadCodec
from xml_pipeline.payload.text import escape

ENVELOPE_NS = "https://xml-pipeline.org/ns/envelope/v1"
META_NS = "https://xml-pipeline.org/ns/meta/v1"

ENVELOPE_XSD: str = resources.files(__package__).joinpath("envelope.xsd").read_text("utf-8")
"""The schema of every message; `xmllint --schema` takes it as a file."""


def _compile() -> etree.XMLSchema:
    return etree.XMLSchema(parse(ENVELOPE_XSD.encode()))


_valid = _compile().validate

_HEAD = f'<message xmlns="{ENVELOPE_NS}"><meta><from>'
_ID = f'</thread><id xmlns="{META_NS}">'
_CAUSE = f'</id><causation xmlns="{META_NS}">'
_REPLY = f'<in-reply-to xmlns="{META_NS}">'
_REPAIR = f'<repair xmlns="{META_NS}">'
_ATTEMPT = f'<attempt xmlns="{META_NS}">'


class Heading(Struct, frozen=True, gc=False):
    """All that is said about a message beside its payload.

    Names and ids must be free of markup: the listener table and the id source see to that.

    Attributes:
        from_id: the sender: a listener, an outside name, or `system`.
        to: the receiving listener's name (the outside name for what leaves); "" when the message names none.
        thread_id: the call that the message belongs to, an opaque UUID.
        message_id: names this message, the same on every attempt; "" when the sender gave none.
        causation_id: the message whose handling produced this one, or "".
        in_reply_to: the message that this one answers, or "".
        attempt: which delivery this is, from 1.
        repairs: what the text of a model needed before it was this message.
        conversation_id: what it is part of; not on the wire.
        at: when it was accepted, in seconds of Unix time; not on the wire.
    """

    from_id: str
    to: str
    thread_id: str
    message_id: str = ""
    causation_id: str = ""
    in_reply_to: str = ""
    attempt: int = 1
    repairs: tuple[str, ...] = ()
    conversation_id: str = ""
    at: float = 0.0


class Envelope(Heading, frozen=True, kw_only=True):
    """One message as read from the wire: its heading, and its payload's element, not validated yet."""

    payload: etree._Element


def encode(heading: Heading, codec: PayloadCodec[Any], payload: object) -> bytes:
    """One message as canonical bytes.

    Raises:
        PayloadError: the payload holds a value its class does not allow or XML cannot carry.
    """
    root = codec.root
    body = codec.encode_body(payload)
    extra = f"{_REPLY}{heading.in_reply_to}</in-reply-to>" if heading.in_reply_to else ""
    if heading.attempt > 1:
        extra += f"{_ATTEMPT}{heading.attempt}</attempt>"
    for repair in heading.repairs:
        extra += f"{_REPAIR}{escape(repair)}</repair>"
    return (
        f"{_HEAD}{heading.from_id}</from><to>{heading.to}</to><thread>{heading.thread_id}"
        f"{_ID}{heading.message_id}{_CAUSE}{heading.causation_id}"
        f'</causation>{extra}</meta><{root} xmlns="">{body}</{root}></message>'
    ).encode()


def unwrap(data: bytes, limits: Limits = DEFAULT_LIMITS) -> tuple[etree._Element, etree._Element]:
    """Parse and check one message: its `<meta>` and its payload's element, not validated yet.

    Raises:
        EnvelopeError: hostile or malformed bytes, or no envelope as `envelope.xsd` wants it.
    """
    root = parse(data, limits)
    if not _valid(root):
        raise EnvelopeError("envelope", _complaint(root))
    meta, payload = root
    return meta, payload


def decode(data: bytes, limits: Limits = DEFAULT_LIMITS) -> Envelope:
    """Read one message whole; its payload stays an element until the receiver's codec takes it.

    Raises:
        EnvelopeError: as `unwrap`.
    """
    meta, payload = unwrap(data, limits)
    found = {child.tag: child.text or "" for child in meta}
    attempt = found.get(f"{{{META_NS}}}attempt", "1")
    return Envelope(
        from_id=found[f"{{{ENVELOPE_NS}}}from"],
        to=found.get(f"{{{ENVELOPE_NS}}}to", ""),
        thread_id=found[f"{{{ENVELOPE_NS}}}thread"],
        message_id=found.get(f"{{{META_NS}}}id", ""),
        causation_id=found.get(f"{{{META_NS}}}causation", ""),
        in_reply_to=found.get(f"{{{META_NS}}}in-reply-to", ""),
        attempt=int(attempt) if attempt.isdecimal() and len(attempt) < 10 else 1,
        repairs=tuple(child.text or "" for child in meta.iterchildren(f"{{{META_NS}}}repair")),
        payload=payload,
    )


def _complaint(root: etree._Element) -> str:
    """Why `root` is no envelope, in the words of the first rule it breaks."""
    if root.tag != f"{{{ENVELOPE_NS}}}message":
        return f"the root is <{etree.QName(root).localname}>; a message is <message> in the namespace {ENVELOPE_NS}"
    schema = _compile()  # the shared schema's error log is not safe to read when several threads use it
    schema.validate(root)
    log: Any = schema.error_log  # lxml-stubs does not know it
    entry = log.last_error
    return f"line {entry.line}: {entry.message.replace('{' + ENVELOPE_NS + '}', '')}"
