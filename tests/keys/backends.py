"""Keyrings that a test chooses with `PYTHON_KEYRING_BACKEND=tests.keys.backends.…`, or makes for its own process."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

from keyring.backend import KeyringBackend
from keyring.errors import KeyringLocked, PasswordDeleteError

FOLDER = "TEST_KEYRING_FOLDER"


class MemoryKeyring(KeyringBackend):
    """One that lasts as long as the process."""

    priority = 1  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__()
        self.held: dict[tuple[str, str], str] = {}
        self.asked: list[str] = []

    def get_password(self, service: str, username: str) -> Any:
        self.asked.append(username)
        return self.held.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.held[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        if self.held.pop((service, username), None) is None:
            raise PasswordDeleteError("not found")


class FolderKeyring(MemoryKeyring):
    """One that several processes share: a file in a folder that a variable names."""

    def __init__(self) -> None:
        super().__init__()
        self._path = Path(os.environ[FOLDER]) / "keyring.json"
        if self._path.exists():
            self.held = {tuple(each[:2]): each[2] for each in json.loads(self._path.read_text())}

    def set_password(self, service: str, username: str, password: str) -> None:
        super().set_password(service, username, password)
        self._save()

    def delete_password(self, service: str, username: str) -> None:
        super().delete_password(service, username)
        self._save()

    def _save(self) -> None:
        self._path.write_text(json.dumps([[*name, key] for name, key in self.held.items()]))


class HangingKeyring(MemoryKeyring):
    """One that waits for somebody who never comes."""

    def get_password(self, service: str, username: str) -> Any:
        threading.Event().wait()

    def set_password(self, service: str, username: str, password: str) -> None:
        threading.Event().wait()


class LockedKeyring(MemoryKeyring):
    """One that tells in its errors what it was given."""

    def get_password(self, service: str, username: str) -> Any:
        raise KeyringLocked(f"{self.held}")

    def set_password(self, service: str, username: str, password: str) -> None:
        self.held[service, username] = password
        raise KeyringLocked(f"cannot take {password}")


class ExitingKeyring(MemoryKeyring):
    """One that ends the program."""

    def get_password(self, service: str, username: str) -> Any:
        raise SystemExit("no keyring, no program")


class ForgetfulKeyring(MemoryKeyring):
    """One that takes everything and keeps nothing."""

    def set_password(self, service: str, username: str, password: str) -> None:
        pass


class NonsenseKeyring(MemoryKeyring):
    """One that answers with what is no key."""

    answer: Any = b"\x00\xff"

    def get_password(self, service: str, username: str) -> Any:
        return self.answer
