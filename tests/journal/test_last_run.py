"""docs/guarantees.md tells the figures of the last large run, and no others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.journal.large_run import figures

PAGE = (Path(__file__).parents[2] / "docs" / "guarantees.md").read_text()
HEAD = "| large run of `tests/journal/` | when | how often |\n|---|---|---|\n"
TOLD = {
    "kills": (
        "deaths of processes, half at random times and half at named places",
        "test_kills",
        "{deaths:,}",
    ),
    "stops": ("stops at random times", "test_stopped", "{stops:,}, then {killed_while_stopped:,} deaths"),
    "full_disks": ("deaths on a disk that got full", "test_no_room", "{deaths:,}"),
    "power_cuts_full": ("power cuts with `full`", "test_power_loss", "{cuts:,}"),
    "power_cuts_normal": ("power cuts with `normal`", "test_power_loss", "{cuts:,}"),
}


def rows() -> list[str]:
    """What the page says of the figures."""
    return [
        f"| {what} (`tests/journal/{test}.py`) | {counts['date']} | {often.format(**counts)} |"
        for counts, (what, test, often) in ((counts, TOLD[part]) for part, counts in figures().items())
    ]


def test_the_page_tells_the_figures_of_the_last_large_run() -> None:
    table = PAGE.partition(HEAD)[2].partition("\n\n")[0]
    assert table.splitlines() == rows()


@pytest.mark.parametrize(("part", "counts"), figures().items())
def test_a_large_run_is_one_in_which_nothing_was_lost(part: str, counts: dict[str, Any]) -> None:
    assert counts.get("lost", 0) == counts.get("twice", 0) == counts.get("torn", 0) == 0
    assert part != "kills" or counts["deaths"] >= 10_000
