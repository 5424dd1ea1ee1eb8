"""`check`: every mistake of an organism.yaml, or one line that says what is in it."""

from __future__ import annotations

import argparse

from xml_pipeline.cli.files import organism_file
from xml_pipeline.config import load
from xml_pipeline.console.overview import kind
from xml_pipeline.console.render import count
from xml_pipeline.organism import Organism


def check(arguments: argparse.Namespace) -> int:
    """Load and build the organism, and do not start it. ConfigError holds what is wrong."""
    path = organism_file(arguments)
    config = load(path)
    organism = Organism.from_config(config)
    listeners = organism.listeners.values()
    kinds = [kind(each) for each in listeners]
    parts = [count(len(kinds), "listener")]
    parts += [count(kinds.count(each), each) for each in dict.fromkeys(kinds)]
    backends = organism.router.describe()
    missing = [each.key_variable for each in backends if each.key == "missing"]
    if backends:
        parts.append(count(len(backends), "backend"))
    keys = f" (without a key: set {', '.join(missing)})" if missing else ""
    print(f"{path}: ok: {organism.name}, {', '.join(parts)}{keys}")
    return 0
