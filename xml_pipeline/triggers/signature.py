"""Who may fire a webhook: whoever signs its deliveries as Standard Webhooks say.

The signature is the HMAC-SHA256 of `ID.TIMESTAMP.BODY`, so neither the body nor the id nor the time can be another
one (https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md).
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256

ID, TIMESTAMP, SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"
WINDOW = 300.0
"""Seconds by which the time of a delivery may differ from ours."""
SHORTEST = 24
"""Bytes of a secret."""

_PREFIX = "whsec_"
_VERSION = "v1"
_LONGEST_ID = 200
_MOST_SIGNATURES = 10  # a provider that changes its secret sends a few


class BadSecret(Exception):
    """Why a secret is none."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """What is to be known of a delivery before its body is.

    Attributes:
        id: names it, whenever it is sent.
        sent: when, as it was written.
        signatures: of it, as they were written.
    """

    id: str
    sent: str
    signatures: str


def delivery_of(headers: Mapping[str, str]) -> Delivery | None:
    """What these headers say of a delivery; None where they do not say all of it."""
    found = Delivery(*(headers.get(name, "") for name in (ID, TIMESTAMP, SIGNATURE)))
    printable = all(0x20 < ord(each) < 0x7F for each in found.id)
    return found if found.id and printable and len(found.id) <= _LONGEST_ID and found.sent else None


def is_genuine(delivery: Delivery, body: bytes, key: bytes, now: float) -> bool:
    """Whether whoever knows the secret has sent this just now; it takes as long for every wrong signature.

    Args:
        delivery: what its headers say.
        body: as it came.
        key: the bytes of the secret.
        now: in seconds of Unix time.
    """
    sent = delivery.sent
    if not (sent.isascii() and sent.isdigit() and len(sent) <= 12 and abs(now - int(sent)) <= WINDOW):
        return False
    expected = signature(delivery.id, sent, body, key).encode()
    given = delivery.signatures.split(" ")[:_MOST_SIGNATURES]
    same = [hmac.compare_digest(each.encode("utf-8", "replace"), expected) for each in given]
    return any(same)


def signature(id: str, sent: str, body: bytes, key: bytes) -> str:
    """The signature of a delivery, as its header holds it."""
    digest = hmac.digest(key, f"{id}.{sent}.".encode() + body, sha256)
    return f"{_VERSION},{base64.b64encode(digest).decode()}"


def key_of(secret: str) -> bytes:
    """The bytes of a secret: `whsec_` and base64, or any other text as it is. Raises BadSecret."""
    if secret.startswith(_PREFIX):
        try:
            key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
        except (binascii.Error, ValueError):
            raise BadSecret(f"what follows `{_PREFIX}` is no base64") from None
    else:
        key = secret.encode("utf-8", "surrogateescape")
    if len(key) < SHORTEST:
        raise BadSecret(f"it has {len(key)} bytes, and {SHORTEST} are needed")
    return key
