"""organism.yaml → OrganismConfig, or one ConfigError with every mistake in it. Nothing is built here (ADR 24).

What can be seen without running code of the file is seen first: a file with such mistakes imports nothing.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

from pydantic import ValidationError

from xml_pipeline.agents import Skill
from xml_pipeline.config import document as documents
from xml_pipeline.config.agents import check_hand_overs, check_tasks
from xml_pipeline.config.binding import bind, import_paths
from xml_pipeline.config.boxes import budgets_of, load_boxes
from xml_pipeline.config.case_checks import check_cases
from xml_pipeline.config.cases import SECTION as TESTS
from xml_pipeline.config.checks import check
from xml_pipeline.config.classes import BUILT_IN
from xml_pipeline.config.diagnosis import diagnose, retype
from xml_pipeline.config.document import Document, Place
from xml_pipeline.config.files import Surroundings, add_cases, include_listeners, read_prompts, replace_llm
from xml_pipeline.config.flows import read_flows
from xml_pipeline.config.llm import import_named, models_of
from xml_pipeline.config.lock import check_lock
from xml_pipeline.config.models import EXTENSION, FORMAT, Box, ListenerConfig, OrganismConfig
from xml_pipeline.config.payloads import declared, words
from xml_pipeline.config.secrets import literal_keys
from xml_pipeline.config.skills import read_skills
from xml_pipeline.config.triggers import check_messages
from xml_pipeline.environment import environment
from xml_pipeline.errors import ConfigError, Problem
from xml_pipeline.llm.section import MODULES, UNIMPORTED
from xml_pipeline.regular import bytes_of, unreadable
from xml_pipeline.triggers.trigger import caller_of

Imports: TypeAlias = Literal["all", "models", "nothing"]
"""What is imported, and so run, while a file is checked: all that it names, what its `llm` section names, nothing."""


def load(
    path: Path | str,
    *,
    environ: Mapping[str, str] | None = None,
    root: Path | str | None = None,
    imports: Imports = "all",
    llm: Path | str | None = None,
    locked: bool = True,
    tests: Sequence[Path] = (),
) -> OrganismConfig:
    """Read, interpolate and check an organism.yaml, then import what it names.

    Nothing is imported from a file with mistakes that can be seen without it.

    Args:
        path: the file. Relative paths and import paths in it start from its directory.
        environ: the variables that `${NAME}` stands for, over those of the `.env` file beside it; default:
            the process's environment, which is not changed.
        root: the directory that the files it names (prompts, skills, listener files) have to lie below, symbolic
            links followed; default: its own.
        imports: without `all` the configuration is no organism yet; its `unchecked` says what was left out.
        llm: a file whose `llm` section stands in the place of this one's, whole.
        locked: whether what it uses from elsewhere has to be what `organism.lock` beside it says.
        tests: files whose cases stand behind those of its own `tests`.

    Raises:
        ConfigError: with all problems (the first of them when there are very many), each with file, line, column
            and path; values from the environment and keys are not shown.
    """
    file = Path(path)
    try:
        text = bytes_of(file)
    except (OSError, ValueError) as error:
        raise ConfigError([Problem(unreadable(file, error), "", str(path))]) from None
    return loads(
        text,
        file=str(path),
        base=file.parent,
        environ=environ,
        root=root,
        imports=imports,
        llm=llm,
        locked=locked,
        tests=tests,
    )


def loads(
    text: str | bytes,
    *,
    file: str = "organism.yaml",
    base: Path | str = ".",
    environ: Mapping[str, str] | None = None,
    root: Path | str | None = None,
    imports: Imports = "all",
    llm: Path | str | None = None,
    locked: bool = True,
    tests: Sequence[Path] = (),
) -> OrganismConfig:
    """`load` for a text; `file` is the name that problems show, `base` the directory that paths start from.

    Raises:
        ConfigError: with all problems.
    """
    how = _How(environ, root, imports, llm, locked, tuple(tests))
    return _loaded(text, file, Path(base).absolute(), how)


@dataclass(frozen=True, slots=True)
class _How:
    """How a file is read; as the arguments of `load`.

    Attributes:
        within: the files that use this one, outermost first.
    """

    environ: Mapping[str, str] | None
    root: Path | str | None
    imports: Imports
    llm: Path | str | None
    locked: bool
    tests: tuple[Path, ...]
    within: tuple[Path, ...] = ()

    def used(self, file: Path) -> OrganismConfig:
        """What a file says that another one uses."""
        try:
            text = bytes_of(file)
        except (OSError, ValueError) as error:
            raise ConfigError([Problem(unreadable(file, error), "", str(file))]) from None
        return _loaded(text, str(file), file.parent, replace(self, root=None, llm=None, tests=()))


def _loaded(text: str | bytes, file: str, home: Path, how: _How) -> OrganismConfig:
    """`loads`, with all that it uses."""
    document, around, prompts, skills = _read(text, file, home, how)
    declarations, classes = declared(document)
    config = _validate(document, unimported=True)
    check(document, (*words(document), *BUILT_IN))
    resolved: Mapping[str, Any] = {**BUILT_IN, **classes}
    check_cases(document, resolved)
    check_tasks(document, resolved)
    if config is None or document.found:
        raise _error(document, file)
    unchecked = import_paths(document)
    within = (*how.within, (home / Path(file).name).resolve())
    boxes = load_boxes(document, config, home, replace(how, within=within).used, within)
    flows = {} if document.found else read_flows(document, config, boxes, resolved, complete=False)
    if document.found:
        raise _error(document, file)
    if how.imports != "nothing":
        hook = import_named(document, home)
        config = None if document.found else _validate(document)
        if config is None:
            raise _error(document, file)
        config = config.model_copy(update={"llm": config.llm.observed_by(hook)})
        unchecked = tuple(each for each in unchecked if each.startswith("listeners"))
    if how.imports == "all":
        resolved, unchecked = bind(document, home, declarations, resolved), ()
        if how.locked:
            check_lock(document, home, boxes)
        check_cases(document, resolved)
        if not document.found:
            flows = read_flows(document, config, boxes, resolved, complete=True)
            check_messages(document, resolved)
    if not document.found:
        check_tasks(document, resolved)
        check_hand_overs(document, resolved, flows)
    if document.found:
        raise _error(document, file)
    config = _complete(config, document, around, prompts, resolved, unchecked, boxes)
    config._boxes = MappingProxyType(boxes)
    config._declarations, config._classes = declarations, classes
    config._flows, config._skills = MappingProxyType(flows), MappingProxyType(skills)
    return config


def _read(
    text: str | bytes, file: str, home: Path, how: _How
) -> tuple[Document, Surroundings, Mapping[int, tuple[str, ...]], Mapping[int, tuple[Skill, ...]]]:
    """The data of a file and of those that it names, where it was read; prompts and skills by listener."""
    root = how.root
    variables, problems = environment(home, os.environ if how.environ is None else how.environ)
    around = Surroundings(home, home if root is None else Path(root).absolute(), variables)
    document = documents.read(text, file=file, environ=variables, allowance=around.allowance)
    if root is not None and not os.path.isdir(root):
        document.add(f"the root {os.fspath(root)!r} is no directory", Place(file, 0, 0, ()))
    for problem in problems:
        document.add(problem.message, Place(problem.file, problem.line, 0, ()))
    if not isinstance(document.data, dict):
        if not document.found:
            document.report((), "holds no organism; it starts with `organism:` and its `name`")
        raise _error(document, file)
    if _refuse_other_format(document):
        raise _error(document, file)
    if how.llm is not None:
        replace_llm(document, Path(how.llm), around)
    directories = {file: home, **include_listeners(document, around)}
    add_cases(document, how.tests, around)
    prompts = read_prompts(document, directories, around)
    skills = read_skills(document, directories, around)
    _report_keys(document)
    _leave_out_extensions(document)
    return document, around, prompts, skills


def _validate(document: Document, *, unimported: bool = False) -> OrganismConfig | None:
    data: Any = document.data
    section = data.get("llm")
    context = {UNIMPORTED: unimported, MODULES: isinstance(section, dict) and bool(section.get("modules"))}
    while True:
        try:
            return OrganismConfig.model_validate(_tuples(document.data), strict=True, context=context)
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
    document: Document,
    around: Surroundings,
    prompts: Mapping[int, tuple[str, ...]],
    resolved: Mapping[str, Any],
    unchecked: Sequence[str],
    boxes: Mapping[str, Box],
) -> OrganismConfig:
    defaults = config.defaults.agents
    usual = {key: getattr(defaults, key) for key in defaults.model_fields_set}
    listeners = tuple(
        listener.model_copy(update=_unsaid(listener, usual, prompts.get(index)))
        for index, listener in enumerate(config.listeners)
    )
    limits = {each.name: each.budget for each in listeners if each.budget and each.use is None}
    for box in boxes.values():
        limits |= budgets_of(box)
    budgets = config.llm.budgets
    budgets = budgets.model_copy(update={"agents": {**budgets.agents, **limits}}).for_visitors(
        {name: door.budget for name, door in config.organism.doors.items() if door.budget},
        {caller_of(each.name): each.budget for each in config.triggers},
    )
    llm = config.llm.model_copy(update={"budgets": budgets})
    complete = config.model_copy(update={"listeners": listeners, "llm": llm})
    complete._base = around.home
    complete._environ = MappingProxyType(dict(around.variables))
    complete._resolved = MappingProxyType(dict(resolved))
    complete._unchecked = tuple(unchecked)
    complete._models = models_of(document)
    complete._test_places = tuple(document.values[TESTS, index] for index in range(len(config.tests)))
    return complete


def _unsaid(
    listener: ListenerConfig, usual: Mapping[str, Any], prompt: tuple[str, ...] | None
) -> dict[str, Any]:
    """What the entry of a listener leaves to `defaults`, and to the files of its prompt."""
    said = listener.model_fields_set
    left = {key: value for key, value in usual.items() if key not in said} if listener.kind == "agent" else {}
    return left if prompt is None else {**left, "prompt": prompt}


def _refuse_other_format(document: Document) -> bool:
    """Whether the file is of another version of the language; then nothing else is told of it."""
    data: Any = document.data
    organism, here = data.get("organism"), ("organism", "format")
    if not isinstance(organism, dict) or "format" not in organism or here in document.expanded:
        return False
    written = organism["format"]
    if type(written) is int and written == FORMAT:
        return False
    newer = type(written) is int and written > FORMAT
    do = "a newer one needs a newer version" if newer else f"`format: {FORMAT}` is how that is written"
    text = f"is {document.shown(here, written)}; this version of xml-pipeline reads format {FORMAT}, and {do}"
    document.problems.clear()
    document.report(here, text)
    return True


def _leave_out_extensions(document: Document) -> None:
    """Forget the keys of the file that are for its anchors alone."""
    data: Any = document.data
    for key in [key for key in data if key.startswith(EXTENSION)]:
        del data[key]


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


def _error(document: Document, first_file: str) -> ConfigError:
    """Its problems in the order of the files and lines."""
    ordered = sorted(
        document.problems, key=lambda one: (one.file != first_file, one.file, one.line, one.column)
    )
    return ConfigError(ordered, more=document.more)
