"""`journal compact | export | erase`, `dead retry | drop`, `log --since | --until | --follow`."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import XP, Done
from tests.cli.folders import inside
from tests.cli.test_history import HANDLERS, ORGANISM
from tests.console.processes import read_until, start
from xml_pipeline.journal.owner import Owner

Xp = Callable[..., Done]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return inside(tmp_path, monkeypatch, {"cli_history_handlers.py": HANDLERS, "organism.yaml": ORGANISM})


def listed(xp: Xp, *options: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(xp("log", "--json", *options).stdout)
    return found


def changed(statement: str) -> None:
    with sqlite3.connect("state.db") as connection:
        connection.execute(statement)
    connection.close()


def anywhere(folder: Path, text: str) -> list[str]:
    return [
        each.name
        for each in folder.glob("state.db*")
        if each.is_file() and text.encode() in each.read_bytes()
    ]


# --- compact ---


def test_compacting_deletes_what_need_not_be_kept_and_makes_the_file_small(folder: Path, xp: Xp) -> None:
    xp("ask", "echo", "x" * 300_000)
    xp("ask", "echo", "young")
    first, _ = listed(xp)
    changed(f"UPDATE conversations SET ended = ended - 86401 WHERE id = '{first['id']}'")
    before = (folder / "state.db").stat().st_size
    assert xp("journal", "compact").stdout.startswith("0 conversations deleted")
    (folder / "organism.yaml").write_text(
        ORGANISM.replace("journal: state.db", "journal: {path: state.db, keep: 1d}")
    )
    done = xp("journal", "compact")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("1 conversation deleted")
    assert (folder / "state.db").stat().st_size < before / 4
    assert len(listed(xp)) == 1
    assert xp("journal", "check").returncode == 0
    assert xp("ask", "echo", "again") == Done(0, "again\n", "")


@pytest.mark.parametrize(
    "command",
    [
        ("journal", "compact"),
        ("journal", "erase", "x"),
        ("dead", "retry", "--all"),
        ("dead", "drop", "--all"),
        ("cancel", "x"),
    ],
)
def test_nobody_changes_a_journal_while_somebody_has_it_who_takes_no_requests(
    folder: Path, xp: Xp, command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xml_pipeline.door.reaching.PATIENCE", 0.1)
    assert "there is no journal" in xp(*command).stderr
    xp("ask", "echo", "hello")
    owner = Owner(folder / "state.db")
    try:
        refused = xp(*command)
    finally:
        owner.release()
    assert refused.returncode == 1
    assert "is in use by process" in refused.stderr
    assert "takes no requests" in refused.stderr
    assert "stop it first, and try again" in refused.stderr
    assert listed(xp)


# --- export ---


def test_all_that_happened_is_lines_of_json(folder: Path, xp: Xp) -> None:
    xp("ask", "echo", "one")
    xp("ask", "echo", "two")
    lines = [json.loads(line) for line in xp("journal", "export").stdout.splitlines()]
    assert [each["what"] for each in lines] == ["sent", "answered"] * 2
    assert "<text>two</text>" in lines[2]["content"]
    first, second = listed(xp)
    assert {each["conversation"] for each in lines[:2]} == {first["id"]}
    one = [json.loads(line) for line in xp("journal", "export", second["id"][:9]).stdout.splitlines()]
    assert one == lines[2:]


# --- erase ---


def test_what_is_erased_is_nowhere_and_the_digests_still_verify(folder: Path, xp: Xp) -> None:
    xp("ask", "echo", "my secret 4711", "--key", "k")
    xp("ask", "echo", "public 0815")
    first, second = listed(xp)
    assert anywhere(folder, "4711") == ["state.db"]
    assert xp("journal", "erase", first["id"][:9]) == Done(0, f"conversation {first['id']} is erased\n", "")
    assert anywhere(folder, "4711") == []
    assert xp("journal", "check").stdout.endswith(": ok\n")
    shown = xp("show", first["id"]).stdout
    assert shown.count("(erased)") == 2
    assert "echo → outside" in shown
    assert "public 0815" in xp("show", second["id"]).stdout
    asked = xp("ask", "echo", "my secret 4711", "--key", "k")
    assert "this key was given to a request that was erased" in asked.stderr
    assert xp("journal", "erase", first["id"]).returncode == 0
    assert xp("journal", "check").stdout.endswith(": ok\n")
    changed("UPDATE steps SET events = x'90' WHERE erased IS NOT NULL AND seq > 0")
    assert "is changed" in xp("journal", "check").stdout


def test_what_an_error_quoted_is_erased_too(folder: Path, xp: Xp) -> None:
    handlers = folder / "cli_history_handlers.py"
    handlers.write_text(HANDLERS.replace('ValueError("as asked")', 'ValueError("secret 4711")'))
    xp("ask", "echo", "fail", "--timeout", "9")
    (one,) = listed(xp)
    assert anywhere(folder, "4711")
    assert xp("journal", "erase", one["id"]).returncode == 0
    assert anywhere(folder, "4711") == []
    failed = json.loads(xp("show", one["id"], "--json").stdout)[1]
    assert (failed["what"], failed["name"], failed["content"]) == ("failed", "handler", "(erased)")


def test_what_is_open_is_not_erased(folder: Path, xp: Xp) -> None:
    xp("ask", "anna", "sign", "--key", "k", "--timeout", "0.2")
    changed("UPDATE conversations SET ended = NULL")
    (one,) = listed(xp)
    refused = xp("journal", "erase", one["id"])
    assert refused.returncode == 1
    assert "is not over" in refused.stderr
    assert anywhere(folder, "sign")


# --- dead letters ---


def buried(xp: Xp, text: str) -> int:
    """The number of a dead letter with this text: a question that nobody answered in time."""
    xp("ask", "anna", text, "--timeout", "0.2")
    return int(json.loads(xp("dead", "list", "--json").stdout)[-1]["number"])


def test_a_dead_letter_is_sent_again_with_the_next_start(folder: Path, xp: Xp) -> None:
    number = buried(xp, "sign this")
    (first,) = listed(xp)
    sent = xp("dead", "retry", str(number))
    assert sent.returncode == 0, sent.stderr
    assert xp("dead", "list").stdout == "0 dead letters\n"
    assert xp("journal", "check").stdout.endswith(": ok\n")
    old, new = listed(xp)
    assert (old["id"], new["listener"], new["ended"]) == (first["id"], "anna", None)
    assert new["id"] in sent.stdout
    assert "<text>sign this</text>" in xp("show", new["id"]).stdout
    xp("ask", "echo", "a start")
    assert "asked" in xp("show", new["id"]).stdout
    again = xp("dead", "retry", str(number))
    assert again.returncode == 1
    assert f"there is no dead letter {number}" in again.stderr


def test_a_dropped_letter_holds_its_conversation_no_more(folder: Path, xp: Xp) -> None:
    numbers = [buried(xp, text) for text in ("one", "two", "three")]
    assert numbers == [1, 2, 3]
    assert xp("dead", "drop", "2").stdout == "1 dead letter dropped\n"
    assert [each["number"] for each in json.loads(xp("dead", "list", "--json").stdout)] == [1, 3]
    assert xp("dead", "drop", "--all").stdout == "2 dead letters dropped\n"
    assert xp("dead", "drop", "--all").stdout == "0 dead letters dropped\n"
    assert buried(xp, "four") == 4
    for wrong in ((), ("1", "--all"), ("x",)):
        assert xp("dead", "drop", *wrong).returncode == 2


def test_all_are_sent_again_but_those_that_are_no_requests(folder: Path, xp: Xp) -> None:
    buried(xp, "one")
    buried(xp, "two")
    first, _ = listed(xp)
    assert xp("journal", "erase", first["id"]).returncode == 0
    done = xp("dead", "retry", "--all")
    assert done.returncode == 1
    assert "dead letter 1 cannot be sent again: it was erased" in done.stdout
    assert done.stdout.endswith("1 message sent\n")
    assert [each["number"] for each in json.loads(xp("dead", "list", "--json").stdout)] == [1]
    assert len(listed(xp, "--open")) == 1


# --- log ---


def test_conversations_of_a_time(folder: Path, xp: Xp) -> None:
    for days in (3, 1, 0):
        xp("ask", "echo", "x")
        newest = "(SELECT max(number) FROM conversations)"
        changed(f"UPDATE conversations SET began = began - {days} * 86400 WHERE number = {newest}")
    _, middle, _ = ids = [each["id"] for each in listed(xp)]
    day = time.strftime("%Y-%m-%d %H:%M", time.localtime(time.time() - 2 * 86400))
    for since in ("2d", "48h", "2880m", "172800s", day, day[:10] + "T" + day[11:]):
        assert [each["id"] for each in listed(xp, "--since", since)] == ids[1:], since
        assert [each["id"] for each in listed(xp, "--until", since)] == ids[:1], since
    assert [each["id"] for each in listed(xp, "--since", "2d", "--until", "1h")] == [middle]
    assert listed(xp, "--since", "2999-01-01") == []
    for wrong in ("2", "yesterday", "0d", "-1h", "2026-13-01", "99999999999d"):
        done = xp("log", f"--since={wrong}")
        assert done.returncode == 2
        assert "a time is needed" in done.stderr
    assert xp("log", "--follow", "--until", "2h").returncode == 2


@contextmanager
def following(folder: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    process = start(*XP, "log", "--follow", *options, "-f", str(folder / "organism.yaml"), state=folder)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_what_begins_and_ends_is_followed(folder: Path, xp: Xp) -> None:
    xp("ask", "echo", "before")
    with following(folder) as process:
        assert process.stdout is not None
        assert "outside → echo" in read_until(process.stdout, "outside → echo")
        buried(xp, "sign")
        lines = read_until(process.stdout, "outside → anna")
        if "open" in lines:
            assert "open" not in read_until(process.stdout, "outside → anna")
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=30)
        assert (process.returncode, rest, errors) == (130, "", "")


def test_following_ends_when_nobody_reads(folder: Path, xp: Xp) -> None:
    xp("ask", "echo", "before")
    with following(folder, "--json") as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["listener"] == "echo"
        process.stdout.close()
        assert process.wait(timeout=30) == 1
        assert process.stderr is not None
        assert process.stderr.read() == ""
        process.stdout = None
