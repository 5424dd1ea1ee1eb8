"""The scalar types: for each its XSD type, its text on the wire, and how JSON and examples show it.

`to_text` and `from_text` raise ValueError with the broken rule in words. `from_text` reads what the XSD type
lets through, and refuses what Python cannot hold.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from math import inf, isfinite
from typing import Any
from uuid import UUID

from xml_pipeline.payload.text import escape

LONGEST = 10_000
"""Characters of a scalar that is neither text nor bytes; no number, date or name needs as many."""

_BLANK = " \t\r\n"  # XML's white space; Python's strip() knows more


@dataclass(frozen=True, slots=True)
class ScalarKind:
    """How one Python type is written.

    Attributes:
        python: the type.
        xsd: XSD built-in type.
        pattern: XSD pattern that narrows it, or "".
        to_text: value → canonical text, escaped where needed.
        from_text: text of a valid element → value.
        json: JSON Schema of it.
        sample: a value for examples.
        words: what is allowed, for error messages.
    """

    python: type[Any]
    xsd: str
    to_text: Callable[[Any], str]
    from_text: Callable[[str], Any]
    json: dict[str, Any]
    sample: Any
    words: str
    pattern: str = ""

    @property
    def name(self) -> str:
        """Its name for people and for the element of a union, as `int`."""
        return self.python.__name__


class WrongType(ValueError):
    """The value has another type than its field."""


def _refuse(value: object, wanted: str) -> WrongType:
    return WrongType(f"needs {wanted}, not {type(value).__name__}")


def str_text(value: Any) -> str:
    """The canonical text of a str; a subclass counts as the plain text it holds."""
    if not isinstance(value, str):
        raise _refuse(value, "str")
    return escape(str.__str__(value))


def int_text(value: Any) -> str:
    """Decimal digits. A bool is no int here."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise _refuse(value, "int")
    try:
        return int.__repr__(value)
    except ValueError:
        raise ValueError("has more digits than Python writes") from None


def float_text(value: Any) -> str:
    """The shortest text that reads back as the same double. An int that a double holds exactly is taken."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _refuse(value, "float")
    try:
        double = float(value)
    except OverflowError:
        raise ValueError("too large for a float") from None
    if double != value and value == value:
        raise ValueError("an int that a float cannot hold exactly")
    if isfinite(double):
        return repr(double)
    return "INF" if double == inf else "-INF" if double == -inf else "NaN"


def bool_text(value: Any) -> str:
    """`true` or `false`."""
    if value is True:
        return "true"
    if value is False:
        return "false"
    raise _refuse(value, "bool")


def bool_value(text: str) -> bool:
    """The four spellings that xs:boolean has."""
    word = text.strip(_BLANK)
    if word in ("true", "1"):
        return True
    if word in ("false", "0"):
        return False
    raise ValueError("is not true or false")


def _float_value(text: str) -> float:
    if not _FLOAT.fullmatch(text.strip(_BLANK)):
        raise ValueError("is not a number")
    return float(text)


def _int_value(text: str) -> int:
    if not _INT.fullmatch(text.strip(_BLANK)):
        raise ValueError("is not a whole number")
    try:
        return int(text)
    except ValueError:
        raise ValueError("has more digits than Python reads") from None


def _typed(python: type[Any], write: Callable[[Any], str]) -> Callable[[Any], str]:
    """`write` for values of one type, others refused."""

    def to_text(value: Any) -> str:
        if not isinstance(value, python):
            raise _refuse(value, python.__name__)
        return write(value)

    return to_text


def _iso(python: Any, words: str) -> Callable[[str], Any]:
    def from_text(text: str) -> Any:
        try:
            return python.fromisoformat(text.strip(_BLANK))
        except ValueError:
            raise ValueError(f"is not {words} that Python holds") from None

    return from_text


def _decimal_text(value: Decimal) -> str:
    text = str(value)
    if len(text) > LONGEST:
        raise ValueError(f"has more than {LONGEST:,} digits")
    return text


def _decimal_value(text: str) -> Decimal:
    if len(text) > LONGEST:
        raise ValueError(f"has more than {LONGEST:,} digits")
    text = text.strip(_BLANK)
    if not _DECIMAL.fullmatch(text):
        raise ValueError("is not a decimal number")
    return Decimal(text)


def _bytes_value(text: str) -> bytes:
    """What XSD's base64Binary lets through, no more: the one canonical spelling, with blanks anywhere."""
    try:
        plain = text.encode("ascii").translate(None, _BLANK.encode())
        value = b64decode(plain, validate=True)
    except (Base64Error, ValueError):
        raise ValueError("is not base64") from None
    if b64encode(value) != plain:
        raise ValueError("is not base64 in its canonical spelling")
    return value


def _datetime_text(value: datetime) -> str:
    offset = value.utcoffset()
    if offset is None:
        return value.replace(tzinfo=None).isoformat()
    if _writable(offset):
        return value.isoformat()
    try:
        return value.astimezone(UTC).isoformat()
    except OverflowError:
        raise ValueError(f"has the offset {offset}, which XSD cannot write") from None


def _date_text(value: Any) -> str:
    if not isinstance(value, date) or isinstance(value, datetime):
        raise _refuse(value, "date")
    return value.isoformat()


def _time_text(value: time) -> str:
    offset = value.utcoffset()
    if offset is None:
        return value.replace(tzinfo=None).isoformat()
    if _writable(offset):
        return value.isoformat()
    # Equality of times compares (time - whole seconds of the offset), so another offset needs another wall time,
    # in the same day.
    offset = timedelta(days=offset.days, seconds=offset.seconds)
    wall = datetime.combine(date(2000, 1, 1), value.replace(tzinfo=None)) - offset
    for minutes in (offset // timedelta(minutes=1), offset // timedelta(minutes=1) + 1, 840, -840):
        near = timedelta(minutes=minutes)
        if _writable(near) and (wall + near).date() == date(2000, 1, 1):
            return (wall + near).time().replace(tzinfo=timezone(near)).isoformat()
    raise ValueError(f"has the offset {offset}, which XSD cannot write")


def _writable(offset: timedelta) -> bool:
    """XSD has offsets of whole minutes, up to 14 hours."""
    return abs(offset) <= timedelta(hours=14) and not offset % timedelta(minutes=1)


def _duration_text(value: timedelta) -> str:
    sign, size = ("-", -value) if value < timedelta(0) else ("", value)
    text = f"{sign}P{size.days}D" if size.days else f"{sign}P"
    if size.seconds or size.microseconds or not size.days:
        micro = f".{size.microseconds:06}".rstrip("0") if size.microseconds else ""
        text += f"T{size.seconds}{micro}S"
    return text


def _duration_value(text: str) -> timedelta:
    found = _DURATION.fullmatch(text.strip(_BLANK))
    if found is None or text.strip(_BLANK)[-1] in "PT":
        raise ValueError("is not a duration of days, hours, minutes and seconds")
    sign, days, hours, minutes, seconds, fraction = found.groups()
    try:
        size = timedelta(
            days=int(days or 0),
            hours=int(hours or 0),
            minutes=int(minutes or 0),
            seconds=int(seconds or 0),
            microseconds=int(f"{fraction or '':0<6}"[:6]),
        )
    except (OverflowError, ValueError):
        raise ValueError("is longer than Python holds") from None
    return -size if sign else size


def _uuid_value(text: str) -> UUID:
    word = text.strip(_BLANK)
    if not _UUID.fullmatch(word):
        raise ValueError("is not a UUID")
    return UUID(word)


_INT = re.compile(r"[+-]?[0-9]+")
_FLOAT = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|-?INF|NaN")
_DECIMAL_PATTERN = r"[+\-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+\-]?[0-9]+)?|[+\-]?Infinity|-?s?NaN[0-9]*"
_DURATION = re.compile(r"(-)?P(?:([0-9]+)D)?(?:T(?:([0-9]+)H)?(?:([0-9]+)M)?(?:([0-9]+)(?:\.([0-9]+))?S)?)?")
_UUID_PATTERN = "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"
_UUID = re.compile(_UUID_PATTERN)
_DECIMAL = re.compile(_DECIMAL_PATTERN)


def _json(**more: str) -> dict[str, Any]:
    return {"type": "string", **more}


def xsd_value(kind: ScalarKind, text: str) -> Any:
    """What `from_text` reads, from no spelling but those that XSD has. Raises ValueError."""
    spelling = _SPELLINGS.get(kind.xsd)
    if spelling is not None and not spelling.fullmatch(text.strip(_BLANK)):
        raise ValueError("is not in XSD's spelling")
    return kind.from_text(text)


_DAY, _HOUR = "[0-9]{4}-[0-9]{2}-[0-9]{2}", r"[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?(Z|[+-][0-9]{2}:[0-9]{2})?"
_SPELLINGS = {
    "date": re.compile(_DAY),
    "time": re.compile(_HOUR),
    "dateTime": re.compile(f"{_DAY}T{_HOUR}"),
}

STR = ScalarKind(str, "string", str_text, str, _json(), "text", "text")
INT = ScalarKind(int, "integer", int_text, _int_value, {"type": "integer"}, 1, "a whole number")
FLOAT = ScalarKind(float, "double", float_text, _float_value, {"type": "number"}, 1.5, "a number")
BOOL = ScalarKind(bool, "boolean", bool_text, bool_value, {"type": "boolean"}, True, "true or false")
DECIMAL = ScalarKind(
    Decimal, "token", _typed(Decimal, _decimal_text), _decimal_value, _json(description="a decimal number"),
    Decimal("1.50"), "a decimal number, as 1.50", _DECIMAL_PATTERN,
)  # fmt: skip
BYTES = ScalarKind(
    bytes, "base64Binary", _typed(bytes, lambda value: b64encode(value).decode("ascii")), _bytes_value,
    _json(contentEncoding="base64"), b"bytes", "base64",
)  # fmt: skip
DATETIME = ScalarKind(
    datetime, "dateTime", _typed(datetime, _datetime_text), _iso(datetime, "a date and time"),
    _json(format="date-time"), datetime(2026, 1, 31, 12, 0, tzinfo=UTC),
    "a date and time, as 2026-01-31T12:00:00+00:00",
)  # fmt: skip
DATE = ScalarKind(
    date, "date", _date_text, _iso(date, "a date"), _json(format="date"), date(2026, 1, 31),
    "a date, as 2026-01-31", _DAY,
)  # fmt: skip
TIME = ScalarKind(
    time, "time", _typed(time, _time_text), _iso(time, "a time"), _json(format="time"), time(12, 0),
    "a time, as 12:00:00",
)  # fmt: skip
TIMEDELTA = ScalarKind(
    timedelta, "duration", _typed(timedelta, _duration_text), _duration_value, _json(format="duration"),
    timedelta(seconds=90), "a duration, as P1DT90S",
    r"[^YM]*(T.*)?",  # no years and months: they have no fixed length
)  # fmt: skip
UUID_KIND = ScalarKind(
    UUID, "token", _typed(UUID, str), _uuid_value, _json(format="uuid"),
    UUID("2f1c0c4e-8a52-4f5b-9d3e-6b7a8c9d0e1f"), "a UUID", _UUID_PATTERN,
)  # fmt: skip

KINDS: dict[type[Any], ScalarKind] = {
    kind.python: kind
    for kind in (STR, INT, FLOAT, BOOL, DECIMAL, BYTES, DATETIME, DATE, TIME, TIMEDELTA, UUID_KIND)
}
