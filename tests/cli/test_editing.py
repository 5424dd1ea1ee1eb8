"""`llm add` and `llm route`: the file that stands there afterwards loads, or nothing was written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Done
from xml_pipeline.config import load

Xp = Callable[..., Done]

ORGANISM = """\
organism: {name: demo}
llm:
  # the one that is always there
  backends:
    - {provider: scripted, name: rehearsal, supported_models: [small], rules: [{reply: "Done."}]}  # no key
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "organism.yaml"
    path.write_text(ORGANISM)
    path.chmod(0o640)
    monkeypatch.chdir(tmp_path)
    return path


def test_a_backend_and_an_alias_are_added_and_the_rest_stays(file: Path, xp: Xp) -> None:
    done = xp("llm", "add", "mine", "--provider", "openai", "--model", "gpt-5", "--key-ref", "work")
    assert done.returncode == 0, done.stderr
    line = "    - {name: mine, provider: openai, api_key_ref: work, supported_models: [gpt-5]}\n"
    assert file.read_text() == ORGANISM + line
    assert f"+{line}" in done.stdout
    assert xp("llm", "route", "smart", "gpt-5", "small").returncode == 0
    assert file.read_text() == f"{ORGANISM}{line}  models:\n    smart: [gpt-5, small]\n"
    assert xp("llm", "route", "smart", "small").returncode == 0
    found = load(file, imports="nothing").llm
    assert found is not None
    assert found.models["smart"] == "small"
    assert [each.name for each in found.backends] == ["rehearsal", "mine"]
    assert file.stat().st_mode & 0o777 == 0o640
    assert xp("llm", "route", "smart", "small").stdout == "organism.yaml: nothing to change\n"


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("add", "rehearsal", "--provider", "openai"), "there is a backend 'rehearsal' already"),
        (("add", "x", "--provider", "opnai"), "did you mean 'openai'?"),
        (("add", "x", "--provider", "openai", "--base-url", "no url"), "base_url"),
        (("route", "smart", "nobodys-model"), "nobodys-model"),
        (("route", "smart", "smart"), "smart"),
    ],
)
def test_what_would_not_load_is_not_written(file: Path, xp: Xp, arguments: tuple[str, ...], why: str) -> None:
    done = xp("llm", *arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert why in done.stderr
    assert str(file.parent / ".") not in done.stderr.replace(str(file), "")
    assert file.read_text() == ORGANISM
    assert [each.name for each in file.parent.iterdir()] == ["organism.yaml"]


def test_a_dry_run_shows_and_writes_nothing(file: Path, xp: Xp) -> None:
    done = xp("llm", "add", "mine", "--provider", "anthropic", "--dry-run")
    assert "+    - {name: mine, provider: anthropic}" in done.stdout
    assert file.read_text() == ORGANISM


def test_a_file_that_is_broken_is_not_touched(file: Path, xp: Xp) -> None:
    file.write_text(ORGANISM.replace("provider: scripted", "provder: scripted"))
    before = file.read_text()
    assert "`provider` is missing" in xp("llm", "add", "x", "--provider", "openai").stderr
    assert file.read_text() == before


def test_a_link_stays_one(file: Path, xp: Xp) -> None:
    target = file.rename(file.with_name("real.yaml"))
    file.symlink_to(target)
    assert xp("llm", "add", "mine", "--provider", "ollama").returncode == 0
    assert file.is_symlink()
    assert "mine" in target.read_text()


def test_a_key_on_the_command_line_is_not_written(file: Path, xp: Xp) -> None:
    key = "sk-ant-cAn9Key0w8Vq3Zt7Lp2Xm5Rb"
    done = xp("llm", "add", "mine", "--provider", "anthropic", "--key-ref", key)
    assert done.returncode == 1
    assert key not in done.stdout + done.stderr
    assert file.read_text() == ORGANISM
    done = xp("llm", "add", "mine", "--provider", "anthropic", "--key-env", key)
    assert done.returncode == 1
    assert key not in done.stdout + done.stderr
    assert file.read_text() == ORGANISM
