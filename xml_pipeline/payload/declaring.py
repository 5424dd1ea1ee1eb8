"""Plain data → declarations: what `payloads:` may say, and every mistake in it with its path.

The data is what JSON can hold. Nothing is made here but values; `declared` makes the classes.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, TypeAlias

from xml_pipeline.errors import cut, did_you_mean, listing
from xml_pipeline.payload import nodes
from xml_pipeline.payload.annotations import Unsupported, node_of
from xml_pipeline.payload.constraints import FREE, Constraints
from xml_pipeline.payload.declared import (
    SCALARS,
    Declaration,
    Declarations,
    DeclaredField,
    Type,
    annotation_of,
)
from xml_pipeline.payload.example import check_samples
from xml_pipeline.payload.pattern import whole
from xml_pipeline.payload.shapes import MISSING
from xml_pipeline.payload.sides import JsonSide
from xml_pipeline.payload.text import carried, collapse

MOST_CLASSES = 100
MOST_FIELDS = 1_000
MOST_WITHIN = 10_000
"""Fields of all classes, those of the classes within them counted for each: its schema holds them all."""

MOST_WORDS = 500
LONGEST_NAME = 100
LONGEST_TEXT = 10_000
LONGEST_LIST = 1_000
DEEPEST_LIST = 5
MOST_ELEMENTS = 2_000
"""Elements that a message of a class has at least."""

Path: TypeAlias = tuple[str | int, ...]

CLASS_NAME = re.compile(f"[A-Z][A-Za-z0-9_]{{0,{LONGEST_NAME - 1}}}")
FIELD_NAME = re.compile(f"[a-z][A-Za-z0-9_]{{0,{LONGEST_NAME - 1}}}")

_CLASS_KEYS = ("description", "fields")
_HEADS = ("type", "list", "one_of", "any_of")
_BOUNDS = ("min", "max")
_LENGTHS = ("min_length", "max_length")
_FACETS = (*_BOUNDS, *_LENGTHS, "pattern", "example")
_OF_FIELDS = ("optional", "default", "description")
_TYPES = (
    "text, integer, number, decimal, boolean, date, datetime, duration, a class of `payloads`, a list of words,"
    " {list: TYPE}, {one_of: [words]} or {any_of: [Classes]}"
)
_NUMBERS = ("integer", "number")
_WRITTEN: Mapping[str, tuple[type, ...]] = {
    "integer": (int, float),
    "number": (int, float),
    "boolean": (bool,),
    "decimal": (int, float, str),
}
"""What a file has for a value of a type; text for the others."""
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
class Mistake:
    """What is wrong at a path; `at_key`: it is the key there, not its value."""

    path: Path
    message: str
    at_key: bool = False


class _Wrong(Exception):
    """A part that cannot be read; its mistake is noted."""


def read_declarations(
    data: object, *, owner: str, taken: Collection[str] = (), doubtful: Collection[Path] = ()
) -> tuple[Declarations, list[Mistake]]:
    """The classes that a mapping of names declares, and every mistake in it; with mistakes they cannot be made.

    Args:
        data: name → `{description, fields}`.
        owner: the organism's name.
        taken: names that a class may not have.
        doubtful: paths of words that other readers of the text take for truth values, because no quotes are around.
    """
    reader = _Reader(frozenset(taken), frozenset(doubtful))
    if isinstance(data, Mapping):
        classes = tuple(reader.classes(data))
    else:
        reader.note((), f"must be a mapping of class names, not {_shown(data)}")
        classes = ()
    return Declarations(owner, classes), reader.mistakes


@dataclass
class _Reader:
    taken: frozenset[str]
    doubtful: frozenset[Path]
    mistakes: list[Mistake] = field(default_factory=list)
    known: frozenset[str] = frozenset()
    types: dict[str, Callable[[Path, Any], Type]] = field(default_factory=dict)

    def note(self, path: Path, message: str, *, at_key: bool = False) -> None:
        self.mistakes.append(Mistake(path, message, at_key))

    def wrong(self, path: Path, message: str, *, at_key: bool = False) -> _Wrong:
        self.note(path, message, at_key=at_key)
        return _Wrong()

    # --- classes ---

    def classes(self, data: Mapping[str, Any]) -> Iterator[Declaration]:
        self.known = frozenset(data)
        if len(data) > MOST_CLASSES:
            self.note((), f"declares {len(data):,} classes; at most {MOST_CLASSES:,} are allowed")
            return
        count = sum(
            len(fields)
            for each in data.values()
            if isinstance(each, Mapping) and isinstance(fields := each.get("fields"), Mapping)
        )
        if count > MOST_FIELDS:
            self.note((), f"the classes have {count:,} fields; at most {MOST_FIELDS:,} are allowed in all")
            return
        read = [self._class(name, each) for name, each in data.items()]
        declared = [each for each in read if each is not None]
        _Sizes(self, declared).check()
        yield from declared

    def _class(self, name: str, data: object) -> Declaration | None:
        path: Path = (name,)
        self._class_name(path, name)
        if not isinstance(data, Mapping):
            self.note(path, f"must be a mapping with `fields`, not {_shown(data)}")
            return None
        for key in data:
            if key not in _CLASS_KEYS:
                near = did_you_mean(key, _CLASS_KEYS)
                hint = near or ("; fields stand below `fields:`" if "fields" not in data else "")
                self.note(
                    (name, key),
                    f"`{cut(key)}` is no key here{hint}; keys are: description, fields",
                    at_key=True,
                )
        description = self._description(path, data)
        if description.startswith(f"{name}("):
            self.note(
                (name, "description"),
                f"may not begin with `{name}(`, as a signature does; say what it is for",
            )
        if "fields" not in data:
            self.note(
                path,
                "`fields` is missing; write `fields: {}` for a message that says all by its name",
                at_key=True,
            )
            return None
        fields = data["fields"]
        if not isinstance(fields, Mapping):
            self.note((name, "fields"), f"must be a mapping of field names to types, not {_shown(fields)}")
            return None
        read = [self._field((name, "fields", each), each, value) for each, value in fields.items()]
        return Declaration(name, description, tuple(each for each in read if each is not None))

    def _class_name(self, path: Path, name: str) -> None:
        if name in self.taken:
            self.note(path, f"`{name}` is a name of the system; choose another, as `My{name}`", at_key=True)
        elif keyword.iskeyword(name):
            self.note(path, f"`{name}` is a word of Python; choose another, as `{name}_`", at_key=True)
        elif not CLASS_NAME.fullmatch(name):
            capital = name[:1].upper() + name[1:]
            hint = f": `{capital}`" if CLASS_NAME.fullmatch(capital) else ""
            rule = f"A to Z, then letters, digits and `_`, at most {LONGEST_NAME}"
            self.note(
                path,
                f"`{cut(name)}` is no name of a class, which begins with a capital ({rule}){hint}",
                at_key=True,
            )

    def _field_name(self, path: Path, name: str) -> None:
        if keyword.iskeyword(name):
            self.note(path, f"`{name}` is a word of Python; choose another, as `{name}_`", at_key=True)
        elif not FIELD_NAME.fullmatch(name):
            small = (name[:1].lower() + name[1:]).replace("-", "_").replace(" ", "_")
            hint = f": `{small}`" if FIELD_NAME.fullmatch(small) else ""
            rule = f"a to z, then letters, digits and `_`, at most {LONGEST_NAME}"
            self.note(
                path,
                f"`{cut(name)}` is no name of a field, which begins with a small letter ({rule}){hint}",
                at_key=True,
            )

    def _description(self, path: Path, data: Mapping[str, Any]) -> str:
        text = data.get("description", "")
        if isinstance(text, str) and carried(text):
            return text.strip()
        said = (
            "holds a character that XML cannot carry"
            if isinstance(text, str)
            else f"must be text, not {_shown(text)}"
        )
        self.note((*path, "description"), said)
        return ""

    # --- fields ---

    def _field(self, path: Path, name: str, data: Any) -> DeclaredField | None:
        self._field_name(path, name)
        own: Mapping[str, Any] = data if isinstance(data, Mapping) else {}
        description = self._description(path, own)
        optional = own.get("optional", False)
        if not isinstance(optional, bool):
            word = _truth(optional)
            self.note((*path, "optional"), f"must be `true` or `false`, not {_shown(optional)}{word}")
            optional = False
        if optional and "default" in own:
            self.note(
                (*path, "default"),
                "there is `optional: true` too; keep that for what may be absent, or `default` for what is filled in",
                at_key=True,
            )
            return None
        try:
            found = self.type(path, data, field=True)
        except _Wrong:
            return None
        if not optional and "default" not in own and not self._exemplary(path, found):
            return None
        try:
            default = (
                self._default((*path, "default"), found, own["default"]) if "default" in own else MISSING
            )
        except _Wrong:
            return None
        return DeclaredField(name, found, description, optional, default)

    def _exemplary(self, path: Path, declared: Type) -> bool:
        """Whether an example of a required field is known, which models copy."""
        try:
            check_samples(self._node(path, declared))
        except ValueError:
            while declared.item is not None:
                declared = declared.item
            self.note(
                path, f"no example of {declared.kind} with these bounds is known; give one: `example: …`"
            )
            return False
        return True

    def _node(self, path: Path, declared: Type) -> nodes.Node:
        classes: dict[str, Any] = dict.fromkeys(self.known, _Stand)
        try:
            return node_of(annotation_of(declared, classes), lambda _: "class", _Stand)
        except Unsupported as error:
            raise self.wrong(path, str(error)) from None

    def _default(self, path: Path, declared: Type, given: Any) -> Any:
        if given is None:
            raise self.wrong(path, "is empty; write `optional: true` for what may be absent")
        if declared.kind in ("class", "any_of"):
            raise self.wrong(
                path, "a field that holds a class has no default; write `optional: true`", at_key=True
            )
        if declared.kind == "one_of":
            if given not in declared.names or not isinstance(given, str):
                raise self.wrong(
                    path, f"must be {_one_of(declared.names)}, not {_shown(given)}{_quoted(given)}"
                )
            return given
        if declared.kind == "list":
            return self._list_default(path, declared, given)
        return self._value(path, declared, given)

    def _list_default(self, path: Path, declared: Type, given: Any) -> tuple[Any, ...]:
        item = declared.item
        if not isinstance(given, list | tuple):
            raise self.wrong(path, f"must be a list, not {_shown(given)}")
        if given and (item is None or item.kind in ("class", "any_of", "list")):
            raise self.wrong(path, "a list of classes or lists has no default but `[]`")
        assert item is not None
        found = tuple([self._default((*path, index), item, each) for index, each in enumerate(given)])
        broken = _constraints(self._node(path, declared)).broken(found)
        if broken:
            raise self.wrong(path, f"{broken[0]}; allowed: {broken[1]}")
        return found

    # --- types ---

    def type(self, path: Path, data: Any, *, field: bool = False, depth: int = 0) -> Type:
        """The type that stands at a path: a name, a list of words, or a mapping with one of `type`, `list`, …"""
        if isinstance(data, str):
            return self._named(path, data)
        if isinstance(data, list | tuple):
            return self._words(path, data)
        if not isinstance(data, Mapping):
            raise self.wrong(path, f"must be a type, not {_shown(data)}; types are {_TYPES}")
        self._keys(path, data, field)
        heads = [head for head in _HEADS if head in data]
        if len(heads) != 1:
            several = (
                f"has {' and '.join(f'`{head}`' for head in heads)}; keep one" if heads else "says no type"
            )
            raise self.wrong(path, f"{several}: `type`, `list`, `one_of` or `any_of`")
        head = heads[0]
        here, value = (*path, head), data[head]
        match head:
            case "one_of":
                found = self._words(here, value)
            case "any_of":
                found = self._any_of(here, value)
            case "list":
                if depth == DEEPEST_LIST:
                    raise self.wrong(
                        here,
                        f"lists stand in each other at most {DEEPEST_LIST} deep; declare a class between",
                    )
                found = Type("list", item=self.type(here, value, depth=depth + 1))
            case _:
                if isinstance(value, Mapping) and not value.keys() & {"list", "one_of", "any_of"}:
                    raise self.wrong(
                        here, "holds a mapping; the name of the type stands here, the rest beside it"
                    )
                if isinstance(value, Mapping) and value.keys() & {*_FACETS, *_OF_FIELDS}:
                    raise self.wrong(here, "has bounds of its own; write them beside `type`")
                found = self.type(here, value, depth=depth)
        return self._bounded(path, found, data)

    def _keys(self, path: Path, data: Mapping[str, Any], field: bool) -> None:
        allowed = (*_HEADS, *_FACETS, *(_OF_FIELDS if field else ()))
        unknown = [key for key in data if key not in allowed]
        for key in unknown:
            if key in _OF_FIELDS:
                rule = (
                    f"`{key}` is for fields, and this is the type of a list's items; write it beside `list`"
                )
            elif key in ("required", "nullable"):
                rule = f"`{key}` is no key here; a field is required unless it has `optional: true` or `default: x`"
            else:
                rule = (
                    f"`{cut(key)}` is no key here{did_you_mean(key, allowed)}; keys are: {listing(allowed)}"
                )
            self.note((*path, key), rule, at_key=True)
        if unknown and not any(head in data for head in _HEADS):
            raise _Wrong  # the head may be the one that is misspelt

    def _named(self, path: Path, name: str) -> Type:
        if name in SCALARS:
            return Type(name)
        if name in self.known:
            return Type("class", (name,))
        if name in self.taken:
            raise self.wrong(
                path, f"`{name}` is a class of the system; declare a class of your own for a field"
            )
        if ":" in name or "." in name:
            raise self.wrong(
                path, f"`{cut(name)}`: a class of Python is no type here; declare it in `payloads`"
            )
        hint = _MEANT.get(name.lower().partition("[")[0])
        near = did_you_mean(name, (*SCALARS, *self.known)) or did_you_mean(name, _MEANT)
        hint = f"; {hint}" if hint else near
        raise self.wrong(path, f"there is no type `{cut(name)}`{hint}; types are {_TYPES}")

    def _words(self, path: Path, data: Any) -> Type:
        if not isinstance(data, list | tuple) or not data:
            raise self.wrong(
                path, f"must be a list of words, not {_shown(data) if data != [] else 'an empty one'}"
            )
        if len(data) > MOST_WORDS:
            raise self.wrong(path, f"has {len(data):,} words; at most {MOST_WORDS:,} are allowed")
        before = len(self.mistakes)
        seen: set[str] = set()
        for index, word in enumerate(data):
            self._word((*path, index), word, seen)
        if len(self.mistakes) > before:
            raise _Wrong
        return Type("one_of", tuple(data))

    def _word(self, path: Path, word: Any, seen: set[str]) -> None:
        if isinstance(word, Mapping | list | tuple):
            self.note(path, f"must be a word, not {_shown(word)}")
        elif not isinstance(word, str):
            self.note(path, f'is {_shown(word)} and no word; put it into quotes: "{_shown(word)}"')
        elif path in self.doubtful:
            self.note(
                path, f'`{word}` is a truth value for other readers of YAML; put it into quotes: "{word}"'
            )
        elif not word or word != collapse(word) or not carried(word):
            self.note(
                path,
                f"{cut(word)!r} is no word; words have no blanks around, two in a row, or control characters",
            )
        elif len(word) > LONGEST_NAME:
            self.note(path, f"has {len(word):,} characters; a word has at most {LONGEST_NAME}")
        elif word in seen:
            self.note(path, f"the word '{word}' is there twice; remove one")
        elif word in self.known and word[0].isupper():
            self.note(
                path,
                f"'{word}' is a class, and these are words; write `{{any_of: […]}}`, or `{{list: {word}}}`",
            )
        else:
            seen.add(word)

    def _any_of(self, path: Path, data: Any) -> Type:
        if not isinstance(data, list | tuple) or len(data) < 2:
            one = f"; write `type: {data[0]}`" if isinstance(data, list | tuple) and data else ""
            raise self.wrong(path, f"must be a list of two classes or more{one}")
        before = len(self.mistakes)
        for index, name in enumerate(data):
            here = (*path, index)
            if not isinstance(name, str) or name in SCALARS:
                self.note(
                    here, f"must be a class of `payloads`, not {_shown(name)}; put the value into a class"
                )
            elif name in data[:index]:
                self.note(here, f"the class `{cut(name)}` is there twice; remove one")
            else:
                try:
                    self._named(here, name)
                except _Wrong:
                    continue
        if len(self.mistakes) > before:
            raise _Wrong
        return Type("any_of", tuple(data))

    # --- facets ---

    def _bounded(self, path: Path, declared: Type, data: Mapping[str, Any]) -> Type:
        before = len(self.mistakes)
        facets: dict[str, Any] = {}
        for key in _FACETS:
            if key in data:
                try:
                    facets |= self._facet((*path, key), key, declared, data[key])
                except _Wrong:
                    continue
        self._in_order(path, facets, ("ge", "le"), _BOUNDS)
        self._in_order(path, facets, ("min_length", "max_length"), _LENGTHS)
        if len(self.mistakes) > before:
            raise _Wrong
        bounded = Type(declared.kind, declared.names, declared.item, tuple(facets.items()))
        example = facets.pop("examples", None)
        if example is not None:
            free = Type(declared.kind, facets=tuple(facets.items()))
            broken = _constraints(self._node(path, free)).broken(example[0])
            if broken:
                raise self.wrong((*path, "example"), f"{broken[0]}; allowed: {broken[1]}")
        if facets:
            self._node((*path, "pattern") if "pattern" in facets else path, bounded)
        return bounded

    def _facet(self, path: Path, key: str, declared: Type, given: Any) -> dict[str, Any]:
        kind = declared.kind
        if key in _BOUNDS:
            if kind in ("text", "list"):
                raise self.wrong(
                    path, f"`{key}` bounds numbers and times; for a {kind} write `{key}_length`", at_key=True
                )
            if kind not in SCALARS or kind == "boolean":
                raise self.wrong(
                    path, f"`{key}` bounds numbers and times, not {_kind_words(kind)}; remove it", at_key=True
                )
            return {"ge" if key == "min" else "le": self._value(path, declared, given, bound=True)}
        if key in _LENGTHS:
            if kind not in ("text", "list"):
                raise self.wrong(
                    path, f"`{key}` bounds texts and lists, not {_kind_words(kind)}", at_key=True
                )
            most = LONGEST_LIST if kind == "list" else LONGEST_TEXT
            whole_number = isinstance(given, int) and not isinstance(given, bool)
            if not whole_number or given < 0 or (key == "min_length" and given > most) or given > 2**31:
                top = f" up to {most:,}" if key == "min_length" else ""
                raise self.wrong(path, f"must be a whole number, 0 or more{top}, not {_shown(given)}")
            return {key: given}
        if key == "pattern":
            if kind != "text":
                raise self.wrong(path, f"`pattern` is for texts, not {_kind_words(kind)}", at_key=True)
            if not isinstance(given, str):
                raise self.wrong(path, f"must be text, not {_shown(given)}{_quoted(given)}")
            try:
                return {"pattern": whole(given)}
            except ValueError as error:
                raise self.wrong(path, str(error)) from None
        if kind not in SCALARS:
            raise self.wrong(
                path, f"`example` is for single values, not {_kind_words(kind)}; remove it", at_key=True
            )
        return {"examples": (self._value(path, Type(kind), given),)}

    def _in_order(
        self, path: Path, facets: Mapping[str, Any], names: tuple[str, str], keys: tuple[str, ...]
    ) -> None:
        low, high = facets.get(names[0]), facets.get(names[1])
        if low is None or high is None:
            return
        try:
            ordered = bool(low <= high)
        except TypeError:  # one time with an offset, one without
            self.note((*path, keys[1]), f"cannot be compared with `{keys[0]}`; give both an offset, or none")
            return
        if not ordered:
            self.note((*path, keys[1]), f"is below `{keys[0]}`, so no value fits; exchange them")

    def _value(self, path: Path, declared: Type, given: Any, *, bound: bool = False) -> Any:
        """A value of one of the scalar types, as the file writes it."""
        kind = declared.kind
        node = self._node(path, declared if not bound else Type(kind))
        assert isinstance(node, nodes.Scalar)
        if not isinstance(given, _WRITTEN.get(kind, str)) or (isinstance(given, bool) and kind != "boolean"):
            hint = _truth(given) if kind == "boolean" else "" if kind in _NUMBERS else _quoted(given)
            raise self.wrong(path, f"must be {node.kind.words}, not {_shown(given)}{hint}")
        try:
            value = JsonSide().leaf(node, given)
            node.kind.to_text(value)
        except ValueError as error:
            raise self.wrong(path, f"{error}; allowed: {node.kind.words}") from None
        if isinstance(value, int | float | Decimal) and not Decimal(value).is_finite():
            raise self.wrong(path, f"must be a finite number, not {_shown(given)}")
        broken = None if bound else node.constraints.broken(value)
        if broken:
            raise self.wrong(path, f"{broken[0]} ({_shown(given)}); allowed: {broken[1]}")
        return value


class _Stand:
    """Stands for a declared class where only the type around it matters."""

    __pydantic_fields__: Mapping[str, Any] = {}


class _Sizes:
    """That a message of each class can end: no class needs itself, and none needs very much."""

    def __init__(self, reader: _Reader, declared: list[Declaration]) -> None:
        self.reader = reader
        self.declared = {each.name: each for each in declared}
        self.sizes: dict[str, int] = {}
        self.open: list[tuple[str, str]] = []

    def check(self) -> None:
        for name in self.declared:
            self._size(name)
        total = sum(self._within(name) for name in self.declared)
        if total > MOST_WITHIN:
            rule = f"the classes have {total:,} fields with those of the classes within them, each class for itself"
            self.reader.note((), f"{rule}; at most {MOST_WITHIN:,} are allowed")

    def _within(self, name: str) -> int:
        """The fields of a class and of all that it leads to: what its schema holds."""
        found: set[str] = set()
        waiting = [name]
        while waiting:
            each = waiting.pop()
            if each in self.declared and each not in found:
                found.add(each)
                waiting += [inner for field in self.declared[each].fields for inner in field.type.classes]
        return sum(len(self.declared[each].fields) for each in found)

    def _size(self, name: str) -> int:
        """The elements that a message of the class has at least."""
        if name in self.sizes or name not in self.declared:
            return self.sizes.get(name, 1)
        if name in [outer for outer, _ in self.open]:
            self._endless(name)
            return 1
        size = 1
        for each in self.declared[name].fields:
            if not each.optional and each.default is MISSING:
                self.open.append((name, each.name))
                size += self._size_of(each.type)
                self.open.pop()
        if size > MOST_ELEMENTS:
            rule = f"a message of it has {size:,} elements at least; at most {MOST_ELEMENTS:,} are allowed"
            self.reader.note((name,), rule, at_key=True)
            size = 1
        self.sizes[name] = size
        return size

    def _size_of(self, declared: Type) -> int:
        if declared.item is not None:
            least = int(dict(declared.facets).get("min_length", 0))
            return 1 + (least * self._size_of(declared.item) if least else 0)
        if declared.kind in ("class", "any_of"):
            return max(self._size(each) for each in declared.names)
        return 1

    def _endless(self, name: str) -> None:
        start = next(index for index, (outer, _) in enumerate(self.open) if outer == name)
        way = self.open[start:]
        shown = " → ".join([f"{outer}.{field}" for outer, field in way] + [name])
        last, at = way[-1]
        rule = f"a message of it never ends: {shown}; make a field on the way `optional: true`, or a list"
        self.reader.note((last, "fields", at), rule)


def _constraints(node: nodes.Node) -> Constraints:
    return node.constraints if isinstance(node, nodes.Scalar | nodes.ListOf) else FREE


def _kind_words(kind: str) -> str:
    return {"class": "classes", "one_of": "words", "any_of": "classes", "list": "lists"}.get(kind, f"{kind}s")


def _one_of(words: tuple[str, ...]) -> str:
    return f"one of {listing(words)}"


def _shown(value: object) -> str:
    """A value as YAML writes it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    return f"'{cut(value)}'" if isinstance(value, str) else cut(repr(value))


def _quoted(value: object) -> str:
    scalar = isinstance(value, bool | int | float) or value is None
    return f'; put it into quotes: "{_shown(value)}"' if scalar else ""


def _truth(value: object) -> str:
    word = str(value).lower()
    if word in ("yes", "on", "y", "true"):
        return "; write `true`"
    return "; write `false`" if word in ("no", "off", "n", "false") else ""
