"""The walks of docs/architecture.md, held to traces: the functions it names are called, in its order, and few others.

These are counts, not times: they do not depend on the machine.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from benchmarks.walk import Walk, length, one_ask, one_completion

PAGE = Path(__file__).parent.parent / "docs" / "architecture.md"
STEP = re.compile(r"`([\w/]+)\.py: ([\w.]+)`")


def walked(heading: str) -> Walk:
    """The functions that a section of the page names, as (module, function)."""
    _, _, rest = PAGE.read_text().partition(f"## {heading}\n")
    section, _, _ = rest.partition("\n## ")
    return [
        (f"xml_pipeline.{file.replace('/', '.').removesuffix('.__init__')}", function)
        for file, function in STEP.findall(section)
    ]


@pytest.mark.parametrize(
    ("heading", "call", "most_calls", "most_files"),
    [
        ("The walk of one message", one_ask, 60, 12),
        ("The walk of one completion", one_completion, 122, 22),
    ],
)
def test_the_page_walks_as_the_code_does(
    heading: str, call: Callable[[], Coroutine[Any, Any, Walk]], most_calls: int, most_files: int
) -> None:
    named = walked(heading)
    assert len(named) > 10, "the section is not where it was"
    found = asyncio.run(call())
    rest = iter(found)
    astray = next((each for each in named if each not in rest), None)
    assert astray is None, f"{astray} is not called, or not in this order; the trace is {found}"
    calls, files = length(found)
    assert calls <= most_calls
    assert files <= most_files
