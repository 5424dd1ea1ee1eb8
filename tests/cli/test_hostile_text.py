"""Whatever a file, a model, a payload or the command line says, no command gives a terminal or the log an order."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lxml import etree

from tests.cli.conftest import XP
from tests.cli.test_talk import ENVELOPE
from tests.console.processes import ROOT, environment, run
from tests.test_terminal import orders_in
from xml_pipeline.cli import main

NASTY = (
    "\x1b]0;owned\x07\x1b[2J\x9b31m\u202egnol\u2066\u200b\u200d\ufeff\u2028\x7f\r\nerror: forged \U000e0041"
)
TEXTS = st.lists(st.sampled_from([*NASTY, "\x00", "\ud800", "a", "é", "漢"]), min_size=1, max_size=12).map(
    "".join
)


def quoted(text: str) -> str:
    """As YAML writes it between quotes; JSON writes half pairs there."""
    return '"' + "".join(f"\\U{ord(char):08x}" for char in text) + '"'


def organism(text: str) -> str:
    """A valid file with the text wherever any text may stand."""
    said = quoted(text)
    return f"""\
organism: {{name: {said}, description: {said}}}
listeners:
  - {{name: echo, handler: handlers:echo, description: {said}}}
  - {{name: fail, handler: handlers:fail, description: {said}}}
  - {{name: bot, agent: true, model: m, prompt: {said}, peers: [echo]}}
llm:
  models: {{m: [{said}]}}
  backends:
    - {{provider: scripted, name: {said}, supported_models: ["*"], rules: [{{reply: {said}}}]}}
"""


def mistaken(text: str) -> list[str]:
    """Files with the text in every kind of mistake."""
    said = quoted(text)
    listener = "name: a, human: true"
    return [
        f"organism: {{name: x, {said}: 1, default: {said}}}\n{said}: {{{said}: {said}}}\n",
        f"organism: {{name: x}}\nlisteners: [{{name: {said}, human: {said}, peers: [{said}]}}]\n",
        f"organism: {{name: x}}\nlisteners: [{{{listener}}}, {{name: b, handler: {said}, agent: {said}}}]\n",
        f"organism: {{name: x}}\nlisteners: [{{name: a, agent: true, model: {said}, prompt: {{file: {said}}}}}]\n",
        f"organism: {{name: x}}\nlisteners: {said}\n",
        f"organism: {{name: x}}\nllm: {{strategy: {said}, modules: [{said}], models: {{{said}: {said}}}}}\n",
        f"organism: {{name: x}}\nllm: {{backends: [{{provider: {said}, name: {said}, base_url: {said}}}]}}\n",
        f"organism: {{name: x}}\nlisteners: [{{name: a, agent: true, model: {said}}}]\n"
        "llm: {backends: [{provider: openai}]}\n",
        f"organism: {{name: x}}\nlisteners: [{{name: a, handler: broken:f}}]\n# {text}\n",
        f"organism: {{name: x}}\n{text}: &{text} *{text}\n",
    ]


def handlers(text: str) -> str:
    return f"""\
from dataclasses import dataclass, field
from typing import Annotated
from pydantic import Field
from xml_pipeline import HandlerResponse, xmlify

@xmlify
@dataclass
class Said:
    text: Annotated[str, Field(description={text.encode("utf-8", "ignore").decode()!r})]

async def echo(payload: Said, metadata) -> HandlerResponse:
    print("heard", payload.text)
    return HandlerResponse.respond(payload)

async def fail(payload: Said, metadata) -> HandlerResponse:
    raise RuntimeError({text!r})
"""


@contextmanager
def captured() -> Iterator[io.BytesIO]:
    """The bytes of both standard streams."""
    written = io.BytesIO()
    stream = io.TextIOWrapper(written, encoding="utf-8", write_through=True)
    with redirect_stdout(stream), redirect_stderr(stream):
        yield written
    stream.flush()
    stream.detach()


def shown(*arguments: str) -> str:
    with captured() as written, suppress(SystemExit):
        main(arguments)
    text = written.getvalue().decode()
    assert not orders_in(text), arguments
    assert "Traceback" not in text
    return text


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(TEXTS)
def test_commands_that_look_at_files(text: str) -> None:
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "organism.yaml"
        (file.parent / "handlers.py").write_text(handlers(text))
        (file.parent / "broken.py").write_text(f"raise RuntimeError({text!r})")
        (file.parent / ".env").write_text("A=1\n" + text.encode("utf-8", "ignore").decode(), newline="")
        for mistake in mistaken(text):
            file.write_text(mistake, encoding="utf-8", errors="replace")
            for row in shown("check", str(file)).splitlines():
                assert row.startswith((directory, "and ")), row
        (file.parent / ".env").unlink()
        file.write_text(organism(text))
        for command in ("check", "graph", "check --no-import", "graph --format svg", "describe echo"):
            done = shown(*command.split(), "-f", str(file))
            assert ("half of a surrogate" in done) == ("\ud800" in text), done
        shown("llm", "list", "-f", str(file))
        shown("llm", "ask", "anything", text, "-f", str(file))
        shown("describe", "bot", "--prompt", "-f", str(file))
        for form in ("--xsd", "--example", "--prompt", "--json-schema"):
            shown("describe", "echo", form, "-f", str(file))
        for arguments in (
            (text,),
            ("check", text),
            ("describe", text, text, "-f", str(file)),
            ("llm", "test", text),
        ):
            shown(*arguments)


def _carried(text: str) -> str:
    """What XML can carry of it."""
    return "".join(char for char in text if char == "\n" or char >= " ")


def test_forms_are_still_what_programs_read(tmp_path: Path) -> None:
    nasty = _carried(NASTY)
    file = tmp_path / "organism.yaml"
    file.write_text(organism("x"))
    (tmp_path / "handlers.py").write_text(handlers(nasty))
    schema = json.loads(shown("describe", "echo", "--json-schema", "-f", str(file)))
    assert schema["properties"]["text"]["description"] == nasty
    xsd = etree.fromstring(shown("describe", "echo", "--xsd", "-f", str(file)).encode())
    assert "\u202egnol" in "".join(map(str, xsd.itertext()))


def test_conversations_and_their_log(tmp_path: Path) -> None:
    file = tmp_path / "organism.yaml"
    file.write_text(organism(NASTY))
    (tmp_path / "handlers.py").write_text(handlers(NASTY))
    log = tmp_path / "console.log"
    said = NASTY.replace("\n", " ")
    typed = "".join(f"{head}{said}\n" for head in ("@bot ", "@", "/", "/trace on "))
    typed += "".join(f"{head}{_carried(said)}\n" for head in ("@echo ", "@fail "))
    done = run(*XP, "run", str(file), "--log", str(log), state=tmp_path, text=f"/trace on\n{typed}")
    assert not orders_in(done.stdout + done.stderr)
    assert "echo: " in done.stdout
    assert "heard" in done.stdout
    written = log.read_text()
    assert "RuntimeError" in written
    assert not orders_in(written)
    assert "\nerror: forged" not in written
    assert log.stat().st_mode & 0o077 == 0


def test_an_envelope_comes_back_as_what_it_means(tmp_path: Path) -> None:
    file = tmp_path / "organism.yaml"
    file.write_text(organism("x"))
    (tmp_path / "handlers.py").write_text(handlers("x"))
    text = "\u202e\u200b\x9b a"
    payload = f'<Said xmlns=""><text>{text}</text></Said>'
    envelope = ENVELOPE.format(to="<to>echo</to>", payload=payload)
    done = run(*XP, "send", "-", "-f", str(file), state=tmp_path, text=envelope)
    assert not orders_in(done.stdout + done.stderr)
    answer = etree.fromstring(done.stdout.removeprefix("heard ").split("\n", 1)[1])
    assert answer.xpath("string(//text)") == text


def test_what_no_program_should_raise_gives_no_orders(tmp_path: Path) -> None:
    file = tmp_path / "organism.yaml"
    file.write_text("organism: {name: x}\nlisteners: [{name: a, handler: handlers:odd}]\n")
    (tmp_path / "handlers.py").write_text(
        "class Odd:\n    @property\n    def __signature__(self): raise BaseException('\\x1b[2J')\n"
        "    def __call__(self, payload, metadata): ...\n\n\nodd = Odd()\n"
    )
    done = subprocess.run(
        [sys.executable, *XP, "check", str(file)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment(tmp_path),
        timeout=50,
        check=False,
    )
    assert "\\x1b[2J" in done.stderr
    assert not orders_in(done.stdout + done.stderr)
    assert done.returncode == 1


def test_what_a_handler_prints_in_its_own_process_gives_no_orders(tmp_path: Path) -> None:
    (tmp_path / "organism.yaml").write_text(
        "organism: {name: x}\n"
        "listeners: [{name: heavy, handler: heavy:prints, description: Prints., cpu_bound: true}]\n"
    )
    (tmp_path / "heavy.py").write_text(
        "import sys\nfrom xml_pipeline import HandlerResponse\nfrom xml_pipeline.agents import Task\n\n\n"
        "def prints(payload: Task, metadata) -> HandlerResponse:\n"
        "    print('\\x1b]0;title\\x07')\n    print('\\x9b31m', file=sys.stderr)\n"
        "    return HandlerResponse.respond(payload)\n"
    )
    done = run(*XP, "run", str(tmp_path), state=tmp_path, text="@heavy done\n")
    assert "heavy: done" in done.stdout
    assert "\\x1b]0;title\\x07" in done.stdout
    assert "\\x9b31m" in done.stderr
    assert not orders_in(done.stdout + done.stderr)
