"""What is kept outlives its class: read, upgraded, or told why not."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.journal.test_recovery import came_to
from tests.payload.generated import payloads
from tests.pump.scenes import Answer, Go, Question, call, respond
from xml_pipeline import AnswerError, HandlerMetadata, Keep, Organism, xmlify
from xml_pipeline.errors import PayloadError
from xml_pipeline.hardened import parse
from xml_pipeline.journal.sqlite import SqliteJournal
from xml_pipeline.payload import codec_of
from xml_pipeline.payload.plain import fields_in
from xml_pipeline.pump import Machine, listener
from xml_pipeline.pump.kept import entry_of, read, recalled, restored
from xml_pipeline.pump.prospects import prospects
from xml_pipeline.threads.record import Entry


@xmlify(name="Tally")
@dataclass
class Euros:
    euros: float
    tags: list[str] = field(default_factory=list)
    rates: dict[str, int] = field(default_factory=dict)
    note: str | None = None


@xmlify(name="Tally")
@dataclass
class Wider:
    """The same, with something more."""

    euros: float
    tags: list[str] = field(default_factory=list)
    rates: dict[str, int] = field(default_factory=dict)
    note: str | None = None
    more: int = 7


@xmlify(name="Tally")
@dataclass
class Cents:
    cents: int
    seen: str = ""

    @classmethod
    def upgrade(cls, old: dict[str, Any]) -> Cents:
        return cls(round(float(old["euros"]) * 100), repr(sorted(old.items())))


def upgrading(upgrade: Callable[..., Any] | None) -> type:
    """A class that takes other fields, with this as its `upgrade`."""

    @xmlify(name="Tally")
    @dataclass
    class Changed:
        other: int

    if upgrade is not None:
        Changed.upgrade = upgrade  # type: ignore[attr-defined]
    return Changed


OLD = entry_of(Euros(1.5, ["a", "b"], {"x": 1}))


def test_what_a_class_still_takes_is_read() -> None:
    assert read(OLD, codec_of(Euros)) == (Euros(1.5, ["a", "b"], {"x": 1}), False)
    assert read(OLD, codec_of(Wider)) == (Wider(1.5, ["a", "b"], {"x": 1}, None, 7), False)
    assert OLD.schema not in {b"", codec_of(Wider).fingerprint}


def test_what_it_does_not_take_is_upgraded() -> None:
    cents, upgraded = read(OLD, codec_of(Cents))
    assert upgraded
    assert cents.cents == 150
    assert cents.seen == "[('euros', '1.5'), ('rates', {'x': '1'}), ('tags', ['a', 'b'])]"
    assert recalled([OLD, entry_of(Cents(2))], Cents) == (cents, Cents(2))
    assert restored(OLD, Cents) == cents
    assert read(Entry("Tally", OLD.data), codec_of(Cents)) == (
        cents,
        True,
    )  # of a journal that knew no schemas


def broken(old: Any) -> Any:
    raise LookupError("no such currency")


def exits(old: Any) -> Any:
    raise SystemExit


@pytest.mark.parametrize(
    ("upgrade", "why"),
    [
        (None, "other"),
        (staticmethod(broken), r"upgrade\(old\) failed: LookupError: no such currency"),
        (staticmethod(exits), "own code failed with SystemExit"),
        (staticmethod(lambda old: None), "returned a NoneType, and no Changed"),
        (classmethod(lambda cls, old: Cents(1)), "returned a Cents"),
        (classmethod(lambda cls, old: cls("five")), "Changed.other|Tally.other"),
        (lambda self: None, "other"),  # a method of instances is another thing
        (5, "other"),  # as is a field's default
    ],
)
def test_what_cannot_be_upgraded_says_why(upgrade: Any, why: str) -> None:
    changed = upgrading(upgrade)
    with pytest.raises(PayloadError, match=why):
        read(OLD, codec_of(changed))
    with pytest.raises(PayloadError, match=why):
        recalled([OLD], changed)


def test_what_the_same_class_wrote_and_refuses_today_is_not_upgraded() -> None:
    refuses = False

    @xmlify
    @dataclass
    class Moody:
        n: int

        def __post_init__(self) -> None:
            if refuses:
                raise ValueError("not today")

        @classmethod
        def upgrade(cls, old: dict[str, Any]) -> Moody:
            raise AssertionError("the class has not changed")

    entry, refuses = entry_of(Moody(1)), True
    with pytest.raises(PayloadError, match="not today"):
        read(entry, codec_of(Moody))


@given(payloads())
def test_the_fields_of_any_payload_can_be_read_without_its_class(payload: Any) -> None:
    codec = codec_of(type(payload))
    found = fields_in(parse(codec.encode(payload)))
    assert set(found) <= {each.name for each in codec.shapes.root.fields}


@given(st.lists(st.text("abc", min_size=1)), st.dictionaries(st.text("xyz", min_size=1), st.integers()))
def test_lists_and_entries_are_what_they_were(tags: list[str], rates: dict[str, int]) -> None:
    found = fields_in(parse(codec_of(Euros).encode(Euros(0.0, tags, rates))))
    assert found["tags"] == (tags or "")
    assert found["rates"] == ({key: str(value) for key, value in rates.items()} or "")


FINGERPRINTS = """
from tests.pump.test_kept import Cents, Euros, Wider
from tests.pump.scenes import Answer, Note
from xml_pipeline import SystemError
from xml_pipeline.payload import codec_of
print([codec_of(each).fingerprint.hex() for each in (Cents, Euros, Wider, Answer, Note, SystemError)])
"""


def test_a_schema_has_one_digest_in_every_process() -> None:
    told = {
        subprocess.run(
            [sys.executable, "-c", FINGERPRINTS],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=50,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(told) == 1
    assert len(set(eval(told.pop()))) == 6


def test_a_constraint_that_only_python_checks_is_part_of_the_schema() -> None:
    def patterned(pattern: str) -> bytes:
        text = Annotated[str, pydantic.Field(pattern=pattern, examples=["ab"])]
        return codec_of(xmlify(pydantic.create_model("P", text=(text, ...)))).fingerprint

    assert patterned("[ab]+") != patterned("[abc]+")
    assert patterned("[ab]+") == patterned("[ab]+")


# --- over lives ---


def keeping(path: Path, cls: type) -> Organism:
    """Who keeps a tally, asks a person, and answers with the tally it has then; and who remembers one."""

    async def keeper(payload: Go | Answer, metadata: HandlerMetadata, state: Any) -> Any:
        if isinstance(payload, Go):
            return Keep(Euros(2.5), call(Question("?"), to="anna"))
        return respond(Answer(repr(state)))

    async def greeter(payload: Question, metadata: HandlerMetadata) -> Any:
        before = metadata.recall(cls)
        return respond(Answer(repr(before)), remember=Euros(2.5) if cls is Euros else None)

    keeper.__annotations__["state"] = cls | None
    return Organism(
        "x",
        [
            listener("keeper", keeper, peers=["anna"]),
            listener("greeter", greeter),
            listener("anna", None, human=True, accepts=[Question]),
        ],
        journal=SqliteJournal(path),
        shutdown_seconds=0,
    )


async def left_open(path: Path) -> None:
    async with keeping(path, Euros) as organism:
        await organism.send("keeper", Go(), key="k")
        await organism.session(id="s").ask("greeter", Question("x"))
        await came_to(organism.questions)


async def seen(path: Path, cls: type) -> list[tuple[str, str, bool]]:
    organism = keeping(path, cls)
    journal = SqliteJournal(path)
    kept = await journal.start(lambda error: None)
    found = prospects(kept, journal.steps, Machine(organism.listeners))
    await journal.close()
    return [(each.kind, each.why, each.lost) for each in found.changed]


async def test_a_state_of_an_earlier_version_is_upgraded_in_the_next_life(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    await left_open(path)
    assert await seen(path, Euros) == []
    assert await seen(path, Wider) == []
    assert ("state", "its class has changed, and upgrades it", False) in await seen(path, Cents)
    async with keeping(path, Cents) as organism:
        await came_to(organism.questions)
        await organism.answer(organism.questions()[0].thread_id, Answer("x"))
        assert "Cents(cents=250" in (await organism.ask("keeper", Go(), key="k")).text
        assert "Cents(cents=250" in (await organism.session(id="s").ask("greeter", Question("x"))).text


async def test_a_state_that_does_not_fit_is_a_dead_letter_with_the_reason(tmp_path: Path) -> None:
    path, changed = tmp_path / "state.db", upgrading(staticmethod(broken))
    await left_open(path)
    (state,) = [(why, lost) for kind, why, lost in await seen(path, changed) if kind == "state"]
    assert "no such currency" in state[0]
    assert state[1]
    async with keeping(path, changed) as organism:
        await came_to(organism.questions)
        await organism.answer(organism.questions()[0].thread_id, Answer("x"))
        with pytest.raises(AnswerError, match=r"state does not fit Changed any more: .*no such currency"):
            await organism.ask("keeper", Go(), key="k")
        assert "no such currency" in organism.dead_letters()[0].reason
        with pytest.raises(AnswerError, match="failed with PayloadError"):
            await organism.session(id="s").ask("greeter", Question("x"))


@xmlify(name="Reply")
@dataclass
class FirstReply:
    text: str


@xmlify(name="Reply")
@dataclass
class SecondReply:
    """Takes what the other one takes, too."""

    text: str
    more: str = ""


@pytest.mark.parametrize("cls", [FirstReply, SecondReply])
async def test_an_answer_is_read_by_the_class_that_wrote_it(tmp_path: Path, cls: type) -> None:
    async def answering(payload: Go, metadata: HandlerMetadata) -> Any:
        return respond(cls("x"))

    for _ in range(2):
        organism = Organism("x", [listener("it", answering)], journal=SqliteJournal(tmp_path / "state.db"))
        async with organism:
            assert await organism.ask("it", Go(), key="k") == cls("x")
