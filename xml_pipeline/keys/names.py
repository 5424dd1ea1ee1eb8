"""What a key may be called, what it may consist of, and how much of it is shown. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

from xml_pipeline.errors import KeyStoreError
from xml_pipeline.keys.secret import MASK, Secret

SERVICE = "xml-pipeline"
"""Under which the OS keyring has the keys; the name is the user's name there."""

NAME_RULE = "a small letter, then small letters, digits, `_` and `-`, at most 64"
MAX_KEY = 8192
"""Characters; more than any header is taken with."""

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}")
_VARIABLE = "XML_PIPELINE_KEY_"
_SHOWN = 6  # characters of a key in a listing, of one that has four times as many
# What can be nothing but a key: a provider's prefix, then long and with a digit.
_SURELY = re.compile(r"(?:bearer\s+)?(?:(?:sk|xai|gsk|hf|r8)[-_](?=\S*\d)\S{20,}|AIza\S{30,})", re.IGNORECASE)
_WITHIN = re.compile(r"\b(?:(?:sk|pk|rk|xai|gsk|hf|r8)[-_]|AIza)[^\s'\"]{6,}+")


def surely_a_key(text: str) -> bool:
    """Whether a text can be nothing but a provider's key."""
    return bool(_SURELY.fullmatch(text))


def without_keys(text: str) -> str:
    """`text` with a mask for each word that begins as providers' keys do."""
    return _WITHIN.sub(MASK, text)


def checked_name(name: str) -> str:
    """The name of a key.

    Raises:
        KeyStoreError: it is none; it is not told, because it may be the key itself.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name) or surely_a_key(name):
        raise KeyStoreError(
            f"what is given is no name of a key (it is not shown: it may be a key); a name is {NAME_RULE}"
        )
    return name


def sendable(key: object) -> Secret | None:
    """The key without what copying leaves around it; None for what no HTTP header can carry."""
    if not isinstance(key, str):
        return None
    stripped = Secret(key.strip())
    if not stripped.isascii() or not stripped.isprintable() or " " in stripped:
        return None
    return stripped


def checked_key(key: object) -> Secret:
    """A key as it is kept. Raises KeyStoreError, which does not show it."""
    made = sendable(key)
    if made is None:
        raise KeyStoreError(
            "the key holds blanks, control characters or characters beyond ASCII, which no HTTP header can carry;"
            " copy it again"
        )
    if not made:
        raise KeyStoreError("the key is empty; nothing was changed")
    if len(made) > MAX_KEY:
        raise KeyStoreError(f"the key has {len(made):,} characters; a key has at most {MAX_KEY:,}")
    return made


def variable_of(name: str) -> str:
    """The environment variable that goes before all other places."""
    return f"{_VARIABLE}{name.upper().replace('-', '_')}"


def names_in(environ: Mapping[str, str]) -> list[str]:
    """The names of the keys that variables hold."""
    ends = (
        variable.removeprefix(_VARIABLE).lower() for variable in environ if variable.startswith(_VARIABLE)
    )
    return [name for name in ends if _NAME.fullmatch(name) and environ.get(variable_of(name))]


def prefix_of(key: str) -> str:
    """How a key is shown: how it begins, if that tells little of it."""
    return f"{key[:_SHOWN]}…" if len(key) >= 4 * _SHOWN else "…"
