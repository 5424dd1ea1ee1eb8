"""What a handler asks through its own organism has a key that follows from the message it handles."""

from __future__ import annotations

import asyncio
import uuid
from pathlib import Path
from typing import Any

import pytest

from tests.journal.test_recovery import came_to
from tests.pump.scenes import Answer, Go, Note, Question, respond
from xml_pipeline import HandlerMetadata, Organism
from xml_pipeline.errors import PayloadError, PayloadTypeError, RoutingError


class Office:
    """`boss` asks `clerk` through the organism, as often as its task says; what they did outlives the lives."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.calls: list[str] = []
        self.stuck = False
        self.fails = 0
        self.text = "same"
        self.elsewhere: Organism | None = None

    def organism(self) -> Organism:
        organism = Organism.build("office", journal=self.path, shutdown_seconds=0)

        @organism.listener
        async def clerk(payload: Question, metadata: HandlerMetadata) -> Any:
            self.calls.append(f"clerk {payload.text}")
            return respond(Answer(f"{payload.text} {self.calls.count(f'clerk {payload.text}')}"))

        @organism.listener(retries=1)
        async def boss(payload: Go, metadata: HandlerMetadata) -> Any:
            self.calls.append("boss")
            target = self.elsewhere or organism
            answers = [(await target.ask("clerk", Question(self.text))).text for _ in range(payload.n)]
            both = await asyncio.gather(*(target.ask("clerk", Question(each), timeout=60) for each in "ab"))
            await target.send("clerk", Question("sent"))
            async with target.session() as session:
                answers.append((await session.ask("clerk", Question("session"))).text)
            if self.fails:
                self.fails -= 1
                raise RuntimeError("once more")
            if self.stuck:
                self.calls.append("stuck")
                await asyncio.Event().wait()
            return respond(Note(", ".join([*answers, *(each.text for each in both)])))

        return organism


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(tmp_path / "state.db")


ONCE = ["clerk a", "clerk b", "clerk same", "clerk same", "clerk sent", "clerk session"]


async def killed_and_again(office: Office) -> Note:
    office.stuck = True
    async with office.organism() as organism:
        await organism.send("boss", Go(2), key="k")
        await came_to(lambda: "stuck" in office.calls and "clerk sent" in office.calls)
    office.stuck = False
    async with office.organism() as organism:
        answer: Note = await organism.ask("boss", Go(2), key="k")
        await came_to(lambda: not organism.status().conversations)
    return answer


async def test_a_handler_that_is_called_again_joins_what_it_began(office: Office) -> None:
    assert await killed_and_again(office) == Note("same 1, same 2, session 1, a 1, b 1")
    assert office.calls.count("boss") == 2
    assert sorted(call for call in office.calls if call.startswith("clerk")) == ONCE


async def test_what_it_had_not_asked_before_is_asked(office: Office) -> None:
    office.stuck = True
    async with office.organism() as organism:
        await organism.send("boss", Go(2), key="k")
        await came_to(lambda: "stuck" in office.calls)
    office.stuck, office.text = False, "other"
    async with office.organism() as organism:
        assert await organism.ask("boss", Go(2), key="k") == Note("other 1, other 2, session 1, a 1, b 1")


async def test_a_handler_that_raised_asks_anew(office: Office) -> None:
    office.fails = 1
    async with office.organism() as organism:
        answer = await organism.ask("boss", Go(1))
        assert answer == Note("same 2, session 2, a 2, b 2")


async def test_through_another_organism_each_request_is_its_own(office: Office, tmp_path: Path) -> None:
    other = Office(tmp_path / "other.db")
    other.calls = office.calls
    async with other.organism() as elsewhere:
        office.elsewhere = elsewhere
        assert await killed_and_again(office) == Note("same 3, same 4, session 2, a 2, b 2")


async def test_two_messages_ask_for_themselves_and_so_does_the_outside(office: Office) -> None:
    async with office.organism() as organism:
        assert await organism.ask("boss", Go(1)) == Note("same 1, session 1, a 1, b 1")
        assert await organism.ask("boss", Go(1)) == Note("same 2, session 2, a 2, b 2")
        assert await organism.ask("clerk", Question("same")) == Answer("same 3")
        assert await organism.ask("clerk", Question("same")) == Answer("same 4")


async def test_without_a_journal_nothing_has_a_key() -> None:
    office = Office(None)
    async with office.organism() as organism:
        assert await organism.ask("boss", Go(1)) == Note("same 1, session 1, a 1, b 1")


@pytest.mark.parametrize(
    ("to", "payload", "error"),
    [
        ("nobody", Question("x"), RoutingError),
        ("clerk", Note("x"), RoutingError),
        ("clerk", Question(5), PayloadError),  # type: ignore[arg-type]
        ("clerk", object(), RoutingError),
        ("clerk", uuid.UUID(int=1), RoutingError),
    ],
)
async def test_what_cannot_be_asked_is_refused_inside_as_outside(
    office: Office, to: str, payload: Any, error: type[Exception]
) -> None:
    told: list[BaseException] = []
    organism = office.organism()

    @organism.listener
    async def asking(message: Go, metadata: HandlerMetadata) -> Any:
        for way in (organism.ask, organism.send):
            try:
                await way(to, payload)
            except Exception as raised:
                told.append(raised)
        return respond(Answer("told"))

    async with organism:
        await organism.ask("asking", Go())
        with pytest.raises(error) as outside:
            await organism.ask(to, payload)
        assert [type(each) for each in told] == [type(outside.value)] * 2
        assert not isinstance(told[0], PayloadTypeError)
