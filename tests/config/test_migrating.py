"""Files of former days become files of today: every former key, with comments and layout, once and for all."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.config.projects import HANDLERS, write
from xml_pipeline.config import load
from xml_pipeline.config.editing import Uneditable
from xml_pipeline.config.migrating import migrated

FORMER = """\
# The house.
organism:
  name: demo   # its name
  default: bot

listeners:
  - name: greeter
    handler: handlers.greet       # a function
    payload_class: handlers.Greeting
  - {name: "shouter", handler: "handlers.shout", payload_class: [handlers.Reply]}  # loud
  - name: bot
    agent: true
    model: small
    # where it is told what it is
    prompt_file: bot.md   # kept beside this file
    accepts: [handlers.Greeting, handlers:Reply]
    answer_class: &reply handlers.Reply
    tools: xml
  - {name: other, agent: true, model: small, tools: auto, prompt_file: 'bot.md', answer_class: *reply}
  - {name: boss, human: true, accepts: handlers.Greeting}
llm:
  on_event: handlers.shout
  backends:
    - {provider: scripted, supported_models: [small]}
"""
TODAY = """\
# The house.
organism:
  name: demo   # its name
  default: bot
  format: 1

listeners:
  - name: greeter
    handler: handlers:greet       # a function
    accepts: handlers:Greeting
  - {name: "shouter", handler: "handlers:shout", accepts: [handlers:Reply]}  # loud
  - name: bot
    agent: true
    model: small
    # where it is told what it is
    prompt: {file: bot.md}   # kept beside this file
    accepts: [handlers:Greeting, handlers:Reply]
    answers: &reply handlers:Reply
    calls: xml
  - {name: other, agent: true, model: small, calls: auto, prompt: {file: bot.md}, answers: *reply}
  - {name: boss, human: true, accepts: handlers:Greeting}
llm:
  on_event: handlers:shout
  backends:
    - {provider: scripted, supported_models: [small]}
"""


def test_every_former_key_is_written_as_today_and_all_else_stays() -> None:
    assert migrated(FORMER) == TODAY
    assert migrated(TODAY) == TODAY


def test_the_result_loads(tmp_path: Path) -> None:
    files = {"organism.yaml": migrated(FORMER), "handlers.py": HANDLERS, "bot.md": "Be brief."}
    config = load(write(tmp_path, files), environ={})
    assert config.listeners[2].prompt_text == "Be brief."


@pytest.mark.parametrize(
    ("text", "today"),
    [
        ("organism: {name: x}\n", "organism: {name: x, format: 1}\n"),
        ("organism: {name: x, format: 1}\n", "organism: {name: x, format: 1}\n"),
        ("organism: {name: x, format: 7}\n", "organism: {name: x, format: 7}\n"),
        ("# nothing\n", "# nothing\n"),
        ("listeners: parts\n", "listeners: parts\n"),
        ("- 1\n", "- 1\n"),
        (
            "organism: {name: x, format: 1}\r\nlisteners:\r\n- handler: a.b  # c\r\n",
            "organism: {name: x, format: 1}\r\nlisteners:\r\n- handler: a:b  # c\r\n",
        ),
        ("x-c: &c [a.B, c.d.E.F]\nlisteners: [{accepts: *c}, {answers: *c}]\n",
         "x-c: &c [a:B, c.d:E.F]\nlisteners: [{accepts: *c}, {answers: *c}]\n"),
        ("listeners: [{tools: [read, write]}]\n", "listeners: [{tools: [read, write]}]\n"),
        ("listeners: [{prompt: a, prompt_file: b}]\n", "listeners: [{prompt: a, prompt_file: b}]\n"),
        ("listeners: [{prompt_file: a b.md}]\n", "listeners: [{prompt: {file: a b.md}}]\n"),
        ("listeners:\n- prompt_file: a, b}.md\n", "listeners:\n- prompt: {file: 'a, b}.md'}\n"),
        ("listeners:\n- prompt_file: ${WHERE}/p.md\n", "listeners:\n- prompt: {file: '${WHERE}/p.md'}\n"),
        ("listeners: [{handler: '${MODULE}.f'}]\n", "listeners: [{handler: '${MODULE}.f'}]\n"),
        ("listeners: [{handler: f, accepts: Task}]\n", "listeners: [{handler: f, accepts: Task}]\n"),
        ("listeners: [{description: payload_class, name: a.b, peers: [c.d]}]\n",
         "listeners: [{description: payload_class, name: a.b, peers: [c.d]}]\n"),
    ],
)  # fmt: skip
def test_only_what_is_former_is_changed(text: str, today: str) -> None:
    assert migrated(text) == today
    assert migrated(today) == today


def test_an_anchor_that_means_something_else_too_is_left() -> None:
    with pytest.raises(Uneditable, match="no place that is sure"):
        migrated("listeners: [{handler: &h a.b, description: *h}]\n")


def test_a_file_with_listeners_of_an_organism_is_one_or_a_list_of_them() -> None:
    assert migrated("name: a\nhandler: a.b\n", whole=False) == "name: a\nhandler: a:b\n"
    assert migrated("- {name: a, tools: xml}\n", whole=False) == "- {name: a, calls: xml}\n"
    assert migrated("organism: {name: x}\n", whole=False) == "organism: {name: x}\n"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a: [", "it is no YAML"),
        ("a: !secret b\n", "it is no YAML"),
        ("[" * 3000, "it is nested too deep"),
        ("listeners: [{prompt_file: [a]}]\n", "is no text"),
    ],
)
def test_what_cannot_be_changed_with_certainty_is_left(text: str, why: str) -> None:
    with pytest.raises(Uneditable, match=why):
        migrated(text)


WORDS = st.sampled_from(
    [
        "payload_class",
        "answer_class",
        "tools",
        "prompt_file",
        "accepts",
        "handler",
        "prompt",
        "name",
        "xml",
        "a.b",
        "Task",
    ]
)
VALUES = st.recursive(
    st.one_of(WORDS, st.integers(), st.none(), st.text(alphabet="ab.:{}[],&*# '\"\n", max_size=6)),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=5,
)


@given(st.lists(st.dictionaries(WORDS, VALUES, max_size=4), max_size=3), st.sampled_from([None, True, False]))
def test_a_second_time_nothing_changes(entries: object, style: bool | None) -> None:
    import yaml

    text = yaml.safe_dump({"organism": {"name": "x"}, "listeners": entries}, default_flow_style=style)
    try:
        once = migrated(text)
    except Uneditable:
        return
    assert migrated(once) == once
    assert yaml.safe_load(once)["organism"] == {"name": "x", "format": 1}
