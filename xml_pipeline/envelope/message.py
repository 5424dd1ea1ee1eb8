"""A message, and the envelope in which it travels: `<message>` around one payload.

A message is a frozen value with its canonical bytes. Every message takes one way, in `Message.sealed`: written,
parsed by the hardened parser, checked as an envelope, validated by the receiver's schema, decoded. There is no other
way to come by one, so whoever holds a message holds a valid one (ADR 1). It pickles, copies and compares; no live
object hangs on it. (A message that is delivered once more is the same with another `attempt`.)

What is written is Exclusive C14N 1.0 by construction (https://www.w3.org/TR/xml-exc-c14n/): no declaration, no
self-closing tags, namespaces declared where they are used, text escaped by its rules. So no serialiser has to run on
the way (ADR 2), and the tests hold the output against lxml's own canonicaliser.
"""

from __future__ import annotations

import re
from dataclasses import replace
from importlib import resources
from itertools import zip_longest
from typing import Any

from lxml import etree
from msgspec import Struct

from xml_pipeline.errors import EnvelopeError, PayloadError, Violation, class_name
from xml_pipeline.hardened import DEFAULT_LIMITS, Limits, parse
from xml_pipeline.payload import PayloadCodec
from xml_pipeline.payload.text import escape

ENVELOPE_NS = "https://xml-pipeline.org/ns/envelope/v1"
META_NS = "https://xml-pipeline.org/ns/meta/v1"

ENVELOPE_XSD: str = resources.files(__package__).joinpath("envelope.xsd").read_text("utf-8")
"""The schema of every message; `xmllint --schema` takes it as a file."""


def _compiled(xsd: str) -> etree.XMLSchema:
    return etree.XMLSchema(parse(xsd.encode()))


_valid = _compiled(ENVELOPE_XSD).validate

# Of a message that is sealed here, the names come from the listener table and the ids from the id source: what they
# may look like need not be checked a second time. It is a fifth of what the check costs.
_well_built = _compiled(re.sub('type="e:(name|thread)"', 'type="xs:string"', ENVELOPE_XSD)).validate

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


class Message(Struct, frozen=True, eq=False, omit_defaults=True):
    """An accepted message. Two are equal when their headings and bytes are.

    Attributes:
        message_id: names it; the same on every attempt.
        thread_id: the call it belongs to.
        conversation_id: the conversation it is part of.
        from_id: the sender: a listener, an outside name, or `system`.
        to: the receiving listener's name; the outside name for what leaves.
        causation_id: the message whose handling produced this one, or "".
        in_reply_to: the call's message that it answers, or "".
        attempt: which delivery this is, from 1.
        at: when it was accepted, in seconds of Unix time.
        repairs: what the text of a model needed before it was this message.
        root: the name of its payload's root element.
        data: the canonical bytes of the whole message.
        payload: the typed instance, as decoded from the wire; not part of its identity.
        schema: of an answer, the digest of its class's schema: whoever gets it may have no class of its own for it.
    """

    message_id: str
    thread_id: str
    conversation_id: str
    from_id: str
    to: str
    causation_id: str
    in_reply_to: str
    attempt: int
    at: float
    repairs: tuple[str, ...]
    root: str
    data: bytes
    payload: Any
    schema: bytes = b""

    @classmethod
    def sealed(
        cls,
        heading: Heading,
        payload: object,
        writer: PayloadCodec[Any],
        reader: PayloadCodec[Any] | None = None,
        limits: Limits = DEFAULT_LIMITS,
        schema: bytes = b"",
    ) -> Message:
        """The message with this heading and payload.

        Args:
            heading: all that is said about it.
            payload: the sender's instance; the message holds another, decoded from the bytes.
            writer: of the payload's own class.
            reader: of the class that the receiver takes, when it is another class of the same root name.
            limits: of the whole document.
            schema: as of the message.

        Raises:
            PayloadError: the payload is not valid, or its class's own code failed.
            EnvelopeError: the message is too large.
        """
        if reader is None:
            reader = writer
        root, extra = writer.root, ""
        try:
            body = writer.write(payload, 1)
        except Exception as error:
            raise writer.refusal(payload, error) from None
        except BaseException as error:
            raise own_code_failed(root, error) from error
        if heading.in_reply_to:
            extra = f"{_REPLY}{heading.in_reply_to}</in-reply-to>"
        if heading.attempt > 1:
            extra += f"{_ATTEMPT}{heading.attempt}</attempt>"
        for repair in heading.repairs:
            extra += f"{_REPAIR}{escape(repair)}</repair>"
        data = (
            f"{_HEAD}{heading.from_id}</from><to>{heading.to}</to><thread>{heading.thread_id}"
            f"{_ID}{heading.message_id}{_CAUSE}{heading.causation_id}"
            f'</causation>{extra}</meta><{root} xmlns="">{body}</{root}></message>'
        ).encode()
        message = parse(data, limits)
        if not _well_built(message):
            raise EnvelopeError("envelope", _complaint(message))
        try:
            typed = reader.decode(message[1], size=len(data))
        except PayloadError:
            raise
        except BaseException as error:
            raise own_code_failed(root, error) from error
        return cls(
            heading.message_id,
            heading.thread_id,
            heading.conversation_id,
            heading.from_id,
            heading.to,
            heading.causation_id,
            heading.in_reply_to,
            heading.attempt,
            heading.at,
            heading.repairs,
            root,
            data,
            typed,
            schema,
        )

    def again(self, reader: PayloadCodec[Any], limits: Limits = DEFAULT_LIMITS) -> Message:
        """The same message as another attempt; its payload is decoded anew, as it was sent.

        Raises:
            PayloadError: the payload's class has changed, and the message does not fit it any more.
        """
        envelope = decode(self.data, limits)
        heading = Heading(
            self.from_id,
            self.to,
            self.thread_id,
            self.message_id,
            self.causation_id,
            self.in_reply_to,
            self.attempt + 1,
            self.repairs,
            self.conversation_id,
            self.at,
        )
        return Message.sealed(heading, reader.decode(envelope.payload), reader, None, limits, self.schema)

    def under(self, heading: Heading) -> Message:
        """The same payload as a request of its own; the message has no instance.

        Args:
            heading: of a first attempt that answers nothing.

        Raises:
            EnvelopeError: the heading makes no envelope.
        """
        limits = replace(DEFAULT_LIMITS, max_bytes=2 * len(self.data))
        root = parse(self.data, limits)
        told = (heading.from_id, heading.to, heading.thread_id, heading.message_id, heading.causation_id)
        for child, text in zip_longest(list(root[0]), told):
            if text is None:
                root[0].remove(child)
            else:
                child.text = text
        data = etree.tostring(root, method="c14n", exclusive=True)
        decode(data, limits)
        return Message(
            heading.message_id,
            heading.thread_id,
            heading.conversation_id,
            heading.from_id,
            heading.to,
            heading.causation_id,
            heading.in_reply_to,
            heading.attempt,
            heading.at,
            heading.repairs,
            self.root,
            data,
            None,
        )

    @property
    def content(self) -> str:
        """The payload's document."""
        body = self.data.partition(b"</meta>")[2].removesuffix(b"</message>").decode()
        return body.replace(' xmlns=""', "", 1)

    @property
    def _identity(self) -> tuple[Any, ...]:
        return (self.data, self.conversation_id, self.attempt, self.at)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Message) and self._identity == other._identity

    def __hash__(self) -> int:
        return hash(self.message_id)


def decode(data: bytes, limits: Limits = DEFAULT_LIMITS) -> Envelope:
    """Read one message whole; its payload stays an element until the receiver's codec takes it.

    Raises:
        EnvelopeError: hostile or malformed bytes, or no envelope as `envelope.xsd` wants it.
    """
    root = parse(data, limits)
    if not _valid(root):
        raise EnvelopeError("envelope", _complaint(root))
    meta, payload = root
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


def own_code_failed(root: str, error: BaseException) -> PayloadError:
    """A payload class's own code raised; it may raise anything, and only a person's Ctrl-C is not for the sender."""
    if isinstance(error, KeyboardInterrupt):
        raise error
    return PayloadError(Violation(root, f"the class's own code failed with {class_name(error)}"))


def _complaint(root: etree._Element) -> str:
    """Why `root` is no envelope, in the words of the first rule it breaks."""
    if root.tag != f"{{{ENVELOPE_NS}}}message":
        return f"the root is <{etree.QName(root).localname}>; a message is <message> in the namespace {ENVELOPE_NS}"
    # A schema of its own: the shared one's error log is not safe to read when several threads use it.
    schema = _compiled(ENVELOPE_XSD)
    schema.validate(root)
    log: Any = schema.error_log  # lxml-stubs does not know it
    entry = log.last_error
    return f"line {entry.line}: {entry.message.replace('{' + ENVELOPE_NS + '}', '')}"
