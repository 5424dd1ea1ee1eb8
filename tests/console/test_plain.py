"""The console in a script: real processes and their pipes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.console.processes import ROOT, environment, read_until, run, start
from xml_pipeline.console.stdin import LINE_BYTES

TALK = ("-m", "tests.console.talk")


def test_answers_come_in_order_and_the_code_is_0(tmp_path: Path) -> None:
    done = run(*TALK, state=tmp_path, text="@greeter Alice\n\nBob\n@calculator.add a=2 b=40")
    assert done.stdout == "greeter: HELLO, ALICE!\ngreeter: HELLO, BOB!\ncalculator.add: value: 42\n"
    assert "house" in done.stderr
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("@broken x", "broken: error (handler)"),
        ("@nobody x", "no listener 'nobody'"),
        ("@calculator.add a=2 b=x", "AddPayload.b"),
        ("/nonsense", "no command '/nonsense'"),
        ("@boss Well?", "boss: cancelled"),
    ],
)
def test_an_error_goes_to_stderr_and_makes_the_code_1(line: str, says: str, tmp_path: Path) -> None:
    done = run(*TALK, state=tmp_path, text=f"{line}\n@greeter Alice\n")
    assert says in done.stderr
    assert "greeter: HELLO, ALICE!" in done.stdout
    assert done.returncode == 1


def test_a_line_that_is_no_text_is_an_error_and_the_next_is_read(tmp_path: Path) -> None:
    done = run(*TALK, state=tmp_path, text=b"\xef\xbb\xbf@greeter \xc3\x84da\r\n\xff\xfe\n@greeter Bob")
    assert "not UTF-8" in done.stderr
    assert done.stdout == "greeter: HELLO, ÄDA!\ngreeter: HELLO, BOB!\n"
    assert done.returncode == 1


def test_a_line_without_an_end_is_an_error_and_the_next_is_read(tmp_path: Path) -> None:
    done = run(*TALK, state=tmp_path, text=b"@greeter " + b"x" * LINE_BYTES + b"\n@greeter Alice\n")
    assert done.stdout == "greeter: HELLO, ALICE!\n"
    assert "error: this line has more than 64,000,000 bytes" in done.stderr
    assert done.returncode == 1


def test_a_person_may_answer_from_a_script(tmp_path: Path) -> None:
    done = run(*TALK, state=tmp_path, text="@asker what=leave\n!yes\n@greeter Bob\n")
    assert "May I leave?" in done.stderr
    assert done.stdout == "asker: the boss says yes\ngreeter: HELLO, BOB!\n"
    assert done.returncode == 0


def test_quit_ends_the_script(tmp_path: Path) -> None:
    done = run(*TALK, state=tmp_path, text="/quit\n@broken x\n")
    assert (done.stdout, done.returncode) == ("", 0)


def test_the_trace_of_a_crash_is_in_the_log_of_the_state_directory(tmp_path: Path) -> None:
    done = run(*TALK, state=tmp_path, text="@broken x\n")
    log = tmp_path / "xml-pipeline" / "console.log"
    assert str(log) in done.stderr
    assert "secret of the house" not in done.stderr
    assert "secret of the house" in log.read_text()
    assert log.stat().st_mode & 0o077 == 0


def test_without_a_state_directory_it_works_too(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = run(*TALK, state=tmp_path / "file", text="@greeter Alice\n@broken x\n/status\n")
    assert "HELLO, ALICE!" in done.stdout
    assert "/status" in done.stderr
    assert "no log is kept" in done.stdout
    assert "--log FILE" in done.stdout
    assert done.returncode == 1


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names")
def test_a_pipe_in_place_of_the_log_is_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "xml-pipeline").mkdir()
    os.mkfifo(tmp_path / "xml-pipeline" / "console.log")
    done = run(*TALK, state=tmp_path, text="@greeter Alice\n/status\n")
    assert "HELLO, ALICE!" in done.stdout
    assert "no log is kept" in done.stdout


def test_an_output_that_cannot_show_a_letter_shows_its_code(tmp_path: Path) -> None:
    done = run(
        *TALK, state=tmp_path, text="@greeter Zoë →\n", env={"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    )
    assert done.stdout == "greeter: HELLO, ZO\\xcb \\u2192!\n"
    assert done.returncode == 0


def test_a_reader_that_goes_away_ends_it_quietly(tmp_path: Path) -> None:
    with start(*TALK, state=tmp_path) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write("@greeter Alice\n")
        process.stdin.flush()
        read_until(process.stdout, "ALICE")
        process.stdout.close()
        process.stdin.write("@greeter Bob\n@greeter Carol\n")
        process.stdin.close()
        assert "Traceback" not in process.stderr.read()
        assert process.wait(20) == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has it")
def test_an_answer_that_cannot_be_written_makes_the_code_1(tmp_path: Path) -> None:
    for program in ("tests.console.talk", "xml_pipeline.cli run organism.yaml"):
        done = subprocess.run(
            f"{sys.executable} -m {program} > /dev/full",
            shell=True,
            input=b"@greeter Alice\n",
            capture_output=True,
            cwd=ROOT,
            env=environment(tmp_path),
            timeout=50,
            check=False,
        )
        assert b"error: the output cannot be written: No space left on device\n" in done.stderr
        assert b"Traceback" not in done.stderr
        assert b"Exception" not in done.stderr
        assert done.returncode == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has it")
def test_notes_that_cannot_be_written_cost_no_answer(tmp_path: Path) -> None:
    done = subprocess.run(
        f"{sys.executable} -m tests.console.talk 2> /dev/full",
        shell=True,
        input=b"@greeter Alice\n",
        capture_output=True,
        cwd=ROOT,
        env=environment(tmp_path),
        timeout=50,
        check=False,
    )
    assert b"HELLO, ALICE!" in done.stdout
    assert done.returncode == 0


def test_ctrl_c_cancels_the_conversation_and_the_program_lives_on(tmp_path: Path) -> None:
    with start(*TALK, state=tmp_path) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write("/trace on\n@slow x\n@greeter Alice\n")
        process.stdin.flush()
        read_until(process.stderr, "console → slow")
        process.send_signal(signal.SIGINT)
        read_until(process.stderr, "slow: cancelled")
        assert "HELLO, ALICE!" in read_until(process.stdout, "ALICE")
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130


def test_closed_streams_are_no_traceback(tmp_path: Path) -> None:
    for closed in ("<&-", "2>&-", "<&- >&- 2>&-"):
        done = subprocess.run(
            f"{sys.executable} -m tests.console.talk {closed}",
            shell=True,
            input=b"@greeter Alice\n",
            capture_output=True,
            cwd=ROOT,
            env=environment(tmp_path),
            timeout=50,
            check=False,
        )
        assert b"Traceback" not in done.stderr
        assert done.returncode == 0
