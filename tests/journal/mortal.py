"""Changes to a journal that is not in use, each made by a process that dies at its n-th statement.

`python -m tests.journal.mortal FILE COPY CONVERSATION WHAT`: for each line read the file is copied, and the copy
changed by a process that dies one statement later than the one before it; how it ended is printed.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from pathlib import Path

from xml_pipeline.journal.erasure import erase
from xml_pipeline.journal.letters import retry
from xml_pipeline.journal.offline import alone, compact, together
from xml_pipeline.threads.ids import random_ids


def change(copy: Path, conversation_id: str, what: str, nth: int) -> None:
    left = nth

    def dies(statement: str) -> None:
        nonlocal left
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)

    with alone(copy) as journal:
        journal.set_trace_callback(dies)
        if what == "erase":
            erase(journal, conversation_id)
        elif what == "compact":
            compact(journal, time.time() + 1000)
        else:
            with together(journal):
                retry(journal, 1, time.time(), random_ids())


def main() -> None:
    file, copy, conversation_id, what = Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:]
    for nth, _ in enumerate(sys.stdin, 1):
        for each in copy.parent.glob(f"{copy.name}*"):
            each.unlink()
        shutil.copy(file, copy)
        child = os.fork()
        if not child:
            try:
                change(copy, conversation_id, what, nth)
            except BaseException:
                import traceback

                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
