"""Every key of organism.yaml is decided: a file from somebody else may have it, or may not."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import pytest
from pydantic import Field

from xml_pipeline.config import OrganismConfig, json_schema
from xml_pipeline.config.document import Document, Place
from xml_pipeline.config.untrusted import refuse_unmarked
from xml_pipeline.llm.section import Section
from xml_pipeline.marks import CLOSED, MARK, OPEN, closed, mark_of, only, up_to, without_marks

SCHEMA = OrganismConfig.model_json_schema(mode="validation")


def keys_of(node: Any, path: str = "", seen: tuple[str, ...] = ()) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every key that a stranger's file could come to, with its schema; below one that is closed there is nothing."""
    if isinstance(node, list):
        for each in node:
            yield from keys_of(each, path, seen)
    if not isinstance(node, Mapping):
        return
    if (reference := node.get("$ref")) and reference not in seen:
        yield from keys_of(SCHEMA["$defs"][reference.rsplit("/", 1)[1]], path, (*seen, reference))
    for key, below in node.get("properties", {}).items():
        yield f"{path}.{key}", below
        mark = mark_of(below)
        if mark is None or mark.open:
            yield from keys_of(below, f"{path}.{key}", seen)
    for within in ("anyOf", "items", "additionalProperties"):
        yield from keys_of(node.get(within), path, seen)


def test_every_key_is_decided() -> None:
    found = dict(keys_of(SCHEMA))
    assert len(found) > 100
    undecided = [key for key, schema in found.items() if mark_of(schema) is None]
    assert not undecided, f"give each of them OPEN, CLOSED, up_to(...) or only(...): {undecided}"


def test_what_is_closed_is_what_this_list_says() -> None:
    assert {key for key, schema in keys_of(SCHEMA) if not (mark_of(schema) or CLOSED).open} == {
        ".llm",
        ".listeners.cpu_bound",
        ".listeners.effects",
        ".listeners.handler",
        ".listeners.keep",
        ".listeners.models",
        ".listeners.people",
        ".listeners.remembers",
        ".listeners.retries",
        ".listeners.tools",
        ".listeners.use",
        ".organism.doors",
        ".organism.journal",
        ".organism.processes",
        ".organism.webhooks",
        ".tests",
        ".triggers",
    }


def test_the_schema_for_editors_has_no_marks() -> None:
    assert MARK not in json.dumps(json_schema())
    assert without_marks({"a": [{MARK: OPEN, "b": 1}]}) == {"a": [{"b": 1}]}


class _Inner(Section):
    new: int = 1
    few: Annotated[int, up_to(3)] = 1


class _Outer(Section):
    """A file as it may look tomorrow."""

    open: Annotated[str, OPEN] = ""
    shut: Annotated[str, CLOSED] = ""
    told: Annotated[str, closed("because")] = ""
    new: str = ""
    inner: Annotated[_Inner | None, OPEN] = None
    several: Annotated[tuple[_Inner, ...], OPEN] = ()
    named: Annotated[dict[str, _Inner | list[_Inner]], OPEN] = Field(default_factory=dict)
    word: Annotated[tuple[str, ...], only("a", "b")] = ()


def told(data: dict[str, Any]) -> list[str]:
    document = Document(data)
    document.values[()] = Place("file", 1, 1, ())
    refuse_unmarked(document, _Outer.model_json_schema(mode="validation"))
    return [f"{each.path}: {each.message}" for each in document.problems]


@pytest.mark.parametrize(
    ("data", "path"),
    [
        ({"shut": ""}, "shut"),
        ({"new": ""}, "new"),
        ({"inner": {"new": 1}}, "inner.new"),
        ({"several": [{"few": 1}, {"new": 1}]}, "several[1].new"),
        ({"several": {"new": 1}}, "several.new"),
        ({"named": {"new": {"few": 1}, "x": {"new": 1}}}, "named.x.new"),
        ({"named": {"new": [{"new": 1}]}}, "named.new[0].new"),
        ({"inner": {"few": 4}}, "inner.few"),
        ({"word": ["a", "c"]}, "word[1]"),
        ({"word": "c"}, "word"),
    ],
)
def test_what_is_not_open_is_refused_wherever_it_stands(data: dict[str, Any], path: str) -> None:
    (problem,) = told(data)
    assert problem.startswith(f"{path}: ")


def test_what_is_open_is_let_in_and_a_reason_is_told() -> None:
    assert not told(
        {"open": "", "inner": {"few": 3}, "named": {"shut": {"few": 1}}, "word": ["b"], "x-y": {"shut": 1}}
    )
    assert "because" in told({"told": ""})[0]
    assert "keys that it may have here: inner, named, open, several, word" in told({"new": ""})[0]
