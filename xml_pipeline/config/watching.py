"""Whether the files that an organism is made of have changed. Looks when it is asked; waiting is the caller's."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TypeAlias

from xml_pipeline.config.files import SUFFIXES
from xml_pipeline.config.glance import glance

EVERY = 0.5
"""Seconds between two looks."""

MOST_ENTRIES = 5_000
"""Entries of folders that are looked through for Python modules; what is behind them is not watched."""

_NOT_OURS = frozenset({"__pycache__", "node_modules", "site-packages"})

Stamp: TypeAlias = tuple[int, int, int] | None
"""Time of change in ns, bytes, and which file it is; None for one that is not there."""


class Watch:
    """Looks at a file, and at all that it is made of: `.env`, prompts, listener files, modules below its folder.

    It begins with what is there when it is made: make it before the file is loaded, and nothing is missed.
    """

    def __init__(
        self,
        path: Path,
        *,
        environ: Mapping[str, str],
        root: Path | str | None = None,
        llm: Path | str | None = None,
    ) -> None:
        self._path = path
        self._environ = dict(environ)
        self._root = root
        self._llm = llm
        self._files: frozenset[Path] = frozenset((path.absolute(),))
        self._known = self._last = self._complete()

    def changed(self) -> bool:
        """Whether something is another since this was last true, and has been the same for two looks: who saves
        several files, or writes one in pieces, is let finish."""
        now = self._look()
        settled, self._last = now == self._last, now
        if not settled or now == self._known:
            return False
        self._known = self._last = self._complete()
        return True

    def _complete(self) -> dict[Path, Stamp]:
        """A look, at files that are only named since, too."""
        before = self._look()
        self._files = glance(self._path, environ=self._environ, root=self._root, llm=self._llm).files
        return {path: before.get(path, stamp) for path, stamp in self._look().items()}

    def _look(self) -> dict[Path, Stamp]:
        looked = {path: _stamp(path) for path in (*self._files, *_modules(self._path.parent.absolute()))}
        for folder in [path for path in self._files if os.path.isdir(path)]:
            names = (entry.path for entry in _entries(folder) if entry.name.endswith(SUFFIXES))
            looked |= {path: _stamp(path) for path in map(Path, names)}
        return looked


def _stamp(path: Path) -> Stamp:
    """What is another when a file was written; of a folder, whose entries count, only that it is there."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    if stat.S_ISDIR(found.st_mode):
        return 0, 0, found.st_ino
    return found.st_mtime_ns, found.st_size, found.st_ino


def _modules(home: Path) -> Iterator[Path]:
    """The Python files below a folder that may be handlers: not those of environments and caches."""
    left, waiting = MOST_ENTRIES, [home]
    while waiting and left > 0:
        for entry in _entries(waiting.pop(0)):
            left -= 1
            if entry.name.endswith(".py"):
                yield Path(entry.path)
            elif _is_folder(entry):
                waiting.append(Path(entry.path))
            if left <= 0:
                return


def _entries(folder: Path) -> Iterable[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            entries = list(zip(range(MOST_ENTRIES), found, strict=False))
    except OSError:
        return ()
    names = {entry.name for _, entry in entries}
    return () if "pyvenv.cfg" in names else [entry for _, entry in entries]


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        ours = not entry.name.startswith(".") and entry.name not in _NOT_OURS
        return ours and entry.is_dir(follow_symlinks=False)
    except OSError:
        return False
