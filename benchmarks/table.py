"""A Markdown table, and the median of some repetitions."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence

REPEATS = 5


def table(title: str, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print one table."""
    cells = [[str(cell) for cell in row] for row in (header, *rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    print(f"### {title}\n")
    for number, row in enumerate(cells):
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |")
        if number == 0:
            print("|" + "|".join("-" * (width + 2) for width in widths) + "|")
    print()


def median(measure: Callable[[], float], repeats: int = REPEATS) -> float:
    """The median of `repeats` measurements."""
    return statistics.median(measure() for _ in range(repeats))
