"""docs/architecture.md says what is there: layers, map, tables and diagram are held against the code."""

from __future__ import annotations

import re
import tomllib
from importlib import import_module
from pathlib import Path
from typing import get_args

import pytest

import xml_pipeline
from xml_pipeline import events
from xml_pipeline.pump.facts import Fact
from xml_pipeline.threads import Event
from xml_pipeline.threads.phases import PHASES, diagram

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "architecture.md").read_text()
PACKAGE = Path(xml_pipeline.__file__).parent
ROOMS = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}


def table(heading: str) -> list[list[str]]:
    """The rows below a line of heads, as cells."""
    _, _, rest = PAGE.partition(f"\n| {heading} |")
    lines = rest.partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def test_the_layers_are_those_of_the_contract() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = (each["layers"] for each in contracts if each["id"] == "layers")
    assert "```\n" + "\n".join(layers).replace("xml_pipeline.", "") + "\n```" in PAGE


def test_every_room_is_on_the_map() -> None:
    assert {row[0].strip("`/") for row in table("place")} == ROOMS - {"__init__"}


@pytest.mark.parametrize("row", table("place"), ids=lambda row: row[0])
def test_the_names_on_the_map_are_there(row: list[str]) -> None:
    room = import_module(f"xml_pipeline.{row[0].strip('`/')}")
    missing = [name for name in re.findall(r"`(\w+)`", row[2]) if not hasattr(room, name)]
    assert not missing


@pytest.mark.parametrize("room", ["pump", "llm"])
def test_the_rooms_within_are_told(room: str) -> None:
    told = re.search(rf"Inside `{room}/`: (.*?)\n\n", PAGE, re.DOTALL)
    assert told
    missing = [
        name for name in re.findall(r"`([\w/]+\.py|\w+/)`", told[1]) if not (PACKAGE / room / name).exists()
    ]
    assert not missing


@pytest.mark.parametrize(("heading", "union"), [("fact", Fact), ("event", Event)])
def test_facts_and_events_of_record_are_all_told(heading: str, union: object) -> None:
    assert [row[0].strip("`") for row in table(heading)] == [each.__name__ for each in get_args(union)]


def test_what_observers_get_is_all_told() -> None:
    for kind, marker in ((events.Fact, "- A **fact**"), (events.Signal, "- A **signal**")):
        told = PAGE.partition(marker)[2].partition("\n- ")[0].partition("\n\n")[0]
        names = {each.__name__ for each in kind.__subclasses__() if each.__module__ == events.__name__}
        assert {name for name in re.findall(r"`(\w+)`", told) if hasattr(events, name)} == names


def test_the_diagram_is_drawn_from_the_table() -> None:
    drawn = re.search(r"```mermaid\n(.*?)\n```", PAGE, re.DOTALL)
    assert drawn
    assert drawn[1] == diagram(), "put what threads.phases.diagram() returns into the page"


def test_the_table_of_phases_knows_only_events_of_record() -> None:
    assert {event for _, event in PHASES} <= {each.__name__ for each in get_args(Event)}
