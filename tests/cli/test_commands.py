"""The commands as processes: what they print, and their exit codes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from lxml import etree

from tests.console.processes import ROOT, environment, run
from xml_pipeline.cli import main

XP = ("-m", "xml_pipeline.cli")


@dataclass(frozen=True)
class Done:
    """What a command left behind."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def xp(capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """Run a command in this process."""

    def call(*arguments: str) -> Done:
        try:
            code = main(arguments)
        except SystemExit as left:
            code = int(str(left.code))
        return Done(code, *capsys.readouterr())

    return call


TEN_MISTAKES = """\
organism:
  nam: demo
  thread_scheduling: sideways
  max_in_flight: 0
listeners:
  - name: greeter
    handler: handlers.great
    peers: [shoutr]
  - name: greeter
    handler: handlers.greet
  - name: 2fast
    handler: handlers.greet
  - name: thinker
    agent: true
    handlr: handlers.greet
  - name: slow
    handler: nowhere.at_all
    timeout_seconds: soon
llm:
  strategy: fastest
  backends:
    - provider: opnai
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project as `init` makes it."""
    directory = tmp_path_factory.mktemp("projects") / "my <house> & co"
    done = run(*XP, "init", str(directory), state=directory.parent)
    assert done.returncode == 0, done.stderr
    return directory


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


def test_check_lists_every_mistake(tmp_path: Path, xp: Callable[..., Done]) -> None:
    (tmp_path / "organism.yaml").write_text(TEN_MISTAKES)
    (tmp_path / "handlers.py").write_text("def greet(payload, metadata): return None\n")
    done = xp("check", str(tmp_path / "organism.yaml"))
    assert (done.returncode, done.stdout) == (1, "")
    mistakes = done.stderr.splitlines()
    assert len(mistakes) >= 10, done.stderr
    for part in (
        ":2:",
        "shoutr",
        "thread_scheduling",
        "did you mean 'openai'",
        "nowhere",
        "2fast",
    ):
        assert part in done.stderr
    assert all("organism.yaml:" in mistake for mistake in mistakes)


def test_check_sums_up_what_is_right(project: Path, xp: Callable[..., Done]) -> None:
    done = xp("check", str(project))
    assert done.returncode == 0
    assert done.stdout.count("\n") == 1
    for part in ("ok", "3 listeners", "2 tools", "1 agent", "ANTHROPIC_API_KEY"):
        assert part in done.stdout


@pytest.mark.parametrize("options", [("-W", "error"), ("-p", "no:asyncio")])
def test_the_tests_of_a_new_project_pass_without_a_warning(
    options: tuple[str, ...], project: Path, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options],
        cwd=project,
        env=environment(tmp_path, PYTHONPATH=str(ROOT), PYTHONDONTWRITEBYTECODE="1"),
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 passed" in done.stdout
    assert "arning" not in done.stdout + done.stderr


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


def test_a_new_project_holds_no_secret_and_ignores_env(project: Path) -> None:
    assert ".env" in (project / ".gitignore").read_text().split()
    assert not (project / ".env").exists()
    assert "my <house> & co" in (project / "organism.yaml").read_text()


def test_a_new_project_talks(project: Path, tmp_path: Path) -> None:
    text = "@greeter Alice\n@calculator.add a=2 b=40\nHello?\n"
    done = run(*XP, "run", str(project), state=tmp_path, text=text)
    assert "greeter: Hello, Alice!\ncalculator.add: value: 42\nassistant: (offline" in done.stdout
    assert "ANTHROPIC_API_KEY" in done.stderr
    assert done.returncode == 0


def test_init_never_overwrites(project: Path, tmp_path: Path, xp: Callable[..., Done]) -> None:
    before = {path: path.read_bytes() for path in project.rglob("*") if path.is_file()}
    done = xp("init", str(project))
    assert done.returncode == 1
    assert "already holds organism.yaml" in done.stderr
    assert {path: path.read_bytes() for path in project.rglob("*") if path.is_file()} == before
    (tmp_path / "file").write_text("")
    assert xp("init", str(tmp_path / "file")).returncode == 1
    assert xp("init", str(tmp_path / "file" / "below")).returncode == 1


def test_describe_shows_each_form(project: Path, xp: Callable[..., Done]) -> None:
    def described(*arguments: str) -> str:
        done = xp("describe", *arguments, "-f", str(project))
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "write: @calculator.add a=<int> b=<int>" in described("calculator.add")
    schema = etree.XMLSchema(etree.fromstring(described("calculator.add", "--xsd").encode()))
    schema.assertValid(etree.fromstring(described("calculator.add", "--example")))
    assert set(json.loads(described("calculator.add", "--json-schema"))["required"]) == {"a", "b"}
    assert "Example:" in described("calculator.add", "Add", "--prompt")
    prompt = described("assistant", "--prompt")
    assert "You answer in two sentences" in prompt
    assert "calculator_add" in prompt
    assert "tokens" in prompt


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("calculator",), "there are assistant, calculator.add, greeter"),
        (("calculatr.add", "--xsd"), "did you mean 'calculator.add'"),
        (("greeter", "Greting", "--xsd"), "did you mean 'Greeting'"),
    ],
)
def test_describe_names_what_there_is(
    arguments: tuple[str, ...], says: str, project: Path, xp: Callable[..., Done]
) -> None:
    done = xp("describe", *arguments, "-f", str(project))
    assert done.returncode == 1
    assert says in done.stderr


def test_graph_draws_mermaid_and_svg(project: Path, xp: Callable[..., Done]) -> None:
    text = xp("graph", str(project)).stdout
    assert text.startswith("flowchart TD\n")
    assert '(["assistant"])' in text
    svg = etree.fromstring(xp("graph", str(project), "--format", "svg").stdout)
    assert "my <house> & co" in svg.xpath("string()")


def test_schema_takes_the_project(project: Path, xp: Callable[..., Done]) -> None:
    schema = json.loads(xp("schema").stdout)
    assert schema["$schema"].startswith("https://json-schema.org/")
    assert set(schema["properties"]) == {"organism", "listeners", "llm"}


ENVELOPE = """<message xmlns="https://xml-pipeline.org/ns/envelope/v1"><meta><from>me</from>{to}\
<thread>12345678-1234-1234-1234-123456789abc</thread></meta>{payload}</message>"""


def test_send_exchanges_raw_envelopes(project: Path, tmp_path: Path) -> None:
    text = ENVELOPE.format(to="<to>calculator.add</to>", payload='<Add xmlns=""><a>2</a><b>40</b></Add>')
    done = run(*XP, "send", "-", "-f", str(project), state=tmp_path, text=text)
    assert done.returncode == 0, done.stderr
    answer = etree.fromstring(done.stdout)
    assert answer.xpath("string(//value)") == "42"
    assert answer.xpath("string(//*[local-name()='thread'])") == "12345678-1234-1234-1234-123456789abc"
    assert answer.xpath("string(//*[local-name()='to'])") == "me"
    file = tmp_path / "message.xml"
    file.write_text(text)
    assert "42" in run(*XP, "send", str(file), "-f", str(project), state=tmp_path).stdout


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("no xml", "not well-formed"),
        (ENVELOPE.format(to="", payload='<Add xmlns=""/>'), "names no receiver"),
        (ENVELOPE.format(to="<to>nobody</to>", payload='<Add xmlns=""/>'), "no listener 'nobody'"),
        (ENVELOPE.format(to="<to>calculator.add</to>", payload='<Add xmlns=""><a>2</a></Add>'), "Add.b"),
    ],
)
def test_send_says_what_is_wrong_with_an_envelope(
    text: str, says: str, project: Path, tmp_path: Path
) -> None:
    done = run(*XP, "send", "-", "-f", str(project), state=tmp_path, text=text)
    assert done.returncode == 1
    assert says in done.stderr


def test_send_gives_an_error_answer_as_its_envelope_with_code_1(project: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(project, broken, ignore=shutil.ignore_patterns("__pycache__"))
    handlers = broken / "handlers.py"
    handlers.write_text(handlers.read_text().replace("payload.a + payload.b", "payload.a / 0"))
    text = ENVELOPE.format(to="<to>calculator.add</to>", payload='<Add xmlns=""><a>2</a><b>1</b></Add>')
    done = run(*XP, "send", "-", "-f", str(broken), state=tmp_path, text=text)
    assert done.returncode == 1
    assert etree.fromstring(done.stdout).xpath("string(//code)") == "handler"


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


def test_help_imports_next_to_nothing() -> None:
    code = (
        "import sys\nfrom xml_pipeline.cli.parser import build_parser\nimport xml_pipeline.cli\nbuild_parser()\n"
        "print([name for name in ('lxml', 'pydantic', 'httpx', 'asyncio', 'prompt_toolkit', 'yaml')"
        " if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
