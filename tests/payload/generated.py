"""Hypothesis strategies: payload classes made up on the spot, with values of them."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import itertools
import math
import typing
from collections.abc import Callable
from decimal import Decimal
from typing import Any
from uuid import UUID

from hypothesis import strategies as st

from xml_pipeline.payload import xmlify

LEGAL_TEXT = st.text(
    st.characters(
        codec="utf-8",
        exclude_characters=[*map(chr, [*range(9), 11, 12, *range(14, 32)]), "\ufffe", "\uffff"],
    )
)
TRICKY_TEXT = st.sampled_from(
    [
        "",
        " ",
        "007",
        "true",
        "1.50",
        " a ",
        "]]>",
        "&amp;",
        "<b>",
        "\r\n",
        "\t",
        "😀",
        "null",
        "\x85\u2028",
        "'\"",
    ]
)

_ZONES = st.timedeltas(dt.timedelta(hours=-23), dt.timedelta(hours=23)).map(dt.timezone)
# Whole seconds: CPython's times with other offsets are equal where their hashes are not.
_NEAR_ZONES = st.integers(-13 * 3600, 13 * 3600).map(
    lambda seconds: dt.timezone(dt.timedelta(seconds=seconds))
)
_DATETIMES = st.datetimes(
    dt.datetime(2, 1, 1), dt.datetime(9998, 1, 1), timezones=st.none() | st.just(dt.UTC) | _ZONES
)


class Colour(enum.Enum):
    RED = "red"
    DARK_BLUE = "dark blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Odd(enum.Enum):
    SPACE = " "
    NOTHING = None
    PAIR = (1, 2)


SCALARS: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (str, LEGAL_TEXT | TRICKY_TEXT),
    (int, st.integers()),
    (float, st.floats(allow_nan=False)),
    (bool, st.booleans()),
    (Decimal, st.decimals(allow_nan=False)),
    (bytes, st.binary()),
    (dt.datetime, _DATETIMES),
    (dt.date, st.dates()),
    (dt.time, st.times(timezones=st.none() | _NEAR_ZONES)),
    (dt.timedelta, st.timedeltas()),
    (UUID, st.uuids()),
    (Colour, st.sampled_from(Colour)),
    (Level, st.sampled_from(Level)),
    (Odd, st.sampled_from(Odd)),
    (typing.Literal["a", "b b", 3, False], st.sampled_from(["a", "b b", 3, False])),
]

_numbers = itertools.count()


@dataclasses.dataclass(frozen=True)
class Sort:
    """A type and a strategy for its values."""

    annotation: Any
    values: st.SearchStrategy[Any]
    hashable: bool = True


def _scalar_sorts() -> st.SearchStrategy[Sort]:
    return st.sampled_from([Sort(annotation, values) for annotation, values in SCALARS])


@st.composite
def _collections(draw: Callable[..., Any], inner: st.SearchStrategy[Sort]) -> Sort:
    kind = draw(
        st.sampled_from(["list", "tuple", "pair", "set", "frozenset", "dict", "optional", "union", "class"])
    )
    item: Sort = draw(inner)
    match kind:
        case "list":
            return Sort(list[item.annotation], st.lists(item.values, max_size=3), False)
        case "tuple":
            return Sort(
                tuple[item.annotation, ...], st.lists(item.values, max_size=3).map(tuple), item.hashable
            )
        case "pair":
            other: Sort = draw(inner)
            both = item.hashable and other.hashable
            return Sort(tuple[item.annotation, other.annotation], st.tuples(item.values, other.values), both)
        case "set" | "frozenset":
            element: Sort = item if item.hashable else draw(_scalar_sorts())
            if kind == "set":
                return Sort(set[element.annotation], st.sets(element.values, max_size=3), False)
            return Sort(frozenset[element.annotation], st.frozensets(element.values, max_size=3))
        case "dict":
            key: Sort = draw(_scalar_sorts())
            return Sort(
                dict[key.annotation, item.annotation],
                st.dictionaries(key.values, item.values, max_size=3),
                False,
            )
        case "optional":
            return Sort(item.annotation | None, st.none() | item.values, item.hashable)
        case "union":
            members = draw(
                st.lists(_scalar_sorts(), min_size=2, max_size=4, unique_by=lambda sort: str(sort.annotation))
            )
            annotation = typing.Union[tuple(member.annotation for member in members)]  # noqa: UP007  # made at run time
            return Sort(annotation, st.one_of([member.values for member in members]))
        case _:
            made = draw(payload_classes(inner))
            return Sort(made.annotation, made.values, False)


@st.composite
def payload_classes(draw: Callable[..., Any], inner: st.SearchStrategy[Sort]) -> Sort:
    """A payload dataclass of up to four fields, and its instances."""
    sorts: list[Sort] = draw(st.lists(inner, max_size=4))
    fields: list[Any] = []
    for number, sort in enumerate(sorts):
        how = draw(st.sampled_from(["required", "required", "default", "keyword"]))
        settings: dict[str, Any] = {"kw_only": how == "keyword"}
        if how == "default":
            default = draw(sort.values)
            settings = {"default_factory": lambda default=default: default, "kw_only": True}
        fields.append((f"f{number}", sort.annotation, dataclasses.field(**settings)))
    name = f"Made{next(_numbers)}"
    cls = xmlify(
        dataclasses.make_dataclass(name, fields, frozen=draw(st.booleans()), slots=draw(st.booleans()))
    )
    names = [field.name for field in dataclasses.fields(cls)]
    values = st.tuples(*(sort.values for sort in sorts)).map(
        lambda drawn: cls(**dict(zip(names, drawn, strict=True)))
    )
    return Sort(cls, values, False)


SORTS: st.SearchStrategy[Sort] = st.recursive(_scalar_sorts(), _collections, max_leaves=6)


@st.composite
def payloads(draw: Callable[..., Any]) -> Any:
    """An instance of a generated payload class."""
    return draw(draw(payload_classes(SORTS)).values)


def same(left: Any, right: Any) -> bool:
    """Equality that also looks at the types, so that 1 is not True and -0.0 not 0.0."""
    if type(left) is not type(right):
        return False
    if dataclasses.is_dataclass(left):
        return all(same(getattr(left, f.name), getattr(right, f.name)) for f in dataclasses.fields(left))
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict):
        return len(left) == len(right) and all(
            same(a, b) and same(left[a], right[b]) for a, b in zip(left, right, strict=True)
        )
    if isinstance(left, float):
        return left == right and math.copysign(1, left) == math.copysign(1, right)
    if isinstance(left, Decimal):
        return str(left) == str(right)
    return bool(left == right)
