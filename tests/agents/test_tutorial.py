"""The files of docs/tutorial/research-team.md do what the page says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from xml_pipeline import Organism
from xml_pipeline.agents import Task
from xml_pipeline.testing import run_in_virtual_time

PAGE = (Path(__file__).parents[2] / "docs" / "tutorial" / "research-team.md").read_text()


class Loader(yaml.SafeLoader):
    """YAML in which `on` is a word, as in organism.yaml."""


Loader.yaml_implicit_resolvers = {
    first: [each for each in resolvers if each[0] != "tag:yaml.org,2002:bool"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
BLOCKS: list[Any] = [
    yaml.load(text.replace("agent: true", "agent: !!bool true"), Loader)
    for text in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
]
FIRST, RULES, TEAM, TEAM_RULES, BUDGET = BLOCKS
QUESTION = "Why do agents exchange validated messages?"


def answer(tmp_path: Path, listeners: list[Any], rules: list[Any] | None) -> str:
    """What the team says, with the offline backend alone."""
    llm = {"models": FIRST["llm"]["models"], "backends": [dict(FIRST["llm"]["backends"][-1])]}
    if rules:
        llm["backends"][0]["rules"] = rules
    path = tmp_path / "organism.yaml"
    path.write_text(yaml.safe_dump({"organism": FIRST["organism"], "listeners": listeners, "llm": llm}))

    async def main() -> str:
        async with Organism.from_file(path, environ={}) as organism:
            return str((await organism.ask("lead", Task(QUESTION))).text)

    return run_in_virtual_time(main())


def test_each_step_of_the_tutorial(tmp_path: Path) -> None:
    first = answer(tmp_path, FIRST["listeners"], None)
    assert f"lead: {first}" in PAGE
    assert answer(tmp_path, FIRST["listeners"], RULES["rules"]) == RULES["rules"][0]["reply"]
    team = answer(tmp_path, TEAM, TEAM_RULES["rules"])
    assert team == "My researcher says: It is refused where it is wrong."
    lead = {**TEAM[0], **BUDGET[0]}
    assert answer(tmp_path, [lead, TEAM[1]], TEAM_RULES["rules"]) == team


def test_the_whole_of_the_first_file_is_valid(tmp_path: Path) -> None:
    path = tmp_path / "organism.yaml"
    path.write_text(yaml.safe_dump(FIRST))
    organism = Organism.from_file(path, environ={})
    assert list(organism.router.backends) == ["openai", "ollama", "offline"]
