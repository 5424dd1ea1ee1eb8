"""Tool calls and what a person types: strict in meaning, forgiving in spelling."""

from __future__ import annotations

import datetime as dt
import enum
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Annotated, Any, Literal

import pytest
from annotated_types import Ge, Le, MaxLen, MinLen
from hypothesis import given, settings
from hypothesis import strategies as st

from xml_pipeline.errors import PayloadError
from xml_pipeline.payload import codec_of, xmlify


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@xmlify
@dataclass
class Circle:
    r: float


@xmlify
@dataclass
class Square:
    side: int


@xmlify
@dataclass
class Draw:
    """Draws something."""

    count: Annotated[int, Ge(1), Le(9)]
    scale: float
    label: Annotated[str, MinLen(1)]
    filled: bool
    colour: Colour
    tags: Annotated[list[str], MaxLen(3)]
    shape: Circle | Square
    mode: Literal["fast", 2] = "fast"
    price: Decimal = Decimal(1)
    when: dt.date | None = None
    limit: int | None = 5
    sizes: dict[int, list[int]] = field(default_factory=dict)
    either: int | str | None = None
    mixed: dt.date | int = 0
    pair: tuple[int, str] = (0, "")


CODEC = codec_of(Draw)
GOOD: dict[str, Any] = {
    "count": 1, "scale": 1.5, "label": "x", "filled": True, "colour": "red", "tags": ["a"],
    "shape": {"Circle": {"r": 1}},
}  # fmt: skip


def problems(**changed: Any) -> list[tuple[str, str]]:
    with pytest.raises(PayloadError) as caught:
        CODEC.from_json(GOOD | changed)
    return [(violation.field, violation.rule) for violation in caught.value.violations]


@pytest.mark.parametrize(
    ("name", "given_", "read"),
    [
        ("count", "5", 5),
        ("count", 5.0, 5),
        ("scale", 2, 2.0),
        ("scale", "1e-07", 1e-07),
        ("scale", "INF", float("inf")),
        ("filled", "false", False),
        ("label", "007", "007"),
        ("colour", "blue", Colour.BLUE),
        ("mode", 2, 2),
        ("mode", "2", 2),
        ("price", "1.50", Decimal("1.50")),
        ("price", 0.1, Decimal("0.1")),
        ("when", "2026-01-31", dt.date(2026, 1, 31)),
        ("when", None, None),
        ("limit", None, None),
        ("sizes", {"1": [2, "3"]}, {1: [2, 3]}),
        ("sizes", None, {}),
        ("either", 5, 5),
        ("either", "5", "5"),
        ("mixed", {"date": "2026-01-31"}, dt.date(2026, 1, 31)),
        ("pair", [1, "x"], (1, "x")),
        ("shape", {"Square": {"side": 3}}, Square(3)),
    ],
)
def test_it_reads(name: str, given_: Any, read: Any) -> None:
    value = getattr(CODEC.from_json(GOOD | {name: given_}), name)
    assert (value, type(value)) == (read, type(read))


@pytest.mark.parametrize(
    ("name", "given_", "path", "rule"),
    [
        ("count", "five", "Draw.count", "is not a whole number"),
        ("count", 1.5, "Draw.count", "needs a whole number, not a number"),
        ("count", True, "Draw.count", "needs a whole number, not a boolean"),
        ("count", None, "Draw.count", "needs a whole number, not null"),
        ("count", 10, "Draw.count", "too large"),
        ("count", {}, "Draw.count", "needs a whole number, not an object"),
        ("label", 7, "Draw.label", "needs text, not a number"),
        ("label", "", "Draw.label", "too short"),
        ("label", "a\0", "Draw.label", "holds the character U+0000 at position 1, which XML cannot carry"),
        ("filled", 1, "Draw.filled", "needs true or false, not a number"),
        ("filled", "yes", "Draw.filled", "is not true or false"),
        ("colour", "green", "Draw.colour", "is none of the values"),
        ("mode", True, "Draw.mode", "is none of the values"),
        ("tags", "a", "Draw.tags", "needs an array, not a text"),
        ("tags", ["a", 1], "Draw.tags[1]", "needs text, not a number"),
        ("tags", ["a"] * 4, "Draw.tags", "too many"),
        ("shape", {"r": 1}, "Draw.shape", "needs an object with one key that names the type"),
        ("shape", {"Circle": {"r": "x"}}, "Draw.shape.r", "is not a number"),
        ("shape", {"Circle": {"r": 1, "q": 2}}, "Draw.shape.q", "is not a field"),
        ("sizes", {"x": []}, "Draw.sizes.key", "is not a whole number"),
        ("sizes", {"1": [], "01": []}, "Draw.sizes.key", "is there more than once"),
        ("sizes", {"1": ["x"]}, "Draw.sizes['1'][0]", "is not a whole number"),
        ("either", 1.5, "Draw.either", "fits no member of the union"),
        ("pair", [1], "Draw.pair", "needs 2 values, not 1"),
        ("when", "soon", "Draw.when", "is not a date that Python holds"),
        ("colr", "red", "Draw.colr", "is not a field"),
    ],
)
def test_it_refuses(name: str, given_: Any, path: str, rule: str) -> None:
    assert (path, rule) in problems(**{name: given_})


def test_missing_fields_are_named() -> None:
    with pytest.raises(PayloadError) as caught:
        CODEC.from_json({"count": 1})
    assert [violation.field for violation in caught.value.violations] == [
        f"Draw.{name}" for name in ("scale", "label", "filled", "colour", "tags")
    ]
    with pytest.raises(PayloadError, match="Draw: needs an object, not an array"):
        CODEC.from_json([1])  # type: ignore[arg-type]  # the mistake under test


def test_the_schema_is_what_a_tool_call_needs() -> None:
    schema = CODEC.json_schema
    assert schema["description"] == "Draws something."
    assert schema["required"] == ["count", "scale", "label", "filled", "colour", "tags", "shape"]
    assert schema["additionalProperties"] is False
    properties = schema["properties"]
    assert properties["count"] == {"type": "integer", "minimum": 1, "maximum": 9}
    assert properties["label"] == {"type": "string", "minLength": 1}
    assert properties["colour"] == {"enum": ["red", "blue"]}
    assert properties["mode"] == {"enum": ["fast", 2], "default": "fast"}
    assert properties["limit"] == {"anyOf": [{"type": "integer"}, {"type": "null"}], "default": 5}
    assert properties["either"]["anyOf"][0] == {"anyOf": [{"type": "integer"}, {"type": "string"}]}
    assert properties["shape"]["anyOf"][0]["required"] == ["Circle"]
    assert schema["$defs"]["Circle"]["properties"] == {"r": {"type": "number"}}


def _conforming(schema: dict[str, Any], root: dict[str, Any]) -> st.SearchStrategy[Any]:
    """JSON that a schema of ours allows (the keywords that the schemas of `Draw` use)."""
    if "$ref" in schema:
        return _conforming(root["$defs"][schema["$ref"].rpartition("/")[2]], root)
    if "anyOf" in schema:
        return st.one_of([_conforming(option, root) for option in schema["anyOf"]])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    match schema["type"]:
        case "null":
            return st.none()
        case "boolean":
            return st.booleans()
        case "integer":
            return st.integers(schema.get("minimum"), schema.get("maximum"))
        case "number":
            return st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**53), 2**53)
        case "string" if schema.get("format") == "date":
            return st.dates().map(str)
        case "string" if "a decimal number" in schema.get("description", ""):
            return st.decimals(allow_nan=False, allow_infinity=False).map(str)
        case "string":
            return st.text(st.characters(categories=["L", "N"]), min_size=schema.get("minLength", 0))
        case "array" if "prefixItems" in schema:
            return st.tuples(*(_conforming(item, root) for item in schema["prefixItems"])).map(list)
        case "array":
            return st.lists(_conforming(schema["items"], root), max_size=schema.get("maxItems", 4))
    if "properties" not in schema:
        return st.dictionaries(
            st.integers().map(str), _conforming(schema["additionalProperties"], root), max_size=3
        )
    required = {name: _conforming(schema["properties"][name], root) for name in schema.get("required", ())}
    optional = {
        name: _conforming(inner, root) for name, inner in schema["properties"].items() if name not in required
    }
    return st.fixed_dictionaries(required, optional=optional)


@settings(deadline=None)
@given(_conforming(CODEC.json_schema, CODEC.json_schema))
def test_what_the_schema_allows_is_read_and_comes_back(arguments: dict[str, Any]) -> None:
    value = CODEC.from_json(arguments)
    assert CODEC.from_json(CODEC.to_json(value)) == value
    assert CODEC.decode_bytes(CODEC.encode(value)) == value


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from([*GOOD, "limit", "sizes", "mixed", "either", "pair", "price"]), JSON))
def test_any_json_is_read_or_refused_and_nothing_else(changed: dict[str, Any]) -> None:
    try:
        value = CODEC.from_json(GOOD | changed)
    except PayloadError:
        return
    assert CODEC.decode_bytes(CODEC.encode(value)).count == value.count


def test_a_person_types_texts() -> None:
    typed = {
        "count": "2", "scale": "1", "label": "true", "filled": "true", "colour": "red", "tags": "a, b",
        "shape": '{"Circle": {"r": 1}}', "sizes": '{"1": [2]}', "either": "7", "pair": '[1, "x"]',
    }  # fmt: skip
    value = CODEC.from_text(typed)
    assert (value.count, value.label, value.filled, value.tags) == (2, "true", True, ["a", "b"])
    assert (value.shape, value.sizes, value.either, value.pair) == (Circle(1.0), {1: [2]}, 7, (1, "x"))
    assert CODEC.from_text(typed | {"either": "seven", "tags": ""}).either == "seven"
    for wrong, path in (
        ({"shape": "round"}, "Draw.shape"),
        ({"count": "two"}, "Draw.count"),
        ({"nope": "1"}, "Draw.nope"),
    ):
        with pytest.raises(PayloadError) as caught:
            CODEC.from_text(typed | wrong)
        assert caught.value.violations[0].field == path
