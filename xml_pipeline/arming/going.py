"""What goes on of what triggers began, by the facts that are told of an organism."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from xml_pipeline.events import ConversationEnded, ConversationStarted, Event


class Going:
    """Conversations that are not over, by who brought them.

    Args:
        caller_of: who brought a conversation that has just begun; "" for nobody who is asked about.
    """

    def __init__(self, caller_of: Callable[[str], str]) -> None:
        self._caller_of = caller_of
        self._open: dict[str, set[str]] = {}
        self._whose: dict[str, str] = {}
        self._ended = asyncio.Event()

    def add(self, caller: str, conversation_ids: Iterable[str]) -> None:
        """These go on, from an earlier life."""
        for each in conversation_ids:
            self._whose[each] = caller
            self._open.setdefault(caller, set()).add(each)

    def hook(self, event: Event) -> None:
        """What an organism tells."""
        if isinstance(event, ConversationStarted):
            if caller := self._caller_of(event.conversation_id):
                self.add(caller, (event.conversation_id,))
        elif isinstance(event, ConversationEnded) and (ended := self._whose.pop(event.conversation_id, "")):
            self._open[ended].discard(event.conversation_id)
            self._ended.set()

    def any(self, caller: str) -> bool:
        """Whether something goes on that it brought."""
        return bool(self._open.get(caller))

    async def over(self, caller: str) -> None:
        """Wait until nothing goes on that it brought."""
        while self.any(caller):
            self._ended = asyncio.Event()
            await self._ended.wait()
