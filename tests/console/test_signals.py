"""Processes that are told to end, in the middle of their work: what they say, leave open, and how they leave."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from tests.console.processes import ROOT, read_until, run, start
from tests.console.real_terminal import CTRL_D, ENTER, RealTerminal
from xml_pipeline.console.signals import interrupts

TALK = ("-m", "tests.console.talk")
XP = ("-m", "xml_pipeline.cli")

ORGANISM = "{name: shop, default: clerk, shutdown_seconds: 30%s}"
LISTENERS = """
listeners:
  - {name: clerk, handler: handlers:clerk, description: Takes orders.}
  - {name: blocking, handler: handlers:blocking, description: Never ends.}
  - {name: heavy, handler: handlers:heavy, cpu_bound: true, description: Never ends either.}
"""
HANDLERS = """
import signal
import sys
import time
from asyncio import sleep
from dataclasses import dataclass

from xml_pipeline import HandlerMetadata, HandlerResponse, xmlify


@xmlify
@dataclass
class Order:
    number: int


def called() -> None:
    print("called", file=sys.stderr, flush=True)


async def clerk(payload: Order, metadata: HandlerMetadata) -> HandlerResponse:
    if metadata.attempt == 1:
        called()
        await sleep(1000)
    return HandlerResponse.respond(payload)


def blocking(payload: Order, metadata: HandlerMetadata) -> HandlerResponse:
    called()
    time.sleep(1000)
    return HandlerResponse.respond(payload)


def heavy(payload: Order, metadata: HandlerMetadata) -> HandlerResponse:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    called()
    time.sleep(1000)
    return HandlerResponse.respond(payload)
"""
ENVELOPE = """<message xmlns="https://xml-pipeline.org/ns/envelope/v1"><meta><from>me</from><to>clerk</to>\
<thread>12345678-1234-1234-1234-123456789abc</thread></meta><Order xmlns=""><number>17</number></Order></message>"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "handlers.py").write_text(HANDLERS)
    (folder / "organism.yaml").write_text(
        f"organism: {ORGANISM % ', journal: state.db'}{LISTENERS}".replace("seconds: 30", "seconds: 0")
    )
    (folder / "patient.yaml").write_text(f"organism: {ORGANISM % ', journal: state.db'}{LISTENERS}")
    (folder / "forgetful.yaml").write_text(f"organism: {ORGANISM % ''}{LISTENERS}")
    return folder


def busy(shop: Path, *arguments: str, text: str = "") -> subprocess.Popen[str]:
    """A command whose handler runs."""
    process = start(*XP, *arguments, state=shop, cwd=shop, PYTHONPATH=str(ROOT))
    assert process.stdin is not None
    assert process.stderr is not None
    process.stdin.write(text)
    process.stdin.flush()
    if arguments[0] == "send":
        process.stdin.close()
        process.stdin = None
    read_until(process.stderr, "called")
    return process


def ended(process: subprocess.Popen[str], number: signal.Signals) -> tuple[int, str]:
    process.send_signal(number)
    _, errors = process.communicate(timeout=50)
    return process.returncode, errors


def xp(shop: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run(*XP, *arguments, state=shop, cwd=shop, env={"PYTHONPATH": str(ROOT)})


ASK = ("ask", "clerk", "number=17")


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)]
)
def test_ask_suspends_and_says_how_to_go_on(number: signal.Signals, code: int, shop: Path) -> None:
    with busy(shop, *ASK, "--key", "order-17") as process:
        assert ended(process, number) == (
            code,
            f"ended by {number.name}; 1 conversation left open: the same with `--key order-17` gives its answer;"
            " `xml-pipeline run` goes on\n",
        )
    assert xp(shop, *ASK, "--key", "order-17").stdout == "number: 17\n"


@pytest.mark.parametrize(
    ("arguments", "text"), [(("send", "-"), ENVELOPE), (("run",), "number=17\n")], ids=["send", "run"]
)
def test_send_and_a_script_suspend_too(arguments: tuple[str, ...], text: str, shop: Path) -> None:
    with busy(shop, *arguments, text=text) as process:
        code, errors = ended(process, signal.SIGTERM)
    assert code == 143
    assert errors.splitlines()[-1] == (
        "ended by SIGTERM; 1 conversation left open: `xml-pipeline run` goes on"
    )
    assert xp(shop, "log", "--open").stdout.count("open") == 1


@pytest.mark.parametrize("arguments", [ASK, ("run", "forgetful.yaml")], ids=["ask", "run"])
def test_without_a_journal_it_says_what_is_lost_and_what_keeps_it(
    arguments: tuple[str, ...], shop: Path
) -> None:
    more = () if arguments[0] == "run" else ("-f", "forgetful.yaml")
    with busy(shop, *arguments, *more, text="number=17\n") as process:
        code, errors = ended(process, signal.SIGTERM)
    assert code == 143
    assert errors.splitlines()[-1] == (
        "ended by SIGTERM; 1 conversation lost: without a journal nothing survives; add `journal: state.db` to the"
        " `organism` section of organism.yaml"
    )


def test_the_second_signal_ends_the_waiting_and_loses_nothing(shop: Path) -> None:
    with busy(shop, *ASK, "--key", "k", "-f", "patient.yaml") as process:
        assert process.stderr is not None
        process.send_signal(signal.SIGTERM)
        told = read_until(process.stderr, "waiting")
        assert told == "waiting 30 s at most for 1 handler; the same again ends that\n"
        process.send_signal(signal.SIGTERM)
        code, errors = ended(process, signal.SIGINT)
    assert code == 143
    assert errors.startswith("ended by SIGTERM; 1 conversation left open")
    assert xp(shop, *ASK, "--key", "k").stdout == "number: 17\n"


def test_a_kill_while_it_suspends_loses_nothing(shop: Path) -> None:
    keys = [f"order-{milliseconds}" for milliseconds in (0, 3, 30)]
    for key in keys:
        with busy(shop, *ASK, "--key", key) as process:
            process.send_signal(signal.SIGTERM)
            time.sleep(int(key.removeprefix("order-")) / 1000)  # a random moment, whatever it hits
            process.kill()
            process.communicate()
    for key in keys:
        done = xp(shop, *ASK, "--key", key)
        assert done.stdout == "number: 17\n", done.stderr
    assert "ok" in xp(shop, "journal", "check").stdout


@pytest.mark.parametrize("listener", ["blocking", "heavy"])
def test_a_handler_that_does_not_end_holds_nobody(listener: str, shop: Path) -> None:
    with busy(shop, "ask", listener, "number=17") as process:
        code, errors = ended(process, signal.SIGTERM)
    assert code == 143
    assert "1 conversation left open" in errors


def test_a_signal_at_the_very_start_ends_it(shop: Path) -> None:
    for milliseconds in (200, 400, 600):
        with start(*XP, "run", state=shop, cwd=shop, PYTHONPATH=str(ROOT)) as process:
            time.sleep(milliseconds / 1000)  # somewhere in its imports, or in the start
            code, errors = ended(process, signal.SIGTERM)
        assert code in (143, -signal.SIGTERM)
        assert "Traceback" not in errors


def test_what_nohup_ignores_stays_ignored(shop: Path) -> None:
    with busy(shop, "run", text="number=17\n") as process:
        process.kill()
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        process = start(*XP, "run", state=shop, cwd=shop, PYTHONPATH=str(ROOT))
    finally:
        signal.signal(signal.SIGHUP, before)
    with process:
        assert process.stderr is not None
        assert process.stdout is not None
        read_until(process.stderr, "/help says more")
        process.send_signal(signal.SIGHUP)
        assert process.stdout.readline() == "clerk: number: 17\n"
        assert process.communicate("")[0] == ""
        assert process.returncode == 0


# --- in a terminal ---


def left_in_order(terminal: RealTerminal, before: list[object]) -> bool:
    """Whether the terminal is as it was."""
    pasting = terminal.output.rfind("\x1b[?2004h") < terminal.output.rfind("\x1b[?2004l")
    cursor = terminal.output.rfind("\x1b[?25l") <= terminal.output.rfind("\x1b[?25h")
    return pasting and cursor and terminal.modes() == before


def talking(tmp_path: Path, journal: bool = True, **more: str) -> RealTerminal:
    where = {"TALK_JOURNAL": str(tmp_path / "state.db")} if journal else {}
    return RealTerminal(tmp_path, **where, **more)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_at_the_prompt_the_terminal_is_restored(number: signal.Signals, tmp_path: Path) -> None:
    with talking(tmp_path) as terminal:
        before = terminal.modes()
        terminal.until("in flight")
        assert terminal.modes() != before
        terminal.type("half a line")
        terminal.until("half a line")
        terminal.process.send_signal(number)
        assert terminal.end() == 128 + number
        assert left_in_order(terminal, before)
        assert f"ended by {number.name}; nothing was open" in terminal.output


def test_while_a_model_writes_the_terminal_is_restored_and_the_next_life_answers(tmp_path: Path) -> None:
    with talking(tmp_path) as terminal:
        before = terminal.modes()
        terminal.until("in flight")
        terminal.type("@typist word" + ENTER)
        terminal.until("word word word")
        terminal.process.send_signal(signal.SIGTERM)
        terminal.process.send_signal(signal.SIGTERM)
        assert terminal.end() == 143
        assert left_in_order(terminal, before)
        assert "ended by SIGTERM; 1 conversation left open" in terminal.output
    with talking(tmp_path) as terminal:
        terminal.until("typist #1 goes on: word")
        terminal.until("word, at last")
        terminal.until("> ")
        terminal.type(CTRL_D)
        assert terminal.end() == 0


def test_a_handler_that_blocks_the_event_loop_is_cut_off_and_the_terminal_restored(tmp_path: Path) -> None:
    with talking(tmp_path, OUT_OF_TIME="0.2") as terminal:
        before = terminal.modes()
        terminal.until("in flight")
        terminal.type("@stubborn x" + ENTER)
        terminal.until("@stubborn x")
        time.sleep(0.5)  # nothing is drawn any more that would tell
        terminal.process.send_signal(signal.SIGTERM)
        assert terminal.end() == 143
        assert left_in_order(terminal, before)
        assert (
            "cut off, because a handler does not end; the journal holds what was decided" in terminal.output
        )
    with talking(tmp_path) as terminal:
        terminal.until("stubborn #1 goes on: x")
        terminal.until("stubborn #1: x")


def test_a_window_that_is_closed_suspends(tmp_path: Path) -> None:
    with talking(tmp_path) as terminal:
        terminal.until("in flight")
        terminal.type("@slow x" + ENTER)
        terminal.until("1 in flight")
        terminal.hang_up()
        assert terminal.process.wait(20) in (129, 1)
    with talking(tmp_path) as terminal:
        terminal.until("slow #1: x")


async def test_a_signal_that_another_thread_was_given_wakes_a_loop_that_waits() -> None:
    told = asyncio.Event()

    def given() -> None:
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)

    with interrupts(told.set):
        waiting = asyncio.create_task(told.wait())
        await asyncio.sleep(0)
        threading.Timer(0.05, given).start()  # by then the loop has nothing to do
        await waiting
