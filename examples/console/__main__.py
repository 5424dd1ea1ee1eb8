"""The console over the organism.yaml at the root of this repository."""

import sys
from pathlib import Path

from xml_pipeline.cli import main

ORGANISM = Path(__file__).parents[2] / "organism.yaml"

sys.exit(main(["run", str(ORGANISM), *sys.argv[1:]]))
