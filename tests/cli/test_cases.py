"""`xp test`: what it prints, what CI systems read, real models below a cap, and cases from a journal."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from lxml import etree

from tests.cases.desk import HANDLERS, ORGANISM
from tests.cli.conftest import Done
from tests.cli.folders import inside
from tests.emulators import OpenAIEmulator

Xp = Callable[..., Done]

GOOD = (
    "  - {name: it refuses, to: clerk, send: hi, script: {clerk: {reply: 'No.'}}, expect: {answer: 'No.'}}\n"
)
BAD = (
    "  - {name: it agrees, to: clerk, send: hi, script: {clerk: {reply: 'No.'}}, expect: {answer: 'Yes.'}}\n"
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return inside(tmp_path, monkeypatch, {"organism.yaml": f"{ORGANISM}tests:\n{GOOD}", "hands.py": HANDLERS})


def test_a_line_a_case(folder: Path, xp: Xp) -> None:
    line = ORGANISM.count("\n") + 2
    assert xp("test") == Done(0, f"ok      organism.yaml:{line}: it refuses\n1 of 1 case passed\n", "")


def test_a_failure_is_told_with_what_was_said(folder: Path, xp: Xp) -> None:
    (folder / "more.test.yaml").write_text(f"tests:\n{BAD}")
    done = xp("test")
    assert done.returncode == 1
    told = """\
FAILED  more.test.yaml:2: it agrees
        answer.Answer.text
          expected  Yes.
          came      No.
        what was said:
          outside → clerk  Task text: hi
            the model of clerk: No.
          clerk → outside  Answer text: No.
1 of 2 cases passed
"""
    assert told in done.stdout
    assert done.stderr == ""


def test_files_folders_and_names_choose(folder: Path, xp: Xp) -> None:
    (folder / "more.test.yaml").write_text(f"tests:\n{BAD}")
    (folder / "below").mkdir()
    (folder / "below" / "far.test.yaml").write_text(
        f"organism: ../organism.yaml\ntests:\n{BAD.replace('it', 'far')}"
    )
    assert "0 of 1 case passed" in xp("test", "more.test.yaml").stdout
    assert "1 of 1 case passed" in xp("test", "-k", "REFUSES").stdout
    assert "1 of 3 cases passed" in xp("test", ".").stdout
    none = xp("test", "-k", "nothing")
    assert (none.returncode, none.stdout) == (1, "")
    assert "organism.yaml has no case with 'nothing' in its name" in none.stderr
    assert "there is no nowhere.yaml" in xp("test", "nowhere.yaml").stderr


def test_mistakes_are_told_and_other_files_run(folder: Path, xp: Xp) -> None:
    (folder / "below").mkdir()
    (folder / "below" / "organism.yaml").write_text(
        "organism: {name: x}\ntests: [{name: a, to: b, send: c}]\n"
    )
    done = xp("test", ".")
    assert done.returncode == 1
    assert (
        "below/organism.yaml:2:23: tests[0].to: there is no listener 'b'; there are no listeners"
        in done.stdout
    )
    assert "1 of 2 cases passed, 1 file with mistakes" in done.stdout


def test_check_tells_of_cases_beside_the_organism_too(folder: Path, xp: Xp) -> None:
    assert ", 1 case" in xp("check").stdout
    (folder / "more.test.yaml").write_text("tests: [{name: a, to: clark, send: hi}]\n")
    (folder / "other.test.yaml").write_text(
        "organism: elsewhere.yaml\ntests: [{name: a, to: nobody, send: hi}]\n"
    )
    done = xp("check")
    assert done.returncode == 1
    (problem,) = done.stderr.splitlines()
    assert problem.startswith(
        "more.test.yaml:1:23: tests[0].to: there is no listener 'clark'; did you mean 'clerk'?"
    )


def test_junit_and_json_say_the_same(folder: Path, xp: Xp) -> None:
    (folder / "more.test.yaml").write_text(f"tests:\n{BAD.replace('No.', 'No.' + chr(92) + 'x1b')}")
    (folder / "below").mkdir()
    (folder / "below" / "organism.yaml").write_text("organism: [")
    done = xp("test", ".", "--junit", "out.xml", "--json")
    assert done.returncode == 1
    told = json.loads(done.stdout)
    assert [each["status"] for each in told] == ["mistakes", "passed", "failed"]
    root = etree.parse(folder / "out.xml").getroot()
    assert dict(root.attrib) | {"time": ""} == {
        "name": "xml-pipeline", "tests": "3", "failures": "1", "errors": "1", "skipped": "0", "time": "",
    }  # fmt: skip
    cases = root.findall("testsuite/testcase")
    assert [each.get("name") for each in cases] == ["below/organism.yaml", "it refuses", "it agrees"]
    assert cases[0].find("error") is not None
    assert len(cases[1]) == 0
    failure = cases[2].find("failure")
    assert failure is not None
    assert failure.text == "\n".join(told[2]["why"])
    assert cases[2].findtext("system-out") == "\n".join(told[2]["trace"])
    assert "cannot be written" in xp("test", "--junit", "no/where.xml").stderr


# --- real models ---


def test_real_models_need_a_cap(folder: Path, xp: Xp) -> None:
    for arguments in (("--live",), ("--usd", "1")):
        done = xp("test", *arguments)
        assert done.returncode == 1
        assert "--live and --usd AMOUNT go together" in done.stderr
    assert xp("test", "--live", "--usd", "0").returncode == 2


LIVE = """\
organism: {{name: live, journal: state.db}}
listeners:
  - {{name: clerk, agent: true, model: gpt-4o, peers: [anna]}}
  - {{name: anna, human: true}}
llm:
  backends: [{{provider: openai, base_url: "{url}", supported_models: [gpt-4o]}}]
  prices: {{gpt-4o: {{input: {price}, output: 0}}}}
  retries: 0
  ledger: {{lines: lines.jsonl}}
tests:
  - name: it refuses
    to: clerk
    send: hi
    script: {{clerk: {{reply: never said}}, anna: {{answer: Never., times: 5}}}}
    expect: {{answer: {{Answer: {{text: {{contains: "No"}}}}}}}}
    live: {{times: 3, at_least: 2}}
  - {{name: it goes on, to: anna, send: hi, script: {{anna: {{answer: "No."}}}}}}
"""


async def live(
    folder: Path, monkeypatch: pytest.MonkeyPatch, xp: Xp, *said: str, price: float = 1.0, usd: str = "1"
) -> tuple[Done, int]:
    """What `test --live` does with a provider that answers this, and how often it was asked."""
    async with OpenAIEmulator() as server:
        for text in said:
            server.script.say(text)
        inside(folder, monkeypatch, {"organism.yaml": LIVE.format(url=server.base_url, price=price)})
        monkeypatch.setenv("OPENAI_API_KEY", server.key)
        done = await asyncio.to_thread(xp, "test", "--live", "--usd", usd)
        return done, len(server.requests)


async def test_a_live_case_passes_as_often_as_it_has_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, xp: Xp
) -> None:
    done, asked = await live(tmp_path, monkeypatch, xp, "No.", "Yes.", "No!")
    assert asked == 3
    assert done.returncode == 0, done.stdout
    assert "it refuses  (2 of 3)" in done.stdout
    assert "of 1 USD spent" in done.stdout
    assert not (tmp_path / "state.db").exists()
    done, _ = await live(tmp_path, monkeypatch, xp, "No.", "Yes.", "Yes.")
    assert done.returncode == 1
    assert "passed 1 of 3 runs, and has to 2 times" in done.stdout


async def test_the_cap_stops_further_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, xp: Xp) -> None:
    done, asked = await live(tmp_path, monkeypatch, xp, "No.", "No.", "No.", price=10_000, usd="0.0001")
    assert asked == 0
    assert done.returncode == 3
    assert "not run" in done.stdout
    assert "2 cases not decided, because that was used up" in done.stdout


# --- recording ---

RECORDED = ORGANISM.replace("name: refunds,", "name: refunds, journal: state.db,").replace(
    "backends: [{provider: openai, supported_models: [m]}]", "backends: [{provider: scripted, rules: [%s]}]"
)
RULES = """\
    {agent: clerk, on: tool, reply: "Done for $5, ${NAME}.\\nBye."},
    {agent: clerk, calls: [{tool: charge, arguments: {cents: 3}}, {tool: double, arguments: {cents: 4}}]},
    {agent: think, reply: deep},
    {agent: triage, match: late, error: InvalidRequestError},
    {agent: triage, reply: <Triage><kind>other</kind></Triage>}
""".replace("\n", " ").replace("${NAME}", "$${NAME}")


@pytest.fixture
def lived(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, xp: Xp) -> Callable[[str, str], str]:
    """Asks a listener in an organism with a journal; gives the conversation's id."""
    inside(tmp_path, monkeypatch, {"organism.yaml": RECORDED % RULES, "hands.py": HANDLERS})

    def ask(listener: str, message: str) -> str:
        xp("ask", listener, message)
        return str(json.loads(xp("log", "--json").stdout)[-1]["id"])

    return ask


@pytest.mark.parametrize(
    ("listener", "message"),
    [
        ("clerk", "Refund $${order} for {{me}}"),
        ("think", "cents=4"),
        ("triage", "text=late"),
        ("charge", "cents=9"),
    ],
)
def test_a_conversation_becomes_a_case_that_passes(
    listener: str, message: str, tmp_path: Path, xp: Xp, lived: Callable[[str, str], str]
) -> None:
    before = (tmp_path / "organism.yaml").read_text()
    number = lived(listener, message)
    printed = xp("test", "record", number[:12])
    assert printed.returncode == 0, printed
    assert printed.stderr == ""
    (tmp_path / "more.test.yaml").write_text(printed.stdout)
    assert xp("test", "more.test.yaml").stdout.endswith("1 of 1 case passed\n")
    assert xp("test", "record", number, "--into", "organism.yaml", "--name", "as it was").returncode == 0
    assert (tmp_path / "organism.yaml").read_text().startswith(before)
    done = xp("test")
    assert done.stdout.endswith("2 of 2 cases passed\n"), done


def test_what_was_said_stands_in_the_case(xp: Xp, lived: Callable[[str, str], str]) -> None:
    printed = xp("test", "record", lived("clerk", "Refund order 17.")).stdout
    assert (
        printed
        == """\
  - name: Refund order 17.
    to: clerk
    send: Refund order 17.
    script:
      clerk:
        - calls:
            - call: charge
              with:
                Sum:
                  cents: 3
            - call: double
              with:
                Sum:
                  cents: 4
        - answer: "Done for $$5, $${NAME}.\\nBye."
      charge:
        - answer:
            Receipt:
              id: real
              cents: 3
    expect:
      answer: "Done for $$5, $${NAME}.\\nBye."
"""
    )


def test_what_cannot_be_a_case_leaves_nothing_behind(
    xp: Xp, lived: Callable[[str, str], str], tmp_path: Path
) -> None:
    number = lived("clerk", "hi")
    done = xp("test", "record", number, "--into", "new.test.yaml", "--name", "x" * 300)
    assert done.returncode == 1
    assert "nothing is written, for the file would not load" in done.stderr
    assert not (tmp_path / "new.test.yaml").exists()
    assert xp("test", "record", number, "--into", "new.test.yaml").returncode == 0
    assert xp("test", "new.test.yaml").returncode == 0
    assert xp("journal", "erase", number).returncode == 0
    erased = xp("test", "record", number)
    assert erased.returncode == 1
    assert "the conversation cannot be recorded: " in erased.stderr
    assert xp("test", "record", "nope").returncode == 1
