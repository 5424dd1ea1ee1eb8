"""A file from somebody else: what it may say, and what whoever runs it says over it.

What it may say is an allow-list: the marks at the definitions of the keys (`marks`), and no text that names a module.
What it costs is bounded by whoever runs it: models come from a file of theirs, and one budget holds over all.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, TypeAlias

from xml_pipeline.config.document import Document, Place
from xml_pipeline.config.document import Path as Keys
from xml_pipeline.config.models import CLASS_PATTERN, EXTENSION, IMPORT_PATTERN, ListenerConfig
from xml_pipeline.errors import ConfigError, cut, listing
from xml_pipeline.llm.section import BudgetSection, BudgetsSection, LLMSection
from xml_pipeline.marks import Mark, mark_of

Schema: TypeAlias = Mapping[str, Any]

MOST_USD = 1e9


@dataclass(frozen=True, slots=True)
class Untrusted:
    """How a file from somebody else is read and run: without code, without variables, with these models and no more
    money than this.

    Attributes:
        llm: the file with the `llm` section of whoever runs it; None for no models at all, to look at the file.
        usd: US dollars that all calls of models of one run may cost together, over every other budget.

    Raises:
        ConfigError: an amount that is none.
    """

    llm: Path | str | None = None
    usd: float = 0.0

    def __post_init__(self) -> None:
        number = isinstance(self.usd, int | float) and not isinstance(self.usd, bool)
        if not number or not 0 <= self.usd <= MOST_USD:
            raise ConfigError(
                f"usd is {cut(repr(self.usd))}; an amount in US dollars is needed, from 0, as 0.50"
            )

    @property
    def base(self) -> Path | None:
        """The directory that relative paths of its `llm` section start from."""
        return None if self.llm is None else Path(self.llm).absolute().parent

    def section(self, section: LLMSection, listeners: Iterable[ListenerConfig]) -> LLMSection:
        """The section with what the run may cost, and with the listeners' own budgets under what it says of them."""
        budgets = section.budgets
        agents = dict(budgets.agents)
        for each in listeners:
            if limits := (*_limits_of(budgets, each.name), *each.budget):
                agents[each.name] = limits
        whole = (*budgets.organism, BudgetSection(usd=self.usd))
        update: dict[str, Any] = {"budgets": budgets.model_copy(update={"organism": whole, "agents": agents})}
        if section.ca_file is not None and self.base is not None:
            update["ca_file"] = str(self.base / section.ca_file)
        return section.model_copy(update=update)


def _limits_of(budgets: BudgetsSection, name: str) -> tuple[BudgetSection, ...]:
    """All that holds for a listener, whatever name a stranger chose: here no name hides what a glob says."""
    return tuple(
        one
        for glob, some in budgets.agents.items()
        if glob == name or fnmatchcase(name, glob)
        for one in some
    )


def refuse_own_models(document: Document, file: Path, home: Path) -> bool:
    """Whether the file of models lies where the stranger may have put it; then that is reported."""
    if not Path(os.path.realpath(file)).is_relative_to(os.path.realpath(home)):
        return False
    message = (
        f"lies in the folder of the file that is not trusted ({home}), and may be from the same hand; keep your own"
        " outside of it, and the other in a folder of its own"
    )
    document.add(message, Place(str(file), 0, 0, ()))
    return True


def refuse_unmarked(document: Document, schema: Schema) -> None:
    """Report every key that a file from somebody else may not have, and every value that it may not have there."""
    _Gate(document, schema).look(document.data, [schema], (), Mark(open=True))


class _Gate:
    """Goes through a document beside the schema of the file."""

    def __init__(self, document: Document, root: Schema) -> None:
        self._document = document
        self._root = root

    def look(self, value: object, schemas: Iterable[Schema], path: Keys, mark: Mark) -> None:
        """`schemas` describe the value, `mark` stands at its key."""
        places = list(self._places(schemas))
        if isinstance(value, list):
            items = [place["items"] for place in places if "items" in place]
            for index, item in enumerate(value):
                self.look(item, items, (*path, index), mark)
        elif isinstance(value, Mapping):
            # Where one thing may stand for a list of it, it is one of its items.
            places += self._places(place["items"] for place in places if "items" in place)
            for key, below in value.items():
                if path or not key.startswith(EXTENSION):
                    self._key(key, below, places, (*path, key))
        else:
            self._leaf(value, places, path, mark)

    def _key(self, key: str, value: object, places: list[Schema], path: Keys) -> None:
        known = [place["properties"][key] for place in places if key in place.get("properties", ())]
        marks = [mark_of(each) or Mark() for each in known]
        closed = next((mark for mark in marks if not mark.open), None)
        if closed is not None:
            self._refuse(path, _closed(key, closed, places))
        elif known:
            self.look(value, known, path, marks[0])
        else:  # a name, or a key that there is not, which is told elsewhere
            names = [place.get("additionalProperties") for place in places]
            self.look(value, [each for each in names if isinstance(each, Mapping)], path, Mark(open=True))

    def _leaf(self, value: object, places: list[Schema], path: Keys, mark: Mark) -> None:
        if isinstance(value, int | float) and mark.most is not None and not value <= mark.most:
            self._refuse(path, f"must be at most {mark.most:,} in a file that is not trusted", at_key=False)
        if not isinstance(value, str):
            return
        if mark.only and value not in mark.only:
            allowed = " or ".join(f"`{text}`" for text in mark.only)
            self._refuse(path, f"must be {allowed} in a file that is not trusted", at_key=False)
        patterns = {each.get("pattern") for each in (*places, *self._items(places))}
        if ":" in value and patterns & {IMPORT_PATTERN, CLASS_PATTERN}:
            message = (
                f"'{cut(value)}' names code, and a file that is not trusted has none; write a class of `payloads`,"
                " `Task` or `Answer`"
            )
            self._refuse(path, message, at_key=False)

    def _items(self, places: list[Schema]) -> Iterator[Schema]:
        return self._places(place["items"] for place in places if "items" in place)

    def _refuse(self, path: Keys, message: str, *, at_key: bool = True) -> None:
        self._document.report(path, message, at_key=at_key)
        self._document.broken.add(path)

    def _places(self, schemas: Iterable[Schema]) -> Iterator[Schema]:
        """What they come to: references followed, each of several options by itself."""
        for schema in schemas:
            if "$ref" in schema:
                yield from self._places([self._at(schema["$ref"])])
            for options in ("anyOf", "oneOf", "allOf"):
                yield from self._places(schema.get(options, ()))
            yield schema

    def _at(self, reference: str) -> Schema:
        target: Any = self._root
        for part in reference.removeprefix("#/").split("/"):
            target = target[part]
        return target  # type: ignore[no-any-return]  # a part of a schema


def _closed(key: str, mark: Mark, places: Iterable[Schema]) -> str:
    told = f"`{cut(key)}` is not for a file that is not trusted"
    if mark.why:
        return f"{told}: {mark.why}"
    keys = (place.get("properties", {}).items() for place in places)
    may = [name for some in keys for name, each in some if (found := mark_of(each)) and found.open]
    return f"{told}; keys that it may have here: {listing(may)}"
