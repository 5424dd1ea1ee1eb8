"""`llm cost` and `llm calls`: what stands in a ledger, while its organism runs and when it does not."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from lxml import etree

from tests.cli.conftest import Done
from tests.journal.test_spending import NOW, attempt, came, written

Xp = Callable[..., Done]

ORGANISM = "organism: {name: demo, journal: state.db}\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "organism.yaml").write_text(ORGANISM)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    rows = [
        (attempt(agent="writer", operation="draft"), came(micro_usd=4_000_000)),
        (attempt(agent="=cmd()", conversation="c2"), came(micro_usd=1_000_000, estimated=True)),
        (attempt(NOW + 90_000, agent="writer"), came(NOW + 90_001, micro_usd=None)),
    ]
    asyncio.run(written(tmp_path / "state.db", rows))
    return tmp_path


def test_the_table_has_bars_and_a_total(folder: Path, xp: Xp) -> None:
    done = xp("llm", "cost")
    assert done.returncode == 0, done.stderr
    head, first, second, total, *told = done.stdout.splitlines()
    assert head.split()[0] == "AGENT"
    assert first.startswith("writer")
    assert "█" in first
    assert "$1.00" in second
    assert "$5.00" in total
    assert [each[0] for each in told] == ["~", "+"]
    assert all(len(row) <= 100 for row in done.stdout.splitlines())


def test_other_rows_and_other_times(folder: Path, xp: Xp) -> None:
    assert xp("llm", "cost", "--by", "operation").stdout.splitlines()[1].startswith("draft")
    assert len(xp("llm", "cost", "--by", "day").stdout.splitlines()) == 6
    assert xp("llm", "cost", "--until", "2001-01-01").stdout == "no model was called\n"
    assert "$1.00" in xp("llm", "cost", "--conversation", "c2").stdout
    assert "no conversation with calls begins" in xp("llm", "cost", "--conversation", "x").stderr


def test_json_and_csv_have_all_numbers(folder: Path, xp: Xp) -> None:
    found = json.loads(xp("llm", "cost", "--json").stdout)
    assert [each["agent"] for each in found["rows"]] == ["writer", "=cmd()"]
    assert found["total"]["usd"] == 5.0
    assert found["total"]["unpriced"] == 1
    assert found["total"]["saved_by_caching_usd"] is None
    rows = list(csv.DictReader(io.StringIO(xp("llm", "cost", "--csv").stdout)))
    assert [each["agent"] for each in rows] == ["writer", "'=cmd()"]
    assert [each["input_tokens"] for each in rows] == ["200", "100"]


@pytest.mark.parametrize("name", ["cost.svg", "cost.png"])
def test_a_picture_is_drawn(folder: Path, xp: Xp, name: str) -> None:
    pytest.importorskip("matplotlib")
    done = xp("llm", "cost", "--plot", name)
    assert done == Done(0, f"{name} is drawn\n", "")
    data = (folder / name).read_bytes()
    if name.endswith("svg"):
        assert etree.fromstring(data).tag.endswith("svg")
    else:
        assert data.startswith(b"\x89PNG")
    assert sorted(each.name for each in folder.iterdir() if "cost" in each.name) == [name]


def test_what_cannot_be_drawn_says_why(folder: Path, xp: Xp, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "ends with .svg or .png" in xp("llm", "cost", "--plot", "cost.gif").stderr
    assert "cannot be written" in xp("llm", "cost", "--plot", "nowhere/cost.svg").stderr
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert "pip install 'xml-pipeline[plot]'" in xp("llm", "cost", "--plot", "cost.svg").stderr


def test_the_file_is_the_one_that_the_organism_names_or_the_command(folder: Path, xp: Xp) -> None:
    (folder / "organism.yaml").write_text("organism: {name: demo}\nllm: {ledger: state.db, offline: true}\n")
    assert "$5.00" in xp("llm", "cost").stdout
    (folder / "organism.yaml").write_text("organism: {name: demo}\n")
    assert "names no ledger" in xp("llm", "cost").stderr
    assert "$5.00" in xp("llm", "cost", "--journal", "state.db").stdout
    assert "there is no journal nothing.db" in xp("llm", "cost", "--journal", "nothing.db").stderr


def test_calls_are_listed_with_their_numbers(folder: Path, xp: Xp) -> None:
    head, first, second, third = xp("llm", "calls").stdout.splitlines()
    assert head.split()[:2] == ["CALL", "ENDED"]
    assert first.split()[0] == "1"
    assert "$4.00" in first
    assert second.endswith("estimated")
    assert "cost unknown" in third
    assert [each["number"] for each in json.loads(xp("llm", "calls", "-n", "1", "--json").stdout)] == [3]
    assert xp("llm", "calls", "--until", "2001-01-01").stdout == "no calls\n"


def test_a_call_says_all_that_its_row_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, xp: Xp) -> None:
    (tmp_path / "organism.yaml").write_text(ORGANISM)
    monkeypatch.chdir(tmp_path)
    started = attempt(agent="writer", operation="draft")._replace(threads=("inner", "outer"), attempt=2)
    ended = came(cached=20, micro_usd=7)._replace(
        cache_write=30, cache_write_1h=10, reasoning=4, tool_calls=3
    )
    asyncio.run(written(tmp_path / "state.db", [(started, ended), (attempt(), None)], organism="demo"))
    over, open_ = json.loads(xp("llm", "calls", "--json").stdout)
    assert over == {
        "number": 1,
        "at": NOW + 1,
        "organism": "demo",
        "agent": "writer",
        "thread": "inner",
        "conversation": "c1",
        "operation": "draft",
        "backend": "b",
        "model": "m",
        "priced_as": "m",
        "attempt": 2,
        "outcome": "answered",
        "prompt": 100,
        "cached": 20,
        "cache_write": 30,
        "cache_write_1h": 10,
        "output": 10,
        "reasoning": 4,
        "usd": 7e-6,
        "estimated": False,
        "confirmed": True,
        "amended": None,
        "latency": 1.0,
        "stop_reason": "stop",
        "tool_calls": 3,
        "error": "",
    }
    assert (open_["outcome"], open_["latency"], open_["thread"], open_["attempt"]) == ("", None, "", 1)
