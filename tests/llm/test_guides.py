"""The pages about the router: their Python runs, their YAML is taken."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from xml_pipeline.llm.routing.strategies import STRATEGIES
from xml_pipeline.llm.section import build_router

GUIDES = Path(__file__).parents[2] / "docs" / "guides"
PAGES = ("strategies.md", "limits-and-budgets.md")


def blocks(page: str, language: str) -> list[str]:
    text = (GUIDES / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("page", PAGES)
async def test_the_python_of_a_page_runs(page: str) -> None:
    found = blocks(page, "python")
    assert found
    before = dict(STRATEGIES)
    try:
        for block in found:
            code = compile(block, page, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            result = eval(code, {"__name__": "page"})
            if inspect.iscoroutine(result):
                await result
    finally:
        STRATEGIES.clear()
        STRATEGIES.update(before)


@pytest.mark.parametrize("page", PAGES)
def test_the_yaml_of_a_page_is_taken(page: str) -> None:
    found = blocks(page, "yaml")
    assert found
    for block in found:
        section: dict[str, Any] = yaml.safe_load(block)["llm"]
        build_router(section, environ={})
