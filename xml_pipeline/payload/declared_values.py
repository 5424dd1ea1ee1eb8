"""The bounds, examples and defaults of a declared field, as Python values that fit its type."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from xml_pipeline.errors import listing
from xml_pipeline.payload import nodes
from xml_pipeline.payload.annotations import Unsupported, node_of
from xml_pipeline.payload.constraints import FREE, Constraints
from xml_pipeline.payload.declared import SCALARS, Type, annotation_of
from xml_pipeline.payload.example import check_samples
from xml_pipeline.payload.mistakes import Mistakes, Path, Wrong, quoted, shown, truth
from xml_pipeline.payload.pattern import whole
from xml_pipeline.payload.sides import JsonSide

LONGEST_TEXT = 10_000
LONGEST_LIST = 1_000

BOUNDS = ("min", "max")
LENGTHS = ("min_length", "max_length")
FACETS = (*BOUNDS, *LENGTHS, "pattern", "example")

_NUMBERS = ("integer", "number")
_WRITTEN: Mapping[str, tuple[type, ...]] = {
    "integer": (int, float),
    "number": (int, float),
    "boolean": (bool,),
    "decimal": (int, float, str),
}
"""What a file has for a value of a type; text for the others."""


@dataclass(frozen=True, slots=True)
class Values:
    """Reads them; `known` are the names of classes.

    Its methods raise Wrong when a part cannot be read; what is wrong is noted.
    """

    mistakes: Mistakes
    known: Collection[str]

    def exemplary(self, path: Path, declared: Type) -> bool:
        """Whether an example of a required field is known, which models copy."""
        try:
            check_samples(self._node(path, declared))
        except ValueError:
            while declared.item is not None:
                declared = declared.item
            self.mistakes.note(
                path, f"no example of {declared.kind} with these bounds is known; give one: `example: …`"
            )
            return False
        return True

    def _node(self, path: Path, declared: Type) -> nodes.Node:
        classes: dict[str, Any] = dict.fromkeys(self.known, _Stand)
        try:
            return node_of(annotation_of(declared, classes), lambda _: "class", _Stand)
        except Unsupported as error:
            raise self.mistakes.wrong(path, str(error)) from None

    def default(self, path: Path, declared: Type, given: Any) -> Any:
        if given is None:
            raise self.mistakes.wrong(path, "is empty; write `optional: true` for what may be absent")
        if declared.kind in ("class", "any_of"):
            raise self.mistakes.wrong(
                path, "a field that holds a class has no default; write `optional: true`", at_key=True
            )
        if declared.kind == "one_of":
            if given not in declared.names or not isinstance(given, str):
                raise self.mistakes.wrong(
                    path, f"must be {_one_of(declared.names)}, not {shown(given)}{quoted(given)}"
                )
            return given
        if declared.kind == "list":
            return self._list_default(path, declared, given)
        return self._value(path, declared, given)

    def _list_default(self, path: Path, declared: Type, given: Any) -> tuple[Any, ...]:
        item = declared.item
        if not isinstance(given, list | tuple):
            raise self.mistakes.wrong(path, f"must be a list, not {shown(given)}")
        if given and (item is None or item.kind in ("class", "any_of", "list")):
            raise self.mistakes.wrong(path, "a list of classes or lists has no default but `[]`")
        assert item is not None
        found = tuple([self.default((*path, index), item, each) for index, each in enumerate(given)])
        broken = _constraints(self._node(path, declared)).broken(found)
        if broken:
            raise self.mistakes.wrong(path, f"{broken[0]}; allowed: {broken[1]}")
        return found

    def bounded(self, path: Path, declared: Type, data: Mapping[str, Any]) -> Type:
        before = len(self.mistakes.found)
        facets: dict[str, Any] = {}
        for key in FACETS:
            if key in data:
                try:
                    facets |= self._facet((*path, key), key, declared, data[key])
                except Wrong:
                    continue
        self._in_order(path, facets, ("ge", "le"), BOUNDS)
        self._in_order(path, facets, ("min_length", "max_length"), LENGTHS)
        if len(self.mistakes.found) > before:
            raise Wrong
        bounded = Type(declared.kind, declared.names, declared.item, tuple(facets.items()))
        example = facets.pop("examples", None)
        if example is not None:
            free = Type(declared.kind, facets=tuple(facets.items()))
            broken = _constraints(self._node(path, free)).broken(example[0])
            if broken:
                raise self.mistakes.wrong((*path, "example"), f"{broken[0]}; allowed: {broken[1]}")
        if facets:
            self._node((*path, "pattern") if "pattern" in facets else path, bounded)
        return bounded

    def _facet(self, path: Path, key: str, declared: Type, given: Any) -> dict[str, Any]:
        kind = declared.kind
        if key in BOUNDS:
            if kind in ("text", "list"):
                raise self.mistakes.wrong(
                    path, f"`{key}` bounds numbers and times; for a {kind} write `{key}_length`", at_key=True
                )
            if kind not in SCALARS or kind == "boolean":
                raise self.mistakes.wrong(
                    path, f"`{key}` bounds numbers and times, not {_kind_words(kind)}; remove it", at_key=True
                )
            return {"ge" if key == "min" else "le": self._value(path, declared, given, bound=True)}
        if key in LENGTHS:
            if kind not in ("text", "list"):
                raise self.mistakes.wrong(
                    path, f"`{key}` bounds texts and lists, not {_kind_words(kind)}", at_key=True
                )
            most = LONGEST_LIST if kind == "list" else LONGEST_TEXT
            whole_number = isinstance(given, int) and not isinstance(given, bool)
            if not whole_number or given < 0 or (key == "min_length" and given > most) or given > 2**31:
                top = f" up to {most:,}" if key == "min_length" else ""
                raise self.mistakes.wrong(path, f"must be a whole number, 0 or more{top}, not {shown(given)}")
            return {key: given}
        if key == "pattern":
            if kind != "text":
                raise self.mistakes.wrong(
                    path, f"`pattern` is for texts, not {_kind_words(kind)}", at_key=True
                )
            if not isinstance(given, str):
                raise self.mistakes.wrong(path, f"must be text, not {shown(given)}{quoted(given)}")
            try:
                return {"pattern": whole(given)}
            except ValueError as error:
                raise self.mistakes.wrong(path, str(error)) from None
        if kind not in SCALARS:
            raise self.mistakes.wrong(
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
            self.mistakes.note(
                (*path, keys[1]), f"cannot be compared with `{keys[0]}`; give both an offset, or none"
            )
            return
        if not ordered:
            self.mistakes.note((*path, keys[1]), f"is below `{keys[0]}`, so no value fits; exchange them")

    def _value(self, path: Path, declared: Type, given: Any, *, bound: bool = False) -> Any:
        """A value of one of the scalar types, as the file writes it."""
        kind = declared.kind
        node = self._node(path, declared if not bound else Type(kind))
        assert isinstance(node, nodes.Scalar)
        if not isinstance(given, _WRITTEN.get(kind, str)) or (isinstance(given, bool) and kind != "boolean"):
            hint = truth(given) if kind == "boolean" else "" if kind in _NUMBERS else quoted(given)
            raise self.mistakes.wrong(path, f"must be {node.kind.words}, not {shown(given)}{hint}")
        try:
            value = JsonSide().leaf(node, given)
            node.kind.to_text(value)
        except ValueError as error:
            raise self.mistakes.wrong(path, f"{error}; allowed: {node.kind.words}") from None
        if isinstance(value, int | float | Decimal) and not Decimal(value).is_finite():
            raise self.mistakes.wrong(path, f"must be a finite number, not {shown(given)}")
        broken = None if bound else node.constraints.broken(value)
        if broken:
            raise self.mistakes.wrong(path, f"{broken[0]} ({shown(given)}); allowed: {broken[1]}")
        return value


class _Stand:
    """Stands for a declared class where only the type around it matters."""

    __pydantic_fields__: Mapping[str, Any] = {}


def _constraints(node: nodes.Node) -> Constraints:
    return node.constraints if isinstance(node, nodes.Scalar | nodes.ListOf) else FREE


def _kind_words(kind: str) -> str:
    return {"class": "classes", "one_of": "words", "any_of": "classes", "list": "lists"}.get(kind, f"{kind}s")


def _one_of(words: tuple[str, ...]) -> str:
    return f"one of {listing(words)}"
