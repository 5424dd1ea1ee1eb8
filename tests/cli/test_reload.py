"""`run --reload`: files change under a talk, and the talk goes on with what they say."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Done
from tests.console.test_renewal import Talk, nothing_is_left
from xml_pipeline.cli.parser import build_parser
from xml_pipeline.cli.talk import renewable

ORGANISM = "organism: {name: x, default: echo%s}\nlisteners: [{name: echo, handler: 'handlers:echo'}]\n"
HANDLERS = """
from words import WORD
from xml_pipeline import HandlerMetadata, HandlerResponse
from xml_pipeline.agents import Answer, Task


async def echo(payload: Task, metadata: HandlerMetadata) -> HandlerResponse[Answer]:
    return HandlerResponse.respond(Answer(f"{WORD} {payload.text}"))
"""


async def soon(seconds: float) -> None:
    await asyncio.sleep(0.01)


@pytest.mark.parametrize("journal", ["", ", journal: state.db"])
async def test_the_talk_goes_on_with_what_the_files_say_now(journal: str, tmp_path: Path) -> None:
    file, words = tmp_path / "organism.yaml", tmp_path / "words.py"
    file.write_text(ORGANISM % journal)
    words.write_text("WORD = 'one'\n")
    (tmp_path / "handlers.py").write_text(HANDLERS)
    first, renewal = renewable(build_parser().parse_args(["run", "--reload", str(file)]), wait=soon)
    talk = Talk(renewal)
    running = asyncio.create_task(talk.run(first))
    talk.type("hello\n")
    await talk.until(lambda: "one hello" in talk.out.getvalue())

    words.write_text("WORD = 'two'\n")  # as long as before, and maybe as old
    await talk.until(lambda: renewal.times == 1)
    talk.type("hello\n")
    await talk.until(lambda: "two hello" in talk.out.getvalue())

    words.write_text("WORD = three\n")
    await talk.until(lambda: "what ran goes on" in talk.err.getvalue())
    assert "NameError" in talk.err.getvalue()
    talk.type("again\n")
    await talk.until(lambda: "two again" in talk.out.getvalue())

    words.write_text("WORD = 'three'\n")
    file.write_text((ORGANISM % journal).replace("echo", "other").replace("handlers:other", "handlers:echo"))
    await talk.until(lambda: renewal.times == 2)
    talk.type("@other hello\n")
    talk.close()
    assert await running == 0
    assert talk.out.getvalue().splitlines()[-1] == "other: three hello"
    await nothing_is_left()


def test_a_file_with_mistakes_is_not_begun_with(tmp_path: Path, xp: Callable[..., Done]) -> None:
    (tmp_path / "organism.yaml").write_text("organism: {nam: x}\n")
    done = xp("run", "--reload", str(tmp_path))
    assert (done.returncode, "did you mean 'name'" in done.stderr) == (1, True)


def test_what_is_asked_once_is_not_begun_anew(tmp_path: Path, xp: Callable[..., Done]) -> None:
    (tmp_path / "organism.yaml").write_text("organism: {name: x}\n")
    assert "--reload" in xp("run", "--reload", "--once", "hello", str(tmp_path)).stderr
