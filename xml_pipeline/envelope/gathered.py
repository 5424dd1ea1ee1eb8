"""How `Gathered` looks on the wire: `<Gathered><item><Sum>…</Sum></item><item xsi:nil="true"></item></Gathered>`.

Each item holds the answer's own element, so the schema leaves it open; the item's own codec closes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from lxml import etree

from xml_pipeline.envelope.system import Gathered
from xml_pipeline.errors import PayloadError, Violation, described
from xml_pipeline.hardened import XSI, parse
from xml_pipeline.payload import PayloadCodec, codec_of

GATHERED_XSD = """<?xml version="1.0" encoding="UTF-8"?>
<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema">
  <xs:element name="Gathered">
    <xs:complexType>
      <xs:sequence>
        <xs:element name="item" nillable="true" minOccurs="0" maxOccurs="unbounded">
          <xs:complexType>
            <xs:sequence>
              <xs:any namespace="##local" processContents="skip"/>
            </xs:sequence>
          </xs:complexType>
        </xs:element>
      </xs:sequence>
    </xs:complexType>
  </xs:element>
</xs:schema>
"""

_NIL = f'<item xmlns:xsi="{XSI}" xsi:nil="true"></item>'
_valid = etree.XMLSchema(parse(GATHERED_XSD.encode())).validate


class GatheredCodec:
    """Writes and reads one `Gathered`; `codecs` are those of its answers by position, None where one is missing."""

    cls = Gathered
    root = "Gathered"
    description = "The answers to several calls, in call order."
    xsd = GATHERED_XSD
    example = f'<Gathered><item xsi:nil="true" xmlns:xsi="{XSI}"/></Gathered>'
    prompt_text = ""  # only the system makes it: no model is told how
    json_schema: ClassVar[dict[str, Any]] = {}
    fingerprint = b""  # its answers are of any classes

    def __init__(self, codecs: Sequence[PayloadCodec[Any] | None] = ()) -> None:
        self._codecs = codecs

    def write(self, value: Gathered, depth: int) -> str:
        """The items; `depth` is that of `<Gathered>`."""
        parts = []
        for answer, codec in zip(value.answers, self._codecs, strict=True):
            if answer is None or codec is None:
                parts.append(_NIL)
            else:
                parts.append(f"<item><{codec.root}>{codec.write(answer, depth + 2)}</{codec.root}></item>")
        return "".join(parts)

    def refusal(self, value: Gathered, error: Exception) -> PayloadError:
        """Each answer was valid by itself: together they are nested too deep."""
        return PayloadError(
            Violation("Gathered", f"the answers together cannot be written: {described(error)}")
        )

    def decode(self, element: etree._Element, *, size: int = 0) -> Gathered:
        """Raises PayloadError when the element is no `Gathered` of this codec's answers."""
        if not _valid(element) or len(element) != len(self._codecs):
            rule = f"must hold {len(self._codecs)} items with one payload each"
            raise PayloadError(Violation("Gathered", rule))
        answers: list[Any] = []
        for item, codec in zip(element, self._codecs, strict=True):
            answers.append(codec.decode(item[0]) if codec is not None and len(item) else None)
        return Gathered(tuple(answers))


def codec_for(payload: Any) -> PayloadCodec[Any]:
    """The codec of an instance, also of a `Gathered`."""
    if isinstance(payload, Gathered):
        return GatheredCodec([None if each is None else codec_for(each) for each in payload.answers])
    return codec_of(type(payload))
