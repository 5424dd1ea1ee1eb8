"""The real machine against a simple model of threads: call, answer, pass on, delegate, gather, prune, end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, precondition, rule

from tests.threads import model
from xml_pipeline import Gathered, Huh, SystemError, xmlify
from xml_pipeline.pump import ConversationLimits, DeadLetter, HandlerResponse, Machine, listener
from xml_pipeline.pump.effects import GatherTimer, Message, Over, Reply, Stopped, Unanswered
from xml_pipeline.pump.machine import NonsenseReturned
from xml_pipeline.threads import Port


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


ACCEPTS: dict[str, tuple[type, ...]] = {
    "all": (Task, Result, Huh, SystemError, Gathered),
    "some.results": (Task, Result, Gathered),
    "tasks": (Task, Gathered),
    "simple": (Task,),
    "leaf": (Task,),
}
PEERS = {
    "all": ("some.results", "tasks", "simple", "leaf", "all"),
    "some.results": ("all", "tasks", "leaf"),
    "tasks": ("simple", "leaf"),
    "simple": ("all", "leaf"),
    "leaf": (),
}
NAMES = {Huh: "huh"}
CLASSES = {"Task": Task, "Result": Result}


def actions_of(name: str) -> st.SearchStrategy[list[tuple]]:
    """What a handler of this listener may want, mostly what it may have."""
    peers = st.sampled_from([*PEERS[name], name])
    others = st.sampled_from([*ACCEPTS, "unknown", model.OUTSIDE])
    task, either = st.just("Task"), st.sampled_from([*CLASSES])
    respond = st.tuples(st.just("respond"), either)
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


@dataclass(eq=False)
class Pair:
    """One accepted message, real and modelled."""

    real: Message
    modelled: model.Sent


class Threads(RuleBasedStateMachine):
    """Each rule is one thing that happens to both; each step compares what followed."""

    gathers = Bundle("gathers")

    def __init__(self) -> None:
        super().__init__()
        table = {name: listener(name, never, accepts=ACCEPTS[name], peers=PEERS[name]) for name in ACCEPTS}
        limits = ConversationLimits(messages=model.MAX_MESSAGES, depth=model.MAX_DEPTH)
        self.machine = Machine(table, limits=limits)
        self.model = model.Model(
            {
                name: model.Listener(frozenset(each.accepts), frozenset(each.peers))
                for name, each in table.items()
            }
        )
        self.calls: dict[model.Call, Any] = {}
        self.conversations: dict[model.Conversation, Any] = {}
        self.outcomes: dict[Any, list[str]] = {}
        self.queued: list[Pair] = []
        self.running: list[Pair] = []
        self.accepted = self.handled = self.dead = 0
        self.timed: list[tuple[Any, model.Gather]] = []

    # --- comparing ---

    def compare(self, fx: list[Any]) -> None:
        """The effects of a step are those that the model expects, in its order."""
        messages = [effect for effect in fx if isinstance(effect, Message)]
        assert [(each.to.name, name_of(each.payload)) for each in messages] == [
            (each.call.listener, each.cls) for each in self.model.sent
        ]
        for real, modelled in zip(messages, self.model.sent, strict=True):
            known = self.calls.setdefault(modelled.call, real.call)
            assert known is real.call, "a message in the wrong thread"
            assert real.in_reply_to != "" or real.from_id != "system" or modelled.cls == "Gathered"
            self.queued.append(Pair(real, modelled))
        self.accepted += len(messages)
        assert sum(isinstance(effect, DeadLetter) for effect in fx) == self.model.dead
        self.dead += self.model.dead
        for effect in fx:
            if isinstance(effect, Reply):
                self.outcomes[effect.conversation].append(name_of(effect.payload))
            elif isinstance(effect, Unanswered):
                self.outcomes[effect.conversation].append("unanswered")
            elif isinstance(effect, Over):
                assert effect.conversation.id not in self.machine.ledger.registry.conversations
        stopped = [effect.call.run for effect in fx if isinstance(effect, Stopped)]
        assert {*map(id, stopped)} == {id(pair) for pair in self.running if not pair.modelled.call.open}
        self.model.forget_step()
        for pair in stopped:  # as the loop does: what runs for nobody is given up
            self.returned(pair)
        for pair in stopped:
            self.handled += 1
            self.model.finish(pair.modelled, None)
            self.compare(self.machine.finish(pair.real, None))

    def returned(self, pair: Pair) -> None:
        self.running.remove(pair)
        pair.real.call.run = None

    def pick_running(self, data: st.DataObject) -> Pair:
        pair = data.draw(st.sampled_from(self.running))
        self.returned(pair)
        return pair

    def take(self, pairs: list[Pair], data: st.DataObject) -> Pair:
        return pairs.pop(data.draw(st.integers(0, len(pairs) - 1)))

    # --- what happens ---

    @precondition(lambda self: sum(not each.freed for each in self.model.conversations) < 3)
    @rule(to=st.sampled_from([*ACCEPTS]))
    def inject(self, to: str) -> None:
        modelled = self.model.inject(to)
        conversation, fx = self.machine.inject(Port(model.OUTSIDE), to, Task())
        self.conversations[modelled] = conversation
        self.outcomes[conversation] = []
        self.compare(fx)

    def begin(self, pair: Pair) -> bool:
        runs = self.model.begin(pair.modelled)
        metadata, fx = self.machine.begin(pair.real)
        assert (metadata is not None) == runs
        if metadata is not None:
            assert metadata.thread_id == pair.real.call.thread_id
            assert metadata.is_self_call == (metadata.from_id == pair.modelled.call.listener)
        else:
            self.handled += 1
        self.compare(fx)
        return runs

    def finish(self, pair: Pair, actions: list[tuple] | None) -> Any:
        accepts = self.model.table[pair.modelled.call.listener].accepts
        returned = None if actions is None else [response(action) for action in actions]
        gathers = [action for action in actions or () if action[0] == "gather"]
        self.handled += 1
        if gathers and "Gathered" not in accepts and pair.modelled.call.open:
            with pytest.raises(NonsenseReturned):
                self.machine.finish(pair.real, returned)
            self.model.fail(pair.modelled)
            self.compare(self.machine.fail(pair.real, "handler", "nonsense"))
            return multiple()
        self.model.finish(pair.modelled, actions)
        fx = self.machine.finish(pair.real, returned)
        timers = [effect.gather for effect in fx if isinstance(effect, GatherTimer)]
        self.compare(fx)
        if len(gathers) == 1 and len(timers) == 1:
            return multiple((timers[0], self.model.last_gather))
        return multiple()

    def draw_actions(self, data: st.DataObject, pair: Pair) -> list[tuple] | None:
        if data.draw(st.integers(0, 4)) == 0:
            return None
        return data.draw(ACTIONS[pair.modelled.call.listener])

    @precondition(lambda self: self.queued)
    @rule(target=gathers, data=st.data())
    def handle(self, data: st.DataObject) -> Any:
        """A message's turn, and its handler returns at once."""
        pair = self.take(self.queued, data)
        return self.finish(pair, self.draw_actions(data, pair)) if self.begin(pair) else multiple()

    @precondition(lambda self: self.queued)
    @rule(data=st.data())
    def start(self, data: st.DataObject) -> None:
        """A message's turn; its handler takes its time."""
        pair = self.take(self.queued, data)
        if pair.real.call.run is not None:  # one message of a thread at a time: the scheduler sees to that
            self.queued.append(pair)
        elif self.begin(pair):
            self.running.append(pair)
            pair.real.call.run = pair

    @precondition(lambda self: self.running)
    @rule(target=gathers, data=st.data())
    def end(self, data: st.DataObject) -> Any:
        """A handler that took its time returns."""
        pair = self.pick_running(data)
        return self.finish(pair, self.draw_actions(data, pair))

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def fail(self, data: st.DataObject) -> None:
        pair = self.pick_running(data)
        self.handled += 1
        self.model.fail(pair.modelled)
        self.compare(self.machine.fail(pair.real, "handler", "crashed"))

    @rule(gather=gathers)
    def expire(self, gather: tuple[Any, model.Gather]) -> None:
        real, modelled = gather
        self.model.expire(modelled)
        self.compare(self.machine.expire(real))

    @precondition(
        lambda self: len(self.conversations) > 2 and not all(each.freed for each in self.conversations)
    )
    @rule(data=st.data(), error=st.booleans())
    def abort(self, data: st.DataObject, error: bool) -> None:
        alive = [each for each in self.model.conversations if not each.freed]
        modelled = data.draw(st.sampled_from(alive))
        self.model.abort(modelled, "SystemError" if error else "unanswered")
        what = SystemError("limit", "too long") if error else None
        self.compare(self.machine.abort(self.conversations[modelled], what))

    # --- what is always so ---

    @invariant()
    def every_accepted_message_is_handled_or_waits(self) -> None:
        assert self.accepted == self.handled + len(self.queued) + len(self.running)

    @invariant()
    def the_trees_are_the_same(self) -> None:
        registry = self.machine.ledger.registry
        open_calls = {real.thread_id: (each, real) for each, real in self.calls.items() if each.open}
        assert set(registry.calls) == set(open_calls)
        for modelled, real in open_calls.values():
            assert real.load == modelled.load
            assert real.depth == modelled.depth
            assert real.caller_name == modelled.caller
            assert real.parent is None or not real.parent.ended, "a call without an open caller"
            children = {self.calls[child].thread_id for child in modelled.children}
            assert set(real.children or ()) == children

    @invariant()
    def loads_are_what_is_queued_and_running(self) -> None:
        loads: dict[Any, int] = {}
        for pair in (*self.queued, *self.running):
            loads[pair.real.call.conversation] = loads.get(pair.real.call.conversation, 0) + 1
        alive = self.machine.ledger.registry.conversations
        assert {conversation.id for conversation in loads} == set(alive)
        assert all(conversation.load == count for conversation, count in loads.items())

    @invariant()
    def the_outside_gets_one_outcome_at_most_and_one_when_it_is_over(self) -> None:
        for modelled, real in self.conversations.items():
            assert self.outcomes[real] == modelled.outcomes
            assert len(modelled.outcomes) <= 1
            if modelled.freed:
                assert len(modelled.outcomes) == 1

    def teardown(self) -> None:
        """Whatever was begun, when all handlers return nothing any more, all is over and freed."""
        while self.queued or self.running:
            if self.running:
                pair = self.running[-1]
                self.returned(pair)
                self.finish(pair, None)
            else:
                pair = self.queued.pop(0)
                if self.begin(pair):
                    self.running.append(pair)
                    pair.real.call.run = pair
        registry = self.machine.ledger.registry
        assert not registry.calls
        assert not registry.conversations
        assert all(len(outcome) == 1 for outcome in self.outcomes.values())
        assert self.accepted == self.handled


TestThreads = Threads.TestCase
TestThreads.settings = settings(
    max_examples=150,
    stateful_step_count=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
