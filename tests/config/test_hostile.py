"""Whatever the text, `loads` gives a config or a ConfigError, and no problem shows a secret."""

from __future__ import annotations

import random
from copy import deepcopy
from typing import Any

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
    handler: json.dump
    payload_class: [xml_pipeline.envelope.Huh]
    peers: [two, person]
  - &agent
    name: two
    agent: true
    model: ${MODEL:-m}
    prompt: "text $$ text"
    history: {messages: 3}
    temperature: 0.5
  - {<<: *agent, name: three}
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
