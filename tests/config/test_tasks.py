"""The page by task, and the skill: every file in them is right and runs, every mistake in them is one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.config.projects import only, problems_of, write
from xml_pipeline import Organism
from xml_pipeline.cases import played
from xml_pipeline.cli.parser import COMMANDS
from xml_pipeline.composition import router_of
from xml_pipeline.config import load, loads
from xml_pipeline.config.reference import reference
from xml_pipeline.config.serving import unserved
from xml_pipeline.config.skill import EXAMPLES as WHOLE
from xml_pipeline.config.skill import MISTAKES, NAME, Mistake, skill
from xml_pipeline.config.tasks import EXAMPLES, Example

_TASK = {"Task": {"text": "Where are 2 and 40?"}}
SAID: Mapping[str, tuple[Mapping[str, Any], Any]] = {
    "A first agent": (_TASK, "I am a rule, and no model."),
    "Typed messages": ({"Ticket": {"text": "My bill is wrong"}}, "billing"),
    "Calling each other": (_TASK, "It is 42."),
    "Steps": ({"Ticket": {"text": "my roof leaks"}}, "We look at it: my roof leaks"),
    "People": ({"Order": {"item": "cup", "price": "3.50"}}, True),
    "Hand-over": (_TASK, "It is on its way."),
    "Money": (_TASK, "That was cheap."),
    "Triggers": (_TASK, "Nothing is new."),
    "Tests": (_TASK, "Tested."),
}
"""What each example's default listener is asked, and the first field of what it answers."""


def named(example: Example) -> str:
    return example.heading


@pytest.mark.parametrize("example", EXAMPLES, ids=named)
async def test_an_example_runs(example: Example, tmp_path: Path) -> None:
    file = write(tmp_path, {"organism.yaml": example.yaml, **example.beside})
    config = load(file, environ={})
    assert unserved(config, list(router_of(config).backends.values())) == []
    message, wanted = SAID[example.heading]
    async with Organism.from_config(config) as organism:
        asking = organism.send if example.heading == "People" else organism.ask
        answer = await asking(config.organism.default, message)
        if example.heading == "People":
            (question,) = await asked(organism)
            Verdict = organism.payloads["Verdict"]
            organism.answer(question.thread_id, Verdict(allowed=True))
            return
        assert next(iter(vars(answer).values())) == wanted


def test_the_cases_of_an_example_pass(tmp_path: Path) -> None:
    for number, example in enumerate(EXAMPLES):
        folder = tmp_path / str(number)
        folder.mkdir()
        config = load(write(folder, {"organism.yaml": example.yaml, **example.beside}), environ={})
        assert all(played(config, case).passed for case in config.tests)


async def asked(organism: Organism) -> Any:
    """The questions, once there is one."""
    async with organism.events() as events:
        while not organism.questions():
            await anext(events)
    return organism.questions()


async def test_a_refund_is_handed_over_to_the_person(tmp_path: Path) -> None:
    example = next(each for each in EXAMPLES if each.heading == "Hand-over")
    file = write(tmp_path, {"organism.yaml": example.yaml, **example.beside})
    async with Organism.from_file(file) as organism:
        await organism.send("desk", {"Task": {"text": "a refund, please"}})
        (question,) = await asked(organism)
        assert question.listener == "boss"


def test_the_page_begins_with_the_tasks() -> None:
    page = reference()
    headings = [row.removeprefix("## ") for row in page.splitlines() if row.startswith("## ")]
    assert headings[: len(EXAMPLES)] == [each.heading for each in EXAMPLES]
    for each in EXAMPLES:
        assert each.yaml in page
        assert f"(#{each.heading.lower().replace(' ', '-')})" in page


# --- the skill ---


def test_the_skill_follows_the_convention() -> None:
    begin, head, body = skill().split("---\n", 2)
    said = yaml.safe_load(head)
    assert begin == ""
    assert set(said) == {"name", "description"}
    assert said["name"] == NAME == "organism-yaml"
    assert 0 < len(said["description"]) <= 1024
    assert len(skill().splitlines()) < 500
    assert body.strip()


def test_the_skill_names_commands_that_there_are() -> None:
    there = {each.name for each in COMMANDS}
    for word in ("check", "run", "graph", "describe"):
        assert f"`xp {word} " in skill()
        assert word in there


def test_the_skill_holds_whole_files() -> None:
    assert len(WHOLE) == 3
    assert all(example.yaml in skill() for example in WHOLE)
    assert {example.heading for example in WHOLE} <= set(SAID)


def test_the_skill_knows_every_key_of_a_listener_and_of_a_field() -> None:
    text = skill()
    for key in ("accepts", "answers", "hands_over_to", "budget", "min_length", "any_of", "shutdown_seconds"):
        assert f"- `{key}`" in text
    assert "`llm.backends[]`" in text


def _file_with(part: str) -> str:
    """A file in which a part of a mistake stands where it belongs."""
    match part.partition(":")[0].removeprefix("{"):
        case "handler":
            listeners, rest = f"{{name: a, {part}}}", ""
        case "name":
            listeners, rest = part, ""
        case "api_key" | "api_key_env":
            listeners, rest = "{name: a, human: true}", f"backends: [{{provider: openai, {part}}}]"
        case "text" | "sure":
            return f"organism: {{name: x}}\npayloads: {{A: {{fields: {{{part}}}}}}}\n"
        case "human":
            listeners, rest = f"{{name: a, {part}}}", ""
        case _:
            listeners, rest = f"{{name: a, agent: true, model: m, {part}}}", ""
    return f"organism: {{name: x}}\nlisteners: [{listeners}, {{name: adder, human: true}}]\nllm: {{{rest}}}\n"


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda each: each.wrong)
def test_a_mistake_is_one_and_what_is_right_is_right(mistake: Mistake) -> None:
    problems = problems_of(_file_with(mistake.wrong))
    assert mistake.told in problems[0].message
    if "[yes, no]" not in mistake.wrong:
        only(problems)
    loads(_file_with(mistake.right), imports="nothing", environ={})
    assert len(MISTAKES) == 10
