"""`payloads:` declares classes; what is wrong in it is told once, with its place and how to mend it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.config.projects import HANDLERS, config_of, only, problems_in, problems_of, write
from xml_pipeline.agents import Answer, Task
from xml_pipeline.composition import listeners_of
from xml_pipeline.config import load, loads
from xml_pipeline.payload import codec_of
from xml_pipeline.payload.declaring import MOST_CLASSES, MOST_FIELDS

HEAD = "organism: {name: demo}\n"
VALID = (
    HEAD
    + """\
payloads:
  Ticket:
    description: What a customer wrote.
    fields:
      text: {type: text, min_length: 1}
      kind: [billing, technical, other]
      tags: {list: text, default: []}
      answers: {list: Reply, optional: true}
  Reply:
    fields:
      text: text
      ticket: {type: Ticket, optional: true}
listeners:
  - {name: paul, human: true, accepts: Ticket}
  - {name: boss, agent: true, model: m, accepts: [Ticket, Task], answers: Reply}
  - {name: echo, handler: handlers:unannotated, accepts: [Ticket, handlers:Greeting]}
"""
)


def test_listeners_name_declared_classes_beside_those_of_python(tmp_path: Path) -> None:
    config = load(write(tmp_path, {"organism.yaml": VALID, "handlers.py": HANDLERS}), environ={})
    paul, boss, echo = listeners_of(config)
    ticket, reply = config.classes["Ticket"], config.classes["Reply"]
    assert [each.cls for each in paul.requests.values()] == [ticket]
    assert [each.cls for each in boss.requests.values()] == [ticket, Task]
    assert list(echo.requests) == ["Ticket", "Greeting"]
    assert ticket(text="x", kind="other", answers=[reply(text="y")]).tags == []
    assert codec_of(ticket).description == "What a customer wrote."
    assert config.unused == []


def test_a_file_that_names_no_module_is_whole_without_an_import() -> None:
    text = HEAD + "payloads: {A: {fields: {}}}\nlisteners: [{name: p, human: true, accepts: [A, Answer]}]\n"
    config = loads(text, environ={}, imports="nothing")
    assert config.unchecked == ()
    assert config.resolved["Answer"] is Answer
    (listener,) = listeners_of(config)
    assert list(listener.requests) == ["A", "Answer"]


def test_classes_that_nobody_names_are_known() -> None:
    text = HEAD + "payloads: {A: {fields: {b: B}}, B: {fields: {}}, C: {fields: {a: A}}}\n"
    assert config_of(text).unused == ["A", "B", "C"]
    assert config_of(text + "listeners: [{name: p, human: true, accepts: A}]\n").unused == ["C"]


ONE = HEAD + "payloads:\n  One:\n    fields:\n"


def field(text: str) -> str:
    return ONE + f"      x: {text}\n"


MISTAKES = [
    (HEAD + "payloads:\n", 2, 10, "is empty; declare a class"),
    (HEAD + "payloads: [One]\n", 2, 11, "must be a mapping of class names, not a list"),
    (HEAD + "payloads: {One: text}\n", 2, 17, "must be a mapping with `fields`, not 'text'"),
    (HEAD + "payloads: {One: {}}\n", 2, 12, "`fields` is missing; write `fields: {}`"),
    (HEAD + "payloads: {One: {fields: [a]}}\n", 2, 26, "must be a mapping of field names to types"),
    (HEAD + "payloads: {One: {fields: {}, feilds: {}}}\n", 2, 30, "`feilds` is no key here; did you mean 'fields'?"),
    (HEAD + "payloads: {one: {fields: {}}}\n", 2, 12, "begins with a capital (A to Z, then"),
    (HEAD + "payloads: {Task: {fields: {}}}\n", 2, 12, "a name of the system; choose another, as `MyTask`"),
    (HEAD + "payloads: {SystemError: {fields: {}}}\n", 2, 12, "a name of the system"),
    (HEAD + "payloads: {None: {fields: {}}}\n", 2, 12, "a word of Python"),
    (HEAD + "payloads: {O: {fields: {}, description: 5}}\n", 2, 41, "must be text, not 5"),
    (HEAD + "payloads: {O: {fields: {}, description: O(n)}}\n", 2, 41, "may not begin with `O(`"),
    (ONE + "      Text: text\n", 5, 7, "begins with a small letter (a to z, then letters, digits"),
    (ONE + "      due-date: date\n", 5, 7, "`due_date`"),
    (ONE + "      from: text\n", 5, 7, "a word of Python; choose another, as `from_`"),
    (field("string"), 5, 10, "there is no type `string`; write `text`"),
    (field("tekst"), 5, 10, "did you mean 'text'?"),
    (field("Oen"), 5, 10, "did you mean 'One'?; types are text, integer"),
    (field("dict"), 5, 10, "declare a class with the fields and name it"),
    (field("bytes"), 5, 10, "there are no bytes"),
    (field("list[text]"), 5, 10, "write `{list: TYPE}`"),
    (field("handlers:Thing"), 5, 10, "a class of Python is no type here"),
    (field("Task"), 5, 10, "a class of the system; declare a class of your own"),
    (field("5"), 5, 10, "must be a type, not 5"),
    (field("{optional: true}"), 5, 10, "says no type: `type`, `list`, `one_of` or `any_of`"),
    (field("{type: text, list: text}"), 5, 10, "has `type` and `list`; keep one"),
    (field("{type: {min: 1}}"), 5, 17, "the name of the type stands here, the rest beside it"),
    (field("{type: {list: text, min_length: 1}}"), 5, 17, "write them beside `type`"),
    (field("{type: text, required: true}"), 5, 23, "is required unless it has `optional: true` or `default: x`"),
    (field("{type: text, min_lenght: 2}"), 5, 23, "did you mean 'min_length'?"),
    (field("{list: {type: text, optional: true}}"), 5, 30, "write it beside `list`"),
    (field("{list: {list: {list: {list: {list: {list: text}}}}}}"), 5, 52, "at most 5 deep; declare a class between"),
    (field("[a, true]"), 5, 14, 'is true and no word; put it into quotes: "true"'),
    (field("[a, 1]"), 5, 14, 'is 1 and no word; put it into quotes: "1"'),
    (field("[a, null]"), 5, 14, 'is null and no word; put it into quotes: "null"'),
    (field("[a, yes]"), 5, 14, 'put it into quotes: "yes"'),
    (field("[a, Off]"), 5, 14, 'put it into quotes: "Off"'),
    (field("[a, a]"), 5, 14, "the word 'a' is there twice"),
    (field('[a, "b "]'), 5, 14, "words have no blanks around"),
    (field("[]"), 5, 10, "must be a list of words, not an empty one"),
    (field("[One]"), 5, 11, "write `{any_of: […]}`, or `{list: One}`"),
    (field("{any_of: [One]}"), 5, 19, "two classes or more; write `type: One`"),
    (field("{any_of: [One, text], optional: true}"), 5, 25, "put the value into a class"),
    (field("{any_of: [One, One], optional: true}"), 5, 25, "is there twice"),
    (field("{type: text, optional: yes}"), 5, 33, "must be `true` or `false`, not 'yes'; write `true`"),
    (field("{type: text, optional: true, default: a}"), 5, 39, "keep that for what may be absent"),
    (field("{type: text, default: 5}"), 5, 32, 'put it into quotes: "5"'),
    (field("{type: text, default: null}"), 5, 32, "write `optional: true` for what may be absent"),
    (field("{type: integer, default: '5'}"), 5, 35, "must be a whole number, not '5'"),
    (field("{type: integer, max: 3, default: 4}"), 5, 43, "too large (4); allowed: <= 3"),
    (field("{type: boolean, default: no}"), 5, 35, "write `false`"),
    (field("{type: date, default: 2026-02-30}"), 5, 32, "allowed: a date, as 2026-01-31"),
    (field("{type: number, default: .inf}"), 5, 34, "must be a finite number"),
    (field("{one_of: [a, b], default: c}"), 5, 36, "must be one of a, b, not 'c'"),
    (field("{type: One, default: {}}"), 5, 22, "a field that holds a class has no default"),
    (field("{list: text, default: a}"), 5, 32, "must be a list, not 'a'"),
    (field("{list: text, default: [a, 5]}"), 5, 36, "must be text, not 5"),
    (field("{list: text, max_length: 1, default: [a, b]}"), 5, 47, "too many; allowed: at most 1"),
    (field("{type: text, min: 3}"), 5, 23, "for a text write `min_length`"),
    (field("{type: integer, min_length: 3}"), 5, 26, "bounds texts and lists, not integers"),
    (field("{type: integer, pattern: a}"), 5, 26, "`pattern` is for texts"),
    (field("{type: integer, min: 3, max: 2}"), 5, 39, "is below `min`, so no value fits"),
    (field("{type: text, min_length: -1}"), 5, 35, "a whole number, 0 or more up to 10,000, not -1"),
    (field("{type: text, min_length: 99999}"), 5, 35, "up to 10,000, not 99999"),
    (field("{type: datetime, min: 2026-01-01T00:00:00, max: '2027-01-01T00:00:00Z'}"), 5, 58,
     "give both an offset, or none"),
    (field("{type: text, pattern: '^a$', optional: true}"), 5, 32, "leave `^` and `$` out"),
    (field("{type: text, pattern: '((a{1000}){1000}){1000}', optional: true}"), 5, 32, "linear time"),
    (field("{type: text, pattern: '[A-Z]{9}'}"), 5, 10, "with these bounds is known; give one: `example: …`"),
    (field("{type: text, pattern: '[A-Z]{9}', example: abc}"), 5, 53, "does not match the pattern; allowed: ^("),
    (field("{type: One}"), 5, 10, "never ends: One.x → One; make a field on the way `optional: true`"),
    (field("{list: One, min_length: 1}"), 5, 10, "never ends"),
    (HEAD + "payloads:\n  A: {fields: {b: B}}\n  B: {fields: {a: {any_of: [A, C]}}}\n  C: {fields: {}}\n", 4, 19,
     "A.b → B.a → A"),
    (field("{type: text, description: '${HOME}'}"), 5, 36, "may not depend on the environment"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "line", "column", "message"), MISTAKES)
def test_a_mistake_has_its_place_and_a_way_out(text: str, line: int, column: int, message: str) -> None:
    problem = only(problems_of(text, HOME="secret-home"))
    assert message in problem.message
    assert (problem.line, problem.column) == (line, column)
    assert problem.path.startswith("payloads")
    assert "secret-home" not in problem.message


def test_every_mistake_is_told_at_once_and_none_again_where_the_class_is_used(tmp_path: Path) -> None:
    text = HEAD + (
        "payloads:\n"
        "  Ticket: {fields: {text: tekst, kind: [a, 1]}}\n"
        "  Reply: {fields: {to: Ticket, cc: {list: Tiket}}}\n"
        "listeners:\n"
        "  - {name: paul, human: true, accepts: Ticket}\n"
        "  - {name: anna, human: true, accepts: [Reply, Replay]}\n"
        "  - {name: otto, human: true, accepts: 5}\n"
    )
    found = [(each.line, each.path) for each in problems_in(write(tmp_path, {"organism.yaml": text}))]
    assert found == [
        (3, "payloads.Ticket.fields.text"),
        (3, "payloads.Ticket.fields.kind[1]"),
        (4, "payloads.Reply.fields.cc.list"),
        (7, "listeners[1].accepts[1]"),
        (8, "listeners[2].accepts"),
    ]


def test_a_name_that_nobody_declared_is_told_with_those_there_are() -> None:
    text = HEAD + "payloads: {Ticket: {fields: {}}}\nlisteners: [{name: p, human: true, accepts: ticket}]\n"
    problem = only(problems_of(text))
    assert (problem.line, problem.column) == (3, 45)
    assert "did you mean 'Ticket'?; classes are: Answer, Task, Ticket" in problem.message
    assert "`module:Class`" in problem.message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "".join(f"  C{n}: {{fields: {{}}}}\n" for n in range(MOST_CLASSES + 1)),
            f"declares {MOST_CLASSES + 1} classes; at most {MOST_CLASSES} are allowed",
        ),
        (
            "  A:\n    fields:\n" + "".join(f"      f{n}: text\n" for n in range(MOST_FIELDS + 1)),
            "the classes have 1,001 fields; at most 1,000 are allowed in all",
        ),
        (
            "".join(f"  C{n}: {{fields: {{a: C{n + 1}, b: C{n + 1}}}}}\n" for n in range(40))
            + "  C40: {fields: {}}\n",
            "elements at least; at most 2,000 are allowed",
        ),
        (
            "".join(
                f"  C{n}: {{fields: {{{', '.join(f'f{m}: {{type: C{m}, optional: true}}' for m in range(25))}}}}}\n"
                for n in range(25)
            ),
            "fields with those of the classes within them, each class for itself; at most 10,000 are allowed",
        ),
        ("  A: {fields: {x: {list: {list: text, min_length: 100}, min_length: 100}}}\n", "elements at least"),
        (
            f"  A: {{fields: {{x: [{', '.join(f'w{n}' for n in range(501))}]}}}}\n",
            "has 501 words; at most 500",
        ),
    ],
    ids=["classes", "fields", "doubling", "within", "lists", "words"],
)
def test_sizes_are_bounded(text: str, message: str) -> None:
    assert message in problems_of(HEAD + "payloads:\n" + text)[0].message


def test_classes_that_may_all_hold_each_other_are_described_in_time() -> None:
    fields = ", ".join(f"f{n}: {{type: C{n}, optional: true}}" for n in range(20))
    classes = "".join(f"  C{n}: {{fields: {{{fields}}}}}\n" for n in range(20))
    config = config_of(HEAD + "payloads:\n" + classes)
    codec = codec_of(config.classes["C0"])
    assert codec.encode(codec.decode_bytes(codec.example.encode()))
    assert len(codec.example) < 100_000
