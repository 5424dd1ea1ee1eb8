"""`version`."""

from __future__ import annotations

import argparse

from xml_pipeline import __version__


def show(_: argparse.Namespace) -> int:
    """Print it."""
    print(f"xml-pipeline {__version__}")
    return 0
