"""What a provider says of a call decides its price, and the ledger says whose price it was."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.emulators import Answer, Emulator, Fault
from tests.emulators.anthropic import AnthropicEmulator
from tests.emulators.gemini import GeminiEmulator
from tests.emulators.openai import OpenAIEmulator
from xml_pipeline.errors import BudgetExceededError
from xml_pipeline.journal.ledger_file import LedgerFile
from xml_pipeline.llm import Budget, Budgets, Router, StreamEnd
from xml_pipeline.llm.completion import Clock
from xml_pipeline.llm.http.backend import Backend
from xml_pipeline.llm.providers.anthropic import AnthropicBackend
from xml_pipeline.llm.providers.gemini import GeminiBackend
from xml_pipeline.llm.providers.openai import OpenAIBackend

GEMINI = "gemini-3.8-flash-tts"  # the package knows tiers of few of Google's models
WHEN = 1_795_608_000.0  # 25 November 2026: the prices below are those of that day


def rows(path: Path) -> Sequence[sqlite3.Row]:
    connection = sqlite3.connect(path)
    connection.row_factory = sqlite3.Row
    try:
        return connection.execute("SELECT * FROM calls ORDER BY number").fetchall()
    finally:
        connection.close()


async def asked(
    backend: Backend, model: str, path: Path, *, streams: bool, **options: Any
) -> tuple[float | None, sqlite3.Row]:
    """What the answer says that it cost, and its row."""
    router = Router([backend], ledger=LedgerFile(path), clock=Clock(wall=lambda: WHEN), **options)
    async with router:
        if streams:
            *_, end = [event async for event in router.stream(model, "Hello", max_tokens=50)]
            assert isinstance(end, StreamEnd)
            response = end.response
        else:
            response = await router.complete(model, "Hello", max_tokens=50)
    return response.cost, rows(path)[-1]


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
async def test_writes_for_an_hour_cost_more_than_those_for_minutes(tmp_path: Path, streams: bool) -> None:
    async with AnthropicEmulator() as server:
        written = Answer(
            "Yes.",
            completion_tokens=10,
            cached_tokens=2_000,
            cache_write_tokens=1_000,
            cache_write_1h_tokens=600,
        )
        server.script.then(written)
        backend = AnthropicBackend(base_url=server.base_url, api_key=server.key)
        cost, row = await asked(backend, "claude-haiku-4-5", tmp_path / "usage.db", streams=streams)
        fresh = server.last.prompt_tokens - min(server.last.prompt_tokens, 3_000)
    # USD per million: input 1, output 5, read 0.1, written 1.25, for an hour 2.
    expected = fresh * 1 + 2_000 * 0.1 + 400 * 1.25 + 600 * 2 + 10 * 5
    assert cost == pytest.approx(expected / 1e6)
    assert row["priced"] == "anthropic/claude-haiku-4-5"
    assert (row["cached"], row["cache_write"]) == (2_000, 1_000)
    assert row["micro_usd"] == expected
    assert row["plain"] == (fresh + 3_000) * 1 + 10 * 5


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("api", ["chat", "responses"])
async def test_a_tier_is_priced_as_it_was_served(tmp_path: Path, api: str, streams: bool) -> None:
    async with OpenAIEmulator() as server:
        server.script.then(Answer("Yes.", completion_tokens=10, service_tier="priority"))
        backend = OpenAIBackend(base_url=server.base_url, api_key=server.key, api=api)
        cost, row = await asked(backend, "gpt-5.4", tmp_path / "usage.db", streams=streams)
        prompt = server.last.prompt_tokens
    assert row["priced"] == "openai/gpt-5.4 (priority)"
    assert row["micro_usd"] == row["plain"] == prompt * 5 + 10 * 30
    assert cost == pytest.approx(row["micro_usd"] / 1e6)


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
async def test_gemini_names_the_tier_in_a_header(tmp_path: Path, streams: bool) -> None:
    async with GeminiEmulator() as server:
        headers = {"x-gemini-service-tier": "flex"}
        server.script.then(Answer("Yes.", completion_tokens=10, headers=headers))
        backend = GeminiBackend(base_url=f"{server.base_url}/v1beta", api_key=server.key)
        _, row = await asked(backend, GEMINI, tmp_path / "usage.db", streams=streams)
    assert row["priced"] == f"google/{GEMINI} (flex)"


async def test_a_tier_that_is_asked_for_is_reserved() -> None:
    async with OpenAIEmulator() as server:
        budgets = Budgets([Budget(usd=0.011)])  # 400 tokens cost 0.006 as usual, and 0.012 as `priority`
        backend = OpenAIBackend(base_url=server.base_url, api_key=server.key, api="chat")
        async with Router([backend], budgets=budgets, clock=Clock(wall=lambda: WHEN)) as router:
            tier = {"service_tier": "priority"}
            with pytest.raises(BudgetExceededError):
                await router.complete("gpt-5.4", "Hello", max_tokens=400, extra=tier)
            assert not server.requests
            await router.complete("gpt-5.4", "Hello", max_tokens=400)
        assert len(server.requests) == 1


async def test_a_tier_that_was_asked_for_holds_where_nobody_tells(tmp_path: Path) -> None:
    async with OpenAIEmulator() as server:
        server.script.then(Answer(fault=Fault.RESET), Answer("Yes.", service_tier="default"))
        backend = OpenAIBackend(base_url=server.base_url, api_key=server.key, api="chat")
        path, options = tmp_path / "usage.db", {"retries": 1, "retry_base_delay": 0.001}
        router = Router([backend], ledger=LedgerFile(path), clock=Clock(wall=lambda: WHEN), **options)
        async with router:
            await router.complete("gpt-5.4", "Hello", max_tokens=50, extra={"service_tier": "priority"})
    lost, answered = rows(path)
    assert (lost["priced"], answered["priced"]) == ("openai/gpt-5.4 (priority)", "openai/gpt-5.4")


async def test_an_unknown_price_stays_unknown(tmp_path: Path) -> None:
    server: Emulator
    async with OpenAIEmulator() as server:
        backend = OpenAIBackend(
            base_url=server.base_url, api_key=server.key, supported_models=["mine"], api="chat"
        )
        cost, row = await asked(backend, "mine", tmp_path / "usage.db", streams=False)
    assert cost is None
    assert (row["priced"], row["micro_usd"], row["plain"]) == ("", None, None)
