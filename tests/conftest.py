"""No test reaches beyond this machine."""

from __future__ import annotations

import ipaddress
import logging
import os
import socket
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from keyring.backend import KeyringBackend

    from tests.keys.backends import MemoryKeyring

# A loaded machine is no failure; in CI the same examples run every time.
settings.register_profile(
    "xml-pipeline",
    deadline=None,
    derandomize="CI" in os.environ,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("xml-pipeline")

_connect = socket.socket.connect


def _is_here(address: Any) -> bool:
    if not isinstance(address, tuple):
        return True  # a Unix socket
    host = str(address[0])
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@pytest.fixture(autouse=True, scope="session")
def loopback_only() -> Iterator[None]:
    """Refuse connections to other machines, whoever makes them."""

    def connect(self: socket.socket, address: Any) -> None:
        if not _is_here(address):
            raise PermissionError(f"a test tried to reach {address}")
        _connect(self, address)

    patch = pytest.MonkeyPatch()
    patch.setattr(socket.socket, "connect", connect)
    yield
    patch.undo()


@pytest.fixture(autouse=True)
def no_keys_of_the_developer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys and proxies of whoever runs the tests change nothing, and nothing touches that person's keyring."""
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.fail.Keyring")
    monkeypatch.delenv("XML_PIPELINE_PASSPHRASE", raising=False)
    for name in list(os.environ):
        if (
            name.endswith("_API_KEY")
            or name.startswith("XML_PIPELINE_KEY_")
            or name.upper()
            in (
                "HTTP_PROXY",
                "HTTPS_PROXY",
                "ALL_PROXY",
                "NO_PROXY",
            )
        ):
            monkeypatch.delenv(name)


@pytest.fixture
def use_keyring() -> Iterator[Callable[[KeyringBackend], None]]:
    """Make a backend the keyring of this process, until the test ends."""
    import keyring

    before = keyring.get_keyring()
    yield keyring.set_keyring
    keyring.set_keyring(before)


@pytest.fixture
def memory(use_keyring: Callable[[KeyringBackend], None]) -> MemoryKeyring:
    """A keyring that works."""
    from tests.keys.backends import MemoryKeyring

    made = MemoryKeyring()
    use_keyring(made)
    return made


class Unseen(logging.Handler):
    """Collects failures that somebody heals or swallows: no assertion would notice them."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if str(record.msg).startswith(("Exception in callback", "a runner ended with an error")):
            self.texts.append(record.getMessage())


@pytest.fixture(autouse=True)
def nothing_fails_unseen() -> Iterator[None]:
    """A callback that fails, or a runner that another one replaces, fails its test."""
    unseen = Unseen()
    loggers = [logging.getLogger(name) for name in ("asyncio", "xml_pipeline.pump")]
    for each in loggers:
        each.addHandler(unseen)
    yield
    for each in loggers:
        each.removeHandler(unseen)
    assert not unseen.texts
