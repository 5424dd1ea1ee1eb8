"""The reference page of the command line says what the parser says."""

from __future__ import annotations

from pathlib import Path

from xml_pipeline.cli.parser import build_parser
from xml_pipeline.cli.reference import reference

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "cli.md"


def test_the_page_is_what_the_parser_says() -> None:
    assert PAGE.read_text(encoding="utf-8") == reference(), (
        "python -m xml_pipeline.cli.reference docs/reference/cli.md"
    )


def test_every_command_is_on_it() -> None:
    page = reference()
    for command in (
        "run",
        "check",
        "init",
        "describe",
        "graph",
        "schema",
        "send",
        "llm list",
        "llm ask",
        "version",
    ):
        assert f"## xml-pipeline {command}\n" in page
    assert "--timeout SECONDS" in page
    assert build_parser().prog == "xml-pipeline"
