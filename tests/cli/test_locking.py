"""`lock`: what is used from elsewhere, written down."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from tests.cli.conftest import Done
from tests.config.test_boxes import BILLING, project


def test_lock_writes_what_is_used_and_a_change_is_refused_until_it_is_written_again(
    tmp_path: Path, xp: Callable[..., Done]
) -> None:
    file = project(tmp_path)
    done = xp("lock", str(file))
    assert done.returncode == 0
    assert done.stdout.splitlines()[0] == "billing: desk"
    lock = json.loads((tmp_path / "organism.lock").read_text())
    assert set(lock["boxes"]["billing"]["desk"]) == {"accepts", "answers", "description"}
    assert xp("check", str(file)).returncode == 0
    project(tmp_path, inner=BILLING.replace("Answers what", "Sends money when"))
    refused = xp("check", str(file))
    assert refused.returncode != 0
    assert "description of 'desk' changed; look at it, then write `xml-pipeline lock`" in refused.stderr
    assert xp("lock", str(file)).returncode == 0
    checked = xp("check", str(file))
    assert checked.returncode == 0
    assert "note: not in force of billing: " in checked.stdout


def test_lock_of_nothing_says_so(tmp_path: Path, xp: Callable[..., Done]) -> None:
    (tmp_path / "organism.yaml").write_text("organism: {name: x}\nlisteners:\n  - {name: a, human: true}\n")
    assert "nothing to lock" in xp("lock", str(tmp_path / "organism.yaml")).stdout
    assert not (tmp_path / "organism.lock").exists()
