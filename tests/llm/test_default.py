"""Which router `complete()` asks where nothing says it, and where its keys come from."""

from __future__ import annotations

import json
import logging
import pickle
import threading
from collections.abc import Iterator
from copy import copy, deepcopy
from dataclasses import replace
from pathlib import Path

import pytest

from tests.llm.backends import backend, down
from xml_pipeline import Organism, errors, llm
from xml_pipeline.errors import ConfigError, NoBackendError, ServerError
from xml_pipeline.llm import LLMResponse, Router, Usage, configure_router, get_router, use_router


@pytest.fixture(autouse=True)
def _unconfigured() -> Iterator[None]:
    configure_router([])
    yield
    configure_router([])


def organism(name: str) -> Organism:
    return Organism.build(name=name, router=Router([backend(name)]))


def in_a_thread() -> Router:
    """The router that a library of the program gets in a thread of its own."""
    found: list[Router] = []
    thread = threading.Thread(target=lambda: found.append(get_router()))
    thread.start()
    thread.join()
    return found[0]


async def test_it_is_that_of_the_organism_that_runs() -> None:
    async with organism("one") as one:
        assert get_router() is one.router
        assert in_a_thread() is one.router
        assert (await llm.complete("m", "Hello")).content == "from one"
    assert get_router() is not one.router


async def test_with_several_organisms_somebody_has_to_say_which() -> None:
    async with organism("one") as one:
        async with organism("two") as two:
            with pytest.raises(
                NoBackendError, match=r"2 organisms run in this program \(one, two\).*use_router"
            ):
                get_router()
            with use_router(two.router):
                assert get_router() is two.router
        assert get_router() is one.router


async def test_a_configured_router_and_a_scope_come_first() -> None:
    mine, other = Router([backend("mine")]), Router([backend("other")])
    async with organism("one"):
        configure_router(mine)
        assert get_router() is mine
        with use_router(other):
            assert get_router() is other


async def test_a_section_reads_its_keys_from_the_file_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    section = {"backends": [{"provider": "openai"}, {"provider": "xai"}]}
    (tmp_path / ".env").write_text("OPENAI_API_KEY=from-the-file\nXAI_API_KEY=from-the-file\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setenv("XAI_API_KEY", "from-the-process")
    router = configure_router(section)
    assert [str(each.api_key) for each in router.backends.values()] == ["from-the-file", "from-the-process"]
    router = configure_router(section, environ={})
    assert [each.key_missing for each in router.backends.values()] == [True, True]
    (tmp_path / ".env").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=r"\.env.*UTF-8"):
        configure_router(section)


def test_the_errors_stand_beside_what_raises_them() -> None:
    for name in dir(errors):
        kind = getattr(errors, name)
        if isinstance(kind, type) and issubclass(kind, errors.LLMError):
            assert getattr(llm, name) is kind


async def test_each_failure_is_logged_once_with_backend_and_reason(caplog: pytest.LogCaptureFixture) -> None:
    router = Router(
        [backend("a", down(times=1)), backend("b", down("RateLimitedError"), priority=2)], retries=2
    )
    for _ in range(2):
        await router.complete("m", "Hello")
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("xml_pipeline")]
    failures = router.get_backend_usage()["a"].failure_count + router.get_backend_usage()["b"].failure_count
    assert len(lines) == failures > 0
    assert lines[0] == "backend a failed (model m): ServerError: scripted failure"


async def test_a_failed_stream_is_logged_once_too(caplog: pytest.LogCaptureFixture) -> None:
    router = Router([backend("a", down(fail_after=1, reply="one two"))], retries=0)
    with pytest.raises(ServerError):
        _ = [event async for event in router.stream("m", "Hello")]
    assert [record.getMessage() for record in caplog.records].count(
        "backend a failed (model m): ServerError: scripted failure"
    ) == 1


def test_usage_is_json_and_stays_as_it_is() -> None:
    usage = Usage(100, 20, cached_tokens=60)
    assert json.loads(json.dumps(usage)) == dict(usage) == {**usage}
    assert (
        json.loads(json.dumps({"usage": LLMResponse("x", "m", usage).usage}))["usage"]["total_tokens"] == 120
    )
    for same in (copy(usage), deepcopy(usage), pickle.loads(pickle.dumps(usage)), replace(usage)):
        assert same == usage
        assert dict(same) == dict(usage)
        assert type(same) is Usage
    assert replace(usage, completion_tokens=30)["total_tokens"] == 130
    for change in (usage.clear, usage.popitem, lambda: usage.update(a=1), lambda: usage.pop("total_tokens")):
        with pytest.raises(TypeError, match="does not change"):
            change()
    with pytest.raises(TypeError):
        usage |= {"a": 1}


async def test_logging_that_fails_changes_nothing() -> None:
    def defect(record: logging.LogRecord) -> bool:
        raise ZeroDivisionError

    logger = logging.getLogger("xml_pipeline.llm.run")
    logger.addFilter(defect)
    try:
        router = Router([backend("a", down()), backend("b", priority=2)], retries=1)
        assert (await router.complete("m", "Hello")).backend == "b"
        assert [each.in_flight for each in router.describe()] == [0, 0]
    finally:
        logger.removeFilter(defect)
