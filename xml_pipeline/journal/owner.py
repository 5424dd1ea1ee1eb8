"""Who owns a journal: one process at a time, told by a lock that the operating system lets go when it dies."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

from xml_pipeline.errors import JournalError
from xml_pipeline.lock import lock


class InUse(JournalError):
    """Another process owns the journal."""


class Owner:
    """Holds the lock of one file until `release`.

    Args:
        path: of the journal; the lock is a file beside it, which stays.

    Raises:
        InUse: another process holds it; its id and the time it began are told.
        JournalError: the lock cannot be made.
    """

    def __init__(self, path: Path) -> None:
        real = path.resolve()  # however it is called
        self.path = real.with_name(real.name + ".lock")
        try:
            self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise JournalError(f"the journal {path} cannot be locked: {error.strerror}") from error
        try:
            lock(self._descriptor)
        except OSError:
            with open(self._descriptor) as file:
                holder = file.read(200).strip() or "another process"
            raise InUse(
                f"the journal {path} is in use by {holder}; one organism at a time may use it"
            ) from None
        began = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime())
        with suppress(OSError):  # the lock is what counts; on a full disk nobody is told who holds it
            os.truncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"process {os.getpid()}, since {began}\n".encode(), 0)

    def release(self) -> None:
        """Let it go."""
        os.close(self._descriptor)
