"""Who looks on: hooks that get every fact and signal."""

from __future__ import annotations

import logging

from xml_pipeline.events import Event, Hook

logger = logging.getLogger("xml_pipeline.pump")


class Observers:
    """The hooks of one organism; without any, nothing is made for them."""

    def __init__(self) -> None:
        self._hooks: list[Hook] = []

    def __bool__(self) -> bool:
        return bool(self._hooks)

    def add(self, hook: Hook) -> None:
        """Call `hook` with everything from now on."""
        self._hooks.append(hook)

    def remove(self, hook: Hook) -> None:
        """Call it no more."""
        self._hooks.remove(hook)

    def tell(self, event: Event) -> None:
        """Tell all; one that fails is logged and changes nothing."""
        for hook in tuple(self._hooks):
            try:
                hook(event)
            except Exception:
                logger.exception("an observer failed at %s", type(event).__name__)
