"""What many prompts begin with, stored by name where a provider does that (Gemini's `cachedContents`; ADR 37).

A session that says that later calls will begin as this one has its beginning stored with the first of them, once for
all calls with an equal one. It lives for its time, is kept longer while it is read, and deleted when the session that
had it goes on with another one, and when the router is closed. Nothing that happens to it fails a call: a call waits
a little for what is being stored, and goes without otherwise; a name that its provider does not know is left out, and
the same is asked again as a whole.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from xml_pipeline.errors import BackendError, XmlPipelineError, described
from xml_pipeline.llm.accounting.bound import extent_of
from xml_pipeline.llm.accounting.estimate import prompt_size
from xml_pipeline.llm.cache_health import MAX_THREADS
from xml_pipeline.llm.routing.endpoint import Route
from xml_pipeline.llm.routing.leases import Lease
from xml_pipeline.llm.types import LLMRequest
from xml_pipeline.llm.upkeep import Upkeep
from xml_pipeline.terminal import visible

if TYPE_CHECKING:
    from xml_pipeline.llm.run import Run

logger = logging.getLogger(__name__)

PATIENCE = 10.0  # seconds that a call waits for what is being stored; never more than a quarter of its time
MARGIN = 5.0  # seconds before its end in which a name is not used any more
RETRY_SECONDS = 60.0  # after a failure
CLOSING_SECONDS = 2.0  # for each of: what is on its way, and deleting
MAX_PREFIXES = 256  # stored at once; the one that was not read for the longest time is deleted for another
LIVES = {"5m": 300, "1h": 3600}
"""How long it is stored, in seconds, by `cache_ttl`."""


class _Key(NamedTuple):
    """Which prompts have one beginning: those to the same model, with the same key of the same backend."""

    backend: str
    account: bytes
    model: str
    prefix: bytes


_Session: TypeAlias = tuple[str, str, str, bytes, str]
"""A thread and an operation, at one place: backend, account, model."""


@dataclass(slots=True, eq=False)
class _Prefix:
    """A beginning that is stored, or will be.

    Attributes:
        name: by which requests name it; "" while it is not there.
        tokens: of it.
        until: when it ends, in seconds of the router's monotonic clock.
        sessions: whose calls begin so.
        work: what is being done for it.
        slow: whether a call has waited for it in vain.
    """

    route: Route
    name: str = ""
    tokens: int = 0
    until: float = 0.0
    sessions: set[_Session] = field(default_factory=set)
    work: asyncio.Task[None] | None = None
    slow: bool = False


class Prefixes:
    """What one router has stored."""

    def __init__(self) -> None:
        self._stored: OrderedDict[_Key, _Prefix] = OrderedDict()
        self._threads: OrderedDict[str, dict[_Session, _Key]] = OrderedDict()
        self._refused: OrderedDict[_Key, float] = OrderedDict()  # until when it is not tried again
        self._told: set[tuple[str, str]] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._home: asyncio.AbstractEventLoop | None = None

    async def named(self, run: Run, lease: Lease, request: LLMRequest) -> LLMRequest:
        """The request, with the name of its beginning if that is stored; has it stored if that is worth it."""
        route, completion = lease.route, run.completion
        prefix = route.backend._prefix(request) if request.cache_prompt else None
        if prefix is None or run.shared.closed:
            return request
        self._settle_in()
        now, charge = run.shared.clock.monotonic(), completion.charge
        account = blake2b(str(route.backend.api_key).encode(), digest_size=16).digest()
        key = _Key(route.name, account, route.model, blake2b(prefix, digest_size=16).digest())
        session = (charge.thread_id, charge.operation, *key[:3])
        moved = self._moved(session, key)
        found = self._living(key, now)
        if found is None:
            if moved or now < self._refused.get(key, now):  # what moves once may move each time
                return request
            found = self._begin(key, run, route, request, now)
            if found is None:
                return request
        elif found.name and found.work is None and found.until - now < _seconds(request) / 4:
            self._prolong(key, found, run, request, now)
        if charge.thread_id:
            found.sessions.add(session)
        if not found.name and found.work is not None and not found.slow:
            limits = completion.timeouts
            left = min(completion.deadline - now, limits.attempt or PATIENCE * 4, limits.first_token)
            await asyncio.wait({found.work}, timeout=min(PATIENCE, left / 4))
            found.slow = not found.name
        return replace(request, stored=found.name) if found.name else request

    def lost(self, request: LLMRequest, raised: Exception, now: float) -> bool:
        """Whether the failure of a request may come of the name in it: then it is used no more, and asked without.

        Google says 403 for a name that it does not know, also for one that has expired.
        """
        if not isinstance(raised, BackendError):
            return False
        said = raised.status == 400 and "cache" in str(raised).lower()
        if raised.status not in (403, 404) and not said:
            return False
        for key, found in list(self._stored.items()):
            if found.name == request.stored:
                del self._stored[key]
                self._refuse(key, now)
                logger.info("%s has the stored beginning of prompts no more", key.backend)
        return True

    def forget(self, thread_id: str) -> None:
        """The thread has ended. What it had stays for others, for its time."""
        for session, key in self._threads.pop(thread_id, {}).items():
            if key in self._stored:
                self._stored[key].sessions.discard(session)

    async def aclose(self) -> None:
        """Delete all of it, as far as that goes in a bounded time; what stays ends by itself."""
        self._settle_in()
        await self._finish()
        for key in list(self._stored):
            self._delete(key)
        await self._finish()

    async def _finish(self) -> None:
        """End what is on its way, when it has had its time."""
        tasks = set(self._tasks)
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=CLOSING_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    # What becomes of them

    def _settle_in(self) -> None:
        """Belong to the running event loop; what was on its way in another one never ends."""
        here = asyncio.get_running_loop()
        if self._home is not here:
            self._home, self._tasks = here, set()
            for key, found in list(self._stored.items()):
                found.work = None
                if not found.name:
                    del self._stored[key]

    def _moved(self, session: _Session, key: _Key) -> bool:
        """Whether the session began otherwise before. What only it had is deleted then."""
        thread = session[0]
        if not thread:
            return False
        keys = self._threads.setdefault(thread, {})
        self._threads.move_to_end(thread)
        if len(self._threads) > MAX_THREADS:
            self.forget(next(iter(self._threads)))
        before, keys[session] = keys.get(session, key), key
        if before == key:
            return False
        left = self._stored.get(before)
        if left is not None and session in left.sessions:
            left.sessions.remove(session)
            if not left.sessions:
                self._delete(before)
        return True

    def _living(self, key: _Key, now: float) -> _Prefix | None:
        found = self._stored.get(key)
        if found is None:
            return None
        if found.name and now >= found.until - MARGIN:
            del self._stored[key]  # its provider deletes it by itself
            return None
        self._stored.move_to_end(key)
        return found

    def _begin(self, key: _Key, run: Run, route: Route, request: LLMRequest, now: float) -> _Prefix | None:
        """Have it stored, if it is long enough for its provider and read for less than it is written."""
        alone = replace(request, messages=[each for each in request.messages if each["role"] == "system"])
        expected = route.estimator.prompt_tokens(prompt_size(alone.messages, alone.tools))
        dialect = route.backend.dialect
        least = None if dialect is None else dialect.least_cacheable(route.model)
        rates = route.rates(run.shared.prices, run.shared.clock.wall())
        if expected < (least or 0) or (rates is not None and rates.cached.base >= rates.input.base):
            return None
        if len(self._stored) >= MAX_PREFIXES:
            self._delete(next(iter(self._stored)))
        most, seconds = max(expected, route.estimator.bound.most(extent_of(alone))), _seconds(request)
        upkeep = self._upkeep(run, route, seconds, expected, expected, most)
        found = self._stored[key] = _Prefix(route)

        async def store() -> None:
            async def act() -> int:
                name, tokens = await route.backend._store(await _client(route), request, seconds)
                found.name, found.until = name, now + seconds
                return tokens

            try:
                found.tokens = await upkeep.paid(act)
            finally:
                if found.name and self._stored.get(key) is not found:  # meanwhile nobody wants it
                    self._start(lambda: _dropped(found))

        found.work = self._start(lambda: self._tried(key, found, store, now))
        return found

    def _prolong(self, key: _Key, found: _Prefix, run: Run, request: LLMRequest, now: float) -> None:
        """Keep it longer, while it goes on to be read."""
        seconds, until = _seconds(request), now + _seconds(request)
        upkeep = self._upkeep(run, found.route, until - found.until, 0, found.tokens, found.tokens)

        async def act() -> int:
            await found.route.backend._keep(await _client(found.route), found.name, seconds)
            return found.tokens

        async def keep() -> None:
            await upkeep.paid(act)
            found.until = until

        if now >= self._refused.get(key, now):
            found.work = self._start(lambda: self._tried(key, found, keep, now))

    def _upkeep(self, run: Run, route: Route, seconds: float, written: int, stored: int, most: int) -> Upkeep:
        completion = run.completion
        return Upkeep(run.shared, route, completion.charge, completion.model, seconds, written, stored, most)

    async def _tried(
        self, key: _Key, found: _Prefix, work: Callable[[], Awaitable[None]], now: float
    ) -> None:
        """Do it. A failure is remembered for a while and told once; calls go on without."""
        try:
            await work()
        except XmlPipelineError as error:
            self._refuse(key, now)
            if (key.backend, key.model) not in self._told:
                self._told.add((key.backend, key.model))
                logger.warning(
                    "%s does not store the beginning of prompts to %s; calls go on without: %s",
                    key.backend,
                    key.model,
                    " ".join(visible(described(error)).split()),
                )
        finally:
            found.work = None
            if not found.name and self._stored.get(key) is found:
                del self._stored[key]

    def _refuse(self, key: _Key, now: float) -> None:
        self._refused[key] = now + RETRY_SECONDS
        self._refused.move_to_end(key)
        if len(self._refused) > MAX_PREFIXES:
            self._refused.popitem(last=False)

    def _delete(self, key: _Key) -> None:
        """Forget it, and have it deleted; what is being stored is deleted when it is there."""
        found = self._stored.pop(key)
        if found.name:
            self._start(lambda: _dropped(found))

    def _start(self, work: Callable[[], Any]) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _seconds(request: LLMRequest) -> int:
    return LIVES[request.cache_ttl or "5m"]


async def _client(route: Route) -> Any:
    return route.transport.client() or await route.transport.open()


async def _dropped(found: _Prefix) -> None:
    """Delete it at its provider; if that fails it ends by itself."""
    with suppress(Exception):
        async with asyncio.timeout(CLOSING_SECONDS):
            await found.route.backend._drop(await _client(found.route), found.name)
