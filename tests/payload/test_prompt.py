"""What consoles and models are told of a payload class."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from annotated_types import Ge

from xml_pipeline.payload import codec_of, xmlify


@xmlify
@dataclass
class Source:
    """Where to look."""

    name: str
    trust: Annotated[int, Ge(1)] = 1


@xmlify
@dataclass
class Search:
    """Finds documents.

    Slow on large corpora.
    """

    query: Annotated[str, "words to look for"]
    sources: list[Source]
    mode: Literal["any", "all"] = "any"
    limit: int | None = field(default=None, metadata={"description": "most results"})


def test_the_prompt_text() -> None:
    assert (
        codec_of(Search).prompt_text
        == """\
<Search>: Finds documents.

Slow on large corpora.
Fields:
- query (str, required): words to look for
- sources (list[Source], required)
- mode ('any' | 'all', optional, default 'any')
- limit (int | None, optional): most results
Fields of Source: Where to look.
- name (str, required)
- trust (int, optional, default 1): >= 1
Example:
<Search>
  <query>text</query>
  <sources>
    <item>
      <name>text</name>
      <trust>1</trust>
    </item>
  </sources>
  <mode>any</mode>
</Search>
"""
    )


def test_the_schema_documents_the_class() -> None:
    assert "<xs:documentation>words to look for</xs:documentation>" in codec_of(Search).xsd
    assert "Slow on large corpora." in codec_of(Search).xsd


def test_the_description_is_never_a_generated_signature() -> None:
    @xmlify
    @dataclass
    class Bare:
        x: int

    assert codec_of(Bare).description == ""
    assert codec_of(Bare).prompt_text.startswith("<Bare>\nFields:\n")
    assert codec_of(Search).description == "Finds documents.\n\nSlow on large corpora."


def test_the_field_that_bare_text_fills() -> None:
    import dataclasses

    def only(*fields: object) -> str | None:
        made = [
            item if isinstance(item, tuple) else (f"f{number}", item) for number, item in enumerate(fields)
        ]
        return codec_of(xmlify(dataclasses.make_dataclass("Made", made))).only_field

    assert only(str) == "f0"
    assert only(int) == "f0"
    assert only(str, ("extra", int, 5)) == "f0"
    assert only(("maybe", str, "x")) == "maybe"
    assert only(int, str) == "f1"
    assert only(list[str]) == "f0"
    assert only(int, int) is None
    assert only(str, str) is None
    assert only(Source) is None
    assert only() is None
    assert only(("a", str, ""), ("b", str, "")) is None
