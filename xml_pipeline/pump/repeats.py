"""Messages that are handled once more: after a pause where a handler raised, few at a time where one was interrupted.

Those that were interrupted once run a few at a time, those that were interrupted more often alone. So whoever runs
beside the one that ends the process is interrupted with it at most twice, and not taken for the cause.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from xml_pipeline.envelope import Message
from xml_pipeline.pump.deadlines import Deadlines

_AT_ONCE = 4


class Repeats:
    """A lane of its own for messages that are handled again.

    Args:
        queue: puts one before a handler.
        deadlines: rings when a pause is over.

    Attributes:
        ids: of all that pause, wait or run here.
    """

    def __init__(self, queue: Callable[[Message], None], deadlines: Deadlines) -> None:
        self.ids: set[str] = set()
        self._queue = queue
        self._deadlines = deadlines
        self._pausing: dict[str, Message] = {}
        self._running: set[str] = set()
        self._few: OrderedDict[str, Message] = OrderedDict()
        self._alone: OrderedDict[str, Message] = OrderedDict()

    def add(self, message: Message, interrupted: int) -> None:
        """Let it be handled as soon as its turn comes; `interrupted`: how often it was not handled to its end."""
        waiting = self._few if interrupted == 1 else self._alone
        waiting[message.message_id] = message
        self.ids.add(message.message_id)
        self._next()

    def pause(self, message: Message, seconds: float) -> None:
        """Let it be handled in so many seconds."""
        self._pausing[message.message_id] = message
        self.ids.add(message.message_id)
        self._deadlines.add(message.message_id, seconds, self._paused)

    def _paused(self, message_id: str) -> None:
        self.ids.discard(message_id)
        self._queue(self._pausing.pop(message_id))

    def end(self, message_id: str) -> bool:
        """A message is done or buried, one of these or another; whether it was in no queue but here."""
        self.ids.discard(message_id)
        if self._pausing.pop(message_id, None) is not None:
            self._deadlines.discard(message_id)
            return True
        for waiting in (self._few, self._alone):
            if waiting.pop(message_id, None) is not None:
                return True
        if message_id in self._running:
            self._running.discard(message_id)
            self._next()
        return False

    def _next(self) -> None:
        while self._few and len(self._running) < _AT_ONCE:
            self._start(self._few)
        if self._alone and not self._running:
            self._start(self._alone)

    def _start(self, waiting: OrderedDict[str, Message]) -> None:
        message_id, message = waiting.popitem(last=False)
        self._running.add(message_id)
        self._queue(message)
