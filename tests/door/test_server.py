"""Whoever comes to the door, and whatever they say or do not say, harms nobody."""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.journal.test_recovery import came_to
from xml_pipeline.door import Door, Request, Told, client, place
from xml_pipeline.door.client import Nobody, told
from xml_pipeline.door.requests import Drop, Exchange, Retry, line
from xml_pipeline.errors import JournalError, RoutingError, XmlPipelineError


class Office:
    """What is behind the door in these tests."""

    def __init__(self, journal: Path) -> None:
        self.journal = journal
        self.served: list[Request] = []
        self.left = asyncio.Event()
        self.gate = asyncio.Event()
        self.door = Door(journal, self.serve)
        self.writers: list[asyncio.StreamWriter] = []

    async def serve(self, request: Request) -> Told:
        self.served.append(request)
        match request:
            case Retry():
                raise RoutingError("not that one")
            case Exchange(envelope="exit"):
                raise SystemExit("no exception")
            case Exchange(envelope="large"):
                return Told(["x" * 5_000_000])
            case Exchange(envelope="wait"):
                try:
                    await self.gate.wait()
                finally:
                    self.left.set()
            case Exchange():
                raise ValueError("a defect")
            case Drop(letter=7):
                await self.gate.wait()
                self.left.set()
        return Told(["done"])

    async def asked(self, request: Request) -> Told:
        return await asyncio.to_thread(told, self.journal, line(request))

    async def called(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection, after its greeting."""
        reader, writer = await asyncio.open_unix_connection(place.directory_of(self.journal) / "socket")
        self.writers.append(writer)
        await reader.readline()
        return reader, writer


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[Office]:
    office = Office(folder / "state.db")
    await office.door.open()
    assert office.door.why_not == ""
    try:
        yield office
    finally:
        await office.door.close()
        assert not office.door.callers
        assert office.door.heard == 0
        assert not place.directory_of(office.journal).exists()
        for writer in office.writers:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()


async def test_a_request_is_told_what_became_of_it(tmp_path: Path) -> None:
    async with opened(tmp_path) as office:
        assert await office.asked(Drop(1)) == Told(["done"])
        with pytest.raises(XmlPipelineError, match=r"^not that one$"):
            await office.asked(Retry())
        with pytest.raises(XmlPipelineError, match="the organism's log says more: ValueError: a defect"):
            await office.asked(Exchange("x"))
        with pytest.raises(XmlPipelineError, match="the organism's log says more"):
            await office.asked(Exchange("exit"))
        assert len((await office.asked(Exchange("large"))).rows[0]) == 5_000_000
        assert office.served == [Drop(1), Retry(), Exchange("x"), Exchange("exit"), Exchange("large")]
    with pytest.raises(Nobody):
        await office.asked(Drop(1))


@pytest.mark.parametrize(
    "said",
    [
        b"\n",
        b"garbage\n",
        b"\x00\xff\xfe\n",
        b"[]\n",
        b"{}\n",
        b'{"do":"everything"}\n',
        b'{"do":"dead drop","letter":"1"}\n',
        b'{"do":"dead drop","letter":1,"twice":true}\n',
        b'{"do":"dead drop","letter":' + b"[" * 100_000 + b"\n",
        b'{"do":"cancel","conversation":"\xff"}\n',
        b"GET / HTTP/1.1\r\n\r\n",
    ],
)
async def test_garbage_is_refused(tmp_path: Path, said: bytes) -> None:
    async with opened(tmp_path) as office:
        reader, writer = await office.called()
        writer.write(said)
        refused = json.loads(await reader.readline())
        assert refused["is"] == "refused"
        assert "no request of version 1" in refused["why"]
        assert await reader.read() == b""
        writer.close()
        assert office.served == []
        assert await office.asked(Drop(1)) == Told(["done"])


async def test_a_line_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xml_pipeline.door.server.LONGEST", 60_000)
    monkeypatch.setattr("xml_pipeline.door.server._HEARD", 80_000)
    async with opened(tmp_path) as office:
        reader, writer = await office.called()
        writer.write(b"x" * 60_001)
        assert "at most 60,000 bytes" in json.loads(await reader.readline())["why"]
        writer.close()
        waiting = [await office.called() for _ in range(2)]
        for _, each in waiting:
            each.write(b"x" * 50_000)
            await each.drain()
        told = [asyncio.create_task(each.readline()) for each, _ in waiting]
        (first,), (other,) = await asyncio.wait(told, return_when=asyncio.FIRST_COMPLETED)
        assert "too much is asked at the same time" in json.loads(first.result())["why"]
        assert await office.asked(Drop(1)) == Told(["done"])
        other.cancel()
        for _, each in waiting:
            each.close()


async def test_who_says_half_a_line_or_nothing_is_shown_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xml_pipeline.door.server.PATIENCE", 0.1)
    async with opened(tmp_path) as office:
        silent, half = await office.called(), await office.called()
        half[1].write(b'{"do":"dead')
        assert await silent[0].read() == b""
        assert await half[0].read() == b""
        for _, writer in (silent, half):
            writer.close()
        assert not office.door.callers


async def test_who_does_not_read_is_shown_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xml_pipeline.door.server.PATIENCE", 0.1)
    async with opened(tmp_path) as office:
        _, writer = await office.called()
        writer.write(line(Exchange("large")))
        await came_to(lambda: office.served and not office.door.callers)
        writer.close()


async def test_a_caller_that_goes_away_is_waited_for_by_nobody(tmp_path: Path) -> None:
    async with opened(tmp_path) as office:
        _, writer = await office.called()
        writer.write(line(Exchange("wait")))
        await came_to(lambda: office.served)
        writer.close()
        await office.left.wait()
        assert not office.gate.is_set()


async def test_a_change_goes_on_to_its_end_when_its_caller_goes_away(tmp_path: Path) -> None:
    async with opened(tmp_path) as office:
        _, writer = await office.called()
        writer.write(line(Drop(7)))
        await came_to(lambda: office.served)
        writer.close()
        await came_to(lambda: not office.door.callers)
        office.gate.set()
        await office.left.wait()


THOUSAND = """
import socket, sys
callers = []
for _ in range(1000):
    caller = socket.socket(socket.AF_UNIX)
    caller.connect(sys.argv[1])
    callers.append(caller)
print("there", flush=True)
sys.stdin.read()
"""


async def test_a_thousand_callers_keep_nobody_else_out_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xml_pipeline.door.server.PATIENCE", 2.0)
    async with opened(tmp_path) as office:
        crowd = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            THOUSAND,
            str(place.directory_of(office.journal) / "socket"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert crowd.stdout is not None
        assert await crowd.stdout.readline() == b"there\n"
        assert len(office.door.callers) <= 128
        while True:
            try:
                assert await office.asked(Drop(1)) == Told(["done"])
                break
            except Nobody as nobody:
                assert "too many callers" in str(nobody)  # noqa: PT017 - until it is let in
        await crowd.communicate(b"")


@given(st.lists(st.binary(max_size=200), max_size=4), st.booleans())
@settings(max_examples=60, deadline=None)
def test_whatever_is_said_the_next_one_is_served(tmp_path_factory, said: list[bytes], hangs: bool) -> None:  # type: ignore[no-untyped-def]
    folder = tmp_path_factory.mktemp("d")

    async def scene() -> None:
        async with opened(folder) as office:
            _, writer = await office.called()
            for each in said:
                writer.write(each)
                await asyncio.sleep(0)
            if not hangs:
                writer.close()
            assert await office.asked(Drop(1)) == Told(["done"])
            assert office.served == [Drop(1)]
            writer.close()

    asyncio.run(scene())


# --- the caller's side ---


async def listening(folder: Path, greeting: bytes) -> asyncio.Server:
    """Somebody who listens at the place of the door, and says this."""
    where = place.directory_of(folder / "state.db")
    where.mkdir(mode=0o700)

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(greeting)
        await reader.read()
        writer.close()

    return await asyncio.start_unix_server(greet, where / "socket")


@pytest.mark.parametrize(
    ("greeting", "error"),
    [
        (b'{"version":2,"process":7}\n', "process 7, which has the journal, speaks version 2, and this is 1"),
        (b"220 mail\r\n", "is no organism"),
        (b"x" * 5000, "is no organism"),
        (b"", "does not answer within 0.2 s; nothing was asked of it"),
    ],
)
async def test_nothing_is_asked_of_whoever_greets_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, greeting: bytes, error: str
) -> None:
    monkeypatch.setattr(client, "_GREETED", 0.2)
    async with await listening(tmp_path, greeting):
        with pytest.raises(JournalError, match=error):
            await asyncio.to_thread(told, tmp_path / "state.db", line(Drop(1)))


# --- where it is ---


async def test_a_long_path_has_a_door(tmp_path: Path) -> None:
    folder = tmp_path / ("long " * 30) / ("näme" * 40)
    folder.mkdir(parents=True)
    async with opened(folder) as office:
        assert await office.asked(Drop(1)) == Told(["done"])


async def test_a_link_to_the_journal_leads_to_the_same_door(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    async with opened(tmp_path / "real"):
        request = line(Drop(1))
        assert await asyncio.to_thread(told, tmp_path / "link" / "state.db", request) == Told(["done"])


def found_in(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.rglob("*"))


@pytest.mark.parametrize("what", ["file", "link", "dangling", "socket is a directory", "socket is a file"])
async def test_where_something_else_is_the_organism_goes_on_without_a_door(
    tmp_path: Path, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    office = Office(tmp_path / "state.db")
    where = place.directory_of(office.journal)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    match what:
        case "file":
            where.write_text("mine")
        case "link":
            where.symlink_to(elsewhere)
        case "dangling":
            where.symlink_to(tmp_path / "nowhere")
        case "socket is a directory":
            (where / "socket").mkdir(parents=True)
        case _:
            where.mkdir()
            (where / "socket").write_text("mine")
    before = found_in(tmp_path)
    await office.door.open()
    assert str(where) in office.door.why_not
    assert "commands cannot reach this organism" in caplog.text
    with pytest.raises(Nobody, match=str(where)):
        await office.asked(Drop(1))
    await office.door.close()
    assert found_in(tmp_path) == before
    assert not found_in(elsewhere)


async def test_a_directory_that_others_may_enter_is_closed_to_them_and_trusted_by_no_caller(
    tmp_path: Path,
) -> None:
    office = Office(tmp_path / "state.db")
    where = place.directory_of(office.journal)
    where.mkdir(mode=0o777)
    where.chmod(0o777)
    with pytest.raises(Nobody, match="can be entered by other users"):
        await office.asked(Drop(1))
    await office.door.open()
    assert where.stat().st_mode & 0o777 == 0o700
    assert await office.asked(Drop(1)) == Told(["done"])
    await office.door.close()


async def test_what_somebody_else_put_there_meanwhile_stays(tmp_path: Path) -> None:
    first, second = Office(tmp_path / "state.db"), Office(tmp_path / "state.db")
    await first.door.open()
    await second.door.open()
    await first.door.close()
    assert await second.asked(Drop(1)) == Told(["done"])
    assert (first.served, second.served) == ([], [Drop(1)])
    await second.door.close()


AS_ANOTHER = """
import os, socket, sys
os.setuid(65534)
caller = socket.socket(socket.AF_UNIX)
try:
    caller.connect(sys.argv[1])
    print(caller.recv(100))
except OSError as error:
    print(type(error).__name__)
"""


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root may become somebody else")
async def test_another_user_is_not_let_in() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        await another_user_calls(Path(folder))


async def another_user_calls(folder: Path) -> None:
    async with opened(folder) as office:
        where = place.directory_of(office.journal)

        async def tried() -> bytes:
            other = await asyncio.create_subprocess_exec(
                sys.executable,
                "-c",
                AS_ANOTHER,
                str(where / "socket"),
                stdout=subprocess.PIPE,
            )
            return (await other.communicate())[0].strip()

        assert await tried() == b"PermissionError"
        where.chmod(0o777)
        (where / "socket").chmod(0o777)
        assert await tried() in (b"b''", b"ConnectionResetError")
        assert office.served == []


async def test_requests_are_read_in_any_pieces(tmp_path: Path) -> None:
    pieces = random.Random(1)
    said = line(Exchange("ü" * 1000 + "\n\r\u2028"))
    async with opened(tmp_path) as office:
        reader, writer = await office.called()
        at = 0
        while at < len(said):
            size = pieces.randint(1, 300)
            writer.write(said[at : at + size])
            await writer.drain()
            await asyncio.sleep(0)
            at += size
        assert json.loads(await reader.readline())["is"] == "refused"
        assert office.served == [Exchange("ü" * 1000 + "\n\r\u2028")]
        writer.close()
