"""The codec of one payload class: everything that follows from it, compiled once."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, Protocol, TypeVar

from lxml import etree

from xml_pipeline import hardened
from xml_pipeline.errors import PayloadError
from xml_pipeline.payload.decoder import Rejected, compile_decoder
from xml_pipeline.payload.encoder import compile_encoder
from xml_pipeline.payload.explain import explain_element, explain_rejection, explain_value
from xml_pipeline.payload.nodes import Shapes
from xml_pipeline.payload.xsd import xsd_of

T = TypeVar("T")

_MISFITS = (
    ValueError, TypeError, AttributeError, KeyError, IndexError, ArithmeticError, RecursionError, UnboundLocalError
)  # fmt: skip
_schema_lock = threading.Lock()  # libxml2 races when two threads build schemas
_WHOLE_DOCUMENT = hardened.DEFAULT_LIMITS


class Codec(Generic[T]):
    """Class ⇄ XML ⇄ JSON.

    Attributes:
        cls: the payload class.
        root: name of its root element.
        description: its docstring, or "".
    """

    def __init__(self, shapes: Shapes) -> None:
        self.shapes = shapes
        self.cls: type[T] = shapes.root.cls
        self.root: str = shapes.root.root
        self.description: str = shapes.root.description
        self._encode = compile_encoder(shapes)
        self._decode = compile_decoder(shapes)
        with _schema_lock:
            self._validate = etree.XMLSchema(hardened.parse(self.xsd.encode())).validate

    @cached_property
    def xsd(self) -> str:
        """A complete XSD 1.0 document."""
        return xsd_of(self.shapes)

    def encode_body(self, value: T) -> str:
        """What stands between the root's tags, in Exclusive C14N form.

        Raises:
            PayloadError: a field holds what its type does not allow, or text that XML cannot carry.
        """
        try:
            return self._encode(value, 1)
        except _MISFITS as error:
            raise PayloadError(explain_value(self.shapes, value, error)) from None

    def encode(self, value: T) -> bytes:
        """The payload as a canonical document. Raises PayloadError as `encode_body`."""
        return f"<{self.root}>{self.encode_body(value)}</{self.root}>".encode()

    def decode(self, element: etree._Element) -> T:
        """The instance that an element holds, after its XSD.

        Args:
            element: from `hardened.parse` (no comments in it), perhaps inside a larger document.

        Raises:
            PayloadError: with a Violation for each mistake, at most five.
        """
        if not self._validate(element):
            raise PayloadError(explain_element(self.shapes, element))
        try:
            return self._decode(element)  # type: ignore[no-any-return]  # generated code has no types
        except Rejected as rejected:
            raise PayloadError(explain_rejection(element, rejected)) from rejected.error
        except _MISFITS:
            raise PayloadError(explain_element(self.shapes, element)) from None

    def decode_bytes(self, data: bytes) -> T:
        """Hardened parse, then `decode`. Raises EnvelopeError or PayloadError."""
        return self.decode(hardened.parse(data))
