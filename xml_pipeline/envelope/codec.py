"""The envelope: `<message>` around one payload, as canonical bytes and back.

What `encode` writes is Exclusive C14N 1.0 by construction (https://www.w3.org/TR/xml-exc-c14n/): no
declaration, no self-closing tags, namespaces declared where they are used, text escaped by its rules. So no
serialiser has to run on the way, and the tests hold the output against lxml's own canonicaliser.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from typing import Any

from lxml import etree

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


@dataclass(slots=True)
class Envelope:
    """One message as read from the wire.

    Attributes:
        from_id: the sending listener's name.
        to: the receiving listener's name, or "" when the message names none.
        thread_id: an opaque UUID.
        message_id: names this message; "" when the sender gave none.
        causation_id: the message whose handling produced this one, or "".
        in_reply_to: the message that this one answers, or "".
        attempt: which delivery this is, from 1.
        repairs: what the text of a model needed before it was this message.
        payload: the payload's element, not validated yet.
    """

    from_id: str
    to: str
    thread_id: str
    message_id: str
    causation_id: str
    in_reply_to: str
    attempt: int
    repairs: tuple[str, ...]
    payload: etree._Element


def encode(
    codec: PayloadCodec[Any],
    payload: object,
    *,
    from_id: str,
    to: str,
    thread_id: str,
    message_id: str,
    causation_id: str = "",
    in_reply_to: str = "",
    attempt: int = 1,
    repairs: tuple[str, ...] = (),
) -> bytes:
    """One message as canonical bytes; `repairs` are those its text needed, kept on the message.

    Names and ids must be free of markup: the listener table and the id source see to that.

    Raises:
        PayloadError: the payload holds a value its class does not allow or XML cannot carry.
    """
    root = codec.root
    body = codec.encode_body(payload)
    extra = f"{_REPLY}{in_reply_to}</in-reply-to>" if in_reply_to else ""
    if attempt > 1:
        extra += f"{_ATTEMPT}{attempt}</attempt>"
    for repair in repairs:
        extra += f"{_REPAIR}{escape(repair)}</repair>"
    return (
        f"{_HEAD}{from_id}</from><to>{to}</to><thread>{thread_id}{_ID}{message_id}{_CAUSE}{causation_id}"
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
