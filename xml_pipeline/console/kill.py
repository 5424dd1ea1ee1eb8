"""`/kill`: this process dies in the middle of its work, and is born again on its journal.

`os.execv` puts a new program in the place of this one. The kernel does to the old one what `kill -9` does: memory,
all threads and what they had not written yet are gone between two instructions, and the kernel closes files and lets
locks go; no `finally`, no `atexit`, no flush runs. What differs is what a person at a terminal needs: the process
keeps its number, its terminal and its place as the shell's foreground job. A parent that restarts its child would
have to hand over all of these, and each console would cost a second process that waits.
"""

from __future__ import annotations

import os
import sys
from typing import NoReturn

from xml_pipeline.console.parse import InputError
from xml_pipeline.console.signals import KEEP_IT
from xml_pipeline.organism import Organism
from xml_pipeline.terminal import count


def check(organism: Organism, *, person: bool) -> None:
    """Refuse where that would lose something.

    Args:
        organism: the one that would die.
        person: whether somebody sits at a terminal; what a script says behind it is in a buffer that would die too.

    Raises:
        InputError: says why, and what to do.
    """
    if organism.journal is None:
        lost = count(organism.status().conversations, "open conversation")
        raise InputError(f"/kill would lose {lost} for good: nothing is written down; {KEEP_IT}")
    if not person:
        raise InputError("/kill is for a person at a terminal; the rest of this script would be lost with it")
    if sys.platform == "win32":
        raise InputError("/kill needs a POSIX system: here a program cannot take the place of another")


def die() -> NoReturn:
    """End as by `kill -9`, and begin anew: the same program, the same arguments."""
    os.write(2, b"killed; starting again\n")
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - what was started before
