"""Who keeps accounts of what the pump does: a router, of what models cost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from xml_pipeline.ledger import Amended, Forgiven, Ledger
from xml_pipeline.pump.log import logger
from xml_pipeline.threads.record import Accepted


class PerThread(Protocol):
    """Somebody who keeps something for each thread and conversation, and frees it when they end; in a ledger, too."""

    def forget_thread(self, thread_id: str) -> None: ...
    def forget_conversation(self, conversation_id: str) -> None: ...
    async def take_up(self, ledger: Ledger) -> None: ...
    def forgiven(self, what: Forgiven) -> None: ...
    def amended(self, what: Amended) -> None: ...


class Ends:
    """Tells a tenant what has ended. What is kept for a call that was handed over is kept until it is answered.

    Attributes:
        tenant: who is told; None for nobody.
    """

    def __init__(self) -> None:
        self.tenant: PerThread | None = None
        self._calls: dict[str, str] = {}  # threads that took a call over, and the one that it began with

    def thread(self, ended: str, event: Accepted | None = None) -> None:
        """A thread ended; with `event`, an answer or a hand-over."""
        if self.tenant is None:
            return
        call = self._calls.pop(ended, "")
        opens = None if event is None else event.opens
        if opens is not None and event is not None:
            self._calls[event.message.thread_id] = opens.call
            if opens.call == ended:
                return
        elif call:
            self._forget(self.tenant.forget_thread, call)
        self._forget(self.tenant.forget_thread, ended)

    def conversation(self, ended: str) -> None:
        """A conversation ended."""
        if self.tenant is not None:
            self._forget(self.tenant.forget_conversation, ended)

    def _forget(self, forget: Callable[[str], None], which: str) -> None:
        """What the tenant makes of it changes nothing here."""
        try:
            forget(which)
        except KeyboardInterrupt:
            raise
        except BaseException:
            logger.exception("what was kept for %s could not be forgotten", which)
