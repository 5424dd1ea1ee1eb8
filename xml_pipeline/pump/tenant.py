"""Who keeps accounts of what the pump does: a router, of what models cost."""

from __future__ import annotations

from typing import Protocol

from xml_pipeline.ledger import Amended, Forgiven, Ledger


class PerThread(Protocol):
    """Somebody who keeps something for each thread and conversation, and frees it when they end; in a ledger, too."""

    def forget_thread(self, thread_id: str) -> None: ...
    def forget_conversation(self, conversation_id: str) -> None: ...
    async def take_up(self, ledger: Ledger) -> None: ...
    def forgiven(self, what: Forgiven) -> None: ...
    def amended(self, what: Amended) -> None: ...
