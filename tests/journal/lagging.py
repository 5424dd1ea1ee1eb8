"""A journal that makes steps durable when a test says so, one by one, in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from tests.pump.steps import packed
from xml_pipeline import Organism
from xml_pipeline.journal import Step
from xml_pipeline.pump import Listener
from xml_pipeline.threads import State
from xml_pipeline.threads.record import Closed, Over, Resting


class Lagging:
    """Holds steps back while `held`; folds what is appended, and checks the numbers."""

    def __init__(self, *, held: bool = False) -> None:
        self.held = held
        self.steps: list[Step] = []
        self.state = State()
        self.waiting: deque[Callable[[], None]] = deque()
        self.known: dict[str, int] = {}

    def append(self, conversation_id: str, expected_seq: int, step: Step, done: Callable[[], None]) -> None:
        assert step.conversation_id == conversation_id
        if isinstance(step.events[0], Closed | Resting):  # a session's, each on its own
            self.steps.append(step)
            self.state.apply(conversation_id, step.events[0])
            self._wait(done)
            return
        assert step.seq == expected_seq == self.known.get(conversation_id, 0), "a gap, or somebody else's"
        assert step.events
        self.known[conversation_id] = expected_seq + len(step.events)
        self.steps.append(step)
        for event in step.events:
            self.state.apply(conversation_id, packed(event))
            if isinstance(event, Over):
                assert conversation_id not in self.state.conversations
        self._wait(done)

    def _wait(self, done: Callable[[], None]) -> None:
        self.waiting.append(done)
        if not self.held:
            self.flush()

    def flush(self, steps: int = 1_000_000) -> None:
        """Make the next steps durable."""
        while self.waiting and steps:
            steps -= 1
            self.waiting.popleft()()


def journaled(journal: Lagging, *listeners: Listener, **options: object) -> Organism:
    return Organism("journaled", listeners, journal=journal, **options)  # type: ignore[arg-type]
