"""The other end of a nursery: tells it how each life is to end, and looks whether anything was lost."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.journal.nursery import KEYS, expected
from xml_pipeline.journal.file import read_only, steps_of
from xml_pipeline.journal.history import faults
from xml_pipeline.threads.record import Accepted, DeadLetter, Handled

SCALE = float(os.environ.get("XP_SLOW_SCALE", "0.01"))  # of a large run, such as ten thousand deaths
STOPPED = -signal.SIGSTOP


class Nursery:
    """Lives, one after the other, over one journal.

    Args:
        folder: for what is outside of every life: what handlers did, and what was answered.
        disk: where the journal is; None for the same folder.
        within: a command that the nursery is run by.
    """

    def __init__(self, folder: Path, *, disk: Path | None = None, within: Sequence[str] = ()) -> None:
        self.folder = folder
        self.disk = disk or folder
        self.journal = self.disk / "state.db"
        self.alone = bool(within)  # with mounts of its own
        self.deaths = 0
        self.process = subprocess.Popen(
            [*within, sys.executable, "-m", "tests.journal.nursery", str(folder), str(self.disk)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            start_new_session=True,
        )

    def __enter__(self) -> Nursery:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self.process.stdin is not None
        if error is not None:
            os.killpg(self.process.pid, signal.SIGKILL)  # a life may hang
        self.process.stdin.close()
        self.process.wait(30)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def told(self, **order: Any) -> int:
        """What the nursery says to an order."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        code = int(self.process.stdout.readline())
        self.deaths += code == -signal.SIGKILL
        return code

    def life(self, milliseconds: float | None = None, **fate: Any) -> int:
        """How a life ended; `milliseconds` after its birth it is killed."""
        if milliseconds is not None:
            fate["signals"] = [(milliseconds, signal.SIGKILL)]
        return self.told(**fate)

    def signalled(self, *signals: tuple[float, int]) -> int:
        """What became of a life that is stopped, and gets these signals, each after so many milliseconds."""
        return self.told(same=True, signals=signals)

    def fresh(self) -> None:
        """Forget all that was."""
        self.told(wipe=True)

    def seen(self) -> Path:
        """The journal, or a copy of it when only the nursery sees its disk."""
        if not self.alone:
            return self.journal
        copy = self.folder / "copy"  # SQLite follows the link to another mount itself, and comes out here
        copy.mkdir(exist_ok=True)
        for file in Path(f"/proc/{self.process.pid}/root{self.disk}").glob("state.db*"):
            if not file.name.endswith("-shm"):
                shutil.copy(file, copy)
        return copy / "state.db"

    def holds(self) -> None:
        """All was answered, once; no message is lost, none was accepted twice, and the file is whole."""
        answers = json.loads((self.folder / "answers").read_text())
        assert answers == [expected(n).text for n in range(len(KEYS))]
        journal = read_only(self.seen())
        assert list(faults(journal)) == []
        assert journal.execute("SELECT count(*) FROM open").fetchone() == (0,)
        conversations = [name for (name,) in journal.execute("SELECT id FROM conversations")]
        assert len(conversations) == len(KEYS)
        for conversation in conversations:
            consistent(journal, conversation)
        diary = (self.folder / "diary").read_text().splitlines()
        starts = Counter(line.rpartition(" ")[0] for line in diary)
        assert len(starts) == len(KEYS) * 7  # calls of handlers, by message: 3 of the front, 4 of workers
        (remembered,) = journal.execute("SELECT count(*) FROM memories").fetchone()
        assert remembered == len(KEYS)
        journal.close()


def consistent(journal: sqlite3.Connection, conversation: str) -> None:
    """Each accepted message is done once, and the numbers have no gap."""
    steps = steps_of(journal, conversation)
    accepted: list[str] = []
    done: list[str] = []
    seq = 0
    for step in steps:
        assert step.seq == seq
        seq += len(step.events)
        for event in step.events:
            if isinstance(event, Accepted):
                accepted.append(event.message.message_id)
                if event.leaves or event.fills is not None:
                    done.append(event.message.message_id)
            elif isinstance(event, Handled):
                done.append(event.message_id)
            assert not isinstance(event, DeadLetter)
    assert len(set(accepted)) == len(accepted)
    assert sorted(done) == sorted(accepted)
