"""That a message of each declared class can end, and that none needs very much."""

from __future__ import annotations

from collections.abc import Sequence

from xml_pipeline.payload.declared import Declaration, Type
from xml_pipeline.payload.mistakes import Mistakes
from xml_pipeline.payload.shapes import MISSING

MOST_WITHIN = 10_000
"""Fields of all classes, those of the classes within them counted for each: its schema holds them all."""

MOST_ELEMENTS = 2_000
"""Elements that a message of a class has at least."""


def check_sizes(declared: Sequence[Declaration], mistakes: Mistakes) -> None:
    """Note the classes that need themselves, or too much."""
    _Sizes(declared, mistakes).check()


class _Sizes:
    def __init__(self, declared: Sequence[Declaration], mistakes: Mistakes) -> None:
        self.mistakes = mistakes
        self.declared = {each.name: each for each in declared}
        self.sizes: dict[str, int] = {}
        self.open: list[tuple[str, str]] = []

    def check(self) -> None:
        for name in self.declared:
            self._size(name)
        total = sum(self._within(name) for name in self.declared)
        if total > MOST_WITHIN:
            rule = f"the classes have {total:,} fields with those of the classes within them, each class for itself"
            self.mistakes.note((), f"{rule}; at most {MOST_WITHIN:,} are allowed")

    def _within(self, name: str) -> int:
        """The fields of a class and of all that it leads to: what its schema holds."""
        found: set[str] = set()
        waiting = [name]
        while waiting:
            each = waiting.pop()
            if each in self.declared and each not in found:
                found.add(each)
                waiting += [inner for field in self.declared[each].fields for inner in field.type.classes]
        return sum(len(self.declared[each].fields) for each in found)

    def _size(self, name: str) -> int:
        """The elements that a message of the class has at least."""
        if name in self.sizes or name not in self.declared:
            return self.sizes.get(name, 1)
        if name in [outer for outer, _ in self.open]:
            self._endless(name)
            return 1
        size = 1
        for each in self.declared[name].fields:
            if not each.optional and each.default is MISSING:
                self.open.append((name, each.name))
                size += self._size_of(each.type)
                self.open.pop()
        if size > MOST_ELEMENTS:
            rule = f"a message of it has {size:,} elements at least; at most {MOST_ELEMENTS:,} are allowed"
            self.mistakes.note((name,), rule, at_key=True)
            size = 1
        self.sizes[name] = size
        return size

    def _size_of(self, declared: Type) -> int:
        if declared.item is not None:
            least = int(dict(declared.facets).get("min_length", 0))
            return 1 + (least * self._size_of(declared.item) if least else 0)
        if declared.kind in ("class", "any_of"):
            return max(self._size(each) for each in declared.names)
        return 1

    def _endless(self, name: str) -> None:
        start = next(index for index, (outer, _) in enumerate(self.open) if outer == name)
        way = self.open[start:]
        shown = " → ".join([f"{outer}.{field}" for outer, field in way] + [name])
        last, at = way[-1]
        rule = f"a message of it never ends: {shown}; make a field on the way `optional: true`, or a list"
        self.mistakes.note((last, "fields", at), rule)
