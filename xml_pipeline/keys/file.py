"""The file of keys: encrypted ones, and the names of those that are in the keyring, which can list none itself.

One writer at a time, by a lock that the operating system lets go when its holder dies. It is written beside itself
and put in its place, so that whoever reads it, or dies while writing, finds the old file or the new one.
"""

from __future__ import annotations

import json
import os
import time
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from xml_pipeline.errors import KeyStoreError
from xml_pipeline.keys.folder import made, refuse_shared
from xml_pipeline.keys.names import checked_name
from xml_pipeline.keys.sealed import Cost, Sealed, WrongPassphrase, seal
from xml_pipeline.keys.secret import Secret
from xml_pipeline.lock import lock
from xml_pipeline.regular import bytes_of, unreadable

VERSION = 1
WRITER_SECONDS = 15.0
_STEP = 0.05  # seconds between two looks at a lock


@dataclass(frozen=True, slots=True)
class InKeyring:
    """The note that the keyring has the key."""


@dataclass(frozen=True, slots=True)
class Damaged:
    """An entry that is not as it was written.

    Attributes:
        written: what stands there now; it is kept.
    """

    written: Any


Entry: TypeAlias = Sealed | InKeyring | Damaged


class KeyFile:
    """One file of keys.

    Args:
        path: it need not be there.
        cost: what new entries cost whoever tries passphrases.
        seconds: how long another writer is waited for.
    """

    def __init__(self, path: Path, cost: Cost | None = None, seconds: float = WRITER_SECONDS) -> None:
        self.path = path
        self._cost = cost or Cost()
        self._seconds = seconds

    def entries(self) -> dict[str, Entry]:
        """All entries by name; none when there is no file.

        Raises:
            KeyStoreError: it cannot be read, others may write it, it is damaged, or of a later version.
        """
        try:
            refuse_shared(self.path.parent)
            data = bytes_of(self.path)
            refuse_shared(self.path)
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise KeyStoreError(f"{self.path} {unreadable(self.path, error, hidden=True)}") from None
        return {name: _read(name, entry) for name, entry in self._keys(data).items()}

    def get(self, name: str, passphrase: Secret) -> Secret | None:
        """The key of this name; None when it is not here.

        Raises:
            WrongPassphrase: the entry is whole, and the passphrase is not its own.
            KeyStoreError: the file or the entry is damaged, or cannot be read.
        """
        entry = self.entries().get(name)
        if isinstance(entry, Damaged):
            raise KeyStoreError(
                f"the entry in {self.path} is damaged; store the key again with `xp auth set {name}`"
            )
        return entry.key(passphrase) if isinstance(entry, Sealed) else None

    def set(self, name: str, key: Secret, passphrase: Secret) -> None:
        """Encrypt a key into the file.

        Raises:
            WrongPassphrase: the other keys here have another passphrase; nothing was changed.
            KeyStoreError: it cannot be written.
        """
        checked_name(name)
        with self._writing() as entries:
            others = (each for each in entries.values() if isinstance(each, Sealed) and each.name != name)
            other = next(others, None)
            if other is not None:
                self._refuse(other, passphrase)
            entries[name] = seal(name, key, passphrase, self._cost)

    def note(self, name: str) -> None:
        """Note that the keyring has the key, and forget it here. Raises KeyStoreError."""
        checked_name(name)
        with self._writing() as entries:
            entries[name] = InKeyring()

    def remove(self, name: str) -> bool:
        """Forget a name and its key; whether it was there. Raises KeyStoreError."""
        if name not in self.entries():
            return False
        with self._writing() as entries:
            return entries.pop(name, None) is not None

    def _refuse(self, other: Sealed, passphrase: Secret) -> None:
        try:
            other.refuse(passphrase)
        except WrongPassphrase:
            raise WrongPassphrase(
                f"the keys in {self.path} have another passphrase; nothing was changed. Give that one"
            ) from None

    def _keys(self, data: bytes) -> Mapping[str, Any]:
        try:
            read = json.loads(data)
            version, keys = read["version"], read["keys"]
            whole = isinstance(keys, dict)
        except (ValueError, TypeError, KeyError, RecursionError):
            whole = False
        if not whole:
            raise KeyStoreError(
                f"{self.path} is damaged: it is no file of keys (any more). Bring back a copy, or remove it and"
                " store the keys again with `xp auth set`"
            )
        if version != VERSION:
            raise KeyStoreError(
                f"{self.path} is of version {str(version)[:20]!r}, and this program knows version {VERSION}: use a"
                " later one"
            )
        return {name: entry for name, entry in keys.items() if isinstance(name, str)}

    @contextmanager
    def _writing(self) -> Iterator[dict[str, Entry]]:
        """The entries, to be changed; they are written at the block's end."""
        try:
            made(self.path.parent)
            with self._alone():
                entries = self.entries()
                before = dict(entries)
                yield entries
                if entries != before:
                    self._write(entries)
        except OSError as error:
            raise KeyStoreError(f"{self.path} cannot be written: {error.strerror or error}") from None

    @contextmanager
    def _alone(self) -> Iterator[None]:
        lock = self.path.with_name(self.path.name + ".lock")
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
        try:
            end = time.monotonic() + self._seconds
            while not _locked(descriptor):
                if time.monotonic() > end:
                    raise KeyStoreError(
                        f"another program has been writing {self.path} for {self._seconds:g} s; end it and try again"
                    )
                time.sleep(_STEP)
            yield
        finally:
            os.close(descriptor)

    def _write(self, entries: Mapping[str, Entry]) -> None:
        written = {name: _written(entries[name]) for name in sorted(entries)}
        data = json.dumps({"version": VERSION, "keys": written}, indent=1).encode() + b"\n"
        beside = self.path.with_name(self.path.name + ".new")
        with suppress(FileNotFoundError):
            beside.unlink()  # of a writer that died
        with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, self.path)
        if hasattr(os, "O_DIRECTORY"):
            folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)


def _locked(descriptor: int) -> bool:
    try:
        lock(descriptor)
    except OSError:
        return False
    return True


_BYTES = ("salt", "nonce", "check", "box")


def _written(entry: Entry) -> Any:
    if isinstance(entry, Damaged):
        return entry.written
    if isinstance(entry, InKeyring):
        return {"in": "keyring"}
    sealed = {part: b64encode(getattr(entry, part)).decode() for part in _BYTES}
    cost = entry.cost._asdict()
    return {"in": "file", "shown": entry.shown, **cost, **sealed, "digest": entry.digest}


def _read(name: str, entry: Any) -> Entry:
    try:
        checked_name(name)
        if entry["in"] == "keyring":
            return InKeyring()
        if entry["in"] != "file":
            return Damaged(entry)
        cost = Cost(*(int(entry[part]) for part in Cost._fields))
        parts = (b64decode(entry[part], validate=True) for part in _BYTES)
        sealed = Sealed(name, str(entry["shown"]), cost, *parts)
    except (KeyStoreError, ValueError, TypeError, KeyError, OverflowError):
        return Damaged(entry)
    return sealed if sealed.digest == entry.get("digest") and cost.bearable else Damaged(entry)
