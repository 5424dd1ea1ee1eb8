"""A switch that forbids requests to anything but this machine, for test suites and offline work."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Self

VARIABLE = "XML_PIPELINE_FORBID_REAL_REQUESTS"

_forbidden: ContextVar[bool] = ContextVar("xml_pipeline_forbid_real_requests", default=False)


class forbid_real_requests:
    """Forbid model calls that would leave this machine, from now on or for a `with` block.

    Scripted backends and those with a loopback address stay usable; for every other one a call raises
    `NoBackendError`. It holds in the current context and in tasks started from it. The environment variable
    XML_PIPELINE_FORBID_REAL_REQUESTS=1 does the same for the whole process.
    """

    def __init__(self) -> None:
        self._token: Token[bool] | None = _forbidden.set(True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._token is not None:
            _forbidden.reset(self._token)
            self._token = None


def real_requests_forbidden(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether requests that leave this machine are forbidden here and now."""
    return _forbidden.get() or environ.get(VARIABLE, "") not in ("", "0", "false")
