"""Checking an organism.yaml builds nothing: what runs later is built once."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.config.projects import HANDLERS, write
from xml_pipeline import Organism
from xml_pipeline.config import load
from xml_pipeline.llm import Backend, Router
from xml_pipeline.pump import Listener

SHIPPED = Path(__file__).parents[2] / "organism.yaml"

EVERYTHING = """\
organism: {name: demo}
listeners:
  - {name: greeter, handler: handlers:greet, accepts: handlers:Greeting}
  - {name: shouter, handler: handlers:shout, cpu_bound: true}
  - {name: bot, agent: true, model: m, accepts: [handlers:Greeting], answers: handlers:Reply}
  - {name: boss, human: true, accepts: handlers:Greeting}
llm:
  backends: [{provider: openai, rate_limit_tpm: "${LIMIT}"}, {provider: scripted, rules: [{reply: x}]}]
"""


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How many objects of each class were made."""
    counts: Counter[str] = Counter()

    def count(cls: type, method: str) -> None:
        made = getattr(cls, method)

        def counted(self: Any, *args: Any, **options: Any) -> None:
            counts[cls.__name__] += 1
            made(self, *args, **options)

        monkeypatch.setattr(cls, method, counted)

    count(Listener, "__post_init__")
    count(Backend, "__post_init__")
    count(Router, "__init__")
    return counts


def test_the_shipped_organism_is_built_once(built: Counter[str]) -> None:
    Organism.from_file(SHIPPED, environ={})
    assert built == {"Listener": 5, "Router": 1, "Backend": 6}


def test_every_kind_of_listener_and_of_key_is_built_once(tmp_path: Path, built: Counter[str]) -> None:
    file = write(tmp_path, {"organism.yaml": EVERYTHING, "handlers.py": HANDLERS})
    config = load(file, environ={"LIMIT": "1000"})
    assert not built
    Organism.from_config(config)
    assert built == {"Listener": 4, "Router": 1, "Backend": 2}
