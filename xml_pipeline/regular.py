"""Bytes of files that a stranger may have named: regular files alone, of a bounded size, below a directory.

Pipes, devices and directories are refused before they are opened, because opening one can wait for ever, or act.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from itertools import islice
from pathlib import Path

from xml_pipeline.errors import did_you_mean

MAX_BYTES = 1_000_000
MAX_ENTRIES = 10_000  # of a directory that are looked at

_KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
_NO_WAITING = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_BINARY", 0)


def bytes_of(file: Path) -> bytes:
    """What a regular file holds.

    Raises:
        OSError: it cannot be opened, is no regular file, or holds more than `MAX_BYTES`; `strerror` says which.
        ValueError: it is no path.
    """
    _refuse_other_kinds(os.stat(file))
    with open(os.open(file, os.O_RDONLY | _NO_WAITING), "rb") as stream:
        _refuse_other_kinds(os.fstat(stream.fileno()))  # it may be another one by now
        data = stream.read(MAX_BYTES + 1)
    if data is None:  # a file of the kernel's that would have to be waited for
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
    if len(data) > MAX_BYTES:
        raise OSError(errno.EFBIG, f"it has more than {MAX_BYTES:,} bytes")
    return data


def _refuse_other_kinds(found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        kind = _KINDS.get(stat.S_IFMT(found.st_mode), "something else")
        raise OSError(errno.EINVAL, f"it is {kind}, not a file")


def refuse_outside(path: Path, root: Path) -> None:
    """Raises PermissionError when `path`, all its symbolic links followed, is not below `root`; else ValueError."""
    if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root)):
        reason = (
            f"it is outside of {root}, where the files that organism.yaml names have to be; move it there, or name"
            " a directory that holds both (`--root DIR`, in Python `root=`)"
        )
        raise PermissionError(errno.EACCES, reason)


def refuse_hidden(path: Path, root: Path) -> None:
    """Raises PermissionError when `path`, below `root`, is or lies in something whose name begins with a dot.

    That is where keys and settings are (`.env`, `.git`, `.ssh`), whoever put them there.
    """
    below = Path(os.path.realpath(path)).relative_to(os.path.realpath(root))
    if any(part.startswith(".") for part in below.parts):
        reason = "a file that is not trusted names nothing that begins with a dot, as .env; rename it, if it is text"
        raise PermissionError(errno.EACCES, reason)


def unreadable(file: Path, error: Exception, *, hidden: bool = False) -> str:
    """Why a file or a directory cannot be read, and the nearest name beside a missing one that is not `hidden`."""
    if isinstance(error, UnicodeDecodeError):
        return "cannot be read: it is not UTF-8 text"
    reason = (isinstance(error, OSError) and error.strerror) or "it is no path"
    hint = ""
    if isinstance(error, FileNotFoundError) and not hidden:
        with suppress(OSError):
            hint = did_you_mean(
                file.name, {entry.name for entry in islice(file.parent.iterdir(), MAX_ENTRIES)}
            )
    return f"cannot be read: {reason}{hint}"
