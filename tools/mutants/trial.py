"""A copy of the tree, and the trials of mutants in it: each is a process that runs tests until the first fails."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import resource
import shutil
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FrameType

import pytest
from hypothesis import Phase, settings

from tools.mutants.operators import Mutant

LEFT_OUT = shutil.ignore_patterns(".*", "__pycache__", "build", "dist", "*.egg-info", "node_modules")
MEMORY = 6 * 2**30  # bytes of address space: a fault may make a loop that never ends and keeps everything
GRACE = 20.0  # seconds a trial gets beside three times what its tests took without a fault
TEST_SECONDS = 20  # no test takes half of that


@dataclass(frozen=True)
class Verdict:
    """How a trial ended: `killed`, `survived` or `timeout`, and by which test."""

    outcome: str
    by: str = ""


@dataclass(frozen=True)
class Reach:
    """What the tests of some paths reach: by test the seconds it took and its functions; `imported`: before any."""

    seconds: dict[str, float]
    functions: dict[str, set[tuple[str, int]]]
    imported: set[tuple[str, int]]
    modules: list[str]

    def tests_for(self, mutant: Mutant) -> list[str]:
        """The tests to try it with, quick ones first; all, where what is reached cannot tell.

        It cannot of what runs at import only, or in another process.
        """
        place = (mutant.path, mutant.function)
        by_time = sorted(self.seconds, key=lambda test: self.seconds[test])
        reaching = [test for test in by_time if place in self.functions[test]]
        if not mutant.function or place in self.imported or not reaching:
            return reaching + [test for test in by_time if test not in set(reaching)]
        return reaching


class Recorder:
    """Notes for each test which functions below `root` run; for import and collection too."""

    def __init__(self, root: Path) -> None:
        self.root = f"{root}{os.sep}"
        self.seconds: dict[str, float] = {}
        self.functions: dict[str, list[tuple[str, int]]] = {}
        self._codes: dict[int, CodeType] = {}

    def _note(self, frame: FrameType, event: str, argument: object) -> None:
        if event == "call":
            self._codes[id(frame.f_code)] = frame.f_code

    def _taken(self) -> list[tuple[str, int]]:
        sys.setprofile(None)
        codes, self._codes = self._codes, {}
        return sorted(
            {
                (code.co_filename.removeprefix(self.root), code.co_firstlineno)
                for code in codes.values()
                if code.co_filename.startswith(self.root)
            }
        )

    def watch(self) -> None:
        threading.setprofile(self._note)
        sys.setprofile(self._note)

    def pytest_collection_finish(self) -> None:
        self.imported = self._taken()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self.watch()
        began = time.perf_counter()
        try:
            return (yield)
        finally:
            self.seconds[item.nodeid] = time.perf_counter() - began
            self.functions[item.nodeid] = self._taken()


class Chosen:
    """Runs the chosen tests in their order, and notes the first that fails."""

    def __init__(self, tests: Sequence[str], note: Path) -> None:
        self.places, self.note = {test: place for place, test in enumerate(tests)}, note

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = sorted(
            (item for item in items if item.nodeid in self.places), key=lambda item: self.places[item.nodeid]
        )

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.note.write_text(report.nodeid)

    def pytest_sessionstart(self) -> None:
        """After the conftest, before the tests' modules: the same examples each time, and a failing one is enough."""
        usual = settings.default
        phases = (Phase.explicit, Phase.generate)
        settings.register_profile("mutants", usual, phases=phases, database=None, derandomize=True)
        settings.load_profile("mutants")


class Copy:
    """A copy of the tree at `root`, in `folder`, in which one mutant at a time stands."""

    def __init__(self, root: Path, folder: Path) -> None:
        self.root = root.resolve()
        self.folder = folder.resolve() / "tree"
        self.note, self.log = folder.resolve() / "note", folder.resolve() / "log"
        self._changes = 0
        shutil.copytree(self.root, self.folder, ignore=LEFT_OUT)

    def reach(self, paths: Iterable[str]) -> Reach:
        """Run the tests of these paths without a fault, and note what they reach.

        Raises:
            RuntimeError: a test failed, or none was found: no mutant could be judged.
        """
        recorder = Recorder(self.folder)

        def run() -> int:
            recorder.watch()
            code = pytest.main([*paths, *_OPTIONS, "--timeout=120"], plugins=[recorder])
            threading.setprofile(None)
            self.note.write_text(
                json.dumps(
                    {
                        "seconds": recorder.seconds,
                        "functions": recorder.functions,
                        "imported": recorder.imported,
                        "modules": _modules_beside(self.folder),
                    }
                )
            )
            return code

        code = self._process(run, None)
        if code != 0:
            raise RuntimeError(f"the tests fail without any fault:\n{self.log.read_text()[-4000:]}")
        said = json.loads(self.note.read_text())
        functions = {test: {(path, line) for path, line in each} for test, each in said["functions"].items()}
        imported = {(path, line) for path, line in said["imported"]}
        return Reach(said["seconds"], functions, imported, said["modules"])

    def trial(self, mutant: Mutant, tests: Sequence[str], seconds: float) -> Verdict:
        """Run the tests against the mutant until one fails, `seconds` being what they take without it."""
        if not tests:
            return Verdict("survived")
        files = sorted({test.partition("::")[0] for test in tests})

        def run() -> int:
            arguments = [*files, *_OPTIONS, "-x", f"--timeout={TEST_SECONDS}"]
            return pytest.main(arguments, plugins=[Chosen(tests, self.note)])

        with self._standing(mutant):
            code = self._process(run, 3 * seconds + GRACE)
        if code is None:
            return Verdict("timeout")
        if code in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            return Verdict("survived")
        return Verdict("killed", self.note.read_text() if self.note.exists() else "import")

    @contextlib.contextmanager
    def _standing(self, mutant: Mutant) -> Iterator[None]:
        path = self.folder / mutant.path
        usual = path.read_bytes()
        try:
            path.write_text(mutant.source)
            self._changes += 1
            os.utime(path, (self._changes, self._changes))  # no compiled file of an earlier one may be taken
            yield
        finally:
            path.write_bytes(usual)
            os.utime(path)

    def _process(self, run: Callable[[], int], seconds: float | None) -> int | None:
        """The exit code of `run` in a process of its own in the copy; None when it took longer than `seconds`."""
        self.note.unlink(missing_ok=True)
        sys.stdout.flush()
        child = os.fork()
        if not child:
            code = 70
            try:
                self._become()
                code = int(run())
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        deadline = None if seconds is None else time.monotonic() + seconds
        while True:
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended or (deadline is not None and time.monotonic() > deadline):
                break
            time.sleep(0.02)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)  # and whatever the tests have left running
        if ended:
            return os.waitstatus_to_exitcode(status)
        os.waitpid(child, 0)
        return None

    def _become(self) -> None:
        """Turn this process into one that works in the copy, quietly."""
        os.setsid()
        os.chdir(self.folder)
        own = str(self.root)
        sys.path[:] = [str(self.folder), *(each for each in sys.path if each not in ("", own))]
        temporary = self.folder.parent / "tmp"
        temporary.mkdir(exist_ok=True)
        os.environ |= {"PYTHONPATH": str(self.folder), "TMPDIR": str(temporary)}
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        log = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, 1)
        os.dup2(log, 2)


_OPTIONS = (
    *("-q", "--no-header", "--tb=line", "--show-capture=no"),
    *("-p", "no:cacheprovider", "-p", "no:xdist"),
    *("-W", "ignore::pytest.PytestAssertRewriteWarning"),  # plugins are imported once, before the forks
)


def _modules_beside(folder: Path) -> list[str]:
    """The modules of other packages that this process has imported."""
    return [
        name
        for name, module in tuple(sys.modules.items())
        if (where := getattr(module, "__file__", None)) and not where.startswith(str(folder))
    ]


def import_beside(modules: Iterable[str]) -> None:
    """Import what the tests need once, here: each trial is a fork of this process."""
    for name in modules:
        with contextlib.suppress(Exception):
            importlib.import_module(name)


def judge(copy: Copy, mutant: Mutant, *reaches: Callable[[], Reach]) -> Verdict:
    """Try a mutant with the tests of each reach in turn, until it is killed."""
    verdict, tried = Verdict("survived"), set[str]()
    for each in reaches:
        reach = each()
        tests = [test for test in reach.tests_for(mutant) if test not in tried]
        tried.update(tests)
        verdict = copy.trial(mutant, tests, sum(reach.seconds[test] for test in tests))
        if verdict.outcome != "survived":
            break
    return verdict
