"""The page about keys: its commands run, in its order, and its YAML is taken."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import yaml

from tests.console.processes import ROOT, environment
from tests.keys.backends import FOLDER
from xml_pipeline.llm.section import build_router

PAGE = (ROOT / "docs" / "keys.md").read_text()
KEY = "sk-ant-cAn9Key0w8Vq3Zt7Lp2Xm5Rb"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def test_its_commands_run(tmp_path: Path) -> None:
    (document,) = blocks("yaml")
    (tmp_path / "organism.yaml").write_text(f"organism: {{name: page}}\n{document}")
    (tmp_path / "passphrase.txt").write_text("open sesame\n")
    script = "\n".join(['set -e; xp() { "$PYTHON" -m xml_pipeline.cli "$@"; }', *blocks("sh")])
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
        env=environment(
            tmp_path,
            PYTHON=sys.executable,
            PYTHONPATH=str(ROOT),
            ANTHROPIC_KEY=KEY,
            XDG_CONFIG_HOME=str(tmp_path),
            PYTHON_KEYRING_BACKEND="tests.keys.backends.FolderKeyring",
            **{FOLDER: str(tmp_path)},
        ),
    )
    assert done.returncode == 0, done.stderr
    stored, head, row, *checked = done.stdout.splitlines()
    assert "is in the keyring" in stored
    assert [head.split()[:3], row.split()] == [line.split() for line in blocks("text")[0].splitlines()]
    assert "looked for when it is used" in checked[1]
    assert "present in keyring (work)" in done.stdout
    assert checked[-2].endswith("keys.json; backends use it with `api_key_ref: work`")
    assert checked[-1] == "work is removed (file)"
    assert KEY[7:] not in done.stdout + done.stderr


def test_its_yaml_is_taken() -> None:
    for document in blocks("yaml"):
        (backend,) = build_router(yaml.safe_load(document)["llm"], environ={}).backends.values()
        assert backend.key_pending
