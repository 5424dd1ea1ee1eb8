"""Pydantic models as payloads: same wire form, their own validators on top."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import pydantic
import pytest
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, RootModel, field_validator

from xml_pipeline.errors import PayloadError, PayloadTypeError
from xml_pipeline.payload import codec_of, is_payload, xmlify


@xmlify
class Part(BaseModel):
    name: Annotated[str, Field(min_length=1, description="what it is")]
    size: PositiveInt = 1


@xmlify
class Kit(BaseModel):
    """A box of parts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    parts: list[Part] = Field(max_length=2)
    code: str = Field(alias="kitCode", pattern="^[A-Z]+$", default="K")
    inner: Kit | None = None
    maybe: int | None
    serial: list[int] = Field(default_factory=lambda: [7])
    note: str | None = "n"

    @field_validator("code")
    @classmethod
    def _no_x(cls, code: str) -> str:
        if code == "X":
            raise ValueError("X is taken")
        return code


CODEC = codec_of(Kit)
KIT = Kit.model_validate(
    {"parts": [Part(name="a"), Part(name="b", size=3)], "kitCode": "AB", "maybe": None, "note": None}
)


def test_a_model_comes_back() -> None:
    for kit in (KIT, Kit(parts=[], inner=KIT, maybe=1)):
        assert is_payload(Kit)
        assert CODEC.decode_bytes(CODEC.encode(kit)) == kit
        assert CODEC.from_json(CODEC.to_json(kit)) == kit
    assert CODEC.encode_body(Kit(parts=[], maybe=1)) == (
        "<parts></parts><code>K</code><maybe>1</maybe><serial><item>7</item></serial><note>n</note>"
    )


def test_absent_fields_get_the_models_defaults() -> None:
    assert CODEC.decode_bytes(b"<Kit><parts/></Kit>") == Kit(parts=[], maybe=None)
    assert CODEC.from_json({"parts": []}) == Kit(parts=[], maybe=None)


def test_its_constraints_and_texts_are_known() -> None:
    assert CODEC.description == "A box of parts."
    assert 'maxOccurs="2"' in CODEC.xsd
    assert '<xs:minExclusive value="0"/>' in CODEC.xsd
    assert codec_of(Part).fields[0].description == "what it is"
    assert CODEC.json_schema["properties"]["code"] == {
        "type": "string",
        "pattern": "^[A-Z]+$",
        "default": "K",
    }
    assert CODEC.decode_bytes(CODEC.example.encode()).code == "K"


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("<Kit><parts><item><name></name></item></parts></Kit>", "Kit.parts[0].name"),
        ("<Kit><parts><item><name>x</name><size>0</size></item></parts></Kit>", "Kit.parts[0].size"),
        ("<Kit><parts/><code>x</code></Kit>", "Kit.code"),
        ("<Kit><parts/><code>X</code></Kit>", "Kit.code"),
        ("<Kit><parts/><kitCode>A</kitCode></Kit>", "Kit.kitCode"),
        ("<Kit><parts/><inner><parts/><code>X</code></inner></Kit>", "Kit.inner.code"),
    ],
)
def test_mistakes_are_named(text: str, path: str) -> None:
    with pytest.raises(PayloadError) as caught:
        CODEC.decode_bytes(text.encode())
    assert caught.value.violations[0].field == path


def test_a_validators_own_words_are_shown() -> None:
    with pytest.raises(PayloadError, match=r"Kit\.code: refused by its class: .*X is taken"):
        CODEC.from_json({"parts": [], "code": "X"})


def test_pydantic_dataclasses_work() -> None:
    @xmlify
    @pydantic.dataclasses.dataclass
    class Box:
        size: Annotated[int, Field(ge=1)]
        tags: list[str] = Field(default_factory=list, max_length=2, description="labels")
        depth: int = Field(3, ge=2)

    box = codec_of(Box)
    assert box.decode_bytes(box.encode(Box(2, ["a"]))) == Box(2, ["a"])
    assert box.decode_bytes(b"<Box><size>1</size></Box>") == Box(1, [], 3)
    assert box.fields[1].description == "labels"
    with pytest.raises(PayloadError, match=r"Box\.depth"):
        box.decode_bytes(b"<Box><size>1</size><depth>1</depth></Box>")


def test_models_and_dataclasses_nest_in_each_other() -> None:
    @xmlify
    @dataclass
    class Shelf:
        kits: dict[str, Kit]

    @xmlify
    class Room(BaseModel):
        shelf: Shelf

    room = Room(shelf=Shelf({"a": KIT}))
    assert codec_of(Room).decode_bytes(codec_of(Room).encode(room)) == room


def test_models_inside_a_function_may_name_what_comes_later() -> None:
    @xmlify
    class First(BaseModel):
        second: Second | None = None

    @xmlify
    class Second(BaseModel):
        first: First | None = None

    First.model_rebuild(_types_namespace={"Second": Second})
    value = First(second=Second(first=First()))
    assert codec_of(First).decode_bytes(codec_of(First).encode(value)) == value


def _bad_models() -> list[Any]:
    class Open(BaseModel):
        model_config = ConfigDict(extra="allow")
        x: int

    class Rooted(RootModel[int]):
        pass

    class Untyped(BaseModel):
        x: Any

    class Link(BaseModel):
        x: pydantic.HttpUrl

    return [Open, Rooted, Untyped, Link]


@pytest.mark.parametrize("cls", _bad_models())
def test_models_without_a_wire_form_are_refused(cls: Any) -> None:
    with pytest.raises(PayloadTypeError, match=cls.__name__):
        xmlify(cls)
