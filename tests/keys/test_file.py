"""The file of keys: what it gives back, what it refuses, and that no writer harms it."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.console.processes import ROOT
from tests.keys.conftest import CHEAP
from xml_pipeline.errors import KeyStoreError
from xml_pipeline.keys import Secret
from xml_pipeline.keys.file import Damaged, InKeyring, KeyFile
from xml_pipeline.keys.sealed import Cost, Sealed, WrongPassphrase, seal

KEY = Secret("cAn9-Key_w8Vq3Zt7Lp2Xm5Rb")
OTHER = Secret("oTh2-Key_a1Bc3De5Fg7Hi9Jk")
PASSPHRASE = Secret("öffne dich")


def change(file: KeyFile, **parts: Any) -> None:
    """Change parts of the entry `work`."""
    data = json.loads(file.path.read_text())
    data["keys"]["work"].update(parts)
    file.path.write_text(json.dumps(data))


def test_what_is_stored_is_found_and_stands_nowhere(file: KeyFile) -> None:
    file.set("work", KEY, PASSPHRASE)
    file.set("home", OTHER, PASSPHRASE)
    file.note("kept")
    assert file.get("work", PASSPHRASE) == KEY
    assert file.get("home", PASSPHRASE) == OTHER
    assert file.get("kept", PASSPHRASE) is None
    assert file.get("nobody", PASSPHRASE) is None
    written = file.path.read_text()
    assert KEY[7:] not in written
    assert "dich" not in written
    assert '"version": 1' in written
    entries = file.entries()
    assert isinstance(entries["kept"], InKeyring)
    work, home = entries["work"], entries["home"]
    assert isinstance(work, Sealed)
    assert isinstance(home, Sealed)
    assert {work.salt, work.nonce}.isdisjoint({home.salt, home.nonce})


def test_it_is_its_owners_alone(file: KeyFile) -> None:
    before = os.umask(0)
    try:
        file.set("work", KEY, PASSPHRASE)
    finally:
        os.umask(before)
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.path.parent.stat().st_mode) == 0o700


@given(
    st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=100),
    st.text(min_size=1, max_size=40),
)
def test_whatever_the_passphrase(key: str, passphrase: str) -> None:
    if any("\ud800" <= char <= "\udfff" and not "\udc80" <= char <= "\udcff" for char in passphrase):
        return
    sealed = seal("work", Secret(key), Secret(passphrase), CHEAP)
    assert sealed.key(Secret(passphrase)) == key
    with pytest.raises(WrongPassphrase):
        sealed.key(Secret(passphrase + "x"))


def test_a_passphrase_is_the_same_however_its_letters_are_composed(file: KeyFile) -> None:
    file.set("work", KEY, Secret("u\u0308bermut"))
    assert file.get("work", Secret("\u00fcbermut")) == KEY


def test_a_wrong_passphrase_is_told_from_damage(file: KeyFile) -> None:
    file.set("work", KEY, PASSPHRASE)
    with pytest.raises(WrongPassphrase):
        file.get("work", Secret("another"))
    change(file, box="AAAA")
    with pytest.raises(KeyStoreError, match="is damaged; store the key again") as caught:
        file.get("work", PASSPHRASE)
    assert not isinstance(caught.value, WrongPassphrase)


@pytest.mark.parametrize(
    "parts",
    [
        {"salt": "AAAA"},
        {"shown": "sk-other…"},
        {"n": 1 << 40},
        {"n": "many"},
        {"n": 3},
        {"r": -8},
        {"p": 10**9},
        {"nonce": "no base64!"},
        {"digest": None},
        {"in": "nowhere"},
        {"box": None},
    ],
    ids=str,
)
def test_a_changed_entry_is_damaged_and_harms_no_other(file: KeyFile, parts: dict[str, Any]) -> None:
    file.set("work", KEY, PASSPHRASE)
    file.set("home", OTHER, PASSPHRASE)
    change(file, **parts)
    assert isinstance(file.entries()["work"], Damaged)
    assert file.get("home", PASSPHRASE) == OTHER
    file.note("kept")
    assert isinstance(file.entries()["work"], Damaged), "what cannot be read is kept"
    file.set("work", KEY, PASSPHRASE)
    assert file.get("work", PASSPHRASE) == KEY


def test_a_cost_that_nobody_can_bear_is_not_paid(file: KeyFile) -> None:
    file.set("work", KEY, PASSPHRASE)
    entry = file.entries()["work"]
    assert isinstance(entry, Sealed)
    dear = Sealed(entry.name, entry.shown, Cost(1 << 40), entry.salt, entry.nonce, entry.check, entry.box)
    change(file, n=1 << 40, digest=dear.digest)
    assert isinstance(file.entries()["work"], Damaged)


def test_no_entry_stands_in_for_another(file: KeyFile) -> None:
    file.set("work", KEY, PASSPHRASE)
    data = json.loads(file.path.read_text())
    data["keys"]["home"] = data["keys"]["work"]
    file.path.write_text(json.dumps(data))
    assert isinstance(file.entries()["home"], Damaged)
    copied = file.entries()["work"]
    assert isinstance(copied, Sealed)
    forged = Sealed("home", copied.shown, *(getattr(copied, each) for each in Sealed.__slots__[2:]))
    with pytest.raises(KeyStoreError, match="was changed since it was written"):
        forged.key(PASSPHRASE)


def test_one_passphrase_opens_all(file: KeyFile) -> None:
    file.set("work", KEY, PASSPHRASE)
    with pytest.raises(WrongPassphrase, match="have another passphrase; nothing was changed"):
        file.set("home", OTHER, Secret("another"))
    assert list(file.entries()) == ["work"]
    file.set("work", OTHER, Secret("another"))
    assert file.get("work", Secret("another")) == OTHER


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b"\xff", b'{"version": 1}', b'{"version": 1, "keys": []}', b"[" * 10**5]
)
def test_a_damaged_file_is_told_and_never_overwritten(file: KeyFile, data: bytes) -> None:
    file.path.parent.mkdir(mode=0o700)
    file.path.write_bytes(data)
    file.path.chmod(0o600)
    for attempt in (file.entries, lambda: file.set("work", KEY, PASSPHRASE), lambda: file.remove("work")):
        with pytest.raises(KeyStoreError, match="is damaged"):
            attempt()
    assert file.path.read_bytes() == data


def test_a_file_of_a_later_version_is_left_alone(file: KeyFile) -> None:
    file.set("work", KEY, PASSPHRASE)
    file.path.write_text(file.path.read_text().replace('"version": 1', '"version": 2'))
    with pytest.raises(KeyStoreError, match="knows version 1"):
        file.get("work", PASSPHRASE)


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="permissions of POSIX")
def test_what_others_may_write_is_refused(file: KeyFile) -> None:
    file.set("work", KEY, PASSPHRASE)
    for path, mode in ((file.path.parent, 0o770), (file.path.parent, 0o707), (file.path, 0o620)):
        before = stat.S_IMODE(path.stat().st_mode)
        path.chmod(mode)
        for attempt in (lambda: file.get("work", PASSPHRASE), lambda: file.set("home", OTHER, PASSPHRASE)):
            with pytest.raises(KeyStoreError, match=r"others may write to .*chmod go-w"):
                attempt()
        path.chmod(before)
    assert file.get("work", PASSPHRASE) == KEY


def test_what_is_no_file_is_refused(file: KeyFile) -> None:
    file.path.parent.mkdir(mode=0o700)
    os.mkfifo(file.path, 0o600)
    with pytest.raises(KeyStoreError, match="it is a pipe"):
        file.entries()


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "there").write_text("")
    with pytest.raises(KeyStoreError, match="cannot be"):
        KeyFile(tmp_path / "there" / "keys.json").set("work", KEY, PASSPHRASE)


def test_a_writer_that_does_not_end_is_not_waited_for_without_end(file: KeyFile) -> None:
    file.set("work", KEY, PASSPHRASE)
    impatient = KeyFile(file.path, CHEAP, seconds=0.1)
    with file._alone(), pytest.raises(KeyStoreError, match=r"has been writing .* for 0\.1 s"):
        impatient.set("home", OTHER, PASSPHRASE)
    impatient.set("home", OTHER, PASSPHRASE)


def writer(file: KeyFile, name: str, key: str, place: int = 0) -> subprocess.Popen[bytes]:
    """A process that stores a key, and dies at the n-th place of doing so."""
    arguments = (str(file.path), name, key, PASSPHRASE, str(place))
    return subprocess.Popen([sys.executable, "-m", "tests.keys.writers", *arguments], cwd=ROOT)


def test_many_writers_at_once_lose_nothing(file: KeyFile) -> None:
    wanted = {f"key{number}": f"{KEY}{number}" for number in range(4)}
    writers = [writer(file, name, key) for name, key in wanted.items()]
    assert [each.wait(50) for each in writers] == [0] * 4
    assert {name: file.get(name, PASSPHRASE) for name in file.entries()} == wanted


def test_a_death_at_each_place_leaves_the_old_file_or_the_new_one(file: KeyFile) -> None:
    file.set("work", KEY, PASSPHRASE)
    place, died, seen = 0, True, set()
    while died:
        place += 1
        died = writer(file, "home", OTHER, place).wait(50) == -9
        assert file.get("work", PASSPHRASE) == KEY
        home = file.get("home", PASSPHRASE)
        seen.add(home)
        assert home in (None, OTHER)
    assert place > 4
    assert seen == {None, OTHER}
    assert not list(file.path.parent.glob("*.new"))


def test_no_trace_shows_a_key_or_a_passphrase(file: KeyFile) -> None:
    file.set("work", KEY, PASSPHRASE)
    entry = file.entries()["work"]
    assert isinstance(entry, Sealed)
    broken = Sealed(entry.name, entry.shown, entry.cost, entry.salt, entry.nonce, entry.check, b"x" * 40)
    attempts = (
        lambda: file.get("work", Secret("another secret word")),
        lambda: file.set("home", KEY, Secret("another secret word")),
        lambda: broken.key(PASSPHRASE),
        lambda: file.set("../home", KEY, PASSPHRASE),
    )
    for attempt in attempts:
        with pytest.raises(KeyStoreError) as caught:
            attempt()
        trace = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
        shown = "".join(repr(each.locals) for each in trace.stack if "/xml_pipeline/" in each.filename)
        for secret in (KEY, PASSPHRASE, "another secret word"):
            assert secret not in shown
            assert secret not in str(caught.value)
