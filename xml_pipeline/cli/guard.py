"""The last line: whatever is written to the standard streams while a command runs gives no orders to a terminal.

Commands write their texts with `terminal`, which knows how each kind of text shows such characters. What comes from
elsewhere (argparse, tracebacks, log records that nobody handles, a handler's `print`) goes through here.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from xml_pipeline.terminal import GuardedStream


@contextmanager
def guarded_streams() -> Iterator[GuardedStream]:
    """Within this block `sys.stdout` and `sys.stderr` are guarded; a letter that they cannot encode is shown, too.

    The guarded standard output is what it gives: a handler may put something else into `sys.stdout`.
    """
    before = sys.stdout, sys.stderr
    out, err = map(_guarded, before)
    sys.stdout, sys.stderr = out, err
    try:
        yield out
    finally:
        sys.stdout, sys.stderr = before


def _guarded(stream: TextIO | None) -> Any:
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")
    # One that was closed before the program began is None, and what is written there goes nowhere.
    return GuardedStream(stream or open(os.devnull, "w", encoding="utf-8"))
