"""Budgets in tokens and in USD: reserved before a call, settled after it, for all its scopes or for none.

A reservation is an upper bound of what one attempt can use; another attempt of the same call needs another one. It is
taken in one step without awaiting, so calls that run at the same time cannot pass a limit together.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import tzinfo
from typing import Literal, NamedTuple, TypeVar, get_args

import msgspec

from xml_pipeline.errors import BudgetExceededError, ConfigError, JournalError, cut
from xml_pipeline.events import BudgetWarning
from xml_pipeline.ledger import Amended, Forgiven, Ledger, Limited, Recalled, Spent
from xml_pipeline.llm.accounting.named import Named, only
from xml_pipeline.llm.accounting.periods import (
    ALWAYS,
    ENDLESS,
    Per,
    Period,
    Within,
    period_of,
    zone_named,
)
from xml_pipeline.llm.accounting.usage import Answered, Charge
from xml_pipeline.llm.types import is_amount, is_whole

MAX_THREAD_SCOPES = (
    65_536  # threads and conversations with a state; the least recently used idle one goes first
)
MAX_NAMED_SCOPES = 65_536  # agents and operations that only a glob names, the same way
_NEVER = Period(0.0, 0.0)

K = TypeVar("K")
_LONGER: frozenset[Per] = frozenset(get_args(Per)) - frozenset(get_args(Within))
Unit = Literal["tokens", "input_tokens", "output_tokens", "usd"]
UNITS: tuple[Unit, ...] = get_args(Unit)


@dataclass(frozen=True, slots=True)
class Budget:
    """One limit: of tokens, of one kind of them, of money, or of several at once.

    Attributes:
        tokens: input plus output, None for no limit.
        usd: US dollars, None for no limit.
        per: `run` (since the organism was started; a start after a death goes on with the run), or `hour`, `day`,
            `week` or `month` of the calendar, in the zone of the budgets. An agent's may also be per `call`,
            each with all that is below it; an agent's, a door's and a caller's per `conversation`, each for itself.
        warn_at: fractions of the limit at which a `BudgetWarning` is emitted, once per period.
        input_tokens: of prompts, read from caches or not; None for no limit.
        output_tokens: of answers, reasoning included; None for no limit.
        soft: whether it only warns, also when it is used up.

    Raises:
        ConfigError: one of them is nothing of the kind.
    """

    tokens: int | None = None
    usd: float | None = None
    per: Per = "run"
    warn_at: tuple[float, ...] = (0.8,)
    input_tokens: int | None = None
    output_tokens: int | None = None
    soft: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.warn_at, list):  # two budgets of the same numbers are the same
            object.__setattr__(self, "warn_at", tuple(self.warn_at))
        checks = [
            (name, value is None or (is_whole(value) and value >= 0), "a whole number from 0")
            for name in ("tokens", "input_tokens", "output_tokens")
            for value in (getattr(self, name),)
        ]
        checks += [
            ("usd", self.usd is None or is_amount(self.usd), "a number from 0"),
            ("per", self.per in get_args(Per), f"one of {', '.join(get_args(Per))}"),
            ("warn_at", all(map(is_amount, self.warn_at)), "fractions of the limit, as (0.5, 0.9)"),
            ("soft", isinstance(self.soft, bool), "True or False"),
        ]
        for name, right, allowed in checks:
            if not right:
                raise ConfigError(f"a budget's {name} is {allowed}, not {cut(repr(getattr(self, name)))}")

    def times(self, factor: float) -> Budget:
        """As much of each of its limits, at least one token."""
        return replace(
            self,
            usd=None if self.usd is None else self.usd * factor,
            **{
                name: limit and max(1, round(limit * factor))
                for name in ("tokens", "input_tokens", "output_tokens")
                for limit in (getattr(self, name),)
            },
        )

    def limits(self) -> Iterator[tuple[Unit, int]]:
        """What it limits, money in micro-USD."""
        for unit in UNITS:
            limit = getattr(self, unit)
            if limit is not None:
                yield unit, round(limit * 1_000_000) if unit == "usd" else limit


@dataclass(frozen=True, slots=True)
class Budgets:
    """All limits of a router. Several may hold for one scope (per day and per month).

    Attributes:
        organism: everything together.
        agents: agent name or glob → limits, each agent for itself; an exact name hides globs.
        thread: each thread for itself, with everything below it.
        conversation: each conversation for itself.
        default_max_tokens: output limit of calls that state none.
        operations: operation or glob → limits, each operation for itself; an exact name hides globs.
        zone: whose calendar says when an hour, a day, a week or a month begins.
        doors: a door's name → limits of all that comes in through it.
        callers: who comes through doors, as `trigger:nightly` → limits of all that it brings in.

    Raises:
        ConfigError: the zone is not known here, or something is limited per call or conversation that cannot be.
    """

    organism: Sequence[Budget] = ()
    agents: Mapping[str, Sequence[Budget]] = field(default_factory=dict)
    thread: Sequence[Budget] = ()
    conversation: Sequence[Budget] = ()
    default_max_tokens: int = 4096
    operations: Mapping[str, Sequence[Budget]] = field(default_factory=dict)
    zone: str = "UTC"
    doors: Mapping[str, Sequence[Budget]] = field(default_factory=dict)
    callers: Mapping[str, Sequence[Budget]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        zone_named(self.zone)
        if any(one.per == "call" for one in _every(self.doors, self.callers)):
            raise ConfigError(
                "the budget of a door, and of who comes through it, is not per call; what comes in is a conversation:"
                " per conversation"
            )
        others = (self.organism, self.thread, self.conversation, *self.operations.values())
        for budget in (one for some in others for one in some):
            if budget.per == "call" or budget.per == "conversation":
                raise ConfigError(
                    f"only an agent's budget is per {budget.per}; each conversation is limited by `conversation`,"
                    " each call by `thread`"
                )

    def __bool__(self) -> bool:
        """Whether there is any limit."""
        several = self.organism or self.thread or self.conversation
        return bool(several or self.agents or self.operations or self.doors or self.callers)

    def of_everything(self) -> Iterator[Budget]:
        """Those that hold longer than a conversation."""
        yield from self.organism
        yield from _every(self.agents, self.operations, self.doors, self.callers)


@dataclass(frozen=True, slots=True)
class Most:
    """An upper bound of what one attempt can use.

    Attributes:
        prompt, output: tokens.
        micro_usd: of the dearest backend that may be asked; 0 when no money is counted.
        limit: the output limit that a request must state, so that this is its bound; None where it states its own.
    """

    prompt: int
    output: int
    micro_usd: int = 0
    limit: int | None = None

    def of(self, unit: Unit) -> int:
        """Tokens, or micro-USD."""
        return amount_of(unit, self.prompt, self.output, self.micro_usd)


def amount_of(unit: Unit, prompt: int, output: int, micro_usd: int) -> int:
    """What counts for a limit of this unit."""
    match unit:
        case "usd":
            return micro_usd
        case "tokens":
            return prompt + output
        case "input_tokens":
            return prompt
        case _:
            return output


class Own(NamedTuple):
    """A limit that was set for one thread.

    Attributes:
        budget: the limit.
        since: the number of the last try before it was set; it counts those after it.
    """

    budget: Budget
    since: int


_owns = msgspec.json.Decoder(tuple[Own, ...])


class Meter:
    """The state of one budget in one scope and one unit; money in micro-USD.

    `since` is that of an `Own`; None where it counts from the beginning.
    """

    __slots__ = (
        *("_before", "_period", "_warned", "_zone"),
        *("budget", "limit", "reserved", "scope", "since", "spent", "unit"),
    )

    def __init__(
        self, scope: str, budget: Budget, unit: Unit, limit: int, zone: tzinfo, since: int | None = None
    ) -> None:
        self.scope = scope
        self.since = since
        self.budget = budget
        self.unit = unit
        self.limit = limit
        self.spent = 0
        self.reserved = 0
        self._zone = zone
        self._period = ALWAYS if budget.per in ENDLESS else _NEVER
        self._warned = 0
        self._before = (_NEVER, 0, 0)  # the period before this one, as it was left

    def turn(self, wall: float) -> None:
        """Start anew when the period has changed; what is in flight counts for the new one.

        A clock that is set back finds the period as it was left: no budget is there a second time.
        """
        if self._period.holds(wall):
            return
        known, spent, warned = self._before
        self._before = (self._period, self.spent, self._warned)
        self._period = period_of(self.budget.per, wall, self._zone)
        self.spent, self._warned = (spent, warned) if self._period == known else (0, 0)

    def count(self, earlier: Iterable[Spent], forgiven: Iterable[Forgiven], wall: float) -> None:
        """Take in what was spent in earlier lives, as far as it belongs to this period, without what is forgiven.

        Nobody is warned again.
        """
        self.turn(wall)
        for spent in earlier:
            if spent.in_run if self.budget.per == "run" else self._period.holds(spent.at):
                self.spent += amount_of(self.unit, spent.prompt, spent.output, spent.micro_usd)
        for each in forgiven:
            if self._is(each):
                self.spent -= amount_of(self.unit, each.prompt, each.output, each.micro_usd)
        self.spent = max(0, self.spent)
        self._warned = len(self._crossed())

    def counts(self, number: int) -> bool:
        """Whether the try of this number is among what it counts."""
        return self.since is None or number > self.since

    def last_forgiven(self, forgiven: Iterable[Forgiven], wall: float) -> float:
        """When something of it was forgiven in this period, in seconds of Unix time: all that had ended by then."""
        self.turn(wall)
        return max((each.at for each in forgiven if self._is(each)), default=-math.inf)

    def _is(self, forgiven: Forgiven) -> bool:
        """Whether this budget is the one of which something is forgiven, in the period of now."""
        same = (forgiven.scope, forgiven.per) == (self.scope, self.budget.per)
        return same and (forgiven.per == "run" or self._period.holds(forgiven.start))

    @property
    def ends(self) -> float:
        """When it begins anew, in seconds of Unix time; infinite for a run."""
        return self._period.end

    def headroom(self) -> int:
        """What is neither spent nor reserved."""
        return self.limit - self.spent - self.reserved

    @property
    def unspent(self) -> int:
        """What would be free if every call in flight used nothing."""
        return self.limit - self.spent

    def spend(self, amount: int) -> list[BudgetWarning]:
        """Count it; the warnings that follow."""
        self.spent += amount
        crossed = self._crossed()
        new, self._warned = crossed[self._warned :], max(self._warned, len(crossed))
        return [
            BudgetWarning(self.scope, fraction, self.shown(self.limit), self.shown(self.spent), self.unit)
            for fraction in new
        ]

    def _crossed(self) -> list[float]:
        marks = {*self.budget.warn_at, 1.0} if self.budget.soft else self.budget.warn_at
        return [mark for mark in sorted(marks) if self.spent and self.spent >= mark * self.limit]

    def shown(self, amount: int) -> float:
        return amount / 1_000_000 if self.unit == "usd" else float(amount)

    def exceeded(self, most: Most) -> BudgetExceededError:
        return BudgetExceededError(
            self.scope,
            limit=self.shown(self.limit),
            spent=self.shown(self.spent + self.reserved),
            requested=self.shown(most.of(self.unit)),
            unit=self.unit,
            period=self.budget.per,
            made_of=f"at most {most.prompt} tokens of prompt, counted as bytes where nobody has counted them yet,"
            f" and {most.output} of answer",
        )


class Reservation:
    """What one attempt holds of its budgets, until it is settled or closed.

    Attributes:
        most: how much.
    """

    __slots__ = ("_meters", "_on_event", "_on_settled", "_open", "_wall", "most")

    def __init__(
        self,
        meters: Sequence[Meter],
        most: Most,
        wall: Callable[[], float],
        on_event: Callable[[BudgetWarning], None],
        on_settled: Callable[[], None],
    ) -> None:
        self._meters = meters
        self._wall = wall
        self._on_event = on_event
        self._on_settled = on_settled
        self._open = True
        self.most = most
        for meter in meters:
            meter.reserved += most.of(meter.unit)

    def settle(self, fact: Answered) -> bool:
        """Replace what is held by what an attempt came to; False when it came to nothing, and all is still held.

        Usage without a known price spends the whole reserved amount.
        """
        usage = fact.usage
        micro_usd = (
            self.most.micro_usd if fact.micro_usd is None and usage.total_tokens else fact.micro_usd or 0
        )
        if usage.total_tokens or micro_usd:
            self._end(usage.prompt_tokens, usage.completion_tokens, micro_usd)
        return not self._open

    def close(self) -> None:
        """Give back what is held. Idempotent."""
        self._end(0, 0, 0)

    def _end(self, prompt: int, output: int, micro_usd: int) -> None:
        if not self._open:
            return
        self._open = False
        warnings: list[BudgetWarning] = []
        wall = self._wall()
        for meter in self._meters:
            meter.turn(wall)
            meter.reserved -= self.most.of(meter.unit)
            amount = amount_of(meter.unit, prompt, output, micro_usd)
            if amount:
                warnings += meter.spend(amount)
        for warning in warnings:
            self._on_event(warning)
        self._on_settled()


class BudgetBook:
    """The state of all budgets of one router.

    Args:
        budgets: the limits.
        wall: unix time in seconds.
        on_event: gets each `BudgetWarning`.
        on_settled: called when reserved room became free or spent.

    Attributes:
        active: whether any budget was ever set; without one no call has to ask.
    """

    def __init__(
        self,
        budgets: Budgets,
        wall: Callable[[], float],
        on_event: Callable[[BudgetWarning], None],
        on_settled: Callable[[], None],
    ) -> None:
        self.budgets = budgets
        self._wall = wall
        self._on_event = on_event
        self._on_settled = on_settled
        self._zone = zone_named(budgets.zone)
        self._organism = self._meters("organism", budgets.organism)
        self._agents = Named("agent", only(budgets.agents, _LONGER))
        self._within: dict[Within, Named] = {
            per: Named("agent", named)
            for per in get_args(Within)
            if any((named := only(budgets.agents, {per})).values())
        }
        self._operations = Named("operation", budgets.operations)
        self._doors = Named("door", only(budgets.doors, _LONGER))
        self._callers = Named("caller", only(budgets.callers, _LONGER))
        self._brought = (
            Named("door", only(budgets.doors, {"conversation"})),
            Named("caller", only(budgets.callers, {"conversation"})),
        )
        self._threads: OrderedDict[tuple[str, str], list[Meter]] = OrderedDict()
        self._own: dict[tuple[str, str], tuple[Own, ...]] = {}
        self._talks: dict[str, set[tuple[str, str]]] = {}  # conversation → what is limited in it: kind, name
        self._ledger: Ledger | None = None
        self._earlier: Sequence[Spent] = ()  # in earlier lives
        self._forgiven: Sequence[Forgiven] = ()
        self.active = bool(budgets)

    def since(self) -> float:
        """From when on it matters what was spent: the beginning of the longest period, in seconds of Unix time."""
        now = self._wall()
        periods = {budget.per for budget in self.budgets.of_everything()} - {"run"}
        return min((period_of(per, now, self._zone).start for per in periods), default=now)

    def take_up(self, ledger: Ledger, earlier: Iterable[Spent]) -> None:
        """Go on with what was spent since then; threads and conversations are looked up when they spend more."""
        self._ledger, self._earlier = ledger, tuple(earlier)
        self._forgiven = tuple(filter(self._still_holds, ledger.forgiven()))
        self._count(self._organism, self._earlier)
        for named in (self._agents, self._operations, self._doors, self._callers):
            for name, meters in named.all():
                self._count(meters, named.of(name, self._earlier))
        for each in ledger.limited():
            try:
                self._own[("thread", each.thread_id)] = _owns.decode(each.limits)
            except msgspec.MsgspecError as error:
                text = f"the ledger holds limits of thread {each.thread_id} that cannot be read: {error}"
                raise JournalError(text) from error
            self.active = True

    def go_on(self, ledger: Ledger | None) -> None:
        """The ledger that was taken up is opened anew; or there is none any more."""
        self._ledger = ledger

    def set_thread_budget(self, thread_id: str, *limits: Budget, conversation_id: str = "") -> None:
        """Limits for one thread and everything below it, beside the general ones; without limits: none.

        Those that held before and still hold go on with what they have counted.
        """
        scope = ("thread", thread_id)
        counted, before = self._threads.pop(scope, []), list(self._own.pop(scope, ()))
        own, now = [], 0 if self._ledger is None else self._ledger.last
        for budget in limits:
            known = next((each for each in before if each.budget == budget), None)
            if known is not None:
                before.remove(known)
            own.append(known or Own(budget, now))
        if own:
            self._own[scope] = tuple(own)
            self.active = True
        if self._ledger is not None and conversation_id:
            written = msgspec.json.encode(own) if own else b""
            self._ledger.limit(Limited(thread_id, conversation_id, written))
        for place, meter in enumerate(self._scope("thread", thread_id, self.budgets.thread, conversation_id)):
            what = meter.budget, meter.unit, meter.since
            same = next((old for old in counted if (old.budget, old.unit, old.since) == what), None)
            if same is not None:
                counted.remove(same)
                self._threads[scope][place] = same

    def meters(self, charge: Charge) -> list[Meter]:
        """Every meter that a call of this charge moves, in the state of now."""
        found = list(self._organism)
        if charge.agent and self.budgets.agents:
            found += self._named(self._agents, charge.agent)
        if charge.operation and self.budgets.operations:
            found += self._named(self._operations, charge.operation)
        if charge.door and (self.budgets.doors or self.budgets.callers):
            found += self._brought_in(charge)
        if self.budgets.thread or self._own:
            for thread in charge.threads:
                found += self._scope("thread", thread, self.budgets.thread, charge.conversation_id)
        if (conversation := charge.conversation_id) and self.budgets.conversation:
            found += self._scope("conversation", conversation, self.budgets.conversation, conversation)
        if conversation and self._within:
            found += self._bounded(charge)
        wall = self._wall()
        for meter in found:
            meter.turn(wall)
        return found

    def reserve(self, meters: Sequence[Meter], most: Most) -> Reservation:
        """Take so much of every meter, or of none.

        Raises:
            BudgetExceededError: one of them has no room; nothing was taken.
        """
        for meter in meters:
            needed = most.of(meter.unit)
            if not meter.budget.soft and needed and needed > meter.headroom():
                raise meter.exceeded(most)
        return Reservation(meters, most, self._wall, self._on_event, self._on_settled)

    def give_back(self, charge: Charge, known: Recalled) -> None:
        """What was counted as the most that something can have come to; what it did come to is spent beside it."""
        if self.active:
            for meter in self.meters(charge):
                if meter.counts(known.number):
                    amount = amount_of(meter.unit, known.prompt, known.output, known.micro_usd)
                    meter.spent = max(0, meter.spent - amount)

    def forgive(self, what: Forgiven) -> None:
        """Hold something no more against a budget, from now on and for budgets that are first used later."""
        self._forgiven = (*self._forgiven, what)
        wall = self._wall()
        for meter in self._of_scope(what.scope):
            meter.count((), (what,), wall)
        self._on_settled()

    def amend(self, what: Amended) -> None:
        """Count a call as it was put right, in all budgets that count it."""
        change, wall = what.change, self._wall()
        forgiven = tuple(filter(self._still_holds, what.forgiven))
        self._forgiven = (*self._forgiven, *forgiven)
        self._earlier = (*self._earlier, change)
        scopes = {
            "organism": change,
            f"agent {change.agent}": change,
            f"operation {change.operation}": change,
            f"door {change.door}": change,
            f"caller {change.caller}": change,
        }
        kept = change._replace(in_run=True)  # what is of one conversation goes through all lives
        scopes[f"conversation {what.conversation_id}"] = kept
        for kind, name in (("agent", change.agent), ("door", change.door), ("caller", change.caller)):
            scopes[f"{kind} {_talk(name, what.conversation_id)}"] = kept
        for thread in change.threads:
            scopes[f"thread {thread}"] = scopes[f"call {thread}"] = kept
        for scope, counts in scopes.items():
            for meter in self._of_scope(scope):
                if meter.counts(what.number):
                    meter.count((counts,), forgiven, wall)
        self._on_settled()

    def _still_holds(self, forgiven: Forgiven) -> bool:
        """Whether it is not of an earlier run; a conversation has one, with its threads, through all lives."""
        if forgiven.per != "run" or forgiven.scope.startswith(("conversation ", "thread ")):
            return True
        return self._ledger is not None and forgiven.start == self._ledger.before

    def _of_scope(self, scope: str) -> list[Meter]:
        """The meters of one scope, as far as it has any by now."""
        kind, _, name = scope.partition(" ")
        match kind:
            case "organism":
                return self._organism
            case "agent" | "operation" | "door" | "caller":
                every = (self._agents, self._operations, self._doors, self._callers)
                if found := next(each for each in every if each.kind == kind).made(name):
                    return found
        return self._threads.get((kind, name), [])

    def forget_thread(self, thread_id: str) -> None:
        """The thread is over."""
        self._threads.pop(("thread", thread_id), None)
        self._threads.pop(("call", thread_id), None)
        if self._own.pop(("thread", thread_id), ()) and self._ledger is not None:
            self._ledger.limit(Limited(thread_id, "", b""))

    def forget_conversation(self, conversation_id: str) -> None:
        """The conversation is over."""
        self._threads.pop(("conversation", conversation_id), None)
        for kind, name in self._talks.pop(conversation_id, ()):
            self._threads.pop((kind, _talk(name, conversation_id)), None)

    def _bounded(self, charge: Charge) -> list[Meter]:
        """Of the calls of agents that this is a part of, and of the agent in this conversation."""
        found: list[Meter] = []
        conversation = charge.conversation_id
        if (calls := self._within.get("call")) is not None:
            for thread, listener in zip(charge.threads, charge.listeners, strict=True):
                found += self._scope("call", thread, calls.limits(listener), conversation)
        if (talks := self._within.get("conversation")) is not None and (limits := talks.limits(charge.agent)):
            found += self._talk("agent", charge.agent, limits, conversation)
        return found

    def _brought_in(self, charge: Charge) -> list[Meter]:
        """Of the door that the conversation came through, and of who brought it."""
        found = self._named(self._doors, charge.door) + self._named(self._callers, charge.caller)
        for named, name in zip(self._brought, (charge.door, charge.caller), strict=True):
            if limits := named.limits(name):
                found += self._talk(named.kind, name, limits, charge.conversation_id)
        return found

    def _talk(self, kind: str, name: str, limits: Sequence[Budget], conversation_id: str) -> list[Meter]:
        """Of one thing in one conversation."""
        self._talks.setdefault(conversation_id, set()).add((kind, name))
        return self._scope(kind, _talk(name, conversation_id), limits, conversation_id)

    def _named(self, named: Named, name: str) -> list[Meter]:
        limits = named.exact(name)
        if limits is not None:
            meters = named.meters.get(name)
            if meters is None:
                meters = named.meters[name] = self._meters(f"{named.kind} {name}", limits)
                self._count(meters, named.of(name, self._earlier))
            return meters
        meters, new = self._kept(
            named.others, name, f"{named.kind} {name}", named.globbed(name), MAX_NAMED_SCOPES
        )
        if new:
            self._count(meters, named.of(name, self._earlier))
        return meters

    def _scope(
        self, kind: str, key: str, general: Sequence[Budget], conversation_id: str = ""
    ) -> list[Meter]:
        own = self._own.get((kind, key), ())
        meters, new = self._kept(self._threads, (kind, key), f"{kind} {key}", general, MAX_THREAD_SCOPES, own)
        if new and self._ledger is not None and conversation_id:
            earlier = self._ledger.spent_in(conversation_id)
            if kind == "agent":
                belongs = [spent for spent in earlier if _talk(spent.agent, conversation_id) == key]
            else:
                whole = kind in ("conversation", "door", "caller")
                belongs = [spent for spent in earlier if whole or key in spent.threads]
            self._count([meter for meter in meters if meter.since is None], belongs)
            for meter in meters:
                if meter.since is not None:
                    self._count_since(meter, key, conversation_id, self._ledger)
        return meters

    def _count_since(self, meter: Meter, thread_id: str, conversation_id: str, ledger: Ledger) -> None:
        """Count what a thread spent since it was limited; of what was forgiven it is known by when it had ended."""
        wall = self._wall()
        forgiven = meter.last_forgiven(self._forgiven, wall)
        earlier = ledger.spent_in(conversation_id, meter.since or 0, forgiven)
        meter.count([spent for spent in earlier if thread_id in spent.threads], (), wall)

    def _count(self, meters: Sequence[Meter], earlier: Sequence[Spent]) -> None:
        if earlier:
            for meter in meters:
                meter.count(earlier, self._forgiven, self._wall())

    def _kept(
        self,
        scopes: OrderedDict[K, list[Meter]],
        key: K,
        name: str,
        limits: Sequence[Budget],
        most: int,
        own: Sequence[Own] = (),
    ) -> tuple[list[Meter], bool]:
        """The meters of one scope, and whether they were made now: when it has limits and is first asked about."""
        meters = scopes.get(key)
        if meters is not None:
            scopes.move_to_end(key)
            return meters, False
        if not limits and not own:
            return [], False
        meters = scopes[key] = self._meters(name, limits, own)
        if len(scopes) > most:
            _drop_idle(scopes)
        return meters, True

    def _meters(self, scope: str, budgets: Sequence[Budget], own: Sequence[Own] = ()) -> list[Meter]:
        return [
            Meter(scope, budget, unit, limit, self._zone, since)
            for budget, since in (*((budget, None) for budget in budgets), *own)
            for unit, limit in budget.limits()
        ]


def _every(*named: Mapping[str, Sequence[Budget]]) -> Iterator[Budget]:
    """All budgets of these, whoever's they are."""
    for each in named:
        for some in each.values():
            yield from some


def _talk(name: str, conversation_id: str) -> str:
    """Something in one conversation."""
    return f"{name} in {conversation_id}"


def _drop_idle(scopes: OrderedDict[K, list[Meter]]) -> None:
    """Forget the least recently used scope in which no call is in flight."""
    for key, meters in scopes.items():
        if not any(meter.reserved for meter in meters):
            del scopes[key]
            return
