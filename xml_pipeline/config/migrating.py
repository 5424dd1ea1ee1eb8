"""Files of former days, brought to the language of today; comments and layout stay. Pure.

What is changed is changed in the text, at the places where the parser found it. The result is read again and held to
what it was to become: where a layout leaves a doubt, nothing is changed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

from xml_pipeline.config.editing import Uneditable, flow, with_value
from xml_pipeline.config.former import FORMER
from xml_pipeline.config.imports import with_colon
from xml_pipeline.config.models import EXTENSION, FORMAT

_IMPORTED = ("handler", "accepts", "answers", "payload_class", "answer_class")
_CALLS = ("auto", "native", "xml")


def migrated(text: str, *, whole: bool = True) -> str:
    """The file as it is written today; the same text when it is so already.

    Args:
        text: of an organism.yaml, or of a file with listeners of it.
        whole: whether it is an organism.yaml.

    Raises:
        Uneditable: it is no YAML, or its layout leaves a doubt.
    """
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        data = yaml.safe_load(text)
    except RecursionError:
        raise Uneditable("it is nested too deep") from None
    except (yaml.YAMLError, ValueError) as error:
        raise Uneditable(f"it is no YAML: {error}") from None
    if root is None:
        return text
    changes = sorted(set(_changes(text, root, whole)), reverse=True)
    made = text
    for start, end, instead in changes:
        made = f"{made[:start]}{instead}{made[end:]}"
    try:
        same = _meant(yaml.safe_load(made)) == _meant(_today(data, whole))
    except yaml.YAMLError:
        same = False
    if not same:
        raise Uneditable("its layout leaves no place that is sure")
    organism = data.get("organism") if whole and isinstance(data, dict) else None
    if isinstance(organism, dict) and "format" not in organism:
        return with_value(made, ("organism", "format"), FORMAT)
    return made


def _listeners(data: Any, whole: bool) -> Any:
    """The list of listeners, or the one; None for none."""
    return data.get("listeners") if whole and isinstance(data, dict) else None if whole else data


# --- the text ---


def _changes(text: str, root: yaml.Node, whole: bool) -> Iterator[tuple[int, int, str]]:
    """Where from, where to, and what instead."""
    listeners: yaml.Node | None = root
    if whole:
        listeners = _value(root, "listeners")
        llm = _value(root, "llm")
        hook = None if llm is None else _value(llm, "on_event")
        if hook is not None:
            yield from _paths(text, hook)
    if isinstance(listeners, yaml.SequenceNode):
        for entry in listeners.value:
            yield from _of_listener(text, entry)
    elif listeners is not None and not whole:
        yield from _of_listener(text, listeners)


def _of_listener(text: str, entry: yaml.Node) -> Iterator[tuple[int, int, str]]:
    names = [key.value for key, _ in entry.value] if isinstance(entry, yaml.MappingNode) else []
    for key, value in entry.value if names else ():
        if key.value in _IMPORTED:
            yield from _paths(text, value)
        if not _is_former(key.value, getattr(value, "value", None), names):
            continue
        yield key.start_mark.index, key.end_mark.index, FORMER[key.value]
        if key.value == "prompt_file":
            if not isinstance(value, yaml.ScalarNode):
                raise Uneditable("the name of a prompt's file is no text")
            yield value.start_mark.index, value.end_mark.index, f"{{file: {flow(value.value)}}}"


def _paths(text: str, node: yaml.Node) -> Iterator[tuple[int, int, str]]:
    for each in node.value if isinstance(node, yaml.SequenceNode) else [node]:
        right = with_colon(each.value) if isinstance(each, yaml.ScalarNode) else ""
        if right and right != each.value:
            start, end = each.start_mark.index, each.end_mark.index
            before, found, after = text[start:end].rpartition(each.value)
            if found:
                yield start, end, f"{before}{right}{after}"


def _value(node: yaml.Node, key: str) -> yaml.Node | None:
    if not isinstance(node, yaml.MappingNode):
        return None
    return next((value for name, value in node.value if name.value == key), None)


# --- the data ---


def _meant(data: Any) -> Any:
    """Without what stands there for its anchors alone: it changes with what uses it."""
    if not isinstance(data, dict):
        return data
    return {key: value for key, value in data.items() if not str(key).startswith(EXTENSION)}


def _is_former(name: Any, value: Any, names: Any) -> bool:
    """Whether a key is to have its name of today: not where that stands beside it, for then one is too many."""
    if name not in FORMER or FORMER[name] in names:
        return False
    return name != "tools" or value in _CALLS


def _today(data: Any, whole: bool) -> Any:
    """What the changed file has to say."""
    listeners = _listeners(data, whole)
    if isinstance(listeners, list):
        changed: Any = [_listener_today(each) for each in listeners]
    else:
        changed = listeners if whole else _listener_today(listeners)
    if not whole:
        return changed
    if not isinstance(data, dict):
        return data
    today = {**data, "listeners": changed} if "listeners" in data else dict(data)
    llm = today.get("llm")
    if isinstance(llm, dict) and isinstance(llm.get("on_event"), str):
        today["llm"] = {**llm, "on_event": with_colon(llm["on_event"])}
    return today


def _listener_today(entry: Any) -> Any:
    if not isinstance(entry, dict):
        return entry
    today = {}
    for key, value in entry.items():
        if key in _IMPORTED:
            value = [_path_today(each) for each in value] if isinstance(value, list) else _path_today(value)
        former = _is_former(key, value, entry)
        today[FORMER[key] if former else key] = {"file": value} if former and key == "prompt_file" else value
    return today


def _path_today(value: Any) -> Any:
    return with_colon(value) if isinstance(value, str) else value
