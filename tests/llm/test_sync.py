"""`complete_sync` and `stream_sync`: for programs without an event loop."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.llm.backends import backend, down
from xml_pipeline import HandlerMetadata, HandlerResponse, Organism, complete_sync, stream_sync
from xml_pipeline.agents import Answer, Task
from xml_pipeline.errors import InvalidRequestError, ServerError
from xml_pipeline.llm import Budget, Budgets, Router, StreamEnd, TextDelta, get_router, use_router
from xml_pipeline.llm.providers.scripted import Rule

ROOT = Path(__file__).parent.parent.parent


def router(*rules: Rule, **settings: object) -> Router:
    return Router([backend("here", *rules)], retries=0, **settings)  # type: ignore[arg-type]


def test_a_script_asks_and_streams() -> None:
    with use_router(router()):
        for _ in range(20):
            assert complete_sync("m", "Hello").content == "from here"
        *pieces, end = stream_sync("m", "Hello")
    assert "".join(piece.text for piece in pieces if isinstance(piece, TextDelta)) == "from here"
    assert isinstance(end, StreamEnd)
    assert end.response.content == "from here"


def test_errors_arrive_as_they_are() -> None:
    with use_router(router(down())):
        with pytest.raises(ServerError) as caught:
            complete_sync("m", "Hello")
        assert caught.value.backend == "here"
        with pytest.raises(ServerError):
            list(stream_sync("m", "Hello"))
        with pytest.raises(InvalidRequestError):
            complete_sync("m", "Hello", max_tokens=0)
        with pytest.raises(TypeError, match="did you mean"):
            complete_sync("m", "Hello", max_token=1)  # type: ignore[call-arg]


def test_threads_share_one_router_with_its_limits() -> None:
    one = router(budgets=Budgets(organism=(Budget(tokens=1_000_000),)))

    def ask(number: int) -> str:
        with use_router(one):
            if number % 2:
                return complete_sync("m", "Hello").content
            *_, end = stream_sync("m", "Hello")
            assert isinstance(end, StreamEnd)
            return end.response.content

    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(ask, range(200))) == {"from here"}
    assert one.get_total_usage().request_count == 200
    assert sum(thread.name == "xml-pipeline-sync" for thread in threading.enumerate()) == 1


def test_who_stops_early_is_charged_for_what_came_and_leaves_nothing_behind() -> None:
    one = router(Rule(reply="one two three four"))
    with use_router(one):
        stream = iter(stream_sync("m", "Hello"))
        assert isinstance(next(stream), TextDelta)
        stream.close()  # type: ignore[attr-defined]  # a generator
        assert one.describe()[0].in_flight == 0
        assert one.get_total_usage().total_tokens > 0


async def test_inside_a_running_loop_they_are_refused_with_the_word_for_what_to_use() -> None:
    with pytest.raises(RuntimeError, match=r"write `await complete\(\.\.\.\)`"):
        complete_sync("m", "Hello")
    with pytest.raises(RuntimeError, match=r"write `async for event in stream\(\.\.\.\)`"):
        stream_sync("m", "Hello")


async def test_in_a_thread_of_an_organism_they_use_its_router_in_its_loop() -> None:
    loops: list[object] = []

    def here(_: object) -> str:
        loops.append(asyncio.get_running_loop())
        return "from the organism"

    organism = Organism.build(router=router(Rule(reply=here)))

    @organism.listener
    async def helper(payload: Task, metadata: HandlerMetadata) -> HandlerResponse:
        loop = asyncio.get_running_loop()
        response = await loop.run_in_executor(
            None, complete_sync, "m", payload.text
        )  # no context comes along
        return HandlerResponse.respond(Answer(response.content))

    async with organism:
        assert await organism.ask("helper", Task("Hello")) == Answer("from the organism")
        assert get_router() is organism.router
    assert loops == [asyncio.get_running_loop()]


SCRIPT = """
import asyncio, os, sys, threading
from xml_pipeline.llm import complete_sync, configure_router, stream_sync

backend = {"provider": "openai", "base_url": sys.argv[1], "supported_models": ["*"]}
configure_router({"retries": 0, "backends": [backend]})
for _ in range(5):
    assert complete_sync("gpt-4o", "Hello").content
threads = [threading.Thread(target=complete_sync, args=("gpt-4o", "Hello")) for _ in range(5)]
[thread.start() for thread in threads], [thread.join() for thread in threads]
stream = stream_sync("gpt-4o", "Hello")
next(stream)  # left open
child = os.fork()
if not child:
    assert complete_sync("gpt-4o", "Hello").content
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
print("done", flush=True)
"""


async def test_a_script_ends_without_a_warning(tmp_path: Path) -> None:
    """Neither of aiohttp, nor of asyncio, nor of an open socket."""
    from tests.emulators import OpenAIEmulator

    async with OpenAIEmulator() as server:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-W", "error", "-c", SCRIPT, server.base_url),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=tmp_path,
            env={"OPENAI_API_KEY": server.key, "PYTHONPATH": str(ROOT)},
        )
        out, err = await process.communicate()
    assert (process.returncode, out, err) == (0, b"done\n", b"")
