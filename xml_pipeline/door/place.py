"""Where the door of a journal is: a socket in a directory beside the file, which only its owner can enter.

    state.db.run/       0700
        socket          0600

The path of a socket may have about a hundred bytes, that of a journal more. So on Linux the directory is opened, and
the socket named below that; elsewhere a longer path has no door.
"""

from __future__ import annotations

import os
import socket
import stat
import struct
from contextlib import suppress
from pathlib import Path

_NAME = "socket"
_PRIVATE = 0o700


class NoDoor(Exception):
    """There is no door, or none that can be trusted; the text says why."""


def directory_of(journal: Path) -> Path:
    """Where the socket of a journal is, however the file is called."""
    real = journal.resolve()
    return real.with_name(real.name + ".run")


class Place:
    """The directory of a door, held open.

    Args:
        journal: the file.
        make: whether it is made when it is not there, and closed to others when it is not.

    Raises:
        NoDoor: it is not there, or is no directory of ours.
    """

    def __init__(self, journal: Path, *, make: bool = False) -> None:
        if not hasattr(socket, "AF_UNIX") or not hasattr(os, "geteuid"):
            raise NoDoor("this system has no sockets of that kind")
        self.path = directory_of(journal)
        self._inode: int | None = None
        try:
            if make and not os.path.lexists(self.path):
                os.mkdir(self.path, _PRIVATE)
            self._descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            raise NoDoor(f"{self.path}: {error.strerror}") from error
        try:
            self._check(make)
        except OSError as error:
            self.close()
            raise NoDoor(f"{self.path}: {error.strerror}") from error
        except NoDoor:
            self.close()
            raise

    def _check(self, make: bool) -> None:
        found = os.fstat(self._descriptor)
        if found.st_uid != os.geteuid():
            raise NoDoor(f"{self.path} belongs to another user ({found.st_uid})")
        if make:
            os.fchmod(self._descriptor, _PRIVATE)
            found = os.fstat(self._descriptor)
        if found.st_mode & 0o077:
            raise NoDoor(f"{self.path} can be entered by other users")

    def listener(self, backlog: int) -> socket.socket:
        """A socket that listens here, in place of what a process left that is gone. For the journal's owner alone.

        Raises:
            NoDoor: something else is there, or no socket can be made.
        """
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._clear()
            listener.bind(self._address())
            os.chmod(_NAME, 0o600, dir_fd=self._descriptor)
            self._inode = self._found().st_ino
            listener.listen(backlog)
            listener.setblocking(False)
        except OSError as error:
            listener.close()
            raise NoDoor(f"{self.path / _NAME}: {error.strerror or error}") from error
        except BaseException:
            listener.close()
            raise
        return listener

    def connect(self, caller: socket.socket) -> None:
        """Raises OSError: nobody listens, or has no time."""
        caller.connect(self._address())

    def leave(self) -> None:
        """Take our socket away, and the directory when nothing else is in it."""
        with suppress(OSError):  # it is gone already
            if self._found().st_ino == self._inode:
                os.unlink(_NAME, dir_fd=self._descriptor)
        with suppress(OSError):  # somebody else is there by now
            os.rmdir(self.path)
        self.close()

    def close(self) -> None:
        """Hold it no more."""
        os.close(self._descriptor)

    def _found(self) -> os.stat_result:
        return os.stat(_NAME, dir_fd=self._descriptor, follow_symlinks=False)

    def _clear(self) -> None:
        with suppress(FileNotFoundError):
            if not stat.S_ISSOCK(self._found().st_mode):
                raise NoDoor(f"{self.path / _NAME} is no socket; remove it")
            os.unlink(_NAME, dir_fd=self._descriptor)

    def _address(self) -> str:
        held = f"/proc/self/fd/{self._descriptor}"
        return f"{held if os.path.isdir(held) else self.path}/{_NAME}"


def user_behind(connection: socket.socket) -> int:
    """The id of the user at the other end; our own where the system does not tell, for nobody else gets this far."""
    if not hasattr(socket, "SO_PEERCRED"):
        return os.geteuid()
    _, user, _ = struct.unpack(
        "3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    )
    return int(user)
