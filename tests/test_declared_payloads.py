"""Declared classes in a running organism: asked with plain values, in other processes, and in the next life."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Done, xp
from xml_pipeline import Organism
from xml_pipeline.config import loads
from xml_pipeline.errors import ConfigError, PayloadError, RoutingError
from xml_pipeline.payload import codec_of
from xml_pipeline.testing import run_in_virtual_time

__all__ = ["xp"]

HANDLERS = """
import os
from dataclasses import replace
from xml_pipeline import HandlerResponse

def heavy(payload, metadata):
    return HandlerResponse.respond(replace(payload, text=f"{payload.text} in {os.getpid()}"))

async def echo(payload, metadata):
    return HandlerResponse.respond(payload)

async def reply(payload, metadata):
    return f"<Reply><about>{payload.text}</about></Reply>"
"""
FILE = """\
organism: {name: NAME}
payloads:
  Ticket:
    description: What a customer wrote.
    fields:
      text: text
      due: {type: date, optional: true}
      kind: {one_of: [billing, other], default: other}
      parts: {list: Part, default: []}
  Part: {fields: {number: {type: integer, min: 1}}}
  Reply: {fields: {about: text}}
  Spare: {fields: {}}
listeners:
  - {name: desk, handler: hands:echo, accepts: [Ticket, Part]}
  - {name: clerk, handler: hands:reply, accepts: Ticket}
  - {name: heavy, handler: hands:heavy, accepts: Ticket, cpu_bound: true}
  - {name: paul, human: true, accepts: [Ticket, Reply]}
"""
TICKET = {"Ticket": {"text": "late", "due": "2026-01-31", "parts": [{"number": 7}]}}


def file_in(folder: Path, text: str = FILE, name: str = "demo") -> Path:
    (folder / "hands.py").write_text(HANDLERS)
    (folder / "organism.yaml").write_text(text.replace("NAME", name))
    return folder / "organism.yaml"


def test_a_mapping_of_plain_values_is_a_message(tmp_path: Path) -> None:
    organism = Organism.from_file(file_in(tmp_path))

    async def main() -> None:
        ticket, part = organism.payloads["Ticket"], organism.payloads["Part"]
        async with organism, organism.session() as session:
            answer = await organism.ask("desk", TICKET, answer_type=ticket)
            assert answer.parts == [part(number=7)]
            assert (answer.due.year, answer.kind) == (2026, "other")
            assert await session.ask("desk", {"Part": {"number": 2}}) == part(number=2)
            assert await organism.ask("clerk", TICKET) == organism.payloads["Reply"](about="late")
            await organism.send("paul", TICKET)
            await asyncio.sleep(1)  # of virtual time: all that can be done is done
            (question,) = organism.questions()
            assert question.payload == answer

    run_in_virtual_time(main())


@pytest.mark.parametrize(
    ("said", "kind", "message"),
    [
        ({"Tiket": {}}, RoutingError, "'desk' takes Part, Ticket; did you mean 'Ticket'?"),
        ({"Reply": {"about": "x"}}, RoutingError, "Reply is not what 'desk' takes"),
        ({}, RoutingError, "{Class: {field: value}}, with one class and not 0"),
        ({"Ticket": {"text": "a"}, "Part": {"number": 1}}, RoutingError, "with one class and not 2"),
        ({1: {}}, RoutingError, "1 is not what 'desk' takes"),
        ({"Ticket": "late"}, PayloadError, "Ticket: needs an object, not a text"),
        ({"Ticket": {}}, PayloadError, "Ticket.text: is missing"),
        ({"Ticket": {"text": "a", "kind": "sales"}}, PayloadError, "is none of the values (got 'sales')"),
        (
            {"Ticket": {"text": "a", "parts": [{"number": 0}]}},
            PayloadError,
            "Ticket.parts[0].number: too small",
        ),
        ({"Ticket": {"text": "a", "due": "31.1."}}, PayloadError, "allowed: a date, as 2026-01-31"),
        ({"Ticket": {"txt": "a"}}, PayloadError, "Ticket.txt: is not a field"),
    ],
)
def test_a_mapping_that_is_no_message_is_told_as_any_other(
    said: dict[Any, Any], kind: type[Exception], message: str, tmp_path: Path
) -> None:
    organism = Organism.from_file(file_in(tmp_path))

    async def main() -> None:
        async with organism:
            for ask in (organism.ask, organism.send):
                with pytest.raises(kind) as caught:
                    await ask("desk", said)
                assert message in str(caught.value)
            assert organism.status().conversations == 0

    run_in_virtual_time(main())


def test_a_process_gets_the_declarations_with_the_handler(tmp_path: Path) -> None:
    organism = Organism.from_file(file_in(tmp_path))

    async def main() -> Any:
        async with organism:
            return await organism.ask("heavy", TICKET)

    answer = asyncio.run(main())
    assert type(answer) is organism.payloads["Ticket"]
    text, _, process = answer.text.partition(" in ")
    assert (text, process.isdigit(), process == str(os.getpid())) == ("late", True, False)
    assert answer.parts == [organism.payloads["Part"](number=7)]


def test_two_organisms_of_one_file_have_the_same_classes(tmp_path: Path) -> None:
    one, two = Organism.from_file(file_in(tmp_path)), Organism.from_file(file_in(tmp_path))
    assert one.payloads["Ticket"] is two.payloads["Ticket"]
    third = Organism.from_file(file_in(tmp_path, name="other"))
    assert third.payloads["Ticket"] is not one.payloads["Ticket"]
    with pytest.raises(KeyError):
        one.payloads["Tiket"]


LIFE = """\
organism: {name: NAME, journal: state.db}
payloads:
  Ticket: {fields: {text: textMORE}}
listeners:
  - {name: paul, human: true, accepts: Ticket}
"""


def test_a_message_is_taken_up_by_the_next_life(tmp_path: Path) -> None:
    def life(more: str = "") -> Organism:
        gc.collect()  # the classes of the life before are gone, as they are in another process
        return Organism.from_file(file_in(tmp_path, LIFE.replace("MORE", more), name="living"))

    async def first() -> None:
        async with life() as organism:
            await organism.send("paul", {"Ticket": {"text": "late"}})

    async def later(more: str) -> Any:
        async with life(more) as organism:
            (question,) = organism.questions()
            if question.payload is not None:
                assert type(question.payload) is organism.payloads["Ticket"]
            return question.payload

    asyncio.run(first())
    assert asyncio.run(later("")).text == "late"
    assert asyncio.run(later(", kind: {one_of: [a, b], default: b}")).kind == "b"
    assert asyncio.run(later(", kind: [a, b]")) is None, (
        "as with a class of Python that does not fit any more"
    )


def test_an_answer_of_an_earlier_life_has_the_class_of_its_own_organism(tmp_path: Path) -> None:
    """Though another organism of the program declares one of the same name and shape."""
    text = FILE.replace("{name: NAME}", "{name: NAME, journal: state.db}")
    other = Organism.from_config(loads(text.replace("NAME", "other").partition("listeners:")[0], environ={}))

    async def life() -> Any:
        organism = Organism.from_file(file_in(tmp_path, text))
        async with organism:
            answer = await organism.ask("clerk", TICKET, key="order-1")
            return type(answer) is organism.payloads["Reply"]

    assert asyncio.run(life())
    assert asyncio.run(life())
    assert other.payloads


def test_xp_shows_and_asks_declared_classes(tmp_path: Path, xp: Callable[..., Done]) -> None:
    file = str(file_in(tmp_path))
    asked = xp("ask", "desk", '{"Ticket": {"text": "late", "parts": [{"number": 7}]}}', "-f", file)
    assert (asked.returncode, asked.stderr) == (0, "")
    assert "late" in asked.stdout
    assert (
        xp("ask", "desk", "text=late kind=billing", "-f", file).stdout
        == xp("ask", "desk", "<Ticket><text>late</text><kind>billing</kind></Ticket>", "-f", file).stdout
    )
    described = xp("describe", "desk", "Ticket", "--xsd", "-f", file).stdout
    assert 'element name="Ticket"' in described
    assert "desk" in xp("graph", file).stdout
    checked = xp("check", file)
    assert "note: no listener names the class 'Spare' of `payloads`" in checked.stdout


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ('{"Ticket": {"text": "late" "kind": 1}}', "that is no valid JSON"),
        ('{"Tickt": {"text": "late"}}', "does not take Tickt; did you mean 'Ticket'?"),
        (
            '{"Ticket": {"text": "a"}, "Part": {"number": 1}}',
            'one message is {"Ticket": {…}}; that has 2 keys',
        ),
        ('{"Part": {"number": 0}}', "Part.number: too small"),
    ],
)
def test_xp_ask_tells_what_is_wrong_with_json(
    body: str, message: str, tmp_path: Path, xp: Callable[..., Done]
) -> None:
    done = xp("ask", "desk", body, "-f", str(file_in(tmp_path)))
    assert done.returncode == 1
    assert message in done.stderr


def test_xp_payloads_lists_them_and_prints_the_way_out(tmp_path: Path, xp: Callable[..., Done]) -> None:
    file = file_in(tmp_path)
    (tmp_path / "hands.py").write_text("raise SystemExit('nothing is imported')")
    listed = xp("payloads", str(file))
    assert (listed.returncode, listed.stderr) == (0, "")
    assert "Ticket: What a customer wrote.\n  text (str, required)\n" in listed.stdout
    assert "  kind ('billing' | 'other', optional, default 'other')" in listed.stdout
    printed = xp("payloads", str(file), "--python").stdout
    module = types.ModuleType("printed_payloads")
    sys.modules[module.__name__] = module
    try:
        exec(printed, module.__dict__)
        declared = loads(file.read_text(), imports="nothing", base=tmp_path, environ={}).classes
        for name, cls in declared.items():
            assert codec_of(getattr(module, name)).xsd == codec_of(cls).xsd
    finally:
        del sys.modules[module.__name__]


def test_xp_payloads_tells_the_mistakes_of_the_file(tmp_path: Path, xp: Callable[..., Done]) -> None:
    file = file_in(tmp_path, FILE.replace("text: text", "text: tekst"))
    done = xp("payloads", str(file))
    assert done.returncode == 1
    assert "organism.yaml:6:13: payloads.Ticket.fields.text: there is no type `tekst`" in done.stderr
    with pytest.raises(ConfigError):
        Organism.from_file(file)
