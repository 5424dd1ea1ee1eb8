"""Runs the benchmarks named (the short ones without arguments) and prints their tables as Markdown."""

from __future__ import annotations

import importlib
import platform
import sys

NAMES = ("hop", "journal", "durable_peers", "walk", "startup", "memory", "llm_overhead", "llm_limits")
LONG = ("sustain",)


def main() -> None:
    names = sys.argv[1:] or NAMES
    unknown = sorted(set(names) - {*NAMES, *LONG})
    if unknown:
        sys.exit(f"no benchmark {', '.join(unknown)}; there are {', '.join((*NAMES, *LONG))}")
    print(f"Python {platform.python_version()}, {platform.system()} {platform.machine()}\n")
    for name in names:
        importlib.import_module(f"benchmarks.{name}").main()


if __name__ == "__main__":
    main()
