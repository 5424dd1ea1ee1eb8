"""The codec of one payload class: everything that follows from it, compiled once."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from lxml import etree

from xml_pipeline import hardened
from xml_pipeline.errors import PayloadError, Violation, cut
from xml_pipeline.payload.arguments import to_json, typed_arguments
from xml_pipeline.payload.classes import REGISTRATION, refuse
from xml_pipeline.payload.decoder import Rejected, compile_decoder
from xml_pipeline.payload.encoder import compile_encoder
from xml_pipeline.payload.example import example_of
from xml_pipeline.payload.explain import explain_element, explain_value, path_of, rejection
from xml_pipeline.payload.json_schema import json_schema_of
from xml_pipeline.payload.prompt import FieldInfo, fields_of, only_field, prompt_text_of
from xml_pipeline.payload.shapes import Shapes
from xml_pipeline.payload.sides import JsonSide
from xml_pipeline.payload.source import Mismatch
from xml_pipeline.payload.walk import MOST, Walk
from xml_pipeline.payload.xsd import xsd_of

if TYPE_CHECKING:  # pyright takes a cached_property for none of the properties that a protocol asks for
    from builtins import property as cached_property
else:
    from functools import cached_property

T = TypeVar("T")

_LARGE = 65_536  # bytes; smaller documents hold too few mistakes to be dear
_schema_lock = threading.Lock()  # libxml2 races when two threads build schemas


class PayloadCodec(Protocol[T]):
    """What the engine needs of a codec: `Codec` is the usual one, the envelope has another for `Gathered`."""

    @property
    def cls(self) -> type[T]:
        """The payload class."""

    @property
    def root(self) -> str:
        """The name of its root element."""

    @property
    def description(self) -> str:
        """What the class is for, or ""."""

    @property
    def xsd(self) -> str:
        """A complete XSD 1.0 document."""

    @property
    def example(self) -> str:
        """A valid document, indented."""

    @property
    def prompt_text(self) -> str:
        """What tells a model how to write it."""

    @property
    def json_schema(self) -> dict[str, Any]:
        """JSON Schema of a tool call's arguments."""

    @property
    def fingerprint(self) -> bytes:
        """A digest of what the class takes: eight bytes, or none."""

    @property
    def write(self) -> Callable[[T, int], str]:
        """(value, depth of its root) → what stands between the root's tags, canonical. Raises what it likes."""

    def refusal(self, value: T, error: Exception) -> PayloadError:
        """Why `write` raised."""

    def decode(self, element: etree._Element, *, size: int = 0) -> T:
        """Validate an element and make the instance. Raises PayloadError."""


class Codec(Generic[T]):
    """Class ⇄ XML ⇄ JSON.

    Attributes:
        cls: the payload class.
        root: name of its root element.
        description: its docstring, or "".
        write: (value, depth of its root element) → what stands between the root's tags. It is compiled from the
            class, and explains nothing: `encode_body` is for callers, `Message.sealed` asks for a `refusal`.
    """

    def __init__(self, shapes: Shapes) -> None:
        self.shapes = shapes
        self.cls: type[T] = shapes.root.cls
        self.root: str = shapes.root.root
        self.description: str = shapes.root.description
        self.write: Callable[[T, int], str] = compile_encoder(shapes)
        self._decode_ordered = compile_decoder(shapes, ordered=True)
        self._in_order = _schema(xsd_of(shapes, checked_by_python=True, in_order=True)).validate

    @cached_property
    def _in_any_order(self) -> etree.XMLSchema:
        return _schema(xsd_of(self.shapes, checked_by_python=True))

    @cached_property
    def xsd(self) -> str:
        """A complete XSD 1.0 document."""
        return xsd_of(self.shapes)

    @cached_property
    def example(self) -> str:
        """A valid example document, indented."""
        return example_of(self.shapes)

    @cached_property
    def json_schema(self) -> dict[str, Any]:
        """JSON Schema (2020-12) of the arguments of a tool call."""
        return json_schema_of(self.shapes)

    @cached_property
    def fingerprint(self) -> bytes:
        """A digest of what the class takes, the same in every process: of its XSD and its JSON Schema."""
        text = f"{self.xsd}{json.dumps(self.json_schema, sort_keys=True)}"
        return blake2b(text.encode(), digest_size=8).digest()

    @cached_property
    def fields(self) -> tuple[FieldInfo, ...]:
        """The fields, for consoles and prompts."""
        return fields_of(self.shapes, self.shapes.root)

    @cached_property
    def only_field(self) -> str | None:
        """The field that bare text fills, as in `@greeter Alice`; None when there is no obvious one."""
        return only_field(self.shapes.root)

    @cached_property
    def prompt_text(self) -> str:
        """What tells a model how to write it: description, fields, constraints, example."""
        return prompt_text_of(self.shapes, self.example)

    def encode_body(self, value: T) -> str:
        """What stands between the root's tags, in Exclusive C14N form.

        Raises:
            PayloadError: a field holds what its type does not allow, or text that XML cannot carry.
        """
        try:
            return self.write(value, 1)
        except Exception as error:  # many kinds: the compiled code makes no check twice
            raise self.refusal(value, error) from None

    def refusal(self, value: T, error: Exception) -> PayloadError:
        """Why `write` raised: each field that is wrong, at most five."""
        return PayloadError(explain_value(self.shapes, value, error))

    def encode(self, value: T) -> bytes:
        """The payload as a canonical document. Raises PayloadError as `encode_body`."""
        return f"<{self.root}>{self.encode_body(value)}</{self.root}>".encode()

    def decode(self, element: etree._Element, *, size: int = 0) -> T:
        """The instance that an element holds, after its XSD.

        Args:
            element: from `hardened.parse` (no comments in it), perhaps inside a larger document.
            size: bytes of that document, if known; a large one is read before the schema's turn, because libxml2
                reports every one of thousands of mistakes, and walks past all elements before it (ADR 21).

        Raises:
            PayloadError: with a Violation for each mistake, at most five.
        """
        if size > _LARGE:
            return self._decode_large(element)
        # Nearly all messages hold their fields in declaration order, which libxml2 checks in less time (ADR 19).
        decode = self._decode_ordered
        if not self._in_order(element):
            mistakes = explain_element(self.shapes, element, None)
            if mistakes or not self._in_any_order.validate(element):
                raise PayloadError(mistakes or self._schemas_words(element))
            decode = self._decode_in_any_order
        try:
            return decode(element)  # type: ignore[no-any-return]  # generated code has no types
        except Rejected as rejected:
            raise PayloadError(self._mistakes(element, rejected)) from rejected.error
        except Exception as error:
            raise PayloadError(self._mistakes(element, error)) from None

    def _decode_large(self, element: etree._Element) -> T:
        try:
            value: T = self._decode_alone(element)
        except Exception as error:
            if not isinstance(error, Rejected) or isinstance(error.error, Mismatch):
                mistakes = explain_element(self.shapes, element, error)
                if mistakes:
                    raise PayloadError(mistakes) from None
        else:
            if self._in_any_order.validate(element):
                return value
        return self.decode(element)

    @cached_property
    def _decode_in_any_order(self) -> Callable[[etree._Element], Any]:
        return compile_decoder(self.shapes)

    @cached_property
    def _decode_alone(self) -> Callable[[etree._Element], Any]:
        return compile_decoder(self.shapes, alone=True)

    def _mistakes(self, element: etree._Element, error: Exception) -> list[Violation]:
        return explain_element(self.shapes, element, error) or self._schemas_words(element)

    def _schemas_words(self, element: etree._Element) -> list[Violation]:
        schema = self._in_any_order
        schema.validate(element)
        log: Any = schema.error_log  # the stubs do not know that it can be iterated
        reasons = [Violation(self.root, f"does not fit its XSD: {cut(entry.message, 300)}") for entry in log]
        return reasons[:MOST] or [Violation(self.root, "cannot be read")]

    def decode_bytes(self, data: bytes) -> T:
        """Hardened parse, then `decode`. Raises EnvelopeError or PayloadError."""
        return self.decode(hardened.parse(data), size=len(data))

    def to_json(self, value: T) -> dict[str, Any]:
        """The arguments of the tool call that makes this value: `from_json(to_json(x)) == x`.

        Raises:
            PayloadError: as `encode`.
        """
        self.encode_body(value)  # so that nothing is let through here that XML would refuse
        return to_json(self.shapes, self.shapes.root, value)

    def from_json(self, arguments: Mapping[str, Any]) -> T:
        """The instance that a tool call's arguments describe. Raises PayloadError."""
        return self._from(arguments, JsonSide())

    def from_text(self, texts: Mapping[str, str]) -> T:
        """The instance that a person typed as `a=2 b=40`: `{"a": "2", "b": "40"}`. Raises PayloadError."""
        return self._from(typed_arguments(self.shapes.root, texts), JsonSide(typed=True))

    def _from(self, arguments: Mapping[str, Any], side: JsonSide) -> T:
        walk = Walk(self.shapes, side)
        document = walk.whole(arguments)
        if walk.found:
            raise PayloadError(walk.found)
        element = hardened.parse(document.encode(), _OWN)
        try:
            return self._decode_ordered(element)  # type: ignore[no-any-return]  # as above
        except Rejected as rejected:
            path = path_of(element, rejected.element, by_key=True)
            raise PayloadError(rejection(path, rejected.error)) from rejected.error
        except Exception as error:
            raise PayloadError(self._mistakes(element, error)) from None


# Limits of documents that were written here, out of JSON that is in memory already.
_OWN = hardened.Limits(
    max_bytes=sys.maxsize,
    max_elements=sys.maxsize,
    max_attributes=sys.maxsize,
    max_references=sys.maxsize,
    max_markup=sys.maxsize,
)


def _schema(text: str) -> etree.XMLSchema:
    with _schema_lock:
        return etree.XMLSchema(hardened.parse(text.encode()))


def is_payload(cls: object) -> bool:
    """Whether `cls` itself (not only its base) is decorated with @xmlify."""
    return isinstance(cls, type) and REGISTRATION in cls.__dict__


def payload_classes() -> list[type]:
    """All classes that this program has decorated, later ones first; Python itself knows them as subclasses."""
    found: dict[type, None] = {}
    seen: set[type] = {object}
    waiting = [object]
    while waiting:
        for cls in type.__subclasses__(waiting.pop()):
            if cls not in seen:
                seen.add(cls)
                waiting.append(cls)
                if is_payload(cls):
                    found[cls] = None
    return list(found)[::-1]


def codec_of(cls: type[T]) -> Codec[T]:
    """The codec of a payload class, compiled at the first call.

    Raises:
        PayloadTypeError: the class is not decorated, or names a class that does not exist.
    """
    try:
        registration = cls.__dict__[REGISTRATION]
    except (KeyError, AttributeError):
        raise refuse(
            cls if isinstance(cls, type) else type(cls), "", "is no payload; decorate the class with @xmlify"
        ) from None
    codec: Codec[T] | None = registration.codec
    return registration.compiled() if codec is None else codec
