"""The type of a declared field: a name, a list of words, or a mapping that holds one of them with its bounds."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from xml_pipeline.errors import cut, did_you_mean, listing
from xml_pipeline.payload.declared import SCALARS, Type
from xml_pipeline.payload.declared_values import FACETS, Values
from xml_pipeline.payload.mistakes import Mistakes, Path, Wrong, shown
from xml_pipeline.payload.text import carried, collapse

MOST_WORDS = 500
LONGEST_WORD = 100
DEEPEST_LIST = 5

OF_FIELDS = ("optional", "default", "description")

_HEADS = ("type", "list", "one_of", "any_of")
_TYPES = (
    "text, integer, number, decimal, boolean, date, datetime, duration, a class of `payloads`, a list of words,"
    " {list: TYPE}, {one_of: [words]} or {any_of: [Classes]}"
)
_MEANT = {
    **dict.fromkeys(("string", "str", "char", "uuid", "any", "json", "time"), "write `text`"),
    **dict.fromkeys(("int", "long"), "write `integer`"),
    **dict.fromkeys(("float", "double"), "write `number`"),
    **dict.fromkeys(("bool",), "write `boolean`"),
    **dict.fromkeys(("timedelta",), "write `duration`"),
    **dict.fromkeys(("list", "array", "set", "tuple"), "write `{list: TYPE}`"),
    **dict.fromkeys(("enum", "literal", "choice"), "write the words: `[red, green]`"),
    **dict.fromkeys(("union",), "write `{any_of: [Classes]}`"),
    **dict.fromkeys(("dict", "map", "mapping", "object"), "declare a class with the fields and name it"),
    **dict.fromkeys(("bytes", "binary"), "there are no bytes; send a text that says where they are"),
}


@dataclass(frozen=True, slots=True)
class Types:
    """Reads them.

    Attributes:
        mistakes: where what is wrong is noted.
        known: the names of classes.
        taken: names that a class may not have.
        doubtful: paths of words that other readers of the text take for truth values.
    """

    mistakes: Mistakes
    known: Collection[str]
    taken: Collection[str]
    doubtful: Collection[Path]

    @property
    def values(self) -> Values:
        """What reads the bounds."""
        return Values(self.mistakes, self.known)

    def read(self, path: Path, data: Any, *, field: bool = False, depth: int = 0) -> Type:
        """The type that stands at a path: a name, a list of words, or a mapping with one of `type`, `list`, …"""
        if isinstance(data, str):
            return self._named(path, data)
        if isinstance(data, list | tuple):
            return self._words(path, data)
        if not isinstance(data, Mapping):
            raise self.mistakes.wrong(path, f"must be a type, not {shown(data)}; types are {_TYPES}")
        self._keys(path, data, field)
        heads = [head for head in _HEADS if head in data]
        if len(heads) != 1:
            several = (
                f"has {' and '.join(f'`{head}`' for head in heads)}; keep one" if heads else "says no type"
            )
            raise self.mistakes.wrong(path, f"{several}: `type`, `list`, `one_of` or `any_of`")
        head = heads[0]
        here, value = (*path, head), data[head]
        match head:
            case "one_of":
                found = self._words(here, value)
            case "any_of":
                found = self._any_of(here, value)
            case "list":
                if depth == DEEPEST_LIST:
                    raise self.mistakes.wrong(
                        here,
                        f"lists stand in each other at most {DEEPEST_LIST} deep; declare a class between",
                    )
                found = Type("list", item=self.read(here, value, depth=depth + 1))
            case _:
                if isinstance(value, Mapping) and not value.keys() & {"list", "one_of", "any_of"}:
                    raise self.mistakes.wrong(
                        here, "holds a mapping; the name of the type stands here, the rest beside it"
                    )
                if isinstance(value, Mapping) and value.keys() & {*FACETS, *OF_FIELDS}:
                    raise self.mistakes.wrong(here, "has bounds of its own; write them beside `type`")
                found = self.read(here, value, depth=depth)
        return self.values.bounded(path, found, data)

    def _keys(self, path: Path, data: Mapping[str, Any], field: bool) -> None:
        allowed = (*_HEADS, *FACETS, *(OF_FIELDS if field else ()))
        unknown = [key for key in data if key not in allowed]
        for key in unknown:
            if key in OF_FIELDS:
                rule = (
                    f"`{key}` is for fields, and this is the type of a list's items; write it beside `list`"
                )
            elif key in ("required", "nullable"):
                rule = f"`{key}` is no key here; a field is required unless it has `optional: true` or `default: x`"
            else:
                rule = (
                    f"`{cut(key)}` is no key here{did_you_mean(key, allowed)}; keys are: {listing(allowed)}"
                )
            self.mistakes.note((*path, key), rule, at_key=True)
        if unknown and not any(head in data for head in _HEADS):
            raise Wrong  # the head may be the one that is misspelt

    def _named(self, path: Path, name: str) -> Type:
        if name in SCALARS:
            return Type(name)
        if name in self.known:
            return Type("class", (name,))
        if name in self.taken:
            raise self.mistakes.wrong(
                path, f"`{name}` is a class of the system; declare a class of your own for a field"
            )
        if ":" in name or "." in name:
            raise self.mistakes.wrong(
                path, f"`{cut(name)}`: a class of Python is no type here; declare it in `payloads`"
            )
        hint = _MEANT.get(name.lower().partition("[")[0])
        near = did_you_mean(name, (*SCALARS, *self.known)) or did_you_mean(name, _MEANT)
        hint = f"; {hint}" if hint else near
        raise self.mistakes.wrong(path, f"there is no type `{cut(name)}`{hint}; types are {_TYPES}")

    def _words(self, path: Path, data: Any) -> Type:
        if not isinstance(data, list | tuple) or not data:
            raise self.mistakes.wrong(
                path, f"must be a list of words, not {shown(data) if data != [] else 'an empty one'}"
            )
        if len(data) > MOST_WORDS:
            raise self.mistakes.wrong(path, f"has {len(data):,} words; at most {MOST_WORDS:,} are allowed")
        before = len(self.mistakes.found)
        seen: set[str] = set()
        for index, word in enumerate(data):
            self._word((*path, index), word, seen)
        if len(self.mistakes.found) > before:
            raise Wrong
        return Type("one_of", tuple(data))

    def _word(self, path: Path, word: Any, seen: set[str]) -> None:
        if isinstance(word, Mapping | list | tuple):
            self.mistakes.note(path, f"must be a word, not {shown(word)}")
        elif not isinstance(word, str):
            self.mistakes.note(path, f'is {shown(word)} and no word; put it into quotes: "{shown(word)}"')
        elif path in self.doubtful:
            self.mistakes.note(
                path, f'`{word}` is a truth value for other readers of YAML; put it into quotes: "{word}"'
            )
        elif not word or word != collapse(word) or not carried(word):
            self.mistakes.note(
                path,
                f"{cut(word)!r} is no word; words have no blanks around, two in a row, or control characters",
            )
        elif len(word) > LONGEST_WORD:
            self.mistakes.note(path, f"has {len(word):,} characters; a word has at most {LONGEST_WORD}")
        elif word in seen:
            self.mistakes.note(path, f"the word '{word}' is there twice; remove one")
        elif word in self.known and word[0].isupper():
            self.mistakes.note(
                path,
                f"'{word}' is a class, and these are words; write `{{any_of: […]}}`, or `{{list: {word}}}`",
            )
        else:
            seen.add(word)

    def _any_of(self, path: Path, data: Any) -> Type:
        if not isinstance(data, list | tuple) or len(data) < 2:
            one = f"; write `type: {data[0]}`" if isinstance(data, list | tuple) and data else ""
            raise self.mistakes.wrong(path, f"must be a list of two classes or more{one}")
        before = len(self.mistakes.found)
        for index, name in enumerate(data):
            here = (*path, index)
            if not isinstance(name, str) or name in SCALARS:
                self.mistakes.note(
                    here, f"must be a class of `payloads`, not {shown(name)}; put the value into a class"
                )
            elif name in data[:index]:
                self.mistakes.note(here, f"the class `{cut(name)}` is there twice; remove one")
            else:
                try:
                    self._named(here, name)
                except Wrong:
                    continue
        if len(self.mistakes.found) > before:
            raise Wrong
        return Type("any_of", tuple(data))
