"""A server that echoes secrets, anywhere in its answer and in any form, gets none of them into a text that leaves."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import traceback
from base64 import b64encode, urlsafe_b64encode
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.console.processes import ROOT, environment, run
from tests.keys.backends import FOLDER, MemoryKeyring
from xml_pipeline import AnswerError, Organism
from xml_pipeline.agents import Task
from xml_pipeline.config import load
from xml_pipeline.errors import BackendError, ConfigError
from xml_pipeline.keys import Secret
from xml_pipeline.keys.file import KeyFile
from xml_pipeline.keys.sealed import Cost
from xml_pipeline.llm import Router, TransportSettings
from xml_pipeline.llm.http.secrets import PART, Scrubber
from xml_pipeline.llm.providers.anthropic import AnthropicBackend
from xml_pipeline.llm.providers.gemini import GeminiBackend
from xml_pipeline.llm.providers.ollama import OllamaBackend
from xml_pipeline.llm.providers.openai import OpenAIBackend
from xml_pipeline.llm.providers.openai_compatible import OpenAICompatibleBackend
from xml_pipeline.llm.section import LLMSection, build_router
from xml_pipeline.testing import Recorder

KEY = "cAn9-Key_w8Vq3Zt7Lp2Xm5Rb"
HEADER = "hDr4/Gate+Way7=Tk9Qs2Wf6"
PROXY_USER = "pUsr8Nb3Yc6Ja1"
PROXY_PASSWORD = "pPw:d5@Hx9/Ke2%Mz7"
CANARIES = (KEY, HEADER, PROXY_USER, PROXY_PASSWORD)

Form = Callable[[str], str]
FORMS: dict[str, Form] = {
    "as it is": str,
    "URL": lambda text: quote(text, safe=""),
    "URL, each character": lambda text: "".join(f"%{ord(each):02X}" for each in text),
    "URL, small": lambda text: "".join(f"%{ord(each):02x}" for each in text),
    "URL, twice": lambda text: quote(quote(text, safe=""), safe=""),
    "base64": lambda text: b64encode(text.encode()).decode(),
    "base64 of a pair": lambda text: b64encode(f"user:{text}".encode()).decode(),
    "base64 for URLs": lambda text: urlsafe_b64encode(f"Bearer {text}".encode()).decode(),
    "JSON escapes": lambda text: "".join(f"\\u{ord(each):04x}" for each in text),
    "JSON escapes, twice": lambda text: "".join(f"\\\\u{ord(each):04X}" for each in text),
    "HTML": lambda text: "".join(f"&#x{ord(each):x};" for each in text),
    "HTML, decimal": lambda text: "".join(f"&#{ord(each)};" for each in text),
    "hexadecimal": lambda text: text.encode().hex(),
    "masked": lambda text: f"{text[:6]}******{text[-4:]}",
    "masked by dots": lambda text: f"{text[:5]}...{text[-4:]}",
    "masked by …": lambda text: f"{text[:5]}…",
    "its half": lambda text: text[: len(text) // 2 + 1],
    "its end": lambda text: text[len(text) // 2 - 1 :],
    "cut where a text is cut": lambda text: "-" * (500 - len(text) + 3) + text,
}


def _http(status: str, body: str | bytes, kind: str = "application/json", **headers: str) -> bytes:
    data = body if isinstance(body, bytes) else body.encode()
    lines = [
        f"HTTP/1.1 {status}",
        f"content-type: {kind}",
        f"content-length: {len(data)}",
        "connection: close",
    ]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode("utf-8", "replace") + b"\r\n\r\n" + data


def _error(**parts: Any) -> str:
    return json.dumps({"error": {"message": "no", **parts}})


EVENTS = "text/event-stream"
Place = Callable[[str], bytes]
PLACES: dict[str, Place] = {
    "status line": lambda echo: _http(f"401 Key {echo} is bad", _error()),
    "headers": lambda echo: _http("500 Oops", _error(), x_debug=echo, retry_after=echo, location=echo),
    "request id": lambda echo: _http("400 Bad", _error(), x_request_id=echo, request_id=echo),
    "message": lambda echo: _http("401 No", _error(message=f"Incorrect API key provided: {echo}. See docs.")),
    "code": lambda echo: _http("401 No", _error(code=echo)),
    "type": lambda echo: _http("429 Wait", _error(type=echo, status=echo, reason=echo)),
    "details": lambda echo: _http("400 Bad", json.dumps({"error": {"details": [{"reason": echo, "message": echo}]}})),
    "detail": lambda echo: _http("422 Bad", json.dumps({"detail": [{"msg": echo, "loc": [echo], "input": echo}]})),
    "an error that is text": lambda echo: _http("500 Oops", json.dumps({"error": echo})),
    "plain text": lambda echo: _http("502 Bad", f"upstream refused {echo}", "text/plain"),
    "HTML": lambda echo: _http("503 Bad", f"<html><b>{echo}</b></html>", "text/html"),
    "a redirect": lambda echo: _http("302 Found", "", location=f"https://elsewhere/?key={echo}"),
    "an error in a good answer": lambda echo: _http("200 OK", _error(message=echo, code=echo)),
    "what is no JSON": lambda echo: _http("200 OK", f'{{"oops": "{echo}", '),
    "JSON of another kind": lambda echo: _http("200 OK", json.dumps([echo])),
    "keys": lambda echo: _http("200 OK", json.dumps({echo: 1})),
    "a part of another kind": lambda echo: _http("200 OK", json.dumps({"choices": echo, "content": echo})),
    "an event": lambda echo: _http("200 OK", f"event: error\ndata: {_error(message=echo, code=echo)}\n\n", EVENTS),
    "an event that is no JSON": lambda echo: _http("200 OK", f"data: {{{echo}\n\n", EVENTS),
    "the status line alone": lambda echo: f"HTTP/9 {echo}\r\n\r\n".encode(),
    "a broken header": lambda echo: f"HTTP/1.1 200 OK\r\n{echo}\r\n\r\n".encode(),
    "a broken length": lambda echo: f"HTTP/1.1 200 OK\r\ncontent-length: {echo}\r\n\r\n".encode(),
}  # fmt: skip


@asynccontextmanager
async def echoing(answer: bytes) -> AsyncIterator[int]:
    """A server that reads a request and sends these bytes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            int(line.split(b":")[1])
            for line in head.lower().split(b"\r\n")
            if line.startswith(b"content-length")
        )
        await reader.readexactly(length)
        writer.write(answer)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


def chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def shown(error: BaseException) -> Iterator[str]:
    """All texts of an error and of what led to it."""
    for link in chain(error):
        yield from (str(link), repr(link), repr(vars(link)), repr(getattr(link, "doc", "")))
    yield "".join(traceback.format_exception(error))


def leaks(text: str, secrets: tuple[str, ...] = CANARIES) -> list[str]:
    """The parts of secrets, in whatever form, that a text holds; PART characters of a secret are a part."""
    found = []
    for secret in secrets:
        for name, form in FORMS.items():
            written = form(secret)
            if name.startswith("masked"):
                parts = {written}
            elif name.startswith("cut"):
                continue
            else:
                written = written[{"base64 of a pair": 7, "base64 for URLs": 10}.get(name, 0) :]
                size = max(PART, -(-PART * len(written) // len(secret)))
                parts = {written[at : at + size] for at in range(len(written) - size + 1)}
            found += [part for part in parts if part in text]
    return found


BACKENDS = (OpenAIBackend, AnthropicBackend, OpenAICompatibleBackend, GeminiBackend, OllamaBackend)


async def everything_shown(kind: Any, place: str, form: Form, streamed: bool) -> list[str]:
    """All that shows when a server behind a proxy echoes all secrets."""
    answer = PLACES[place](" ".join(map(form, CANARIES)))
    async with echoing(answer) as port:
        proxy = f"http://{PROXY_USER}:{quote(PROXY_PASSWORD, safe='')}@127.0.0.1:{port}/?key={KEY}"
        settings = TransportSettings(proxy=proxy)
        backend = kind(
            base_url="http://127.0.0.1:9", api_key=KEY, headers={"x-gate": HEADER}, supported_models=("*",)
        )
        events: list[Any] = []
        async with Router([backend], retries=0, transport=settings, on_event=events.append) as router:
            call = anext(router.stream("m", "x")) if streamed else router.complete("m", "x")
            with pytest.raises(BackendError) as caught:
                await call
            holders = (backend, vars(backend), router, router.describe(), settings, backend.dialect, *events)
    return [*shown(caught.value), *map(repr, holders)]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", BACKENDS, ids=lambda kind: kind.__name__)
async def test_no_echo_of_a_secret_leaves(kind: Any, place: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for number, (name, form) in enumerate(FORMS.items()):
        if kind is OpenAIBackend or name in ("as it is", "JSON escapes"):
            for text in await everything_shown(kind, place, form, streamed=bool(number % 2)):
                assert not leaks(text), (name, text)
    assert caplog.records, "a failure is logged"
    assert not leaks(caplog.text), caplog.text


CHARACTERS = st.characters(min_codepoint=33, max_codepoint=126)


@given(
    st.text(CHARACTERS, min_size=16, max_size=60),
    st.sampled_from([form for name, form in FORMS.items() if name != "cut where a text is cut"]),
    st.text(max_size=20),
    st.text(max_size=20),
)
def test_a_scrubbed_text_holds_no_part_of_a_secret(secret: str, form: Form, before: str, after: str) -> None:
    text = Scrubber([secret])(f"{before} {form(secret)} {after}")
    assert not [part for part in leaks(text, (secret,)) if part not in f"{before} {after}"]


def test_what_is_no_secret_stays() -> None:
    scrub = Scrubber([KEY, HEADER], ["application/json", "my little program"])
    for text in (
        "the model gpt-4o-mini does not exist; see https://example.com/docs?x=1&y=%20z",
        "**bold** and ... dots, xxx, {json: true}, application, program, a %41 b, 1 & 2 &amp; 3",
        "Your organization must be verified (request req_0123456789abcdef)",
    ):
        assert scrub(text) == text
    assert scrub("not application/json of my little program") == "not *** of ***"


@pytest.mark.parametrize(
    "url",
    [
        f"http://h:99999/?key={KEY}",
        f"http://u:{KEY}@h",
        f"http://h/#{KEY}",
        f"ftp://h?{KEY}",
        f"http://h/?k={KEY}",
    ],
)
def test_an_address_with_a_secret_is_refused_without_it(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        OpenAIBackend(base_url=url)
    for text in shown(caught.value):
        assert not leaks(text)


def test_no_repr_of_a_configuration_shows_a_secret() -> None:
    made = {
        "proxy": f"http://u:{PROXY_PASSWORD}@h",
        "backends": [{"provider": "openai", "headers": {"x-gate": HEADER}}],
    }
    section = LLMSection.model_validate(made)
    router = build_router(section, environ={"OPENAI_API_KEY": KEY})
    for holder in (section, section.backends, router, router.describe(), router.backends):
        assert not leaks(repr(holder))
        assert not leaks(str(holder))


PASSPHRASE = "pHr2 Ase7 öF8kLm3Vx"
SOURCES = ("environment", "keyring", "file")


def kept(source: str, folder: Path) -> dict[str, str]:
    """Put the key where the reference `work` finds it; the variables that lead there."""
    if source == "environment":
        return {"XML_PIPELINE_KEY_WORK": KEY}
    file = KeyFile(folder / "xml-pipeline" / "keys.json", Cost(n=1 << 4, r=1))
    if source == "file":
        file.set("work", Secret(KEY), Secret(PASSPHRASE))
        return {"XDG_CONFIG_HOME": str(folder), "XML_PIPELINE_PASSPHRASE": PASSPHRASE}
    file.note("work")
    (folder / "keyring.json").write_text(json.dumps([["xml-pipeline", "work", KEY]]))
    return {
        "XDG_CONFIG_HOME": str(folder),
        "PYTHON_KEYRING_BACKEND": "tests.keys.backends.FolderKeyring",
        FOLDER: str(folder),
    }


@pytest.mark.parametrize("source", SOURCES)
def test_no_listing_of_keys_shows_more_than_how_one_begins(source: str, tmp_path: Path) -> None:
    done = run("-m", "xml_pipeline.cli", "auth", "list", state=tmp_path, env=kept(source, tmp_path))
    assert done.returncode == 0
    assert not leaks(done.stdout + done.stderr, (*CANARIES, PASSPHRASE)), done.stdout


def bytes_below(folder: Path) -> str:
    """What a journal has written there."""
    return "".join(path.read_bytes().decode("latin-1") for path in folder.glob("state.db*"))


@pytest.mark.parametrize("source", SOURCES)
async def test_no_trace_of_a_key_by_name_in_journal_log_events_and_messages(
    source: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, memory: MemoryKeyring
) -> None:
    caplog.set_level(logging.DEBUG)
    variables = kept(source, tmp_path)
    if source == "keyring":
        memory.set_password("xml-pipeline", "work", KEY)
    async with echoing(PLACES["message"](" ".join(CANARIES))) as port:
        (tmp_path / "organism.yaml").write_text(
            "organism: {name: probe, journal: state.db}\n"
            "listeners: [{name: agent, agent: true, description: Talks., model: m, prompt: Talk.}]\n"
            "llm:\n"
            "  retries: 0\n"
            "  backends:\n"
            "    - {provider: openai, supported_models: [m], api_key_ref: work,"
            f" base_url: 'http://127.0.0.1:{port}'}}\n"
        )
        organism = Organism.from_config(load(tmp_path / "organism.yaml", environ=variables))
        recorder = Recorder(organism)
        async with organism:
            with pytest.raises(AnswerError) as caught:
                await organism.ask("agent", Task("Hello"))
            holders = (
                organism.router,
                organism.router.describe(),
                vars(organism.router),
                organism.dead_letters(),
            )
            said = [*shown(caught.value), *map(repr, recorder.events), *map(repr, holders)]
    assert memory.asked == (["work"] if source == "keyring" else memory.asked[:1])
    written = bytes_below(tmp_path)
    assert "Hello" in written
    for text in (*said, written, caplog.text):
        assert not leaks(text, (*CANARIES[:1], PASSPHRASE)), text


@pytest.mark.parametrize("command", [("list",), ("test", "openai"), ("ask", "m", "Hi")], ids=" ".join)
@pytest.mark.parametrize("source", ["", *SOURCES])
async def test_no_command_shows_a_secret(command: tuple[str, ...], source: str, tmp_path: Path) -> None:
    variables = kept(source, tmp_path) if source else {"OPENAI_API_KEY": KEY}
    async with echoing(PLACES["message"](" ".join(CANARIES))) as port:
        (tmp_path / "organism.yaml").write_text(
            "organism: {name: probe}\n"
            "llm:\n"
            "  proxy: ${PROXY}\n"
            "  retries: 0\n"
            "  backends:\n"
            "    - provider: openai\n"
            "      base_url: http://127.0.0.1:9\n"
            "      supported_models: [m]\n"
            "      headers: {x-gate: '${GATE}'}\n" + ("      api_key_ref: work\n" if source else "")
        )
        proxy = f"http://{PROXY_USER}:{quote(PROXY_PASSWORD, safe='')}@127.0.0.1:{port}/?key={KEY}"
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "xml_pipeline.cli", "llm", *command, "-f", str(tmp_path / "organism.yaml")),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            cwd=ROOT,
            env=environment(tmp_path, GATE=HEADER, PROXY=proxy, **variables),
        )
        out, _ = await process.communicate()
    assert b"usage" not in out
    assert not leaks(out.decode(), (*CANARIES, PASSPHRASE)), out.decode()
    assert b"nowhere to be had" not in out
