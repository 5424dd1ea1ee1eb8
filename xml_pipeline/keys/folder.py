"""Where the file of keys lies, and who else may write there."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from xml_pipeline.errors import KeyStoreError

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def key_file(environ: Mapping[str, str]) -> Path:
    """`$XDG_CONFIG_HOME/xml-pipeline/keys.json`, by default below `~/.config` (XDG Base Directory Specification).

    Raises:
        KeyStoreError: there is no home directory.
    """
    home = environ.get("XDG_CONFIG_HOME", "")
    try:
        base = Path(home) if os.path.isabs(home) else Path.home() / ".config"
    except RuntimeError:
        base = Path()
    if not base.is_absolute():
        raise KeyStoreError("there is no home directory for the file of keys: set XDG_CONFIG_HOME")
    return base / "xml-pipeline" / "keys.json"


def made(folder: Path) -> None:
    """Make the folder if need be, for its owner only. Raises OSError; KeyStoreError as `refuse_shared`."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    refuse_shared(folder)


def refuse_shared(path: Path) -> None:
    """See that nobody else may change what is there, or put something else in its place.

    Raises:
        OSError: it is not there, or cannot be looked at.
        KeyStoreError: others may write, or it belongs to somebody else; says what to do.
    """
    if not hasattr(os, "getuid"):  # Windows: a user's folders are the user's by their lists of access
        return
    found = os.stat(path)
    if found.st_uid not in (os.getuid(), 0):
        raise KeyStoreError(f"{path} belongs to another user; nothing is read or written there")
    if found.st_mode & _OTHERS_WRITE:
        raise KeyStoreError(f"others may write to {path}; `chmod go-w {path}` takes that from them")
