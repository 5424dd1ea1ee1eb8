"""`send`; tests of `run` are those of the console."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from lxml import etree

from tests.cli.conftest import Done

Xp = Callable[..., Done]

ENVELOPE = """<message xmlns="https://xml-pipeline.org/ns/envelope/v1"><meta><from>me</from>{to}\
<thread>12345678-1234-1234-1234-123456789abc</thread></meta>{payload}</message>"""


def test_send_exchanges_raw_envelopes(project: Path, tmp_path: Path, xp: Xp) -> None:
    text = ENVELOPE.format(to="<to>calculator.add</to>", payload='<Add xmlns=""><a>2</a><b>40</b></Add>')
    done = xp("send", "-", "-f", str(project), text=text)
    assert done.returncode == 0, done.stderr
    answer = etree.fromstring(done.stdout)
    assert answer.xpath("string(//value)") == "42"
    assert answer.xpath("string(//*[local-name()='thread'])") == "12345678-1234-1234-1234-123456789abc"
    assert answer.xpath("string(//*[local-name()='to'])") == "me"
    file = tmp_path / "message.xml"
    file.write_text(text)
    assert "42" in xp("send", str(file), "-f", str(project)).stdout


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("no xml", "not well-formed"),
        (ENVELOPE.format(to="", payload='<Add xmlns=""/>'), "names no receiver"),
        (ENVELOPE.format(to="<to>nobody</to>", payload='<Add xmlns=""/>'), "no listener 'nobody'"),
        (ENVELOPE.format(to="<to>calculator.add</to>", payload='<Add xmlns=""><a>2</a></Add>'), "Add.b"),
    ],
)
def test_send_says_what_is_wrong_with_an_envelope(
    text: str, says: str, project: Path, tmp_path: Path, xp: Xp
) -> None:
    done = xp("send", "-", "-f", str(project), text=text)
    assert done.returncode == 1
    assert says in done.stderr


def test_send_gives_an_error_answer_as_its_envelope_with_code_1(
    project: Path, tmp_path: Path, xp: Xp
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(project, broken, ignore=shutil.ignore_patterns("__pycache__"))
    handlers = broken / "handlers.py"
    handlers.write_text(handlers.read_text().replace("payload.a + payload.b", "payload.a / 0"))
    text = ENVELOPE.format(to="<to>calculator.add</to>", payload='<Add xmlns=""><a>2</a><b>1</b></Add>')
    done = xp("send", "-", "-f", str(broken), text=text)
    assert done.returncode == 1
    assert etree.fromstring(done.stdout).xpath("string(//code)") == "handler"
