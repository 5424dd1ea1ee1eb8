"""Answers that a provider goes on with while nobody is connected."""

from __future__ import annotations

import asyncio
import logging
import shutil
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.emulators.openai import OpenAIEmulator
from tests.emulators.script import Answer as Scripted
from tests.emulators.script import Script
from tests.journal.test_recovery import came_to
from tests.pump.scenes import Answer, Question, respond
from xml_pipeline import HandlerMetadata, Organism
from xml_pipeline.errors import BackendError, ConfigError, MalformedAnswerError
from xml_pipeline.journal.file import read_only
from xml_pipeline.journal.sqlite import SqliteJournal
from xml_pipeline.llm import Budget, Budgets, Router, StreamEnd, TextDelta, complete
from xml_pipeline.llm.providers.openai import OpenAIBackend
from xml_pipeline.pump import listener


def backend(server: OpenAIEmulator, **fields: Any) -> OpenAIBackend:
    return OpenAIBackend(base_url=server.base_url, api_key=server.key, background=True, **fields)


def asked(server: OpenAIEmulator) -> list[str]:
    return [request.method for request in server.requests]


async def test_an_answer_is_asked_for_once_and_fetched_when_it_is_there() -> None:
    async with OpenAIEmulator(Script(Scripted("at last"))) as server, Router([backend(server)]) as router:
        server.looks = 2
        response = await router.complete("gpt-5.4", "hello", max_tokens=50)
    assert response.content == "at last"
    assert asked(server) == ["POST", "GET", "GET"]
    body = server.requests[0].body
    assert (body["background"], body["store"]) == (True, True)
    assert response.usage["prompt_tokens"] == server.requests[0].prompt_tokens
    assert response.usage["completion_tokens"] == server.requests[0].completion_tokens


async def test_a_stream_gets_it_in_one_piece() -> None:
    async with OpenAIEmulator(Script(Scripted("at last"))) as server, Router([backend(server)]) as router:
        events = [event async for event in router.stream("gpt-5.4", "hello", max_tokens=50)]
    assert events[0] == TextDelta("at last")
    assert isinstance(events[-1], StreamEnd)
    assert asked(server)[0] == "POST"


async def test_a_look_that_fails_is_repeated_and_nothing_is_asked_anew() -> None:
    async with OpenAIEmulator(Script(Scripted("at last"))) as server, Router([backend(server)]) as router:
        server.look_failures = 3
        assert (await router.complete("gpt-5.4", "hello", max_tokens=50)).content == "at last"
    assert asked(server).count("POST") == 1


@pytest.mark.parametrize("status", ["failed", "cancelled"])
async def test_an_answer_that_will_never_be_is_an_error(status: str) -> None:
    async with OpenAIEmulator() as server, Router([backend(server)], retries=0) as router:
        server.looks = -1
        calling = asyncio.create_task(router.complete("gpt-5.4", "hello", max_tokens=50))
        await came_to(lambda: server.stored)
        (name,) = server.stored
        error = {"code": "server_error", "message": "it broke"}
        server.looks, server.stored[name] = 0, {**server.stored[name], "status": status, "error": error}
        with pytest.raises(BackendError, match="it broke"):
            await calling


@pytest.mark.parametrize("name", ["../models", "a b", "", "x" * 300, 7, None])
async def test_a_name_that_would_lead_elsewhere_is_refused(name: Any) -> None:
    async with OpenAIEmulator() as server, Router([backend(server)], retries=0) as router:
        server.serial = lambda prefix: name  # type: ignore[method-assign]
        with pytest.raises(MalformedAnswerError, match="no usable id"):
            await router.complete("gpt-5.4", "hello", max_tokens=50)
    assert asked(server) == ["POST"]


def test_chat_completions_know_no_such_thing() -> None:
    with pytest.raises(ConfigError, match="write `api: responses`"):
        OpenAIBackend(api_key="k", api="chat", background=True)


class Life:
    """Lives of an organism whose one handler asks once; they may end in the middle of the answer."""

    def __init__(self, folder: Path, server: OpenAIEmulator) -> None:
        self.path = folder / "state.db"
        self.server = server

    async def worker(self, payload: Question, metadata: HandlerMetadata) -> Any:
        return respond(Answer((await complete("gpt-5.4", payload.text, max_tokens=50)).content))

    def organism(self) -> Organism:
        limits = [Budget(tokens=10_000, per="day", warn_at=())]
        return Organism(
            "world",
            [listener("worker", self.worker)],
            journal=SqliteJournal(self.path),
            router=Router([backend(self.server)], retries=0, budgets=Budgets(organism=limits)),
            shutdown_seconds=0,
        )

    async def dies_in_the_middle(self) -> None:
        """The next life finds what was durable when its provider had begun: a copy of the files."""
        self.server.looks = -1
        later = self.path.with_name("later.db")
        async with self.organism() as one:
            await one.send("worker", Question("hello"), key="k")
            await came_to(lambda: self.rows() and self.rows()[0][1])
            for ending in ("", "-wal"):
                shutil.copy(f"{self.path}{ending}", f"{later}{ending}")
        self.path = later
        self.server.looks = 0

    def rows(self) -> list[Any]:
        with closing(read_only(self.path)) as journal:
            return journal.execute(
                "SELECT outcome, response, prompt, output FROM calls ORDER BY number"
            ).fetchall()


async def test_after_a_death_it_is_fetched_and_not_paid_again(tmp_path: Path) -> None:
    async with OpenAIEmulator(Script(Scripted("at last"))) as server:
        life = Life(tmp_path, server)
        await life.dies_in_the_middle()
        async with life.organism() as organism:
            assert await organism.ask("worker", Question("hello"), key="k") == Answer("at last")
            (meter,) = organism.router._book._organism
    assert asked(server).count("POST") == 1
    used = server.requests[0]
    ((outcome, name, prompt, output),) = life.rows()
    assert (outcome, prompt, output) == ("answered", used.prompt_tokens, used.completion_tokens)
    assert name in server.stored
    assert (meter.spent, meter.reserved) == (prompt + output, 0)


async def test_what_its_provider_has_no_more_is_asked_for_again_and_counts_twice(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    script = Script(Scripted("at last"), Scripted("again"))
    async with OpenAIEmulator(script) as server:
        life = Life(tmp_path, server)
        await life.dies_in_the_middle()
        server.stored.clear()
        with caplog.at_level(logging.WARNING, "xml_pipeline"):
            async with life.organism() as organism:
                assert await organism.ask("worker", Question("hello"), key="k") == Answer("again")
                (meter,) = organism.router._book._organism
    assert asked(server).count("POST") == 2
    assert "it counts as spent, and is asked for again" in caplog.text
    (lost, found) = life.rows()
    assert (lost[0], found[0]) == ("unknown", "answered")
    assert meter.spent == sum(lost[2:]) + sum(found[2:])
