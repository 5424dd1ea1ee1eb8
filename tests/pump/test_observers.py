"""Who looks on, and what it costs those who do not."""

from __future__ import annotations

import pytest

from tests.pump.scenes import Question, echo, virtual
from xml_pipeline import Organism
from xml_pipeline.events import ConversationEnded, Event, MessageDelivered, ThreadEnded
from xml_pipeline.pump import loop
from xml_pipeline.pump.observers import Observers


@virtual
async def test_without_observers_nothing_is_made_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []

    def observed(*about: object) -> list[Event]:
        made.append(about)
        return []

    monkeypatch.setattr(loop, "observed", observed)
    monkeypatch.setattr(loop, "delivered", observed)
    organism = Organism.build()
    organism.listener(echo)
    async with organism:
        await organism.ask("echo", Question("x"))
        assert not made
        organism.add_hook(lambda event: None)
        await organism.send("echo", Question("x"))
        assert made


@virtual
async def test_a_closed_stream_is_no_observer_any_more() -> None:
    organism = Organism.build()
    organism.listener(echo)
    seen: list[Event] = []
    async with organism:
        stream = organism.events()
        await organism.ask("echo", Question("x"))
        stream.close()
        seen += [event async for event in stream]
        assert any(isinstance(event, MessageDelivered) for event in seen)
        assert not organism._pump.observed


@virtual
async def test_facts_carry_their_number_in_the_conversation() -> None:
    organism = Organism.build()
    organism.listener(echo)
    seen: list[Event] = []
    organism.add_hook(seen.append)
    async with organism:
        await organism.ask("echo", Question("x"))
        await organism.ask("echo", Question("y"))
    for kind in (ThreadEnded, ConversationEnded):
        one, other = (event for event in seen if isinstance(event, kind))
        assert one.seq == other.seq > 0
        assert not one.replayed


@virtual
async def test_whoever_keeps_something_for_each_thread_is_told_of_its_end() -> None:
    class Tenant:
        def __init__(self) -> None:
            self.threads: list[str] = []
            self.conversations: list[str] = []

        def forget_thread(self, thread_id: str) -> None:
            self.threads.append(thread_id)

        def forget_conversation(self, conversation_id: str) -> None:
            self.conversations.append(conversation_id)

    organism = Organism.build()
    organism.listener(echo)
    tenant = organism._pump.ends.tenant = Tenant()
    async with organism:
        await organism.ask("echo", Question("x"))
        assert (len(tenant.threads), len(tenant.conversations)) == (1, 1)


def test_an_interrupt_by_the_keyboard_is_nobodys_to_swallow() -> None:
    def interrupted(event: Event) -> None:
        raise KeyboardInterrupt

    observers = Observers()
    observers.add(interrupted)
    with pytest.raises(KeyboardInterrupt):
        observers.tell(ConversationEnded("c", True, seq=1))
