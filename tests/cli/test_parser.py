"""The command line as a whole: help, exit codes, what is imported."""

from __future__ import annotations

import pkgutil
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest

from tests.cli.conftest import Done
from tests.console.processes import ROOT, environment
from xml_pipeline import cli
from xml_pipeline.cli.command import Command
from xml_pipeline.cli.parser import COMMANDS


def test_version_and_help(xp: Callable[..., Done]) -> None:
    assert xp("version").stdout.startswith("xml-pipeline 0.")
    assert "exit codes" in xp("--help").stdout


@pytest.mark.parametrize(
    "arguments", [(), ("chek",), ("graph", "--format", "png"), ("send", "-", "--timeout", "0")]
)
def test_a_wrong_command_line_is_code_2(arguments: tuple[str, ...], xp: Callable[..., Done]) -> None:
    done = xp(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert "error:" in done.stderr


@pytest.mark.parametrize("command", [("run",), ("check",), ("graph",), ("describe", "x"), ("llm", "list")])
def test_without_a_file_every_command_says_what_to_do(
    command: tuple[str, ...], tmp_path: Path, xp: Callable[..., Done], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = xp(*command)
    assert done.returncode == 1
    assert "there is no organism.yaml" in done.stderr
    assert "xml-pipeline init" in done.stderr


def test_a_name_that_no_file_can_have_is_a_file_that_is_not_there(xp: Callable[..., Done]) -> None:
    for name in ("x" * 5000, "nowhere/" * 2000):
        done = xp("check", name)
        assert done.stderr.startswith("there is no ")
        assert done.returncode == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("send", "-", "--timeout", "soon"), "a number of seconds above 0 is needed, not 'soon'"),
        (("send", "-", "--timeout", "nan"), "a number of seconds above 0 is needed, not 'nan'"),
        (("llm", "ask", "m", "hi", "--max-tokens", "many"), "a whole number from 1 is needed, not 'many'"),
    ],
)
def test_a_wrong_number_is_told_what_is_needed(
    arguments: tuple[str, ...], said: str, xp: Callable[..., Done]
) -> None:
    assert said in xp(*arguments).stderr


def test_a_reader_that_goes_away_is_no_traceback(tmp_path: Path) -> None:
    done = subprocess.run(
        f"{sys.executable} -m xml_pipeline.cli schema | head -1",
        shell=True,
        cwd=ROOT,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.stdout == "{\n"
    assert done.stderr == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has it")
@pytest.mark.parametrize("command", ["schema", "version", "check organism.yaml", "graph organism.yaml"])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_an_output_that_cannot_be_written_is_told_in_a_line(
    command: str, unbuffered: str, tmp_path: Path
) -> None:
    done = subprocess.run(
        f"{sys.executable} -m xml_pipeline.cli {command} > /dev/full",
        shell=True,
        cwd=ROOT,
        env=environment(tmp_path, PYTHONUNBUFFERED=unbuffered),
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.stderr == "error: the output cannot be written: No space left on device\n"
    assert done.returncode == 1


def test_a_command_whose_streams_are_closed_does_its_work(tmp_path: Path) -> None:
    for closed in (">&-", "2>&-", "<&- >&- 2>&-"):
        for command, code in (
            *(("version", 0), ("check organism.yaml", 0), ("check nowhere.yaml", 1)),
            *([("send -", 1)] if "<&-" in closed else []),
        ):
            done = subprocess.run(
                f"{sys.executable} -m xml_pipeline.cli {command} {closed}",
                shell=True,
                cwd=ROOT,
                env=environment(tmp_path),
                capture_output=True,
                text=True,
                timeout=50,
                check=False,
            )
            assert "Traceback" not in done.stderr
            assert done.returncode == code


def test_help_imports_next_to_nothing() -> None:
    code = (
        "import sys\nfrom xml_pipeline.cli.parser import build_parser\nimport xml_pipeline.cli\nbuild_parser()\n"
        "print([name for name in ('lxml', 'pydantic', 'httpx', 'asyncio', 'prompt_toolkit', 'yaml')"
        " if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_every_command_of_the_package_is_in_the_list() -> None:
    names = [each.name for each in pkgutil.iter_modules(cli.__path__) if each.name != "__main__"]
    modules = [import_module(f"xml_pipeline.cli.{name}") for name in names]
    written = {
        id(value) for module in modules for value in vars(module).values() if isinstance(value, Command)
    }
    assert written == {id(each) for each in COMMANDS}
