"""Python source under construction: lines, indentation, fresh names, the constants it refers to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from xml_pipeline.payload.constraints import Constraints, holds, is_multiple


class Mismatch(ValueError):
    """A value or an element does not fit its shape. Which and why is found out by a second, slower walk."""


class Source:
    """Collects the source of functions, then compiles them, as `dataclasses` does."""

    def __init__(self) -> None:
        self.constants: dict[str, Any] = {"Mismatch": Mismatch, "is_multiple": is_multiple, "holds": holds}
        self._lines: list[str] = []
        self._indent = 0
        self._names = 0

    def line(self, text: str) -> None:
        """Add one line at the current indentation."""
        self._lines.append("    " * self._indent + text)

    @contextmanager
    def block(self, head: str) -> Iterator[None]:
        """A compound statement: `head` and what is added inside."""
        self.line(head)
        self._indent += 1
        yield
        self._indent -= 1

    def name(self, prefix: str = "v") -> str:
        """A fresh variable name."""
        self._names += 1
        return f"{prefix}{self._names}"

    def constant(self, value: Any, prefix: str = "K") -> str:
        """A name that stands for `value` in the compiled code."""
        for name, known in self.constants.items():
            if known is value:
                return name
        name = self.name(prefix)
        self.constants[name] = value
        return name

    def hold(self, constraints: Constraints, value: str, refusal: str) -> None:
        """Refuse a value (an expression) that breaks a constraint: with `raise` and `refusal`."""
        conditions = list(self._conditions(constraints, value))
        if conditions:
            with self.block(f"if not ({' and '.join(conditions)}):"):
                self.line(f"raise {refusal}")

    def _conditions(self, constraints: Constraints, value: str) -> Iterator[str]:
        for comparison, bound in constraints.comparisons():
            yield f"{value} {comparison.sign} {self.constant(bound)}"
        if constraints.multiple_of is not None:
            yield f"is_multiple({value}, {self.constant(constraints.multiple_of)})"
        if constraints.min_length is not None:
            yield f"len({value}) >= {constraints.min_length}"
        if constraints.max_length is not None:
            yield f"len({value}) <= {constraints.max_length}"
        if constraints.matches is not None:
            yield f"{self.constant(constraints.matches)}({value})"
        for predicate in constraints.predicates:
            yield f"holds({self.constant(predicate)}, {value})"

    def compiled(self, label: str) -> dict[str, Callable[..., Any]]:
        """The namespace with the compiled functions. The source is made of names that were checked before."""
        namespace = dict(self.constants)
        exec(compile("\n".join(self._lines), f"<payload {label}>", "exec"), namespace)  # noqa: S102  # see above
        return namespace
