"""The folders of skills that an organism.yaml names, read whole. Never raises for what is wrong with them.

A skill may come from somebody else: links are followed and have to stay in its folder, and what may be large is
bounded. Nothing in it is replaced: `${` and `{{` stand for themselves.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from xml_pipeline.agents import Skill
from xml_pipeline.config import document as documents
from xml_pipeline.config.document import MAX_TEXT, Document, Place
from xml_pipeline.config.files import Surroundings
from xml_pipeline.errors import cut, listing
from xml_pipeline.regular import bytes_of, unreadable

FILE = "SKILL.md"
MOST_FILES = 100
MOST_TEXT = 100_000
MOST_NAME = 64
MOST_DESCRIPTION = 1024

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_FRONT = re.compile(r"---[ \t]*\n(.*?)^---[ \t]*(?:\n|\Z)", re.DOTALL | re.MULTILINE)
_LEFT_OUT = frozenset({"__pycache__", "node_modules"})


class _Refused(Exception):
    """Why a folder is no skill."""


def read_skills(
    document: Document, directories: Mapping[str, Path], around: Surroundings
) -> dict[int, tuple[Skill, ...]]:
    """The skills of each listener, by its index. A folder is relative to the file that names it."""
    data: Any = document.data
    reading = _Reading(document, around)
    found: dict[int, tuple[Skill, ...]] = {}
    listeners = data.get("listeners")
    for index, listener in enumerate(listeners if isinstance(listeners, list) else ()):
        named = listener.get("skills") if isinstance(listener, dict) else None
        skills: dict[str, Skill] = {}
        for number, name in enumerate(named if isinstance(named, list) else ()):
            path: documents.Path = ("listeners", index, "skills", number)
            if not isinstance(name, str) or not name or around.allowance.spent:
                continue
            place = document.values[path]
            skill = reading.skill(path, name, directories[place.file])
            if skill is None:
                continue
            if skill.name in skills:
                document.report(
                    path, f"is another skill with the name '{skill.name}'; remove one, or rename it"
                )
            skills[skill.name] = skill
        if skills:
            found[index] = tuple(skills.values())
    return found


@dataclass(slots=True)
class _Reading:
    document: Document
    around: Surroundings
    _known: dict[str, Skill | None] = field(default_factory=dict)

    def skill(self, path: documents.Path, name: str, directory: Path) -> Skill | None:
        """The skill in a folder; None, and reports, when there is none."""
        folder = directory / name
        self.around.seen.update((folder, folder / FILE))
        shown = self.document.shown(path, name)
        try:
            real = os.path.realpath(folder)
            if real in self._known:
                return self._known[real]
            self.around.refuse(folder)
            if not folder.is_dir():
                raise _Refused(f"the folder {shown} {self._no_folder(path, folder)}")
            texts = self._texts(folder, shown)
        except (OSError, ValueError) as error:
            hidden = path in self.document.hidden
            self.document.report(path, f"the folder {shown} {unreadable(folder, error, hidden=hidden)}")
        except _Refused as refused:
            self.document.report(path, str(refused))
        else:
            written = self.document.hidden.get(path, name)
            label = os.path.join(os.path.dirname(self.document.values[path].file), written, FILE)
            self._known[real] = self._read(label, Path(real).name, texts)
            return self._known[real]
        return None

    def _no_folder(self, path: documents.Path, folder: Path) -> str:
        try:
            os.stat(folder)
        except OSError as error:
            return unreadable(folder, error, hidden=path in self.document.hidden)
        return f"is a file; name the folder in which {FILE} is"

    def _texts(self, folder: Path, shown: str) -> dict[str, str]:
        """All texts of a folder by their paths in it."""
        if not (folder / FILE).is_file():
            below = sorted(each.parent.name for each in folder.glob(f"*/{FILE}"))
            hint = f"; skills are in it, so name them: {listing(below)}" if below else ""
            raise _Refused(f"the folder {shown} holds no {FILE}, with which a skill begins{hint}")
        texts: dict[str, str] = {}
        for name in _files(folder, shown):
            file = folder / name
            self.around.seen.add(file)
            try:
                data = bytes_of(file)
            except OSError as error:
                raise _Refused(f"the file {shown}/{name} {unreadable(file, error)}") from None
            self.around.allowance.text -= len(data)  # also of what no model reads
            if self.around.allowance.text < 0:
                raise _Refused(
                    f"all prompts, skills and texts together have more than {MAX_TEXT:,} characters"
                )
            try:
                text = data.decode("utf-8-sig").replace("\r\n", "\n")
            except UnicodeDecodeError:
                if name == FILE:
                    raise
                continue  # a picture, say: no model reads it
            if len(text) > MOST_TEXT:
                raise _Refused(
                    f"{shown}/{name} has {len(text):,} characters; a model reads at most {MOST_TEXT:,}"
                )
            self.around.allowance.text -= len(text)
            if self.around.allowance.text < 0:
                raise _Refused(
                    f"all prompts, skills and texts together have more than {MAX_TEXT:,} characters"
                )
            texts[name] = text
        return texts

    def _read(self, label: str, folder: str, texts: dict[str, str]) -> Skill | None:
        """A skill from its texts; None, and reports in its own file, when something is wrong with that."""
        text = texts.pop(FILE)
        front = _FRONT.match(text)
        if front is None:
            rule = "begins with no name and description: `---`, `name: …`, `description: …`, `---`"
            self.document.add(rule, Place(label, 1, 1, ()))
            return None
        literal = "\n" + front[1].replace("$", "$$")  # as many lines as before it, and nothing to replace
        part = documents.read(literal, file=label, environ={}, allowance=self.around.allowance)
        data = part.data if isinstance(part.data, dict) else {}
        if not part.found:
            _check(part, data, folder)
        self.document.graft(part, lambda _: None)
        if part.found:
            return None
        body = text[front.end() :].strip()
        return Skill(
            data["name"], data["description"].strip(), body or "(It is empty.)", MappingProxyType(texts)
        )


def _files(folder: Path, shown: str) -> list[str]:
    """The files of a folder, sorted; what begins with a dot is left out.

    Raises:
        PermissionError: one leads out of it, or a folder of it does.
        _Refused: there are too many.
    """
    found: list[str] = []
    for here, folders, files in os.walk(folder):
        kept = sorted(each for each in folders if not each.startswith(".") and each not in _LEFT_OUT)
        folders[:] = [each for each in kept if not os.path.islink(os.path.join(here, each))]
        linked = [each for each in kept if each not in folders]
        for name in sorted((*linked, *(each for each in files if not each.startswith(".")))):
            path = Path(here, name)
            inside = path.relative_to(folder).as_posix()
            if not inside.isprintable():
                raise _Refused(f"the folder {shown} holds a file with the name {inside!a}; rename it")
            if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder)):
                raise _Refused(f"{shown}/{inside} leads out of the skill's folder; put a copy there")
            if name in files:
                found.append(inside)
        if len(found) > MOST_FILES:
            raise _Refused(f"the folder {shown} holds more than {MOST_FILES} files; a skill is small")
    return sorted(found)


def _check(part: Document, data: Mapping[str, object], folder: str) -> None:
    """Name and description as the convention has them."""
    for key, most in (("name", MOST_NAME), ("description", MOST_DESCRIPTION)):
        value = data.get(key)
        if value is None:
            part.report(
                (), f"`{key}` is missing; a skill has a name and a description of what it is for, and when"
            )
        elif not isinstance(value, str):
            part.report((key,), "must be text; put it into quotes")
        elif not value.strip() or len(value) > most:
            part.report((key,), f"has {len(value):,} characters; allowed: 1 to {most:,}")
        elif key == "name" and not _NAME.fullmatch(value):
            part.report(
                (key,), f"'{cut(value)}' is no name of a skill: small letters, digits, and `-` between them"
            )
        elif key == "name" and value != folder:
            part.report(
                (key,), f"is '{cut(value)}', and its folder is called '{cut(folder)}'; make them the same"
            )
