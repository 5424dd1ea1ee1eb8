"""Flows at work, with listeners around them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.flows.world import Draft, Question, Report, Triage, organism
from tests.pump.scenes import at_rest, virtual
from xml_pipeline import AnswerError, HandlerMetadata, SystemError
from xml_pipeline.agents import Answer, Task
from xml_pipeline.errors import TaskFailed
from xml_pipeline.pump import ConversationLimits


def fact(payload: Any, _: HandlerMetadata) -> Answer:
    return Answer(f"fact of {payload.text}")


def fails(payload: Any, _: HandlerMetadata) -> Answer:
    raise ValueError("as it does")


async def slow(payload: Any, _: HandlerMetadata) -> Answer:
    await asyncio.sleep(500)
    return Answer("late")


async def asked(text: str, listeners: Any, question: Question | None = None, **options: Any) -> Any:
    built = organism(text, listeners, **options)
    async with built:
        try:
            return await built.ask("flow", question or Question("why"))
        finally:
            assert at_rest(built)


SEQUENCE = """
- {call: facts, as: one, send: {Task: {text: "{{input.text}}"}}}
- {call: facts, as: two, send: {Task: {text: "{{one.text}} again"}}}
- answer: {Report: {text: "{{two.text}}", notes: ["{{one.text}}", "{{input.text}}"]}}
"""


@virtual
async def test_steps_are_done_in_order_and_names_are_values() -> None:
    assert await asked(SEQUENCE, {"facts": fact}) == Report(
        "fact of fact of why again", notes=["fact of why", "why"]
    )


TOGETHER = """
- together:
    - {call: facts, as: facts, send: {Task: {text: "{{input.text}}"}}}
    - {call: doubts, as: doubts, send: {Task: {text: "{{input.text}}"}}IF}
  timeout_seconds: 60
- answer: {Report: {text: "{{facts.text}}", doubts: "DOUBTS"}}
"""


def together(if_fails: str = "", doubts: str = "{{doubts.text}}") -> str:
    return TOGETHER.replace("IF", if_fails).replace("DOUBTS", doubts)


@virtual
async def test_calls_of_together_are_made_at_once() -> None:
    both = asyncio.Barrier(2)

    async def meets(payload: Any, _: HandlerMetadata) -> Answer:
        await both.wait()
        return Answer("met")

    assert await asked(together(), {"facts": meets, "doubts": meets}) == Report("met", "met")


@virtual
async def test_the_first_failure_fails_the_step_and_nothing_waits_for_the_others() -> None:
    began = asyncio.get_running_loop().time()
    with pytest.raises(AnswerError, match="ValueError"):
        await asked(together(), {"facts": slow, "doubts": fails})
    assert asyncio.get_running_loop().time() - began < 1


ABSENT = ", if_fails: absent"
NONE = '{{doubts.text or \\"none\\"}}'
INSTEAD = ', if_fails: {Answer: {text: "no doubt about {{input.text}}"}}'


@pytest.mark.parametrize(
    ("handler", "if_fails", "doubts", "said"),
    [
        (fails, ABSENT, NONE, "none"),
        (slow, ABSENT, NONE, "none"),
        (lambda payload, _: None, ABSENT, NONE, "none"),
        (lambda payload, _: SystemError("handler", "no"), ABSENT, NONE, "none"),
        (fact, ABSENT, NONE, "fact of why"),
        (fails, INSTEAD, "{{doubts.text}}", "no doubt about why"),
        (fact, INSTEAD, "{{doubts.text}}", "fact of why"),
    ],
)
@virtual
async def test_what_fails_may_be_absent_or_have_a_stand_in(
    handler: Any, if_fails: str, doubts: str, said: str
) -> None:
    listeners = {"facts": fact, "doubts": handler}
    assert await asked(together(if_fails, doubts), listeners) == Report("fact of why", said)


@pytest.mark.parametrize("code", ["budget", "limit", "interrupted"])
@virtual
async def test_no_flow_goes_on_after_what_ends_all(code: Any) -> None:
    def out(payload: Any, _: HandlerMetadata) -> Any:
        return SystemError(code, "enough")

    with pytest.raises(AnswerError, match="enough") as caught:
        await asked(together(ABSENT, NONE), {"facts": slow, "doubts": out})
    assert caught.value.code == code


@virtual
async def test_what_is_late_is_an_error_of_its_own() -> None:
    with pytest.raises(AnswerError, match="no answer in time") as caught:
        await asked(together(), {"facts": fact, "doubts": slow})
    assert caught.value.code == "timeout"


CHOOSE = """
- {call: triage, as: triage, send: "{{input}}"}
- choose: triage.kind
  ways:
    billing: [{delegate: billing, send: "{{input}}"}]
    technical: []
    other: [{answer: {Report: {text: "nobody's: {{input.text}}"}}}]
- choose: triage.sure
  ways:
    "true": [{call: facts, as: fact, send: {Task: {text: sure}}}]
    "false": [{call: facts, as: fact, send: {Task: {text: "level {{triage.level}}"}}}]
- answer: {Report: {text: "{{fact.text}}"}}
"""


@pytest.mark.parametrize(
    ("triage", "report"),
    [
        (Triage("billing"), Report("billed: why")),
        (Triage("other"), Report("nobody's: why")),
        (Triage("technical"), Report("fact of sure")),
        (Triage("technical", sure=False, level=3), Report("fact of level 3")),
    ],
)
@virtual
async def test_a_declared_word_or_a_boolean_chooses(triage: Triage, report: Report) -> None:
    listeners = {
        "triage": lambda payload, _: triage,
        "billing": lambda payload, _: Report(f"billed: {payload.text}"),
        "facts": fact,
    }
    assert await asked(CHOOSE, listeners) == report


BY_CLASS = """
- {call: either, as: it, send: {Task: {text: x}}, if_fails: absent}
- choose: it
  ways:
    Answer: [{answer: {Report: {text: "{{it.text}}"}}}]
    Triage: [{answer: {Report: {text: "{{it.kind}}"}}}]
    absent: [{answer: {Report: {text: nothing}}}]
"""


@pytest.mark.parametrize(
    ("answer", "text"), [(Answer("said"), "said"), (Triage("other"), "other"), (None, "nothing")]
)
@virtual
async def test_a_class_chooses_and_its_fields_are_known_on_its_way(answer: Any, text: str) -> None:
    assert await asked(BY_CLASS, {"either": lambda payload, _: answer}) == Report(text)


REPEAT = """
- {call: writer, as: draft, send: {Task: {text: "{{input.text}}"}}}
- repeat:
    - {call: triage, as: verdict, send: {Question: {text: "{{draft.text}}"}}}
    - {call: writer, as: draft, send: "{{draft}}"}
  until: {verdict.sure: true}
  at_most: 3
  otherwise: OTHERWISE
- answer: {Report: {text: "{{draft.text}}", notes: ["{{verdict.kind}}"]}}
"""


def writes(payload: Any, _: HandlerMetadata) -> Draft:
    return Draft(f"{payload.text}+")


@pytest.mark.parametrize(("rounds", "text"), [(1, "why+"), (2, "why++"), (3, "why+++")])
@virtual
async def test_repeat_ends_directly_after_the_step_that_makes_it_so(rounds: int, text: str) -> None:
    seen: list[str] = []

    def judges(payload: Question, _: HandlerMetadata) -> Triage:
        seen.append(payload.text)
        return Triage("other", sure=len(seen) == rounds)

    found = await asked(REPEAT.replace("OTHERWISE", "fail"), {"writer": writes, "triage": judges})
    assert found == Report(text, notes=["other"])
    assert len(seen) == rounds


@virtual
async def test_after_the_last_round_a_flow_fails_or_goes_on() -> None:
    listeners = {"writer": writes, "triage": lambda payload, _: Triage("other", sure=False)}
    assert await asked(REPEAT.replace("OTHERWISE", "go_on"), listeners) == Report("why++++", notes=["other"])
    with pytest.raises(AnswerError, match=r"after 3 rounds 'verdict\.sure' is not True") as caught:
        await asked(REPEAT.replace("OTHERWISE", "fail"), listeners)
    assert caught.value.code == "limit"


EACH = """
- {call: writer, as: draft, send: {Task: {text: "{{input.text}}"}}}
- {call: facts, as: notes, for_each: place, of: "{{draft.places}}", at_once: 3, max_items: 20,
   send: {Task: {text: "{{place}}"}}IF}
- answer: {Report: {text: "{{draft.text}}", notes: "{{notes.text}}"}}
"""


@pytest.mark.parametrize("count", [0, 1, 20])
@virtual
async def test_each_item_is_sent_a_few_at_once_and_answers_come_in_their_order(count: int) -> None:
    open_ = most = 0

    async def looks(payload: Task, _: HandlerMetadata) -> Answer:
        nonlocal open_, most
        open_ += 1
        most = max(most, open_)
        await asyncio.sleep(100 - int(payload.text))
        open_ -= 1
        return Answer(f"seen {payload.text}")

    listeners = {"writer": lambda payload, _: Draft("d", [str(n) for n in range(count)]), "facts": looks}
    found = await asked(EACH.replace("IF", ""), listeners)
    assert found == Report("d", notes=[f"seen {n}" for n in range(count)])
    assert most == min(3, count)


@virtual
async def test_items_that_fail_are_left_out_or_stood_for() -> None:
    def looks(payload: Task, _: HandlerMetadata) -> Answer:
        if payload.text == "1":
            raise TaskFailed("handler", "not there")
        return Answer(payload.text)

    listeners = {"writer": lambda payload, _: Draft("d", ["0", "1", "2"]), "facts": looks}
    found = await asked(EACH.replace("IF", ABSENT), listeners)
    assert found.notes == ["0", "2"]
    instead = EACH.replace("IF", ', if_fails: {Answer: {text: "no {{place}}"}}')
    assert (await asked(instead, listeners)).notes == ["0", "no 1", "2"]
    with pytest.raises(AnswerError, match="not there"):
        await asked(EACH.replace("IF", ""), listeners)


@virtual
async def test_a_list_that_is_too_long_ends_the_flow() -> None:
    listeners = {"writer": lambda payload, _: Draft("d", ["x"] * 21), "facts": fact}
    with pytest.raises(AnswerError, match="21 items; at most 20") as caught:
        await asked(EACH.replace("IF", ABSENT), listeners)
    assert caught.value.code == "limit"


@virtual
async def test_calls_beside_each_other_have_sessions_of_their_own_and_later_ones_share_one() -> None:
    sessions: dict[str, set[str]] = {"facts": set(), "doubts": set()}

    def looks(payload: Task, metadata: HandlerMetadata) -> Answer:
        sessions["facts"].add(metadata.session_id)
        return Answer(payload.text)

    await asked(SEQUENCE, {"facts": looks})
    assert len(sessions["facts"]) == 1
    sessions["facts"].clear()
    await asked(EACH.replace("IF", ""), {"writer": lambda p, _: Draft("d", ["0", "1", "2"]), "facts": looks})
    assert len(sessions["facts"]) == 3


@virtual
async def test_an_answer_that_breaks_a_bound_is_an_error_that_says_which() -> None:
    long = {"facts": fact, "doubts": lambda payload, _: Answer("x" * 41)}
    with pytest.raises(AnswerError, match="too long") as caught:
        await asked(together(), long)
    assert caught.value.code == "validation"


@virtual
async def test_a_hand_over_is_the_callers_answer_and_has_its_bound() -> None:
    text = '[{delegate: billing, send: "{{input}}"}]'
    listeners = {"billing": lambda payload, _: Report("billed")}
    assert await asked(text, listeners) == Report("billed")
    built = organism(text, listeners, limits=ConversationLimits(handovers=1))
    async with built:
        assert await built.ask("flow", Question("x")) == Report("billed")


@virtual
async def test_a_thousand_items_with_a_thousand_characters_stay_small_in_the_state() -> None:
    sizes: list[int] = []
    text = (
        EACH.replace("IF", "")
        .replace("max_items: 20", "max_items: 1000")
        .replace("at_once: 3", "at_once: 50")
    )
    listeners = {
        "writer": lambda payload, _: Draft("d", ["x" * 1000] * 1000),
        "facts": lambda payload, _: Answer("y"),
    }
    built = organism(text, listeners)
    built.add_hook(lambda event: sizes.append(event.size) if hasattr(event, "digest") else None)
    async with built:
        assert (await built.ask("flow", Question("x"))).notes == ["y"] * 1000
    assert max(sizes) < 120_000
