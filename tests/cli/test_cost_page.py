"""The page about costs: its commands run, in its order, and its YAML is taken."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.console.processes import ROOT, environment

PAGE = (ROOT / "docs" / "cost.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def test_its_commands_run(tmp_path: Path) -> None:
    (document,) = blocks("yaml")
    (tmp_path / "organism.yaml").write_text(document)
    script = "\n".join(['set -e; xp() { "$PYTHON" -m xml_pipeline.cli "$@"; }', *blocks("sh")])
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
        env=environment(tmp_path, PYTHON=sys.executable, PYTHONPATH=str(ROOT), COLUMNS="100"),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (shown, *_) = blocks("text")
    assert shown in done.stdout
