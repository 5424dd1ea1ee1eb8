"""Plain data → declarations: what `payloads:` may say, and every mistake in it with its path.

The data is what JSON can hold. Nothing is made here but values; `declared` makes the classes.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from xml_pipeline.errors import cut, did_you_mean
from xml_pipeline.payload.declared import Declaration, Declarations, DeclaredField
from xml_pipeline.payload.declared_sizes import check_sizes
from xml_pipeline.payload.declared_types import Types
from xml_pipeline.payload.mistakes import Mistake, Mistakes, Path, Wrong, shown, truth
from xml_pipeline.payload.shapes import MISSING
from xml_pipeline.payload.text import carried

MOST_CLASSES = 100
MOST_FIELDS = 1_000
LONGEST_NAME = 100

CLASS_NAME = re.compile(f"[A-Z][A-Za-z0-9_]{{0,{LONGEST_NAME - 1}}}")
FIELD_NAME = re.compile(f"[a-z][A-Za-z0-9_]{{0,{LONGEST_NAME - 1}}}")

_CLASS_KEYS = ("description", "fields")


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
    mistakes = Mistakes()
    if not isinstance(data, Mapping):
        mistakes.note((), f"must be a mapping of class names, not {shown(data)}")
        return Declarations(owner), mistakes.found
    reader = _Reader(mistakes, Types(mistakes, frozenset(data), frozenset(taken), frozenset(doubtful)))
    return Declarations(owner, tuple(reader.classes(data))), mistakes.found


@dataclass(frozen=True, slots=True)
class _Reader:
    mistakes: Mistakes
    types: Types

    def classes(self, data: Mapping[str, Any]) -> Iterator[Declaration]:
        if len(data) > MOST_CLASSES:
            self.mistakes.note((), f"declares {len(data):,} classes; at most {MOST_CLASSES:,} are allowed")
            return
        count = sum(
            len(fields)
            for each in data.values()
            if isinstance(each, Mapping) and isinstance(fields := each.get("fields"), Mapping)
        )
        if count > MOST_FIELDS:
            self.mistakes.note(
                (), f"the classes have {count:,} fields; at most {MOST_FIELDS:,} are allowed in all"
            )
            return
        read = [self._class(name, each) for name, each in data.items()]
        declared = [each for each in read if each is not None]
        check_sizes(declared, self.mistakes)
        yield from declared

    def _class(self, name: str, data: object) -> Declaration | None:
        path: Path = (name,)
        self._class_name(path, name)
        if not isinstance(data, Mapping):
            self.mistakes.note(path, f"must be a mapping with `fields`, not {shown(data)}")
            return None
        for key in data:
            if key not in _CLASS_KEYS:
                near = did_you_mean(key, _CLASS_KEYS)
                hint = near or ("; fields stand below `fields:`" if "fields" not in data else "")
                self.mistakes.note(
                    (name, key),
                    f"`{cut(key)}` is no key here{hint}; keys are: description, fields",
                    at_key=True,
                )
        description = self._description(path, data)
        if description.startswith(f"{name}("):
            self.mistakes.note(
                (name, "description"),
                f"may not begin with `{name}(`, as a signature does; say what it is for",
            )
        if "fields" not in data:
            self.mistakes.note(
                path,
                "`fields` is missing; write `fields: {}` for a message that says all by its name",
                at_key=True,
            )
            return None
        fields = data["fields"]
        if not isinstance(fields, Mapping):
            self.mistakes.note(
                (name, "fields"), f"must be a mapping of field names to types, not {shown(fields)}"
            )
            return None
        read = [self._field((name, "fields", each), each, value) for each, value in fields.items()]
        return Declaration(name, description, tuple(each for each in read if each is not None))

    def _class_name(self, path: Path, name: str) -> None:
        if name in self.types.taken:
            self.mistakes.note(
                path, f"`{name}` is a name of the system; choose another, as `My{name}`", at_key=True
            )
        elif keyword.iskeyword(name):
            self.mistakes.note(
                path, f"`{name}` is a word of Python; choose another, as `{name}_`", at_key=True
            )
        elif not CLASS_NAME.fullmatch(name):
            capital = name[:1].upper() + name[1:]
            hint = f": `{capital}`" if CLASS_NAME.fullmatch(capital) else ""
            rule = f"A to Z, then letters, digits and `_`, at most {LONGEST_NAME}"
            self.mistakes.note(
                path,
                f"`{cut(name)}` is no name of a class, which begins with a capital ({rule}){hint}",
                at_key=True,
            )

    def _field_name(self, path: Path, name: str) -> None:
        if keyword.iskeyword(name):
            self.mistakes.note(
                path, f"`{name}` is a word of Python; choose another, as `{name}_`", at_key=True
            )
        elif not FIELD_NAME.fullmatch(name):
            small = (name[:1].lower() + name[1:]).replace("-", "_").replace(" ", "_")
            hint = f": `{small}`" if FIELD_NAME.fullmatch(small) else ""
            rule = f"a to z, then letters, digits and `_`, at most {LONGEST_NAME}"
            self.mistakes.note(
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
            else f"must be text, not {shown(text)}"
        )
        self.mistakes.note((*path, "description"), said)
        return ""

    def _field(self, path: Path, name: str, data: Any) -> DeclaredField | None:
        self._field_name(path, name)
        own: Mapping[str, Any] = data if isinstance(data, Mapping) else {}
        description = self._description(path, own)
        optional = own.get("optional", False)
        if not isinstance(optional, bool):
            word = truth(optional)
            self.mistakes.note((*path, "optional"), f"must be `true` or `false`, not {shown(optional)}{word}")
            optional = False
        if optional and "default" in own:
            self.mistakes.note(
                (*path, "default"),
                "there is `optional: true` too; keep that for what may be absent, or `default` for what is filled in",
                at_key=True,
            )
            return None
        try:
            found = self.types.read(path, data, field=True)
        except Wrong:
            return None
        if not optional and "default" not in own and not self.types.values.exemplary(path, found):
            return None
        try:
            default = (
                self.types.values.default((*path, "default"), found, own["default"])
                if "default" in own
                else MISSING
            )
        except Wrong:
            return None
        return DeclaredField(name, found, description, optional, default)
