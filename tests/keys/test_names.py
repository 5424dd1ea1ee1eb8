"""What a key may be called and consist of; errors and listings show neither."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xml_pipeline.errors import KeyStoreError
from xml_pipeline.keys import Secret
from xml_pipeline.keys.names import (
    MAX_KEY,
    checked_key,
    checked_name,
    prefix_of,
    sendable,
    variable_of,
    without_keys,
)

KEY = "sk-ant-cAn9Key0w8Vq3Zt7Lp2Xm5Rb"


@pytest.mark.parametrize("name", ["work", "openai_key", "xai-work", "a", "a" * 64, "sk-team"])
def test_a_name(name: str) -> None:
    assert checked_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        *("", "Work", "a/b", "../a", "a\n", "a\x00", "\x1b[2J", "a b", "ä", "1a", "a" * 65, "a.b", "\ud800"),
        *(KEY, "sk-0123456789abcdef0123456789"),
    ],
)
def test_what_is_no_name_is_refused_and_not_shown(name: str) -> None:
    with pytest.raises(KeyStoreError, match="no name of a key") as caught:
        checked_name(name)
    assert len(name) < 2 or name not in str(caught.value)


def test_the_variable_of_a_name() -> None:
    assert variable_of("openai-work_2") == "XML_PIPELINE_KEY_OPENAI_WORK_2"


@pytest.mark.parametrize("around", ["{}", " {}\n", "\t{}\r\n"])
def test_what_copying_leaves_around_a_key_goes(around: str) -> None:
    assert checked_key(around.format(KEY)) == KEY


@pytest.mark.parametrize(
    ("key", "says"),
    [
        *((bad, "no HTTP header") for bad in ("a b", "a\nb", "a\x00b", "ключ", "a\x7f", "a\ud800", b"a", None, 5)),
        *((empty, "is empty") for empty in ("", " \n")),
        ("k" * (MAX_KEY + 1), "8,193 characters"),
        ("k" * 1_000_000, "1,000,000 characters"),
    ],
)  # fmt: skip
def test_what_is_no_key_is_refused(key: object, says: str) -> None:
    with pytest.raises(KeyStoreError, match=says):
        checked_key(key)


@given(st.text())
def test_what_is_sent_is_printable_ascii(text: str) -> None:
    made = sendable(text)
    assert made is None or all(33 <= ord(char) < 127 for char in made)


@given(st.text(min_size=1, max_size=200))
def test_a_listing_shows_a_quarter_at_most_and_never_eight_characters(key: str) -> None:
    shown = prefix_of(key).removesuffix("…")
    assert key.startswith(shown)
    assert len(shown) <= min(7, len(key) // 4)


def test_a_command_line_error_quotes_no_key() -> None:
    assert without_keys(f"unrecognized arguments: --kee={KEY}") == "unrecognized arguments: --kee=***"
    assert without_keys("invalid choice: 'lisst'") == "invalid choice: 'lisst'"


def test_a_secret_shows_nothing() -> None:
    assert repr([Secret(KEY)]) == "[Secret('***')]"
