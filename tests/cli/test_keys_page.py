"""The page about keys: its commands run, in its order, and its YAML is taken."""

from __future__ import annotations

from pathlib import Path

import yaml

from tests.cli.folders import Page
from tests.keys.backends import FOLDER
from xml_pipeline.llm.section import build_router

PAGE = Page.named("keys.md")
KEY = "sk-ant-cAn9Key0w8Vq3Zt7Lp2Xm5Rb"


def test_its_commands_run(tmp_path: Path) -> None:
    (document,) = PAGE.blocks("yaml")
    (tmp_path / "organism.yaml").write_text(f"organism: {{name: page}}\n{document}")
    (tmp_path / "passphrase.txt").write_text("open sesame\n")
    printed = PAGE.run(
        tmp_path,
        ANTHROPIC_KEY=KEY,
        XDG_CONFIG_HOME=str(tmp_path),
        PYTHON_KEYRING_BACKEND="tests.keys.backends.FolderKeyring",
        **{FOLDER: str(tmp_path)},
    )
    stored, head, row, *checked = printed.splitlines()
    assert "is in the keyring" in stored
    assert [head.split()[:3], row.split()] == [line.split() for line in PAGE.blocks("text")[0].splitlines()]
    assert "looked for when it is used" in checked[1]
    assert "present in keyring (work)" in printed
    assert checked[-2].endswith("keys.json; backends use it with `api_key_ref: work`")
    assert checked[-1] == "work is removed (file)"
    assert KEY[7:] not in printed


def test_its_yaml_is_taken() -> None:
    for document in PAGE.blocks("yaml"):
        (backend,) = build_router(yaml.safe_load(document)["llm"], environ={}).backends.values()
        assert backend.key_pending
