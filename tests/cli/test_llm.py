"""`llm list`, `llm ask` and `llm test` against a provider on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cli.conftest import Done
from tests.cli.folders import inside
from tests.console.processes import KEYS
from tests.emulators import Failure, OpenAIEmulator

ORGANISM = """\
organism: {{name: probe}}
llm:
  models: {{smart: [gpt-4o, offline]}}
  backends:
    - {{provider: openai, name: here, base_url: "{url}", supported_models: [gpt-4o], rate_limit_tpm: 1000000}}
    - {{provider: anthropic}}
    - {{provider: scripted, name: offline, supported_models: [offline], rules: [{{reply: "Rules: \\x1b[31m"}}]}}
"""


@dataclass
class Lab:
    """A provider, and a project that uses it."""

    server: OpenAIEmulator
    directory: Path
    command: Callable[..., Done]
    environ: pytest.MonkeyPatch

    async def xp(self, *arguments: str, key: str | None = None) -> tuple[int, str, str]:
        """Exit code, stdout and stderr of `xp llm …`."""
        self.environ.setenv("OPENAI_API_KEY", self.server.key if key is None else key)
        where = str(self.directory / "organism.yaml")
        done = await asyncio.to_thread(self.command, "llm", *arguments, "-f", where)
        assert self.server.key not in done.stdout + done.stderr
        return done.returncode, done.stdout, done.stderr


@pytest.fixture
async def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, xp: Callable[..., Done]) -> AsyncIterator[Lab]:
    for name in KEYS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XML_PIPELINE_FORBID_REAL_REQUESTS", "1")
    async with OpenAIEmulator() as server:
        inside(tmp_path, monkeypatch, {"organism.yaml": ORGANISM.format(url=server.base_url)})
        yield Lab(server, tmp_path, xp, monkeypatch)


async def test_list_shows_backends_with_their_keys_and_limits(lab: Lab) -> None:
    code, out, _ = await lab.xp("list")
    assert code == 0
    here, anthropic, offline = out.splitlines()[1:4]
    assert here.split()[:3] == ["here", "openai", "present"]
    assert "1,000,000 tokens/min" in here
    assert "missing: set ANTHROPIC_API_KEY" in anthropic
    assert "offline, healthy" in offline
    assert here.endswith("not tried")
    assert "gpt-4o → offline" in out
    priced = out[out.index("PRICED AS") :].splitlines()[1:]
    assert [line.split() for line in priced] == [
        ["gpt-4o", "here", "openai/gpt-4o"],
        ["offline", "offline", "free"],
    ]


async def test_ask_streams_and_says_who_answered(lab: Lab) -> None:
    lab.server.script.say("Two words.")
    code, out, err = await lab.xp("ask", "smart", "Say two words.")
    assert (code, out) == (0, "Two words.\n")
    assert err.startswith("here: gpt-4o")
    assert "tokens (" in err
    assert lab.server.last.stream


async def test_ask_shows_what_a_hostile_model_writes(lab: Lab) -> None:
    lab.server.script.say("\x1b]0;owned\x07")
    _, out, _ = await lab.xp("ask", "gpt-4o", "Hello")
    assert out == "\ufffd]0;owned\ufffd\n"


async def test_ask_shows_a_tool_call_instead_of_nothing(lab: Lab) -> None:
    lab.server.script.call("add", {"a": 1})
    _, out, _ = await lab.xp("ask", "gpt-4o", "Hello")
    assert out.startswith("[calls add with {")


@pytest.mark.parametrize(
    ("arguments", "key", "says"),
    [
        (("ask", "gpt-5o", "Hello"), None, "gpt-5o"),
        (("ask", "gpt-4o", "Hello"), "sk-wrong", "401"),
        (("test", "her"), None, "did you mean 'here'"),
        (("test", "anthropic"), None, "set ANTHROPIC_API_KEY"),
    ],
)
async def test_errors_say_what_to_do(
    lab: Lab, arguments: tuple[str, ...], key: str | None, says: str
) -> None:
    code, out, err = await lab.xp(*arguments, key=key)
    assert (code, out) == (1, "")
    assert says in err


async def test_test_tells_that_answers_and_tools_work(lab: Lab) -> None:
    lab.server.script.say("ready").call("add", {"a": 2, "b": 40}).say('{"sum": 42}')
    code, out, _ = await lab.xp("test", "here")
    assert code == 0
    assert "answer: works: 'ready'" in out
    assert 'tools: work: add({"a": 2, "b": 40})' in out
    assert "schema: works (by its own schema): 42" in out
    assert len(lab.server.requests) == 3


@pytest.mark.parametrize("text", ["no JSON", None])
async def test_test_tells_that_payloads_fail(lab: Lab, text: str | None) -> None:
    lab.server.script.say("ready").say("42")
    for _ in range(3):
        if text is None:
            lab.server.script.call("add", {"a": 1})
        else:
            lab.server.script.say(text)
    code, out, _ = await lab.xp("test", "here")
    assert code == 0
    assert "schema: fails (by its own schema): " in out


async def test_test_keeps_to_the_whole_llm_section(lab: Lab) -> None:
    file = lab.directory / "organism.yaml"
    file.write_text(file.read_text().replace("llm:\n", "llm:\n  budgets: {organism: {tokens: 1}}\n"))
    code, out, _ = await lab.xp("test", "here")
    assert code == 1
    assert "the budget of organism is 1 tokens" in out
    assert not lab.server.requests


async def test_test_asks_for_a_model_that_the_backend_serves(lab: Lab) -> None:
    file = lab.directory / "organism.yaml"
    models = "smart: [claude-sonnet-4-5, gpt-4.1, gpt-4o]"
    text = file.read_text().replace("smart: [gpt-4o, offline]", models)
    file.write_text(text.replace("supported_models: [gpt-4o]", 'supported_models: ["gpt-4o*"]'))
    lab.server.script.say("ready")
    _, out, _ = await lab.xp("test", "here")
    assert "here: gpt-4o" in out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [({"a": 2, "b": 41}, "wrongly"), ('{"a": 2,', "wrongly"), (None, "did not call the tool")],
)
async def test_test_tells_what_is_wrong_with_tools(lab: Lab, arguments: object, says: str) -> None:
    lab.server.script.say("ready")
    if arguments is None:
        lab.server.script.say("It is 42.")
    else:
        lab.server.script.call("add", arguments)  # type: ignore[arg-type]  # a mapping or text
    code, out, _ = await lab.xp("test", "here")
    assert code == 0
    assert says in out


async def test_test_tells_that_the_backend_fails(lab: Lab) -> None:
    lab.server.script.fail(Failure.NO_CREDIT)
    code, out, _ = await lab.xp("test", "here")
    assert code == 1
    assert out.startswith("answer: fails: ")
