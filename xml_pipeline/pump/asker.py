"""Outside callers: where answers leave the organism, and who remembers what between them."""

from __future__ import annotations

import asyncio
from typing import Any

from xml_pipeline.threads import Port


class LastingSessions(dict[str, str]):
    """The sessions of one outside caller over several conversations, until it closes them."""

    __slots__ = ("open",)

    def __init__(self) -> None:
        super().__init__()
        self.open = True


class Asker(Port):
    """An outside caller that waits on a future; None for one that only sends."""

    __slots__ = ("future",)

    def __init__(
        self, name: str, future: asyncio.Future[Any] | None, sessions: LastingSessions | None = None
    ) -> None:
        super().__init__(name, {} if sessions is None else sessions)
        self.future = future

    @property
    def lasting(self) -> bool:
        """Whether its sessions outlive the conversation."""
        return isinstance(self.sessions, LastingSessions) and self.sessions.open
