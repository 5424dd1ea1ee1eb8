"""The order of the three places, and the error that names them."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
from keyring.backend import KeyringBackend
from keyring.backends import fail

from tests.keys.backends import HangingKeyring, LockedKeyring, MemoryKeyring
from xml_pipeline.errors import KeyStoreError
from xml_pipeline.keys import Secret
from xml_pipeline.keys.file import KeyFile
from xml_pipeline.keys.keys import Found, Keys
from xml_pipeline.keys.os_keyring import OSKeyring
from xml_pipeline.keys.sealed import WrongPassphrase

ENVIRONMENT, KEYRING, FILE = (Secret(f"key-in-{place}-w8Vq3Zt7Lp2Xm5Rb") for place in ("env", "ring", "file"))
PASSPHRASE = Secret("öffne dich")
VARIABLES = {"XML_PIPELINE_KEY_WORK": f" {ENVIRONMENT}\n", "XML_PIPELINE_PASSPHRASE": PASSPHRASE}
Use = Callable[[KeyringBackend], None]


def without(*names: str) -> dict[str, str]:
    return {name: value for name, value in VARIABLES.items() if name not in names}


def test_the_environment_goes_before_the_keyring_and_that_before_the_file(
    memory: MemoryKeyring, file: KeyFile
) -> None:
    memory.set_password("xml-pipeline", "work", KEYRING)
    file.set("work", FILE, PASSPHRASE)
    assert Keys(VARIABLES, file=file).find("work") == Found(ENVIRONMENT, "environment")
    assert memory.asked == [], "nobody is asked who need not be"
    rest = without("XML_PIPELINE_KEY_WORK")
    assert Keys(rest, file=file).find("work") == Found(KEYRING, "keyring")
    memory.held.clear()
    assert Keys(rest, file=file).find("work") == Found(FILE, "file")


@pytest.mark.parametrize("kind", [fail.Keyring, LockedKeyring, HangingKeyring])
def test_a_keyring_that_fails_does_not_hide_the_file(
    use_keyring: Use, file: KeyFile, kind: type[KeyringBackend]
) -> None:
    use_keyring(kind())
    file.set("work", FILE, PASSPHRASE)
    keys = Keys(without("XML_PIPELINE_KEY_WORK"), keyring=OSKeyring(seconds=0.1), file=file)
    assert keys.find("work") == Found(FILE, "file")


def test_a_key_that_is_nowhere_names_all_three_places(use_keyring: Use, file: KeyFile) -> None:
    use_keyring(LockedKeyring())
    with pytest.raises(KeyStoreError) as caught:
        Keys({}, file=file).find("work")
    assert str(caught.value) == (
        "the key 'work' is nowhere to be had (environment: XML_PIPELINE_KEY_WORK is not set; keyring: it raised"
        " KeyringLocked; file: it is not there). Store it with `xp auth set work`, or set XML_PIPELINE_KEY_WORK"
    )


def test_a_passphrase_that_is_missing_or_wrong_is_told(memory: MemoryKeyring, file: KeyFile) -> None:
    file.set("work", FILE, PASSPHRASE)
    with pytest.raises(KeyStoreError, match="its passphrase is not: set XML_PIPELINE_PASSPHRASE"):
        Keys({}, file=file).find("work")
    with pytest.raises(KeyStoreError, match="the passphrase is another one"):
        Keys({"XML_PIPELINE_PASSPHRASE": "wrong"}, file=file).find("work")


def test_what_a_person_types_opens_the_file(memory: MemoryKeyring, file: KeyFile) -> None:
    file.set("work", FILE, PASSPHRASE)
    keys = Keys({}, file=file)
    assert keys.locked(["other", "work"]) == "work"
    with pytest.raises(WrongPassphrase):
        keys.unlock("work", Secret("wrong"))
    keys.unlock("work", PASSPHRASE)
    assert keys.locked(["work"]) == ""
    assert keys.find("work").key == FILE
    assert Keys(VARIABLES, file=file).locked(["work"]) == ""
    assert Keys({"XML_PIPELINE_KEY_WORK": "k"}, file=file).locked(["work"]) == ""


def test_a_variable_that_holds_no_key_is_told_and_not_shown(memory: MemoryKeyring, file: KeyFile) -> None:
    with pytest.raises(KeyStoreError, match="XML_PIPELINE_KEY_WORK holds blanks") as caught:
        Keys({"XML_PIPELINE_KEY_WORK": f"{ENVIRONMENT} {ENVIRONMENT}"}, file=file).find("work")
    assert ENVIRONMENT not in str(caught.value)


def test_a_key_is_kept_in_one_place(memory: MemoryKeyring, file: KeyFile) -> None:
    keys = Keys(without("XML_PIPELINE_KEY_WORK"), file=file)
    assert keys.store_in_file("work", FILE, PASSPHRASE) == ""
    assert keys.store_in_keyring("work", KEYRING) == ""
    assert keys.find("work") == Found(KEYRING, "keyring")
    assert file.get("work", PASSPHRASE) is None
    keys.store_in_file("work", FILE, PASSPHRASE)
    assert memory.held == {}
    assert keys.find("work") == Found(FILE, "file")


def test_a_keyring_that_may_still_have_another_key_is_told(use_keyring: Use, file: KeyFile) -> None:
    use_keyring(LockedKeyring())
    assert Keys({}, file=file).store_in_file("work", FILE, PASSPHRASE) == "it raised KeyringLocked"
    use_keyring(fail.Keyring())
    assert Keys({}, file=file).store_in_file("work", FILE, PASSPHRASE) == ""


def test_listings_show_how_a_key_begins(memory: MemoryKeyring, file: KeyFile) -> None:
    keys = Keys(VARIABLES, file=file)
    keys.store_in_keyring("ring", KEYRING)
    keys.store_in_file("kept", FILE, PASSPHRASE)
    keys.store_in_keyring("gone", KEYRING)
    memory.delete_password("xml-pipeline", "gone")
    found = [keys.listed(name) for name in keys.names()]
    assert [(each.name, each.place, each.shown) for each in found] == [
        ("gone", "", ""),
        ("kept", "file", "key-in…"),
        ("ring", "keyring", "key-in…"),
        ("work", "environment", "key-in…"),
    ]


def test_a_variable_is_listed_by_the_name_that_it_serves(memory: MemoryKeyring, file: KeyFile) -> None:
    variables = {
        "XML_PIPELINE_KEY_OPEN_AI": ENVIRONMENT,
        "XML_PIPELINE_KEY_HOME": ENVIRONMENT,
        "XML_PIPELINE_KEY_EMPTY": "",
        "XML_PIPELINE_KEY_small": ENVIRONMENT,
        "XML_PIPELINE_KEY_": ENVIRONMENT,
        "XML_PIPELINE_KEY_a\x1b": ENVIRONMENT,
    }
    keys = Keys(variables, file=file)
    keys.store_in_keyring("open-ai", KEYRING)
    assert [(each, keys.listed(each).place) for each in keys.names()] == [
        ("home", "environment"),
        ("open-ai", "environment"),
    ]


def test_a_file_that_is_damaged_keeps_nobody_from_the_keyring(memory: MemoryKeyring, file: KeyFile) -> None:
    file.note("other")
    file.path.write_text("{")
    keys = Keys({}, file=file)
    assert "is damaged" in keys.store_in_keyring("work", KEYRING)
    assert keys.locked(["work"]) == ""
    assert keys.find("work") == Found(KEYRING, "keyring")
    with pytest.raises(KeyStoreError, match=r"keyring: it is not there; file: .* is damaged"):
        keys.find("nobody")


def test_what_is_removed_is_gone(memory: MemoryKeyring, file: KeyFile) -> None:
    keys = Keys({}, file=file)
    keys.store_in_keyring("ring", KEYRING)
    keys.store_in_file("kept", FILE, PASSPHRASE)
    assert keys.remove("ring") == ["keyring"]
    assert keys.remove("kept") == ["file"]
    assert keys.remove("kept") == []
    assert keys.names() == []
    assert memory.held == {}


def test_a_keyring_that_cannot_be_asked_may_have_it_still(use_keyring: Use, file: KeyFile) -> None:
    use_keyring(LockedKeyring())
    keys = Keys({}, file=file)
    file.note("ring")
    with pytest.raises(KeyStoreError, match="the keyring cannot be asked to forget 'ring'"):
        keys.remove("ring")
    assert keys.names() == ["ring"]
    file.set("kept", FILE, PASSPHRASE)
    assert keys.remove("kept") == ["file"]


def test_where_the_file_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Keys({"XDG_CONFIG_HOME": str(tmp_path)}).file.path == tmp_path / "xml-pipeline" / "keys.json"
    monkeypatch.setenv("HOME", str(tmp_path))
    for variables in ({}, {"XDG_CONFIG_HOME": ""}, {"XDG_CONFIG_HOME": "not/absolute"}):
        assert Keys(variables).file.path == tmp_path / ".config" / "xml-pipeline" / "keys.json"
    monkeypatch.setenv("HOME", "not/absolute")
    with pytest.raises(KeyStoreError, match="set XDG_CONFIG_HOME"):
        _ = Keys({}).file
    assert "XML_PIPELINE_KEY_WORK in the environment, the keyring, the file" in Keys({}).places("work")


def test_no_repr_and_no_trace_shows_a_key(memory: MemoryKeyring, file: KeyFile) -> None:
    file.set("work", FILE, PASSPHRASE)
    keys = Keys(VARIABLES, file=file)
    for each in (keys, keys.find("work"), keys.listed("work"), file, vars(file), file.entries()):
        for secret in (ENVIRONMENT, FILE, PASSPHRASE):
            assert secret not in repr(each)
    with pytest.raises(KeyStoreError) as caught:
        Keys({"XML_PIPELINE_PASSPHRASE": "wrong secret words"}, file=file).find("work")
    trace = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    shown = "".join(repr(each.locals) for each in trace.stack if "/xml_pipeline/" in each.filename)
    assert "wrong secret words" not in shown + str(caught.value)
