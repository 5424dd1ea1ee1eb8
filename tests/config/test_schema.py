"""The JSON Schema takes what `load` takes and names the keys that it refuses."""

from __future__ import annotations

import json

import jsonschema
import pytest
import yaml

from tests.config.test_loader import MISTAKES, VALID
from xml_pipeline.config import json_schema

DECLARED = """
organism: {name: x}
payloads:
  Empty: {fields: {}}
  Full:
    description: All forms.
    fields:
      a: text
      b: [red, "1"]
      c: {type: integer, min: 1, max: 5, default: 3}
      d: {type: date, min: "2026-01-01", optional: true, description: When.}
      e: {one_of: [x, y], default: x}
      f: {any_of: [Empty, Full], optional: true}
      g: {list: {type: text, pattern: "[a-c]+", example: ab}, min_length: 1}
      h: {type: {list: [a, b]}, default: [a]}
listeners: [{name: p, human: true, accepts: [Full, Empty]}]
"""

validator = jsonschema.Draft202012Validator(json_schema())


def errors_of(text: str) -> list[str]:
    return ["/".join(map(str, error.absolute_path)) for error in validator.iter_errors(yaml.safe_load(text))]


def test_it_is_a_schema_of_the_dialect_it_names() -> None:
    schema = json_schema()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    jsonschema.Draft202012Validator.check_schema(schema)
    json.dumps(schema)


@pytest.mark.parametrize(
    "text",
    [
        VALID,
        DECLARED,
        "organism: {name: x}\nlisteners: parts/\n",
        "organism: {name: x, max_in_flight: '${N}', thread_scheduling: '${S:-depth-first}'}\n",
        "organism: {name: x}\nlisteners: [{name: '${A}', agent: '${YES:-true}', model: m}]\n",
        "organism: {name: x}\nlisteners: [{name: a, handler: a:b, accepts: [a:B, a:C]}]\n",
        "organism: {name: x}\nlisteners: [{name: a, human: true, accepts: Task, answers: [a:B, Answer]}]\n",
        "organism: {name: x, format: 1}\nx-mine: [1]\ndefaults: {agents: {model: m, history: {messages: 3}}}\n",
        "organism: {name: x}\nlisteners: [{name: a, agent: true, prompt: [be kind, {file: p.md}]}]\n",
        "organism: {name: x}\nlisteners: [{name: a, agent: true, prompt: {file: p.md}}]\n",
    ],
)
def test_it_takes_what_is_valid(text: str) -> None:
    assert errors_of(text) == []


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("organism: {name: x, nmae: y}", "organism"),
        ("organism: {name: x, max_in_flight: 0}", "organism/max_in_flight"),
        ("organism: {name: x}\nlisteners: [{name: a}]", "listeners/0"),
        ("organism: {name: x}\nlisteners: [{name: 'a b', human: true}]", "listeners/0/name"),
        ("organism: {name: x}\npayloads: {A: {fields: {}, feilds: {}}}", "payloads/A"),
        ("organism: {name: x}\npayloads: {A: {fields: {b: [c, 1]}}}", "payloads/A/fields/b"),
        ("listeners: []", ""),
        ("organism: {name: x, format: 2}", "organism/format"),
        ("organism: {name: x}\ndefaults: {agents: {name: a}}", "defaults/agents"),
        ("organism: {name: x}\nlisteners: [{name: a, handler: a.b}]", "listeners/0/handler"),
        ("organism: {name: x}\nlisteners: [{name: a, handler: a:b, answers: a.B}]", "listeners/0/answers"),
        (
            "organism: {name: x}\nlisteners: [{name: a, agent: true, prompt: [{fil: p.md}]}]",
            "listeners/0/prompt/0",
        ),
    ],
)
def test_it_refuses_what_load_refuses(text: str, path: str) -> None:
    # A keyword around a mistake (anyOf) reports it where it stands itself, which is above.
    assert any(path.startswith(found) for found in errors_of(text))


def test_it_refuses_a_file_full_of_mistakes() -> None:
    assert errors_of(MISTAKES)


def test_every_key_has_a_description() -> None:
    schema = json_schema()
    for section in [schema, *schema["$defs"].values()]:
        for name, key in section.get("properties", {}).items():
            assert key.get("description") or "$ref" in key, f"{section['title']}.{name}"


def test_a_caller_may_change_its_copy() -> None:
    json_schema()["properties"].clear()
    assert "organism" in json_schema()["properties"]
