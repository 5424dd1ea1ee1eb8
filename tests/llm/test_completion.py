"""What is asked, as a value: its request at a backend, and what budgets need to know of it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.llm.backends import backend
from xml_pipeline.errors import NoBackendError
from xml_pipeline.llm import Budget, LLMRequest, Price, Router, ToolSpec
from xml_pipeline.llm.accounting.budgets import BudgetBook, Budgets, Most
from xml_pipeline.llm.accounting.prices import PriceTable
from xml_pipeline.llm.accounting.usage import Charge
from xml_pipeline.llm.completion import LEAST_OUTPUT, Completion
from xml_pipeline.llm.types import ResponseSchema

USER = {"role": "user", "content": "Hi"}
IN_WORDS = [{"role": "system", "content": "Answer in XML."}, USER]


def completion(request: LLMRequest, *backends: Any) -> Completion:
    routes = Router(backends or (backend("a"),)).routes(request.model)
    return Completion(request, routes, Charge("greeter"), 700, 0.0, 60.0, IN_WORDS)


def test_a_backend_gets_the_request_with_its_own_name_for_the_model() -> None:
    asked = completion(LLMRequest("m", [USER], 0.5, 9, seed=3), backend("a", model_map={"m": "there"}))
    sent = asked.at(next(asked.routes()))
    assert (sent.model, sent.temperature, sent.max_tokens, sent.seed) == ("there", 0.5, 9, 3)
    assert (sent.agent, sent.prompt_tokens_estimate) == ("greeter", 201)
    assert asked.model == "m"


def test_what_a_backend_cannot_take_natively_is_put_into_words() -> None:
    tool = ToolSpec("add", "Adds.")
    schema = ResponseSchema("Answer", {"type": "object"})
    request = LLMRequest("m", [USER], tools=(tool,), response_schema=schema)
    plain = completion(request, backend("a", native_tools=False))
    route = next(plain.routes())
    sent = plain.at(route)
    assert (sent.tools, sent.response_schema) == ((), None)
    assert "Answer in XML." in str(sent.messages)
    assert "add" in str(sent.messages)
    assert plain.reads_calls(route)
    native = completion(request, backend("a", native_schema=True))
    route = next(native.routes())
    assert native.at(route).response_schema is schema
    assert native.at(route).tools == (tool,)
    assert not native.reads_calls(route)


def test_a_history_with_tool_calls_is_put_into_words_even_without_tools() -> None:
    called = {"id": "1", "type": "function", "function": {"name": "add", "arguments": "{}"}}
    history = [USER, {"role": "assistant", "content": None, "tool_calls": [called]}]
    asked = completion(LLMRequest("m", history), backend("a", native_tools=False))
    sent = asked.at(next(asked.routes()))
    assert not any(message.get("tool_calls") for message in sent.messages)


def meters(limit: Budget) -> list[Any]:
    book = BudgetBook(Budgets(organism=[limit]), lambda: 0.0, lambda event: None, lambda: None)
    return [(meter, meter.headroom()) for meter in book.meters(Charge())]


def test_the_most_it_can_use_is_fitted_into_what_is_left() -> None:
    asked = completion(LLMRequest("m", [USER]))
    assert asked.most(150, [], meters(Budget(tokens=2000)), 4096) == Most(150, 1850, 0, 1850)
    assert asked.most(150, [], meters(Budget(tokens=400)), 4096) == Most(150, LEAST_OUTPUT, 0, LEAST_OUTPUT)
    assert asked.limited(50).most(150, [], meters(Budget(tokens=400)), 4096) == Most(150, 50, 0, 50)
    assert asked.request.max_tokens is None, "a value does not change"


def test_routes_without_a_price_are_left_out_of_a_call_that_money_limits() -> None:
    class Unpriced(type(backend("x"))):  # type: ignore[misc]  # the scripted class
        offline = False

    unpriced = Unpriced(name="u", base_url="http://127.0.0.1:1")
    prices = PriceTable({"n": Price(input=1.0, output=2.0)})
    asked = completion(LLMRequest("m", [USER]), unpriced, backend("a", model_map={"m": "n"}))
    priced, rates = asked.priced(prices, 0.0)
    assert [route.name for route in priced.routes()] == ["a"]
    assert rates[0].highest(10, 10) == 30
    with pytest.raises(NoBackendError, match="the price of 'm' is unknown"):
        completion(LLMRequest("m", [USER]), unpriced).priced(prices, 0.0)
