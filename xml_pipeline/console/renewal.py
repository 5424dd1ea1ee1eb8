"""Another organism in the place of the one that is talked to, when the files have changed that it was made of."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, nullcontext

from xml_pipeline.config.watching import EVERY
from xml_pipeline.errors import XmlPipelineError
from xml_pipeline.organism import Organism

Tell = Callable[[XmlPipelineError], None]


class Renewal:
    """Looks for another organism while one is talked to.

    Args:
        changed: whether there is something new since it last said so; called in the event loop, must be quick.
        made: the new organism, not started. Raises XmlPipelineError: then the former one goes on.
        wait: lets seconds go by.

    Attributes:
        times: how often there was one.
        draft: what was typed and not yet sent when there was.
        successor: the one to go on with; None while there is none.
    """

    def __init__(
        self,
        changed: Callable[[], bool],
        made: Callable[[], Organism],
        *,
        wait: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self.times = 0
        self.draft = ""
        self.successor: Organism | None = None
        self._changed = changed
        self._made = made
        self._wait = wait

    def taken(self) -> Organism | None:
        """The successor, once: then this looks for the next one."""
        found, self.successor = self.successor, None
        return found

    @contextmanager
    def looking(self, tell: Tell) -> Iterator[None]:
        """A block of a coroutine that is left, as if it had come to its end, as soon as there is a successor.

        Args:
            tell: says why there is none, though the files have changed.
        """
        task = asyncio.current_task()
        assert task is not None
        before = task.cancelling()
        looking = asyncio.create_task(self._look(task, tell), name="renewal")
        try:
            yield
        except asyncio.CancelledError:
            if (failure := _failure(looking)) is not None and task.uncancel() <= before:
                raise failure from None
            if self.successor is None or task.uncancel() > before:  # somebody else wants an end
                raise
        else:
            if self.successor is not None:  # in the moment in which the talk was over
                self.successor = None
                task.uncancel()
        finally:
            looking.cancel()

    async def _look(self, task: asyncio.Task[object], tell: Tell) -> None:
        try:
            while self.successor is None:
                await self._wait(EVERY)
                if self._changed():
                    try:
                        self.successor = self._made()
                    except XmlPipelineError as error:
                        tell(error)
            self.times += 1
        except Exception:
            task.cancel()  # it raises this in the place of the end
            raise
        task.cancel()


def _failure(looking: asyncio.Task[None]) -> BaseException | None:
    """What ended a look that nobody foresaw."""
    return looking.exception() if looking.done() and not looking.cancelled() else None


@contextmanager
def looking(renewal: Renewal | None, tell: Tell) -> Iterator[None]:
    """`renewal.looking`, where there may be none."""
    with nullcontext() if renewal is None else renewal.looking(tell):
        yield
