"""What a disk holds after a power cut, by what a process had written to it and what of that was synced.

The record is that of `strace`, with its flags `-f -y -xx`. The model: a sync makes durable what was written to that
file, and the file's name; a sync of a folder all names in it. Of what was not synced any part may have come to the
disk, in pieces of 512 bytes and in any order; of names that were made and unmade, the first ones.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct, field

CALLS = "openat,write,pwrite64,ftruncate,fsync,fdatasync,unlink"
SECTOR = 512

_CALL = re.compile(r"(\d+) +(\w+)\((.*?)(\) += (-?\d+).*| <unfinished \.\.\.>)$")
_RESUMED = re.compile(r"(\d+) +<\.\.\. (\w+) resumed>.*\) += (-?\d+)")
_HEX = re.compile(r'<((?:\\x[0-9a-f]{2})*)>|"((?:\\x[0-9a-f]{2})*)"')


class Call(Struct, frozen=True):
    """One system call that changes files, or makes changes durable.

    Attributes:
        name: of the call.
        path: of its file.
        data: what is written.
        number: where it is written; to what size the file is cut.
    """

    name: str
    path: Path
    data: bytes = b""
    number: int = 0


def recorded(record: Path, folder: Path) -> Iterator[Call]:
    """The calls about files below a folder, in their order; a sync when it is done."""
    syncing: dict[str, Call] = {}
    for line in record.read_text().splitlines():
        if resumed := _RESUMED.match(line):
            call = syncing.pop(resumed[1], None)
            if call is not None:
                yield call
            continue
        found = _CALL.match(line)
        if found is None or (found[5] is not None and int(found[5]) < 0):
            continue
        process, name, arguments = found[1], found[2], found[3]
        texts = [bytes.fromhex((a or b).replace("\\x", "")) for a, b in _HEX.findall(arguments)]
        if name == "openat":
            if "O_CREAT" not in arguments:
                continue
            texts = texts[-1:]
        path = Path(texts[0].decode())
        if folder not in (path, *path.parents):
            continue
        last = arguments.rpartition(", ")[2]
        call = Call(name, path, texts[1] if len(texts) > 1 else b"", int(last) if last.isdigit() else 0)
        if name.endswith("sync") and found[5] is None:
            syncing[process] = call
        else:
            yield call


class _File(Struct):
    durable: bytearray = field(default_factory=bytearray)
    since: list[Call] = field(default_factory=list)  # calls that were not synced


class Disk:
    """Takes calls, and says what may be left of them."""

    def __init__(self) -> None:
        self._files: dict[Path, _File] = {}  # all that have a name
        self._gone: dict[Path, _File] = {}  # unlinked, and that is not synced
        self._names: list[tuple[str, Path]] = []  # made and unmade since they were synced

    def take(self, call: Call) -> None:
        path = call.path
        match call.name:
            case "openat":
                if path not in self._files:
                    self._files[path] = _File()
                    self._names.append(("made", path))
            case "unlink":
                self._gone[path] = self._files.pop(path)
                self._names.append(("unmade", path))
            case "fsync" | "fdatasync":
                if path in self._files:
                    file = self._files[path]
                    for each in file.since:
                        _write(file.durable, each)
                    file.since = []
                    self._names = [each for each in self._names if each != ("made", path)]
                else:
                    self._names = []
                    self._gone = {}
            case _:
                if path in self._files:
                    self._files[path].since.append(call)

    def left(self, chance: random.Random, share: float) -> dict[Path, bytes]:
        """Files after a power cut now; `share` of what was not synced is left."""
        names = self._names[: round(share * len(self._names))] if share in (0, 1) else self._names
        if share not in (0, 1):
            names = names[: chance.randint(0, len(names))]
        missing = {path for what, path in self._names if what == "made"}
        missing -= {path for what, path in names if what == "made"}
        files = {path: file for path, file in self._files.items() if path not in missing}
        for what, path in self._names[len(names) :]:
            if what == "unmade" and path not in files and path in self._gone and path not in missing:
                files[path] = self._gone[path]
        return {path: _content(file, chance, share) for path, file in files.items()}


def _content(file: _File, chance: random.Random, share: float) -> bytes:
    content = bytearray(file.durable)
    for call in file.since:
        if call.name == "ftruncate":
            if chance.random() < share:
                _write(content, call)
            continue
        for start in range(0, len(call.data), SECTOR):
            if chance.random() < share:
                piece = call.data[start : start + SECTOR]
                _write(content, Call(call.name, call.path, piece, call.number + start))
    return bytes(content)


def _write(content: bytearray, call: Call) -> None:
    if call.name == "ftruncate":
        size = call.number
        content[size:] = bytes(max(0, size - len(content)))
        return
    start = len(content) if call.name == "write" else call.number
    if start > len(content):
        content.extend(bytes(start - len(content)))
    content[start : start + len(call.data)] = call.data
