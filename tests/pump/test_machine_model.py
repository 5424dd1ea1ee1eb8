"""The machine against a simple model of threads: call, answer, pass on, delegate, gather, ask, remember, prune, end.

Beside it the events are folded into another state, without listeners and without payloads, out of bytes: it is the
same at every step, and each event alone changes it as it changed the machine's. At the end the facts are told to a
second machine, which makes the same events.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import Phase as Generation
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.pump import model
from tests.pump.steps import packed
from xml_pipeline import Gathered, Huh, Keep, SystemError, xmlify
from xml_pipeline.envelope import Message
from xml_pipeline.errors import PayloadError, RoutingError
from xml_pipeline.pump import (
    ConversationLimits,
    DeadLetter,
    HandlerResponse,
    Listener,
    Machine,
    listener,
)
from xml_pipeline.pump.attempts import MOST_INTERRUPTIONS
from xml_pipeline.pump.facts import (
    Aborted,
    Answered,
    Due,
    Expired,
    Fact,
    Failed,
    Injected,
    Interrupted,
    Returned,
)
from xml_pipeline.threads import Entry, State
from xml_pipeline.threads.phases import PHASES, Phase
from xml_pipeline.threads.record import Accepted, Asked, Event, Gathering, Handled, Over, Redelivered


@xmlify
@dataclass
class Task:
    """Work."""

    n: int = 0


@xmlify
@dataclass
class Result:
    """What came of it."""

    n: int = 0


@xmlify
@dataclass
class Memo:
    """What is kept, and what is remembered."""

    n: int


ACCEPTS: dict[str, tuple[type, ...]] = {
    "all": (Task, Result, Huh, SystemError, Gathered),
    "some.results": (Task, Result, Gathered),
    "tasks": (Task, Gathered),
    "simple": (Task,),
    "leaf": (Task,),
    "person": (Task, Gathered),
}
PEERS = {
    "all": ("some.results", "tasks", "simple", "leaf", "all", "person"),
    "some.results": ("all", "tasks", "leaf"),
    "tasks": ("simple", "leaf", "person"),
    "simple": ("all", "leaf"),
    "leaf": (),
    "person": ("leaf",),
}
HANDS_OVER_TO = {name: peers[-2:] for name, peers in PEERS.items()}
STATEFUL = ("all", "tasks")
BY_CONVERSATION = ("simple", "tasks")
NAMES = {Huh: "huh"}
CLASSES = {"Task": Task, "Result": Result}


def actions_of(name: str) -> st.SearchStrategy[list[tuple]]:
    """What a handler of this listener may want, mostly what it may have."""
    peers = st.sampled_from([*PEERS[name], name])
    others = st.sampled_from([*ACCEPTS, "unknown", model.OUTSIDE])
    task, either = st.just("Task"), st.sampled_from([*CLASSES])
    respond = st.tuples(st.just("respond"), either) | st.tuples(st.just("respond"), either, st.integers(0, 9))
    calls = st.tuples(st.just("call"), peers, task)
    gathers = st.tuples(
        st.just("gather"),
        st.lists(st.tuples(peers, task), min_size=1, max_size=3)
        | st.lists(st.tuples(others, either), max_size=2),
    )
    delegate = st.tuples(st.just("delegate"), peers, task)
    odd = st.one_of(
        st.tuples(st.just("call"), others, either),
        st.tuples(st.just("delegate"), others, either),
        st.tuples(st.just("invalid")),
    )
    gather = [gathers, gathers] if Gathered in ACCEPTS[name] else [gathers]
    one = st.one_of(respond, calls, calls, *gather, delegate, odd)
    return st.lists(one, min_size=1, max_size=2)


ACTIONS = {name: actions_of(name) for name in ACCEPTS}


def name_of(payload: Any) -> str:
    return NAMES.get(type(payload), type(payload).__name__)


def response(action: tuple) -> Any:
    match action:
        case ("respond", cls, entry):
            return HandlerResponse.respond(CLASSES[cls](), remember=Memo(entry))
        case ("respond", cls):
            return HandlerResponse.respond(CLASSES[cls]())
        case ("invalid",):
            return HandlerResponse.respond(Result("no number"))  # type: ignore[arg-type]
        case ("call", to, cls):
            return HandlerResponse(CLASSES[cls](), to=to)
        case ("delegate", to, cls):
            return HandlerResponse.delegate(CLASSES[cls](), to=to)
        case ("gather", calls):
            return HandlerResponse.gather(
                [HandlerResponse(CLASSES[cls](), to=to) for to, cls in calls], timeout=1
            )
    raise AssertionError(action)


def never(payload: Any, metadata: Any) -> None:
    """A handler that is not called: the rules say what handlers return."""


def keeping(payload: Any, metadata: Any, state: Memo | None) -> None:
    """As `never`, with a state."""


def listeners() -> dict[str, Listener]:
    return {
        name: listener(
            name,
            None if name == "person" else keeping if name in STATEFUL else never,
            human=name == "person",
            accepts=ACCEPTS[name],
            peers=PEERS[name],
            hands_over_to=HANDS_OVER_TO[name],
            remembers="conversation" if name in BY_CONVERSATION else "session",
            keep=model.KEEP,
        )
        for name in ACCEPTS
    }


@dataclass(eq=False)
class Pair:
    """One accepted message, real and modelled."""

    real: Message
    modelled: model.Sent


def kept(entry: Entry | None) -> int | None:
    return None if entry is None else int(entry.data.split(b"<n>")[1].split(b"<")[0])


seen_phases: set[tuple[str, str, str]] = set()


class Threads(RuleBasedStateMachine):
    """Each rule is one thing that happens to both; each step compares what followed."""

    gathers = Bundle("gathers")

    def __init__(self) -> None:
        super().__init__()
        self.table = listeners()
        self.limits = ConversationLimits(model.MAX_MESSAGES, model.MAX_DEPTH, handovers=model.MAX_HANDOVERS)
        self.machine = Machine(self.table, self.limits)
        self.folded = State()
        self.history: list[tuple[Fact, list[Event] | type[Exception]]] = []
        self.model = model.Model(
            {
                name: model.Listener(
                    frozenset(each.accepts),
                    frozenset(each.peers),
                    each.human,
                    frozenset(each.hands_over_to),
                    each.remembers,
                )
                for name, each in self.table.items()
            }
        )
        self.threads: dict[model.Call, str] = {}
        self.conversations: dict[model.Conversation, str] = {}
        self.outcomes: dict[str, list[str]] = {}
        self.queued: list[Pair] = []
        self.running: list[Pair] = []
        self.asked: list[Pair] = []
        self.outside: dict[str, model.Outside] = {}
        self.accepted = self.handled = self.buried = 0

    # --- comparing ---

    def step(self, conversation_id: str, fact: Fact) -> list[Event]:
        """What the machine makes of a fact is what the model expects, in its order."""
        self.history.append((copy.deepcopy(fact), events := self.machine.step(fact)))
        for event in events:
            before = self.phases(conversation_id)
            self.apply(conversation_id, event)
            self.check_phases(event, before, self.phases(conversation_id))
        self.compare(conversation_id, events)
        return events

    def apply(self, conversation_id: str, event: Event) -> None:
        self.folded.apply(conversation_id, packed(event))

    def refused(self, fact: Fact, error: type[Exception]) -> None:
        """The machine raises, and nothing follows."""
        before = copy.deepcopy(self.machine.state)
        with pytest.raises(error):
            self.machine.step(fact)
        assert self.machine.state == before
        self.history.append((fact, error))

    def phases(self, conversation_id: str) -> dict[str, Phase]:
        conversation = self.folded.conversations.get(conversation_id)
        return {} if conversation is None else {each.id: each.phase for each in conversation.threads.values()}

    def check_phases(self, event: Event, before: dict[str, Phase], after: dict[str, Phase]) -> None:
        """A thread goes from one phase to another only as the table says."""
        for thread_id in {*before, *after}:
            one, other = before.get(thread_id, "new"), after.get(thread_id, "ended")
            if one != other:
                assert other in PHASES[one, type(event).__name__]
                seen_phases.add((one, type(event).__name__, other))

    def compare(self, conversation_id: str, events: list[Event]) -> None:
        messages = [
            event.message
            for event in events
            if isinstance(event, Accepted) and event.fills is None and not event.leaves
        ]
        assert [(each.to, name_of(each.payload)) for each in messages] == [
            (each.call.listener, each.cls) for each in self.model.sent
        ]
        for real, modelled in zip(messages, self.model.sent, strict=True):
            known = self.threads.setdefault(modelled.call, real.thread_id)
            assert known == real.thread_id, "a message in the wrong thread"
            assert real.in_reply_to != "" or real.from_id != "system" or modelled.cls == "Gathered"
            self.queued.append(Pair(real, modelled))
        self.accepted += len(messages)
        letters = [event for event in events if isinstance(event, DeadLetter)]
        assert len(letters) == self.model.dead
        self.handled += sum(isinstance(event, Handled) for event in events)
        self.buried += sum(letter.pending for letter in letters)
        for event in events:
            if isinstance(event, Accepted) and event.leaves:
                self.outcomes[conversation_id].append(name_of(event.message.payload))
                assert conversation_id not in self.machine.state.conversations
            elif isinstance(event, Over):
                self.outcomes[conversation_id].append("unanswered")
                assert conversation_id not in self.machine.state.conversations
        self.model.forget_step()
        self.queued = [pair for pair in self.queued if pair.modelled.pending]

    @property
    def ready(self) -> list[Pair]:
        """What may have its turn: a person is asked one message of a thread at a time."""
        asking = {pair.modelled.call for pair in self.asked if pair.modelled.pending}
        return [pair for pair in self.queued if pair.modelled.call not in asking]

    def take_ready(self, data: st.DataObject) -> Pair:
        pair = self.ready[data.draw(st.integers(0, len(self.ready) - 1))]
        self.queued.remove(pair)
        return pair

    def take(self, pairs: list[Pair], data: st.DataObject) -> Pair:
        return pairs.pop(data.draw(st.integers(0, len(pairs) - 1)))

    # --- what happens ---

    @precondition(lambda self: sum(not each.freed for each in self.model.conversations) < 3)
    @rule(to=st.sampled_from([*ACCEPTS]), session=st.sampled_from(["", "", "one", "two"]))
    def inject(self, to: str, session: str) -> None:
        conversation_id = f"conversation-{len(self.conversations)}"
        outside = self.outside.setdefault(session, model.Outside()) if session else None
        modelled = self.model.inject(to, outside)
        self.conversations[modelled] = conversation_id
        self.outcomes[conversation_id] = []
        self.step(conversation_id, Injected(conversation_id, model.OUTSIDE, to, Task(), session))

    def begin(self, pair: Pair) -> bool:
        """A message's turn; whether a handler runs now."""
        taken = self.model.begin(pair.modelled)
        events = self.step(pair.real.conversation_id, Due(pair.real))
        if taken and self.model.table[pair.modelled.call.listener].human:
            assert events == [Asked(pair.real)]
            self.asked.append(pair)
            return False
        assert (not events) == taken
        return taken

    def finish(self, pair: Pair, actions: list[tuple] | None, keeps: tuple[int | None] | None = None) -> Any:
        returned: Any = None if actions is None else [response(action) for action in actions]
        if keeps is not None:
            (n,) = keeps
            returned = Keep(None if n is None else Memo(n), returned)
        conversation_id = pair.real.conversation_id
        fact = Returned(pair.real, returned)
        if not pair.modelled.pending:
            self.model.late(actions if keeps is None else [])
            self.step(conversation_id, fact)
            return multiple()
        accepts = self.model.table[pair.modelled.call.listener].accepts
        gathers = [action for action in actions or () if action[0] == "gather"]
        if gathers and "Gathered" not in accepts:
            self.model.fail(pair.modelled)
            self.step(conversation_id, fact)
            return multiple()
        self.model.finish(pair.modelled, actions, keeps)
        events = self.step(conversation_id, fact)
        begun = [event for event in events if isinstance(event, Gathering)]
        if len(gathers) == 1 and len(begun) == 1:
            timer = (conversation_id, begun[0].thread_id, begun[0].gather_id)
            return multiple((timer, self.model.last_gather))
        return multiple()

    def draw_actions(self, data: st.DataObject, pair: Pair) -> list[tuple] | None:
        if data.draw(st.integers(0, 4)) == 0:
            return None
        return data.draw(ACTIONS[pair.modelled.call.listener])

    def draw_keeps(self, data: st.DataObject, pair: Pair) -> tuple[int | None] | None:
        if pair.modelled.call.listener not in STATEFUL:
            return None
        return data.draw(st.none() | st.tuples(st.none() | st.integers(0, 9)))

    @precondition(lambda self: self.ready)
    @rule(target=gathers, data=st.data())
    def handle(self, data: st.DataObject) -> Any:
        """A message's turn, and its handler returns at once."""
        pair = self.take_ready(data)
        if not self.begin(pair):
            return multiple()
        return self.finish(pair, self.draw_actions(data, pair), self.draw_keeps(data, pair))

    @precondition(lambda self: self.ready)
    @rule(data=st.data())
    def start(self, data: st.DataObject) -> None:
        """A message's turn; its handler takes its time."""
        pair = self.take_ready(data)
        if self.begin(pair):
            self.running.append(pair)

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def interrupt(self, data: st.DataObject) -> None:
        """A handler was cut off: its message is due once more, as another attempt."""
        pair = self.take(self.running, data)
        poisonous = pair.modelled.pending and pair.real.attempt == MOST_INTERRUPTIONS
        if poisonous:
            self.model.fail(pair.modelled)
            self.model.dead += 1
        events = self.step(pair.real.conversation_id, Interrupted(pair.real))
        if poisonous:
            assert isinstance(events[0], DeadLetter)
        elif pair.modelled.pending:
            (again,) = events
            assert isinstance(again, Redelivered)
            assert again.message.message_id == pair.real.message_id
            assert again.message.attempt == pair.real.attempt + 1
            self.queued.append(Pair(again.message, pair.modelled))
        else:
            assert not events

    @precondition(lambda self: self.running)
    @rule(target=gathers, data=st.data())
    def end(self, data: st.DataObject) -> Any:
        """A handler that took its time returns, perhaps to nobody any more."""
        pair = self.take(self.running, data)
        return self.finish(pair, self.draw_actions(data, pair), self.draw_keeps(data, pair))

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def fail(self, data: st.DataObject) -> None:
        pair = self.take(self.running, data)
        if pair.modelled.pending:
            self.model.fail(pair.modelled)
        self.step(pair.real.conversation_id, Failed(pair.real, "handler", "crashed", "it crashed"))

    @precondition(lambda self: self.asked)
    @rule(data=st.data(), cls=st.sampled_from([*CLASSES]))
    def person_answers(self, data: st.DataObject, cls: str) -> None:
        pair = self.take(self.asked, data)
        fact = Answered(pair.real, CLASSES[cls]())
        if pair.modelled.pending:
            self.model.answered(pair.modelled, cls)
            self.step(pair.real.conversation_id, fact)
        self.refused(fact, RoutingError)  # now nobody is asked

    @precondition(lambda self: any(pair.modelled.pending for pair in self.asked))
    @rule(data=st.data(), bad=st.sampled_from([Result("no number"), "no payload"]))  # type: ignore[arg-type]
    def person_answers_nonsense(self, data: st.DataObject, bad: Any) -> None:
        waiting = [pair for pair in self.asked if pair.modelled.pending]
        self.refused(Answered(data.draw(st.sampled_from(waiting)).real, bad), PayloadError)

    @precondition(lambda self: self.asked)
    @rule(target=gathers, data=st.data())
    def person_returns(self, data: st.DataObject) -> Any:
        """Somebody acts for the person, by a response: calls, gathers, self-calls."""
        pair = self.take(self.asked, data)
        return self.finish(pair, self.draw_actions(data, pair))

    @precondition(lambda self: any(pair.modelled.pending for pair in self.asked))
    @rule(abort=st.booleans())
    def person_has_more_to_do(self, abort: bool) -> None:
        """More waits in a thread behind the question that its person is at."""
        pair = next(pair for pair in self.asked if pair.modelled.pending)
        self.asked.remove(pair)
        call, conversation = pair.modelled.call, pair.modelled.call.conversation
        self.finish(pair, [("call", "person", "Task")] * 2)
        again = next((each for each in self.queued if each.modelled.call is call), None)
        if again is not None:
            self.queued.remove(again)
            self.begin(again)
        if abort and not conversation.freed:
            self.model.abort(conversation, "unanswered")
            conversation_id = self.conversations[conversation]
            self.step(conversation_id, Aborted(conversation_id))

    @rule(gather=gathers)
    def expire(self, gather: tuple[tuple[str, str, str], model.Gather]) -> None:
        timer, modelled = gather
        self.model.expire(modelled)
        self.step(timer[0], Expired(*timer))

    @precondition(
        lambda self: len(self.conversations) > 2 and not all(each.freed for each in self.conversations)
    )
    @rule(data=st.data(), error=st.booleans())
    def abort(self, data: st.DataObject, error: bool) -> None:
        alive = [each for each in self.model.conversations if not each.freed]
        modelled = data.draw(st.sampled_from(alive))
        self.model.abort(modelled, "SystemError" if error else "unanswered")
        conversation_id = self.conversations[modelled]
        what = SystemError("limit", "too long") if error else None
        self.step(conversation_id, Aborted(conversation_id, what))

    # --- what is always so ---

    @invariant()
    def every_accepted_message_is_pending_handled_or_dead(self) -> None:
        pending = sum(
            len(thread.inbox)
            for conversation in self.machine.state.conversations.values()
            for thread in conversation.threads.values()
        )
        assert self.accepted == self.handled + self.buried + pending

    @invariant()
    def the_folded_events_are_the_state(self) -> None:
        assert self.folded == self.machine.state

    @invariant()
    def the_trees_are_the_same(self) -> None:
        real = {
            thread.id: thread
            for conversation in self.machine.state.conversations.values()
            for thread in conversation.threads.values()
        }
        modelled = {self.threads[call]: call for call in self.threads if call.open}
        assert set(real) == set(modelled)
        for thread_id, call in modelled.items():
            thread = real[thread_id]
            assert len(thread.inbox) == len(call.inbox)
            assert thread.depth == call.depth
            assert thread.caller == call.caller
            assert not thread.parent or thread.parent in real, "a call without an open caller"
            assert set(thread.children or ()) == {self.threads[child] for child in call.children}
            assert kept(thread.state) == call.state
            assert tuple(kept(entry) for entry in thread.memory) == call.seen

    @invariant()
    def the_outside_gets_one_outcome_at_most_and_one_when_it_is_over(self) -> None:
        for modelled, conversation_id in self.conversations.items():
            assert self.outcomes[conversation_id] == modelled.outcomes
            assert len(modelled.outcomes) == modelled.freed
            assert modelled.freed == (conversation_id not in self.machine.state.conversations)

    @invariant()
    def lasting_sessions_remember(self) -> None:
        for key, session in self.machine.state.sessions.items():
            modelled = self.outside[key].sessions
            assert set(modelled) <= set(session.sessions)
            for name, session_id in session.sessions.items():
                entries = session.memory.get(session_id, ())
                memory = modelled.get(name, model.Memory())
                assert tuple(kept(entry) for entry in entries) == memory.entries

    def teardown(self) -> None:
        """When all handlers return nothing any more, all is over and freed; and the facts give the same events."""
        while self.queued or self.running or self.asked:
            if self.running:
                self.finish(self.running.pop(), None)
            elif self.asked:
                self.finish(self.asked.pop(), None)
            else:
                pair = self.queued.pop(0)
                if self.begin(pair):
                    self.running.append(pair)
        assert not self.machine.state.conversations
        assert not any(each.running for each in self.machine.state.sessions.values())
        assert all(len(outcome) == 1 for outcome in self.outcomes.values())
        assert self.accepted == self.handled + self.buried
        again = Machine(self.table, self.limits)
        for fact, expected in self.history:
            if isinstance(expected, list):
                assert again.step(fact) == expected
            else:
                with pytest.raises(expected):
                    again.step(fact)


TestThreads = Threads.TestCase
TestThreads.settings = settings(
    max_examples=100,
    stateful_step_count=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)


class Unloaded(Threads):
    """As `Threads`; the folded state is taken apart and read again, from bytes, after each event.

    Beside it another one is folded from the events as they are: a payload makes no difference, nor does what an
    earlier event left in the machine's memory.
    """

    def __init__(self) -> None:
        super().__init__()
        self.live = State()

    def apply(self, conversation_id: str, event: Event) -> None:
        super().apply(conversation_id, event)
        self.live.apply(conversation_id, event)
        assert self.live == self.folded
        self.folded = msgspec.msgpack.decode(msgspec.msgpack.encode(self.folded), type=State)
        assert self.live == self.folded


def test_every_change_of_phase_that_the_table_knows_happens() -> None:
    seen_phases.clear()
    run_state_machine_as_test(
        Unloaded,
        settings=settings(
            TestThreads.settings,
            max_examples=60,
            derandomize=True,
            database=None,
            phases=[Generation.generate],
        ),
    )
    known = {
        (before, event, after)
        for (before, event), phases in PHASES.items()
        for after in phases
        if after != before and event != "Approved"  # its model is pump/test_approvals
    }
    assert seen_phases == known
