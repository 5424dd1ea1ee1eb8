"""Field types: what each takes, how it is written, what a wrong value says."""

from __future__ import annotations

import datetime as dt
import enum
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from xml_pipeline.errors import PayloadError
from xml_pipeline.payload import codec_of, xmlify

NO_UUID = UUID(int=0)


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@xmlify
@dataclass
class Point:
    x: float
    y: float = 0.0


@xmlify
@dataclass
class Circle:
    r: float


@xmlify
@dataclass
class Node:
    value: int
    next: Node | None = None


@xmlify
@dataclass
class Everything:
    a_int: int = 1
    a_float: float = 1.0
    a_bool: bool = True
    a_str: str = ""
    a_decimal: Decimal = Decimal("1.50")
    a_bytes: bytes = b""
    a_moment: dt.datetime = dt.datetime(2026, 1, 1)
    a_date: dt.date = dt.date(2026, 1, 1)
    a_time: dt.time = dt.time(1)
    a_span: dt.timedelta = dt.timedelta(0)
    a_uuid: UUID = NO_UUID
    a_colour: Colour = Colour.RED
    a_literal: Literal["a", 2, True] = "a"
    an_option: int | None = None
    another: int | None = 5
    a_union: int | str = 1
    a_shape: Point | Circle | None = None
    a_list: list[int] = field(default_factory=list)
    a_nested: list[list[int | None]] = field(default_factory=list)
    a_tuple: tuple[int, str] = (1, "")
    a_pair: tuple[int, int] = (1, 2)
    a_set: set[int] = field(default_factory=set)
    a_dict: dict[str, int | None] = field(default_factory=dict)
    a_point: Point = field(default_factory=lambda: Point(1.0))


CODEC = codec_of(Everything)


def written(name: str, value: Any) -> str:
    """The element of one field."""
    body = CODEC.encode_body(Everything(**{name: value}))
    end = f"</{name}>"
    return body[body.index(f"<{name}") : body.index(end) + len(end)]


def wrong(value: Any) -> tuple[str, str]:
    with pytest.raises(PayloadError) as caught:
        codec_of(type(value)).encode(value)
    return caught.value.violations[0].field, caught.value.violations[0].rule


NIL = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:nil="true"'
NIL_ITEM = f"<item {NIL}></item>"
EAST = dt.timezone(dt.timedelta(hours=2))


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("a_int", -(10**40), f"<a_int>-1{'0' * 40}</a_int>"),
        ("a_float", 1e-07, "<a_float>1e-07</a_float>"),
        ("a_float", 1e22, "<a_float>1e+22</a_float>"),
        ("a_float", float("inf"), "<a_float>INF</a_float>"),
        ("a_float", float("-inf"), "<a_float>-INF</a_float>"),
        ("a_float", 5e-324, "<a_float>5e-324</a_float>"),
        ("a_float", -0.0, "<a_float>-0.0</a_float>"),
        ("a_bool", False, "<a_bool>false</a_bool>"),
        ("a_decimal", Decimal("1E+5"), "<a_decimal>1E+5</a_decimal>"),
        ("a_decimal", Decimal("1.500"), "<a_decimal>1.500</a_decimal>"),
        ("a_bytes", b"\x00\xff", "<a_bytes>AP8=</a_bytes>"),
        ("a_moment", dt.datetime(2026, 1, 2, tzinfo=EAST), "<a_moment>2026-01-02T00:00:00+02:00</a_moment>"),
        ("a_date", dt.date(1, 1, 1), "<a_date>0001-01-01</a_date>"),
        ("a_time", dt.time(1, 2, 3), "<a_time>01:02:03</a_time>"),
        ("a_span", dt.timedelta(days=-1, microseconds=1), "<a_span>-PT86399.999999S</a_span>"),
        ("a_span", dt.timedelta.max, "<a_span>P999999999DT86399.999999S</a_span>"),
        ("a_colour", Colour.BLUE, "<a_colour>blue</a_colour>"),
        ("a_literal", 2, "<a_literal>2</a_literal>"),
        ("a_literal", True, "<a_literal>true</a_literal>"),
        ("another", None, f"<another {NIL}></another>"),
        ("a_union", 5, "<a_union><int>5</int></a_union>"),
        ("a_union", "5", "<a_union><str>5</str></a_union>"),
        ("a_shape", Circle(1.0), "<a_shape><Circle><r>1.0</r></Circle></a_shape>"),
        ("a_list", [], "<a_list></a_list>"),
        ("a_nested", [[], [None, 1]], f"<a_nested><item></item><item>{NIL_ITEM}<item>1</item></item></a_nested>"),
        ("a_tuple", (7, "x"), "<a_tuple><item1>7</item1><item2>x</item2></a_tuple>"),
        ("a_pair", (7, 8), "<a_pair><item>7</item><item>8</item></a_pair>"),
        ("a_set", {3, 1, 2}, "<a_set><item>1</item><item>2</item><item>3</item></a_set>"),
        ("a_dict", {"k": None}, f"<a_dict><entry><key>k</key><value {NIL}></value></entry></a_dict>"),
        ("a_point", Point(2.0, 3.0), "<a_point><x>2.0</x><y>3.0</y></a_point>"),
    ],
)  # fmt: skip
def test_it_is_written_so_and_comes_back(name: str, value: Any, text: str) -> None:
    """Pitfall 8: floats, Optional, Literal, Enum, datetime and bytes fail or change."""
    assert written(name, value) == text
    back = getattr(CODEC.decode_bytes(CODEC.encode(Everything(**{name: value}))), name)
    assert (back, type(back)) == (value, type(value))


def test_not_a_number_comes_back() -> None:
    back = CODEC.decode_bytes(CODEC.encode(Everything(a_float=float("nan"))))
    assert back.a_float != back.a_float


def test_an_int_is_taken_for_a_float_when_it_is_exact() -> None:
    """Pitfall 8: an int for a float is refused."""
    assert CODEC.decode_bytes(CODEC.encode(Everything(a_float=3))).a_float == 3.0
    assert wrong(Everything(a_float=2**53 + 1)) == (
        "Everything.a_float",
        "an int that a float cannot hold exactly",
    )
    assert wrong(Everything(a_float=10**400)) == ("Everything.a_float", "too large for a float")


def test_a_field_with_a_default_may_be_absent() -> None:
    """Pitfall 8: fields with defaults are mandatory."""
    assert CODEC.decode_bytes(b"<Everything/>") == Everything()
    first, second = CODEC.decode_bytes(b"<Everything/>"), CODEC.decode_bytes(b"<Everything/>")
    assert first.a_list is not second.a_list


def test_fields_come_in_any_order_and_leave_in_declaration_order() -> None:
    point = codec_of(Point)
    assert point.encode(point.decode_bytes(b"<Point><y>2</y><x>1</x></Point>")) == (
        b"<Point><x>1.0</x><y>2.0</y></Point>"
    )
    entry = b"<Everything><a_dict><entry><value>1</value><key>k</key></entry></a_dict></Everything>"
    assert CODEC.decode_bytes(entry).a_dict == {"k": 1}


@pytest.mark.parametrize(
    "moment",
    [
        dt.datetime(1890, 1, 1, 12, tzinfo=ZoneInfo("Europe/Berlin")),  # +00:53:28
        dt.datetime(2026, 1, 1, 12, tzinfo=dt.timezone(dt.timedelta(hours=23, minutes=59))),
        dt.datetime(2026, 7, 1, 12, tzinfo=ZoneInfo("Asia/Kolkata")),
        dt.datetime(1, 1, 1, 20, tzinfo=dt.timezone(dt.timedelta(seconds=1))),
    ],
)
def test_odd_offsets_keep_the_moment(moment: dt.datetime) -> None:
    assert CODEC.decode_bytes(CODEC.encode(Everything(a_moment=moment))).a_moment == moment


@pytest.mark.parametrize("seconds", [30, -30, 3601, 23 * 3600, -23 * 3600])
def test_times_with_odd_offsets_stay_equal_or_are_refused(seconds: int) -> None:
    for hour in (0, 12, 23):
        time = dt.time(hour, 30, tzinfo=dt.timezone(dt.timedelta(seconds=seconds)))
        try:
            data = CODEC.encode(Everything(a_time=time))
        except PayloadError:
            assert abs(seconds) > 14 * 3600  # every other offset has a near one that XSD can write
            continue
        assert CODEC.decode_bytes(data).a_time == time


def test_an_offset_that_no_utc_moment_has_is_refused() -> None:
    moment = dt.datetime(1, 1, 1, tzinfo=dt.timezone(dt.timedelta(seconds=1)))
    assert "which XSD cannot write" in wrong(Everything(a_moment=moment))[1]


@pytest.mark.parametrize(
    ("name", "value", "path"),
    [
        ("a_int", "1", "a_int"),
        ("a_int", True, "a_int"),
        ("a_int", 1.0, "a_int"),
        ("a_int", None, "a_int"),
        ("a_float", "1", "a_float"),
        ("a_float", True, "a_float"),
        ("a_bool", 1, "a_bool"),
        ("a_str", 1, "a_str"),
        ("a_str", b"x", "a_str"),
        ("a_decimal", 1.5, "a_decimal"),
        ("a_bytes", "x", "a_bytes"),
        ("a_bytes", bytearray(b"x"), "a_bytes"),
        ("a_moment", dt.date(2026, 1, 1), "a_moment"),
        ("a_date", dt.datetime(2026, 1, 1), "a_date"),
        ("a_time", "12:00", "a_time"),
        ("a_span", 5, "a_span"),
        ("a_uuid", "0", "a_uuid"),
        ("a_colour", "red", "a_colour"),
        ("a_literal", "b", "a_literal"),
        ("a_literal", 2.0, "a_literal"),
        ("a_literal", [], "a_literal"),
        ("a_union", 1.5, "a_union"),
        ("a_union", True, "a_union"),
        ("a_shape", Node(1), "a_shape"),
        ("a_list", (1,), "a_list"),
        ("a_list", [1, "2"], "a_list[1]"),
        ("a_nested", [[1], [1, "x"]], "a_nested[1][1]"),
        ("a_tuple", (1, "x", 2), "a_tuple"),
        ("a_tuple", ("x", "x"), "a_tuple[0]"),
        ("a_set", [1], "a_set"),
        ("a_dict", {1: 1}, "a_dict[0].key"),
        ("a_dict", {"k": "v"}, "a_dict[0]"),
        ("a_point", Circle(1.0), "a_point"),
        ("a_point", Point("x"), "a_point.x"),  # type: ignore[arg-type]  # the mistake under test
        pytest.param("a_int", 10**5000, "a_int", id="too many digits"),
    ],
)
def test_a_wrong_value_is_named_with_its_field(name: str, value: Any, path: str) -> None:
    assert wrong(Everything(**{name: value}))[0] == f"Everything.{path}"


def test_up_to_five_mistakes_are_named_at_once() -> None:
    with pytest.raises(PayloadError) as caught:
        CODEC.encode(Everything(a_int="x", a_float="x", a_list=[None] * 9))  # type: ignore[arg-type]
    assert [violation.field.partition(".")[2] for violation in caught.value.violations] == [
        "a_int", "a_float", "a_list[0]", "a_list[1]", "a_list[2]",
    ]  # fmt: skip


def test_an_instance_of_a_subclass_is_no_instance() -> None:
    @xmlify
    @dataclass
    class Point3(Point):
        z: float = 0.0

    assert wrong(Everything(a_point=Point3(1.0)))[1] == "needs Point, not Point3"
    assert codec_of(Point3).decode_bytes(b"<Point3><x>1</x></Point3>") == Point3(1.0)


def _chain(length: int) -> Node:
    node = Node(0)
    for number in range(1, length):
        node = Node(number, node)
    return node


def test_a_deep_value_works_up_to_the_limit() -> None:
    node = _chain(200)
    assert codec_of(Node).decode_bytes(codec_of(Node).encode(node)) == node
    for length in (300, 5000):
        with pytest.raises(PayloadError, match="nested deeper than"):
            codec_of(Node).encode(_chain(length))


def test_a_mistake_deep_inside_has_a_path_that_fits_into_a_line() -> None:
    node = _chain(100)
    deepest = node
    while deepest.next is not None:
        deepest = deepest.next
    deepest.value = "x"  # type: ignore[assignment]  # the mistake under test
    path, rule = wrong(node)
    assert rule == "needs int, not str"
    assert path.startswith("Node.next.next.")
    assert path.endswith(".next.value")
    assert len(path) < 200


def test_a_value_that_contains_itself_is_refused() -> None:
    node = Node(1)
    node.next = node
    assert "contains itself" in wrong(node)[1]


def test_a_set_is_written_in_one_order_only() -> None:
    for numbers in ({1, 2, 33, 4}, {33, 4, 2, 1}):
        assert written("a_set", numbers).count("<item>") == 4
        assert written("a_set", numbers) == written("a_set", {4, 33, 1, 2})


@pytest.mark.parametrize("fold", [0, 1])
@pytest.mark.parametrize("hour", [0, 1, 2, 3])
@pytest.mark.parametrize("day", [dt.date(2026, 3, 8), dt.date(2026, 11, 1)])
def test_the_moment_of_a_time_in_a_clock_change_comes_back(day: dt.date, hour: int, fold: int) -> None:
    zone = ZoneInfo("America/New_York")
    moment = dt.datetime(day.year, day.month, day.day, hour, 30, tzinfo=zone, fold=fold)
    back = CODEC.decode_bytes(CODEC.encode(Everything(a_moment=moment))).a_moment
    assert back.timestamp() == moment.timestamp()
    assert back.utcoffset() == moment.utcoffset()
    assert back.replace(tzinfo=None, fold=0) == moment.replace(tzinfo=None, fold=0)
