"""`python -m tools.mutants [room ...]`: how many of a sample of faults the tests notice, room by room."""

from __future__ import annotations

import argparse
import functools
import os
import sys
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from tools.mutants.operators import Mutant, mutants_of, sample
from tools.mutants.trial import Copy, Reach, import_beside, judge

ROOT = Path.cwd()
PACKAGE = "xml_pipeline"
ROOMS = ("pump", "threads", "journal", "llm/limits", "llm/accounting", "llm/routing")
BESIDE = {  # rooms whose tests go through a room, and are tried before the whole suite
    "pump": ("journal", "threads", "regressions"),
    "threads": ("pump", "journal"),
    "journal": ("pump",),
    "llm/limits": ("llm/routing", "llm/test_run.py", "llm/test_loops.py", "llm/test_money.py"),
    "llm/accounting": ("llm/test_money.py", "llm/test_run.py", "llm/test_streaming.py", "llm/routing"),
    "llm/routing": ("llm/limits", "llm/test_run.py", "llm/test_loops.py", "llm/test_money.py"),
}
PARTS = ("path", "function", "was", "becomes")
EQUIVALENT = Path(__file__).parent / "equivalent.toml"


def files_of(root: Path, room: str) -> list[str]:
    """The files of a room: a folder of the package, or one file."""
    path = root / PACKAGE / room
    files = sorted(path.rglob("*.py")) if path.is_dir() else [path]
    return [str(each.relative_to(root)) for each in files]


def tests_of(root: Path, room: str) -> list[str]:
    """The tests that stand where the room stands, or else where the room around it does; and those beside."""
    path = root / "tests" / room
    while not path.is_dir():
        path = path.parent
    return [str(path.relative_to(root)), *(f"tests/{each}" for each in BESIDE.get(room, ()))]


def mutants_in(root: Path, room: str) -> Iterator[Mutant]:
    for path in files_of(root, room):
        yield from mutants_of(path, (root / path).read_text())


def known_equivalents(path: Path = EQUIVALENT) -> dict[tuple[str, ...], str]:
    """What no test can notice, reviewed, and why: single mutants, or all of a line when it says nothing of one."""
    listed = tomllib.loads(path.read_text())["mutant"]
    return {tuple(each[part] for part in PARTS if part in each): each["why"] for each in listed}


def in_diff(mutant: Mutant, verdict: str) -> str:
    where = f"{mutant.path}:{mutant.line} {mutant.name} ({mutant.operator}, {verdict})"
    return f"{where}\n  - {mutant.was}\n  + {mutant.becomes}\n"


def try_room(room: str, copy: Copy, rest: Callable[[], Reach], options: argparse.Namespace) -> Counter[str]:
    """Try a sample of a room's mutants; survivors are printed as they are found."""
    own = copy.reach(tests_of(ROOT, room))
    import_beside(own.modules)
    known = known_equivalents()
    outcomes: Counter[str] = Counter()
    ends = time.monotonic() + 60 * options.minutes
    for number, mutant in enumerate(sample(mutants_in(ROOT, room), options.number, options.seed)):
        if mutant.key in known or mutant.key[:-1] in known:
            outcomes["equivalent"] += 1
            continue
        if time.monotonic() > ends:
            outcomes["not tried"] += options.number - number
            break
        verdict = judge(copy, mutant, lambda: own, *(() if options.own else (rest,)))
        outcomes[verdict.outcome] += 1
        if verdict.outcome == "survived" or options.verbose:
            print(in_diff(mutant, f"{verdict.outcome} {verdict.by}".strip()), flush=True)
    return outcomes


def table(results: dict[str, Counter[str]]) -> str:
    columns = ("killed", "timeout", "survived", "equivalent", "not tried")
    lines = [f"| room | {' | '.join(columns)} | share killed |", "|" + "---|" * (len(columns) + 2)]
    for room, outcomes in results.items():
        killed = outcomes["killed"] + outcomes["timeout"]
        tried = killed + outcomes["survived"]
        share = f"{killed / tried:.0%}" if tried else "-"
        lines.append(f"| {room} | {' | '.join(str(outcomes[each]) for each in columns)} | {share} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.mutants", description=__doc__)
    parser.add_argument(
        "rooms", nargs="*", default=ROOMS, help=f"below {PACKAGE}/ (default: {' '.join(ROOMS)})"
    )
    parser.add_argument("--number", type=int, default=60, help="mutants of each room (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="draws the sample (default: %(default)s)")
    parser.add_argument("--minutes", type=float, default=30, help="for each room (default: %(default)s)")
    parser.add_argument(
        "--own", action="store_true", help="do not try survivors with the tests of other rooms"
    )
    parser.add_argument(
        "--verbose", action="store_true", help="print those that were killed, and by which test"
    )
    options = parser.parse_args()
    os.nice(19)
    results = {}
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copy = Copy(ROOT, Path(folder))
        rest = functools.cache(lambda: copy.reach(["tests"]))
        try:
            for room in options.rooms:
                results[room] = try_room(room, copy, rest, options)
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
    print(f"seed {options.seed}, {options.number} mutants of each room\n\n{table(results)}")


if __name__ == "__main__":
    main()
