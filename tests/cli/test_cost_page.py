"""The page about costs: its commands run, in its order, and its YAML is taken."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Done
from tests.cli.folders import Page, inside


def test_its_commands_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, xp: Callable[..., Done]) -> None:
    page = Page.named("cost.md")
    (document,) = page.blocks("yaml")
    inside(tmp_path, monkeypatch, {"organism.yaml": document})
    monkeypatch.setenv("COLUMNS", "100")
    printed = ""
    for command in page.commands():
        done = xp(*command)
        assert done.returncode == 0, (command, done.stderr)
        printed += done.stdout
    (shown, *_) = page.blocks("text")
    assert shown in printed
