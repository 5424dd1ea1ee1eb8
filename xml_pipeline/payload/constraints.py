"""Constraints on a value, as `annotated_types` and pydantic's `Field(...)` state them."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterable, Iterator, Sized
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, NamedTuple

import annotated_types as at


class _Comparison(NamedTuple):
    name: str
    sign: str
    holds: Callable[[Any, Any], Any]
    broken: str


_COMPARISONS = (
    _Comparison("ge", ">=", operator.ge, "too small"),
    _Comparison("gt", ">", operator.gt, "too small"),
    _Comparison("le", "<=", operator.le, "too large"),
    _Comparison("lt", "<", operator.lt, "too large"),
)


@dataclass(frozen=True, slots=True)
class Constraints:
    """Bounds of one value; None where there is none.

    Attributes:
        pattern: a regular expression in the dialect of Rust's `regex` crate, found anywhere in the text, as
            pydantic has it. It runs in linear time, so no pattern can be made to hang.
        matches: the compiled pattern.
        predicates: `annotated_types.Predicate` functions.
    """

    gt: Any = None
    ge: Any = None
    lt: Any = None
    le: Any = None
    multiple_of: Any = None
    min_length: int | None = None
    max_length: int | None = None
    pattern: str | None = None
    matches: Callable[[str], bool] | None = None
    predicates: tuple[Callable[[Any], bool], ...] = ()

    def broken(self, value: Any) -> tuple[str, str] | None:
        """The first rule that `value` breaks, and what is allowed; None when it keeps all."""
        try:
            return next(self._bounds(value), None)
        except (
            TypeError,
            ArithmeticError,
        ):  # a time without an offset beside a bound with one; Decimal("sNaN")
            return "cannot be compared with its bounds", self.describe()

    def comparisons(self) -> Iterator[tuple[_Comparison, Any]]:
        """The bounds that there are, and how a value is compared with each."""
        for comparison in _COMPARISONS:
            bound = getattr(self, comparison.name)
            if bound is not None:
                yield comparison, bound

    def describe(self) -> str:
        """The constraints in words, as `>= 1, at most 80 long`."""
        words = [f"{comparison.sign} {bound}" for comparison, bound in self.comparisons()]
        if self.multiple_of is not None:
            words.append(f"multiple of {self.multiple_of}")
        if self.min_length is not None and self.min_length == self.max_length:
            words.append(f"length {self.min_length}")
        else:
            if self.min_length is not None:
                words.append(f"length at least {self.min_length}")
            if self.max_length is not None:
                words.append(f"length at most {self.max_length}")
        if self.pattern is not None:
            words.append(f"matches {self.pattern}")
        return ", ".join(words)

    def _bounds(self, value: Any) -> Iterator[tuple[str, str]]:
        for comparison, bound in self.comparisons():
            if not comparison.holds(value, bound):  # and NaN keeps no bound
                yield comparison.broken, f"{comparison.sign} {bound}"
        if self.multiple_of is not None and not is_multiple(value, self.multiple_of):
            yield "not a multiple", f"a multiple of {self.multiple_of}"
        yield from self._lengths(value)
        if self.matches is not None and not self.matches(value):
            yield "does not match the pattern", str(self.pattern)
        for predicate in self.predicates:
            if not holds(predicate, value):
                yield "refused by its predicate", getattr(predicate, "__name__", repr(predicate))

    def _lengths(self, value: Any) -> Iterable[tuple[str, str]]:
        if self.min_length is not None and len(value) < self.min_length:
            yield "too short" if isinstance(value, str | bytes) else "too few", f"at least {self.min_length}"
        if self.max_length is not None and len(value) > self.max_length:
            yield "too long" if isinstance(value, str | bytes) else "too many", f"at most {self.max_length}"


FREE = Constraints()


def holds(predicate: Callable[[Any], bool], value: Any) -> bool:
    """Whether a predicate takes a value; one that raises does not."""
    try:
        return bool(predicate(value))
    except Exception:
        return False


def is_multiple(value: Any, of: Any) -> bool:
    """Whether `value` is a multiple; floats within one part in 10⁹, because 0.3 % 0.1 is not 0."""
    if isinstance(value, float) or isinstance(of, float):
        if not math.isfinite(value):
            return False
        return bool(abs(math.remainder(value, of)) <= 1e-9 * max(abs(value), abs(of)))
    return bool(value % of == 0)


def constraints_of(metadata: Iterable[Any], sample: Any) -> Constraints:
    """The constraints in the metadata of an `Annotated`; what says nothing about values is passed over.

    Args:
        metadata: as `Annotated[...].__metadata__` or pydantic's `FieldInfo.metadata`.
        sample: any value of the type, to see whether a bound can be compared with it at all.

    Raises:
        TypeError: a constraint that such a value cannot have, or a pattern that is none.
    """
    found = FREE
    for item in _flat(metadata):
        found = _add(found, item)
    if found == FREE:
        return FREE
    return _checked(found, sample)


def _flat(metadata: Iterable[Any]) -> Iterable[Any]:
    for item in metadata:
        if hasattr(item, "metadata") and not isinstance(item, type):  # pydantic's Field(...)
            yield from _flat(item.metadata)
        elif isinstance(item, at.GroupedMetadata):
            yield from _flat(item)
        elif isinstance(item, slice):
            yield from (
                at.MinLen(item.start or 0),
                *([at.MaxLen(item.stop)] if item.stop is not None else []),
            )
        else:
            yield item


def _add(found: Constraints, item: Any) -> Constraints:
    if isinstance(item, at.Predicate):
        return replace(found, predicates=(*found.predicates, item.func))
    if not isinstance(item, at.BaseMetadata) and not type(item).__module__.startswith("pydantic"):
        return found
    given = {name: getattr(item, name, None) for name in _NAMES}
    if isinstance(given["pattern"], re.Pattern):
        given["pattern"] = given["pattern"].pattern
    return replace(found, **{name: bound for name, bound in given.items() if bound is not None})


_NAMES = ("gt", "ge", "lt", "le", "multiple_of", "min_length", "max_length", "pattern")


def _checked(found: Constraints, sample: Any) -> Constraints:
    for comparison, bound in found.comparisons():
        try:
            comparison.holds(sample, bound)
        except TypeError:
            name = comparison.name
            raise TypeError(f"the bound {name}={bound!r} cannot be compared with {sample!r}") from None
    if found.multiple_of is not None and not isinstance(sample, int | float | Decimal):
        raise TypeError("multiple_of needs a number")
    if (found.min_length is not None or found.max_length is not None) and not isinstance(sample, Sized):
        raise TypeError("min_length and max_length need a text, bytes or a collection")
    if found.pattern is not None:
        if not isinstance(sample, str):
            raise TypeError("pattern needs a str field")
        found = replace(found, matches=_compiled(found.pattern))
    return found


def _compiled(pattern: str) -> Callable[[str], bool]:
    from pydantic_core import SchemaError, SchemaValidator, core_schema  # 50 ms, and few need it

    try:
        return SchemaValidator(
            core_schema.str_schema(pattern=pattern, regex_engine="rust-regex")
        ).isinstance_python
    except SchemaError as error:
        reason = str(error).splitlines()
        raise TypeError(
            f"the pattern {pattern!r} is not one of Rust's regex dialect, which runs in linear time"
            f" (no look-around, no back-references): {reason[-1].strip() if reason else ''}"
        ) from None
