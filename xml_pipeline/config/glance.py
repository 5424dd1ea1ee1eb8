"""What an organism.yaml names and of which files it is made, however wrong it is: for who is still writing it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xml_pipeline.config import document as documents
from xml_pipeline.config.boxes import DEEPEST, used_file
from xml_pipeline.config.classes import BUILT_IN
from xml_pipeline.config.document import Document
from xml_pipeline.config.files import Surroundings, include_listeners, read_prompts, replace_llm
from xml_pipeline.config.payloads import words
from xml_pipeline.config.skills import read_skills
from xml_pipeline.environment import environment
from xml_pipeline.llm.http.secrets import scrub
from xml_pipeline.payload.declared import SCALARS
from xml_pipeline.regular import bytes_of


@dataclass(frozen=True, slots=True)
class Names:
    """What a file names, in its order, each once. Values from the environment are not among them.

    Attributes:
        listeners: its listeners.
        declared: the classes of its `payloads`.
        classes: those, and the ones that every file knows.
        types: what the type of a field may be.
        models: the aliases of its `llm` section, and the models that it names anywhere.
        operations: what the calls of its agents are for.
        closed: those of the above besides which there is nothing else.
    """

    listeners: tuple[str, ...] = ()
    declared: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    operations: tuple[str, ...] = ()
    closed: Collection[str] = frozenset()

    @property
    def classes(self) -> tuple[str, ...]:
        return (*self.declared, *BUILT_IN)

    @property
    def types(self) -> tuple[str, ...]:
        return (*SCALARS, *self.declared)


@dataclass(frozen=True, slots=True)
class Glance:
    """A file, read without being checked.

    Attributes:
        document: what it says, with its listener files; mistakes that are seen in reading are in it.
        files: what it is made of, and what it would be made of if it were there: itself, `.env`, listener files and
            their directory, prompts, skills, the other `llm` section, and all of that of the files that it uses.
    """

    document: Document
    files: frozenset[Path]

    @property
    def names(self) -> Names:
        """What it names, as far as it can be read."""
        return names_in(self.document)


def glance(
    path: Path,
    *,
    environ: Mapping[str, str],
    root: Path | str | None = None,
    llm: Path | str | None = None,
    within: Collection[Path] = (),
) -> Glance:
    """Read a file as far as it can be read; runs nothing and never raises. The arguments are those of `load`.

    Args:
        within: the files that use this one.
    """
    home = path.parent.absolute()
    variables, _ = environment(home, environ)
    around = Surroundings(home, home if root is None else Path(root).absolute(), variables)
    around.seen.update((path.absolute(), home / ".env"))
    try:
        text = bytes_of(path)
    except (OSError, ValueError):
        return Glance(Document(), frozenset(around.seen))
    document = documents.read(text, file=str(path), environ=variables, allowance=around.allowance)
    if isinstance(document.data, dict):
        if llm is not None:
            replace_llm(document, Path(llm), around)
        directories = {str(path): home, **include_listeners(document, around)}
        read_prompts(document, directories, around)
        read_skills(document, directories, around)
        if len(within) < DEEPEST:
            for here, name in _used(document.data):
                file = directories.get(document.values[here].file, home) / name
                around.seen.update(_files_used(file, environ, (*within, path.resolve())))
    return Glance(document, frozenset(around.seen))


def _used(data: Any) -> Iterator[tuple[documents.Path, str]]:
    for index, entry in _items(_below(data, "listeners")):
        if isinstance(name := _below(entry, "use"), str) and name and "\0" not in name:
            yield ("listeners", index, "use"), name


def _files_used(file: Path, environ: Mapping[str, str], within: Collection[Path]) -> Collection[Path]:
    """What a file that another one uses is made of."""
    file = used_file(file)
    return () if file in within else glance(file, environ=environ, within=within).files


def names_in(document: Document) -> Names:
    """What a document names."""
    entries = _items(_below(document.data, "listeners"))
    listeners: list[tuple[documents.Path, Any]] = [(("listeners", index), entry) for index, entry in entries]
    closed = {"types", "declared", "classes"}
    if all(_literal(document, (*path, "name"), _below(entry, "name")) for path, entry in listeners):
        closed.add("listeners")
    named, operations = (
        _texts(document, [((*path, key), _below(entry, key)) for path, entry in listeners])
        for key in ("name", "operation")
    )
    named = (*named, *(f"{_below(entry, 'name')}.{tool}" for _, entry in listeners for tool in _tools(entry)))
    declared = tuple(words(document)) if isinstance(document.data, dict) else ()
    return Names(named, declared, _texts(document, _models(document.data)), operations, frozenset(closed))


def _tools(entry: Any) -> Iterator[str]:
    """What can be called in a box."""
    if isinstance(_below(entry, "use"), str) and isinstance(_below(entry, "name"), str):
        for _, tool in _items(_below(entry, "tools")):
            if isinstance(tool, str):
                yield tool


def _models(data: Any) -> Iterator[tuple[documents.Path, Any]]:
    llm = _below(data, "llm")
    aliases = _below(llm, "models")
    for alias, chain in _entries(aliases):
        here: documents.Path = ("llm", "models", alias)
        yield (), alias
        inner = _below(chain, "chain") if isinstance(chain, dict) else chain
        yield here, inner
        for index, model in _items(inner):
            yield (*here, *(("chain",) if isinstance(chain, dict) else ()), index), model
    for index, backend in _items(_below(llm, "backends")):
        at: documents.Path = ("llm", "backends", index)
        for number, model in _items(_below(backend, "supported_models")):
            if isinstance(model, str) and not set(model) & set("*?["):
                yield (*at, "supported_models", number), model
        for model, _ in _entries(_below(backend, "model_map")):
            yield (), model
    for index, entry in _items(_below(data, "listeners")):
        yield ("listeners", index, "model"), _below(entry, "model")


def _texts(document: Document, found: Iterable[tuple[documents.Path, Any]]) -> tuple[str, ...]:
    """The texts that stand in the file as they are, each once."""
    return tuple(dict.fromkeys(text for path, text in found if text and _literal(document, path, text)))


def _literal(document: Document, path: documents.Path, value: Any) -> bool:
    """Whether it is a text that may be shown: not from the environment, and nothing that looks like a key."""
    return isinstance(value, str) and path not in document.hidden and scrub(value) == value


def _below(data: Any, key: str) -> Any:
    return data.get(key) if isinstance(data, dict) else None


def _items(data: Any) -> Iterator[tuple[int, Any]]:
    yield from enumerate(data if isinstance(data, list) else ())


def _entries(data: Any) -> Iterator[tuple[str, Any]]:
    yield from (data if isinstance(data, dict) else {}).items()
