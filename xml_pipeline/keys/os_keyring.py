"""The keyring of the operating system: macOS Keychain, Windows Credential Locker, Secret Service of a desktop.

A Secret Service may ask somebody to unlock it, and waits for them without end. So it is asked in a thread of its own,
which is left behind when its time is up (a daemon thread, which no end of the program waits for).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from xml_pipeline.errors import KeyStoreError, class_name
from xml_pipeline.keys.extra import extra
from xml_pipeline.keys.names import MAX_KEY, SERVICE, checked_key, sendable
from xml_pipeline.keys.secret import Secret

SECONDS = 2.0


class NoKeyring(KeyStoreError):
    """There is none: on this machine, or for this program because a package is not installed."""


class OSKeyring:
    """Keys in the keyring, which the package `keyring` finds (`PYTHON_KEYRING_BACKEND` names another).

    What a keyring says of its failures is not told, only of which class they are: it may quote the key. One that
    did not answer in time is not asked again.

    Args:
        seconds: how long one request may take.
    """

    def __init__(self, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._silent = threading.Event()

    def get(self, name: str) -> Secret | None:
        """The key of this name, None when there is none. Raises KeyStoreError."""
        given = self._ask(lambda keyring: keyring.get_password(SERVICE, name))
        if given is None:
            return None
        key = sendable(given)
        if not key or len(key) > MAX_KEY:
            raise KeyStoreError(
                "what it has under this name is no key that can be sent; store it again with `xp auth set`"
            )
        return key

    def set(self, name: str, key: Secret) -> None:
        """Keep a key, and see that it is there. Raises KeyStoreError; then it is perhaps kept."""
        key = checked_key(key)
        self._ask(lambda keyring: keyring.set_password(SERVICE, name, str(key)))
        if self.get(name) != key:
            raise KeyStoreError("it takes a key and gives another one, or none, back")

    def remove(self, name: str) -> bool:
        """Forget a key; whether there was one. Raises KeyStoreError."""
        if self._ask(lambda keyring: keyring.get_password(SERVICE, name)) is None:
            return False
        self._ask(lambda keyring: keyring.delete_password(SERVICE, name))
        return True

    def _ask(self, request: Callable[[Any], Any]) -> Any:
        if self._silent.is_set():
            raise KeyStoreError(self._unanswered())
        answer = _Answer()
        asking = threading.Thread(
            target=answer.fetch, args=(request,), name="xml-pipeline-keyring", daemon=True
        )
        asking.start()
        if not answer.there.wait(self._seconds):
            self._silent.set()
            raise KeyStoreError(self._unanswered())
        if answer.problem is not None:
            raise answer.problem
        return answer.value

    def _unanswered(self) -> str:
        return f"it did not answer within {self._seconds:g} s (locked? somebody may have to unlock it)"


class _Answer:
    """What a keyring answers; shows nothing of it."""

    __slots__ = ("problem", "there", "value")

    def __init__(self) -> None:
        self.there = threading.Event()
        self.problem: KeyStoreError | None = None
        self.value: Any = None

    def fetch(self, request: Callable[[Any], Any]) -> None:
        """Ask; whatever a keyring raises ends here."""
        try:
            self.value = request(extra("keyring"))
        except KeyStoreError as error:
            self.problem = NoKeyring(str(error))
        except BaseException as error:  # also what is no Exception: it would end in a trace on the terminal
            name = class_name(error)
            none = NoKeyring("there is none on this machine")
            self.problem = none if name == "NoKeyringError" else KeyStoreError(f"it raised {name}")
        finally:
            self.there.set()
