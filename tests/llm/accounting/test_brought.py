"""Budgets per conversation of doors and of who comes through them, in the book."""

from __future__ import annotations

from typing import Any

import pytest

from xml_pipeline.errors import BudgetExceededError, ConfigError
from xml_pipeline.events import BudgetWarning
from xml_pipeline.llm import Budget, Budgets
from xml_pipeline.llm.accounting.budgets import BudgetBook, Most
from xml_pipeline.llm.accounting.usage import Charge


def book(**keys: Any) -> BudgetBook:
    warnings: list[BudgetWarning] = []
    return BudgetBook(Budgets(**keys), lambda: 0.0, warnings.append, lambda: None)


def charge(conversation: str, door: str = "desk", caller: str = "trigger:t") -> Charge:
    return Charge("a", "t1", conversation, ("t1",), listeners=("a",), door=door, caller=caller)


def takes(book: BudgetBook, charge: Charge, tokens: int) -> None:
    book.reserve(book.meters(charge), Most(tokens, 0))


def test_each_conversation_by_itself() -> None:
    for keys in ({"doors": {"desk": [Budget(tokens=10, per="conversation")]}},
                 {"callers": {"trigger:t": [Budget(tokens=10, per="conversation")]}}):  # fmt: skip
        found = book(**keys)
        takes(found, charge("c1"), 10)
        takes(found, charge("c2"), 10)
        with pytest.raises(BudgetExceededError, match="in c1"):
            takes(found, charge("c1"), 1)
        found.forget_conversation("c1")
        assert not [each for each in found._threads if "c1" in each[1]]
        takes(found, charge("c3", "other", "trigger:u"), 1000)
        takes(found, Charge("a", "t1", "c4", ("t1",), listeners=("a",)), 1000)


def test_a_door_holds_for_all_who_come_through_it() -> None:
    found = book(doors={"desk": [Budget(tokens=10)]}, callers={"trigger:t": [Budget(tokens=6)]})
    takes(found, charge("c1"), 6)
    with pytest.raises(BudgetExceededError) as caught:
        takes(found, charge("c2"), 1)
    assert caught.value.scope == "caller trigger:t"
    takes(found, charge("c3", caller="trigger:u"), 4)
    with pytest.raises(BudgetExceededError) as caught:
        takes(found, charge("c4", caller="trigger:u"), 1)
    assert caught.value.scope == "door desk"


def test_it_is_not_per_call() -> None:
    with pytest.raises(ConfigError, match="is not per call"):
        Budgets(doors={"desk": [Budget(tokens=1, per="call")]})
