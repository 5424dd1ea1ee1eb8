"""Code of a file runs only when nothing else is wrong with it, and never when it is not wanted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest

from tests.config.projects import HANDLERS, only, problems_in, write
from xml_pipeline import Organism
from xml_pipeline.config import load
from xml_pipeline.errors import ConfigError
from xml_pipeline.llm import PROVIDER_CLASSES
from xml_pipeline.llm.routing.strategies import STRATEGIES

ORGANISM = """\
organism: {name: x}
listeners:
  - {name: greeter, handler: handlers:greet}
llm:
  modules: [models_of_mine]
  strategy: mine
  backends: [{provider: mine}]
"""
MARK = "from pathlib import Path\nPath(__file__).with_suffix('.ran').touch()\n"
MODELS = f"""{MARK}
from xml_pipeline.llm import PROVIDER_CLASSES
from xml_pipeline.llm.providers.scripted import ScriptedBackend
from xml_pipeline.llm.routing.strategies import STRATEGIES

PROVIDER_CLASSES["mine"] = ScriptedBackend
STRATEGIES["mine"] = STRATEGIES["failover"]
"""


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Path]:
    yield write(
        tmp_path,
        {"organism.yaml": ORGANISM, "handlers.py": MARK + HANDLERS, "models_of_mine.py": MODELS},
    )
    PROVIDER_CLASSES.pop("mine", None)
    STRATEGIES.pop("mine", None)


def ran(file: Path) -> list[str]:
    return sorted(mark.stem for mark in file.parent.glob("*.ran"))


@pytest.mark.parametrize(
    "mistake",
    [
        "nonsense: 1\n",
        "organism: {name: y}\n",
        "x-y: ${NOT_SET}\n",
        "\tx\n",
    ],
)
def test_nothing_is_imported_from_a_file_with_mistakes(file: Path, mistake: str) -> None:
    file.write_text(ORGANISM + mistake)
    assert problems_in(file)
    assert ran(file) == []


def test_handlers_are_not_imported_when_the_models_are_wrong(file: Path) -> None:
    file.write_text(ORGANISM.replace("provider: mine", "provider: yours"))
    assert "no provider 'yours'" in only(problems_in(file)).message
    assert ran(file) == ["models_of_mine"]


@pytest.mark.parametrize(
    ("imports", "imported", "unchecked"),
    [
        (
            "nothing",
            [],
            (
                "listeners[0].handler: handlers:greet",
                "llm.modules[0]: models_of_mine",
                "llm.backends[0].provider: mine",
            ),
        ),
        ("models", ["models_of_mine"], ("listeners[0].handler: handlers:greet",)),
        ("all", ["handlers", "models_of_mine"], ()),
    ],
)
def test_what_is_imported_can_be_chosen(
    file: Path, imports: Literal["all", "models", "nothing"], imported: list[str], unchecked: tuple[str, ...]
) -> None:
    config = load(file, environ={}, imports=imports)
    assert ran(file) == imported
    assert config.unchecked == unchecked


def test_what_was_not_imported_is_no_organism(file: Path) -> None:
    with pytest.raises(ConfigError, match="imports='all'"):
        Organism.from_config(load(file, environ={}, imports="models"))
