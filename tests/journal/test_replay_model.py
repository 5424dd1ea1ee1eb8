"""Whatever happened, the way back is found: each recorded conversation of random histories is replayed.

The histories are those of the model of the machine. Under the same listeners nothing differs, and what cannot be
compared is said so for one of the few reasons that there are.
"""

from __future__ import annotations

from hypothesis import HealthCheck, Phase, settings

from tests.pump.test_machine_model import Threads
from xml_pipeline.journal import Step
from xml_pipeline.journal.rows import packed, unpacked
from xml_pipeline.pump import Machine
from xml_pipeline.pump.facts import Aborted, Expired, Fact, Injected, Returned
from xml_pipeline.pump.replay import replayed
from xml_pipeline.threads.record import Accepted, DeadLetter, Event, Handled, Over, Refused


def conversation_of(fact: Fact) -> str:
    return (
        fact.conversation_id
        if isinstance(fact, Injected | Aborted | Expired)
        else fact.message.conversation_id
    )


def hides_something(event: Event) -> bool:
    """Whether an event tells of something that is not kept: a message that was refused, or nonsense."""
    match event:
        case Refused() | Handled(code="handler"):
            return True
        case DeadLetter(pending=False):
            return "was not valid" in event.reason
    return False


class Replayed(Threads):
    """As `Threads`; at its end every conversation is replayed from its journal."""

    def teardown(self) -> None:
        super().teardown()
        journal: dict[str, list[Step]] = {}
        over: set[str] = set()
        for fact, events in self.history:
            name = conversation_of(fact)
            if not isinstance(events, list) or not events or name in over:
                continue  # nothing of it is written down
            steps = journal.setdefault(name, [])
            seq = sum(len(each.events) for each in steps)
            steps.append(Step(name, seq, fact.at, unpacked(packed(events))))
            if isinstance(fact, Returned) and fact.message.to == "person":
                over.add(
                    name
                )  # a person answers by `Answered`; what else a model may do for one is not journaled
                steps.pop()
            if any(type(each) is Over or (type(each) is Accepted and each.leaves) for each in events):
                over.add(name)
        for steps in journal.values():
            found = replayed(steps, Machine(self.table, self.limits))
            assert found.difference is None, found.difference
            assert found.compared + len(found.gaps) == len(steps)
            for gap in found.gaps:
                assert any(map(hides_something, steps[gap.step - 1].events)), gap


TestReplayed = Replayed.TestCase
TestReplayed.settings = settings(
    max_examples=40,
    derandomize=True,
    phases=[Phase.generate],
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
