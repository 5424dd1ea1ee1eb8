"""Every key of `organism` and `listeners` has a test that shows its effect, and this table says where.

The keys of `llm` are the router's; tests/llm shows what they do.
"""

from __future__ import annotations

import ast
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from xml_pipeline.config import OrganismConfig
from xml_pipeline.llm.section import LLMSection

ROOT = Path(__file__).parents[2]
RUNNING = "tests/test_config_effects.py"
LOADING = "tests/config/test_load.py"

EFFECTS = {
    "organism.name": f"{RUNNING}::test_organism_name",
    "organism.description": f"{RUNNING}::test_organism_description",
    "organism.default": f"{RUNNING}::test_organism_default",
    "organism.thread_scheduling": f"{RUNNING}::test_organism_thread_scheduling",
    "organism.max_in_flight": f"{RUNNING}::test_organism_max_in_flight",
    "organism.max_concurrent_handlers": f"{RUNNING}::test_organism_max_concurrent_handlers",
    "organism.max_concurrent_per_agent": f"{RUNNING}::test_organism_max_concurrent_per_agent",
    "organism.shutdown_seconds": f"{RUNNING}::test_organism_shutdown_seconds",
    "organism.timeout_seconds": f"{RUNNING}::test_organism_timeout_seconds",
    "organism.limits.messages": f"{RUNNING}::test_organism_limits_messages",
    "organism.limits.depth": f"{RUNNING}::test_organism_limits_depth",
    "organism.limits.seconds": f"{RUNNING}::test_organism_limits_seconds",
    "organism.limits.message_bytes": f"{RUNNING}::test_organism_limits_message_bytes",
    "listeners[].name": f"{RUNNING}::test_listener_name",
    "listeners[].description": f"{RUNNING}::test_listener_description",
    "listeners[].handler": f"{RUNNING}::test_listener_handler",
    "listeners[].payload_class": f"{RUNNING}::test_listener_payload_class",
    "listeners[].agent": f"{RUNNING}::test_listener_agent",
    "listeners[].human": f"{RUNNING}::test_listener_human",
    "listeners[].peers": f"{RUNNING}::test_listener_peers",
    "listeners[].broadcast": f"{RUNNING}::test_listener_broadcast",
    "listeners[].cpu_bound": f"{RUNNING}::test_listener_cpu_bound",
    "listeners[].timeout_seconds": f"{RUNNING}::test_listener_timeout_seconds",
    "listeners[].max_concurrent": f"{RUNNING}::test_listener_max_concurrent",
    "listeners[].model": f"{RUNNING}::test_listener_model",
    "listeners[].prompt": f"{RUNNING}::test_listener_prompt",
    "listeners[].prompt_file": f"{LOADING}::test_a_prompt_file_is_the_prompt",
    "listeners[].max_turns": f"{RUNNING}::test_listener_max_turns",
    "listeners[].max_tokens": f"{RUNNING}::test_listener_max_tokens",
    "listeners[].temperature": f"{RUNNING}::test_listener_temperature",
    "listeners[].accepts": f"{RUNNING}::test_listener_accepts",
    "listeners[].answer_class": f"{RUNNING}::test_listener_answer_class",
    "listeners[].history.messages": f"{RUNNING}::test_listener_history_messages",
    "listeners[].history.tokens": f"{RUNNING}::test_listener_history_tokens",
    "listeners[].tools": f"{RUNNING}::test_listener_tools",
    "listeners[].memory": f"{RUNNING}::test_listener_memory",
    "listeners[].peer_timeout_seconds": f"{RUNNING}::test_listener_peer_timeout_seconds",
    "listeners[].budget[].tokens": f"{RUNNING}::test_listener_budget",
    "listeners[].budget[].usd": f"{RUNNING}::test_listener_budget",
    "listeners[].budget[].per": f"{RUNNING}::test_listener_budget",
    "listeners[].budget[].warn_at": f"{RUNNING}::test_listener_budget",
}


def leaf_keys(model: type[BaseModel] = OrganismConfig, path: str = "") -> Iterator[str]:
    """Every key of the file that holds no section, but those of the router's."""
    for name, field in model.model_fields.items():
        here = f"{path}.{name}".removeprefix(".")
        section, suffix = _section_of(field.annotation, "")
        if section is None:
            yield here
        elif section is not LLMSection:
            yield from leaf_keys(section, here + suffix)


def _section_of(annotation: Any, suffix: str) -> tuple[type[BaseModel] | None, str]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, suffix
    origin = typing.get_origin(annotation)
    if origin in (tuple, typing.Union, types.UnionType, typing.Annotated):
        for inner in typing.get_args(annotation):
            section, inner_suffix = _section_of(inner, "[]" if origin is tuple else suffix)
            if section is not None:
                return section, inner_suffix
    return None, suffix


def test_every_key_is_in_the_table_and_nothing_else_is() -> None:
    assert list(leaf_keys()) == list(EFFECTS)


@pytest.mark.parametrize("file", sorted({node.split("::")[0] for node in EFFECTS.values()}))
def test_every_test_of_the_table_exists(file: str) -> None:
    if not (ROOT / file).exists():
        pytest.xfail(f"{file} is not written yet")
    functions = {
        node.name
        for node in ast.walk(ast.parse((ROOT / file).read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    wanted = {node.split("::")[1] for node in EFFECTS.values() if node.startswith(file)}
    assert wanted - functions == set()
