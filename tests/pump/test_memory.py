"""What a listener knows of earlier calls: entries, added by answers, seen by threads that open later."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest

from tests.pump.scenes import (
    Go,
    Note,
    Question,
    at_rest,
    call,
    gather,
    respond,
    settled,
    until,
    virtual,
)
from xml_pipeline import AnswerError, Gathered, HandlerMetadata, HandlerResponse, Huh, Organism, xmlify
from xml_pipeline.errors import AskTimeout, PayloadError, RoutingError
from xml_pipeline.events import EntryRemembered, SessionEnded
from xml_pipeline.testing import Recorder
from xml_pipeline.threads import State


@xmlify
@dataclass
class Visit:
    """Somebody was here."""

    name: str


def visited(**options: Any) -> Organism:
    """`greeter` answers with who was there before; `host` calls it as often as it is told."""
    organism = Organism.build()

    @organism.listener(**options)
    async def greeter(payload: Visit, metadata: HandlerMetadata) -> Any:
        before = [visit.name for visit in metadata.recall(Visit)]
        return respond(Note(" ".join(before)), remember=payload)

    @organism.listener(peers=["greeter"])
    async def host(payload: Go | Note | Question | Gathered, metadata: HandlerMetadata) -> Any:
        if isinstance(payload, Go):
            return gather([call(Visit(str(n)), to="greeter") for n in range(payload.n)])
        if isinstance(payload, Gathered):
            return [call(Visit("last"), to="greeter")]
        return respond(payload)

    return organism


def nothing_is_kept(organism: Organism) -> bool:
    return at_rest(organism) and organism._pump.machine.state == State()


@virtual
async def test_a_session_of_the_outside_remembers_over_its_conversations() -> None:
    organism = visited()
    recorder = Recorder(organism)
    async with organism:
        async with organism.session() as session:
            answers = [await session.ask("greeter", Visit(name)) for name in "abc"]
            assert answers == [Note(""), Note("a"), Note("a b")]
            (key,) = {each.memory for each in recorder.of(EntryRemembered)}
            assert organism.remembered(key, Visit) == (Visit("a"), Visit("b"), Visit("c"))
            assert organism.remembered(key, Go) == ()
            assert organism.remembered("nothing", Visit) == ()
        assert organism.remembered(key, Visit) == ()
        assert [each.session_id for each in recorder.of(SessionEnded)] == [key]
        assert nothing_is_kept(organism)
        assert await organism.ask("greeter", Visit("d")) == Note("")
        assert nothing_is_kept(organism)


@virtual
async def test_parallel_calls_have_memories_of_their_own_and_calls_one_after_the_other_share_one() -> None:
    organism = visited()
    async with organism:
        assert await organism.ask("host", Go(3)) == Note("")
        assert await organism.ask("host", Go(1)) == Note("0")
        assert nothing_is_kept(organism)


@virtual
async def test_the_newest_entries_are_kept() -> None:
    organism = visited(keep=2)
    async with organism, organism.session() as session:
        for name in "abcde":
            last = await session.ask("greeter", Visit(name))
        assert last == Note("c d")


@virtual
async def test_a_conversation_remembers_over_its_threads_and_not_beyond() -> None:
    organism = visited(remembers="conversation")

    @organism.listener(peers=["host"])
    async def two(payload: Question | Gathered, metadata: HandlerMetadata) -> Any:
        """Two threads of `host`: two sessions, one conversation."""
        if isinstance(payload, Question):
            return gather([call(Go(1), to="host"), call(Go(1), to="host")])
        return respond(Note(" | ".join(each.text for each in payload.answers)))

    async with organism:
        async with organism.session() as session:
            assert await session.ask("host", Go(2)) == Note("0 1")
            assert await session.ask("greeter", Visit("x")) == Note("")
            assert await session.ask("greeter", Visit("y")) == Note("")
            both = await session.ask("two", Question("?"))
            assert sorted(both.text.split(" | "), key=len)[-1].startswith("0 0")
        assert nothing_is_kept(organism)


@virtual
async def test_an_answer_that_is_refused_or_comes_too_late_adds_no_entry() -> None:
    organism = Organism.build()
    recorder = Recorder(organism)

    @organism.listener(timeout_seconds=5)
    async def odd(payload: Go | Huh, metadata: HandlerMetadata) -> Any:
        if isinstance(payload, Huh):
            return respond(Note(str(len(metadata.memory))))
        match payload.n:
            case 0:
                return respond(Note(5), remember=Visit("refused"))  # type: ignore[arg-type]
            case 1:
                return respond(Note("5"), remember=Visit(5))  # type: ignore[arg-type]
            case 2:
                return respond(Note(), remember="text")
            case 3:
                try:
                    await asyncio.sleep(50)
                except asyncio.CancelledError:
                    return respond(Note(), remember=Visit("late"))
            case 4:
                return [respond(Note("4")), respond(Note("again"), remember=Visit("unsent"))]
        return respond(Note(str(len(metadata.memory))))

    async with organism, organism.session() as session:
        assert await session.ask("odd", Go(0)) == Note("0")
        assert await session.ask("odd", Go(1)) == Note("0")
        for n in (2, 3):
            with pytest.raises(AnswerError):
                await session.ask("odd", Go(n))
        assert await session.ask("odd", Go(4)) == Note("4")
        assert await session.ask("odd", Go(5)) == Note("0")
        assert recorder.of(EntryRemembered) == []


@virtual
async def test_recall_is_by_class_and_gives_objects_of_its_own() -> None:
    organism = Organism.build()
    seen: list[int] = []

    @organism.listener
    async def mixed(payload: Go, metadata: HandlerMetadata) -> Any:
        visits, notes = metadata.recall(Visit), metadata.recall(Note)
        assert metadata.recall(Visit)[:1] == visits[:1]
        for visit in visits:
            visit.name = "changed"
        assert all(visit.name == "v" for visit in metadata.recall(Visit))
        with pytest.raises(PayloadError):
            metadata.recall(int)
        seen.append(len(visits) * 10 + len(notes))
        return respond(Note(), remember=Visit("v") if payload.n % 2 else Note("n"))

    async with organism, organism.session() as session:
        for n in range(4):
            await session.ask("mixed", Go(n))
    assert seen == [0, 1, 11, 12]


# --- named sessions ---


@virtual
async def test_a_named_session_goes_on_whoever_opens_it_again_until_it_is_closed() -> None:
    organism = visited()
    async with organism:
        async with organism.session(id="alice") as alice:
            await alice.ask("greeter", Visit("a"))
        assert await organism.session(id="alice").ask("greeter", Visit("b")) == Note("a")
        assert await organism.session("other", id="alice").ask("greeter", Visit("c")) == Note("")
        assert await organism.session(id="bob").ask("greeter", Visit("d")) == Note("")
        organism.session(id="alice").close()
        assert await organism.session(id="alice").ask("greeter", Visit("e")) == Note("")
        alice.close()
        with pytest.raises(RoutingError, match="closed"):
            await alice.ask("greeter", Visit("f"))
        for sender, key in (("other", "alice"), ("outside", "bob"), ("outside", "alice")):
            organism.session(sender, id=key).close()
        assert nothing_is_kept(organism)


@virtual
async def test_a_named_session_ends_when_it_was_not_used_for_so_long() -> None:
    organism = visited()
    async with organism:
        alice = organism.session(id="alice", ttl=100)
        await alice.ask("greeter", Visit("a"))
        await asyncio.sleep(99)
        assert await alice.ask("greeter", Visit("b")) == Note("a")
        await asyncio.sleep(99)
        assert await alice.ask("greeter", Visit("c")) == Note("a b")
        await asyncio.sleep(101)
        assert nothing_is_kept(organism)
        assert await alice.ask("greeter", Visit("d")) == Note("")
        alice.close()
        assert nothing_is_kept(organism)


def slow_greeter() -> tuple[Organism, asyncio.Event]:
    organism, release = Organism.build(), asyncio.Event()

    @organism.listener(timeout_seconds=10_000)
    async def greeter(payload: Visit, metadata: HandlerMetadata) -> Any:
        if payload.name.startswith("slow"):
            await release.wait()
        return respond(Note(" ".join(each.name for each in metadata.recall(Visit))), remember=payload)

    return organism, release


@virtual
async def test_a_session_does_not_end_while_a_conversation_of_it_runs() -> None:
    organism, release = slow_greeter()
    async with organism:
        alice = organism.session(id="alice", ttl=100)
        await alice.ask("greeter", Visit("a"))
        asking = asyncio.ensure_future(alice.ask("greeter", Visit("slow")))
        await asyncio.sleep(1000)
        release.set()
        assert await asking == Note("a")
        assert await alice.ask("greeter", Visit("b")) == Note("a slow")
        await asyncio.sleep(101)
        assert nothing_is_kept(organism)


@virtual
async def test_a_session_that_is_closed_ends_with_its_last_conversation() -> None:
    organism, release = slow_greeter()
    async with organism:
        async with organism.session() as session:
            asking = [asyncio.ensure_future(session.ask("greeter", Visit(f"slow {n}"))) for n in range(3)]
            await until(lambda: organism.status().running == 3)
        assert not nothing_is_kept(organism)
        release.set()
        assert await asyncio.gather(*asking) == [Note("")] * 3
        assert nothing_is_kept(organism)


@pytest.mark.parametrize("end", ["cancel", "timeout", "failure"])
@virtual
async def test_a_session_counts_conversations_that_end_badly_too(end: str) -> None:
    organism, _ = slow_greeter()
    async with organism:
        session = organism.session(id="s")
        if end == "timeout":
            with pytest.raises(AskTimeout):
                await session.ask("greeter", Visit("slow"), timeout=5)
        elif end == "cancel":
            assert organism.cancel(await session.send("greeter", Visit("slow")))
        else:
            with pytest.raises(PayloadError):
                await session.ask("greeter", Visit(5))  # type: ignore[arg-type]
        session.close()
        await settled(organism)
        assert nothing_is_kept(organism)


@virtual
async def test_a_refused_ask_does_not_keep_a_session_for_ever() -> None:
    organism = visited()
    async with organism:
        alice = organism.session(id="alice", ttl=100)
        await alice.ask("greeter", Visit("a"))
        with pytest.raises(RoutingError):
            await alice.ask("nobody", Visit("a"))
        await asyncio.sleep(1000)
        assert nothing_is_kept(organism)


@virtual
async def test_a_session_is_used_by_whoever_opens_it_without_a_ttl_too() -> None:
    organism, release = slow_greeter()
    async with organism:
        await organism.session(id="alice", ttl=100).ask("greeter", Visit("a"))
        alice = organism.session(id="alice")
        asking = asyncio.ensure_future(alice.ask("greeter", Visit("slow")))
        await asyncio.sleep(150)  # its time would be up, but it is in use
        release.set()
        await asking
        assert await alice.ask("greeter", Visit("b")) == Note("a slow")


@virtual
async def test_a_session_that_is_used_again_delays_the_end_of_no_other() -> None:
    organism = visited()
    async with organism:
        await organism.session(id="one", ttl=100).ask("greeter", Visit("a"))
        await asyncio.sleep(10)
        await organism.session(id="two", ttl=100).ask("greeter", Visit("b"))
        await asyncio.sleep(80)
        await organism.session(id="one").ask("greeter", Visit("c"))
        await asyncio.sleep(30)  # two was not used for 110 s
        assert await organism.session(id="two").ask("greeter", Visit("d")) == Note("")


@xmlify
@dataclass
class Many:
    """Much of little: more elements than a message may have."""

    parts: list[int]


@virtual
async def test_what_can_be_recalled_can_be_looked_at() -> None:
    organism = Organism.build()
    recorder = Recorder(organism)

    @organism.listener
    async def keeper(payload: Go, metadata: HandlerMetadata) -> Any:
        return respond(Go(len(metadata.recall(Many))), remember=Many([1] * 60_000))

    async with organism, organism.session() as session:
        await session.ask("keeper", Go())
        assert await session.ask("keeper", Go()) == Go(1)
        assert len(organism.remembered(recorder.of(EntryRemembered)[0].memory, Many)) == 2


@virtual
async def test_a_session_that_is_closed_while_an_ask_of_it_waits_for_room_leaves_nothing() -> None:
    organism = Organism.build(max_in_flight=1)
    release = asyncio.Event()

    @organism.listener
    async def greeter(payload: Visit, metadata: HandlerMetadata) -> Any:
        await release.wait()
        return respond(Note())

    async with organism:
        async with organism.session() as session:
            asking = [asyncio.ensure_future(session.ask("greeter", Visit("a"))) for _ in range(2)]
            await until(lambda: organism.status().running)
        release.set()
        await asyncio.gather(*asking, return_exceptions=True)
        assert nothing_is_kept(organism)


@virtual
async def test_a_session_that_is_opened_anew_does_not_end_with_the_one_before() -> None:
    organism, release = slow_greeter()
    async with organism:
        before = organism.session(id="alice")
        asking = asyncio.ensure_future(before.ask("greeter", Visit("slow")))
        await until(lambda: organism.status().running)
        before.close()
        alice = organism.session(id="alice")
        await alice.ask("greeter", Visit("a"))
        release.set()
        await asking
        assert "a" in (await alice.ask("greeter", Visit("b"))).text


@virtual
async def test_the_name_of_a_session_is_its_own_again_when_its_second_life_is_over() -> None:
    organism, free = Organism.build(), asyncio.Event()

    @organism.listener
    async def slow(payload: Question, metadata: HandlerMetadata) -> Any:
        await free.wait()
        return respond(Note(metadata.session_id))

    pump = organism._pump
    async with organism:
        first = asyncio.ensure_future(organism.session(id="s").ask("slow", Question("x")))
        await until(lambda: organism.status().running)
        (key,) = pump.state.sessions
        pump.sessions.end(key)
        again = pump.sessions.id_of(key)
        assert again != key
        free.set()
        await first
        pump.sessions.end(again)
        assert pump.sessions.id_of(key) == key


@virtual
async def test_misuse_of_sessions_is_told() -> None:
    organism = visited()
    async with organism:
        for bad in (
            {"ttl": 5},
            {"id": ""},
            {"id": 5},
            {"id": "x", "ttl": 0},
            {"id": "x", "ttl": float("nan")},
        ):
            with pytest.raises(ValueError):
                organism.session(**bad)  # type: ignore[arg-type]
        with pytest.raises(RoutingError):
            organism.session("greeter", id="x")


@virtual
async def test_half_a_character_names_no_session() -> None:
    organism = visited()
    async with organism:
        with pytest.raises(ValueError):
            await organism.session(id="\ud800").ask("greeter", Visit("a"))


@virtual
async def test_nothing_is_left_of_thousands_of_sessions() -> None:
    organism = visited()
    async with organism:
        for n in range(300):
            async with organism.session() as session:
                await session.ask("greeter", Visit(str(n)))
            named = organism.session(id=f"named {n}", ttl=50 if n % 2 else None)
            await named.ask("host", Go(1))
            if not n % 2:
                named.close()
        await asyncio.sleep(100)
        assert nothing_is_kept(organism)
        assert not organism._pump._deadlines._seconds


@pytest.mark.parametrize("remembers", ["session", "conversation"])
@virtual
async def test_a_call_that_is_handed_over_adds_an_entry_when_it_is_taken(remembers: Any) -> None:
    organism = Organism.build()
    recorder = Recorder(organism)

    @organism.listener(hands_over_to=["clerk"], remembers=remembers)
    async def front(payload: Visit | Huh, metadata: HandlerMetadata) -> Any:
        if isinstance(payload, Huh):
            return respond(Note("refused"))
        before = [visit.name for visit in metadata.recall(Visit)]
        if payload.name == "invalid":
            entry = Visit(5)  # type: ignore[arg-type]
            return HandlerResponse.delegate(Question("x"), to="clerk", remember=entry)
        if payload.name == "unwanted":
            return HandlerResponse.delegate(Go(), to="clerk", remember=payload)
        return HandlerResponse.delegate(Question(" ".join(before)), to="clerk", remember=payload)

    @organism.listener
    async def clerk(payload: Question, metadata: HandlerMetadata) -> Any:
        return respond(Note(payload.text))

    async with organism, organism.session() as session:
        answers = [await session.ask("front", Visit(each)) for each in ("a", "invalid", "unwanted", "b", "c")]
    seen = (
        ["", "refused", "refused", "a", "a b"]
        if remembers == "session"
        else ["", "refused", "refused", "", ""]
    )
    assert [each.text for each in answers] == seen
    assert len(recorder.of(EntryRemembered)) == 3
    assert nothing_is_kept(organism)
