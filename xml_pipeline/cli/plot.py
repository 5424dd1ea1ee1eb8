"""`llm cost --plot`: what was spent as a picture, with matplotlib, which only this imports."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from xml_pipeline.errors import ConfigError
from xml_pipeline.terminal import one_line

if TYPE_CHECKING:
    from xml_pipeline.journal.spending import By, Spending

MOST = 30  # bars
_LONGEST_NAME = 40


def kind_of(path: Path) -> Literal["svg", "png"]:
    """By the end of its name. Raises ConfigError: it is another one."""
    match path.suffix.lower():
        case ".svg":
            return "svg"
        case ".png":
            return "png"
    raise ConfigError(f"a picture's name ends with .svg or .png, not as '{path.name}'")


def draw(found: Sequence[Spending], by: By, path: Path) -> None:
    """Write the picture.

    Raises:
        ConfigError: matplotlib is not installed, or the file cannot be written.
    """
    kind = kind_of(path)
    data = _picture(found, by, kind)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_bytes(data)
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise ConfigError(f"{path} cannot be written: {error.strerror or error}") from None


def _picture(found: Sequence[Spending], by: By, kind: Literal["svg", "png"]) -> bytes:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ConfigError("pictures need matplotlib: pip install 'xml-pipeline[plot]'") from None
    shown = list(found[-MOST:] if by == "day" else found[:MOST])
    priced = any(each.micro_usd for each in shown)
    names = [one_line(each.name or f"(no {by})")[:_LONGEST_NAME] for each in shown]
    amounts = [each.micro_usd / 1_000_000 if priced else float(each.prompt + each.output) for each in shown]
    figure = Figure(figsize=(9, 1.2 + 0.35 * max(1, len(shown))), layout="constrained")
    axes = figure.add_subplot()
    places = list(range(len(shown)))
    axes.barh(places, amounts, color="#4c78a8")
    axes.set_yticks(places, labels=names, parse_math=False)
    axes.invert_yaxis()
    axes.set_xlabel("US dollars" if priced else "tokens")
    axes.set_title(f"Calls of models by {by}")
    data = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of letters that no font here has
        figure.savefig(data, format=kind, metadata={"Date": None} if kind == "svg" else None)
    return data.getvalue()
