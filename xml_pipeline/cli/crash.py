"""`crash-test`: an organism is killed at every place, and has to come to the same answer."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from xml_pipeline.cli.command import FILE_OPTION, argument, command, config, organism_file, positive, seconds
from xml_pipeline.errors import XmlPipelineError, no_such
from xml_pipeline.terminal import count, line, plain, visible

_KILLED = -9


@command(
    "crash-test",
    "ask once, kill the organism at every place between a decision and its effects, and compare the answers",
    argument("listener", metavar="LISTENER", help="whom to ask"),
    argument("message", metavar="MESSAGE", help="what the console takes: text, key=value, or XML"),
    argument(
        "--deaths", type=positive, default=200, metavar="NUMBER", help="at most so many deaths (default: 200)"
    ),
    argument("--timeout", type=seconds, default=30.0, metavar="SECONDS", help="for each life (default: 30)"),
    FILE_OPTION,
)
def crash_test(arguments: argparse.Namespace) -> int:
    """Say which handlers were called again, and which deaths changed the answer; 1 when any did.

    No model is asked (`llm.offline`), and the organism's own journal is not touched. Handlers run for real.
    """
    from xml_pipeline.cli.crash_life import PLACES

    found = config(arguments, "all")  # its mistakes are told once, and here
    names = [each.name for each in found.listeners]
    if arguments.listener not in names:
        raise XmlPipelineError(no_such("listener", arguments.listener, names))
    order = {
        "file": str(organism_file(arguments)),
        "root": arguments.root,
        "llm": arguments.llm and str(Path(arguments.llm).absolute()),
        "listener": arguments.listener,
        "message": arguments.message,
        "timeout": arguments.timeout,
    }
    with tempfile.TemporaryDirectory(prefix="xp-crash-test-") as folder:
        first = _life(order, Path(folder, "first.db"), "", 0)
        assert first is not None, "nobody killed it"
        deaths = [(place, nth) for place in PLACES for nth in range(first["counts"].get(place, 0))]
        step = -(-len(deaths) // arguments.deaths)  # spread evenly, where there are more than were asked for
        again: Counter[str] = Counter()
        changed: list[str] = []
        for number, (place, nth) in enumerate(deaths[::step]):
            journal = Path(folder, f"{number}.db")
            if _life(order, journal, place, nth) is not None:
                changed.append(f"killed at {place} {nth + 1}: it did not come there again")
                continue
            second = _life(order, journal, "", 0)
            assert second is not None, "nobody killed it"
            again.update({name for name, attempt in second["calls"] if attempt > 1})
            if second["answer"] != first["answer"]:
                changed.append(f"killed at {place} {nth + 1}: {second['answer']}")
    print(f"{count(len(deaths[::step]), 'death')}: the answer was {_same(changed)}")
    print(plain(line(f"  {first['answer']}")))
    for name, times in sorted(again.items()):
        print(f"  {visible(name)} was called again after {count(times, 'death')}: see `effects` and once()")
    for each in changed:
        print(plain(line(f"  {each}")))
    return 1 if changed else 0


def _same(changed: list[str]) -> str:
    return f"another one after {count(len(changed), 'death')}" if changed else "the same each time"


def _life(order: dict[str, Any], journal: Path, place: str, nth: int) -> dict[str, Any] | None:
    """What happened in a life; None when it was killed. Raises XmlPipelineError when it failed otherwise."""
    told = json.dumps({**order, "journal": str(journal), "place": place, "nth": nth})
    done = subprocess.run(  # noqa: S603 - ourselves
        [sys.executable, "-m", "xml_pipeline.cli.crash_life", told],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == _KILLED:
        return None
    if done.returncode:
        raise XmlPipelineError(f"the organism cannot be tested: {done.stderr.strip().splitlines()[-1]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found
