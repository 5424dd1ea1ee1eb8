"""What a router keeps is bounded: a million conversations and invented names leave nothing behind that grows."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Sized

import pytest

from tests.llm.callers import Handler, answered, running
from xml_pipeline.errors import BudgetExceededError, ModelNotFoundError
from xml_pipeline.llm import Budget, Budgets, Router
from xml_pipeline.llm.accounting.budgets import MAX_NAMED_SCOPES, BudgetBook, Most
from xml_pipeline.llm.accounting.usage import MAX_NAMES, MAX_THREADS, OTHERS, Charge, UsageTally
from xml_pipeline.llm.providers.scripted import Rule, ScriptedBackend
from xml_pipeline.llm.routing.circuit_breaker import MAX_CIRCUITS, CircuitBreaker, CoolingPolicy
from xml_pipeline.llm.routing.endpoint import MAX_ESTIMATORS
from xml_pipeline.llm.types import Usage

CONVERSATIONS = 18_000  # more than any table may hold
assert CONVERSATIONS > MAX_THREADS


def sizes(root: object) -> dict[str, int]:
    """The length of every container that is reachable from `root` through objects of the router."""
    found: dict[str, int] = {}
    seen: set[int] = set()
    queue: list[tuple[str, object]] = [("", root)]
    while queue:
        path, one = queue.pop()
        if id(one) in seen or isinstance(one, (type, str, bytes)) or callable(one):
            continue
        seen.add(id(one))
        if isinstance(one, Sized) and gc.is_tracked(one):
            found[path] = len(one)
            values = (
                one.values() if isinstance(one, dict) else one if isinstance(one, (list, tuple, set)) else ()
            )
            queue += [(f"{path}[]", value) for value in list(values)[:50]]
        elif type(one).__module__.startswith("xml_pipeline"):
            names = [*getattr(type(one), "__slots__", ()), *getattr(one, "__dict__", ())]
            queue += [(f"{path}.{name}", getattr(one, name, None)) for name in names]
    return found


async def test_many_conversations_and_invented_models_leave_bounded_tables() -> None:
    rules = (Rule(model="bad-*", error="ModelNotFoundError"), Rule(reply="x"))
    budgets = Budgets(thread=[Budget(tokens=1000)], conversation=[Budget(tokens=1000)])
    async with Router([ScriptedBackend(rules=rules)], budgets=budgets, retries=0) as router:

        async def one(number: int) -> None:
            thread, conversation = f"t{number}", f"c{number}"
            with running(Handler("agent", thread, conversation)):
                if number % 3:
                    await router.complete(f"m{number}", "hello")
                else:
                    with pytest.raises(ModelNotFoundError):
                        await router.complete(f"bad-{number}", "hello")
            router.forget_thread(thread)
            router.forget_conversation(conversation)

        for start in range(0, CONVERSATIONS, 100):
            await asyncio.gather(*(one(number) for number in range(start, start + 100)))
        found = sizes(router)
        assert any(path.endswith("usage._tables[]") for path in found)  # the walk sees the tables
        assert {path: size for path, size in found.items() if size > MAX_THREADS} == {}
        assert router._book._threads == {}  # freed with their threads
        assert router.get_total_usage().request_count == CONVERSATIONS * 2 // 3


def test_usage_by_name_is_bounded_and_its_sum_stays_true() -> None:
    tally = UsageTally()
    for number in range(3 * MAX_NAMES):
        tally.settle(answered(Charge(f"agent {number}"), "backend", f"model {number}", Usage(2, 1), None))
        tally.settle(answered(Charge("busy"), "backend", "busy", Usage(2, 1), None))
    for table in (tally.all("agent"), tally.all("model")):
        assert len(table) <= MAX_NAMES
        assert sum(usage.total_tokens for usage in table.values()) == tally.total().total_tokens
        assert table["busy"].request_count == 3 * MAX_NAMES
        assert table[OTHERS].request_count > MAX_NAMES


def test_usage_of_threads_and_conversations_is_bounded() -> None:
    tally = UsageTally()
    for number in range(MAX_THREADS + 500):
        charge = Charge("a", f"t{number}", f"c{number}", (f"t{number}", "top"))
        tally.settle(answered(charge, "backend", "m", Usage(2, 1), None))
    assert len(tally._threads) == len(tally._conversations) == MAX_THREADS
    assert tally.one("thread", "top").request_count == MAX_THREADS + 500


def test_health_forgets_what_healed_and_bounds_what_fails() -> None:
    health = CircuitBreaker(CoolingPolicy(), lambda model, state, reason: None)
    for number in range(MAX_CIRCUITS + 500):
        health.failed(f"invented-{number}", ModelNotFoundError("none"), 0.0, 0.0)
    assert len(health.models) == MAX_CIRCUITS
    assert not health.available(f"invented-{MAX_CIRCUITS + 499}", 1.0)
    for number in range(MAX_CIRCUITS + 500):
        health.succeeded(f"invented-{number}", 0.0)
    assert health.models == {}


async def test_what_is_learned_of_models_is_bounded() -> None:
    async with Router([ScriptedBackend(rules=(Rule(reply="x"),))]) as router:
        for number in range(MAX_ESTIMATORS + 100):
            await router.complete(f"m{number}", "hello")
        assert len(router._endpoints["scripted"].estimators) == MAX_ESTIMATORS


def test_agents_that_only_a_glob_names_are_bounded_and_named_ones_are_never_forgotten() -> None:
    budgets = Budgets(agents={"*": [Budget(tokens=10)], "chief": [Budget(tokens=10)]})
    book = BudgetBook(budgets, lambda: 0.0, lambda event: None, lambda: None)
    reservation = book.reserve(book.meters(Charge("chief")), Most(10, 0))
    reservation.settle(answered(Charge("chief"), "backend", "m", Usage(10), 0))
    reservation.close()
    for number in range(MAX_NAMED_SCOPES + 10):
        book.meters(Charge(f"agent {number}"))
    assert len(book._agents.others) == MAX_NAMED_SCOPES
    with pytest.raises(BudgetExceededError):
        book.reserve(book.meters(Charge("chief")), Most(1, 0))
