"""The shape of the tree that a stranger relies on: sizes, globals, imports, public names."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import xml_pipeline

PACKAGE = Path(xml_pipeline.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
LONGEST_FILE = 750
LONGEST_FUNCTION = 80


def name(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


@pytest.mark.parametrize("path", FILES, ids=name)
def test_a_file_holds_one_idea(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= LONGEST_FILE


@pytest.mark.parametrize("path", FILES, ids=name)
def test_a_function_fits_on_a_screen(path: Path) -> None:
    long = [
        f"{node.name}: {node.end_lineno - node.lineno + 1} lines"
        for node in ast.walk(tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno + 1 > LONGEST_FUNCTION
    ]
    assert not long


def test_the_default_router_is_the_only_global() -> None:
    statements = {
        (name(path), target)
        for path in FILES
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Global)
        for target in node.names
    }
    assert statements == {("llm/default.py", "_default")}


@pytest.mark.parametrize("path", FILES, ids=name)
def test_a_module_says_what_it_is_for(path: Path) -> None:
    assert ast.get_docstring(tree(path))


def test_public_names() -> None:
    assert xml_pipeline.__all__ == sorted(xml_pipeline.__all__)
    for public in xml_pipeline.__all__:
        value = getattr(xml_pipeline, public)
        assert value.__doc__, public
    assert set(xml_pipeline.__all__) <= set(dir(xml_pipeline))


def test_an_unknown_public_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Organizm'"):
        _ = xml_pipeline.Organizm


@pytest.mark.parametrize("heavy", ["httpx", "aiohttp", "genai_prices", "prompt_toolkit", "pebble"])
def test_import_stays_light(heavy: str) -> None:
    code = (
        f"import sys; from xml_pipeline import Organism, xmlify, complete; sys.exit({heavy!r} in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
