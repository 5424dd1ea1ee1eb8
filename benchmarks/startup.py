"""What an import costs, each in a fresh interpreter; the interpreter's own start is taken off."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import time

from benchmarks.table import median, table

STATEMENTS = (
    "import xml_pipeline",
    "from xml_pipeline import Organism, xmlify, HandlerResponse",
    "from xml_pipeline import complete",
    "import xml_pipeline.config",
    "import xml_pipeline.cli",
    "import lxml.etree, pydantic",
    "import litellm",
    "import openai",
    "import autogen_core",
)


def _seconds(statement: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], check=True, capture_output=True)
    return time.perf_counter() - start


def main() -> None:
    nothing = median(lambda: _seconds("pass"))
    rows = []
    for statement in STATEMENTS:
        package = statement.split()[1].split(".")[0]
        if importlib.util.find_spec(package) is not None:
            cost = median(lambda statement=statement: _seconds(statement)) - nothing
            rows.append([f"`{statement}`", f"{cost * 1000:.0f}"])
    table("Import (wall ms over an empty interpreter)", ["statement", "ms"], rows)


if __name__ == "__main__":
    main()
