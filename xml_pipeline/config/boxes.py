"""Other organisms that are used in one: their files are loaded, and what this one says of them is held to them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from xml_pipeline.config.document import Document, Place
from xml_pipeline.config.document import Path as DocumentPath
from xml_pipeline.config.models import Box, ListenerConfig, OrganismConfig
from xml_pipeline.errors import ConfigError, did_you_mean, listing
from xml_pipeline.llm.presets import Routing
from xml_pipeline.llm.section import BudgetSection

DEEPEST = 5
"""Files that use files that use files."""


def load_boxes(
    document: Document,
    config: OrganismConfig,
    directories: Mapping[str, Path],
    load: Callable[[Path], OrganismConfig],
    within: tuple[Path, ...],
) -> dict[str, Box]:
    """The boxes of a document by name; mistakes in them, and about them, are reported.

    Args:
        document: what they stand in.
        config: the same, typed.
        directories: where the paths of each file start, by its label.
        load: reads a file.
        within: the files around this one, outermost first.
    """
    boxes: dict[str, Box] = {}
    for index, each in enumerate(config.listeners):
        if each.use is None:
            continue
        here: DocumentPath = ("listeners", index)
        file = used_file(directories[document.values[(*here, "use")].file] / each.use)
        if file in within:
            document.report(
                (*here, "use"), f"{each.use} uses this file; files cannot use each other in a circle"
            )
        elif len(within) > DEEPEST:
            document.report((*here, "use"), f"files use files more than {DEEPEST} deep")
        else:
            try:
                boxes[each.name] = box = Box(each, load(file))
            except ConfigError as error:
                for problem in error.problems:
                    if not problem.line:  # about the file as a whole
                        document.report((*here, "use"), f"{each.use} {problem.message}")
                        continue
                    place = Place(problem.file or str(file), problem.line, problem.column, ())
                    document.add(
                        f"{problem.path}: {problem.message}" if problem.path else problem.message, place
                    )
                continue
            for path, message in _mistakes(box):
                document.report((*here, *path), message)
    return boxes


def used_file(named: Path) -> Path:
    """The file that `use` names: itself, or the organism.yaml of a folder; links followed."""
    file = Path(os.path.realpath(named))
    return file / "organism.yaml" if os.path.isdir(file) else file


def _mistakes(box: Box) -> Iterator[tuple[DocumentPath, str]]:
    """What the outer file says of a box and does not fit it."""
    entry, inner = box.entry, box.config
    names, doors = [each.name for each in inner.listeners], inner.organism.doors
    for index, tool in enumerate(entry.tools):
        if tool in doors and tool in names:
            continue
        if tool in names:
            told = (
                f"'{tool}' is no door of {entry.use}; its doors are {listing(doors) or 'none'}, and who owns that"
                f" file may add it: organism: {{doors: [{tool}]}}"
            )
        else:
            hint = did_you_mean(tool, names)
            told = f"there is no listener '{tool}' in {entry.use}{hint}; its doors are {listing(doors) or 'none'}"
        yield ("tools", index), told
    wanted = sorted({model for each in inner.listeners if (model := model_of(each, inner)) is not None})
    for model in wanted:
        if model not in entry.models:
            yield (
                ("models",) if entry.models else (),
                f"agents of {entry.use} use the model '{model}'; say which one of this file that is:"
                f" models: {{{model}: …}}",
            )
    for model in entry.models:
        if model not in wanted:
            yield (
                ("models", model),
                f"no agent of {entry.use} uses '{model}'; there are {listing(wanted) or 'none'}",
            )
    people = [each.name for each in inner.listeners if each.human]
    for person in people:
        if person not in entry.people:
            yield (
                ("people",) if entry.people else (),
                f"{entry.use} asks '{person}'; say which person of this file that is: people: {{{person}: …}}",
            )
    for person in entry.people:
        if person not in people:
            yield (
                ("people", person),
                f"{entry.use} has no person '{person}'; there are {listing(people) or 'none'}",
            )


def model_of(each: ListenerConfig, config: OrganismConfig) -> str | None:
    """The model that an agent of a file uses; None for what is no built-in agent."""
    if each.kind != "agent":
        return None
    return each.model or Routing(config.llm.routing).model(each.operation)


def budgets_of(box: Box) -> dict[str, tuple[BudgetSection, ...]]:
    """What listeners of a box may spend: by their own file, and (those that can be called) by this one."""
    found: dict[str, tuple[BudgetSection, ...]] = {}
    for each in box.config.listeners:
        full = box.full_names[each.name]
        found[full] = (*each.budget, *(box.entry.budget if each.name in box.entry.tools else ()))
        if each.name in box.config.boxes:
            for name, budget in budgets_of(box.config.boxes[each.name]).items():
                found[f"{box.entry.name}.{name}"] = budget
    return {name: budget for name, budget in found.items() if budget}


def not_in_force(box: Box) -> list[str]:
    """What a used file says that means nothing here, for people who check."""
    said = box.config.organism.model_fields_set - {"name", "description", "format", "default", "doors"}
    found = [f"organism.{name}" for name in sorted(said)]
    if any(door.budget for door in box.config.organism.doors.values()):
        found.append("budgets of organism.doors")
    if box.config.triggers:
        found.append("triggers")
    if box.config.llm.model_fields_set:
        found.append("llm")
    return found
