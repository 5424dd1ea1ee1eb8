"""Scopes of budgets that have names: what is limited by its own name, and what only a glob names."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Literal

from xml_pipeline.ledger import Spent
from xml_pipeline.llm.accounting.periods import Per

if TYPE_CHECKING:
    from xml_pipeline.llm.accounting.budgets import Budget, Meter


class Named:
    """The scopes of one kind that have names: agents, operations, doors, callers.

    Attributes:
        kind: what they are.
        meters: of those that are named exactly.
        others: of those that only a glob names, the least recently used first.
    """

    def __init__(
        self, kind: Literal["agent", "operation", "door", "caller"], limits: Mapping[str, Sequence[Budget]]
    ) -> None:
        self.kind = kind
        self.meters: dict[str, list[Meter]] = {}
        self.others: OrderedDict[str, list[Meter]] = OrderedDict()
        self._limits = limits

    def exact(self, name: str) -> Sequence[Budget] | None:
        """The limits of this very name."""
        return self._limits.get(name)

    def limits(self, name: str) -> Sequence[Budget]:
        """The limits of this one."""
        exact = self.exact(name)
        return self.globbed(name) if exact is None else exact

    def globbed(self, name: str) -> list[Budget]:
        """The limits of all globs that fit the name."""
        return [one for glob, some in self._limits.items() if fnmatchcase(name, glob) for one in some]

    def of(self, name: str, earlier: Sequence[Spent]) -> list[Spent]:
        """What this one spent."""
        return [spent for spent in earlier if getattr(spent, self.kind) == name]

    def made(self, name: str) -> list[Meter]:
        """The meters of one name, as far as they were made."""
        return self.meters.get(name) or self.others.get(name) or []

    def all(self) -> Iterator[tuple[str, list[Meter]]]:
        """Every name that has meters, and those."""
        yield from self.meters.items()
        yield from self.others.items()


def only(named: Mapping[str, Sequence[Budget]], pers: Collection[Per]) -> dict[str, list[Budget]]:
    """The budgets of these periods; a name without one of them still hides globs."""
    return {name: [budget for budget in some if budget.per in pers] for name, some in named.items()}
