"""The flows of a document: read and checked with all that they name, as far as that is known."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from xml_pipeline.config.classes import BUILT_IN, is_imported
from xml_pipeline.config.document import Document
from xml_pipeline.config.models import Box, ListenerConfig, OrganismConfig
from xml_pipeline.errors import ConfigError
from xml_pipeline.flows import Contract, Flow, StepSection, World, read_flow
from xml_pipeline.pump.listener import SYSTEM_CLASSES, contract

_STEPS = TypeAdapter(tuple[StepSection, ...])


@dataclass(frozen=True, slots=True)
class FlowConfig:
    """A flow that was read.

    Attributes:
        flow: what it does.
        definition: the same as text, which a journal keeps.
        accepts: the classes of its task.
        world: what it was read with; `earlier` reads other definitions with it.
    """

    flow: Flow
    definition: str
    accepts: tuple[type, ...]
    world: World

    def earlier(self, definition: str) -> Flow | None:
        """What a definition of an earlier life does among the listeners of today; None where it does not fit them."""
        try:
            sections = _STEPS.validate_json(definition)
        except ValidationError:
            return None
        return read_flow(sections, accepts=self.accepts, answers=None, world=self.world).flow


def read_flows(
    document: Document,
    config: OrganismConfig,
    boxes: Mapping[str, Box],
    resolved: Mapping[str, Any],
    *,
    complete: bool,
) -> dict[str, FlowConfig]:
    """All flows by name; mistakes in them are reported.

    Args:
        document: what they stand in.
        config: the same, typed.
        boxes: what it uses of other files.
        resolved: what its words and import paths stand for, as far as that is known.
        complete: whether that is all.
    """
    if not any(each.flow is not None for each in config.listeners):
        return {}
    contracts = _Contracts(document, config, boxes, resolved, complete=complete)
    for name in contracts:
        contracts[name]
    _refuse_circles(document, config, contracts.flows)
    return contracts.flows


class _Contracts(Mapping[str, Contract]):
    """What each listener takes and answers. That of a flow is found when it is asked for: flows call flows."""

    def __init__(
        self,
        document: Document,
        config: OrganismConfig,
        boxes: Mapping[str, Box],
        resolved: Mapping[str, Any],
        *,
        complete: bool,
    ) -> None:
        self.flows: dict[str, FlowConfig] = {}
        self._document = document
        self._resolved = resolved
        self._places = {each.name: index for index, each in enumerate(config.listeners)}
        self._listeners = {each.name: each for each in config.listeners if each.use is None}
        self._boxed = {
            f"{name}.{tool}": (box, tool) for name, box in boxes.items() for tool in box.entry.tools
        }
        self._known: dict[str, Contract] = {}
        self._reading: list[str] = []
        classes = {cls.__name__: cls for cls in resolved.values() if isinstance(cls, type)}
        self._world = World(self, {**classes, **BUILT_IN}, complete)

    def __getitem__(self, name: str) -> Contract:
        if name in self._boxed:
            return _of_box(*self._boxed[name])
        if name not in self._listeners:
            raise KeyError(name)
        if name not in self._known:
            each = self._listeners[name]
            self._known[name] = (
                _of_handler(each, self._resolved) if each.flow is None else self._of_flow(each)
            )
        return self._known[name]

    def __iter__(self) -> Iterator[str]:
        return iter((*self._listeners, *self._boxed))

    def __len__(self) -> int:
        return len(self._listeners) + len(self._boxed)

    def _of_flow(self, each: ListenerConfig) -> Contract:
        here = ("listeners", self._places[each.name], "flow")
        accepts = _classes(each.accepts, self._resolved) if each.accepts else (BUILT_IN["Task"],)
        answers = _classes(each.answers, self._resolved)
        if each.name in self._reading:
            circle = " → ".join([*self._reading[self._reading.index(each.name) :], each.name])
            self._document.report(
                here, f"what it answers depends on itself ({circle}); say it with `answers:` in one of them"
            )
            return Contract(accepts, known=False)
        if each.answers:  # before it is read: it may call itself
            self._known[each.name] = Contract(accepts, answers, known=answers is not None)
        self._reading.append(each.name)
        steps = each.flow or ()
        before = self._document.found
        self._refuse_variables(here)
        reading = read_flow(steps, accepts=accepts, answers=answers, world=self._world)
        self._reading.pop()
        for mistake in reading.mistakes:
            self._document.report((*here, *mistake.path), mistake.message, at_key=mistake.at_key)
        flow = reading.flow
        if flow is None or self._document.found > before:
            return self._known.get(each.name) or Contract(accepts, known=False)
        definition = _STEPS.dump_python(steps, by_alias=True, exclude_unset=True, mode="json")
        text = json.dumps(definition, sort_keys=True, separators=(",", ":"))
        self.flows[each.name] = FlowConfig(flow, text, accepts or (), self._world)
        return Contract(accepts, flow.answers or None, known=bool(flow.answers) or self._world.complete)

    def _refuse_variables(self, flow: tuple[str | int, ...]) -> None:
        """A template is what the file says, and not what the environment says."""
        for path in sorted(self._document.expanded, key=str):
            if path[: len(flow)] == flow and "{{" in str(_at(self._document.data, path)):
                text = "holds a template and a variable of the environment; a template takes none"
                self._document.report(path, text)


def _of_handler(each: ListenerConfig, resolved: Mapping[str, Any]) -> Contract:
    accepts, answers = _classes(each.accepts, resolved), _classes(each.answers, resolved)
    if each.kind != "tool":
        return Contract(
            accepts if each.accepts else (BUILT_IN["Task"],),
            answers if each.answers else (BUILT_IN["Answer"],),
            known=None not in (accepts if each.accepts else (), answers if each.answers else ()),
        )
    handler = resolved.get(each.handler or "")
    if handler is None:
        return Contract(accepts, answers, known=bool(each.answers) and answers is not None)
    try:
        agreed = contract(each.name, handler, accepts, answers)
    except ConfigError:
        return Contract(known=False)  # told where its handler is
    takes = tuple(codec.cls for codec in agreed.accepts.values() if codec.cls not in SYSTEM_CLASSES)
    return Contract(takes, agreed.answers)


def contracts_of(boxes: Mapping[str, Box]) -> dict[str, Contract]:
    """What the doors of other organisms take and answer, by their names here."""
    return {f"{name}.{tool}": _of_box(box, tool) for name, box in boxes.items() for tool in box.entry.tools}


def _of_box(box: Box, tool: str) -> Contract:
    """What a door of another organism takes and answers, by its own file."""
    each = next((one for one in box.config.listeners if one.name == tool), None)
    if each is None:
        return Contract(known=False)  # told at `tools`
    if each.flow is None:
        return _of_handler(each, box.config.known)
    read: FlowConfig | None = box.config.flows.get(tool)
    return Contract(known=False) if read is None else Contract(read.accepts, read.flow.answers)


def _classes(names: Sequence[str] | None, resolved: Mapping[str, Any]) -> tuple[type, ...] | None:
    """What names stand for; None where one of them is not imported yet."""
    if not names or any(is_imported(name) and name not in resolved for name in names):
        return None
    return tuple(resolved[name] for name in names if name in resolved)


def _at(data: Any, path: Sequence[str | int]) -> object:
    for part in path:
        data = data[part]
    return data


def _refuse_circles(document: Document, config: OrganismConfig, flows: Mapping[str, FlowConfig]) -> None:
    """A flow that comes back to itself on every path never ends."""
    told: set[str] = set()
    for index, each in enumerate(config.listeners):
        if each.name not in flows or each.name in told:
            continue
        way, waiting, before = (
            [each.name],
            [(each.name, iter(sorted(flows[each.name].flow.always)))],
            {each.name},
        )
        while waiting:
            following = next(waiting[-1][1], None)
            if following is None:
                waiting.pop()
                way.pop()
            elif following == each.name:
                circle = " → ".join([*way, following])
                document.report(
                    ("listeners", index, "flow"),
                    f"calls itself on every path ({circle}), and would never end; choose a way without it",
                )
                told.update(way)
                break
            elif following in flows and following not in before:
                before.add(following)
                way.append(following)
                waiting.append((following, iter(sorted(flows[following].flow.always))))
