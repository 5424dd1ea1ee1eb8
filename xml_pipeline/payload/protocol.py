"""What the engine needs of a codec: `Codec` is the usual one, the envelope has another for `Gathered`."""

from __future__ import annotations

from typing import Any, Protocol, TypeVar

from lxml import etree

T = TypeVar("T")


class PayloadCodec(Protocol[T]):
    """Class ⇄ XML for one payload class."""

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

    def encode_body(self, value: T) -> str:
        """What stands between the root's tags, canonical. Raises PayloadError."""

    def decode(self, element: etree._Element, *, size: int = 0) -> T:
        """Validate an element and make the instance. Raises PayloadError."""
