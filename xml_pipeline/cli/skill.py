"""`skill`: what a coding agent reads before it writes an organism.yaml."""

from __future__ import annotations

import argparse
from pathlib import Path

from xml_pipeline.cli.command import argument, command
from xml_pipeline.errors import ConfigError
from xml_pipeline.terminal import line, plain


@command(
    "skill",
    "print a skill (SKILL.md) that teaches a coding agent to write organism.yaml",
    argument(
        "--into",
        metavar="DIR",
        help="write it there, as organism-yaml/SKILL.md: DIR is where the agent looks for skills",
    ),
)
def skill(arguments: argparse.Namespace) -> int:
    """Print or write it; one that is there already is brought up to date."""
    from xml_pipeline.config.skill import NAME
    from xml_pipeline.config.skill import skill as text

    if arguments.into is None:
        print(text(), end="")
        return 0
    path = Path(arguments.into) / NAME / "SKILL.md"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text(), encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror or error}") from None
    print(plain(line(f"{path}: written")))
    return 0
