"""docs/reference/organism-yaml.md is what the models say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.config.projects import config_of
from tests.config.test_effects import keys
from xml_pipeline.config import OrganismConfig
from xml_pipeline.config.reference import EXAMPLE, reference

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "organism-yaml.md"


def test_the_page_is_up_to_date(tmp_path: Path) -> None:
    fresh = tmp_path / "page.md"
    subprocess.run([sys.executable, "-m", "xml_pipeline.config.reference", str(fresh)], check=True)
    assert PAGE.read_text(encoding="utf-8") == fresh.read_text(encoding="utf-8"), (
        "run: python -m xml_pipeline.config.reference docs/reference/organism-yaml.md"
    )


def test_the_page_s_example_is_valid() -> None:
    assert EXAMPLE in reference()
    config = config_of(EXAMPLE, KEY_NAME="MY_KEY")
    assert config.llm.backends[1].api_key_env == "MY_KEY"


def test_every_key_is_on_the_page() -> None:
    page = reference()
    for path in keys(OrganismConfig):
        assert f"| `{path.rsplit('.', 1)[-1]}` |" in page
