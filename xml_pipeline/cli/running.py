"""`run`: the console."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from xml_pipeline import console
from xml_pipeline.cli.files import organism_file
from xml_pipeline.organism import Organism


def run(arguments: argparse.Namespace) -> int:
    """Talk to the organism."""
    organism = Organism.from_file(organism_file(arguments))
    return asyncio.run(console.main(organism, log=Path(arguments.log) if arguments.log else None))
