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
from xml_pipeline.config.untrusted import Untrusted, refuse_own_models, refuse_unmarked
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
    untrusted: Untrusted | None = None,
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
        untrusted: that the file is from somebody else; then nothing that it names is imported, `${NAME}` and
            `.env` are none of its business, and `root` and `llm` are not said beside it.

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
        untrusted=untrusted,
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
    untrusted: Untrusted | None = None,
) -> OrganismConfig:
    """`load` for a text; `file` is the name that problems show, `base` the directory that paths start from.

    Raises:
        ConfigError: with all problems.
    """
    how = _How(environ, root, imports, llm, locked, tuple(tests), untrusted)
    if untrusted is not None and not (root is None and llm is None):
        raise ConfigError(
            "a file that is not trusted has its own folder as `root`, and `llm` in `Untrusted(llm=...)`"
        )
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
    untrusted: Untrusted | None
    within: tuple[Path, ...] = ()

    def used(self, file: Path) -> OrganismConfig:
        """What a file says that another one uses."""
        try:
            text = bytes_of(file)
        except (OSError, ValueError) as error:
            raise ConfigError([Problem(unreadable(file, error), "", str(file))]) from None
        return _loaded(text, str(file), file.parent, replace(self, root=None, llm=None, tests=()))


@dataclass(frozen=True, slots=True)
class _Texts:
    """What a file and those that it names hold.

    Attributes:
        document: the data, and where it was read.
        directories: where the paths of each file start, by its label.
        environ: what variables stand for.
        prompts, skills: by the index of their listener.
    """

    document: Document
    directories: Mapping[str, Path]
    environ: Mapping[str, str]
    prompts: Mapping[int, tuple[str, ...]]
    skills: Mapping[int, tuple[Skill, ...]]


def _loaded(text: str | bytes, file: str, home: Path, how: _How) -> OrganismConfig:
    """`loads`, with all that it uses."""
    texts = _read(text, file, home, how)
    document, untrusted = texts.document, how.untrusted
    declarations, classes = declared(document)
    config = _validate(document, unimported=True)
    check(document, (*words(document), *BUILT_IN), one_author=untrusted is None)
    resolved: Mapping[str, Any] = {**BUILT_IN, **classes}
    check_cases(document, resolved)
    check_tasks(document, resolved)
    if config is None or document.found:
        raise _error(document, file)
    unchecked = import_paths(document)
    within = (*how.within, (home / Path(file).name).resolve())
    boxes = load_boxes(document, config, texts.directories, replace(how, within=within).used, within)
    flows = {} if document.found else read_flows(document, config, boxes, resolved, complete=False)
    if document.found:
        raise _error(document, file)
    if how.imports != "nothing":
        hook = import_named(document, (untrusted and untrusted.base) or home)
        config = None if document.found else _validate(document)
        if config is None:
            raise _error(document, file)
        config = config.model_copy(update={"llm": config.llm.observed_by(hook)})
        unchecked = tuple(each for each in unchecked if each.startswith("listeners"))
    if how.imports == "all":
        beside = home if untrusted is None else None
        resolved, unchecked = bind(document, beside, declarations, resolved), ()
        if how.locked:
            check_lock(document, home, boxes)
        check_cases(document, resolved)
        if not document.found:
            flows = read_flows(document, config, boxes, resolved, complete=True)
            check_messages(document, resolved)
        if not document.found:
            check_tasks(document, resolved)
    if not document.found:
        check_hand_overs(document, resolved, flows)
    if document.found:
        raise _error(document, file)
    config = _complete(config, texts, boxes, untrusted)
    config._base, config._untrusted = home, untrusted
    config._resolved, config._unchecked = MappingProxyType(dict(resolved)), tuple(unchecked)
    config._declarations, config._classes = declarations, classes
    config._flows, config._boxes = MappingProxyType(flows), MappingProxyType(boxes)
    return config


def _read(text: str | bytes, file: str, home: Path, how: _How) -> _Texts:
    root, llm, untrusted = how.root, how.llm, how.untrusted
    environ, problems = os.environ if how.environ is None else how.environ, list[Problem]()
    if untrusted is None:
        environ, problems = environment(home, environ)
    around = Surroundings(
        home, home if root is None else Path(root).absolute(), None if untrusted else environ
    )
    document = documents.read(text, file=file, environ=around.variables, allowance=around.allowance)
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
    directories = {file: home, **include_listeners(document, around)}
    add_cases(document, how.tests, around)
    if untrusted is not None:
        llm = _own_models(document, untrusted, home)
    if llm is not None:
        replace_llm(document, Path(llm), replace(around, variables=environ))
    prompts = read_prompts(document, directories, around)
    skills = read_skills(document, directories, around)
    _report_keys(document)
    _leave_out_extensions(document)
    return _Texts(document, directories, environ, prompts, skills)


def _own_models(document: Document, untrusted: Untrusted, home: Path) -> Path | str | None:
    """Refuse what a file from somebody else may not say; which file of models stands in their place."""
    data: Any = document.data
    refuse_unmarked(document, _schema())
    data.pop("llm", None)
    if untrusted.llm is None or refuse_own_models(document, Path(untrusted.llm), home):
        return None
    return untrusted.llm


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
    config: OrganismConfig, texts: _Texts, boxes: Mapping[str, Box], untrusted: Untrusted | None
) -> OrganismConfig:
    defaults = config.defaults.agents
    usual = {key: getattr(defaults, key) for key in defaults.model_fields_set}
    listeners = tuple(
        listener.model_copy(update=_unsaid(listener, usual, texts.prompts.get(index)))
        for index, listener in enumerate(config.listeners)
    )
    if untrusted is None:
        limits = {each.name: each.budget for each in listeners if each.budget and each.use is None}
        for box in boxes.values():
            limits |= budgets_of(box)
        budgets = config.llm.budgets
        budgets = budgets.model_copy(update={"agents": {**budgets.agents, **limits}}).for_visitors(
            {name: door.budget for name, door in config.organism.doors.items() if door.budget},
            {caller_of(each.name): each.budget for each in config.triggers},
        )
        llm = config.llm.model_copy(update={"budgets": budgets})
    else:
        llm = untrusted.section(config.llm, listeners)
    complete = config.model_copy(update={"listeners": listeners, "llm": llm})
    complete._environ, complete._skills = (
        MappingProxyType(dict(texts.environ)),
        MappingProxyType(texts.skills),
    )
    complete._models = models_of(texts.document)
    places = texts.document.values
    complete._test_places = tuple(places[TESTS, index] for index in range(len(config.tests)))
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
