"""A document that is changed keeps everything else, character by character."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from xml_pipeline.config.editing import Uneditable, with_item, with_value

BACKEND = {"name": "mine", "provider": "openai", "supported_models": ["gpt-5", "o*"]}
BACKENDS = ("llm", "backends")


def added(text: str) -> str:
    return with_item(text, BACKENDS, BACKEND)


def routed(text: str, value: Any = "gpt-5") -> str:
    return with_value(text, ("llm", "models", "smart"), value)


BLOCK = """\
# the desk
organism: {name: desk}  # its name

llm:
  # who answers
  backends:
    - provider: anthropic   # first
      name: a
    # - provider: later

  # money
  budgets: {organism: {usd: 3}}

listeners: []
"""


def test_an_item_goes_below_the_last_one_in_its_style() -> None:
    item = "    - name: mine\n      provider: openai\n      supported_models: [gpt-5, o*]\n"
    assert added(BLOCK) == BLOCK.replace("      name: a\n", f"      name: a\n{item}")


def test_a_key_goes_below_the_last_one() -> None:
    assert routed(BLOCK) == BLOCK.replace("usd: 3}}\n", "usd: 3}}\n  models:\n    smart: gpt-5\n")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a: 1", "a: 1\nllm:\n  models:\n    smart: gpt-5\n"),
        ("a: 1\nllm:\nb: 2\n", "a: 1\nllm:\n  models:\n    smart: gpt-5\nb: 2\n"),
        ("llm: ~ # c\nb: 2\n", "llm:  # c\n  models:\n    smart: gpt-5\nb: 2\n"),
        ("llm: {offline: true}\n", "llm: {offline: true, models: {smart: gpt-5}}\n"),
        ("llm: {offline: true,}\n", "llm: {offline: true, models: {smart: gpt-5},}\n"),
        ("llm: {\n  a: 1 # }\n}\n", "llm: {\n  a: 1, models: {smart: gpt-5} # }\n}\n"),
        ("llm: {}\n", "llm: {models: {smart: gpt-5}}\n"),
        ("llm: {models: }\n", None),
        ("llm:\n  models: {smart: 'x'} # y\n", "llm:\n  models: {smart: gpt-5} # y\n"),
        (
            "llm:\n  models:\n    smart:\n      - a\n      - b\n    c: d\n",
            "llm:\n  models:\n    smart: gpt-5\n    c: d\n",
        ),
        ("llm:\r\n  models:\r\n    a: b\r\n", "llm:\r\n  models:\r\n    a: b\r\n    smart: gpt-5\r\n"),
        ("llm:\n  models:\n    a: |\n      b\n\nc: d\n", None),
    ],
)
def test_wherever_the_value_belongs(before: str, after: str | None) -> None:
    made = routed(before)
    assert after is None or made == after
    assert yaml.safe_load(made)["llm"]["models"]["smart"] == "gpt-5"


@pytest.mark.parametrize(
    ("before", "why"),
    [
        ("llm: &x {a: 1}\nother: *x\n", "no place that is sure"),
        ("llm: [1]\n", "is no mapping"),
        ("llm: text\n", "is no mapping"),
        ("llm: {models: {smart: {model: x}}}\n", None),
        ("- a\n", "is no mapping"),
        ("llm:\n  models:\n    smart: |\n      a\n", "several lines"),
        ("llm:\n  models:\n    smart:\n      - a # first\n      - b\n", "comments in the value"),
        ("llm: {a: [}\n", "no YAML"),
    ],
)
def test_what_is_not_sure_is_refused(before: str, why: str | None) -> None:
    if why is None:
        assert routed(before) == "llm: {models: {smart: gpt-5}}\n"
        return
    with pytest.raises(Uneditable, match=why):
        routed(before)


names = st.sampled_from(["llm", "models", "smart", "backends", "a", "b c", "#d"])
scalars = st.none() | st.booleans() | st.integers() | st.text(max_size=8)
values = st.recursive(
    scalars, lambda some: st.lists(some, max_size=3) | st.dictionaries(names, some, max_size=3), max_leaves=12
)
sections = st.fixed_dictionaries(
    {},
    optional={
        "models": st.none()
        | st.dictionaries(names, st.text(max_size=5) | st.lists(st.text(max_size=5)), max_size=3),
        "backends": st.none() | st.lists(st.dictionaries(names, scalars, max_size=3), max_size=3),
        "other": values,
    },
)
documents = st.fixed_dictionaries({"first": values}, optional={"llm": st.none() | sections, "last": values})


@given(
    documents,
    st.sampled_from([None, True, False]),
    st.integers(2, 6),
    st.lists(st.integers(0, 200), max_size=5),
    st.text(min_size=1, max_size=9),
)
def test_whatever_the_document_only_what_was_meant_changes(
    document: dict[str, Any], flow: bool | None, indent: int, places: list[int], value: str
) -> None:
    lines = yaml.safe_dump(document, default_flow_style=flow, indent=indent, allow_unicode=True).splitlines(
        True
    )
    for number, place in enumerate(places):  # comments between lines, where they change nothing
        tried = [*lines]
        tried.insert(place % (len(lines) + 1), f"# comment {number}\n")
        try:
            same = yaml.safe_load("".join(tried)) == document
        except yaml.YAMLError:
            same = False
        lines = tried if same else lines
    text = "".join(lines)
    for change in (lambda: routed(text, value), lambda: added(text)):
        try:
            made = change()
        except Uneditable:
            continue
        assert [each for each in text.splitlines() if each.startswith("# comment")] == [
            each for each in made.splitlines() if each.startswith("# comment")
        ]
        assert made != text
        assert yaml.safe_load(made)["first"] == yaml.safe_load(text)["first"]  # a dump loses some letters
