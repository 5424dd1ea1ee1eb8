"""The page about costs: its commands run, in its order, and its YAML is taken."""

from __future__ import annotations

from pathlib import Path

from tests.cli.folders import Page


def test_its_commands_run(tmp_path: Path) -> None:
    page = Page.named("cost.md")
    (document,) = page.blocks("yaml")
    (tmp_path / "organism.yaml").write_text(document)
    (shown, *_) = page.blocks("text")
    assert shown in page.run(tmp_path)
