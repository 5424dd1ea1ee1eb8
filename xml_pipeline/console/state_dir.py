"""History and log: files that outlive the console, in the user's state directory."""

from __future__ import annotations

import logging
import os
import stat
import sys
from collections.abc import Mapping
from contextlib import suppress
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

from xml_pipeline.errors import ConfigError, described
from xml_pipeline.terminal import visible

LOG_BYTES = 1_000_000
_NO_WAITING = getattr(os, "O_NONBLOCK", 0)  # for a reader, should it be a pipe
_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def state_dir(environ: Mapping[str, str]) -> Path | None:
    """The directory, made if need be with access for its owner only; None when that is impossible.

    `$XDG_STATE_HOME/xml-pipeline`, by default `~/.local/state/xml-pipeline` (XDG Base Directory Specification).
    """
    home = environ.get("XDG_STATE_HOME", "")
    try:
        base = Path(home) if os.path.isabs(home) else Path.home() / ".local" / "state"
        if not base.is_absolute():  # $HOME is not: the files would lie wherever the program was started
            return None
        directory = base / "xml-pipeline"
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # RuntimeError: there is no home directory
        return None
    return directory if os.access(directory, os.W_OK) else None


def private_file(directory: Path, name: str) -> Path | None:
    """A file there that only its owner may read, made if need be; None when that is impossible."""
    path = directory / name
    try:
        with open(_private(path, os.O_APPEND | os.O_WRONLY | _NO_WAITING), "a") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return None
            if hasattr(os, "fchmod"):  # an earlier version may have left it readable
                os.fchmod(file.fileno(), 0o600)
    except OSError:
        return None
    return path


def _private(path: str | Path, flags: int) -> int:
    """Open a file; one that is made is its owner's only."""
    return os.open(path, flags | os.O_CREAT, 0o600)


class LogFile(RotatingFileHandler):
    """A log that is kept private when it is begun anew, too; that it cannot be written is told once, in a line."""

    _failed = False

    def handleError(self, record: logging.LogRecord) -> None:
        if not self._failed and sys.stderr is not None:
            self._failed = True
            reason = described(sys.exception() or OSError())
            with suppress(OSError):
                sys.stderr.write(
                    f"the log {visible(self.baseFilename)} cannot be written: {visible(reason)}\n"
                )

    def _open(self) -> Any:
        return open(self.baseFilename, self.mode, encoding=self.encoding, opener=_private)


class LogFormat(logging.Formatter):
    """One record, one line; what belongs to it below is indented, and nothing in it gives orders to a terminal.

    A text that somebody else wrote can so neither look like a record of its own nor act when the log is shown.
    """

    def format(self, record: logging.LogRecord) -> str:
        return visible(super().format(record)).replace("\n", "\n    ")


def start_log(path: Path | None = None) -> str:
    """Send the library's warnings and errors to a file rather than over the conversation.

    Args:
        path: the file; default: console.log in the state directory, or nowhere when there is none. One that is
            there keeps its permissions.

    Returns:
        The path, or "".

    Raises:
        ConfigError: a file that is named cannot be written.
    """
    directory = state_dir(os.environ) if path is None else None
    if path is not None:
        _try(path)
    if directory is not None:
        path = private_file(directory, "console.log")
    handler: logging.Handler = logging.NullHandler()
    if path is not None:
        handler = LogFile(path, maxBytes=LOG_BYTES, backupCount=1, encoding="utf-8", delay=True)
        handler.setFormatter(LogFormat(_FORMAT))
    logger = logging.getLogger("xml_pipeline")
    logger.addHandler(handler)
    logger.propagate = False
    return "" if path is None else str(path)


def _try(path: Path) -> None:
    try:
        if path.exists() and not stat.S_ISREG(path.stat().st_mode):
            raise OSError
        os.close(_private(path, os.O_APPEND | os.O_WRONLY))
    except OSError as error:
        raise ConfigError(f"the log {path} cannot be written: {error.strerror or 'it is no file'}") from None
