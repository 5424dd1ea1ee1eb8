"""`schema`: the JSON Schema of organism.yaml."""

from __future__ import annotations

import argparse
import json

from xml_pipeline.config import json_schema


def show(_: argparse.Namespace) -> int:
    """Print it."""
    print(json.dumps(json_schema(), indent=2, ensure_ascii=False))
    return 0
