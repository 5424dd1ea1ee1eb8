"""What `task` and `hands_over_to` of listeners say, held to the classes that they name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from xml_pipeline.agents import Answer, Task
from xml_pipeline.config.document import Document, Path
from xml_pipeline.config.flows import FlowConfig
from xml_pipeline.errors import cut, did_you_mean, listing
from xml_pipeline.payload import is_payload
from xml_pipeline.pump.listener import contract
from xml_pipeline.pump.table import beyond
from xml_pipeline.templates import TemplateFault, parse, untellable

USUAL = ("Task",)
"""What agents and people accept when nothing is said."""


def templates_of(
    task: Mapping[str, str], accepts: Iterable[str], resolved: Mapping[str, Any]
) -> dict[type, str]:
    """The templates of an agent's tasks by their classes.

    Args:
        task: as the file has it, without mistakes.
        accepts: the classes as the file names them.
        resolved: what these names stand for.
    """
    return {resolved[name]: text for key, text in task.items() if (name := _meant(key, accepts)) is not None}


def _meant(key: str, accepts: Iterable[str]) -> str | None:
    """The accepted class that a key names: as `accepts` does, or by its last word."""
    return next((name for name in accepts if key in (name, _word(name))), None)


def _word(name: str) -> str:
    return name.rpartition(":")[2].rpartition(".")[2]


def check_tasks(document: Document, resolved: Mapping[str, Any]) -> None:
    """Report templates that are none, or do not fit their class as far as that is known."""
    for path, entry in _listeners(document):
        task = entry.get("task")
        if not isinstance(task, Mapping) or entry.get("agent") is not True or "handler" in entry:
            continue
        accepts = list(_names(entry.get("accepts"))) or list(USUAL)
        named: dict[str, str] = {}
        for key, text in task.items():
            here = (*path, "task", key)
            name = _meant(key, accepts)
            if name is None:
                words = [_word(each) for each in accepts]
                hint = f"{did_you_mean(key, words)}; it accepts {listing(words)}"
                document.report(here, f"`{cut(key)}` is no class that it accepts{hint}", at_key=True)
            elif named.setdefault(name, key) != key:
                document.report(
                    here, f"{_word(name)} is also named as `{named[name]}`; keep one", at_key=True
                )
            elif isinstance(text, str):
                for mistake in _mistakes(document, here, text, resolved.get(name)):
                    document.report(here, mistake)


def _mistakes(document: Document, path: Path, text: str, cls: Any) -> Iterator[str]:
    if path in document.expanded:
        yield "holds a variable of the environment (`$`); a template takes none"
    elif not text.strip():
        yield "is empty; write what the model is told, or leave it out"
    elif is_payload(cls):
        yield from untellable(text, cls)
    else:
        try:
            parse(text)
        except TemplateFault as error:
            yield str(error)


def check_hand_overs(
    document: Document, resolved: Mapping[str, Any], flows: Mapping[str, FlowConfig]
) -> None:
    """Report targets that may answer what whoever hands over to them does not, as far as that is known."""
    listeners = list(_listeners(document))
    answers = {entry.get("name"): _answers(entry, resolved) for _, entry in listeners}
    answers.update({name: each.flow.answers or None for name, each in flows.items()})
    for path, entry in listeners:
        own = answers[entry.get("name")]
        for index, name in enumerate(_names(entry.get("hands_over_to"))):
            more = beyond(own, answers.get(name))
            if more:
                said = listing([cls.__name__ for cls in own or ()])
                here: Path = (*path, "hands_over_to", index)
                document.report(
                    here,
                    f"'{document.shown(here, name)}' may answer {listing(more)}, and who hands over to it answers"
                    f" {said}; name that in `answers` here, or hand over to another one",
                )


def _answers(entry: Mapping[str, Any], resolved: Mapping[str, Any]) -> tuple[type, ...] | None:
    """What a listener without mistakes answers; None where that is not declared, or not known."""
    name, handler = str(entry.get("name")), entry.get("handler")
    said = list(_names(entry.get("answers")))
    if any(each not in resolved for each in said) or (handler is not None and handler not in resolved):
        return None
    found = None if handler is None else resolved[str(handler)]
    if found is None and not (entry.get("agent") or entry.get("human")):
        return None
    given = [resolved[each] for each in said] or (None if handler else [Answer])
    accepts = [Task] if handler is None or entry.get("accepts") else None
    return contract(name, found, accepts, given).answers


def _listeners(document: Document) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    data: Any = document.data
    listeners = data.get("listeners")
    for index, entry in enumerate(listeners if isinstance(listeners, list) else ()):
        if isinstance(entry, Mapping):
            yield ("listeners", index), entry


def _names(named: object) -> Iterator[str]:
    """One name, or those of a list."""
    for name in named if isinstance(named, list) else [named]:
        if isinstance(name, str):
            yield name
