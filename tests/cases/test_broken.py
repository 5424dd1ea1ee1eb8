"""What is wrong with `tests:` is told once, with its place and how to mend it, before anything runs."""

from __future__ import annotations

import random
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.cases.desk import project
from tests.config.projects import only, problems_in, problems_of, write
from tests.config.test_hostile import VALUES, outcome, places_of
from xml_pipeline.config import load
from xml_pipeline.errors import ConfigError

HEAD = """\
organism: {name: demo}
payloads:
  Ticket: {fields: {text: text, order: {type: integer, min: 1, default: 1}}}
  Triage: {fields: {kind: [billing, other], note: {type: text, optional: true}, parts: {list: Part, default: []}}}
  Part: {fields: {name: {type: text, max_length: 3}, of: {any_of: [Part, Ticket], optional: true}}}
listeners:
  - {name: triage, agent: true, model: m, accepts: Ticket, answers: Triage, peers: [anna]}
  - {name: clerk, agent: true, model: m, peers: [anna, triage]}
  - {name: anna, human: true}
tests:
"""
LINE = HEAD.count("\n") + 2


def case(rest: str, *, to: str = "clerk", send: str = "hi") -> str:
    """A case, what is tested in its second line."""
    return f"{HEAD}  - {{name: one, to: {to}, send: {send},\n{rest}}}\n"


def answers(expected: str) -> str:
    return case(f"expect: {{answer: {expected}}}", to="triage", send="{Ticket: {text: a}}")


MISTAKES = [
    (HEAD + "  - {to: clerk, send: hi}\n", LINE - 1, 5, "`name` is missing"),
    (HEAD + "  - {name: a, send: hi}\n", LINE - 1, 5, "`to` is missing"),
    (HEAD + "  - {name: a, to: clerk}\n", LINE - 1, 5, "`send` is missing"),
    (HEAD + "  - {name: a, to: clerk, send: hi}\n  - {name: a, to: clerk, send: hi}\n", LINE, 12,
     "there is another case 'a' (organism.yaml, line 11); name each once"),
    (HEAD.replace("tests:\n", "tests: {a: b}\n"), LINE - 2, 8, "must be a list, not a mapping"),
    (case("expct: {}"), LINE, 1, "`expct` is no key here; did you mean 'expect'?"),
    (HEAD + "  - {name: a, to: clark, send: hi}\n", LINE - 1, 19,
     "there is no listener 'clark'; did you mean 'clerk'?; listeners are: anna, clerk, triage"),
    (HEAD + "  - {name: a, to: triage, send: hi}\n", LINE - 1, 33,
     "is a text, which is short for `{Task: {text: …}}`, and 'triage' takes Ticket; write `{Ticket: {…}}`"),
    (HEAD + "  - {name: a, to: triage, send: {Tiket: {text: a}}}\n", LINE - 1, 34,
     "is not what 'triage' takes; did you mean 'Ticket'?; 'triage' takes Ticket"),
    (HEAD + "  - {name: a, to: triage, send: {text: a}}\n", LINE - 1, 34, "write `{Ticket: {text: …}}`"),
    (HEAD + "  - {name: a, to: triage, send: {Ticket: a}}\n", LINE - 1, 42,
     "must be a mapping with the fields of Ticket, not 'a'"),
    (HEAD + "  - {name: a, to: triage, send: {Ticket: {txt: a}}}\n", LINE - 1, 43,
     "is no field; did you mean 'text'?; fields are: text, order"),
    (HEAD + "  - {name: a, to: triage, send: {Ticket: {order: 2}}}\n", LINE - 1, 34, "Ticket.text is missing"),
    (HEAD + "  - {name: a, to: triage, send: {Ticket: {text: a, order: 0}}}\n", LINE - 1, 59,
     "too small; allowed: >= 1"),
    (HEAD + "  - {name: a, to: triage, send: {Ticket: {text: a}, Task: {text: b}}}\n", LINE - 1, 33,
     "must be one message, `{Class: {field: value}}`, or a text, not 2 keys"),
    (HEAD + "  - {name: a, to: clerk, send: 5}\n", LINE - 1, 32, "or a text, not 5"),
    (HEAD + "  - {name: a, to: clerk, send: '${HOME}'}\n", LINE - 1, 32,
     "holds a variable; a test says the same everywhere"),
    (case("script: {clark: {reply: a}}"), LINE, 10, "there is no listener 'clark'; did you mean 'clerk'?"),
    (case("script: {clerk: []}"), LINE, 17, "says nothing; write its lines"),
    (case("script: {clerk: {times: 2}}"), LINE, 17,
     "says nothing; a line is one of `reply`, `call`, `calls`, `answer`"),
    (case("script: {clerk: {reply: a, answer: b}}"), LINE, 17, "has `reply` and `answer`; keep one of them"),
    (case("script: {clerk: {replay: a}}"), LINE, 18, "`replay` is no key here; did you mean 'reply'?"),
    (case("script: {anna: {reply: a}}"), LINE, 17, "'anna' is a person, who has no model and does not fail"),
    (case("script: {anna: {fail: {}}}"), LINE, 17, "a person's lines are `answer: …`"),
    (case("script: {anna: {answer: {Triage: {kind: other}}}}"), LINE, 26,
     "is not what 'anna' answers; 'anna' answers Answer"),
    (case("script: {triage: {answer: {Triage: {kind: spam}}}}"), LINE, 43,
     "Triage.kind is none of the values; allowed: billing, other"),
    (case("script: {triage: {answer: fine}}"), LINE, 27, "and 'triage' answers Triage"),
    (case("script: {clerk: {fail: {code: budget}}}"), LINE, 31, "for an agent write `handler` or `timeout`"),
    (case("script: {clerk: {fail: {code: broken}}}"), LINE, 31, "must be 'routing', 'validation'"),
    (case("script: {clerk: {call: ana, with: a}}"), LINE, 24, "there is no listener 'ana'; did you mean 'anna'?"),
    (case("script: {triage: {call: clerk, with: a}}"), LINE, 25,
     "'clerk' is no peer of 'triage', so its model cannot call it; its peers are: anna"),
    (case("script: {clerk: {call: anna}}"), LINE, 17, "`with` is missing: what 'anna' is asked"),
    (case("script: {clerk: {call: triage, with: a}}"), LINE, 38, "and 'triage' takes Ticket; write `{Ticket: {…}}`"),
    (case("script: {clerk: {calls: [{call: anna, with: {Task: {txt: a}}}]}}"), LINE, 53, "did you mean 'text'?"),
    (case("script: {clerk: {reply: a, with: b}}"), LINE, 28, "goes with `call`"),
    (case("script: {clerk: {reply: a, match: '('}}"), LINE, 35, "is no regular expression: missing )"),
    (case("script: {clerk: {reply: a, times: 0}}"), LINE, 35, "must be a whole number from 1, or `any`, not 0"),
    (case("expect: {answer: a, error: {code: huh}}"), LINE, 21,
     "stands beside `answer`, and only one of the two comes"),
    (case("expect: {error: {code: hu}}"), LINE, 24, "did you mean 'huh'?"),
    (case("expect: {error: {message: a}}"), LINE, 10, "`code` is missing"),
    (case("expect: {error: {code: huh, message: {matches: '['}}}"), LINE, 48, "is no regular expression"),
    (case("expect: {calls: [ana]}"), LINE, 18, "did you mean 'anna'?"),
    (case("expect: {never: [clerk]}"), LINE, 18, "'clerk' is the one that is asked, so it is called"),
    (case("expect: {calls: [anna], never: [anna]}"), LINE, 33, "'anna' stands in `calls` too"),
    (case("expect: {usd_at_most: -1}"), LINE, 23, "must be greater than or equal to 0"),
    (case("expect: {answer: {Triage: {}}}"), LINE, 19, "is not what 'clerk' answers; 'clerk' answers Answer"),
    (answers("{Triage: {kin: other}}"), LINE, 28,
     "Triage has no field `kin`; did you mean 'kind'?; it has kind, note, parts"),
    (answers("{Triage: {kind: spam}}"), LINE, 34, "is none of the values, it is 'spam'; allowed: billing, other"),
    (answers("{Triage: {note: {contain: a}}}"), LINE, 34, "did you mean 'contains'?"),
    (answers("{Triage: {note: {matches: '*'}}}"), LINE, 44, "is no regular expression"),
    (answers("{Triage: {parts: {name: a}}}"), LINE, 35, "must be a list, not a mapping"),
    (answers("{Triage: {parts: [a]}}"), LINE, 36, "must be a mapping with fields of Part, not 'a'"),
    (answers("{Triage: {parts: [{name: abcd}]}}"), LINE, 43, "so it never comes; allowed: "),
    (answers("{Triage: {parts: [{of: {Prt: {}}}]}}"), LINE, 41, "must be one of Part, Ticket with its fields"),
    (answers("{Triage: {parts: [{of: {Ticket: {order: x}}}]}}"), LINE, 58, "is not a whole number, it is 'x'"),
    (case("live: {times: 3, at_least: 4}"), LINE, 28, "is 4, and it runs 3 times"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "line", "column", "message"), MISTAKES, ids=[each[3][:50] for each in MISTAKES]
)
def test_each_mistake_is_told_once_where_it_is(text: str, line: int, column: int, message: str) -> None:
    problem = only(problems_of(text, HOME="/secret"))
    assert message in problem.message
    assert (problem.line, problem.column) == (line, column)
    assert "/secret" not in str(problem)


WITH_MODULES = [
    ("to: charge, send: {Sun: {cents: 1}}", "is not what 'charge' takes; did you mean 'Sum'?"),
    ("to: charge, send: {Sum: {cents: a}}", "Sum.cents is not a whole number"),
    (
        "to: charge, send: {Sum: {cents: 1}}, script: {charge: {answer: {Receit: {id: a}}}}",
        "did you mean 'Receipt'?",
    ),
    (
        "to: charge, send: {Sum: {cents: 1}}, script: {charge: {reply: a}}",
        "has effects: once and is never called in a test",
    ),
    ("to: charge, send: {Sum: {cents: 1}}, script: {charge: {call: anna, with: a}}", "is no built-in agent"),
    (
        "to: think, send: {Sum: {cents: 1}}, script: {think: [{reply: a}, {fail: {}}]}",
        "is both: with `reply` the handler",
    ),
    ("to: clerk, send: a, script: {clerk: {call: charge, with: {Sum: {cent: 1}}}}", "did you mean 'cents'?"),
    ("to: charge, send: {Sum: {cents: 1}}, expect: {answer: {Receipt: {ids: a}}}", "did you mean 'id'?"),
]


@pytest.mark.parametrize(("text", "message"), WITH_MODULES)
def test_classes_of_modules_are_held_too_once_they_are_imported(
    text: str, message: str, tmp_path: Path
) -> None:
    file = project(tmp_path, f"tests: [{{name: it, {text}}}]\n")
    assert message in only(problems_in(file)).message


def test_what_only_modules_tell_is_not_a_mistake_without_them(tmp_path: Path) -> None:
    file = project(tmp_path, "tests: [{name: it, to: charge, send: {Sun: {}}}]\n")
    assert len(load(file, environ={}, imports="nothing").tests) == 1


def test_a_field_of_a_message_may_be_called_token(tmp_path: Path) -> None:
    text = """\
organism: {name: demo}
payloads: {Login: {fields: {token: text}}}
listeners: [{name: anna, human: true, accepts: Login}]
tests: [{name: it, to: anna, send: {Login: {token: abc}}, script: {anna: {answer: a}}}]
"""
    assert load(write(tmp_path, {"organism.yaml": text}), environ={}).tests[0].name == "it"


CASE_FILES = [
    ("", "holds no cases; write `tests:` and a list of them, or the list alone"),
    ("test: []\ntests: []\n", "`test` is no key here; did you mean 'tests'?; keys are: organism, tests"),
    ("tests: {}\n", "holds no cases"),
    ("- {name: a, to: clark, send: a}\n", "there is no listener 'clark'; did you mean 'clerk'?"),
    ("tests:\n- {name: it, to: clerk, send: a}\n", "there is another case 'it'"),
]


@pytest.mark.parametrize(("text", "message"), CASE_FILES)
def test_files_of_cases_are_held_like_the_section(text: str, message: str, tmp_path: Path) -> None:
    file = project(tmp_path, "tests: [{name: it, to: clerk, send: a}]\n")
    beside = tmp_path / "more.test.yaml"
    beside.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(file, environ={}, tests=[beside])
    problem = only(list(caught.value.problems))
    assert message in problem.message
    assert problem.file == str(beside)


WHOLE = f"""{HEAD}\
  - name: one
    to: triage
    send: {{Ticket: {{text: a, order: 2}}}}
    script:
      triage: [{{call: anna, with: a, match: b}}, {{answer: {{Triage: {{kind: other}}}}, times: any}}]
      clerk: {{calls: [{{call: anna, with: {{Task: {{text: a}}}}}}]}}
      anna: {{answer: a}}
    expect:
      answer: {{Triage: {{kind: other, note: {{contains: a}}, parts: [{{name: a, of: {{Part: {{name: b}}}}}}]}}}}
      calls: [anna]
      never: [clerk]
      tokens_at_most: 3
    live: {{times: 3, at_least: 2}}
  - {{name: two, to: clerk, send: a, script: {{clerk: {{fail: {{code: timeout}}}}}},
     expect: {{error: {{code: huh}}}}}}
"""


@given(st.randoms(use_true_random=False), st.lists(VALUES, min_size=1, max_size=3))
def test_whatever_stands_there_is_a_mistake_or_none(choice: random.Random, values: list[Any]) -> None:
    data = yaml.safe_load(WHOLE)
    for value in deepcopy(values):
        container, key = choice.choice(places_of(data)[choice.choice((0, -30)) :])  # mostly in the cases
        if choice.random() < 0.5 or not isinstance(container, dict):
            container[key] = value
        else:
            container[f"{key}x"] = container.pop(key)
    outcome(yaml.safe_dump(data))
