"""History and log: files that outlive the console, in the user's state directory."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from logging.handlers import RotatingFileHandler
from pathlib import Path

LOG_BYTES = 1_000_000
_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def state_dir(environ: Mapping[str, str]) -> Path | None:
    """The directory, made if need be with access for its owner only; None when that is impossible.

    `$XDG_STATE_HOME/xml-pipeline`, by default `~/.local/state/xml-pipeline` (XDG Base Directory Specification).
    """
    home = environ.get("XDG_STATE_HOME", "")
    try:
        base = Path(home) if os.path.isabs(home) else Path.home() / ".local" / "state"
        directory = base / "xml-pipeline"
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # RuntimeError: there is no home directory
        return None
    return directory if os.access(directory, os.W_OK) else None


def private_file(directory: Path, name: str) -> Path | None:
    """A file there that only its owner may read, made if need be; None when that is impossible."""
    path = directory / name
    try:
        os.close(os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600))
    except OSError:
        return None
    return path


def start_log(path: Path | None = None) -> str:
    """Send the library's warnings and errors to a file rather than over the conversation.

    Args:
        path: the file; default: console.log in the state directory, or nowhere when there is none.

    Returns:
        The path, or "".
    """
    directory = state_dir(os.environ) if path is None else None
    if directory is not None:
        path = private_file(directory, "console.log")
    handler: logging.Handler = logging.NullHandler()
    if path is not None:
        handler = RotatingFileHandler(path, maxBytes=LOG_BYTES, backupCount=1, encoding="utf-8", delay=True)
        handler.setFormatter(logging.Formatter(_FORMAT))
    logger = logging.getLogger("xml_pipeline")
    logger.addHandler(handler)
    logger.propagate = False
    return "" if path is None else str(path)
