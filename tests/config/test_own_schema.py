"""The JSON Schema of one file knows its names: editors complete them, and mark what stands for nothing."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.config.projects import write
from tests.config.test_loader import MISTAKES, VALID
from xml_pipeline.config import json_schema
from xml_pipeline.config.document import read
from xml_pipeline.config.glance import Names, glance, names_in

FILE = """
organism: {name: x, default: desk}
payloads:
  Ticket: {fields: {text: text, more: {list: Ticket}, kind: {any_of: [Ticket, Sorted]}}}
  Sorted: {fields: {kind: [a, b]}}
listeners:
  - {name: desk, agent: true, model: smart, peers: [boss], accepts: [Ticket, Task], hands_over_to: [boss]}
  - {name: boss, human: true, answers: Answer, accepts: "elsewhere:Thing"}
  - {name: sums, handler: "sums:add", operation: adding}
llm:
  models: {smart: [cheap, dear], quick: {chain: cheap}}
  routing: {adding: smart, default: quick}
  budgets: {agents: {desk: {usd: 1}, "d*": {usd: 2}}, operations: {adding: {usd: 1}}}
  backends: [{provider: ollama, supported_models: [cheap, "big-*"], model_map: {dear: dear-2}}]
"""


@cache
def schema_of(text: str, **environ: str) -> dict[str, Any]:
    return json_schema(names_in(read(text, file="organism.yaml", environ=environ)))


def errors_of(schema: dict[str, Any], text: str) -> list[str]:
    found = jsonschema.Draft202012Validator(schema).iter_errors(yaml.safe_load(text))
    return ["/".join(map(str, error.absolute_path)) for error in found]


def words_at(schema: dict[str, Any], node: Any) -> list[str]:
    """What an editor offers there: enumerations, whatever they are wrapped in."""
    if isinstance(node, dict) and "$ref" in node:
        node = schema["$defs"][node["$ref"].rsplit("/", 1)[1]]
    if isinstance(node, list):
        return [word for item in node for word in words_at(schema, item)]
    if not isinstance(node, dict):
        return []
    inner = [*node.get("anyOf", ()), *([node["items"]] if "items" in node else [])]
    return [*node.get("enum", ()), *words_at(schema, inner)]


@pytest.mark.parametrize(
    ("section", "key", "offered"),
    [
        ("OrganismSection", "default", {"desk", "boss", "sums"}),
        ("ListenerConfig", "peers", {"desk", "boss", "sums"}),
        ("ListenerConfig", "hands_over_to", {"desk", "boss", "sums"}),
        ("ListenerConfig", "accepts", {"Ticket", "Sorted", "Task", "Answer"}),
        ("ListenerConfig", "answers", {"Ticket", "Sorted", "Task", "Answer"}),
        ("ListenerConfig", "model", {"smart", "quick", "cheap", "dear"}),
        ("AgentDefaults", "model", {"smart", "quick", "cheap", "dear"}),
        ("PresetSection", "chain", {"smart", "quick", "cheap", "dear"}),
        ("FieldSection", "any_of", {"Ticket", "Sorted"}),
        ("TriggerSection", "to", {"desk", "boss", "sums"}),
        ("CaseSection", "to", {"desk", "boss", "sums"}),
        ("ExpectSection", "never", {"desk", "boss", "sums"}),
    ],
)
def test_names_are_offered_where_they_belong(
    section: str, key: str, offered: set[str], tmp_path: Path
) -> None:
    schema = schema_of(FILE)
    assert set(words_at(schema, schema["$defs"][section]["properties"][key])) == offered


def test_types_of_fields_are_offered_with_the_classes() -> None:
    schema = schema_of(FILE)
    for key in ("type", "list"):
        assert {"text", "duration", "Ticket"} <= set(
            words_at(schema, schema["$defs"]["FieldSection"]["properties"][key])
        )


def test_it_is_a_schema_of_the_dialect_it_names() -> None:
    jsonschema.Draft202012Validator.check_schema(schema_of(FILE))


def test_keys_that_are_names_are_offered_too() -> None:
    defs = schema_of(FILE)["$defs"]
    assert set(defs["BudgetsSection"]["properties"]["agents"]["properties"]) == {"desk", "boss", "sums"}
    assert set(defs["BudgetsSection"]["properties"]["operations"]["properties"]) == {"adding"}
    assert set(defs["LLMSection"]["properties"]["routing"]["properties"]) == {"adding", "default"}


@pytest.mark.parametrize("text", [FILE, VALID])
def test_a_file_fits_the_schema_of_its_own(text: str) -> None:
    assert errors_of(schema_of(text), text) == []


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("peers: [boss]", "peers: [bos]"),
        ("hands_over_to: [boss]", "hands_over_to: [bos]"),
        ("default: desk", "default: dsk"),
        ("accepts: [Ticket, Task]", "accepts: [Tickt]"),
        ("text: text", "text: strin"),
        ("list: Ticket", "list: Tickt"),
    ],
)
def test_a_name_that_stands_for_nothing_is_marked(right: str, wrong: str) -> None:
    assert right in FILE
    assert errors_of(schema_of(FILE), FILE.replace(right, wrong))


@pytest.mark.parametrize(
    ("right", "other"),
    [
        ("accepts: [Ticket, Task]", "accepts: [mine:Class, a.b:C.D]"),
        ("accepts: [Ticket, Task]", "accepts: '${CLASS}'"),
        ("peers: [boss]", "peers: ['${WHO}']"),
        ("default: desk", "default: '${WHO:-desk}'"),
        ("model: smart", "model: gpt-4o"),
        ("chain: cheap", "chain: [gpt-4o, smart]"),
        ("adding: smart", "other: gpt-4o"),
    ],
)
def test_what_may_be_from_elsewhere_is_still_taken(right: str, other: str) -> None:
    assert right in FILE
    assert errors_of(schema_of(FILE), FILE.replace(right, other)) == []


def test_names_from_the_environment_are_not_shown_and_not_missed() -> None:
    text = "organism: {name: x, default: hidden}\nlisteners: [{name: '${WHO}', human: true}, {name: b}]\n"
    text = text.replace("{name: b}", "{name: b, human: true}")
    schema = schema_of(text, WHO="hidden")
    assert "hidden" not in str(schema)
    assert errors_of(schema, text) == []


def test_what_looks_like_a_key_is_not_shown() -> None:
    key = "sk-ant-api03-" + "a1B2" * 12
    assert key not in str(schema_of(f"llm: {{models: {{{key}: [{key}]}}}}"))


def test_a_file_with_mistakes_is_read_as_far_as_it_can_be(tmp_path: Path) -> None:
    names = glance(write(tmp_path, {"organism.yaml": MISTAKES}), environ={}).names
    assert names.listeners
    broken = "payloads: {A: 1}\nlisteners: [3, {name: [x]}, {name: a, model: {}}]\nllm: {models: [1], backends: 2}\n"
    names = glance(write(tmp_path, {"organism.yaml": broken}), environ={}).names
    assert (names.listeners, names.declared, names.models) == (("a",), ("A",), ())
    assert "listeners" not in names.closed


def test_listeners_of_a_folder_are_names_of_the_file(tmp_path: Path) -> None:
    parts = {"parts/a.yaml": "name: a\nhuman: true\n", "parts/b.yml": "- {name: b, human: true}\n"}
    write(tmp_path, parts)
    file = write(tmp_path, {"organism.yaml": "organism: {name: x}\nlisteners: parts\n"})
    seen = glance(file, environ={})
    assert seen.names.listeners == ("a", "b")
    assert {tmp_path / "parts", tmp_path / "parts" / "a.yaml", file, tmp_path / ".env"} <= seen.files


def test_without_names_the_schema_is_that_of_every_file() -> None:
    assert "x-names" not in str(json_schema())
    assert words_at(json_schema(), json_schema()["$defs"]["ListenerConfig"]["properties"]["peers"]) == []


def test_a_file_that_names_nothing_takes_all() -> None:
    assert errors_of(json_schema(Names()), FILE) == []


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=60)
@given(st.dictionaries(st.sampled_from(["organism", "payloads", "listeners", "llm", "defaults"]), _JSON))
def test_whatever_a_file_holds_its_names_are_texts(data: dict[str, Any]) -> None:
    names = names_in(read(yaml.safe_dump(data), file="f", environ={}))
    for found in (names.listeners, names.classes, names.types, names.models, names.operations):
        assert all(isinstance(name, str) for name in found)
        assert len(set(found)) == len(found)
