"""Who is let in: whoever knows the secret, just now, for this id and this body."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xml_pipeline.triggers.signature import (
    WINDOW,
    BadSecret,
    Delivery,
    delivery_of,
    is_genuine,
    key_of,
    signature,
)

KEY = b"0123456789abcdef01234567"
BODY = b'{"test": 2432232314}'
NOW = 1_614_265_330.0


def delivery(**changed: str) -> Delivery:
    id = changed.get("id", "msg_p5jXN8AQM9LWM0D4loKWxJek")
    sent = changed.get("sent", "1614265330")
    return Delivery(id, sent, changed.get("signatures", signature(id, sent, BODY, KEY)))


def test_the_published_example() -> None:
    # The example of the specification's libraries.
    key = key_of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    made = signature("msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", BODY, key)
    assert made == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_what_was_signed_is_genuine() -> None:
    assert is_genuine(delivery(), BODY, KEY, NOW)
    several = f"v1,AAAA v2,xx {delivery().signatures}"
    assert is_genuine(delivery(signatures=several), BODY, KEY, NOW)


@pytest.mark.parametrize("off", [-WINDOW, 0.0, WINDOW])
def test_within_the_window(off: float) -> None:
    assert is_genuine(delivery(), BODY, KEY, NOW + off)


@pytest.mark.parametrize("off", [-WINDOW - 1, WINDOW + 1, 86_400.0])
def test_outside_of_the_window(off: float) -> None:
    assert not is_genuine(delivery(), BODY, KEY, NOW + off)


@pytest.mark.parametrize(
    ("changed", "body", "key"),
    [
        ({"id": "another"}, BODY, KEY),
        ({"sent": "1614265331"}, BODY, KEY),
        ({}, BODY + b" ", KEY),
        ({}, b"", KEY),
        ({}, BODY, KEY + b"x"),
    ],
)
def test_one_thing_is_another(changed: dict[str, str], body: bytes, key: bytes) -> None:
    real = delivery()
    assert not is_genuine(delivery(signatures=real.signatures, **changed), body, key, NOW)


@given(st.text(max_size=60), st.text(max_size=20))
def test_nobody_guesses_it(signatures: str, sent: str) -> None:
    assert not is_genuine(delivery(signatures=signatures), BODY, KEY, NOW)
    assert not is_genuine(Delivery("a", sent, signatures), BODY, KEY, NOW)


@pytest.mark.parametrize(
    "sent", ["", "-5", "1e9", "1614265330.0", "١٦١٤٢٦٥٣٣٠", "9" * 400, "0x10", " 1614265330"]
)
def test_a_time_is_whole_seconds(sent: str) -> None:
    assert not is_genuine(delivery(sent=sent), BODY, KEY, NOW)


@pytest.mark.parametrize("id", ["", "x" * 201, "a b", "ä", "a\tb"])
def test_an_id_is_a_short_printable_word(id: str) -> None:
    headers: Any = {"webhook-id": id, "webhook-timestamp": "1", "webhook-signature": "v1,x"}
    assert delivery_of(headers) is None


def test_keys() -> None:
    assert key_of("whsec_" + base64.b64encode(KEY).decode()) == KEY
    assert key_of(KEY.decode()) == KEY
    for bad in ("", "short", "whsec_", "whsec_???", "whsec_" + base64.b64encode(b"short").decode()):
        with pytest.raises(BadSecret) as caught:
            key_of(bad)
        assert "short" not in str(caught.value)
