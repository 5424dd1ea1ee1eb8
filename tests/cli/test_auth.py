"""`auth set`, `auth list`, `auth remove`: no key on the command line, none on the screen."""

from __future__ import annotations

import io
import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from keyring.backend import KeyringBackend

from tests.cli.conftest import XP, Done
from tests.console.processes import ROOT, environment, run
from tests.keys.backends import FOLDER, HangingKeyring, LockedKeyring, MemoryKeyring
from xml_pipeline.keys import Secret
from xml_pipeline.keys.file import KeyFile
from xml_pipeline.keys.sealed import Cost

KEY = "sk-ant-cAn9Key0w8Vq3Zt7Lp2Xm5Rb"
PASSPHRASE = "öffne dich, sesam"
ORGANISM = """\
organism: {name: probe}
llm:
  backends:
    - {provider: openai, name: here, base_url: "http://127.0.0.1:9/v1", supported_models: [m], api_key_ref: work}
    - {provider: anthropic, api_key_ref: other}
    - {provider: xai}
"""
Xp = Callable[..., Done]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "organism.yaml").write_text(ORGANISM)
    return tmp_path


@pytest.fixture
def store(xp: Xp, monkeypatch: pytest.MonkeyPatch) -> Xp:
    """`auth set … -` with the first argument piped into it; nothing of a good key may show."""

    def call(key: str | bytes, *arguments: str) -> Done:
        data = key if isinstance(key, bytes) else key.encode()
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
        done = xp("auth", "set", *arguments, "-")
        assert KEY[7:] not in done.stdout + done.stderr
        return done

    return call


def keys(folder: Path) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = json.loads((folder / "xml-pipeline" / "keys.json").read_text())["keys"]
    return found


def test_a_key_goes_into_the_keyring_and_is_listed_by_how_it_begins(
    store: Xp, xp: Xp, memory: MemoryKeyring, folder: Path
) -> None:
    done = store(f"  {KEY}\n", "work")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "work (sk-ant…) is in the keyring; backends use it with `api_key_ref: work`\n"
    assert memory.held == {("xml-pipeline", "work"): KEY}
    assert keys(folder) == {"work": {"in": "keyring"}}
    assert [row.split() for row in xp("auth", "list").stdout.splitlines()[1:]] == [
        ["work", "keyring", "sk-ant…"]
    ]
    assert xp("auth", "remove", "work").stdout == "work is removed (keyring)\n"
    assert memory.held == {}
    assert xp("auth", "list").stdout == "no keys are stored; `xp auth set NAME` stores one\n"


@pytest.mark.parametrize("kind", [None, LockedKeyring, HangingKeyring])
def test_where_there_is_no_keyring_it_goes_into_the_file(
    store: Xp,
    xp: Xp,
    use_keyring: Callable[[KeyringBackend], None],
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: type[KeyringBackend] | None,
) -> None:
    if kind is not None:
        use_keyring(kind())
    monkeypatch.setenv("XML_PIPELINE_PASSPHRASE", PASSPHRASE)
    done = store(KEY, "work")
    assert done.returncode == 0
    path = folder / "xml-pipeline" / "keys.json"
    assert f"is in {path}" in done.stdout
    assert "not in the keyring (" in done.stderr
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert KEY[7:] not in path.read_text()
    if kind is not HangingKeyring:  # which each command would wait for
        assert xp("auth", "list").stdout.splitlines()[1].split()[:3] == ["work", "file", "sk-ant…"]
        assert xp("auth", "remove", "work").stdout == "work is removed (file)\n"


def test_it_goes_into_the_file_where_that_is_asked_for(
    store: Xp, memory: MemoryKeyring, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XML_PIPELINE_PASSPHRASE", PASSPHRASE)
    store(KEY, "work")
    assert store(KEY, "--file", "work").returncode == 0
    assert keys(folder)["work"]["in"] == "file"
    assert memory.held == {}, "the one in the keyring would be found first"


@pytest.mark.parametrize(
    "arguments",
    [
        ("work", KEY),
        ("work", "--key", KEY),
        ("work", f"--key={KEY}"),
        ("--key", KEY, "work"),
        (f"--key={KEY}", "work"),
        ("work", "-", KEY),
        ("work", "--file", KEY),
        ("work", f"--kye={KEY}"),
        (f"--kye={KEY}", "work"),
        (KEY,),
        (KEY, "-"),
    ],
    ids=lambda each: " ".join(each).replace(KEY, "KEY"),
)
def test_a_key_on_the_command_line_is_refused_and_not_repeated(
    xp: Xp, memory: MemoryKeyring, arguments: tuple[str, ...]
) -> None:
    done = xp("auth", "set", *arguments)
    assert done.returncode in (1, 2)
    assert KEY[7:] not in done.stdout + done.stderr
    assert memory.held == {}
    if done.returncode == 1:
        assert "history" in done.stderr or "no name of a key" in done.stderr


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ("", "the key is empty"),
        ("\n", "the key is empty"),
        (f"{KEY}\n{KEY}", "no HTTP header can carry"),
        (f"{KEY}\0", "no HTTP header can carry"),
        (b"\xff\xfe" + KEY.encode(), "is no text"),
        ("k" * 1_000_000, "a key has at most 8,192"),
    ],
    ids=["empty", "blank", "two", "NUL", "no text", "1 MB"],
)
def test_what_is_no_key_changes_nothing(
    store: Xp, memory: MemoryKeyring, folder: Path, key: str | bytes, says: str
) -> None:
    done = store(key, "work")
    assert (done.returncode, done.stdout) == (1, "")
    assert says in done.stderr
    assert memory.held == {}
    assert not (folder / "xml-pipeline").exists()


@pytest.mark.parametrize("name", ["a/b", "../x", "", "A", "a\x1b[2J", "a\n", "a" * 65])
def test_what_is_no_name_is_refused(store: Xp, xp: Xp, memory: MemoryKeyring, name: str) -> None:
    for done in (store(KEY, name), xp("auth", "remove", name)):
        assert done.returncode == 1
        assert "a name is a small letter" in done.stderr
        assert "\x1b" not in done.stderr


def test_a_file_without_a_passphrase_says_what_to_set(store: Xp, folder: Path) -> None:
    done = store(KEY, "work")
    assert done.returncode == 1
    assert "set XML_PIPELINE_PASSPHRASE" in done.stderr


def test_without_a_terminal_nobody_is_asked(xp: Xp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(KEY))
    assert "pipe the key into `xp auth set work -`" in xp("auth", "set", "work").stderr


def test_what_is_not_there_is_told_with_what_is(store: Xp, xp: Xp, memory: MemoryKeyring) -> None:
    store(KEY, "work")
    done = xp("auth", "remove", "wrk")
    assert done.returncode == 1
    assert "no stored key 'wrk'; there are work; did you mean 'work'?" in done.stderr


def test_a_variable_that_goes_before_it_is_told(
    store: Xp, xp: Xp, memory: MemoryKeyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XML_PIPELINE_KEY_WORK", "xai-environment-0123456789")
    assert "XML_PIPELINE_KEY_WORK is set here, and goes before it" in store(KEY, "work").stdout
    assert xp("auth", "list").stdout.splitlines()[1].split() == ["work", "environment", "xai-en…"]
    assert "XML_PIPELINE_KEY_WORK is set here, and still holds a key" in xp("auth", "remove", "work").stdout


def test_llm_list_tells_where_each_key_is(
    store: Xp, xp: Xp, memory: MemoryKeyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    def listed() -> list[str]:
        done = xp("llm", "list")
        assert done.returncode == 0
        return [" ".join(row.split()) for row in done.stdout.partition("\n\n")[0].splitlines()[1:]]

    here, other, xai = listed()
    assert "missing: xp auth set work" in here
    assert "missing: xp auth set other" in other
    assert "missing: set XAI_API_KEY" in xai
    store(KEY, "work")
    monkeypatch.setenv("XML_PIPELINE_PASSPHRASE", PASSPHRASE)
    store(KEY, "--file", "other")
    monkeypatch.setenv("XAI_API_KEY", KEY)
    monkeypatch.delenv("XML_PIPELINE_PASSPHRASE")
    here, other, xai = listed()
    assert "present in keyring (work)" in here
    assert "present in file (other)" in other
    assert "present in environment (XAI_API_KEY)" in xai
    monkeypatch.setenv("XML_PIPELINE_KEY_WORK", KEY)
    assert "present in environment (XML_PIPELINE_KEY_WORK)" in listed()[0]


def test_check_says_where_a_key_will_be_looked_for_and_asks_nobody(
    xp: Xp, use_keyring: Callable[[KeyringBackend], None], folder: Path
) -> None:
    use_keyring(keyring := MemoryKeyring())
    for options in ((), ("--no-import",)):
        done = xp("check", *options)
        assert done.returncode == 0
        assert "without a key: set XAI_API_KEY)" in done.stdout
        path = folder / "xml-pipeline" / "keys.json"
        assert (
            "note: the key 'work' of here is looked for when it is used: XML_PIPELINE_KEY_WORK in the environment,"
            f" the keyring, {path}\n"
        ) in done.stdout
    assert keyring.asked == []


def test_a_literal_key_as_a_reference_is_refused_and_not_shown(xp: Xp, folder: Path) -> None:
    for written, says in (
        (KEY.lower(), "api_key_ref: holds a key"),
        (KEY, "holds a key"),
        ("OPENAI_API_KEY", "a name is a small letter"),
    ):
        (folder / "organism.yaml").write_text(ORGANISM.replace("work}", f"{written}}}"))
        done = xp("check")
        assert done.returncode == 1
        assert says in done.stderr
        assert KEY[7:].lower() not in done.stderr.lower()
    (folder / "organism.yaml").write_text(ORGANISM.replace("work}", "xai-work}"))
    assert xp("check").returncode == 0


def test_processes_share_a_keyring(tmp_path: Path) -> None:
    variables = {
        "XDG_CONFIG_HOME": str(tmp_path),
        "PYTHON_KEYRING_BACKEND": "tests.keys.backends.FolderKeyring",
        FOLDER: str(tmp_path),
    }
    done = run(*XP, "auth", "set", "work", "-", state=tmp_path, text=KEY, env=variables)
    assert done.returncode == 0, done.stderr
    done = run(*XP, "auth", "list", state=tmp_path, env=variables)
    assert done.stdout.splitlines()[1].split() == ["work", "keyring", "sk-ant…"]


IN_A_TERMINAL = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))"


class Terminal:
    """A command with a terminal of its own."""

    def __init__(self, state: Path, *arguments: str) -> None:
        self.shown = ""
        self._process = subprocess.Popen(
            [sys.executable, "-c", IN_A_TERMINAL, sys.executable, *XP, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env=environment(state),
        )

    def answer(self, prompt: str, text: str) -> None:
        """Type a text behind this prompt, which is new."""
        at = len(self.shown)
        while prompt not in self.shown[at:]:
            assert self._read(), self.shown
        assert self._process.stdin is not None
        self._process.stdin.write(f"{text}\n".encode())
        self._process.stdin.flush()

    def end(self) -> int:
        """Its exit code."""
        while self._read():
            pass
        with self._process:
            return self._process.wait(50)

    def _read(self) -> str:
        assert self._process.stdout is not None
        text = os.read(self._process.stdout.fileno(), 65536).decode()
        self.shown += text
        return text


def test_a_person_is_asked_and_nothing_typed_is_shown(folder: Path) -> None:
    storing = Terminal(folder, "auth", "set", "work")
    storing.answer("it is not shown", KEY)
    storing.answer("Passphrase of the file", PASSPHRASE)
    storing.answer("Again", PASSPHRASE)
    assert storing.end() == 0, storing.shown
    asking = Terminal(folder, "llm", "ask", "m", "Hello", "-f", str(folder / "organism.yaml"))
    asking.answer("Passphrase of the key 'work'", "wrong")
    assert asking.end() == 1
    assert "the passphrase is another one" in asking.shown
    for each in (storing, asking):
        assert KEY[7:] not in each.shown
        assert PASSPHRASE not in each.shown
        assert "Traceback" not in each.shown


def test_two_passphrases_that_differ_change_nothing(folder: Path) -> None:
    storing = Terminal(folder, "auth", "set", "work")
    for prompt, text in (("not shown", KEY), ("Passphrase", PASSPHRASE), ("Again", "another")):
        storing.answer(prompt, text)
    assert storing.end() == 1
    assert "differ; nothing was changed" in storing.shown
    assert not (folder / "xml-pipeline").exists()


@pytest.mark.parametrize("journal", ["", ", journal: state.db"])
def test_ctrl_c_ends_the_question_for_a_passphrase(folder: Path, journal: str) -> None:
    listener = "listeners: [{name: agent, agent: true, description: Talks., model: m, prompt: Talk.}]\n"
    (folder / "organism.yaml").write_text(ORGANISM.replace("probe", f"probe{journal}") + listener)
    file = KeyFile(folder / "xml-pipeline" / "keys.json", Cost(n=1 << 4, r=1))
    file.set("work", Secret(KEY), Secret(PASSPHRASE))
    asking = Terminal(folder, "ask", "agent", "Hello", "-f", str(folder / "organism.yaml"))
    asking.answer("Passphrase of the key 'work'", "\x03")
    assert asking.end() == 130, asking.shown
    assert "Traceback" not in asking.shown
