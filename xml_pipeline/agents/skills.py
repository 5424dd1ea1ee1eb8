"""Skills: what an agent may read when it needs it. Their names and descriptions alone stand in its prompt. Pure.

The convention is that of https://agentskills.io/specification: a folder with a SKILL.md, which begins with its name
and its description, and perhaps further files.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Annotated

from pydantic import Field

from xml_pipeline.agents.wording import broken
from xml_pipeline.errors import cut, did_you_mean, listing
from xml_pipeline.payload import xmlify

TOOL = "read_skill"
"""The tool's name; no listener has its full one, which has a blank in it."""


@xmlify
@dataclass(frozen=True)
class ReadSkill:
    """A skill, or a file of one, to read."""

    name: Annotated[str, Field(description="The skill's name.")]
    file: Annotated[
        str, Field(description="A file of the skill, as the skill names it; empty for the skill.")
    ] = ""


@dataclass(frozen=True, slots=True)
class Skill:
    """One skill, read whole when the organism was loaded.

    Attributes:
        name: unique among those of an agent.
        description: what it is for, and when.
        text: what an agent reads that asks for it.
        files: further texts by their path in the skill's folder, with `/`.
    """

    name: str
    description: str
    text: str = field(repr=False)
    files: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), repr=False)


def told(skills: Iterable[Skill], how: str) -> str:
    """What the prompt says of skills; "" without any.

    Args:
        skills: those of the agent.
        how: how one is read.
    """
    lines = [f"- {each.name}: {' '.join(each.description.split())}" for each in skills]
    if not lines:
        return ""
    return "\n".join((f"You have skills. Before you do what one is for, read it{how}:", *lines))


def looked_up(skills: Sequence[Skill], asked: ReadSkill) -> str:
    """What an agent reads.

    Raises:
        PayloadError: there is no such skill, or no such file; it says what there is.
    """
    by_name = {skill.name: skill for skill in skills}
    skill = by_name.get(asked.name.strip())
    if skill is None:
        hint = did_you_mean(asked.name, by_name)
        raise broken("name", f"there is no skill '{cut(asked.name)}'{hint}", listing(list(by_name)))
    name = asked.file.strip().removeprefix("./")
    if not name or name == "SKILL.md":
        files = f"\n\n(Its files: {', '.join(skill.files)}.)" if skill.files else ""
        return skill.text + files
    if name not in skill.files:
        hint = did_you_mean(name, skill.files)
        there = listing(list(skill.files)) or "none"
        raise broken("file", f"the skill '{skill.name}' has no file '{cut(name)}'{hint}", there)
    return skill.files[name] or "(The file is empty.)"
