"""Constraints of annotated_types and pydantic's Field on dataclass fields."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any

import annotated_types as at
import pytest
from lxml import etree
from pydantic import BaseModel, Field, StringConstraints

from xml_pipeline import hardened
from xml_pipeline.errors import PayloadError, PayloadTypeError
from xml_pipeline.payload import codec_of, xmlify


def one(annotation: Any) -> Any:
    import dataclasses

    return xmlify(dataclasses.make_dataclass("One", [("x", annotation)]))


def _even(value: int) -> bool:
    return value % 2 == 0 or 1 / 0 > 0  # a predicate that raises does not hold


@pytest.mark.parametrize(
    ("annotation", "good", "bad", "in_xsd"),
    [
        (Annotated[int, at.Ge(1)], 1, 0, True),
        (Annotated[int, at.Gt(1), at.Lt(4)], 3, 4, True),
        (Annotated[int, at.Interval(ge=0, le=9)], 9, 10, True),
        (Annotated[int, Field(ge=0, description="d")], 0, -1, True),
        (Annotated[int, at.Ge(0.5)], 1, 0, False),
        (Annotated[int, at.MultipleOf(3)], -9, 10, False),
        (Annotated[float, at.Ge(0)], 0.5, -0.5, True),
        (Annotated[float, at.Ge(0)], 0, float("nan"), False),
        (Annotated[float, at.MultipleOf(0.1)], 0.3, 0.35, False),
        (Annotated[float, at.MultipleOf(0.1)], 0.3, float("inf"), False),
        (Annotated[Decimal, at.Le(Decimal("1.5"))], Decimal("1.50"), Decimal("1.51"), False),
        (Annotated[str, at.Len(2, 3)], "é😀", "x", True),
        (Annotated[str, at.MaxLen(3)], "abc", "abcd", True),
        (Annotated[str, Field(pattern="^[a-z]+$")], "abc", "abc\n", False),
        (Annotated[str, StringConstraints(pattern="b", min_length=2), Field(examples=["abc"])], "abc", "b", True),
        (Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")], "a-b-c1", "a--b", False),
        (Annotated[bytes, at.MinLen(2)], b"ab", b"a", True),
        (Annotated[list[int], at.Len(1, 2)], [1, 2], [], True),
        (Annotated[set[int], at.MinLen(2)], {1, 2}, {1}, False),
        (Annotated[dict[str, int], at.MaxLen(1)], {"a": 1}, {"a": 1, "b": 2}, True),
        (Annotated[dt.date, at.Gt(dt.date(2026, 1, 1))], dt.date(2026, 1, 2), dt.date(2026, 1, 1), False),
        (Annotated[int, at.Predicate(_even)], 2, 3, False),
        (list[Annotated[int, at.Ge(1)]], [1, 2], [1, 0], True),
        (dict[Annotated[str, at.MinLen(1)], int], {"a": 1}, {"": 1}, True),
        (Annotated[int | None, at.Ge(1)], None, 0, True),
        (Annotated[int | str, at.Ge(1)], "x", 0, True),
    ],
)  # fmt: skip
def test_a_constraint_holds_when_writing_reading_and_in_the_schema(
    annotation: Any, good: Any, bad: Any, in_xsd: bool
) -> None:
    cls, free = one(annotation), one(_without(annotation))
    codec, loose = codec_of(cls), codec_of(free)
    assert codec.decode_bytes(codec.encode(cls(good))) == cls(good)
    assert codec.from_json(codec.to_json(cls(good))) == cls(good)
    with pytest.raises(PayloadError) as caught:
        codec.encode(cls(bad))
    assert caught.value.violations[0].allowed
    smuggled = loose.encode(free(bad))
    with pytest.raises(PayloadError) as caught:
        codec.decode_bytes(smuggled)
    assert caught.value.violations[0].field.startswith("One.x")
    with pytest.raises(PayloadError):
        codec.from_json(loose.to_json(free(bad)))
    schema = etree.XMLSchema(hardened.parse(codec.xsd.encode()))
    assert schema.validate(hardened.parse(smuggled)) is not in_xsd


def _without(annotation: Any) -> Any:
    """The same type without its metadata."""
    import typing

    return typing.get_type_hints(type("X", (), {"__annotations__": {"x": annotation}}))["x"]


@pytest.mark.parametrize(
    ("annotation", "why"),
    [
        (Annotated[str, at.Ge(1)], "cannot be compared"),
        (Annotated[int, at.MaxLen(1)], "min_length and max_length need"),
        (Annotated[str, at.MultipleOf(2)], "multiple_of needs a number"),
        (Annotated[int, Field(pattern="x")], "pattern needs a str"),
        (Annotated[str, Field(pattern="(")], "linear time"),
        (Annotated[str, Field(pattern=r"(?=x)")], "no look-around"),
    ],
)
def test_an_impossible_constraint_fails_at_decoration(annotation: Any, why: str) -> None:
    with pytest.raises(PayloadTypeError, match=r"One\.x: .*" + why):
        one(annotation)


def test_no_pattern_can_be_made_to_hang() -> None:
    cls = one(Annotated[str, Field(pattern="^(a|aa)+$")])
    assert "pattern" not in codec_of(cls).xsd
    with pytest.raises(PayloadError, match="does not match the pattern"):
        codec_of(cls).encode(cls("a" * 5000 + "b"))


@pytest.mark.parametrize(
    "annotation",
    [
        Annotated[int, at.Ge(10), at.MultipleOf(7)],
        Annotated[int, at.Lt(-5)],
        Annotated[float, at.Gt(0), at.Lt(1)],
        Annotated[Decimal, at.Ge(Decimal(100))],
        Annotated[str, at.Len(20, 30)],
        Annotated[str, at.MaxLen(2)],
        Annotated[str, Field(pattern=r"^[A-Z]{3}-\d{4}$", examples=["ABC-1234"])],
        Annotated[str, Field(pattern=r"^(foo|bar)(-[a-z0-9]+)*@x\.org$", examples=["foo-1@x.org"])],
        Annotated[str, Field(pattern=r"^[^a-z]+\s?(?:x|y)$", json_schema_extra={"examples": ["A x"]})],
        Annotated[bytes, at.MinLen(9)],
        Annotated[list[int], at.Len(3, 3)],
        Annotated[set[int], at.MinLen(3)],
        Annotated[set[str], at.MinLen(3)],
        Annotated[dict[str, int], at.MinLen(2)],
        Annotated[dict[int, int], at.MinLen(2)],
        Annotated[list[int], at.MaxLen(0)],
        Annotated[set[Annotated[str, Field(pattern="^[A-Z]\\d$", examples=["A1", "B2"])]], at.MinLen(2)],
        dict[bool, int],
        dict[float, dt.date | list[int]],
    ],
    ids=str,
)
def test_the_example_keeps_the_constraints(annotation: Any) -> None:
    codec = codec_of(one(annotation))
    assert codec.decode_bytes(codec.example.encode())


@pytest.mark.parametrize(
    ("annotation", "why"),
    [
        (Annotated[str, Field(pattern=r"^[A-Z]{3}-\d{4}$")], r"no example is known of text, matches \^.*examples="),
        (list[Annotated[str, Field(pattern=r"^[A-Z]{3}-\d{4}$")]], "no example is known"),
        (Annotated[int, at.Predicate(lambda value: value == 4711)], "no example is known"),
        (Annotated[int, at.Gt(1), at.Lt(2)], "no example is known of a whole number, > 1, < 2"),
        (Annotated[str, Field(pattern="^[a-z]$", examples=["A"])], r"its examples \['A'\] are not text, matches"),
        (Annotated[int, Field(examples=["one"])], "its examples"),
    ],
)  # fmt: skip
def test_an_example_that_cannot_be_made_has_to_be_given(annotation: Any, why: str) -> None:
    with pytest.raises(PayloadTypeError, match=r"One\.x: .*" + why):
        one(annotation)


def test_an_optional_field_without_an_example_is_left_out_of_the_document() -> None:
    @xmlify
    @dataclass
    class Parcel:
        to: str
        code: Annotated[str, Field(pattern=r"^[A-Z]{3}-\d{4}$")] = "ABC-1234"
        old: Annotated[str, Field(pattern=r"^[A-Z]{3}-\d{4}$")] | None = None

    @xmlify
    @dataclass
    class Filter:
        code: Annotated[str, Field(pattern=r"^[A-Z]{3}-\d{4}$")] | None = None

    assert "<code>ABC-1234</code>" in codec_of(Parcel).example
    assert codec_of(Filter).example == "<Filter></Filter>\n"


def test_the_users_example_is_the_one_that_is_shown() -> None:
    @xmlify
    class Trip(BaseModel):
        city: str = Field(examples=["Paris"])
        nights: Annotated[int, Field(examples=[3])]
        rooms: list[Annotated[str, Field(pattern=r"^R\d{3}$", examples=["R101"])]]

    document = codec_of(Trip).decode_bytes(codec_of(Trip).example.encode())
    assert document == Trip(city="Paris", nights=3, rooms=["R101"])


def test_a_time_without_an_offset_beside_a_bound_with_one_is_refused_by_name() -> None:
    cls = one(Annotated[dt.datetime, at.Ge(dt.datetime(2026, 1, 1, tzinfo=dt.UTC))])
    codec = codec_of(cls)
    for attempt in (
        lambda: codec.encode(cls(dt.datetime(2026, 6, 1))),
        lambda: codec.decode_bytes(b"<One><x>2026-06-01T00:00:00</x></One>"),
        lambda: codec.from_json({"x": "2026-06-01T00:00:00"}),
    ):
        with pytest.raises(PayloadError, match=r"One\.x: cannot be compared with its bounds"):
            attempt()


@pytest.mark.parametrize(
    "annotation",
    [
        Annotated[list[int], at.Predicate(lambda items: sum(items) < 9)],
        Annotated[dict[str, int], at.Predicate(lambda items: "a" not in items)],
    ],
)
def test_a_predicate_on_a_collection_is_named_on_every_way(annotation: Any) -> None:
    cls, free = one(annotation), one(_without(annotation))
    bad = free([9] if "list" in str(annotation) else {"a": 9})
    for attempt in (
        lambda: codec_of(cls).encode(cls(bad.x)),
        lambda: codec_of(cls).decode_bytes(codec_of(free).encode(bad)),
        lambda: codec_of(cls).from_json(codec_of(free).to_json(bad)),
    ):
        with pytest.raises(PayloadError, match=r"One\.x: refused by its predicate"):
            attempt()


def test_a_predicate_on_a_collection_sees_values_and_not_their_spelling() -> None:
    cls = one(Annotated[list[int], at.Predicate(lambda items: sum(items) < 9)])
    assert codec_of(cls).from_json({"x": ["1", 2.0]}) == cls([1, 2])


def test_equal_keys_in_two_spellings_are_one_key() -> None:
    cls = one(dict[Decimal, int])
    entries = "".join(f"<entry><key>{key}</key><value>1</value></entry>" for key in ("1.0", "1.00"))
    with pytest.raises(PayloadError, match="is there more than once"):
        codec_of(cls).decode_bytes(f"<One><x>{entries}</x></One>".encode())
    with pytest.raises(PayloadError, match="is there more than once"):
        codec_of(cls).from_json({"x": {"1.0": 1, "1.00": 1}})


def test_constraints_are_named_in_the_field_list() -> None:
    @xmlify
    @dataclass
    class Query:
        text: Annotated[str, at.Len(1, 80), "what to look for"]
        limit: Annotated[int, Field(ge=1, le=50, description="how many")] = 10

    text, limit = codec_of(Query).fields
    assert (text.constraints, text.description) == (
        "length at least 1, length at most 80",
        "what to look for",
    )
    assert (limit.constraints, limit.description, limit.default) == (">= 1, <= 50", "how many", "10")
