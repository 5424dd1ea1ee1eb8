"""A process that stores a key, and may die at it: `python -m tests.keys.writers FILE NAME KEY PASSPHRASE PLACE`."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from xml_pipeline.keys import Secret
from xml_pipeline.keys.file import KeyFile
from xml_pipeline.keys.sealed import Cost

CALLS = ("open", "fsync", "replace", "unlink", "mkdir", "close")


class Death:
    """Kills the process at the n-th of the calls to the system that make or change files; 0 for never."""

    def __init__(self, place: int) -> None:
        self._left = place
        for name in CALLS:
            setattr(os, name, self._before(getattr(os, name)))

    def _before(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def instead(*arguments: Any, **options: Any) -> Any:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), 9)
            return call(*arguments, **options)

        return instead


if __name__ == "__main__":
    path, name, key, passphrase, place = sys.argv[1:]
    Death(int(place))
    KeyFile(Path(path), Cost(n=1 << 4, r=1)).set(name, Secret(key), Secret(passphrase))
