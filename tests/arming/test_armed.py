"""Triggers that fire: at their times, once, through their door, and again after a restart."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tests.journal.test_recovery import came_to
from xml_pipeline import HandlerMetadata, HandlerResponse, Organism, xmlify
from xml_pipeline.arming.armed import Armed
from xml_pipeline.errors import ConfigError, RoutingError
from xml_pipeline.events import ConversationStarted
from xml_pipeline.journal.sqlite import SqliteJournal
from xml_pipeline.testing import Recorder, run_in_virtual_time
from xml_pipeline.triggers.cron import Cron, Every
from xml_pipeline.triggers.trigger import Trigger, Webhook

ZURICH = ZoneInfo("Europe/Zurich")
SAID = {"Word": {"text": "good morning"}}


@xmlify
@dataclass
class Word:
    text: str


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZURICH).timestamp()


@dataclass
class Desk:
    """A listener that notes who asks it, and when; it works as long as it is told."""

    clock: Callable[[], float]
    seconds: float = 0.0
    heard: list[tuple[str, str]] = field(default_factory=list)
    gate: asyncio.Event | None = None

    async def handle(self, payload: Word, metadata: HandlerMetadata) -> HandlerResponse[Word]:
        shown = datetime.fromtimestamp(self.clock(), ZURICH).strftime("%d. %H:%M")
        self.heard.append((metadata.from_id, shown))
        if self.gate is not None:
            await self.gate.wait()
        await asyncio.sleep(self.seconds)
        return HandlerResponse.respond(payload)

    @property
    def times(self) -> list[str]:
        return [time for _, time in self.heard]


def organism(
    desk: Desk, *triggers: Trigger, journal: SqliteJournal | None = None, doors: Any = ("desk",)
) -> Organism:
    made = Organism("demo", journal=journal, doors=doors, triggers=triggers)
    made.listener(desk.handle, name="desk", timeout_seconds=7200.0)
    return made


def for_hours(start: str, hours: float, *triggers: Trigger, seconds: float = 0.0) -> list[tuple[str, str]]:
    """Whom the desk heard, and when, in so many hours without a journal."""

    async def main() -> list[tuple[str, str]]:
        loop, begin = asyncio.get_running_loop(), at(start)
        zero = loop.time()

        def clock() -> float:
            return begin + loop.time() - zero

        desk = Desk(clock, seconds)
        async with organism(desk, *triggers) as running, Armed(running, clock=clock):
            await asyncio.sleep(hours * 3600)
        return desk.heard

    return run_in_virtual_time(main())


def cron(text: str, **keys: Any) -> Trigger:
    return Trigger("morning", "desk", Cron(text, ZURICH), SAID, **keys)


def test_it_fires_at_its_times_through_its_door() -> None:
    heard = for_hours("2026-11-26 20:00", 5 * 24, cron("0 7 * * MON-FRI"))
    assert heard == [
        ("trigger:morning", "27. 07:00"),
        ("trigger:morning", "30. 07:00"),
        ("trigger:morning", "01. 07:00"),
    ]


def test_over_the_day_on_which_clocks_are_set() -> None:
    assert for_hours("2026-03-28 12:00", 48, cron("30 2 * * *")) == [
        ("trigger:morning", "29. 03:00"),
        ("trigger:morning", "30. 02:30"),
    ]
    assert len(for_hours("2026-10-24 12:00", 24, cron("30 2 * * *"))) == 1


def test_several_triggers_each_at_its_times() -> None:
    other = Trigger("often", "desk", Every(1200.0), SAID)
    heard = for_hours("2026-11-26 20:05", 1, cron("30 20 * * *"), other)
    assert heard == [
        ("trigger:often", "26. 20:20"),
        ("trigger:morning", "26. 20:30"),
        ("trigger:often", "26. 20:40"),
        ("trigger:often", "26. 21:00"),
    ]


@pytest.mark.parametrize(
    ("if_running", "times"),
    [
        ("skip", ["10:15", "10:45", "11:15"]),
        ("also", ["10:15", "10:30", "10:45", "11:00", "11:15"]),
        ("queue", ["10:15", "10:35", "10:55", "11:15"]),
    ],
)
def test_what_happens_while_it_still_runs(if_running: Any, times: list[str]) -> None:
    heard = for_hours("2026-11-26 10:10", 1.2, cron("*/15 * * * *", if_running=if_running), seconds=1200)
    assert [time[4:] for _, time in heard] == times


def test_those_of_others_do_not_count_as_running() -> None:
    other = Trigger("other", "desk", Cron("0 10 * * *", ZURICH), SAID)
    heard = for_hours("2026-11-26 09:59", 1, cron("5 10 * * *"), other, seconds=3000)
    assert [time[4:] for _, time in heard] == ["10:00", "10:05"]


def test_a_machine_that_slept_has_missed_what_was_then() -> None:
    async def main(missed: Any) -> list[str]:
        loop, begin, slept = asyncio.get_running_loop(), at("2026-11-26 06:59"), [0.0]

        def clock() -> float:
            return begin + loop.time() + slept[0]

        desk = Desk(clock)
        async with organism(desk, cron("0 7-9 * * *")) as running:
            running.triggers = {"morning": cron("0 7-9 * * *", missed=missed)}
            armed = Armed(running, clock=clock)
            if missed == "once":
                with pytest.raises(ConfigError, match="needs a journal for `missed: once`"):
                    await armed.__aenter__()
                return []
            async with armed:
                await asyncio.sleep(30)
                slept[0] = 2 * 3600.0 + 1800.0
                await asyncio.sleep(1200)
        return desk.times

    assert run_in_virtual_time(main("skip")) == []
    assert run_in_virtual_time(main("once")) == []


# --- with a journal, in the time of the wall: what a restart does not change ---


class Life:
    """Lives of one organism on one journal, each at a time of its own."""

    def __init__(self, path: Path, trigger: Trigger) -> None:
        self.path = path
        self.trigger = trigger
        self.now = 0.0
        self.keep: float | None = None

    def clock(self) -> float:
        return self.now

    def seen_to(self, running: Organism) -> bool:
        """Whether the trigger has nothing more to do at this time."""
        kept, when = running.triggered, self.trigger.when
        assert kept is not None
        assert isinstance(when, Cron)
        row = kept.seen(self.trigger.name)
        return row is not None and row.sent and when.after(row.until) > self.now

    async def live(
        self, now: float, heard: list[str], until: Callable[[Desk], Any] = lambda desk: True, **keys: Any
    ) -> Desk:
        """One life: it begins at `now`, lasts until that, and ends in order."""
        self.now = now
        desk = Desk(self.clock, **keys)
        running = organism(
            desk, self.trigger, journal=SqliteJournal(self.path, keep=self.keep, clock=self.clock)
        )
        running.shutdown_seconds = 0.0
        async with running, Armed(running, clock=self.clock):
            await came_to(lambda: until(desk))
            await came_to(lambda: self.seen_to(running))
        heard += desk.times
        return desk


def alive(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(main)


def test_a_restart_does_not_fire_twice_nor_what_is_new(tmp_path: Path) -> None:
    async def main() -> None:
        life, heard = Life(tmp_path / "state.db", cron("0 * * * *", missed="once")), list[str]()
        await life.live(at("2026-11-26 10:00:30"), heard)  # it is new: nothing was missed
        assert heard == []
        await life.live(at("2026-11-26 11:00:05"), heard, lambda desk: desk.heard)
        await life.live(at("2026-11-26 11:00:10"), heard)
        await life.live(at("2026-11-26 11:59:59"), heard)
        assert heard == ["26. 11:00"]
        await life.live(at("2026-11-27 09:30:00"), heard, lambda desk: desk.heard)
        await life.live(at("2026-11-27 09:31:00"), heard)
        assert heard == ["26. 11:00", "27. 09:30"]  # one for all that was missed

    alive(main())


def test_what_was_missed_is_left_at_that(tmp_path: Path) -> None:
    async def main() -> None:
        life, heard = Life(tmp_path / "state.db", cron("0 * * * *")), list[str]()
        await life.live(at("2026-11-26 10:00:30"), heard)
        await life.live(at("2026-11-26 11:30:00"), heard)
        assert heard == []
        await life.live(at("2026-11-26 12:00:59"), heard, lambda desk: desk.heard)  # a minute is a restart's
        assert heard == ["26. 12:00"]

    alive(main())


def test_what_an_earlier_life_began_still_runs(tmp_path: Path) -> None:
    async def main() -> None:
        life, heard = Life(tmp_path / "state.db", cron("0 * * * *")), list[str]()
        await life.live(at("2026-11-26 10:59:30"), heard)
        shut = asyncio.Event()
        await life.live(at("2026-11-26 11:00:00"), heard, lambda desk: desk.heard, gate=shut)
        again = await life.live(at("2026-11-26 12:00:00"), [], lambda desk: desk.heard, gate=asyncio.Event())
        assert len(again.heard) == 1  # the one of 11:00 once more, and none of 12:00

    alive(main())


@pytest.mark.parametrize("written", [False, True])
def test_a_death_between_claim_and_message_fires_it_once(tmp_path: Path, written: bool) -> None:
    """The row of a claim is there; the message is (`written`), or is not."""

    async def main() -> None:
        path, moment = tmp_path / "state.db", at("2026-11-26 11:00")
        life, heard = Life(path, cron("0 * * * *")), list[str]()
        await life.live(at("2026-11-26 10:30"), heard)
        if written:
            await life.live(moment, heard, lambda desk: desk.heard)
        journal = SqliteJournal(path, clock=life.clock)
        await journal.start(lambda error: None)
        await journal.written("UPDATE triggers SET seen = ?, sent = 0", (moment,))
        await journal.close()
        await life.live(moment + 1800, heard, lambda desk: desk.heard or written)
        assert len(heard) == 1
        await life.live(moment + 1900, heard)
        assert len(heard) == 1

    alive(main())


def test_what_the_journal_may_have_forgotten_is_not_fired_again(tmp_path: Path) -> None:
    async def main() -> None:
        life, heard = Life(tmp_path / "state.db", cron("0 * * * *")), list[str]()
        life.keep = 3600.0
        await life.live(at("2026-11-26 10:30"), heard)
        journal = SqliteJournal(life.path, clock=life.clock)
        await journal.start(lambda error: None)
        await journal.written("UPDATE triggers SET seen = ?, sent = 0", (at("2026-11-26 11:00"),))
        await journal.close()
        await life.live(at("2026-11-26 15:30"), heard)
        assert heard == []

    alive(main())


# --- by hand, and who is let in ---


def test_by_hand_it_fires_whatever_the_time_is() -> None:
    async def main() -> None:
        desk = Desk(lambda: 0.0)
        running = organism(desk, cron("0 7 * * *"), Trigger("hook", "desk", Webhook("/a", "SECRET")))
        recorder = Recorder(running)
        async with running:
            conversation_id = await running.fire("morning")
            await asyncio.sleep(1)
            assert [each.conversation_id for each in recorder.of(ConversationStarted)] == [conversation_id]
            assert desk.heard[0][0] == "trigger:morning"
            with pytest.raises(RoutingError, match="no trigger 'mornin'"):
                await running.fire("mornin")
            with pytest.raises(RoutingError, match="comes with its deliveries"):
                await running.fire("hook")

    run_in_virtual_time(main())


def test_who_reaches_what() -> None:
    async def main() -> None:
        desk = Desk(lambda: 0.0)
        running = organism(desk, doors=["desk"])
        running.listener(desk.handle, name="vault")
        async with running:
            assert dict(running.doors) == {"desk": running.listeners["desk"]}
            visitor = running.doors.visitor("desk", "gateway:key1")
            assert await visitor.ask(Word("hi")) == Word("hi")
            assert desk.heard[0][0] == "gateway:key1"
            for name in ("vault", "nobody"):
                with pytest.raises(RoutingError, match=f"^'{name}' is no door; doors are: desk$"):
                    running.doors.visitor(name, "gateway:key1")
            for caller in ("desk", "outside", "gateway:", ":x", "a:b:c", "A:b", "trigger:a b"):
                with pytest.raises(RoutingError, match="nobody who comes through doors"):
                    running.doors.visitor("desk", caller)
            with pytest.raises(RoutingError, match="as a sender"):
                await running.ask(
                    "vault", Word("hi"), sender="trigger:morning"
                )  # nobody passes for a trigger

    run_in_virtual_time(main())


def test_a_door_is_a_listener() -> None:
    async def main(doors: Any) -> None:
        async with organism(Desk(lambda: 0.0), doors=doors):
            pass

    with pytest.raises(ConfigError, match="the door 'desc' is no listener; did you mean 'desk'"):
        run_in_virtual_time(main(["desc"]))
    with pytest.raises(ConfigError, match="a list of listeners' names is needed"):
        run_in_virtual_time(main("desk"))


def test_a_trigger_at_no_door_is_not_armed() -> None:
    async def main() -> None:
        desk = Desk(lambda: 0.0)
        async with organism(desk, cron("* * * * *"), doors=()) as running:
            with pytest.raises(RoutingError, match="'desk' is no door; there are no doors"):
                await Armed(running).__aenter__()

    run_in_virtual_time(main())


def test_a_trigger_that_says_what_nobody_takes_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    wrong = Trigger("wrong", "desk", Every(600.0), {"Word": {"txet": "x"}})
    assert for_hours("2026-11-26 10:05", 0.5, wrong, cron("12 10 * * *")) == [
        ("trigger:morning", "26. 10:12")
    ]
    assert caplog.text.count("trigger wrong could not fire") == 3
