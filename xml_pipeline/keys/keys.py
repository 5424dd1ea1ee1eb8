"""One key by its name: environment, then OS keyring, then encrypted file, then an error that names all three."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from xml_pipeline.errors import KeyStoreError
from xml_pipeline.keys.file import Damaged, InKeyring, KeyFile
from xml_pipeline.keys.folder import key_file
from xml_pipeline.keys.names import checked_name, names_in, prefix_of, sendable, variable_of
from xml_pipeline.keys.os_keyring import NoKeyring, OSKeyring
from xml_pipeline.keys.passphrase import VARIABLE, from_environment
from xml_pipeline.keys.sealed import Sealed
from xml_pipeline.keys.secret import Secret

Place: TypeAlias = Literal["environment", "keyring", "file"]


@dataclass(frozen=True, slots=True)
class Found:
    """A key, and where it was."""

    key: Secret
    place: Place


@dataclass(frozen=True, slots=True)
class Listed:
    """A key as it may be shown.

    Attributes:
        name: its name.
        place: where it was found first; "" for nowhere.
        shown: how it begins.
        problem: why nothing was found, or why a place before the one where it is could not be asked.
    """

    name: str
    place: Place | Literal[""]
    shown: str
    problem: str = ""


class Keys:
    """The three places.

    Args:
        environ: the variables; where the file lies follows from them, too.
        keyring: the second place; default: the operating system's.
        file: the third place; default: the one in the user's configuration directory.
    """

    def __init__(
        self, environ: Mapping[str, str], *, keyring: OSKeyring | None = None, file: KeyFile | None = None
    ) -> None:
        self._environ = environ
        self._keyring = keyring or OSKeyring()
        self._file = file
        self._passphrase = from_environment(environ)

    def find(self, name: str) -> Found:
        """The key of this name. Blocks: for as long as the keyring may take, and a second for the file.

        Raises:
            KeyStoreError: it is in none of the three, or they cannot be asked; says why of each, and what to do.
        """
        checked_name(name)
        key = self.in_environment(name)
        if key:
            return Found(key, "environment")
        problems = [f"environment: {variable_of(name)} is not set"]
        places: tuple[tuple[Place, Callable[[str], Secret | None]], ...] = (
            ("keyring", self._keyring.get),
            ("file", self._in_file),
        )
        for place, get in places:
            try:
                key = get(name)
            except KeyStoreError as error:
                problems.append(f"{place}: {error}")
                continue
            if key:
                return Found(key, place)
            problems.append(f"{place}: it is not there")
        raise KeyStoreError(
            f"the key '{name}' is nowhere to be had ({'; '.join(problems)}). Store it with `xp auth set {name}`, or"
            f" set {variable_of(name)}"
        )

    def in_environment(self, name: str) -> Secret | None:
        """The key of this name in its variable. Raises KeyStoreError: what is there can be no key."""
        key = sendable(self._environ.get(variable_of(name), ""))
        if key is None:
            raise KeyStoreError(
                f"the key in the environment variable {variable_of(name)} holds blanks, control characters or"
                " characters beyond ASCII, which no HTTP header can carry; copy it again"
            )
        return key or None

    def places(self, name: str) -> str:
        """Where a key of this name is looked for, in words; asks nobody."""
        try:
            where = str(self.file.path)
        except KeyStoreError:
            where = "the file of keys"
        return f"{variable_of(name)} in the environment, the keyring, {where}"

    @property
    def file(self) -> KeyFile:
        """The third place. Raises KeyStoreError: there is no home directory."""
        if self._file is None:
            self._file = KeyFile(key_file(self._environ))
        return self._file

    # The passphrase

    def locked(self, names: Collection[str]) -> str:
        """The first of these names that cannot be had without a passphrase that nobody has given yet, or "".

        A file that cannot be read is no reason to ask, nor to stop: the keys may be elsewhere.
        """
        if self._passphrase is not None:
            return ""
        try:
            entries = self.file.entries()
        except KeyStoreError:
            return ""
        wanted = (name for name in names if not self._environ.get(variable_of(name)))
        return next((name for name in wanted if isinstance(entries.get(name), Sealed)), "")

    def unlock(self, name: str, passphrase: Secret) -> None:
        """Use this passphrase from now on. Raises KeyStoreError: the key of this name was not stored with it."""
        self.file.get(name, passphrase)
        self._passphrase = passphrase

    def trust(self, other: Keys) -> None:
        """Use the passphrase that another one was given, unless this one has its own."""
        self._passphrase = self._passphrase or other._passphrase

    def _in_file(self, name: str) -> Secret | None:
        entry = self.file.entries().get(name)
        if isinstance(entry, Sealed) and self._passphrase is None:
            raise KeyStoreError(f"the key is in {self.file.path}, and its passphrase is not: set {VARIABLE}")
        return self.file.get(name, self._passphrase or Secret())

    # Looking at them

    def listed(self, name: str) -> Listed:
        """Where the key of this name is, and how it begins; needs no passphrase."""
        problem = ""
        try:
            if key := self.in_environment(name):
                return Listed(name, "environment", prefix_of(key))
        except KeyStoreError as error:
            return Listed(name, "", "", str(error))
        try:
            if key := self._keyring.get(name):
                return Listed(name, "keyring", prefix_of(key))
        except NoKeyring:
            pass
        except KeyStoreError as error:
            problem = f"keyring: {error}"
        try:
            entry = self.file.entries().get(name)
        except KeyStoreError as error:
            return Listed(name, "", "", "; ".join(filter(None, (problem, f"file: {error}"))))
        if isinstance(entry, Sealed):
            return Listed(name, "file", entry.shown, problem)
        if isinstance(entry, Damaged):
            problem = "; ".join(filter(None, (problem, "file: the entry is damaged")))
        return Listed(name, "", "", problem)

    def names(self) -> list[str]:
        """The names that were stored with `xp auth set`, and those of variables. Raises KeyStoreError."""
        stored = set(self.file.entries())
        known = {variable_of(name) for name in stored}
        return sorted(stored | {name for name in names_in(self._environ) if variable_of(name) not in known})

    # Storing

    def store_in_keyring(self, name: str, key: Secret) -> str:
        """Keep a key in the keyring, and nowhere else.

        Returns:
            Why the file does not know of it, so that it is not listed; "" if it does.

        Raises:
            KeyStoreError: the keyring does not take it.
        """
        self._keyring.set(checked_name(name), key)
        try:
            self.file.note(name)
        except KeyStoreError as error:
            return str(error)
        return ""

    def store_in_file(self, name: str, key: Secret, passphrase: Secret) -> str:
        """Keep a key in the file, and nowhere else.

        Returns:
            Why the keyring may still have another one of this name, which would be found first; "" if it has not.

        Raises:
            KeyStoreError: it cannot be written.
        """
        self.file.set(name, key, passphrase)
        try:
            self._keyring.remove(name)
        except NoKeyring:
            return ""
        except KeyStoreError as error:
            return str(error)
        return ""

    def remove(self, name: str) -> list[Place]:
        """Forget a key in the keyring and in the file; where it was.

        Raises:
            KeyStoreError: one of them cannot be asked, and may have it still; it is gone from the other.
        """
        checked_name(name)
        gone: list[Place] = []
        noted = isinstance(self.file.entries().get(name), InKeyring)
        try:
            if self._keyring.remove(name):
                gone.append("keyring")
        except KeyStoreError as error:
            if noted or not self.file.remove(name):
                raise KeyStoreError(f"the keyring cannot be asked to forget '{name}': {error}") from None
            gone.append("file")
            return gone
        if self.file.remove(name) and not noted:
            gone.append("file")
        return gone
