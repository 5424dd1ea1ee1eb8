"""`--llm FILE`: another file's section, whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Done, xp
from xml_pipeline.config import load
from xml_pipeline.errors import ConfigError

__all__ = ["xp"]

ORGANISM = """organism: {name: demo}
llm:
  retries: 7
  backends: [{provider: scripted, name: shared, rules: [{reply: shared}]}]
  models: {smart: m}
listeners:
  - {name: bot, agent: true, model: smart}
"""
OWN = """backends:
  - {provider: scripted, name: own, rules: [{reply: "own, ${WHO:-nobody}"}]}
models: {smart: m}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "organism.yaml").write_text(ORGANISM)
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "llm.yaml").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path


@pytest.mark.parametrize("text", [OWN, "llm:\n" + "".join(f"  {line}\n" for line in OWN.splitlines())])
def test_nothing_of_the_two_is_mixed(folder: Path, text: str) -> None:
    (folder / "work" / "llm.yaml").write_text(text)
    config = load("organism.yaml", llm="work/llm.yaml", environ={"WHO": "anna"})
    assert [backend.name for backend in config.llm.backends] == ["own"]
    assert config.llm.retries == 3
    assert config.listeners[0].model == "smart"


def test_the_commands_take_it(folder: Path, xp: Callable[..., Done]) -> None:
    assert xp("ask", "bot", "hello").stdout.strip() == "shared"
    assert xp("ask", "bot", "hello", "--llm", "work/llm.yaml").stdout.strip() == "own, nobody"
    assert "own" in xp("llm", "list", "--llm", "work/llm.yaml").stdout
    refused = xp("llm", "route", "fast", "m", "--llm", "work/llm.yaml")
    assert refused.returncode == 1
    assert "edit that file itself" in refused.stderr


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("backends: [{provider: nosuch}]\n", 1, "no provider 'nosuch'"),
        ("models: {a: b}\n\nretires: 3\n", 3, "retries"),
        ("- a\n", 1, "holds no `llm` section"),
        ("", 1, "holds no `llm` section"),
        ("a: [\n", 2, ""),
    ],
)
def test_its_mistakes_are_told_where_they_stand(folder: Path, text: str, line: int, said: str) -> None:
    (folder / "work" / "llm.yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load("organism.yaml", llm="work/llm.yaml")
    found = [each for each in caught.value.problems if each.file == "work/llm.yaml"]
    assert found, caught.value.problems
    assert said in found[0].message
    assert found[0].line == line


def test_a_file_that_is_not_there_is_told(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"missing\.yaml"):
        load("organism.yaml", llm="missing.yaml")
