"""One key, encrypted with a passphrase: scrypt (RFC 7914) makes a key of it, AES-256-GCM seals.

Each entry has a salt and a nonce of its own. Half of what scrypt gives is the key, a part of the other half stands
beside the entry, and so tells a wrong passphrase from a damaged entry; a digest of the whole tells damage without a
passphrase. The name and what is shown of the key are sealed with it: no entry can stand in for another.
"""

from __future__ import annotations

import hmac
import os
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, NamedTuple

from xml_pipeline.errors import KeyStoreError
from xml_pipeline.keys.extra import extra
from xml_pipeline.keys.names import checked_key, prefix_of
from xml_pipeline.keys.passphrase import as_bytes
from xml_pipeline.keys.secret import Secret

_SALT, _NONCE, _CHECK = 16, 12, 16  # bytes
_MAX_MEMORY = 1 << 30  # bytes that an entry may make scrypt take; a file that was changed could ask for any


class WrongPassphrase(KeyStoreError):
    """The entry is whole, and the passphrase is not its own."""


class Cost(NamedTuple):
    """What scrypt costs: `128 * n * r` bytes of memory, p times over.

    The default is OWASP's first choice (Password Storage Cheat Sheet): 128 MiB, about half a second.
    """

    n: int = 1 << 17
    r: int = 8
    p: int = 1

    @property
    def bearable(self) -> bool:
        """Whether it is a cost, and one that a machine can bear."""
        power = self.n > 1 and self.n & (self.n - 1) == 0
        return power and self.r > 0 and 0 < self.p <= 16 and 128 * self.n * self.r <= _MAX_MEMORY


@dataclass(frozen=True, slots=True)
class Sealed:
    """An encrypted key.

    Attributes:
        name: of the key.
        shown: what may be shown of it.
        cost: of scrypt.
        salt, nonce: random, of this entry alone.
        check: tells the passphrase.
        box: the key, encrypted.
    """

    name: str
    shown: str
    cost: Cost
    salt: bytes
    nonce: bytes
    check: bytes
    box: bytes

    @property
    def digest(self) -> str:
        """Tells whether all of it is as it was written."""
        parts = (self._about, self.salt, self.nonce, self.check, self.box)
        return sha256(b"".join(len(part).to_bytes(4, "big") + part for part in parts)).hexdigest()

    @property
    def _about(self) -> bytes:
        """What is not secret and may not be changed."""
        return repr(("xml-pipeline", 1, self.name, self.shown, tuple(self.cost))).encode()

    def refuse(self, passphrase: Secret) -> None:
        """Raises WrongPassphrase when it was sealed with another one."""
        self._lock(passphrase)

    def key(self, passphrase: Secret) -> Secret:
        """The key. Raises WrongPassphrase; KeyStoreError when what is sealed was changed."""
        key = self._lock(passphrase).open(self.nonce, self.box, self._about)
        if key is None:
            raise KeyStoreError(
                "the entry was changed since it was written; store the key again with `xp auth set`"
            )
        return checked_key(key)

    def _lock(self, passphrase: Secret) -> _Lock:
        lock = _Lock(passphrase, self.salt, self.cost)
        if not hmac.compare_digest(lock.check, self.check):
            raise WrongPassphrase("the passphrase is another one than the key was stored with")
        return lock


def seal(name: str, key: Secret, passphrase: Secret, cost: Cost) -> Sealed:
    """Encrypt a key. Raises KeyStoreError: `cryptography` is not installed."""
    salt, nonce = os.urandom(_SALT), os.urandom(_NONCE)
    lock = _Lock(passphrase, salt, cost)
    empty = Sealed(name, prefix_of(key), cost, salt, nonce, lock.check, b"")
    return Sealed(name, empty.shown, cost, salt, nonce, lock.check, lock.close(nonce, key, empty._about))


class _Lock:
    """What scrypt makes of a passphrase and a salt; shows nothing of it."""

    __slots__ = ("_aes", "check")

    def __init__(self, passphrase: Secret, salt: bytes, cost: Cost) -> None:
        scrypt: Any = extra("cryptography.hazmat.primitives.kdf.scrypt").Scrypt
        aes: Any = extra("cryptography.hazmat.primitives.ciphers.aead").AESGCM
        try:
            made = _Made(
                scrypt(salt=salt, length=64, n=cost.n, r=cost.r, p=cost.p).derive(as_bytes(passphrase))
            )
        except (ValueError, MemoryError):
            raise KeyStoreError(
                f"scrypt cannot be done here; it takes {128 * cost.n * cost.r >> 20} MiB"
            ) from None
        self._aes = aes(made.value[:32])
        self.check = made.value[32 : 32 + _CHECK]

    def close(self, nonce: bytes, key: Secret, about: bytes) -> bytes:
        return bytes(self._aes.encrypt(nonce, str(key).encode(), about))

    def open(self, nonce: bytes, box: bytes, about: bytes) -> Secret | None:
        """What is sealed; None when it was changed."""
        invalid = extra("cryptography.exceptions").InvalidTag
        try:
            return Secret(self._aes.decrypt(nonce, box, about).decode())
        except (invalid, ValueError):
            return None


class _Made:
    """Bytes that no trace of local variables shows."""

    __slots__ = ("value",)

    def __init__(self, value: bytes) -> None:
        self.value = value
