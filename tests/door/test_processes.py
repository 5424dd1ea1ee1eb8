"""Real processes that race, stop and die around one journal."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.cli.conftest import XP, Done, xp  # noqa: F401 - a fixture
from tests.console.processes import ROOT, read_until, start
from tests.door.test_running import (
    folder,  # noqa: F401 - a fixture
    listed_now,
)
from xml_pipeline.door import client

Xp = Callable[..., Done]


@contextmanager
def begun(where: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A process that is gone afterwards."""
    process = start(*arguments, state=where, cwd=where, PYTHONPATH=str(ROOT))
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@contextmanager
def hosted(where: Path) -> Iterator[subprocess.Popen[str]]:
    """An organism in a process of its own."""
    with begun(where, "-m", "tests.door.host") as process:
        assert process.stdout is not None
        read_until(process.stdout, "ready")
        yield process


def test_what_a_dead_owner_left_keeps_nobody_out(folder: Path, xp: Xp) -> None:  # noqa: F811
    with hosted(folder) as host:
        assert xp("ask", "echo", "hello", "--key", "k") == Done(0, "hello\n", "")
        host.send_signal(signal.SIGKILL)
        host.wait()
        assert (folder / "state.db.run" / "socket").exists()
        assert xp("cancel", "x").stderr.startswith("error: no conversation begins with 'x'")
    with hosted(folder):
        assert xp("ask", "echo", "hello", "--key", "k") == Done(0, "hello\n", "")
        assert xp("ask", "echo", "again") == Done(0, "again\n", "")
    assert xp("ask", "echo", "hello", "--key", "k") == Done(0, "hello\n", "")
    assert not (folder / "state.db.run").exists()
    assert len(listed_now(xp, "log")) == 2


def test_who_asks_at_the_same_time_gets_the_same_answer_whoever_was_first(
    folder: Path,  # noqa: F811
    xp: Xp,  # noqa: F811
) -> None:
    with ExitStack() as all_gone:
        racing = [
            all_gone.enter_context(begun(folder, *XP, "ask", "echo", "hello", "--key", "k")) for _ in range(4)
        ]
        ends = [(*each.communicate(timeout=50), each.returncode) for each in racing]
    assert ends == [("hello\n", "", 0)] * 4
    assert len(listed_now(xp, "log")) == 1
    assert xp("journal", "check").stdout.endswith(": ok\n")


def test_a_death_in_the_middle_is_told_as_what_it_is(folder: Path, xp: Xp) -> None:  # noqa: F811
    with hosted(folder) as host, begun(folder, *XP, "ask", "slow", "x", "--key", "k") as asking:
        while not [each for each in listed_now(xp, "log") if each["listener"] == "slow"]:
            pass
        host.send_signal(signal.SIGKILL)
        said, errors = asking.communicate(timeout=50)
        assert (asking.returncode, said) == (1, "")
        assert f"process {host.pid}, which had the journal, went away before it said" in errors
        assert "what has a --key can be asked again" in errors
    source = (folder / "organism.yaml").read_text()
    (folder / "organism.yaml").write_text(source.replace("door_handlers:slow", "door_handlers:echo"))
    assert xp("ask", "slow", "x", "--key", "k") == Done(0, "x\n", "")


def test_a_process_that_is_stopped_is_asked_for_nothing(
    folder: Path,  # noqa: F811
    xp: Xp,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(client, "_GREETED", 0.3)
    with hosted(folder) as host:
        host.send_signal(signal.SIGSTOP)
        told = xp("dead", "drop", "--all")
        assert told.returncode == 1
        assert "does not answer within 0.3 s; nothing was asked of it" in told.stderr
        host.send_signal(signal.SIGCONT)
        monkeypatch.setattr(client, "_GREETED", 10.0)
        assert xp("dead", "drop", "--all") == Done(0, "0 dead letters dropped\n", "")


def test_of_two_that_are_started_one_runs_and_the_other_is_told_which(folder: Path) -> None:  # noqa: F811
    with begun(folder, "-m", "tests.door.host") as one, begun(folder, "-m", "tests.door.host") as other:
        assert one.stdout is not None
        assert other.stdout is not None
        first, second = one.stdout.readline(), other.stdout.readline()
        assert sorted([first, second]) == ["", "ready\n"]
        winner, loser = (one, other) if first else (other, one)
        _, errors = loser.communicate(timeout=50)
        assert f"is in use by process {winner.pid}" in errors
        assert (folder / "state.db.run" / "socket").exists()
