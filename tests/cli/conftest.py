"""A project as `init` makes it, and commands that run in this process."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO, TextIOWrapper
from pathlib import Path

import pytest

from tests.console.processes import run
from xml_pipeline.cli import main

XP = ("-m", "xml_pipeline.cli")


@dataclass(frozen=True)
class Done:
    """What a command left behind."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def xp(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Done]]:
    """Run a command in this process, with `text` as its input; the log that it may begin ends with the test."""
    logger = logging.getLogger("xml_pipeline")
    before, propagates = list(logger.handlers), logger.propagate

    def call(*arguments: str, text: str | None = None) -> Done:
        if text is not None:
            monkeypatch.setattr("sys.stdin", TextIOWrapper(BytesIO(text.encode())))
        try:
            code = main(arguments)
        except SystemExit as left:
            code = int(str(left.code))
        return Done(code, *capsys.readouterr())

    yield call
    for handler in [each for each in logger.handlers if each not in before]:
        logger.removeHandler(handler)
        handler.close()
    logger.propagate = propagates


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project as `init` makes it."""
    directory = tmp_path_factory.mktemp("projects") / "my <house> & co"
    done = run(*XP, "init", str(directory), state=directory.parent)
    assert done.returncode == 0, done.stderr
    return directory
