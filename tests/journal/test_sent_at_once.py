"""`send` with one key from several places at once: each returns when the message is durable, and not before."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.journal.test_recovery import came_to
from xml_pipeline import HandlerMetadata, HandlerResponse, Organism, xmlify
from xml_pipeline.errors import OrganismClosed
from xml_pipeline.journal.sqlite import SqliteJournal
from xml_pipeline.pump import PumpSettings


@xmlify
@dataclass
class Word:
    text: str = ""


class Place:
    """An organism with room for one message, whose handler waits."""

    def __init__(self, path: Path, room: int = 1000) -> None:
        self.gate = asyncio.Event()
        settings = PumpSettings(max_in_flight=room)
        self.organism = Organism(
            "place", journal=SqliteJournal(path), settings=settings, shutdown_seconds=0.0
        )
        self.organism.listener(self.wait, name="desk")

    async def wait(self, payload: Word, metadata: HandlerMetadata) -> HandlerResponse[Word]:
        await self.gate.wait()
        return HandlerResponse.respond(payload)

    def sends(self, number: int) -> list[asyncio.Task[str]]:
        return [asyncio.create_task(self.organism.send("desk", Word(), key="k")) for _ in range(number)]


async def test_all_return(tmp_path: Path) -> None:
    place = Place(tmp_path / "state.db")
    async with place.organism:
        assert len(set(await asyncio.gather(*place.sends(5)))) == 1


async def test_who_gives_up_ends_it_for_nobody_else(tmp_path: Path) -> None:
    place = Place(tmp_path / "state.db")
    async with place.organism:
        first, second, third = place.sends(3)
        await asyncio.sleep(0)
        second.cancel()
        assert await first == await third


async def test_while_there_is_no_room_none_returns(tmp_path: Path) -> None:
    place = Place(tmp_path / "state.db", room=1)
    async with place.organism as organism:
        await organism.send("desk", Word("before"))
        sends = place.sends(3)
        await asyncio.sleep(0.02)
        assert not any(each.done() for each in sends)
        place.gate.set()
        assert len(set(await asyncio.gather(*sends))) == 1


async def test_a_stop_tells_all_of_them(tmp_path: Path) -> None:
    place = Place(tmp_path / "state.db", room=1)
    async with place.organism as organism:
        await organism.send("desk", Word("before"))
        sends = place.sends(3)
        await asyncio.sleep(0)
        await came_to(lambda: organism.status().in_flight == 1)
    for each in sends:
        with pytest.raises(OrganismClosed):
            await each
