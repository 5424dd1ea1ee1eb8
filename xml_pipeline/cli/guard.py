"""The last line: whatever is written to the standard streams while a command runs gives no orders to a terminal.

Commands write their texts with `terminal`, which knows how each kind of text shows such characters. What comes from
elsewhere (argparse, tracebacks, log records that nobody handles, a handler's `print`) goes through here.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from xml_pipeline.terminal import GuardedStream


@contextmanager
def guarded_streams() -> Iterator[None]:
    """Within this block `sys.stdout` and `sys.stderr` are guarded; a letter that they cannot encode is shown, too."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = map(_guarded, before)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def _guarded(stream: TextIO) -> Any:
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")
    return stream and GuardedStream(stream)  # a program without a terminal may have none
