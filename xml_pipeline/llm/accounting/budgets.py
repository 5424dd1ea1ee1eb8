"""Budgets in tokens and in USD: reserved before a call, settled after it, for all its scopes or for none.

A reservation is an upper bound of what one attempt can use; another attempt of the same call needs another one. It is
taken in one step without awaiting, so calls that run at the same time cannot pass a limit together.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Literal, TypeVar, get_args

from xml_pipeline.errors import BudgetExceededError, ConfigError, cut
from xml_pipeline.events import BudgetWarning
from xml_pipeline.ledger import Ledger, Spent
from xml_pipeline.llm.accounting.usage import Answered, Charge
from xml_pipeline.llm.types import is_amount, is_whole

MAX_THREAD_SCOPES = (
    65_536  # threads and conversations with a state; the least recently used idle one goes first
)
MAX_AGENT_SCOPES = 65_536  # agents that only a glob names, the same way

K = TypeVar("K")
Period = Literal["run", "day", "month"]
Unit = Literal["tokens", "usd"]


@dataclass(frozen=True, slots=True)
class Budget:
    """One limit.

    Attributes:
        tokens: input plus output, None for no limit.
        usd: US dollars, None for no limit.
        per: `run` (since the router was made), `day` or `month` (calendar, UTC).
        warn_at: fractions of the limit at which a `BudgetWarning` is emitted, once per period.

    Raises:
        ConfigError: one of them is nothing of the kind.
    """

    tokens: int | None = None
    usd: float | None = None
    per: Period = "run"
    warn_at: tuple[float, ...] = (0.8,)

    def __post_init__(self) -> None:
        checks = (
            (
                "tokens",
                self.tokens is None or (is_whole(self.tokens) and self.tokens >= 0),
                "a whole number from 0",
            ),
            ("usd", self.usd is None or is_amount(self.usd), "a number from 0"),
            ("per", self.per in get_args(Period), f"one of {', '.join(get_args(Period))}"),
            ("warn_at", all(map(is_amount, self.warn_at)), "fractions of the limit, as (0.5, 0.9)"),
        )
        for name, right, allowed in checks:
            if not right:
                raise ConfigError(f"a budget's {name} is {allowed}, not {cut(repr(getattr(self, name)))}")


@dataclass(frozen=True, slots=True)
class Budgets:
    """All limits of a router. Several may hold for one scope (per day and per month).

    Attributes:
        organism: everything together.
        agents: agent name or glob → limits, each agent for itself; an exact name hides globs.
        thread: each thread for itself, with everything below it.
        conversation: each conversation for itself.
        default_max_tokens: output limit given to calls that state none while a budget applies to them.
    """

    organism: Sequence[Budget] = ()
    agents: Mapping[str, Sequence[Budget]] = field(default_factory=dict)
    thread: Sequence[Budget] = ()
    conversation: Sequence[Budget] = ()
    default_max_tokens: int = 4096


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
        return self.micro_usd if unit == "usd" else self.prompt + self.output


class Meter:
    """The state of one budget in one scope: tokens or micro-USD."""

    __slots__ = ("_before", "_period_id", "_warned", "budget", "limit", "reserved", "scope", "spent", "unit")

    def __init__(self, scope: str, budget: Budget, unit: Unit, limit: int) -> None:
        self.scope = scope
        self.budget = budget
        self.unit = unit
        self.limit = limit
        self.spent = 0
        self.reserved = 0
        self._period_id = ""
        self._warned = 0
        self._before = ("", 0, 0)  # the period before this one, as it was left

    def turn(self, wall: float) -> None:
        """Start anew when the period has changed; what is in flight counts for the new one.

        A clock that is set back finds the period as it was left: no budget is there a second time.
        """
        if self.budget.per == "run":
            return
        period = self._period(wall)
        if period != self._period_id:
            known, spent, warned = self._before
            self._before = (self._period_id, self.spent, self._warned)
            self._period_id = period
            self.spent, self._warned = (spent, warned) if period == known else (0, 0)

    def _period(self, wall: float) -> str:
        form = "%Y-%m-%d" if self.budget.per == "day" else "%Y-%m"
        return datetime.fromtimestamp(wall, UTC).strftime(form)

    def count(self, earlier: Iterable[Spent], wall: float) -> None:
        """Take in what was spent in earlier lives, as far as it belongs to this period. Nobody is warned again."""
        self.turn(wall)
        for spent in earlier:
            if spent.in_run if self.budget.per == "run" else self._period(spent.at) == self._period_id:
                self.spent += spent.micro_usd if self.unit == "usd" else spent.tokens
        self._warned = len(self._crossed())

    def headroom(self) -> int:
        """What is neither spent nor reserved."""
        return self.limit - self.spent - self.reserved

    @property
    def unspent(self) -> int:
        """What would be free if every call in flight used nothing."""
        return self.limit - self.spent

    def spend(self, amount: int) -> list[BudgetWarning]:
        self.spent += amount
        crossed = self._crossed()
        new, self._warned = crossed[self._warned :], max(self._warned, len(crossed))
        return [
            BudgetWarning(self.scope, fraction, self.shown(self.limit), self.shown(self.spent), self.unit)
            for fraction in new
        ]

    def _crossed(self) -> list[float]:
        return [f for f in sorted(self.budget.warn_at) if self.spent and self.spent >= f * self.limit]

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
        tokens = fact.usage.total_tokens
        micro_usd = self.most.micro_usd if fact.micro_usd is None and tokens else fact.micro_usd or 0
        if tokens or micro_usd:
            self._end(tokens, micro_usd)
        return not self._open

    def close(self) -> None:
        """Give back what is held. Idempotent."""
        self._end(0, 0)

    def _end(self, tokens: int, micro_usd: int) -> None:
        if not self._open:
            return
        self._open = False
        warnings: list[BudgetWarning] = []
        wall = self._wall()
        for meter in self._meters:
            meter.turn(wall)
            meter.reserved -= self.most.of(meter.unit)
            amount = micro_usd if meter.unit == "usd" else tokens
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
        self._organism = _meters("organism", budgets.organism)
        self._agents: OrderedDict[str, list[Meter]] = OrderedDict()
        self._named_agents: dict[str, list[Meter]] = {}
        self._threads: OrderedDict[tuple[str, str], list[Meter]] = OrderedDict()
        self._own: dict[tuple[str, str], tuple[Budget, ...]] = {}
        self._ledger: Ledger | None = None
        self._earlier: dict[str, list[Spent]] = {}  # of agents, in earlier lives
        self.active = bool(budgets.organism or budgets.agents or budgets.thread or budgets.conversation)

    def since(self) -> float:
        """From when on it matters what was spent: the beginning of the longest period, in seconds of Unix time."""
        now = datetime.fromtimestamp(self._wall(), UTC)
        return now.replace(day=1, hour=0, minute=0, second=0, microsecond=0).timestamp()

    def take_up(self, ledger: Ledger, earlier: Iterable[Spent]) -> None:
        """Go on with what was spent since then; threads and conversations are looked up when they spend more."""
        self._ledger = ledger
        self._earlier = {}
        for spent in earlier:
            self._earlier.setdefault(spent.agent, []).append(spent)
        wall = self._wall()
        for meter in self._organism:
            for some in self._earlier.values():
                meter.count(some, wall)
        for name, meters in (*self._named_agents.items(), *self._agents.items()):
            for meter in meters:
                meter.count(self._earlier.get(name, ()), wall)

    def set_thread_budget(self, thread_id: str, *limits: Budget, conversation_id: str = "") -> None:
        """Limits for one thread and everything below it, beside the general ones; without limits: none.

        Those that held before and still hold go on with what they have counted.
        """
        scope = ("thread", thread_id)
        counted = self._threads.pop(scope, [])
        self._own.pop(scope, None)
        if limits:
            self._own[scope] = limits
            self.active = True
        for place, meter in enumerate(self._scope("thread", thread_id, self.budgets.thread, conversation_id)):
            same = next(
                (old for old in counted if (old.budget, old.unit) == (meter.budget, meter.unit)), None
            )
            if same is not None:
                counted.remove(same)
                self._threads[scope][place] = same

    def meters(self, charge: Charge) -> list[Meter]:
        """Every meter that a call of this charge moves, in the state of now."""
        found = list(self._organism)
        if charge.agent and self.budgets.agents:
            found += self._agent(charge.agent)
        if self.budgets.thread or self._own:
            for thread in charge.threads:
                found += self._scope("thread", thread, self.budgets.thread, charge.conversation_id)
        if (conversation := charge.conversation_id) and self.budgets.conversation:
            found += self._scope("conversation", conversation, self.budgets.conversation, conversation)
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
            if most.of(meter.unit) > meter.headroom():
                raise meter.exceeded(most)
        return Reservation(meters, most, self._wall, self._on_event, self._on_settled)

    def give_back(self, charge: Charge, tokens: int, micro_usd: int) -> None:
        """What was counted as the most that something can have come to; what it did come to is spent beside it."""
        if self.active:
            for meter in self.meters(charge):
                meter.spent = max(0, meter.spent - (micro_usd if meter.unit == "usd" else tokens))

    def forget_thread(self, thread_id: str) -> None:
        """The thread is over."""
        self._threads.pop(("thread", thread_id), None)
        self._own.pop(("thread", thread_id), None)

    def forget_conversation(self, conversation_id: str) -> None:
        """The conversation is over."""
        self._threads.pop(("conversation", conversation_id), None)

    def _agent(self, name: str) -> list[Meter]:
        agents = self.budgets.agents
        if name in agents:
            meters = self._named_agents.get(name)
            if meters is None:
                meters = self._named_agents[name] = _meters(f"agent {name}", agents[name])
                self._count(meters, self._earlier.get(name, ()))
            return meters
        limits = [one for glob, some in agents.items() if fnmatchcase(name, glob) for one in some]
        meters, new = _kept(self._agents, name, f"agent {name}", limits, MAX_AGENT_SCOPES)
        if new:
            self._count(meters, self._earlier.get(name, ()))
        return meters

    def _scope(
        self, kind: str, key: str, general: Sequence[Budget], conversation_id: str = ""
    ) -> list[Meter]:
        limits = (*general, *self._own.get((kind, key), ()))
        meters, new = _kept(self._threads, (kind, key), f"{kind} {key}", limits, MAX_THREAD_SCOPES)
        if new and self._ledger is not None and conversation_id:
            earlier = self._ledger.spent_in(conversation_id)
            self._count(
                [
                    meter for meter in meters if meter.budget in general
                ],  # another one counts from its own time
                [spent for spent in earlier if kind == "conversation" or key in spent.threads],
            )
        return meters

    def _count(self, meters: Sequence[Meter], earlier: Sequence[Spent]) -> None:
        if earlier:
            for meter in meters:
                meter.count(earlier, self._wall())


def _kept(
    scopes: OrderedDict[K, list[Meter]], key: K, name: str, limits: Sequence[Budget], most: int
) -> tuple[list[Meter], bool]:
    """The meters of one scope, and whether they were made now: when it has limits and is first asked about."""
    meters = scopes.get(key)
    if meters is not None:
        scopes.move_to_end(key)
        return meters, False
    if not limits:
        return [], False
    meters = scopes[key] = _meters(name, limits)
    if len(scopes) > most:
        _drop_idle(scopes)
    return meters, True


def _drop_idle(scopes: OrderedDict[K, list[Meter]]) -> None:
    """Forget the least recently used scope in which no call is in flight."""
    for key, meters in scopes.items():
        if not any(meter.reserved for meter in meters):
            del scopes[key]
            return


def _meters(scope: str, budgets: Sequence[Budget]) -> list[Meter]:
    meters: list[Meter] = []
    for budget in budgets:
        if budget.tokens is not None:
            meters.append(Meter(scope, budget, "tokens", budget.tokens))
        if budget.usd is not None:
            meters.append(Meter(scope, budget, "usd", round(budget.usd * 1_000_000)))
    return meters
