"""The engine's log: whatever goes wrong in a program's logging, the work goes on."""

from __future__ import annotations

import logging
from typing import Any


class _Unfailing(logging.LoggerAdapter[logging.Logger]):
    """A logger that does not raise: not for a filter's defect, nor for an exception that cannot be shown."""

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        """Log, or try once more without the trace, or let it be."""
        for attempt in (kwargs, {**kwargs, "exc_info": None}):
            try:
                super().log(level, msg, *args, **attempt)
            except KeyboardInterrupt:
                raise
            except BaseException:  # noqa: S112 - there is nowhere left to tell it
                continue
            return


logger = _Unfailing(logging.getLogger("xml_pipeline.pump"), {})
