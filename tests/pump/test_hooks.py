"""What an observer costs: who only frees memory is told of ends, and nothing else is built for it."""

from __future__ import annotations

from tests.pump.scenes import Question, echo, virtual
from xml_pipeline import Organism
from xml_pipeline.events import ConversationEnded, Event, MessageDelivered, SessionEnded, ThreadEnded


@virtual
async def test_an_internal_hook_alone_gets_the_ends_only() -> None:
    organism = Organism.build()
    organism.listener(echo)
    seen: list[Event] = []
    organism._pump.add_hook(seen.append, internal=True)
    async with organism:
        await organism.ask("echo", Question("x"))
        assert {type(event) for event in seen} == {ThreadEnded, SessionEnded, ConversationEnded}
        assert not organism._pump.observed
        stream = organism.events()
        await organism.ask("echo", Question("x"))
        assert any(isinstance(event, MessageDelivered) for event in seen)
        stream.close()
        seen.clear()
        await organism.ask("echo", Question("x"))
        assert not any(isinstance(event, MessageDelivered) for event in seen)
