"""`test` runs the cases of `tests:`, `test record` writes one from a conversation in a journal."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xml_pipeline.cli.command import DEFAULT_FILE, OUT_OF_BUDGET, argument, command, config
from xml_pipeline.cli.history import AS_JSON, WHERE, opened
from xml_pipeline.errors import ConfigError
from xml_pipeline.terminal import count, json_text, line, lines, plain, visible

if TYPE_CHECKING:
    from xml_pipeline.cases.report import Told
    from xml_pipeline.cases.running import Cap
    from xml_pipeline.config import OrganismConfig
    from xml_pipeline.config.case_files import Suite
    from xml_pipeline.config.cases import CaseSection


def _dollars(text: str) -> float:
    """A type of `argument`: an amount of USD above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"an amount of USD above 0 is needed, not {text!r}")
    return value


@command(
    "test",
    "run the cases of `tests:` and of *.test.yaml files, offline and without waiting; 1 when one fails",
    argument(
        "path",
        nargs="?",
        default=DEFAULT_FILE,
        metavar="FILE",
        help=f"an organism, a *.test.yaml file, or a folder with such below it (default: {DEFAULT_FILE})",
    ),
    argument("-k", dest="name", default="", metavar="NAME", help="only cases with this in their names"),
    argument("--junit", metavar="FILE.xml", help="write the results there, for CI systems"),
    argument(
        "--live",
        action="store_true",
        help="with real models, which cost money (needs --usd); people and stand-ins stay scripted",
    ),
    argument(
        "--usd",
        type=_dollars,
        metavar="AMOUNT",
        help="with --live: what all cases together may cost; then no further one is run, and the exit code is 3",
    ),
    AS_JSON,
    argument(
        "--llm", metavar="FILE", help="a file with another `llm` section, in the place of the organism's"
    ),
)
def run_cases(arguments: argparse.Namespace) -> int:
    """Print a line for each; 1 when one failed, 3 when the money for real models was used up."""
    from xml_pipeline.cases.report import as_json, junit
    from xml_pipeline.cases.running import Cap
    from xml_pipeline.config.case_files import suites_at
    from xml_pipeline.console.state_dir import start_log

    if arguments.live != (arguments.usd is not None):
        raise ConfigError(
            "--live and --usd AMOUNT go together: real models cost money, and the amount bounds it"
        )
    path = Path(arguments.path)
    if not path.exists():
        raise ConfigError(
            f"there is no {path}; name an organism, a *.test.yaml file, or a folder with such below it"
        )
    start_log()
    cap = None if arguments.usd is None else Cap(arguments.usd)
    told: list[Told] = []
    for suite in suites_at(path):
        for each in _told(suite, arguments, cap):
            told.append(each)
            if not arguments.json:
                _print(each)
    if not told:
        which = f" with '{arguments.name}' in its name" if arguments.name else ""
        raise ConfigError(f"{path} has no case{which}; write `tests:` in it, or a *.test.yaml file beside it")
    if arguments.junit:
        _write(Path(arguments.junit), junit(told))
    if arguments.json:
        print(json_text([as_json(each) for each in told]))
    else:
        print(_summary(told, cap))
    statuses = {each.status for each in told}
    return 1 if statuses & {"failed", "mistakes"} else OUT_OF_BUDGET if "capped" in statuses else 0


def _told(suite: Suite, arguments: argparse.Namespace, cap: Cap | None) -> Iterator[Told]:
    """What came of each case of an organism."""
    from xml_pipeline.cases.report import Told
    from xml_pipeline.config import load

    try:
        found = load(suite.organism, tests=suite.files, llm=arguments.llm)
    except ConfigError as error:
        file = str(suite.organism)
        yield Told("", file, file, 0, mistakes=[str(each) for each in error.problems])
        return
    files = {str(file) for file in suite.files}
    for case, place in zip(found.tests, found.test_places, strict=True):
        if (suite.own or place.file in files) and arguments.name.lower() in case.name.lower():
            yield _one(found, case, place.file, place.line, cap)


def _one(found: OrganismConfig, case: CaseSection, file: str, number: int, cap: Cap | None) -> Told:
    import time

    from xml_pipeline.cases import played
    from xml_pipeline.cases.report import Told

    times = 1 if cap is None else case.live.times
    least = 1 if cap is None else case.live.at_least or times
    began, runs = time.monotonic(), []
    for _ in range(times):
        if cap is not None and cap.used_up:
            break
        runs.append(played(found, case, cap))
    return Told(case.name, found.organism.name, file, number, runs, least, time.monotonic() - began)


def _print(each: Told) -> None:
    if each.status == "mistakes":
        for mistake in each.mistakes:
            print(plain(line(mistake)))
        return
    word = {"passed": "ok", "failed": "FAILED", "capped": "not run"}[each.status]
    often = f"  ({each.passes} of {len(each.runs)})" if len(each.runs) > 1 else ""
    print(plain(line(f"{word:<7} {each.file}:{each.line}: {each.name}{often}")))
    if each.status == "failed":
        for text in each.why:
            for row in lines(text):
                print(f"        {plain(row)}")
        print("        what was said:")
        for said in each.trace:
            print(f"          {visible(said)}")


def _summary(told: list[Told], cap: Cap | None) -> str:
    statuses = [each.status for each in told]
    parts = [f"{statuses.count('passed')} of {count(len(told), 'case')} passed"]
    if files := statuses.count("mistakes"):
        parts.append(f"{count(files, 'file')} with mistakes")
    if cap is not None:
        parts.append(f"{cap.spent:.4f} of {cap.usd:g} USD spent")
    if left := statuses.count("capped"):
        parts.append(f"{count(left, 'case')} not decided, because that was used up")
    return ", ".join(parts)


def _write(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror or error}") from None


@command(
    "test record",
    "write a case from a conversation in the journal: what models, people and effects said is its script, and the"
    " answer what it expects",
    argument("conversation", metavar="CONVERSATION", help="its id, or how that begins"),
    argument(
        "--name", default="", metavar="NAME", help="of the case (default: by the message that was sent)"
    ),
    argument(
        "--into",
        metavar="CASES",
        help="the organism.yaml or *.test.yaml to add it to, comments kept (default: print it)",
    ),
    WHERE,
)
def record_case(arguments: argparse.Namespace) -> int:
    """Print or write it; 1 when it does not pass as it is."""
    from xml_pipeline.cases import played
    from xml_pipeline.cases.recording import recorded
    from xml_pipeline.config.cases import CaseSection
    from xml_pipeline.config.editing import with_item
    from xml_pipeline.console.state_dir import start_log
    from xml_pipeline.journal.file import steps_of
    from xml_pipeline.journal.history import conversation_named

    journal = opened(arguments)
    found = config(arguments, "all")
    start_log()
    conversation = conversation_named(journal, arguments.conversation)
    asked = journal.execute(
        "SELECT DISTINCT agent FROM calls WHERE conversation = ?", (conversation,)
    ).fetchall()
    case = recorded(found, steps_of(journal, conversation), {name for (name,) in asked}, arguments.name)
    written = _without_variables(case)
    if arguments.into:
        _add(Path(arguments.into), written, arguments)
    else:
        print(visible("\n".join(with_item("tests:\n", ("tests",), written).splitlines()[1:])))
    outcome = played(found, CaseSection.model_validate(case))
    for problem in outcome.problems:
        print(visible(f"note: it does not pass as it is: {problem}"), file=sys.stderr)
    return 0 if outcome.passed else 1


def _without_variables(value: Any) -> Any:
    """What the file holds, so that it says this: in it `$$` is one `$`."""
    if isinstance(value, dict):
        return {key: _without_variables(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_without_variables(each) for each in value]
    return value.replace("$", "$$") if isinstance(value, str) else value


def _add(path: Path, case: dict[str, Any], arguments: argparse.Namespace) -> None:
    """Behind the cases of a file, which stays as it is otherwise. Raises ConfigError: it would not load then."""
    from xml_pipeline.cli.editing import differences, put, read
    from xml_pipeline.config import load
    from xml_pipeline.config.case_files import is_case_file, organism_of
    from xml_pipeline.config.editing import Uneditable, with_item

    def loads(beside: Path) -> None:
        if is_case_file(path):
            load(organism_of(path), tests=(beside,))
        else:
            load(beside, root=arguments.root, llm=arguments.llm)

    real, new = path.resolve(), is_case_file(path) and not path.exists()
    before = "tests:\n" if new else read(real)
    try:
        after = with_item(before, ("tests",), case)
        if new:
            _write(real, before.encode())
        put(real, before, after, check=loads)
    except Uneditable as error:
        why = f"{path} cannot be changed by a command: {error}"
        raise ConfigError(f"{why}; add what `test record` prints without --into") from None
    except ConfigError:
        if new:
            real.unlink(missing_ok=True)
        raise
    differences(path, "" if new else before, after)
