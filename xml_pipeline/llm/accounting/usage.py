"""Who pays, what one attempt came to, and the sums: per agent, thread, conversation, model and backend.

`Answered` is the one fact of an attempt. Usage, budgets, limits, estimator and circuit breaker each settle themselves
from it; a ledger writes it down.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from msgspec import Struct

from xml_pipeline.attribution import current_caller
from xml_pipeline.errors import BackendError
from xml_pipeline.llm.accounting.bound import Extent
from xml_pipeline.llm.types import Usage

MAX_THREADS = 16_384  # threads and conversations remembered, the least recently used forgotten first
MAX_NAMES = 4096  # agents, and models, remembered by name; the sums of the least recently used join `OTHERS`
OTHERS = "(others)"


@dataclass(frozen=True, slots=True)
class UsageTotals:
    """Sums over calls.

    Attributes:
        prompt_tokens: input, cache reads and writes included.
        completion_tokens: output, reasoning included; of streams that broke off, what came.
        cached_tokens, cache_write_tokens, reasoning_tokens: parts of those.
        request_count: calls that were answered, in whole or until the consumer of their stream left.
        failure_count: calls that ended in an error; of models and backends, tries that did.
        unconfirmed_tokens: estimated tokens of tries that were sent and of which nothing came back (timeouts, broken
            connections, cancelled calls, unreadable answers); not part of the sums above, because they may not have
            been billed. Budgets count them.
        known_cost: USD of what is in the sums and has a known price.
        unpriced_count: tries in the sums whose price is unknown.
        estimated_tokens: input and output above of tries that the provider did not count, or not to their end.
        cache_write_1h_tokens: those of `cache_write_tokens` that are kept for an hour.
        plain_cost: USD that what `known_cost` is of would have come to with nothing cached.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    request_count: int = 0
    failure_count: int = 0
    unconfirmed_tokens: int = 0
    known_cost: float = 0.0
    unpriced_count: int = 0
    estimated_tokens: int = 0
    cache_write_1h_tokens: int = 0
    plain_cost: float = 0.0

    @property
    def total_tokens(self) -> int:
        """Input plus output."""
        return self.prompt_tokens + self.completion_tokens

    @property
    def cost(self) -> float | None:
        """USD; None when any call's price is unknown."""
        return None if self.unpriced_count else self.known_cost

    @property
    def saved(self) -> float:
        """USD that caching saved, as far as prices are known; below 0 where its writes cost more."""
        return self.plain_cost - self.known_cost


class _Account:
    """Running sums of one scope."""

    __slots__ = (
        "cache_write",
        "cache_write_1h",
        "cached",
        "completion",
        "estimated",
        "failures",
        "micro_usd",
        "plain",
        "prompt",
        "reasoning",
        "requests",
        "unconfirmed",
        "unpriced",
    )

    def __init__(self) -> None:
        self.prompt = self.completion = self.cached = self.cache_write = self.reasoning = 0
        self.requests = self.failures = self.unconfirmed = self.micro_usd = self.unpriced = 0
        self.estimated = self.cache_write_1h = self.plain = 0

    def count(self, usage: Usage, micro_usd: int | None, plain: int | None) -> None:
        """What one try used; `micro_usd` and `plain` (with nothing cached) are None when its price is unknown."""
        if usage.estimated:
            self.estimated += usage.total_tokens
        self.prompt += usage.prompt_tokens
        self.completion += usage.completion_tokens
        if usage.cached_tokens:
            self.cached += usage.cached_tokens
        if usage.cache_write_tokens:
            self.cache_write += usage.cache_write_tokens
            self.cache_write_1h += usage.cache_write_1h_tokens
        if usage.reasoning_tokens:
            self.reasoning += usage.reasoning_tokens
        if micro_usd is None:
            self.unpriced += 1
        else:
            self.micro_usd += micro_usd
            self.plain += micro_usd if plain is None else plain

    def add(self, other: _Account) -> None:
        for name in self.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def totals(self) -> UsageTotals:
        return UsageTotals(
            self.prompt,
            self.completion,
            self.cached,
            self.cache_write,
            self.reasoning,
            self.requests,
            self.failures,
            self.unconfirmed,
            self.micro_usd / 1_000_000,
            self.unpriced,
            self.estimated,
            self.cache_write_1h,
            self.plain / 1_000_000,
        )


@dataclass(frozen=True, slots=True)
class Charge:
    """Who a call is charged to.

    Attributes:
        agent: the listener's name, or what the caller outside a handler said; "" for nobody.
        thread_id: the innermost thread, or "".
        conversation_id: or "".
        threads: the innermost thread and all above it; the last one is the conversation's first.
        message_id: what the handler works on, or "".
        attempt: which delivery of it this is, from 1.
        operation: what the call is for, or "".
        listeners: who works in each of `threads`.
        caller: who brought the conversation through a door, as `trigger:nightly`; "" for nobody.
        door: through which; "" for none.
    """

    agent: str = ""
    thread_id: str = ""
    conversation_id: str = ""
    threads: tuple[str, ...] = ()
    message_id: str = ""
    attempt: int = 1
    operation: str = ""
    listeners: tuple[str, ...] = ()
    caller: str = ""
    door: str = ""


def charge_of(agent_id: str | None, operation: str = "") -> Charge:
    """Who pays for a call made here, and for what: the running handler; outside of one, whom the caller names.

    A handler cannot charge anybody else: `agent_id` is ignored inside one.
    """
    caller = current_caller.get()
    if caller is None:
        return Charge(agent_id or "", operation=operation) if agent_id or operation else NOBODY
    threads, listeners = caller.lineage()
    return Charge(
        caller.listener,
        caller.thread_id,
        caller.conversation_id,
        threads,
        caller.message_id,
        caller.attempt,
        operation or caller.operation,
        listeners,
        *caller.came(),
    )


NOBODY = Charge()

Kind = Literal["agent", "thread", "conversation", "model", "backend"]
Outcome = Literal["answered", "dropped", "failed", "cancelled", "stored"]


class Answered(Struct, frozen=True):
    """What one attempt at one backend came to.

    Attributes:
        charge: who pays.
        backend, model: who was asked, and for which model there.
        outcome: `answered`; `dropped`, when the consumer of a stream left after its first content; `failed`;
            `cancelled`, when the caller left before; `stored`, when it asked for no answer, but to store what prompts
            begin with.
        usage: what is charged: tokens as the provider counted them, or `estimated`; of an unconfirmed attempt what
            was expected.
        confirmed: False when it was sent, nothing came back, and nobody will tell whether it was billed.
        micro_usd: what the usage costs; None when the price is unknown.
        started, at: when it began and ended, in seconds of the router's monotonic clock.
        size: of the prompt, in bytes.
        error: why it failed, or None.
        extent: of the prompt, None where no budget asked for it.
        plain: what it would have cost with no cache, in micro-USD; None when the price is unknown.
        priced_as: whose price that is, as `openai/gpt-5.4`; "" when it is unknown.
        attempt: which one of its call, from 1.
    """

    charge: Charge
    backend: str
    model: str
    outcome: Outcome
    usage: Usage
    confirmed: bool
    micro_usd: int | None
    started: float
    at: float
    size: int
    error: BackendError | None = None
    extent: Extent | None = None
    plain: int | None = None
    priced_as: str = ""
    attempt: int = 1

    @property
    def cost(self) -> float | None:
        """USD; None when the price is unknown."""
        return None if self.micro_usd is None else self.micro_usd / 1_000_000


class UsageTally:
    """The running sums of one router."""

    def __init__(self) -> None:
        self._total = _Account()
        self._agents: OrderedDict[str, _Account] = OrderedDict()
        self._models: OrderedDict[str, _Account] = OrderedDict()
        self._backends: OrderedDict[str, _Account] = OrderedDict()
        self._threads: OrderedDict[str, _Account] = OrderedDict()
        self._conversations: OrderedDict[str, _Account] = OrderedDict()
        self._tables: dict[Kind, dict[str, _Account]] = {
            "agent": self._agents,
            "thread": self._threads,
            "conversation": self._conversations,
            "model": self._models,
            "backend": self._backends,
        }

    def settle(self, fact: Answered) -> None:
        """Count what an attempt came to."""
        if fact.error is not None:
            _named(self._backends, fact.backend).failures += 1
            _named(self._models, fact.model).failures += 1
        answered = fact.outcome in ("answered", "dropped")
        if not fact.confirmed:
            total = fact.usage.total_tokens
            for account in self._accounts(fact):
                account.unconfirmed += total
        elif answered or fact.usage.total_tokens or fact.micro_usd:
            for account in self._accounts(fact):
                account.requests += answered
                account.count(fact.usage, fact.micro_usd, fact.plain)

    def failed(self, charge: Charge) -> None:
        """A call ended without an answer."""
        for account in self._callers(charge):
            account.failures += 1

    def _callers(self, charge: Charge) -> list[_Account]:
        accounts = [self._total]
        if charge.agent:
            accounts.append(_named(self._agents, charge.agent))
        for thread in charge.threads:
            accounts.append(_recent(self._threads, thread))
        if charge.conversation_id:
            accounts.append(_recent(self._conversations, charge.conversation_id))
        return accounts

    def _accounts(self, fact: Answered) -> list[_Account]:
        accounts = self._callers(fact.charge)
        accounts.append(_named(self._backends, fact.backend))
        accounts.append(_named(self._models, fact.model))
        return accounts

    # Reading

    def total(self) -> UsageTotals:
        """Everything together."""
        return self._total.totals()

    def one(self, kind: Kind, name: str) -> UsageTotals:
        """What one of a kind has used; zeros for one that never called."""
        account = self._tables[kind].get(name)
        return UsageTotals() if account is None else account.totals()

    def all(self, kind: Kind) -> dict[str, UsageTotals]:
        """What all of a kind have used, by name."""
        return {name: account.totals() for name, account in self._tables[kind].items()}

    def reset_agents(self, names: Iterable[str] | None = None) -> None:
        """Forget what these agents used; all of them for None."""
        for name in list(self._agents) if names is None else names:
            self._agents.pop(name, None)


def _named(accounts: OrderedDict[str, _Account], key: str) -> _Account:
    """The account of a name that anybody may have invented."""
    account = accounts.get(key)
    if account is not None:
        accounts.move_to_end(key)
        return account
    if len(accounts) >= MAX_NAMES:
        others = accounts.pop(OTHERS, None) or _Account()
        while len(accounts) >= MAX_NAMES - 1:
            others.add(accounts.popitem(last=False)[1])
        accounts[OTHERS] = others
    account = accounts[key] = _Account()
    return account


def _recent(accounts: OrderedDict[str, _Account], key: str) -> _Account:
    account = accounts.get(key)
    if account is None:
        account = accounts[key] = _Account()
        if len(accounts) > MAX_THREADS:
            accounts.popitem(last=False)
    else:
        accounts.move_to_end(key)
    return account
