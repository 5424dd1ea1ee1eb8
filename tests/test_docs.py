"""Every Python snippet of README.md and docs/ runs, page by page, in the order of the page."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = sorted(path for path in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
SNIPPET = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)#:]+)(?:#[^)]*)?\)")

RUNNER = """
import ast, asyncio, inspect, sys
namespace = {"__name__": "__main__", "asyncio": asyncio}
for number, source in enumerate(eval(sys.stdin.read())):
    code = compile(source, f"snippet {number + 1}", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    if code.co_flags & inspect.CO_COROUTINE:
        asyncio.run(eval(code, namespace))
    else:
        exec(code, namespace)
"""


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("page", [page for page in PAGES if SNIPPET.search(page.read_text())], ids=name)
def test_snippets_run(page: Path, tmp_path: Path) -> None:
    snippets = SNIPPET.findall(page.read_text())
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", RUNNER],
        input=repr(snippets), cwd=tmp_path, capture_output=True, text=True, timeout=50,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    missing = [link for link in LINK.findall(page.read_text()) if not (page.parent / link).exists()]
    assert not missing


def test_readme_stays_within_two_screens() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 100


def test_the_index_of_decisions_is_complete() -> None:
    folder = ROOT / "docs" / "adr"
    records = sorted(folder.glob("[0-9]*.md"))
    titles = [record.read_text().splitlines()[0].removeprefix("# ").split(". ", 1) for record in records]
    assert [number for number, _ in titles] == [str(position) for position in range(1, len(records) + 1)]
    lines = [
        f"{number}. [{title}]({record.name})" for record, (number, title) in zip(records, titles, strict=True)
    ]
    index = (folder / "README.md").read_text().splitlines()
    assert [line for line in index if line[:1].isdecimal()] == lines


def test_the_decisions_that_the_code_names_are_there() -> None:
    named = {
        int(number)
        for path in (ROOT / "xml_pipeline").rglob("*.py")
        for number in re.findall(r"\bADR (\d+)", path.read_text())
    }
    there = {int(path.name[:4]) for path in (ROOT / "docs" / "adr").glob("[0-9]*.md")}
    assert named <= there
    assert len(named) > 10
