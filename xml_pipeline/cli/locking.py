"""`lock`: write down what an organism uses from elsewhere."""

from __future__ import annotations

import argparse

from xml_pipeline.cli.command import FILE_ARGUMENT, command, organism_file


@command("lock", "write organism.lock: what is used from elsewhere, as it is now", *FILE_ARGUMENT)
def lock(arguments: argparse.Namespace) -> int:
    """Write it beside the file, and say what it holds."""
    from xml_pipeline.config import load
    from xml_pipeline.config.lock import NAME, locked, written

    file = organism_file(arguments)
    found = load(file, locked=False)
    if not found.boxes:
        print(f"nothing to lock: no listener of {file} has `use`")
        return 0
    target = found.base / NAME
    now = locked(found.boxes)
    target.write_text(written(now), encoding="utf-8")
    for name, tools in now.items():
        print(f"{name}: {', '.join(tools)}")
    print(f"written: {target}")
    return 0
