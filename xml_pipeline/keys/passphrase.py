"""The passphrase of the file of keys: from the environment, or from a person at a terminal. Kept nowhere."""

from __future__ import annotations

import signal
import sys
import unicodedata
from collections.abc import Mapping
from getpass import getpass

from xml_pipeline.errors import KeyStoreError
from xml_pipeline.keys.secret import Secret

VARIABLE = "XML_PIPELINE_PASSPHRASE"


def from_environment(environ: Mapping[str, str]) -> Secret | None:
    """What the variable holds; None when it is not set, or empty."""
    return Secret(environ.get(VARIABLE, "")) or None


def can_ask() -> bool:
    """Whether a person sits at a terminal."""
    streams = (sys.stdin, sys.stderr)
    return all(stream is not None and stream.isatty() for stream in streams)


def typed(prompt: str) -> Secret:
    """What a person types, without showing it; Ctrl-C raises KeyboardInterrupt, also from within an event loop.

    Raises:
        KeyStoreError: nothing was typed.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return Secret(getpass(prompt))
    except (EOFError, OSError):
        raise KeyStoreError("nothing was typed; nothing was changed") from None
    finally:
        signal.signal(signal.SIGINT, before)


def chosen(environ: Mapping[str, str], *, new: bool) -> Secret:
    """The passphrase to store with; a new one is typed twice.

    Raises:
        KeyStoreError: there is none, and nobody to ask.
    """
    found = from_environment(environ)
    if found is None and can_ask():
        found = typed("Passphrase of the file of keys: ")
        if new and found != typed("Again: "):
            raise KeyStoreError("the two passphrases differ; nothing was changed")
    if not found:
        raise KeyStoreError(f"the file of keys needs a passphrase: set {VARIABLE}")
    return found


def as_bytes(passphrase: str) -> bytes:
    """The same for the same letters, however a keyboard composes them; bytes that are no UTF-8 stay what they are."""
    return unicodedata.normalize("NFC", passphrase).encode("utf-8", "surrogateescape")
