"""What commands change goes through the organism that runs, and is the same as when nobody does."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Done, xp  # noqa: F401 - a fixture
from tests.cli.folders import inside
from tests.journal.test_recovery import came_to
from xml_pipeline import Organism
from xml_pipeline.errors import NoReply, OrganismClosed

Xp = Callable[..., Done]

HANDLERS = """
import asyncio
from dataclasses import dataclass
from xml_pipeline import HandlerResponse, SystemError, xmlify

gate = asyncio.Event()
attempts = []

@xmlify
@dataclass
class Word:
    text: str

@xmlify
@dataclass
class Form:
    text: str

@xmlify
@dataclass
class Signed:
    by: str
    yes: bool

async def echo(payload: Word, metadata):
    if payload.text == "fail":
        raise ValueError("as asked")
    attempts.append(metadata.attempt)
    return HandlerResponse.respond(payload)

async def slow(payload: Word, metadata):
    await gate.wait()
    return HandlerResponse.respond(payload)

async def stuck(payload: Word, metadata):
    if metadata.attempt == 1:
        await gate.wait()
    return HandlerResponse.respond(payload)

both = asyncio.Event()

async def first(payload: Word, metadata):
    await both.wait()
    return HandlerResponse.respond(payload)

async def second(payload: Word, metadata):
    both.set()
    await asyncio.sleep(0.2)
    return HandlerResponse.respond(payload)

async def desk(payload: Word | Signed, metadata):
    if isinstance(payload, Word):
        return HandlerResponse(Form(payload.text), to="anna")
    return HandlerResponse.respond(Word(f"{payload.by}: {payload.yes}"))

async def diary(payload: Word, metadata):
    seen = ", ".join(each.text for each in metadata.recall(Word))
    return HandlerResponse.respond(Word(f"after {seen}"), remember=payload)
"""
ORGANISM = """
organism: {name: demo, journal: state.db, shutdown_seconds: 0}
listeners:
  - {name: echo, handler: door_handlers:echo}
  - {name: slow, handler: door_handlers:slow}
  - {name: stuck, handler: door_handlers:stuck}
  - {name: first, handler: door_handlers:first}
  - {name: second, handler: door_handlers:second}
  - {name: desk, handler: door_handlers:desk, peers: [anna]}
  - {name: diary, handler: door_handlers:diary, remembers: session}
  - {name: anna, human: true, accepts: door_handlers:Form, answers: door_handlers:Signed}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return inside(tmp_path, monkeypatch, {"door_handlers.py": HANDLERS, "organism.yaml": ORGANISM})


@asynccontextmanager
async def lives(*, running: bool = True) -> AsyncIterator[Organism | None]:
    """An organism that runs, or nobody."""
    if not running:
        yield None
        return
    async with Organism.from_file("organism.yaml") as organism:
        yield organism


async def bury(text: str) -> None:
    """A dead letter: a form that nobody signed in time."""
    async with Organism.from_file("organism.yaml") as organism:
        word = payload(organism, "echo", text)
        conversation = await organism.send("desk", word)
        await came_to(organism.questions)
        organism.cancel(conversation)
        await came_to(organism.dead_letters)


def files(folder: Path) -> list[Path]:
    """The journal, and what is beside it."""
    return sorted(each for each in folder.glob("state.db*") if each.is_file())


def payload(organism: Organism, name: str, text: str) -> Any:
    codec = organism.listeners[name].requests["Word"]
    return codec.cls(text)


@pytest.fixture
def there(xp: Xp) -> Callable[..., Any]:  # noqa: F811
    async def call(*arguments: str) -> Done:
        return await asyncio.to_thread(xp, *arguments)

    return call


async def listed(there: Callable[..., Any], *arguments: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((await there(*arguments, "--json")).stdout)
    return found


def listed_now(xp: Xp, *arguments: str) -> list[dict[str, Any]]:  # noqa: F811
    found: list[dict[str, Any]] = json.loads(xp(*arguments, "--json").stdout)
    return found


both = pytest.mark.parametrize("running", [True, False], ids=["running", "alone"])


@both
async def test_dead_letters_are_shown_sent_again_and_dropped(
    folder: Path, there: Callable[..., Any], running: bool
) -> None:
    for text in ("one", "two"):
        await bury(text)
    shown = await there("dead", "show", "1")
    assert shown.returncode == 0, shown.stderr
    assert "<Form><text>one</text></Form>" in shown.stdout
    async with lives(running=running) as organism:
        sent = await there("dead", "retry", "1")
        assert sent.returncode == 0, sent.stderr
        assert sent.stdout.endswith("1 message sent\n")
        assert [each["number"] for each in await listed(there, "dead", "list")] == [2]
        assert (await there("dead", "drop", "--all")).stdout == "1 dead letter dropped\n"
        assert await listed(there, "dead", "list") == []
        again = await there("dead", "retry", "1")
        assert again.returncode == 1
        assert "there is no dead letter 1" in again.stderr
        if organism is not None:
            await came_to(organism.questions)
            assert organism.dead_letters() == []
    async with lives() as organism:
        assert organism is not None
        await came_to(organism.questions)
        (question,) = organism.questions()
        assert "one" in str(question.payload)
    assert (await there("journal", "check")).stdout.endswith(": ok\n")


async def test_dead_letters_of_the_running_life_are_off_its_own_list_too(
    folder: Path, there: Callable[..., Any]
) -> None:
    async with Organism.from_file("organism.yaml") as organism:
        for text in ("one", "two"):
            conversation = await organism.send("desk", payload(organism, "echo", text))
            await came_to(organism.questions)
            organism.cancel(conversation)
        await came_to(lambda: len(organism.dead_letters()) == 2)
        assert (await there("dead", "drop", "1")).returncode == 0
        assert len(organism.dead_letters()) == 1
        erased = await there("journal", "erase", organism.dead_letters()[0].conversation_id)
        assert erased.returncode == 0, erased.stderr
        assert organism.dead_letters() == []


@both
async def test_a_letter_that_is_sent_again_comes_as_a_first_attempt(
    folder: Path, there: Callable[..., Any], running: bool
) -> None:
    async with lives() as organism:
        assert organism is not None
        conversation = await organism.send("slow", payload(organism, "slow", "x"))
        await came_to(lambda: organism.status().running)
        organism.cancel(conversation)
        await came_to(organism.dead_letters)
    source = (folder / "organism.yaml").read_text()
    (folder / "organism.yaml").write_text(source.replace("door_handlers:slow", "door_handlers:echo"))
    attempts = sys.modules["door_handlers"].attempts
    attempts.clear()
    async with lives(running=running):
        sent = await there("dead", "retry", "--all")
        assert sent.returncode == 0
        if running:
            await came_to(lambda: attempts)
    async with lives():
        await came_to(lambda: attempts)
    assert attempts == [1]
    replayed = await there("replay", sent.stdout.split()[-4])
    assert replayed.stdout.endswith(" steps: no difference\n"), replayed


@both
async def test_a_conversation_is_cancelled(folder: Path, there: Callable[..., Any], running: bool) -> None:
    async with lives() as organism:
        assert organism is not None
        asked = asyncio.create_task(organism.ask("slow", payload(organism, "slow", "x"), key="k"))
        await came_to(lambda: organism.status().running)
        if running:
            (one,) = await listed(there, "log", "--open")
            done = await there("cancel", one["id"][:9])
            assert done == Done(0, f"conversation {one['id']} is cancelled\n", "")
            with pytest.raises(NoReply):
                await asked
            await came_to(lambda: not organism.status().running)
    if not running:
        with pytest.raises(OrganismClosed):
            await asked
        (one,) = await listed(there, "log", "--open")
        assert (await there("cancel", one["id"][:9])).stdout == f"conversation {one['id']} is cancelled\n"
    assert await listed(there, "log", "--open") == []
    assert (await there("journal", "check")).stdout.endswith(": ok\n")
    again = await there("cancel", one["id"])
    assert again.returncode == 1
    assert "is over already" in again.stderr
    async with lives() as organism:
        assert organism is not None
        assert organism.status().conversations == 0
        with pytest.raises(NoReply):
            await organism.ask("slow", payload(organism, "slow", "x"), key="k")


@both
async def test_what_is_erased_is_nowhere_in_the_file_and_not_remembered(
    folder: Path, there: Callable[..., Any], running: bool
) -> None:
    async with lives() as first:
        assert first is not None
        for text in ("secret 4711", "open"):
            await first.session(id="s").ask("diary", payload(first, "diary", text))
        if not running:
            await first.stop()
        begun, _ = await listed(there, "log")
        done = await there("journal", "erase", begun["id"])
        assert done == Done(0, f"conversation {begun['id']} is erased\n", "")
        # What is remembered is quoted by what the second one was answered.
        (quotes,) = [each["id"] for each in await listed(there, "log") if each["id"] != begun["id"]]
        assert (await there("journal", "erase", quotes)).returncode == 0
        assert [each.name for each in files(folder) if b"4711" in each.read_bytes()] == []
        if running:
            third = await first.session(id="s").ask("diary", payload(first, "diary", "3"))
            assert third.text == "after "
    async with lives() as second:
        assert second is not None
        answer = await second.session(id="s").ask("diary", payload(second, "diary", "4"))
        assert answer.text == ("after 3" if running else "after ")
    assert (await there("journal", "check")).stdout.endswith(": ok\n")


@both
async def test_compacting_deletes_what_it_is_told_not_to_keep(
    folder: Path, there: Callable[..., Any], running: bool
) -> None:
    async with lives() as organism:
        assert organism is not None
        await organism.ask("echo", payload(organism, "echo", "x" * 300_000))
    before = (folder / "state.db").stat().st_size
    async with lives(running=running) as organism:
        alone = await there("journal", "compact", "--journal", "state.db")
        assert "0 conversations deleted; nobody said how long they are kept: --keep 7d;" in alone.stdout
        kept = await there("journal", "compact", "--journal", "state.db", "--keep", "1d")
        assert kept.stdout.startswith("0 conversations deleted; ")
        shrunk = ("journal", "compact", "--journal", "state.db", "--keep", "1s")
        while (done := await there(*shrunk)).stdout.startswith("0 conversations deleted; "):
            pass
        assert done.stdout.startswith("1 conversation deleted; "), done
        assert (folder / "state.db").stat().st_size < before / 4
        if organism is not None:
            assert (await organism.ask("echo", payload(organism, "echo", "y"))).text == "y"
    assert (await there("journal", "compact", "--keep", "soon")).returncode == 2


# --- asking ---


async def test_who_asks_joins_the_organism_that_runs(folder: Path, there: Callable[..., Any]) -> None:
    async with lives() as organism:
        assert organism is not None
        assert await there("ask", "echo", "hello") == Done(0, "hello\n", "")
        assert organism.status().handled == 1
        waiting = asyncio.create_task(there("ask", "slow", "x", "--key", "k"))
        await came_to(lambda: organism.status().running)
        joined = asyncio.create_task(organism.ask("slow", payload(organism, "slow", "x"), key="k"))
        sys.modules["door_handlers"].gate.set()
        assert await waiting == Done(0, "x\n", "")
        assert (await joined).text == "x"
        assert organism.status().handled == 2
        failed = await there("ask", "echo", "fail")
        assert failed.returncode == 1
        assert "error (handler): the handler failed with ValueError" in failed.stderr
        other = await there("ask", "slow", "other", "--key", "k")
        assert "a key names one request for ever" in other.stderr
    assert await there("ask", "slow", "x", "--key", "k") == Done(0, "x\n", "")
    sys.modules["door_handlers"].gate.clear()


async def test_an_envelope_goes_to_the_organism_that_runs(folder: Path, there: Callable[..., Any]) -> None:
    envelope = (
        '<message xmlns="https://xml-pipeline.org/ns/envelope/v1"><meta><from>me</from><to>echo</to>'
        "<thread>12345678-1234-1234-1234-123456789abc</thread></meta>"
        '<Word xmlns=""><text>&lt;hé&gt;</text></Word></message>'
    )
    (folder / "message.xml").write_text(envelope)
    async with lives() as organism:
        assert organism is not None
        first = await there("send", "message.xml", "--key", "k")
        assert first.returncode == 0, first.stderr
        assert "<text>&lt;hé&gt;</text>" in first.stdout
        assert organism.status().handled == 1
    again = await there("send", "message.xml", "--key", "k")
    assert again.stdout == first.stdout
    (folder / "message.xml").write_bytes(b"\xff\xfe\x00")
    assert (await there("send", "message.xml")).returncode == 1


async def test_time_that_is_up_ends_the_conversation(folder: Path, there: Callable[..., Any]) -> None:
    async with lives() as organism:
        assert organism is not None
        late = await there("ask", "slow", "x", "--timeout", "0.2")
        assert late.returncode == 1
        assert "did not answer within 0.2 s" in late.stderr
        await came_to(lambda: not organism.status().conversations)


async def test_a_stop_is_told_to_who_waits(folder: Path, there: Callable[..., Any]) -> None:
    async with lives() as organism:
        assert organism is not None
        waiting = asyncio.create_task(there("ask", "slow", "x", "--key", "k"))
        await came_to(lambda: organism.status().running)
    told = await waiting
    assert told.returncode == 1
    assert "started again, it goes on with it" in told.stderr


async def test_another_organism_of_the_same_journal_is_checked_by_the_one_that_runs(
    folder: Path, there: Callable[..., Any]
) -> None:
    handlers = (folder / "door_handlers.py").read_text()
    others = handlers.replace("class Word:\n    text: str", "class Word:\n    size: int")
    (folder / "door_others.py").write_text(others)
    other = (
        "organism: {name: other, journal: state.db}\n"
        "listeners:\n  - {name: echo, handler: door_others:diary}\n  - {name: only, handler: door_others:diary}\n"
    )
    (folder / "other.yaml").write_text(other)
    async with lives() as organism:
        assert organism is not None
        refused = await there("ask", "echo", "size=5", "-f", "other.yaml")
        assert refused.returncode == 1
        assert "Word.text" in refused.stderr
        unknown = await there("ask", "only", "size=5", "-f", "other.yaml")
        assert "no listener 'only'" in unknown.stderr
        assert organism.status().handled == 0


# --- people ---


@both
async def test_a_question_is_answered_from_another_terminal(
    folder: Path, there: Callable[..., Any], running: bool
) -> None:
    async with lives() as first:
        assert first is not None
        await first.send("desk", payload(first, "echo", "a lease"), key="lease")
        await came_to(first.questions)
    assert (await there("questions")).stdout.endswith("desk → anna  <Form><text>a lease</text></Form>\n")
    async with lives(running=running) as organism:
        (question,) = await listed(there, "questions")
        wrong = await there("answer", question["thread"], "yes=perhaps by=Anna")
        assert wrong.returncode == 1
        assert "Signed.yes" in wrong.stderr
        assert await listed(there, "questions") == [question]
        done = await there("answer", question["thread"][:9], "by=Anna yes=true")
        assert done == Done(0, f"thread {question['thread']} is answered\n", "")
        if organism is not None:
            await came_to(lambda: not organism.status().conversations)
    assert (await there("questions")).stdout == "no questions\n"
    twice = await there("answer", question["thread"], "by=Anna yes=true")
    assert "no question begins with" in twice.stderr
    async with lives() as last:
        assert last is not None
        given = await last.ask("desk", payload(last, "echo", "a lease"), key="lease")
        assert given.text == "Anna: True"
    assert (await there("journal", "check")).stdout.endswith(": ok\n")


# --- where it is ---


async def test_the_socket_is_its_owners_alone_and_goes_with_the_organism(folder: Path) -> None:
    async with lives():
        place = folder / "state.db.run"
        assert stat.S_IMODE(place.stat().st_mode) == 0o700
        assert stat.S_IMODE((place / "socket").stat().st_mode) == 0o600
        assert stat.S_ISSOCK((place / "socket").stat().st_mode)
    assert not place.exists()
    assert [each.name for each in files(folder)] == ["state.db", "state.db.lock"]


async def test_without_a_journal_nobody_listens(folder: Path, there: Callable[..., Any]) -> None:
    source = (folder / "organism.yaml").read_text()
    (folder / "organism.yaml").write_text(source.replace("journal: state.db, ", ""))
    before = set(os.listdir(folder))
    async with lives():
        assert await there("ask", "echo", "by itself") == Done(0, "by itself\n", "")
        assert {each for each in os.listdir(folder) if "run" in each or "sock" in each} <= before


async def test_work_goes_on_while_much_is_changed(folder: Path, there: Callable[..., Any]) -> None:
    for text in ("one", "two"):
        await bury(text)
    async with lives() as organism:
        assert organism is not None
        asked = [
            asyncio.create_task(organism.ask("echo", payload(organism, "echo", str(n)), key=str(n)))
            for n in range(300)
        ]
        (first, *_) = await listed(there, "log")
        commands = [
            ("dead", "retry", "1"),
            ("journal", "compact", "--keep", "1d"),
            ("dead", "drop", "--all"),
            ("journal", "erase", first["id"]),
        ]
        for command in commands:
            done = await there(*command)
            assert done.returncode == 0, done
        answers = await asyncio.gather(*asked)
        assert [each.text for each in answers] == [str(n) for n in range(300)]
        await came_to(organism.questions)
        assert (await there("cancel", organism.questions()[0].conversation_id)).returncode == 0
    assert (await there("journal", "check")).stdout.endswith(": ok\n")
    assert await listed(there, "log", "--open") == []


async def test_what_a_session_remembers_outlives_a_cancel_while_nobody_runs(
    folder: Path, there: Callable[..., Any]
) -> None:
    async with lives() as organism:
        assert organism is not None
        session = organism.session(id="s")
        await session.ask("diary", payload(organism, "diary", "one"))
        await session.send("desk", payload(organism, "desk", "x"))
        await came_to(organism.questions)
    (one,) = await listed(there, "log", "--open")
    assert (await there("cancel", one["id"])).returncode == 0
    async with lives() as organism:
        assert organism is not None
        given = await organism.session(id="s").ask("diary", payload(organism, "diary", "two"))
        assert given.text == "after one"
    assert (await there("journal", "check")).stdout.endswith(": ok\n")


async def test_many_that_are_sent_again_wait_for_room(folder: Path, there: Callable[..., Any]) -> None:
    source = (folder / "organism.yaml").read_text()
    (folder / "organism.yaml").write_text(source.replace("{name: demo,", "{name: demo, max_in_flight: 2,"))
    async with lives() as organism:
        assert organism is not None
        for n in range(5):
            conversation = await organism.send("slow", payload(organism, "slow", str(n)))
            await came_to(lambda: organism.status().running)
            organism.cancel(conversation)
            await came_to(lambda n=n: len(organism.dead_letters()) == n + 1)
        sent = await there("dead", "retry", "--all")
        assert sent.stdout.endswith("5 messages sent\n")
        await came_to(lambda: organism.status().running == 2)
        newcomer = asyncio.create_task(organism.ask("echo", payload(organism, "echo", "new")))
        seen = []
        gate = sys.modules["door_handlers"].gate
        gate.set()
        while not newcomer.done() or organism.status().conversations:
            seen.append(organism.status().in_flight)
            await asyncio.sleep(0)
        assert max(seen) <= 2
        assert (await newcomer).text == "new"
        gate.clear()
    assert await listed(there, "log", "--open") == []
