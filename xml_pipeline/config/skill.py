"""A skill that teaches a coding agent to write organism.yaml, in the convention of SKILL.md (https://agentskills.io).

Its keys come from the models that the reference page comes from, its examples are those of that page.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from xml_pipeline.config.models import OrganismConfig, listener_keys
from xml_pipeline.config.reference import kinds_of, sections, type_of
from xml_pipeline.config.tasks import CALLS, HAND_OVER, TYPED_MESSAGES

_END = re.compile(r"\.\s+(?=[A-Z`])|; ")

NAME = "organism-yaml"
"""The skill's name, and that of its folder."""

EXAMPLES = (TYPED_MESSAGES, CALLS, HAND_OVER)


@dataclass(frozen=True, slots=True)
class Mistake:
    """One that is made often.

    Attributes:
        wrong: a part of a file.
        right: what belongs there.
        told: what `xp check` says, in part.
    """

    wrong: str
    right: str
    told: str


MISTAKES = (
    Mistake("handler: handlers.add", "handler: handlers:add", "must be an import path"),
    Mistake(
        "{name: a, agent: true}", "{name: a, agent: true, model: smart}", "is an agent without a `model`"
    ),
    Mistake("peers: [addr]", "peers: [adder]", "there is no listener 'addr'; did you mean 'adder'?"),
    Mistake("handler: 'h:f', prompt: Be kind.", "handler: 'h:f'", "`prompt` is for agents"),
    Mistake("human: true, peers: [adder]", "human: true", "a person has no `peers`"),
    Mistake("api_key: sk-123", "api_key_env: MY_KEY", "keys do not stand in this file"),
    Mistake("text: string", "text: text", "there is no type `string`; write `text`"),
    Mistake("text: {type: text, required: true}", "text: text", "a field is required unless"),
    Mistake("sure: [yes, no]", 'sure: ["yes", "no"]', "is a truth value for other readers of YAML"),
    Mistake("prompt: {{input}}", 'prompt: "{{input}}"', "put it into quotes"),
)

_HEAD = f"""\
---
name: {NAME}
description: >-
  Writes and mends organism.yaml files of xml-pipeline: agents, people, handlers, typed payloads, peers, hand-over,
  models and budgets. Use it when such a file is to be made, changed, checked or explained.
---

# organism.yaml

One YAML file declares an organism: listeners that exchange typed, validated messages. YAML coordinates, Python
computes, agents judge: there are no expressions and no inline scripts, unknown keys are mistakes, and nothing is
merged.

## The loop

Do not guess what a key is called: write, then check.

1. `xp check --json organism.yaml`: one line of JSON, exit code 0 or 1. Each of `problems` has `file`, `line`,
   `column`, `path`, `message`, and often `allowed` and `did_you_mean`. Mend all of them, then check again, until
   `ok` is true. It imports the handlers; with `--no-import` it runs no code.
2. `xp run --once "a task" --dry-run organism.yaml`: what the task may cost, without asking a model.
3. `xp run --once "a task" organism.yaml`: the answer; exit code 0, 1 for an error, 3 when a budget ended it. With a
   `scripted` backend that works without a key.
4. `xp graph organism.yaml` draws who may call whom; `xp describe NAME` tells what a listener takes and answers.

## Kinds of listeners

| kind | has | takes and answers, when nothing is said |
|---|---|---|
| handler | `handler: module:function` | what its annotations say |
| agent | `agent: true` and a `model` | `Task` → `Answer`, one text each |
| person | `human: true` | `Task` → `Answer` |

- `accepts` and `answers` name classes of `payloads`, `Task`, `Answer`, or `module:Class`.
- `peers` are the listeners that one may call, `hands_over_to` those that may take its calls over; neither implies
  the other.
- An agent knows of a peer its `description` and the fields of what it accepts. Write both for a reader who knows
  nothing else.
- Keys of models are in environment variables (`api_key_env: NAME`), never in the file. `${{NAME:-default}}` is a
  variable.
"""


def skill() -> str:
    """The whole SKILL.md."""
    parts = [_HEAD, "## Three whole files\n"]
    parts += [f"### {each.heading}\n\n{each.markdown}\n" for each in EXAMPLES]
    parts.append("## Mistakes that are often made\n\n| wrong | right | what is told |\n|---|---|---|")
    parts += [f"| `{each.wrong}` | `{each.right}` | {each.told} |" for each in MISTAKES]
    parts.append("\n## All keys\n\nWhat has a `*` is required.")
    parts += _keys()
    return "\n".join(parts) + "\n"


def _keys() -> Iterator[str]:
    """Each section: its keys with what they mean; for models, of which there are many, their names alone."""
    schema = OrganismConfig.model_json_schema(mode="validation")
    seen: set[str] = set()
    told: list[set[str]] = []  # the keys of each section whose keys are explained
    for path, section in sections(schema):
        if section["title"] in seen or not path:
            continue
        seen.add(section["title"])
        yield f"\n**`{path}`** {_first(section['description'])}\n"
        required = section.get("required", ())
        names = {name: f"`{name}`{'*' if name in required else ''}" for name in section["properties"]}
        if path.startswith(("llm", "defaults.")) or any(known >= names.keys() for known in told):
            yield textwrap.fill(", ".join(names.values()), 120)
            continue
        told.append(set(names))
        for name, key in section["properties"].items():
            who = f", {kinds_of(listener_keys()[name])}" if path == "listeners[]" else ""
            yield f"- {names[name]} ({type_of(key)}{who}): {_first(_meaning(schema, key))}"


def _meaning(schema: Mapping[str, Any], key: Mapping[str, Any]) -> str:
    return str(key.get("description") or schema["$defs"][key["$ref"].rsplit("/", 1)[1]]["description"])


def _first(text: str) -> str:
    """Its first sentence."""
    return _END.split(" ".join(text.split()), maxsplit=1)[0].rstrip(".") + "."
