"""A flow as it stands in a file, with the classes and listeners that flows in the tests use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypeAlias

import yaml
from pydantic import Field

from xml_pipeline import HandlerMetadata, HandlerResponse, Organism, xmlify
from xml_pipeline.agents import Answer, Task
from xml_pipeline.flows.flow import FlowHandler
from xml_pipeline.flows.reading import Contract, Reading, World, read_flow
from xml_pipeline.flows.section import StepSection

Kind: TypeAlias = Literal["billing", "technical", "other"]


@xmlify
@dataclass
class Question:
    """What is asked."""

    text: str
    deep: bool = False


@xmlify
@dataclass
class Triage:
    """Whose it is."""

    kind: Kind
    sure: bool = True
    level: int = 1
    note: str | None = None


@xmlify
@dataclass
class Draft:
    """A text with places in it."""

    text: str
    places: list[str] = field(default_factory=list)


@xmlify
@dataclass
class Report:
    """What is answered."""

    text: str
    doubts: Annotated[str, Field(max_length=40)] = ""
    notes: list[str] = field(default_factory=list)


CLASSES: Mapping[str, type] = {cls.__name__: cls for cls in (Question, Triage, Draft, Report, Task, Answer)}

CONTRACTS = {
    "facts": Contract((Task,), (Answer,)),
    "doubts": Contract((Task,), (Answer,)),
    "triage": Contract((Question,), (Triage,)),
    "writer": Contract((Task, Draft), (Draft,)),
    "either": Contract((Task,), (Answer, Triage)),
    "billing": Contract((Question,), (Report,)),
    "silent": Contract((Task,), None),
}


def sections(text: str) -> tuple[StepSection, ...]:
    """Steps as they are read from a file."""
    return tuple(StepSection.model_validate(_tuples(each), strict=True) for each in yaml.safe_load(text))


def _tuples(data: Any) -> Any:
    if isinstance(data, dict):
        return {
            str(key).lower() if isinstance(key, bool) else key: _tuples(each) for key, each in data.items()
        }
    return tuple(map(_tuples, data)) if isinstance(data, list) else data


def reading(
    text: str, *, answers: tuple[type, ...] | None = None, accepts: tuple[type, ...] = (Question,)
) -> Reading:
    return read_flow(sections(text), accepts=accepts, answers=answers, world=World(CONTRACTS, CLASSES))


def organism(
    text: str, listeners: Mapping[str, Callable[[Any, HandlerMetadata], Any]], **options: Any
) -> Organism:
    """An organism with a flow `flow`, and these listeners: functions from payload to what is answered."""
    found = reading(text)
    assert found.flow is not None, found.mistakes
    flow = found.flow
    built = Organism.build(**options)
    handler = FlowHandler("flow", flow, "one", (Question,))
    built.listener(
        handler, name="flow", accepts=handler.accepts, peers=flow.calls, hands_over_to=flow.hands_over_to
    )
    for name in {*flow.calls, *flow.hands_over_to}:
        contract = CONTRACTS[name]
        assert contract.accepts is not None
        built.listener(_handler(listeners[name]), name=name, accepts=contract.accepts, timeout_seconds=1000)
    return built


def _handler(act: Callable[[Any, HandlerMetadata], Any]) -> Any:
    async def handle(payload: Any, metadata: HandlerMetadata) -> Any:
        answer = act(payload, metadata)
        if hasattr(answer, "__await__"):
            answer = await answer
        return None if answer is None else HandlerResponse.respond(answer)

    return handle
