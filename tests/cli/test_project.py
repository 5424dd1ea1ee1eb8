"""`init`: the project it writes works, and nothing is overwritten."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import XP, Done
from tests.console.processes import ROOT, environment, run


@pytest.mark.parametrize("options", [("-W", "error"), ("-p", "no:asyncio")])
def test_the_tests_of_a_new_project_pass_without_a_warning(
    options: tuple[str, ...], project: Path, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options],
        cwd=project,
        env=environment(tmp_path, PYTHONPATH=str(ROOT), PYTHONDONTWRITEBYTECODE="1"),
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 passed" in done.stdout
    assert "arning" not in done.stdout + done.stderr


def test_a_new_project_holds_no_secret_and_ignores_env(project: Path) -> None:
    assert ".env" in (project / ".gitignore").read_text().split()
    assert not (project / ".env").exists()
    assert "my <house> & co" in (project / "organism.yaml").read_text()


def test_a_new_project_talks(project: Path, tmp_path: Path) -> None:
    text = "@greeter Alice\n@calculator.add a=2 b=40\nHello?\n"
    done = run(*XP, "run", str(project), state=tmp_path, text=text)
    assert "greeter: Hello, Alice!\ncalculator.add: value: 42\nassistant: (offline" in done.stdout
    assert "ANTHROPIC_API_KEY" in done.stderr
    assert done.returncode == 0


def test_init_never_overwrites(project: Path, tmp_path: Path, xp: Callable[..., Done]) -> None:
    before = {path: path.read_bytes() for path in project.rglob("*") if path.is_file()}
    done = xp("init", str(project))
    assert done.returncode == 1
    assert "already holds organism.yaml" in done.stderr
    assert {path: path.read_bytes() for path in project.rglob("*") if path.is_file()} == before
    (tmp_path / "file").write_text("")
    assert xp("init", str(tmp_path / "file")).returncode == 1
    assert xp("init", str(tmp_path / "file" / "below")).returncode == 1


def test_init_takes_a_name_that_can_be_one(
    tmp_path: Path, xp: Callable[..., Done], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dangling").symlink_to(tmp_path / "none" / "nowhere")
    for name, said in (("", "is empty"), ("x" * 5000, "cannot be written"), ("dangling", "is no directory")):
        done = xp("init", name)
        assert said in done.stderr
        assert "Traceback" not in done.stderr
        assert done.returncode == 1
    assert [path.name for path in tmp_path.iterdir()] == ["dangling"]
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert "x cannot be written" in xp("init", "x").stderr
