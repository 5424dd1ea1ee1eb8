"""A case is played offline: models, people and stand-ins say their lines, and every difference is told."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.cases.desk import ORGANISM, desk, play, project
from tests.console.processes import ROOT
from xml_pipeline.cases import Outcome, played
from xml_pipeline.config import load

REFUND = "to: clerk, send: Refund order 17."
ASKS = "clerk: [{call: anna, with: May I}, {reply: No refund.}]"
ANNA = "anna: {answer: No.}"


def good(outcome: Outcome) -> Outcome:
    assert outcome.passed, "\n".join((*outcome.problems, *outcome.trace))
    return outcome


@pytest.mark.parametrize(
    "case",
    [
        f"{REFUND}, script: {{{ASKS}, {ANNA}}}",
        f"{REFUND}, script: {{{ASKS}, {ANNA}}}, "
        " expect: {answer: No refund., calls: [clerk, anna], never: [charge]}",
        f"{REFUND}, script: {{{ASKS}, {ANNA}}}, expect: {{answer: {{Answer: {{text: {{contains: refund}}}}}}}}",
        f"{REFUND}, script: {{{ASKS}, {ANNA}}}, expect: {{answer: {{Answer: {{text: {{matches: '^No .*\\.$'}}}}}}}}",
        "to: triage, send: {Ticket: {text: Wrong invoice}}, script: {triage: {answer: {Triage: {kind: billing}}}},"
        " expect: {answer: {Triage: {kind: billing, note: null}}}",
        "to: triage, send: {Ticket: {text: hi}}, script: {triage: {answer: {Triage: {kind: other, parts: [{name: a,"
        " price: 1.50}]}}}}, expect: {answer: {Triage: {parts: [{price: 1.5}]}}}",
        "to: double, send: {Sum: {cents: 4}}, expect: {answer: {Sum: {cents: 8}}, calls: [double]}",
        "to: heavy, send: {Sum: {cents: 4}}, expect: {answer: {Sum: {cents: 8}}}",
        "to: sleeper, send: {Sum: {cents: 3000}}, expect: {answer: {Sum: {cents: 3000}}}",
        "to: plain, send: {Sum: {cents: 4}}, script: {plain: {answer: {Receipt: {id: x}}}},"
        " expect: {answer: {Receipt: {id: x}}}",
        "to: think, send: {Sum: {cents: 4}}, script: {think: {match: '^4', reply: deep}},"
        " expect: {answer: {Receipt: {id: deep}}}",
        "to: think_sync, send: {Sum: {cents: 4}}, script: {think_sync: {reply: deep}},"
        " expect: {answer: {Receipt: {id: deep}}}",
        "to: charge, send: {Sum: {cents: 4}}, script: {charge: {fail: {code: limit, message: enough}}},"
        " expect: {error: {code: limit, message: enough}}",
        "to: triage, send: {Ticket: {text: hi}}, script: {triage: {fail: {code: timeout}}},"
        " expect: {error: {code: timeout, message: {contains: no model answered}}}",
        "to: triage, send: {Ticket: {text: hi}}, script: {triage: [{reply: Which one},"
        " {answer: {Triage: {kind: other}}}]}",
        "to: clerk, send: '$${HOME} is {{text}}', script: {clerk: {match: '^\\$\\{HOME\\} is \\{\\{', reply: ok}}",
        "to: clerk, send: hi, script: {clerk: {reply: ok}, anna: {answer: x, times: any}}",
        "to: clerk, send: hi, script: {clerk: [{call: anna, with: a, times: 2}, {reply: ok}],"
        " anna: {answer: x, times: 2}}",
    ],
)  # fmt: skip
def test_what_is_as_expected_passes(case: str, tmp_path: Path) -> None:
    good(play(tmp_path, case))


@pytest.mark.parametrize(
    ("case", "problem"),
    [
        (f"{REFUND}, script: {{clerk: {{reply: 'No.'}}}}, expect: {{answer: Yes.}}",
         "answer.Answer.text\n  expected  Yes.\n  came      No."),
        (f"{REFUND}, script: {{clerk: {{reply: 'No.'}}}}, "
         "expect: {answer: {Answer: {text: {contains: Yes}}}}",
         "answer.Answer.text\n  expected  contains 'Yes'\n  came      No."),
        (f"{REFUND}, script: {{clerk: {{reply: 'No.'}}}}, expect: {{error: {{code: budget}}}}",
         "error\n  expected  budget\n  came      Answer {text: No.}"),
        (f"{REFUND}, script: {{clerk: {{fail: {{}}}}}}",
         "answer\n  expected  an answer that is no error\n  came      error:"),
        (f"{REFUND}, script: {{clerk: {{fail: {{}}}}}}, expect: {{error: {{code: timeout}}}}",
         "error.code\n  expected  timeout\n  came      handler: no model answered: "),
        (f"{REFUND}, script: {{clerk: {{reply: 'No.'}}}}, expect: {{calls: [clerk, anna]}}",
         "calls: 'anna' is missing, or comes too early\n  expected  clerk, anna\n  came      clerk"),
        (f"{REFUND}, script: {{{ASKS}, {ANNA}}}, expect: {{never: [anna]}}", "never: 'anna' was called"),
        (f"{REFUND}, script: {{{ASKS}, {ANNA}}}, expect: {{tokens_at_most: 3}}", "tokens_at_most: 3, and there "),
        (f"{REFUND}, script: {{{ASKS}, {ANNA}}}, expect: {{usd_at_most: 0.01}}", "usd_at_most: 0.01, and it cost "),
        ("to: triage, send: {Ticket: {text: hi}}, script: {triage: {answer:"
         " {Triage: {kind: other, parts: [{name: a}]}}}},"
         " expect: {answer: {Triage: {parts: []}}}",
         "answer.Triage.parts\n  expected  []\n  came      [{name: a, price: 0}]"),
    ],
)  # fmt: skip
def test_what_is_not_as_expected_is_told_as_a_difference(case: str, problem: str, tmp_path: Path) -> None:
    outcome = play(tmp_path, case)
    assert len(outcome.problems) == 1
    assert outcome.problems[0].startswith(problem)
    assert outcome.trace[0].startswith("outside → ")


@pytest.mark.parametrize(
    ("case", "problem"),
    [
        (REFUND, "the model of 'clerk' was asked, and the script says nothing for it. It was asked: Refund"),
        (f"{REFUND}, script: {{{ASKS}}}", "'anna', a person, was asked, and the script says nothing for it."),
        (f"{REFUND}, script: {{clerk: [{{call: anna, with: a}}], {ANNA}}}",
         "the model of 'clerk' was asked, and no line of it is left. It was asked: No."),
        (f"{REFUND}, script: {{clerk: [{{match: tides, reply: a}}]}}",
         "the model of 'clerk' was asked, and no line that is left fits (match: tides)"),
        (f"{REFUND}, script: {{clerk: [{{reply: a}}, {{reply: b}}]}}", "script.clerk[1] was not said: reply: b"),
        (f"{REFUND}, script: {{clerk: {{reply: a}}, anna: {{answer: b, times: 3}}}}",
         "script.anna[0] was not said (0 of 3 times): answer: b"),
        (f"{REFUND}, script: {{clerk: [{{call: charge, with: {{Sum: {{cents: 3}}}}}}]}}",
         "'charge' has effects: once and was called; in a test it is not run. Write what it answers:"),
        ("to: plain, send: {Sum: {cents: 4}}, script: {plain: {answer: {Reciept: {id: x}}}}",
         "the class Reciept that the script answers for 'plain' is not known: say there what it answers"),
        ("to: plain, send: {Sum: {cents: 4}}, script: {plain: {answer: {Receipt: {idd: x}}}}",
         "what the script answers for 'plain' is not valid: "),
    ],
)  # fmt: skip
def test_what_is_missing_in_a_script_or_left_over_fails_the_case(
    case: str, problem: str, tmp_path: Path
) -> None:
    outcome = play(tmp_path, case)
    assert outcome.problems
    assert outcome.problems[0].startswith(problem)


def test_effects_are_not_done_and_other_handlers_are(tmp_path: Path) -> None:
    both = ", ".join(f"{{call: {name}, with: {{Sum: {{cents: 3}}}}}}" for name in ("charge", "double"))
    calls = f"clerk: [{{calls: [{both}]}}, {{reply: ok}}]"
    outcome = good(
        play(tmp_path, f"{REFUND}, script: {{{calls}, charge: {{answer: {{Receipt: {{id: x}}}}}}}}")
    )
    hands = next(module for name, module in list(sys.modules.items()) if name.split(".")[-1] == "hands")
    assert hands.log == [3]
    assert "charge → " not in "".join(outcome.trace[:1])
    assert any("Receipt id: x" in said and "Sum cents: 6" in said for said in outcome.trace)


def test_no_connection_is_opened(tmp_path: Path) -> None:
    outcome = play(tmp_path, "to: dials, send: {Sum: {cents: 4}}")
    assert any("there is no network in a test" in said for said in outcome.trace)


def test_it_costs_what_the_prices_of_the_file_say(tmp_path: Path) -> None:
    outcome = good(play(tmp_path, f"{REFUND}, script: {{clerk: {{reply: a}}}}"))
    assert outcome.usd is not None
    assert outcome.tokens - 1 == round(
        outcome.usd
    )  # a USD a token that goes in, and nothing for the one that comes out


def test_nothing_is_written_down_and_no_key_is_needed(tmp_path: Path) -> None:
    organism = ORGANISM.replace("name: refunds,", "name: refunds, journal: state.db,")
    case = "tests: [{name: it, to: clerk, send: hi, script: {clerk: {reply: ok}}}]\n"
    config = load(project(tmp_path, case, organism), environ={})
    good(played(config, config.tests[0]))
    left = {path.name for path in tmp_path.iterdir()} - {"__pycache__"}
    assert left == {"hands.py", "organism.yaml"}


def test_the_case_of_the_guide_passes(tmp_path: Path) -> None:
    guide = (ROOT / "docs" / "guides" / "testing.md").read_text()
    organism = ORGANISM.replace("anna", "supervisor")
    cases = guide.partition("```yaml\n")[2].partition("```")[0]
    config = load(project(tmp_path, cases, organism), environ={})
    good(played(config, config.tests[0]))


def test_a_case_says_the_same_every_time(tmp_path: Path) -> None:
    config = desk(tmp_path, f"{REFUND}, script: {{{ASKS}, {ANNA}}}, expect: {{answer: Yes.}}")
    assert played(config, config.tests[0]) == played(config, config.tests[0])
