"""The tool that puts faults into the library: it finds untested lines, and leaves the tree alone."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tools.mutants.__main__ import ROOMS, known_equivalents, mutants_in
from tools.mutants.operators import mutants_of, sample

ROOT = Path(__file__).parents[1]

SOURCE = '''
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    LIMIT = 1

def sürcharge(price: int | None, *, vat: bool = True) -> int:
    """A docstring, and 1 + 1 in it."""
    assert price is not None
    if price > 0 and not vat:
        raise ValueError(f"{price + 1}")
    return max(price * 2,
               0)
'''


def test_what_may_be_changed() -> None:
    found = {(each.operator, each.becomes) for each in mutants_of("a.py", SOURCE)}
    assert found == {
        ("constant", "def sürcharge(price: int | None, *, vat: bool = False) -> int:"),
        ("negate", "if (not (price > 0 and (not vat))):"),
        ("and/or", "if (price > 0 or not vat):"),
        ("comparison", "if (price >= 0) and not vat:"),
        ("constant", "if price > 1 and not vat:"),
        ("constant", "if price > -1 and not vat:"),
        ("not", "if price > 0 and (vat):"),
        ("drop", "pass"),
        ("return None", "return None"),
        ("min/max", "return min(price * 2, 0)"),
        ("arithmetic", "return max((price / 2),"),
        ("constant", "return max(price * 3,"),
        ("constant", "return max(price * 1,"),
        ("constant", "1)"),
        ("constant", "-1)"),
    }


@pytest.mark.parametrize("room", ["threads", "llm/limits"])
def test_a_mutant_is_another_program(room: str) -> None:
    usual: dict[str, str] = {}
    for mutant in mutants_in(ROOT, room):
        if mutant.path not in usual:
            usual[mutant.path] = ast.dump(ast.parse((ROOT / mutant.path).read_text()))
        assert ast.dump(ast.parse(mutant.source)) != usual[mutant.path]


def test_a_sample_stays_when_other_lines_change() -> None:
    def drawn(source: str) -> set[tuple[str, str]]:
        return {(each.was, each.becomes) for each in sample(mutants_of("a.py", source), 5, seed=3)}

    more = f"{SOURCE}\n\ndef other() -> None:\n    print(1)\n"
    assert len(drawn(SOURCE)) == 5
    assert len(drawn(SOURCE) & drawn(more)) >= 2  # some places are taken by the new ones
    assert drawn("\n\n\n" + SOURCE) == drawn(SOURCE)


def test_what_is_listed_as_equivalent_can_still_be_made() -> None:
    made = {mutant.key for room in ROOMS for mutant in mutants_in(ROOT, room)}
    assert not set(known_equivalents()) - made - {key[:-1] for key in made}


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A tree like ours with one function, half tested."""
    for path, text in {
        "pyproject.toml": "[tool.pytest.ini_options]\nasyncio_mode = 'auto'\n",
        "xml_pipeline/__init__.py": "",
        "xml_pipeline/shop/__init__.py": "def total(price, gift):\n    return price + 5 if gift else price\n\n\n"
        "def half(price):\n    return price // 2\n\n\n"
        "def never():\n    return True\n",
        "tests/__init__.py": "",
        "tests/shop/__init__.py": "",
        "tests/shop/test_shop.py": "from xml_pipeline.shop import total\n\n\n"
        "def test_a_gift_is_wrapped():\n    assert total(1, True) == 6\n",
        "tests/test_whole.py": "from xml_pipeline.shop import half\n\n\n"
        "def test_half():\n    assert half(5) == 2\n",
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    return tmp_path


def run(tree: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tools.mutants", "shop", *arguments],
        cwd=tree,
        env={"PYTHONPATH": str(ROOT), "PATH": "", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_faults_that_no_test_notices_are_shown(small: Path) -> None:
    before = {path: path.read_bytes() for path in small.rglob("*") if path.is_file()}
    done = run(small, "--verbose")
    assert done.returncode == 0, done.stderr
    assert "never (constant, survived)\n  - return True\n  + return False\n" in done.stdout
    assert "| shop | 9 | 0 | 2 | 0 | 0 | 82% |" in done.stdout
    assert "killed tests/test_whole.py::test_half" in done.stdout  # the room's own had not noticed it
    assert {path: path.read_bytes() for path in small.rglob("*") if path.is_file()} == before


def test_a_tree_whose_tests_fail_is_not_tried(small: Path) -> None:
    (small / "tests/shop/test_shop.py").write_text("def test_it():\n    assert False\n")
    done = run(small)
    assert done.returncode != 0
    assert "test_shop.py" in done.stderr
