"""The reference page of organism.yaml, written from the models.

python -m xml_pipeline.config.reference docs/reference/organism-yaml.md
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from xml_pipeline.config.document import MAX_ALL_BYTES, MAX_DEPTH, MAX_PROBLEMS, MAX_TEXT, MAX_VALUES
from xml_pipeline.config.models import (
    CLASS_PATTERN,
    EVERYBODY,
    IMPORT_PATTERN,
    For,
    OrganismConfig,
    listener_keys,
)
from xml_pipeline.config.names import NAME_PATTERN
from xml_pipeline.config.tasks import EXAMPLES
from xml_pipeline.marks import CLOSED, Mark, mark_of
from xml_pipeline.regular import MAX_BYTES

EXAMPLE = """\
organism:
  name: demo
  default: researcher
listeners:
  - name: researcher
    agent: true
    description: Answers questions in two sentences.
    model: smart
    prompt: You answer in two sentences.
    max_turns: 4
    budget: {tokens: 100000, usd: 1.0}
  - name: approver
    human: true
    description: Says yes or no.
llm:
  models: {smart: [claude-sonnet-4-5, gpt-4o]}
  backends:
    - provider: anthropic        # reads its key from ANTHROPIC_API_KEY
    - provider: openai
      api_key_env: ${KEY_NAME:-OPENAI_API_KEY}
"""

_HEAD = """\
# organism.yaml

One file declares an organism: its listeners, their limits and the models they may use. First what it is written
for, task by task, each a whole file that runs as it stands; then [the rules](#rules-for-the-whole-file) and
[every key](#the-file).
"""

_RULES = f"""\
## The loop

- `xp check organism.yaml` lists the mistakes with their lines; `--watch` again when a file is saved, `--json` for
  programs.
- `xp schema --for organism.yaml --write` puts a JSON Schema (draft 2020-12) beside the file that knows its names,
  and tells editors of it in the first line; `xp schema` prints the one of all files.
- `xp run organism.yaml --reload` talks to the organism, and begins anew with it when a file is saved.
- `xp skill` teaches a coding agent to write such files.

In code: `xml_pipeline.config.load(path)`. At a glance:

```yaml
{EXAMPLE}```

## Rules for the whole file

- **Keys.** Unknown keys are mistakes. A key may be left out when it has a default; an empty one (`peers:`) is a
  mistake.
- **Types.** Unquoted values follow YAML 1.2: `no`, `on` and `2026-01-01` are text, `true` and `false` are truth
  values. `"8"` is text and no number.
- **Variables.** `${{NAME}}` and `${{NAME:-default}}` (for a variable that is not set or empty) stand for environment
  variables, everywhere in values; `$$` is one `$`. The result has the type that its key asks for. Between braces
  and brackets they need quotes: `{{tokens: "${{LIMIT}}"}}`. A `.env` file beside organism.yaml adds variables; those
  of the process go first, and neither is changed. Values from variables are not shown in errors.
- **Keys of providers** do not stand in the file: write `api_key_env: NAME`, or `api_key_ref: NAME` for one that
  `xp auth set NAME` stored. What looks like a key is refused.
- **Import paths** are `module:function` and `module:Class`. Modules beside organism.yaml are found first. The
  directory is searched while the file is loaded only, so such modules import each other at their top, not inside
  functions.
- **Defaults.** What `defaults: {{agents: …}}` says holds for built-in agents that do not say otherwise, each key for
  itself; it is the only place for defaults. Keys of the whole file that begin with `x-` are ignored: they are for
  anchors.
- **Contracts.** Each listener `accepts` and `answers` payload classes, one or a list. A class is an import path, or a
  word: one of `payloads` ([declared in YAML](../guides/payloads.md#declared-in-yaml)), `Task` or `Answer`.
- **Listener files.** `listeners: parts` reads each `*.yaml` (and `*.yml`) of the directory `parts` beside
  organism.yaml, in the order of their names: one listener, or a list of them. A file of a `prompt` and a folder of
  `skills` are relative to the file that names them.
- **Where files are.** Prompts, skills and listener files lie below the directory of organism.yaml, symbolic links
  followed. Whoever runs the file may name another directory, `--root DIR` (in Python `root=`); the file itself
  cannot.
- **What runs.** Reading a file runs none of its code. Only when nothing is wrong that can be seen without it are
  the modules imported that `llm` names (`modules`, `on_event`, providers of other packages), then, if those are
  right, the handlers and payload classes. `run`, `check`, `send` and `describe` import all of them, `llm list`,
  `llm ask` and `llm test` those of `llm` alone, `graph` and `check --no-import` nothing. An import runs what stands
  at the top of a module: check and run a stranger's file with `--untrusted`.
- **Strangers' files.** With `--untrusted` a file may have the keys alone that say so in the column "strangers", and
  numbers up to the one that stands there; where a table has no such column, none of its keys. It has no import paths
  and no `${{NAME}}`, and names nothing outside of its folder ([strangers' files](../guides/strangers.md)).
- **YAML.** Anchors and aliases work, tags and merge keys (`<<`) do not: nothing is merged. A file has at most
  {MAX_BYTES:,} bytes of UTF-8 and {MAX_DEPTH} levels; all files of an organism together have {MAX_ALL_BYTES:,} bytes,
  {MAX_VALUES:,} keys and values, and {MAX_TEXT:,} characters of text, prompts and skills, aliases and
  variables counted each time they are used.
  Pipes, devices and other things that are no files are refused, as `.env` too. The first {MAX_PROBLEMS} mistakes
  are told, the rest counted.
- **Kinds of listeners.** A listener with a `handler` is a tool (with `agent: true` a hand-written agent), one with
  `agent: true` alone is the built-in agent, one with `human: true` is a person.
"""


def reference() -> str:
    """The page, as Markdown."""
    schema = OrganismConfig.model_json_schema(mode="validation")
    parts = [_HEAD]
    parts += [f"- [{each.heading}](#{each.heading.lower().replace(' ', '-')})" for each in EXAMPLES]
    parts += [f"\n## {each.heading}\n\n{each.markdown}\n\n{each.more}".rstrip() for each in EXAMPLES]
    parts.append(f"\n{_RULES}")
    paths: dict[str, list[str]] = {}
    found: dict[str, Mapping[str, Any]] = {}
    for path, section in sections(schema):
        found[section["title"]] = section
        paths.setdefault(section["title"], []).append(path)
    for title, section in found.items():
        heading = ", ".join(f"`{path}`" for path in paths[title]) if title != "OrganismConfig" else "The file"
        parts.append(f"## {heading}\n\n{section['description']}\n")
        parts.append(_table(schema, paths[title][0], section))
    return "\n".join(parts)


def sections(schema: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Every mapping with fixed keys of the file's schema, with its path, in the order of the file."""
    return _sections(schema, schema, "")


def _sections(
    root: Mapping[str, Any], section: Mapping[str, Any], path: str, outer: tuple[str, ...] = ()
) -> Iterator[tuple[str, Any]]:
    """Those below a path; one inside itself once."""
    if section["title"] in outer:
        return
    outer = (*outer, section["title"])
    yield path, section
    for name, key in section["properties"].items():
        for suffix, reference in _references(key):
            below = root["$defs"][reference.rsplit("/", 1)[1]]
            yield from _sections(root, below, f"{path}.{name}{suffix}".removeprefix("."), outer)


def _references(key: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The sections that a key holds, each with what stands between the key and the section's keys."""
    found: dict[str, str] = {}
    for option in (key, *key.get("anyOf", ())):
        for suffix, holder in (
            ("", option),
            ("[]", option.get("items", {})),
            (".NAME", option.get("additionalProperties")),
        ):
            held = (holder, *holder.get("anyOf", ())) if suffix and isinstance(holder, Mapping) else (holder,)
            for each in held:
                if isinstance(each, Mapping) and "$ref" in each:
                    found[each["$ref"]] = suffix
                elif isinstance(each, Mapping) and suffix and "$ref" in each.get("items", {}):
                    found[each["items"]["$ref"]] = f"{suffix}[]"
    return [(suffix, reference) for reference, suffix in found.items()]


def _table(root: Mapping[str, Any], path: str, section: Mapping[str, Any]) -> str:
    kinds = path == "listeners[]"
    required = section.get("required", ())
    marked = any(mark_of(key) for key in section["properties"].values())
    heads = ["key", "type", "default", *["for"] * kinds, *["strangers"] * marked, "meaning"]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for name, key in section["properties"].items():
        cells = [f"`{name}`", type_of(key), "**required**" if name in required else _default(key)]
        if kinds:
            cells.append(kinds_of(listener_keys()[name]))
        if marked:
            cells.append(_strangers(mark_of(key) or CLOSED))
        cells.append(_described(root, key))
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(lines) + "\n"


def kinds_of(who: For) -> str:
    """Which listeners may have a key, in words."""
    return "all" if who == EVERYBODY else ", ".join(kind for kind, may in asdict(who).items() if may)


def _strangers(mark: Mark) -> str:
    """Whether a file from somebody else may have the key, in a word."""
    if mark.only:
        return " or ".join(f"`{text}`" for text in mark.only)
    return f"≤ {mark.most:,}" if mark.most is not None else "yes" if mark.open else "no"


def _described(root: Mapping[str, Any], key: Mapping[str, Any]) -> str:
    text = key.get("description")
    if text is None and "$ref" in key:
        text = root["$defs"][key["$ref"].rsplit("/", 1)[1]]["description"]
    return str(text)


def _default(key: Mapping[str, Any]) -> str:
    value = key.get("default")
    return "" if value in (None, "", [], {}) or isinstance(value, dict) else f"`{json.dumps(value)}`"


_PLAIN = {"boolean": "`true` or `false`", "object": "mapping"}
_PATTERNS = {NAME_PATTERN: "name", IMPORT_PATTERN: "import path", CLASS_PATTERN: "class"}


def type_of(key: Mapping[str, Any]) -> str:
    """What may stand there, in words."""
    if "const" in key:
        return f"`{key['const']}`"
    if "enum" in key:
        return " or ".join(f"`{value}`" for value in key["enum"])
    options = [option for option in key.get("anyOf", ()) if option.get("type") != "null"]
    if options:
        return " or ".join(dict.fromkeys(map(type_of, options)))
    kind = key.get("type")
    if kind == "array":
        return f"list of {type_of(key['items'])}" if "items" in key else "list"
    if kind == "object" and isinstance(key.get("additionalProperties"), Mapping):
        return f"mapping: name to {type_of(key['additionalProperties'])}"
    if kind in ("integer", "number"):
        return ("whole number" if kind == "integer" else "number") + _range(key)
    if kind == "string":
        return _PATTERNS.get(key.get("pattern", ""), "text")
    return _PLAIN.get(str(kind), "mapping" if "$ref" in key else "anything")


def _range(key: Mapping[str, Any]) -> str:
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    bounds = [f"{sign} {key[name]:g}" for name, sign in signs.items() if name in key]
    return f" {' and '.join(bounds)}" if bounds else ""


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(reference(), encoding="utf-8")
