"""organism.yaml → OrganismConfig, or one ConfigError with every mistake in it. Nothing is built here (ADR 24)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from xml_pipeline.config import document as documents
from xml_pipeline.config.binding import bind
from xml_pipeline.config.checks import check
from xml_pipeline.config.diagnosis import diagnose, retype
from xml_pipeline.config.document import Document
from xml_pipeline.config.files import bytes_of, include_listeners, read_prompts, unreadable
from xml_pipeline.config.llm import import_named
from xml_pipeline.config.models import OrganismConfig
from xml_pipeline.config.secrets import literal_keys
from xml_pipeline.environment import environment
from xml_pipeline.errors import ConfigError, Problem
from xml_pipeline.llm.http.secrets import scrub


def load(path: Path | str, *, environ: Mapping[str, str] | None = None) -> OrganismConfig:
    """Read, interpolate and check an organism.yaml, and import what it names.

    Args:
        path: the file. Relative paths and import paths in it start from its directory.
        environ: the variables that `${NAME}` stands for, over those of the `.env` file beside it; default:
            the process's environment, which is not changed.

    Raises:
        ConfigError: with all problems, each with file, line, column and path; values from the environment and
            keys are not shown.
    """
    file = Path(path)
    try:
        text = bytes_of(file)
    except OSError as error:
        raise ConfigError([Problem(unreadable(file, error), "", str(path))]) from None
    return loads(text, file=str(path), base=file.parent, environ=environ)


def loads(
    text: str | bytes,
    *,
    file: str = "organism.yaml",
    base: Path | str = ".",
    environ: Mapping[str, str] | None = None,
) -> OrganismConfig:
    """`load` for a text; `file` is the name that problems show, `base` the directory that paths start from.

    Raises:
        ConfigError: with all problems.
    """
    home = Path(base).absolute()
    variables, problems = environment(home, os.environ if environ is None else environ)
    document = documents.read(text, file=file, environ=variables)
    document.problems.extend(problems)
    readable = isinstance(document.data, dict)
    if readable:
        directories = {file: home, **include_listeners(document, home, variables)}
        prompts = read_prompts(document, directories)
        _report_keys(document)
        hook = import_named(document, home)
        config = _validate(document)
        check(document)
        resolved = bind(document, home)
    elif not document.problems:
        document.report((), "holds no organism; it starts with `organism:` and its `name`")
    if document.problems:
        raise ConfigError(_ordered(document.problems, file))
    assert config is not None, "a configuration without problems is valid"
    config = config.model_copy(update={"llm": config.llm.observed_by(hook)})
    return _complete(config, home, variables, prompts, resolved)


def _validate(document: Document) -> OrganismConfig | None:
    while True:
        try:
            return OrganismConfig.model_validate(_tuples(document.data), strict=True)
        except ValidationError as error:
            if not retype(document, error):
                diagnose(document, error, _schema())
                return None


def _tuples(data: object) -> object:
    """Lists as tuples: strict validation keeps "8" apart from 8, and a list apart from a tuple."""
    if isinstance(data, dict):
        return {key: _tuples(value) for key, value in data.items()}
    return tuple(map(_tuples, data)) if isinstance(data, list) else data


@cache
def _schema() -> dict[str, Any]:
    return OrganismConfig.model_json_schema(mode="validation")


def _complete(
    config: OrganismConfig,
    home: Path,
    variables: Mapping[str, str],
    prompts: Mapping[int, str],
    resolved: Mapping[str, Any],
) -> OrganismConfig:
    listeners = tuple(
        listener.model_copy(update={"prompt": prompts[index]}) if index in prompts else listener
        for index, listener in enumerate(config.listeners)
    )
    limits = {listener.name: listener.budget for listener in listeners if listener.budget}
    budgets = config.llm.budgets
    budgets = budgets.model_copy(update={"agents": {**budgets.agents, **limits}})
    llm = config.llm.model_copy(update={"budgets": budgets})
    complete = config.model_copy(update={"listeners": listeners, "llm": llm})
    complete._base = home
    complete._environ = MappingProxyType(dict(variables))
    complete._resolved = MappingProxyType(dict(resolved))
    return complete


def _report_keys(document: Document) -> None:
    known = frozenset(name for part in _schema()["$defs"].values() for name in part.get("properties", ()))
    for path, message in list(literal_keys(document.data, document.hidden, known)):
        document.report(path, message)
        document.broken.add(path)
        if path[-1] not in known:
            _remove(document.data, path)


def _remove(data: Any, path: documents.Path) -> None:
    """Take out a key that nothing may read or show, so that one mistake stays one problem."""
    for part in path[:-1]:
        data = data[part]
    if isinstance(data, dict):
        del data[path[-1]]


def _ordered(problems: Iterable[Problem], first_file: str) -> list[Problem]:
    """In the order of the files and lines, each once, without anything that looks like a key."""
    clean = {
        Problem(scrub(one.message), scrub(one.path), one.file, one.line, one.column): None for one in problems
    }
    return sorted(clean, key=lambda one: (one.file != first_file, one.file, one.line, one.column))
