"""Every example runs as its own text says, on a machine without a key."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.console.processes import ROOT, run
from tests.console.real_terminal import CTRL_D, ENTER, RealTerminal
from tests.journal.test_recovery import came_to
from xml_pipeline import Organism


def test_console_answers_without_a_key(tmp_path: Path) -> None:
    text = "@greeter Alice\n@calculator.add a=2 b=40\nWhat is 2 + 40?\nHello\n/usage\n"
    done = run("-m", "examples.console", state=tmp_path, text=text)
    assert done.returncode == 0, done.stderr
    rows = done.stdout.splitlines()
    assert rows[:3] == [
        "greeter: HELLO, ALICE!",
        "calculator.add: value: 42",
        "researcher: The sum is 42. (Offline rules answered, not a model.)",
    ]
    assert rows[3].startswith("researcher: I am the offline backend")
    assert rows[4].startswith("researcher  ")
    for part in ("without a key: anthropic (set ANTHROPIC_API_KEY)", "offline", "not running: ollama"):
        assert part in done.stderr


def test_console_dies_in_the_middle_of_an_answer_and_goes_on(tmp_path: Path) -> None:
    with RealTerminal(tmp_path, "-m", "examples.console") as terminal:
        terminal.until("in flight")
        terminal.type("What does the library say about tides?" + ENTER)
        terminal.until("researcher → library.search")
        terminal.type("/kill" + ENTER)
        terminal.until("killed; starting again")
        terminal.until("researcher #1 goes on: What does the library say about tides?")
        terminal.until("The library keeps tides on shelf 6, asked 2 times")
        terminal.until("> ")
        terminal.type("/usage" + ENTER)
        terminal.until("1 call,")
        terminal.until("> ")
        terminal.type(CTRL_D)
        assert terminal.end() == 0


def test_console_fails_when_an_answer_is_an_error(tmp_path: Path) -> None:
    done = run("-m", "examples.console", state=tmp_path, text="@greeter Alice\n@calculator.add a=2 b=x\n")
    assert done.stdout == "greeter: HELLO, ALICE!\n"
    assert "AddPayload.b" in done.stderr
    assert done.returncode == 1


def test_console_works_from_any_directory(tmp_path: Path) -> None:
    done = run(
        "-m",
        "examples.console",
        state=tmp_path,
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        text="@greeter Al\n",
    )
    assert done.stdout == "greeter: HELLO, AL!\n"
    assert [path.name for path in tmp_path.iterdir()] == ["xml-pipeline"]


def test_hello_greets_in_thirty_lines(tmp_path: Path) -> None:
    assert run("-m", "examples.hello", state=tmp_path).stdout == "Hello, Alice!\n"
    assert len((ROOT / "examples" / "hello" / "__main__.py").read_text().splitlines()) <= 35


def test_pipeline_books_what_is_right_and_names_what_is_not(tmp_path: Path) -> None:
    done = run("-m", "examples.pipeline", state=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = done.stdout.splitlines()
    assert [row.split(":")[0] for row in rows[:-1]] == ["line 41", "line 121", "line 251"]
    assert "Order.quantity" in rows[2]
    assert rows[-1].startswith("297 of 300 records booked")


@pytest.mark.parametrize("text", ["", "tea,2\n", "tea,2\n,,\n\x01\n"])
def test_pipeline_takes_any_file(text: str, tmp_path: Path) -> None:
    file = tmp_path / "records.csv"
    file.write_text(text)
    done = run("-m", "examples.pipeline", str(file), state=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "records booked" in done.stdout


def test_the_support_desk_is_data_and_leaves_the_order_of_work_to_no_model(tmp_path: Path) -> None:
    file = ROOT / "examples" / "support_desk" / "organism.yaml"
    assert len(file.read_text().splitlines()) < 120
    text = "My invoice is wrong\nIt crashed\nhello there\n"
    done = run("-m", "xml_pipeline.cli", "run", str(file), state=tmp_path, text=text)
    assert done.returncode == 0, done.stderr
    assert [row.split(". ")[0] for row in done.stdout.splitlines()] == [
        "desk: A corrected invoice comes within a day",
        "desk: Restart it, then send us the log",
        "desk: Thank you",
    ]


async def test_no_money_goes_back_without_the_supervisor() -> None:
    desk = Organism.from_file(ROOT / "examples" / "support_desk" / "organism.yaml")
    async with desk:
        for granted, said in (
            (True, "Your money is on its way"),
            (False, "We cannot send it back: too late."),
        ):
            asking = asyncio.ensure_future(desk.ask("desk", {"Ticket": {"text": "I was charged twice"}}))
            await came_to(desk.questions)
            (question,) = desk.questions()
            desk.answer(question.thread_id, desk.payloads["Verdict"](granted=granted, note="too late"))
            assert (await asking).text.startswith(said)
