"""Mistakes in flows, each told once, where it stands, before anything runs."""

from __future__ import annotations

from typing import Any

import pytest

from tests.flows.world import Question, Report, Triage, reading
from xml_pipeline.agents import Answer
from xml_pipeline.flows import told

END = '\n- answer: {Report: {text: "{{input.text}}"}}'
FACT = '{call: facts, as: fact, send: {Task: {text: "{{input.text}}"}}'
TRIAGE = '- {call: triage, as: triage, send: "{{input}}"}\n'


def test_what_a_flow_names_is_what_it_may_do() -> None:
    found = reading(
        TRIAGE
        + '- choose: triage.sure\n  ways:\n    "true": [{delegate: billing, send: "{{input}}"}]\n    "false": []\n'
        + f"- {FACT}}}{END}"
    )
    assert found.mistakes == []
    assert found.flow is not None
    assert found.flow.answers == (Report,)
    assert found.flow.calls == ("triage", "facts")
    assert found.flow.hands_over_to == ("billing",)
    assert found.flow.always == {"triage"}


@pytest.mark.parametrize(
    ("text", "path", "said"),
    [
        ("[]", (), "does not end"),
        (f"[{FACT}}}]", (), "does not end"),
        (END + END, (1,), "never reached"),
        ("[{}]" + "", (0,), "says nothing to do"),
        ("[{call: facts, delegate: facts}]", (0,), "exactly one of"),
        (f"- {FACT}, ways: {{}}}}{END}", (0, "ways"), "does not go with `call`"),
        (f"- {FACT}, at_most: 3}}{END}", (0, "at_most"), "does not go with `call`"),
        ("[{delegate: billing, send: '{{input}}', as: x}]", (0, "as"), "does not go with `delegate`"),
        ("- {call: fcats, send: {Task: {text: x}}}" + END, (0, "call"), "did you mean 'facts'"),
        (
            "- {call: silent, as: x, send: {Task: {text: x}}}" + END,
            (0, "call"),
            "is not known; say it with `answers:`",
        ),
        ("- {call: facts}" + END, (0,), "needs `send`"),
        ("- {call: facts, send: {Question: {text: x}}}" + END, (0, "send", "Question"), "it takes Task"),
        ("- {call: facts, send: {Task: {txt: x}}}" + END, (0, "send", "Task", "txt"), "did you mean 'text'"),
        ("- {call: facts, send: {Task: {}}}" + END, (0, "send", "Task"), "`text` of Task is missing"),
        (
            "- {call: facts, send: {Task: {text: x}, Draft: {text: x}}}" + END,
            (0, "send"),
            "must be one class",
        ),
        ("- {call: facts, send: '{{input}}'}" + END, (0, "send"), "is Question; it takes Task"),
        ("- {call: facts, send: '{{input.text}}'}" + END, (0, "send"), "is a text; a message is needed"),
        ("- {call: facts, send: 'a {{input.text}}'}" + END, (0, "send"), "one whole reference"),
        (
            "- {call: facts, send: {Task: {text: '{{other.text}}'}}}" + END,
            (0, "send", "Task", "text"),
            "names here are input",
        ),
        (f"- {FACT.replace('as: fact', 'as: Fact')}}}{END}", (0, "as"), "is no name"),
        (f"- {FACT.replace('as: fact', 'as: input')}}}{END}", (0, "as"), "meaning of its own"),
        (f"- {FACT.replace('as: fact', 'as: class')}}}{END}", (0, "as"), "is no name"),
        (f"- {FACT}}}\n- {FACT}}}{END}", (1, "as"), "bound already"),
        (f"- together: [{FACT}}}, {FACT}}}]{END}", (0, "together", 1, "as"), "another call of this step"),
        (
            f"- together: [{FACT}}}, {{call: facts, send: {{Task: {{text: '{{{{fact.text}}}}'}}}}}}]{END}",
            (0, "together", 1, "send", "Task", "text"),
            "no 'fact' here",
        ),
        (
            f"- together: [{{delegate: billing, send: '{{{{input}}}}'}}]{END}",
            (0, "together", 0),
            "holds calls",
        ),
        (f"- together: []{END}", (0, "together"), "has no calls"),
        (f"- {FACT}, if_fails: nothing}}{END}", (0, "if_fails"), "allowed: absent"),
        (
            f"- {FACT}, if_fails: {{Report: {{text: x}}}}}}{END}",
            (0, "if_fails", "Report"),
            "'facts' answers Answer",
        ),
        (
            f"- {FACT}, if_fails: absent}}\n- answer: {{Report: {{text: '{{{{fact.text}}}}'}}}}",
            (1, "answer", "Report", "text"),
            "may be absent",
        ),
        (f"- {FACT}, of: '{{{{input}}}}'}}{END}", (0, "of"), "goes with `for_each`"),
        (f"- {FACT}, for_each: x}}{END}", (0, "for_each"), "needs `of`"),
        (f"- {FACT}, for_each: x, of: '{{{{input.text}}}}'}}{END}", (0, "of"), "a list is needed"),
        (
            f"- {FACT}, for_each: x, of: '{{{{nobody}}}}'}}{END}",
            (0, "of"),
            "no 'nobody' here",
        ),
        (
            TRIAGE + "- choose: triage.kind\n" + "  ways: {billing: [], technical: []}" + END,
            (1, "ways"),
            "other has no way",
        ),
        (
            TRIAGE + "- choose: triage.kind\n  ways: {billing: [], technical: [], othr: [], other: []}" + END,
            (1, "ways", "othr"),
            "did you mean 'other'",
        ),
        (TRIAGE + "- choose: triage.sure\n  ways: {'true': []}" + END, (1, "ways"), "false has no way"),
        (
            TRIAGE + "- choose: triage.level\n  ways: {}" + END,
            (1, "choose"),
            "declared words, true and false, or classes",
        ),
        (TRIAGE + "- choose: triage\n  ways: {}" + END, (1, "choose"), "only one class"),
        (TRIAGE + "- choose: triage.kind" + END, (1, "choose"), "needs `ways`"),
        (TRIAGE + "- choose: triage.knd\n  ways: {}" + END, (1, "choose"), "did you mean 'kind'"),
        (
            TRIAGE + f"- choose: triage.sure\n  ways:\n    'true': [{FACT}}}]\n    'false': []\n"
            "- answer: {Report: {text: '{{fact.text}}'}}",
            (2, "answer", "Report", "text"),
            "no 'fact' here",
        ),
        (
            "- {call: either, as: it, send: {Task: {text: x}}}\n- answer: {Report: {text: '{{it.text}}'}}",
            (1, "answer", "Report", "text"),
            "tells them apart",
        ),
        (f"- repeat: [{FACT}}}]\n  at_most: 2{END}", (0,), "needs `until"),
        (f"- repeat: [{FACT}}}]\n  until: {{fact.text: x}}{END}", (0,), "needs `at_most`"),
        (f"- repeat: []\n  at_most: 2\n  until: {{input.text: x}}{END}", (0, "repeat"), "has no steps"),
        (
            f"- repeat: [{FACT}}}]\n  at_most: 2\n  until: {{input.text: x}}{END}",
            (0, "until", "input.text"),
            "never changes",
        ),
        (
            f"- repeat: [{FACT}}}]\n  at_most: 2\n  until: {{fact: x}}{END}",
            (0, "until", "fact"),
            "one value of a field",
        ),
        (
            f"- repeat: [{TRIAGE[2:].strip()}]\n  at_most: 2\n  until: {{triage.kind: sales}}{END}",
            (0, "until", "triage.kind"),
            "none of the values",
        ),
        (
            f"- repeat: [{{answer: {{Report: {{text: x}}}}}}]\n  at_most: 2\n  until: {{fact.text: x}}{END}",
            (0, "repeat", 0),
            "cannot be inside `repeat`",
        ),
        ("- answer: {Reprot: {text: x}}", (0, "answer", "Reprot"), "did you mean 'Report'"),
        ("- answer: '{{input.text}}'", (0, "answer"), "a message is needed"),
        ("- {delegate: silent, send: {Task: {text: x}}}", (0, "delegate"), "is not known"),
        (
            "- {delegate: billing, send: {Question: {text: '{{input.text'}}}",
            (0, "send", "Question", "text"),
            "never closed",
        ),
    ],
)
def test_a_mistake_is_told_once_where_it_stands(text: str, path: tuple[Any, ...], said: str) -> None:
    found = reading(text)
    assert [(each.path, said in each.message) for each in found.mistakes] == [(path, True)], found.mistakes
    assert found.flow is None


def test_a_name_that_an_early_end_of_repeat_leaves_out_is_not_known_after_it() -> None:
    text = (
        "- repeat:\n"
        "    - {call: triage, as: verdict, send: '{{input}}'}\n"
        "    - {call: facts, as: fact, send: {Task: {text: x}}}\n"
        "  until: {verdict.sure: true}\n  at_most: 2\n  otherwise: go_on\n"
        "- answer: {Report: {text: '{{WHAT}}'}}"
    )
    assert reading(text.replace("WHAT", "verdict.kind")).mistakes == []
    (mistake,) = reading(text.replace("WHAT", "fact.text")).mistakes
    assert "no 'fact' here" in mistake.message


def test_only_repeat_binds_again_and_with_the_same_class() -> None:
    text = (
        "- {call: facts, as: it, send: {Task: {text: x}}}\n"
        "- repeat:\n"
        "    - {call: WHO, as: it, send: SEND}\n"
        "    - {call: triage, as: verdict, send: '{{input}}'}\n"
        "  until: {verdict.sure: true}\n  at_most: 2\n"
        "- answer: {Report: {text: x}}"
    )
    assert (
        reading(text.replace("WHO", "doubts").replace("SEND", "{Task: {text: '{{it.text}}'}}")).mistakes == []
    )
    (mistake,) = reading(text.replace("WHO", "triage").replace("SEND", "'{{input}}'")).mistakes
    assert "was Answer and would be Triage" in mistake.message


def test_a_flow_answers_what_it_declares_and_nothing_else() -> None:
    text = TRIAGE + "- choose: triage.sure\n  ways:\n    'true': [{answer: '{{triage}}'}]\n"
    text += "    'false': [{delegate: billing, send: '{{input}}'}]"
    assert reading(text).flow.answers == (Triage, Report)  # type: ignore[union-attr]
    assert reading(text, answers=(Report, Triage)).mistakes == []
    (one,) = reading(text, answers=(Report,)).mistakes
    assert one.path == (1, "ways", "true", 0, "answer")
    assert "answers Report" in one.message
    (other,) = reading(text, answers=(Triage,)).mistakes
    assert other.path == (1, "ways", "false", 0, "delegate")
    (third,) = reading("- answer: {Report: {text: x}}", answers=(Answer,)).mistakes
    assert third.path == (0, "answer", "Report")


def test_a_task_of_several_classes_is_told_apart_first() -> None:
    text = "- choose: input\n  ways:\n    Question: [{answer: {Report: {text: '{{input.text}}'}}}]\n"
    text += "    Triage: [{answer: {Report: {text: '{{input.kind}}'}}}]"
    assert reading(text, accepts=(Question, Triage)).mistakes == []


def test_a_flow_is_bounded() -> None:
    deep = "answer: {Report: {text: x}}"
    for _ in range(14):
        deep = f"choose: input.deep, ways: {{'true': [{{{deep}}}], 'false': [{{answer: {{Report: {{text: x}}}}}}]}}"
    assert any("deeper than 12" in each.message for each in reading(f"- {{{deep}}}").mistakes)
    many = reading("\n".join(["- {call: facts, send: {Task: {text: x}}}"] * 501) + END)
    assert any("at most 500" in each.message for each in many.mistakes)


def test_a_flow_is_told_in_words() -> None:
    flow = reading(
        "- together:\n"
        "    - {call: facts, as: fact, send: {Task: {text: x}}, if_fails: absent}\n"
        "    - {call: writer, as: draft, send: {Task: {text: x}}}\n"
        "- repeat:\n"
        "    - {call: triage, as: verdict, send: '{{input}}'}\n"
        "  until: {verdict.kind: other}\n  at_most: 3\n  otherwise: go_on\n"
        "- {call: facts, as: notes, for_each: place, of: '{{draft.places}}', send: {Task: {text: '{{place}}'}}}\n"
        "- choose: verdict.sure\n  ways:\n    'true': [{delegate: billing, send: '{{input}}'}]\n    'false': []\n"
        "- answer: {Report: {text: x}}"
    ).flow
    assert flow is not None
    assert told(flow) == [
        "1. together: facts as fact, or nothing; writer as draft",
        "2. repeat until verdict.kind is 'other', at most 3 times, then it goes on:",
        "   1. triage as verdict",
        "3. facts as notes for each place of draft.places",
        "4. choose by verdict.sure:",
        "   true:",
        "     1. hand over to billing: input",
        "   false: goes on",
        "5. answer: Report",
    ]
