"""History and log are private files in the user's state directory."""

from __future__ import annotations

from pathlib import Path

import pytest

from xml_pipeline.console.state_dir import private_file, state_dir


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
