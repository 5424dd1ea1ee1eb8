"""Real processes that race, stop and die around one journal."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.cli.conftest import XP, Done, xp  # noqa: F401 - a fixture
from tests.console.processes import ROOT, read_until, start
from tests.door.test_running import (
    folder,  # noqa: F401 - a fixture
    listed_now,
)
from xml_pipeline.door import client, reaching
from xml_pipeline.journal.file import looked_at

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


@contextmanager
def asking(xp: Xp, *arguments: str) -> Iterator[Future[Done]]:  # noqa: F811
    """A command that waits meanwhile."""
    with ThreadPoolExecutor(1) as thread:
        yield thread.submit(xp, *arguments)


def wait_for(folder: Path, listener: str) -> None:  # noqa: F811
    """Until a conversation with it is on its way."""
    count = "SELECT count(*) FROM open JOIN conversations USING (number) WHERE listener = ?"
    with closing(looked_at(folder / "state.db")) as journal:
        while journal.execute(count, (listener,)).fetchone() == (0,):
            pass


@pytest.mark.parametrize("kept", ["organism: {journal: state.db", "llm: {ledger: state.db}\norganism: {"])
def test_who_runs_the_organism_to_ask_runs_it_for_those_that_join(
    folder: Path,  # noqa: F811
    xp: Xp,  # noqa: F811
    kept: str,
) -> None:
    file = folder / "organism.yaml"
    text = file.read_text().replace("organism: {name: demo, journal: state.db", f"{kept}, name: demo")
    file.write_text(text.replace("{, ", "{"))
    with asking(xp, "ask", "first", "x") as first:
        while not (folder / "state.db.run" / "socket").exists():
            pass
        with begun(folder, *XP, "ask", "second", "y") as second:
            assert (*second.communicate(timeout=50), second.returncode) == ("y\n", "", 0)
        assert first.result(50) == Done(0, "x\n", "")


def test_a_death_in_the_middle_is_told_as_what_it_is(folder: Path, xp: Xp) -> None:  # noqa: F811
    with hosted(folder) as host, asking(xp, "ask", "stuck", "x") as asked:
        wait_for(folder, "stuck")
        host.send_signal(signal.SIGKILL)
        done = asked.result(50)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"process {host.pid}, which had the file, went away before it said" in done.stderr
    assert "what models were asked for it may be billed" in done.stderr


@pytest.mark.parametrize("watched", [True, False], ids=["by the next owner", "as the next owner"])
def test_who_asked_with_a_key_gets_its_answer_in_the_next_life(
    folder: Path,  # noqa: F811
    xp: Xp,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    watched: bool,
) -> None:
    monkeypatch.setattr(reaching, "RESTART", 50.0 if watched else 0.0)
    with hosted(folder) as host, asking(xp, "ask", "stuck", "x", "--key", "k") as asked:
        wait_for(folder, "stuck")
        host.send_signal(signal.SIGKILL)
        host.wait()
        with hosted(folder) if watched else nullcontext():
            assert asked.result(50) == Done(0, "x\n", "")
    assert xp("ask", "stuck", "x", "--key", "k") == Done(0, "x\n", "")
    assert len(listed_now(xp, "log")) == 1


def test_what_is_left_of_its_time_goes_with_a_request_that_is_asked_again(
    folder: Path,  # noqa: F811
    xp: Xp,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reaching, "RESTART", 0.0)
    with hosted(folder) as host, asking(xp, "ask", "slow", "x", "--key", "k", "--timeout", "5") as asked:
        wait_for(folder, "slow")
        clock = time.monotonic
        monkeypatch.setattr(
            reaching, "time", SimpleNamespace(monotonic=lambda: clock() + 5, sleep=time.sleep)
        )
        host.send_signal(signal.SIGKILL)
        done = asked.result(50)
    assert done.returncode == 1
    assert "did not answer within 0.001 s" in done.stderr


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
