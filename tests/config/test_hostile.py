"""Whatever the text, `loads` gives a config or a ConfigError, and no problem shows a secret."""

from __future__ import annotations

import random
from copy import deepcopy
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from xml_pipeline.config import OrganismConfig, loads
from xml_pipeline.errors import ConfigError, Problem

VALID = """\
organism:
  name: demo
  default: one
  thread_scheduling: depth-first
  limits: {messages: 10, seconds: 1.5}
listeners:
  - name: one
    handler: json:dump
    accepts: [xml_pipeline.envelope:Huh]
    peers: [two, person]
  - name: two
    agent: true
    model: ${MODEL:-m}
    prompt: "text $$ text"
    history: &history {messages: 3}
    temperature: 0.5
  - {name: three, agent: true, model: m, history: *history, prompt: [a, "${B:-b}"]}
  - name: person
    human: true
"""
ENVIRON = {"MODEL": "the-secret-model", "A": "1", "NUL": "\udcff"}


def outcome(text: str | bytes) -> OrganismConfig | tuple[Problem, ...]:
    try:
        return loads(text, environ=ENVIRON, base="/nonexistent")
    except ConfigError as error:
        problems = error.problems
    assert problems
    for problem in problems:
        assert problem.message
        assert problem.line >= 1
        assert problem.column >= 1
        assert "the-secret-model" not in str(problem)
    return problems


def test_the_text_they_start_from_is_valid() -> None:
    assert isinstance(outcome(VALID), OrganismConfig)


YAML_MARKS = (
    "\t \n : - { } [ ] &a *agent <<: !!int ${A} ${ $ ' \" | ? # --- \x00 é null 1e999 0x .nan ${NUL} %"
)
PIECES = st.sampled_from(YAML_MARKS.split(" "))


@given(
    st.lists(
        st.tuples(st.integers(0, len(VALID)), st.integers(0, 6), PIECES | st.text(max_size=3)), max_size=5
    )
)
def test_a_mutated_text_never_does_anything_else(edits: list[tuple[int, int, str]]) -> None:
    text = VALID
    for at, length, piece in edits:
        text = text[:at] + piece + text[at + length :]
    outcome(text)


@given(st.binary(max_size=60), st.integers(0, len(VALID)))
def test_bytes_never_do_anything_else(noise: bytes, at: int) -> None:
    encoded = VALID.encode()
    outcome(noise)
    outcome(encoded[:at] + noise + encoded[at:])


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["${A}", "json.dump", "one", "two", "sk-" + "a1" * 15, "a\0b", "json.nothing"])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
)


def places_of(data: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) of a document."""
    found: list[tuple[Any, Any]] = []
    for key in list(data) if isinstance(data, dict) else range(len(data)) if isinstance(data, list) else ():
        found.append((data, key))
        found += places_of(data[key])
    return found


@given(st.randoms(use_true_random=False), st.lists(VALUES, min_size=1, max_size=4))
def test_a_mutated_document_never_does_anything_else(choice: random.Random, values: list[Any]) -> None:
    data = yaml.safe_load(VALID)
    for value in deepcopy(values):  # they become parts of the document, and are cut up with it
        places = places_of(data)
        if not places:
            break
        container, key = choice.choice(places)
        action = choice.randrange(3)
        if action == 0:
            container[key] = value
        elif action == 1 and isinstance(container, dict):
            container[f"{key}x"] = container.pop(key)
        else:
            del container[key]
    outcome(yaml.safe_dump(data, allow_unicode=True))


ORGANISM = "organism: {name: x}\n"
LISTENERS = f"{ORGANISM}listeners:\n"


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        (ORGANISM.encode("utf-16"), 1, "save it as UTF-8"),
        (ORGANISM.encode("utf-32"), 1, "save it as UTF-8"),
        (ORGANISM.encode("utf-16-be"), 1, "a character that YAML does not allow"),
        ("organism: {name: é}\n".encode("latin-1"), 1, "save it as UTF-8"),
        (b"organism: {name: a\0b}\n", 1, "a character that YAML does not allow"),
        ("organism:\n\tname: x\n", 2, "indented with spaces, not tabs"),
        ("organism: {name: x, name: y}\n", 1, "is here twice"),
        (ORGANISM + ORGANISM, 2, "is here twice"),
        (ORGANISM + "---\n" + ORGANISM, 2, "single document"),
        ("a: &a {<<: *a}\n", 1, "nothing is merged"),
        ("organism: {<<: 5, name: x}\n", 1, "nothing is merged"),
        ("organism: &a {name: *a}\n", 1, "an alias holds itself"),
        (f"{ORGANISM}listeners: &a [*a]\n", 2, "an alias holds itself"),
        ("organism: " + "[" * 10_000 + "]" * 10_000, 1, "deeper than 50 levels"),
        ("organism: " + "{a: " * 10_000 + "}" * 10_000, 1, "deeper than 50 levels"),
        ("".join(f"{' ' * depth}a:\n" for depth in range(1_000)), 51, "deeper than 50 levels"),
        ("- " * 10_000 + "x\n", 1, "deeper than 50 levels"),
        (f"organism: {{name: x, max_in_flight: {'9' * 500_000}}}\n", 1, "must be a whole number"),
        ("organism: {name: x, shutdown_seconds: 1e999999999}\n", 1, "finite number"),
        (f"{ORGANISM}2026-01-01: 5\n", 2, "`2026-01-01` is no key here"),
        (f"{ORGANISM}[a]: 5\n", 2, "keys are words"),
        (f"{ORGANISM}? \n: 5\n", 2, "keys are words"),
        ("organism:\n", 1, "is empty"),
        ("organism: [a]\n", 1, "must be a mapping"),
        (f"{ORGANISM}listeners: {{a: 1}}\n", 2, "must be a list"),
        (f"{LISTENERS}-\n", 3, "is empty"),
        ("organism: !!python/object/apply:os.system [id]\n", 1, "tags are not used"),
        (f"organism: {{name: '{'${' * 100_000}'}}\n", 1, "is no variable"),
        (f"{ORGANISM}llm: {{models: {{a: [b, b], b: [a]}}}}\n", 2, "leads back to itself"),
        (f"{ORGANISM}listeners: /\n", 2, "outside of"),
        (f'{ORGANISM}listeners: "a\\0b"\n', 2, "it is no path"),
        (
            f"{LISTENERS}- {{name: a, agent: true, model: m, prompt: {{file: /proc/self/mem}}}}\n",
            3,
            "outside of",
        ),
        (f"{LISTENERS}- {{name: a, handler: {'a.' * 100_000}b}}\n", 3, "at most 500 characters"),
        (f"{LISTENERS}- {{name: a, handler: ..x}}\n", 3, "must be an import path"),
    ],
)
def test_a_hostile_file_gives_one_error_with_its_line(text: str | bytes, line: int, says: str) -> None:
    found = outcome(text)
    assert isinstance(found, tuple)
    told = [problem for problem in found if says in problem.message]
    assert [problem.line for problem in told] == [line], found
    assert len(found) <= 2
    assert all(len(str(problem)) < 2_500 for problem in found)
