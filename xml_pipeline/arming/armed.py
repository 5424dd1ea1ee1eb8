"""The triggers of an organism, armed while it runs.

async with organism, Armed(organism):
    ...
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from types import TracebackType

from xml_pipeline.arming.going import Going
from xml_pipeline.arming.timer import Timer
from xml_pipeline.doors import Visitor
from xml_pipeline.errors import ConfigError
from xml_pipeline.journal.triggered import Triggered
from xml_pipeline.organism import Organism
from xml_pipeline.triggers.signature import BadSecret, key_of
from xml_pipeline.triggers.trigger import Trigger, Webhook

HOST = "127.0.0.1"
PORT = 8787
MAX_BYTES = 1_000_000


class Armed:
    """Fires the triggers of a running organism; an async context manager.

    Args:
        organism: it runs.
        host, port: where webhooks are listened for.
        max_bytes: of the body of a delivery.
        clock: Unix time in seconds.
    """

    def __init__(
        self,
        organism: Organism,
        *,
        host: str = HOST,
        port: int = PORT,
        max_bytes: int = MAX_BYTES,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._organism = organism
        self._at = host, port
        self._max_bytes = max_bytes
        self._clock = clock
        self._tasks: list[asyncio.Task[None]] = []
        self._close: Callable[[], asyncio.Future[None]] | None = None
        self._url = ""

    def rows(self) -> list[tuple[str, str, str]]:
        """Each trigger: its name, its door, and when it fires next or where it is posted to."""
        return [
            (each.name, each.to, told_of(each, self._clock(), self._url))
            for each in self._organism.triggers.values()
        ]

    async def __aenter__(self) -> Armed:
        organism, kept = self._organism, self._organism.triggered
        going = Going(organism.doors.caller_of)
        visitors: list[tuple[Trigger, Visitor]] = []
        for each in organism.triggers.values():
            _refuse_without_journal(each, kept)
            visitors.append((each, organism.doors.visitor(each.to, each.caller)))
            if kept is not None:
                going.add(each.caller, kept.open(each.caller))
        if organism.triggers:
            organism.add_hook(going.hook)
        await self._listen([pair for pair in visitors if isinstance(pair[0].when, Webhook)], going)
        for trigger, visitor in visitors:
            if not isinstance(trigger.when, Webhook):
                timer = Timer(trigger, trigger.when, visitor, kept, going, self._clock)
                name = f"xml-pipeline-trigger-{trigger.name}"
                self._tasks.append(asyncio.create_task(timer.run(), name=name))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        if self._close is not None:
            await self._close()

    async def _listen(self, hooks: list[tuple[Trigger, Visitor]], going: Going) -> None:
        if not hooks:
            return
        from xml_pipeline.arming.server import Hook, WebhookServer

        doors = self._organism.doors
        served: dict[str, Hook] = {}
        for trigger, visitor in hooks:
            assert isinstance(trigger.when, Webhook)
            hook = trigger.when
            payload = hook.payload or next(iter(doors[trigger.to].requests), "")
            served[hook.path] = Hook(trigger, visitor, _key(trigger.name, hook), payload)
        server = WebhookServer(served, going, self._max_bytes, self._clock)
        await server.open(*self._at)
        self._url = server.url
        self._close = lambda: asyncio.ensure_future(server.close())


def told_of(trigger: Trigger, now: float, url: str) -> str:
    """When a trigger fires next, or where it is posted to."""
    if isinstance(trigger.when, Webhook):
        return f"POST {url}{trigger.when.path}"
    return trigger.when.shown(trigger.when.after(now))


def _refuse_without_journal(trigger: Trigger, kept: Triggered | None) -> None:
    if kept is None and (trigger.missed == "once" or isinstance(trigger.when, Webhook)):
        what = "`missed: once`" if trigger.missed == "once" else "a webhook"
        raise ConfigError(
            f"the trigger '{trigger.name}' needs a journal for {what}: organism: {{journal: state.db}}"
        )


def _key(name: str, hook: Webhook) -> bytes:
    to_do = f"set the environment variable {hook.variable}, or run with --no-triggers"
    if not hook.secret:
        raise ConfigError(f"the webhook '{name}' has no secret: {to_do}")
    try:
        return key_of(hook.secret)
    except BadSecret as error:
        raise ConfigError(f"the secret of the webhook '{name}' is none: {error}; {to_do}") from None
