"""mypy and pyright read two programs as their authors would: one is right, one is full of mistakes.

pyright is run as `basedpyright`, which is the same engine in a wheel that brings its own node.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import xml_pipeline

HERE = Path(__file__).parent
ROOT = HERE.parent
RIGHT = HERE / "typing_api.py"
WRONG = HERE / "typing_mistakes.py"
MISTAKE = re.compile(r"# wrong: (.+)$")
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}

Complaints = dict[tuple[str, int], str]
"""File and line → what was said there."""


def mistakes() -> dict[tuple[str, int], str]:
    """The place of each mistake, and its name."""
    lines = enumerate(WRONG.read_text().splitlines(), 1)
    return {(WRONG.name, line): found[1] for line, text in lines if (found := MISTAKE.search(text))}


def mypy(folder: Path) -> Complaints:
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--output=json",
         f"--cache-dir={ROOT / '.mypy_cache' / 'programs'}", RIGHT.name, WRONG.name],
        cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=55,
    )  # fmt: skip
    assert done.returncode == 1, done.stdout + done.stderr
    said = [json.loads(line) for line in done.stdout.splitlines()]
    return {(each["file"], each["line"]): each["message"] for each in said if each["severity"] == "error"}


def pyright(folder: Path) -> Complaints:
    settings = {
        "typeCheckingMode": "standard",
        "strict": [RIGHT.name],
        "extraPaths": [str(ROOT)],
        "pythonVersion": f"{sys.version_info.major}.{sys.version_info.minor}",
    }
    (folder / "pyrightconfig.json").write_text(json.dumps(settings))
    done = subprocess.run(
        [sys.executable, "-m", "basedpyright", "--outputjson", "--pythonpath", sys.executable],
        cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=55,
    )  # fmt: skip
    assert done.returncode == 1, done.stdout + done.stderr
    return {
        (Path(each["file"]).name, each["range"]["start"]["line"] + 1): each["message"]
        for each in json.loads(done.stdout)["generalDiagnostics"]
        if each["severity"] == "error"
    }


@pytest.mark.parametrize(("checker", "package"), [(mypy, "mypy"), (pyright, "basedpyright")])
def test_checkers_find_every_mistake_and_nothing_else(
    checker: Callable[[Path], Complaints], package: str, tmp_path: Path
) -> None:
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed; it comes with the extra 'dev'")
    for program in (
        RIGHT,
        WRONG,
    ):  # a folder of their own: there the package is a library, not part of the program
        shutil.copy(program, tmp_path)
    complaints = checker(tmp_path)
    expected = mistakes()
    unfounded = {place: text for place, text in complaints.items() if place not in expected}
    missed = {place: name for place, name in expected.items() if place not in complaints}
    assert (unfounded, missed) == ({}, {})


def test_mistakes_have_names_of_their_own() -> None:
    names = list(mistakes().values())
    assert len(set(names)) == len(names) >= 12


def test_the_right_program_uses_every_public_name() -> None:
    used = {node.id for node in ast.walk(ast.parse(RIGHT.read_text())) if isinstance(node, ast.Name)}
    assert set(xml_pipeline.__all__) <= used


def test_the_right_program_runs(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", str(RIGHT)],
        cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, timeout=50,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
