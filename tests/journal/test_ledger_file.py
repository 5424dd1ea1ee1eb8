"""A ledger without a journal: what was spent outlives the process."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.emulators import Answer as Said
from tests.emulators import Fault, OpenAIEmulator
from tests.pump.scenes import Answer, Question, respond
from xml_pipeline import HandlerMetadata, Organism
from xml_pipeline.errors import BackendTimeoutError, BudgetExceededError, ConfigError, JournalError
from xml_pipeline.journal.file import read_only
from xml_pipeline.journal.ledger_file import LedgerFile
from xml_pipeline.journal.sqlite import SqliteJournal
from xml_pipeline.llm import Budget, Budgets, Router, Timeouts, complete, configure_router
from xml_pipeline.llm.lines import Lines
from xml_pipeline.llm.providers.openai import OpenAIBackend
from xml_pipeline.llm.providers.scripted import Rule, ScriptedBackend
from xml_pipeline.pump import listener

MONTHLY = Budgets(organism=[Budget(tokens=1200, per="month")])


def backend(**rule: Any) -> ScriptedBackend:
    usage = {"prompt_tokens": 400, "completion_tokens": 100}
    return ScriptedBackend(rules=(Rule(reply="x", usage=usage, **rule),))


def counted(path: Path) -> Any:
    with closing(read_only(path)) as file:
        return file.execute(
            "SELECT count(*), sum(prompt + output) FROM calls WHERE outcome = 'answered'"
        ).fetchone()


async def test_a_month_goes_on_in_the_next_process(tmp_path: Path) -> None:
    path = tmp_path / "usage.db"
    for _ in range(2):
        async with Router([backend()], budgets=MONTHLY, ledger=LedgerFile(path)) as router:
            await router.complete("m", "hello", max_tokens=100)
    async with Router([backend()], budgets=MONTHLY, ledger=LedgerFile(path)) as router:
        with pytest.raises(BudgetExceededError, match="tokens per month"):
            await router.complete("m", "hello", max_tokens=100)
    assert counted(path) == (2, 1000)
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_script_may_run_one_loop_after_the_other_and_never_close(tmp_path: Path) -> None:
    path = tmp_path / "usage.db"
    router = Router([backend()], budgets=MONTHLY, ledger=LedgerFile(path))
    for _ in range(2):
        asyncio.run(_ask(router))
    with pytest.raises(BudgetExceededError):
        asyncio.run(_ask(router))
    asyncio.run(router.aclose())
    assert counted(path) == (2, 1000)


async def _ask(router: Router) -> None:
    await router.complete("m", "hello", max_tokens=100)


def test_a_program_that_just_ends_has_written_everything(tmp_path: Path) -> None:
    path = tmp_path / "usage.db"
    program = f"""
import asyncio
from pathlib import Path
from tests.journal.test_ledger_file import _ask, backend
from xml_pipeline.journal.ledger_file import LedgerFile
from xml_pipeline.llm import Router
asyncio.run(_ask(Router([backend()], ledger=LedgerFile(Path({str(path)!r})))))
"""
    subprocess.run([sys.executable, "-c", program], check=True)
    assert counted(path) == (1, 500)


async def test_many_first_calls_at_once_open_it_once(tmp_path: Path) -> None:
    path = tmp_path / "usage.db"
    async with Router([backend()], ledger=LedgerFile(path)) as router:
        await asyncio.gather(*(router.complete("m", "hello") for _ in range(20)))
    assert counted(path) == (20, 10_000)


async def test_a_second_process_is_refused_and_asks_nobody_and_may_try_again(tmp_path: Path) -> None:
    path, asked = tmp_path / "usage.db", backend()
    async with Router([backend()], ledger=LedgerFile(path)) as first:
        await first.complete("m", "hello")
        second = Router([asked], ledger=LedgerFile(path))
        with pytest.raises(JournalError, match="is in use"):
            await second.complete("m", "hello")
        assert not asked.requests
    await second.complete("m", "hello")
    await second.aclose()
    assert counted(path) == (2, 1000)


async def test_an_organism_says_at_its_start_that_it_cannot_write(tmp_path: Path) -> None:
    (tmp_path / "usage.db").write_text("no database " * 100)
    organism = Organism("x", [], router=Router([backend()], ledger=LedgerFile(tmp_path / "usage.db")))
    with pytest.raises(JournalError, match=r"usage\.db"):
        await organism.start()


async def test_a_journal_and_a_file_of_its_own_are_one_too_many(tmp_path: Path) -> None:
    router = Router([backend()], ledger=LedgerFile(tmp_path / "usage.db"))
    organism = Organism("x", [], router=router, journal=SqliteJournal(tmp_path / "state.db"))
    with pytest.raises(ConfigError, match="the journal holds the ledger too"):
        await organism.start()


async def _worker(payload: Question, metadata: HandlerMetadata) -> Any:
    return respond(Answer((await complete("m", payload.text)).content))


@pytest.fixture
def default() -> Iterator[Router]:
    yield configure_router([backend()])
    configure_router([])


async def test_the_default_router_writes_into_the_journal_of_the_organism_that_runs(
    tmp_path: Path, default: Router
) -> None:
    path = tmp_path / "state.db"
    async with Organism("x", [listener("worker", _worker)], journal=SqliteJournal(path)) as organism:
        await organism.ask("worker", Question("hello"))
    assert counted(path) == (1, 500)
    assert not default.keeps_books
    await default.complete("m", "outside")
    assert counted(path) == (1, 500)
    await default.aclose()


async def test_tries_are_lines_of_json_too(tmp_path: Path) -> None:
    lines = Lines(tmp_path / "logs" / "llm-usage.jsonl", tmp_path / "logs" / "llm-errors.jsonl", "demo")
    failing = ScriptedBackend(name="busy", rules=(Rule(error="OverloadedError"),), priority=0)
    router = Router([failing, backend(model="m")], models={"smart": "m"}, retry_base_delay=0.001, lines=lines)
    await router.complete("smart", "hello", agent_id="me", operation="verify")
    await router.aclose()
    (usage,) = map(json.loads, (tmp_path / "logs" / "llm-usage.jsonl").read_text().splitlines())
    (error,) = map(json.loads, (tmp_path / "logs" / "llm-errors.jsonl").read_text().splitlines())
    assert usage.pop("ts").endswith("Z")
    assert usage.pop("latency_ms") >= 0
    assert usage == {
        "organism": "demo",
        "op": "verify",
        "agent": "me",
        "conversation": "",
        "thread": "",
        "preset": "smart",
        "backend": "scripted",
        "model": "m",
        "attempt": 2,
        "input_tokens": 400,
        "cache_read_tokens": 0,
        "cache_write_tokens": 0,
        "cache_write_1h_tokens": 0,
        "output_tokens": 100,
        "reasoning_tokens": 0,
        "priced_as": "free",
        "usd_estimate": 0.0,
        "estimated": False,
        "confirmed": True,
        "outcome": "answered",
        "stop_reason": "stop",
        "tool_calls": 0,
    }
    assert (error["backend"], error["error"], error["op"]) == ("busy", "OverloadedError", "verify")
    assert error["attempt"] == 1
    assert (tmp_path / "logs" / "llm-usage.jsonl").stat().st_mode & 0o777 == 0o600


async def test_where_no_line_can_be_written_the_call_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with Router([backend()], lines=Lines(tmp_path)) as router:
        await router.complete("m", "hello")
    assert "cannot be written" in caplog.text


async def test_each_try_of_a_call_has_its_number_and_its_organism(tmp_path: Path) -> None:
    path = tmp_path / "usage.db"
    failing = ScriptedBackend(name="busy", rules=(Rule(error="OverloadedError"),), priority=0)
    file = LedgerFile(path, organism="demo")
    async with Router([failing, backend()], retry_base_delay=0.001, ledger=file) as router:
        for _ in range(2):
            await router.complete("m", "hello", max_tokens=100)
            failing.rules = ()
    with closing(read_only(path)) as connection:
        rows = connection.execute("SELECT organism, backend, attempt, outcome FROM calls").fetchall()
    assert rows[:2] == [("demo", "busy", 1, "failed"), ("demo", "scripted", 2, "answered")]
    assert rows[2][2] == 1


@pytest.mark.parametrize(
    ("organism", "llm"),
    [("{name: demo, journal: rows.db}", ""), ("{name: demo}", "ledger: rows.db, ")],
    ids=["journal", "ledger"],
)
async def test_rows_say_whose_calls_they_are(tmp_path: Path, organism: str, llm: str) -> None:
    backend = "{provider: scripted, supported_models: [m], rules: [{reply: x}]}"
    text = f"organism: {organism}\nllm: {{{llm}backends: [{backend}]}}\n"
    (tmp_path / "organism.yaml").write_text(text)
    made = Organism.from_file(tmp_path / "organism.yaml")
    made.listener(_worker, name="worker", accepts=[Question])
    async with made:
        await made.ask("worker", Question("hello"))
    assert owners(tmp_path / "rows.db") == ["demo"]


async def test_rows_of_an_organism_made_by_a_program_say_whose_they_are(tmp_path: Path) -> None:
    made = Organism.build(name="demo", journal=tmp_path / "rows.db", router=Router([backend()]))
    made.listener(_worker, name="worker", accepts=[Question])
    async with made:
        await made.ask("worker", Question("hello"))
    assert owners(tmp_path / "rows.db") == ["demo"]


def owners(path: Path) -> list[str]:
    with closing(read_only(path)) as connection:
        return [name for (name,) in connection.execute("SELECT organism FROM calls")]


async def test_a_stream_that_is_written_down_does_not_wait_for_ever(tmp_path: Path) -> None:
    async with OpenAIEmulator() as server:
        server.script.then(Said(fault=Fault.HANG))
        silent = OpenAIBackend(base_url=server.base_url, api_key=server.key)
        times = Timeouts(first_token=0.05)
        file = LedgerFile(tmp_path / "usage.db")
        async with Router([silent], retries=0, timeouts=times, ledger=file) as router, asyncio.timeout(20):
            with pytest.raises(BackendTimeoutError, match=r"no content within 0\.05 s"):
                async for _ in router.stream("gpt-4o", "hello"):
                    pass
