"""Keys written into a configuration: they are refused, and never shown."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from xml_pipeline.config.document import Document, Path
from xml_pipeline.keys.names import surely_a_key

_SECRET_KEY = re.compile(
    r"(?i)(.*[_-])?(api[_-]?key|token|secret|password|passwd)|.*[_-]key|authorization|cookie"
)
_OF_MESSAGES = ("tests", "payloads")
"""Sections in which a field of a message may have any name."""

_KEYISH = re.compile(r"(?i)key")
_KEY_START = re.compile(r"(sk|pk|rk|xai|gsk|hf|r8)[-_]\S+|AIza\S+")


def literal_keys(
    data: object, hidden: Mapping[Path, str], known: frozenset[str]
) -> Iterator[tuple[Path, str]]:
    """Where `data` holds a key, and what to do about it.

    Args:
        data: the document.
        hidden: paths whose value came from the environment.
        known: keys that the file may have; none of them takes a secret, whatever it is called.
    """
    yield from _walk(data, (), hidden, known)


def _walk(
    data: object, path: Path, hidden: Mapping[Path, str], known: frozenset[str]
) -> Iterator[tuple[Path, str]]:
    if isinstance(data, Mapping):
        for key, value in data.items():
            yield from _walk(value, (*path, key), hidden, known)
    elif isinstance(data, list):
        for index, value in enumerate(data):
            yield from _walk(value, (*path, index), hidden, known)
    elif isinstance(data, str):
        name = next((part for part in reversed(path) if isinstance(part, str)), "")
        message = _message(name, data, path in hidden, name in known or path[0] in _OF_MESSAGES)
        if message:
            yield path, message


def _message(name: str, value: str, from_environment: bool, known: bool) -> str:
    is_key = name.lower().replace("-", "_") in ("api_key", "apikey")
    if not known and is_key and (name == "api_key" or not from_environment):
        return (
            "keys do not stand in this file; write `api_key_env: NAME` with the name of the environment"
            " variable that holds the key"
        )
    if not known and _SECRET_KEY.fullmatch(name) and not from_environment:
        return "secrets do not stand in this file; write `${NAME}` and set that environment variable"
    if name == "api_key_ref" and surely_a_key(value):
        return "holds a key; `api_key_ref` takes the name under which `xp auth set NAME` stored it"
    if name.endswith("_env") and (_KEY_START.fullmatch(value) or surely_a_key(value)):
        return f"holds a key; `{name}` takes the name of the environment variable that holds it"
    if from_environment:
        return ""
    keyish = _KEYISH.search(name) and name != "api_key_ref"  # whose names may begin as keys do: `xai-work`
    if (keyish and _KEY_START.fullmatch(value)) or surely_a_key(value):
        return (
            "holds what looks like an API key; keep it in an environment variable and write"
            " `api_key_env: NAME` at the backend"
        )
    return ""


def refuse_variables(document: Document, section: str, rule: str) -> None:
    """Report each `${…}` in a section that may not depend on the environment.

    What was written takes the value's place, so that no other message shows it.
    """
    for path, written in list(document.hidden.items()):
        if path[:1] == (section,):
            document.report(path, rule)
            document.broken.add(path)
            part: Any = document.data
            for key in path[:-1]:
                part = part[key]
            part[path[-1]] = written
