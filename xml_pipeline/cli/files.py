"""Finding the organism that a command is about."""

from __future__ import annotations

import argparse
from pathlib import Path

from xml_pipeline.errors import ConfigError


def organism_file(arguments: argparse.Namespace) -> Path:
    """The file that the command line names, or organism.yaml here.

    Raises:
        ConfigError: there is no such file; says what to do.
    """
    path = Path(getattr(arguments, "given", None) or arguments.file)
    if path.is_dir():
        path = path / "organism.yaml"
    if not path.exists():
        raise ConfigError(
            f"there is no {path}; name the file with -f FILE, or make a new project with `xml-pipeline init DIR`"
        )
    return path
