"""The bounds of what a model sees of the past."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from xml_pipeline.agents import Bounds, Exchange, Result, Round
from xml_pipeline.agents.history import SHORT, tokens_of, within
from xml_pipeline.llm.options import normalise_messages

names = st.integers(0, 10**6).map(lambda n: f"id{n}")
text = st.integers(0, 3000).map(lambda n: "x" * n)


@st.composite
def rounds(draw: st.DrawFn) -> Round:
    native = draw(st.booleans())
    results = tuple(
        Result(f"{draw(names)}-{n}", "tool", draw(text), draw(st.booleans()))
        for n in range(draw(st.integers(1, 4)))
    )
    answer: dict[str, Any] = {"role": "assistant", "content": draw(text)}
    if native:
        answer["tool_calls"] = [
            {"id": each.id, "type": "function", "function": {"name": "tool", "arguments": "{}"}}
            for each in results
        ]
    return Round(answer, results, native=native)


@st.composite
def exchanges(draw: st.DrawFn, *, finished: bool = True) -> Exchange:
    done = draw(st.lists(rounds(), max_size=4))
    if finished:
        done.append(Round({"role": "assistant", "content": draw(text)}))
    return Exchange({"role": "user", "content": draw(text)}, tuple(done))


bounds = st.builds(Bounds, messages=st.integers(1, 30), tokens=st.integers(1, 5000))


@given(bounds, st.lists(exchanges(), max_size=6), exchanges(finished=False))
def test_calls_and_results_stay_together_within_the_bounds(
    limits: Bounds, earlier: list[Exchange], current: Exchange
) -> None:
    kept = within(limits, earlier, current)
    messages = [message for exchange in kept for message in exchange.messages()]
    normalise_messages(messages)
    called: list[str] = []
    for message in messages:
        if message["role"] == "tool":
            assert called.pop(0) == message["tool_call_id"]
        else:
            assert not called, "a call without its result"
            called = [call["id"] for call in message.get("tool_calls", ())]
    assert not called
    assert messages[0]["role"] == "user"
    assert kept[-1].task == current.task
    assert kept[-1].rounds[-1:] == current.rounds[-1:], "the newest round is whole"
    before = kept[:-1]
    assert sum(len(list(exchange.messages())) for exchange in before) <= limits.messages
    assert [exchange.task for exchange in before] == [exchange.task for exchange in earlier][
        len(earlier) - len(before) :
    ]
    if before or len(kept[-1].rounds) > 1:
        assert tokens_of(messages) <= limits.tokens


@given(bounds, st.lists(exchanges(), max_size=6))
def test_what_is_remembered_keeps_to_the_bounds(limits: Bounds, earlier: list[Exchange]) -> None:
    messages = [message for exchange in within(limits, earlier) for message in exchange.messages()]
    assert not messages or (len(messages) <= limits.messages and tokens_of(messages) <= limits.tokens)


def exchange(task: str, result: str) -> Exchange:
    call = {"id": task, "type": "function", "function": {"name": "t", "arguments": "{}"}}
    answer = {"role": "assistant", "content": "", "tool_calls": [call]}
    final = Round({"role": "assistant", "content": "ok"})
    return Exchange({"role": "user", "content": task}, (Round(answer, (Result(task, "t", result),)), final))


def test_the_oldest_results_are_shortened_before_anything_is_dropped() -> None:
    earlier = [exchange("one", "x" * 4000), exchange("two", "y" * 4000)]
    kept = within(Bounds(40, 1500), earlier)
    assert [each.task["content"] for each in kept] == ["one", "two"]
    old, new = (each.rounds[0].results[0].text for each in kept)
    assert old == "x" * SHORT + "… (shortened: 4000 characters in all)"
    assert new == "y" * 4000
    assert within(Bounds(40, 100_000), earlier) == earlier


def test_what_still_does_not_fit_goes_exchange_by_exchange() -> None:
    earlier = [exchange("one", "x"), exchange("two", "y"), exchange("three", "z")]
    assert [each.task["content"] for each in within(Bounds(8, 8000), earlier)] == ["two", "three"]
    assert within(Bounds(3, 8000), earlier) == []
