"""Who looks on: hooks that get every fact and signal."""

from __future__ import annotations

from xml_pipeline.events import Event, Hook
from xml_pipeline.pump.log import logger


class Observers:
    """The hooks of one organism; without any, nothing is made for them.

    Attributes:
        hooks: those that are called, in this order.
    """

    def __init__(self) -> None:
        self.hooks: list[Hook] = []

    def add(self, hook: Hook) -> None:
        """Call `hook` with everything from now on."""
        self.hooks.append(hook)

    def remove(self, hook: Hook) -> None:
        """Call it no more: this very one, whatever others say of their equality."""
        self.hooks[:] = [each for each in self.hooks if each is not hook]

    def tell(self, event: Event) -> None:
        """Tell all; one that fails is logged and changes nothing."""
        for hook in tuple(self.hooks):
            try:
                hook(event)
            except KeyboardInterrupt:
                raise
            except BaseException:  # a hook is not ours: whatever it raises, the others are told
                logger.exception("an observer failed at %s", type(event).__name__)
