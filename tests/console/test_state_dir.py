"""History and log are private files in the user's state directory."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from xml_pipeline.console.state_dir import LOG_BYTES, private_file, start_log, state_dir
from xml_pipeline.errors import ConfigError


def test_the_state_directory_is_private_and_never_relative(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    for value in ("", "relative/path"):
        assert state_dir({"XDG_STATE_HOME": value}) == tmp_path / "home" / ".local" / "state" / "xml-pipeline"
    directory = state_dir({"XDG_STATE_HOME": str(tmp_path / "state")})
    assert directory == tmp_path / "state" / "xml-pipeline"
    assert directory.stat().st_mode & 0o077 == 0
    file = private_file(directory, "history")
    assert file is not None
    assert file.stat().st_mode & 0o077 == 0
    file.write_text("kept")
    assert private_file(directory, "history") == file
    assert file.read_text() == "kept"
    assert private_file(directory / "nowhere", "history") is None
    assert state_dir({"XDG_STATE_HOME": str(file)}) is None
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "relative")
    assert state_dir({}) is None
    assert not (tmp_path / "relative").exists()


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    """The library's; what a test adds to it is taken away."""
    found = logging.getLogger("xml_pipeline")
    before, propagate = list(found.handlers), found.propagate
    yield found
    for handler in set(found.handlers) - set(before):
        found.removeHandler(handler)
        handler.close()
    found.propagate = propagate


@pytest.fixture
def usual_mask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.mark.usefixtures("usual_mask")
def test_a_log_is_private_also_when_it_is_begun_anew(tmp_path: Path, logger: logging.Logger) -> None:
    start_log(tmp_path / "some.log")
    for _ in range(3):
        logger.warning("x" * (LOG_BYTES // 2))
    files = sorted(tmp_path.iterdir())
    assert [file.name for file in files] == ["some.log", "some.log.1"]
    assert [file.stat().st_mode & 0o777 for file in files] == [0o600, 0o600]


@pytest.mark.usefixtures("usual_mask")
def test_a_log_that_others_could_read_is_closed_to_them(
    tmp_path: Path, logger: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    file = tmp_path / "xml-pipeline" / "console.log"
    file.parent.mkdir()
    file.touch(0o644)
    assert start_log() == str(file)
    assert file.stat().st_mode & 0o777 == 0o600


def test_nothing_in_a_log_looks_like_a_record_or_gives_an_order(
    tmp_path: Path, logger: logging.Logger
) -> None:
    start_log(tmp_path / "some.log")
    try:
        raise ValueError("\x1b[2J\n2026-01-01 00:00:00,000 ERROR xml_pipeline: forged \u202e")
    except ValueError:
        logger.exception("fails: %s", "\x9b31m\n2026-01-01 00:00:00,000 ERROR xml_pipeline: forged")
    text = (tmp_path / "some.log").read_text()
    assert not {"\x1b", "\x9b", "\u202e"} & set(text)
    assert len([row for row in text.splitlines() if not row.startswith("    ")]) == 1
    assert "\\x1b[2J" in text


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has it")
def test_a_log_that_can_no_longer_be_written_is_told_once(
    tmp_path: Path, logger: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "some\x1b[2J.log"
    start_log(path)
    path.unlink()  # it is opened with the first record
    path.symlink_to("/dev/full")
    for _ in range(2):
        logger.warning("lost")
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "some\\x1b[2J.log cannot be written: OSError: [Errno 28]" in said
    handler = logger.handlers[-1]
    logger.removeHandler(handler)
    with suppress(OSError):  # it still holds what it could not write
        handler.close()


def test_a_log_that_cannot_be_written_is_told_at_once(tmp_path: Path, logger: logging.Logger) -> None:
    for path in (tmp_path, tmp_path / "none" / "some.log"):
        with pytest.raises(ConfigError, match="cannot be written"):
            start_log(path)
    assert logger.propagate
