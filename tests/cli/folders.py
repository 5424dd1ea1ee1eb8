"""Project folders of tests, and the commands of pages in docs/."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.console.processes import ROOT, environment


def inside(folder: Path, monkeypatch: pytest.MonkeyPatch, files: Mapping[str, str]) -> Path:
    """A folder with these files, which is the current one, for a user whose state is there, too."""
    for name, text in files.items():
        (folder / name).write_text(text)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("XDG_STATE_HOME", str(folder / "state"))
    return folder


class Page(NamedTuple):
    """A page whose commands a reader types."""

    text: str

    @classmethod
    def named(cls, name: str) -> Page:
        return cls((ROOT / "docs" / name).read_text())

    def blocks(self, language: str) -> list[str]:
        return re.findall(rf"^```{language}\n(.*?)^```", self.text, re.DOTALL | re.MULTILINE)

    def commands(self) -> list[list[str]]:
        """The arguments of its commands, where they are nothing but `xp` and those."""
        words = [shlex.split(line) for block in self.blocks("sh") for line in block.splitlines()]
        assert all(each[0] == "xp" for each in words)
        return [each[1:] for each in words]

    def run(self, folder: Path, **more: str) -> str:
        """What its commands print, in their order, in a shell there."""
        script = "\n".join(['set -e; xp() { "$PYTHON" -m xml_pipeline.cli "$@"; }', *self.blocks("sh")])
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
            env=environment(folder, PYTHON=sys.executable, PYTHONPATH=str(ROOT), COLUMNS="100", **more),
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr
