"""A file of keys in a folder of the test's own, that costs little."""

from __future__ import annotations

from pathlib import Path

import pytest

from xml_pipeline.keys.file import KeyFile
from xml_pipeline.keys.sealed import Cost

CHEAP = Cost(n=1 << 4, r=1)


@pytest.fixture
def file(tmp_path: Path) -> KeyFile:
    """A file of keys."""
    return KeyFile(tmp_path / "xml-pipeline" / "keys.json", CHEAP)
