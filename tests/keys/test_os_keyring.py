"""Keyrings of every kind: one that works, none, and those that hang, raise, or answer nonsense."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
from keyring.backend import KeyringBackend
from keyring.backends import fail, null

from tests.console.processes import ROOT
from tests.keys.backends import (
    ExitingKeyring,
    ForgetfulKeyring,
    HangingKeyring,
    LockedKeyring,
    MemoryKeyring,
    NonsenseKeyring,
)
from xml_pipeline.errors import KeyStoreError
from xml_pipeline.keys import Secret
from xml_pipeline.keys.os_keyring import NoKeyring, OSKeyring

KEY = Secret("cAn9-Key_w8Vq3Zt7Lp2Xm5Rb")
Use = Callable[[KeyringBackend], None]


def test_what_is_kept_is_found_under_the_usual_names(memory: MemoryKeyring) -> None:
    keyring = OSKeyring()
    assert keyring.get("work") is None
    keyring.set("work", KEY)
    assert memory.held == {("xml-pipeline", "work"): KEY}
    assert keyring.get("work") == KEY
    assert keyring.remove("work")
    assert not keyring.remove("work")


def test_no_keyring_is_told_apart(use_keyring: Use) -> None:
    use_keyring(fail.Keyring())
    for attempt in (lambda: OSKeyring().get("work"), lambda: OSKeyring().set("work", KEY)):
        with pytest.raises(NoKeyring, match="there is none on this machine"):
            attempt()
    use_keyring(null.Keyring())
    assert OSKeyring().get("work") is None
    with pytest.raises(KeyStoreError, match="gives another one, or none, back"):
        OSKeyring().set("work", KEY)


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        (LockedKeyring, "it raised KeyringLocked"),
        (ExitingKeyring, "it raised SystemExit"),
        (ForgetfulKeyring, "gives another one, or none, back"),
        (NonsenseKeyring, "no key that can be sent"),
    ],
)
def test_what_goes_wrong_is_told_and_shows_no_key(
    use_keyring: Use, kind: type[KeyringBackend], says: str, capfd: pytest.CaptureFixture[str]
) -> None:
    use_keyring(kind())
    with pytest.raises(KeyStoreError, match=says) as caught:
        OSKeyring().set("work", KEY)
    assert KEY not in str(caught.value)
    assert "".join(capfd.readouterr()) == ""


@pytest.mark.parametrize(
    "answer",
    [b"key", 5, ["key"], "", " ", "two words", "ключ", "k" * 1_000_000],
    ids=lambda one: repr(one)[:9],
)
def test_what_is_no_key_is_not_taken_for_one(use_keyring: Use, answer: Any) -> None:
    nonsense = NonsenseKeyring()
    nonsense.answer = answer
    use_keyring(nonsense)
    with pytest.raises(KeyStoreError, match="store it again"):
        OSKeyring().get("work")


def test_one_that_hangs_is_waited_for_once(use_keyring: Use) -> None:
    use_keyring(HangingKeyring())
    keyring = OSKeyring(seconds=0.1)
    for attempt in (lambda: keyring.get("a"), lambda: keyring.set("a", KEY), lambda: keyring.remove("b")):
        with pytest.raises(KeyStoreError, match=r"did not answer within 0\.1 s"):
            attempt()
    keyring = OSKeyring(seconds=30)
    before = time.monotonic()
    keyring._silent.set()
    with pytest.raises(KeyStoreError):
        keyring.get("a")
    assert time.monotonic() - before < 20


def test_a_program_ends_although_its_keyring_hangs() -> None:
    code = (
        "import keyring\nfrom tests.keys.backends import HangingKeyring\nfrom xml_pipeline.keys.os_keyring import *\n"
        "keyring.set_keyring(HangingKeyring())\n"
        "try: OSKeyring(seconds=0.1).get('a')\nexcept Exception as error: print(type(error).__name__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=50, check=True
    )
    assert done.stdout == "KeyStoreError\n"


def test_without_the_packages_it_is_said_what_to_install() -> None:
    code = (
        "import sys\nsys.modules['keyring'] = sys.modules['cryptography'] = None\n"
        "from xml_pipeline.keys.keys import Keys\nfrom xml_pipeline.keys.secret import Secret\n"
        "from xml_pipeline.errors import KeyStoreError\nkeys = Keys({'XDG_CONFIG_HOME': '/nowhere'})\n"
        "try: keys.find('work')\nexcept KeyStoreError as error: print(error)\n"
        "from xml_pipeline.keys.sealed import *\n"
        "try: seal('work', Secret('k'), Secret('p'), Cost())\nexcept KeyStoreError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=50, check=True
    )
    asked, sealed = done.stdout.splitlines()
    for package, text in (("keyring", asked), ("cryptography", sealed)):
        assert f"the package {package} is not installed: pip install 'xml-pipeline[keys]'" in text
