"""What makes one agent differ from another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, TypeAlias

from xml_pipeline.agents.history import Bounds
from xml_pipeline.agents.skills import Skill

Span: TypeAlias = Literal["call", "session", "conversation", "none"]


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """One agent's declaration.

    Attributes:
        model: a model's name, or an alias of the `llm` section.
        prompt: its own part of the system prompt.
        max_turns: rounds of calls and answers for one task; corrections of an invalid answer are not counted.
        max_tokens: output limit of one model call; None for the provider's.
        temperature: None for the provider's.
        calls: how the model calls peers; `auto` is native where every backend of the model can.
        memory: how long finished tasks are remembered.
        history: how much of them.
        peer_timeout_seconds: for the answers of its peers; while only people are waited for, it does not count.
        task: how a task is told to the model, by payload class: a template whose paths begin with a field. A class
            without one is told as its document, a `Task` as its text.
        skills: what it may read, by names that differ.
    """

    model: str
    prompt: str = ""
    max_turns: int = 8
    max_tokens: int | None = None
    temperature: float | None = None
    calls: Literal["auto", "native", "xml"] = "auto"
    memory: Span = "session"
    history: Bounds = field(default_factory=Bounds)
    peer_timeout_seconds: float = 300.0
    task: Mapping[type, str] = field(default_factory=lambda: MappingProxyType({}))
    skills: tuple[Skill, ...] = ()
