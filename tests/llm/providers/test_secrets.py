"""No key shows itself: not in an error, its chain or its trace, not in a repr, not in the log."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator

import pytest

from tests.emulators import Answer, Fail, Failure, Fault, Place, closed_port
from xml_pipeline.errors import AuthenticationError, BackendError, NoBackendError
from xml_pipeline.llm import Router

from .cases import CASES, Case

KEYED = [case for case in CASES if case.emulator().key]


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and all that led to it."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def surfaces(error: BackendError, *, with_locals: bool = True) -> Iterator[str]:
    """All texts that a user, a log or a tracker (which shows local variables) could show of an error."""
    for link in chain(error):
        yield str(link)
        yield repr(link)
        yield repr(vars(link))
        yield "".join(traceback.format_exception(link))
        shown = traceback.TracebackException.from_exception(link, capture_locals=True)
        for frame in shown.stack:
            if with_locals and "/xml_pipeline/" in frame.filename:
                yield repr(frame.locals)


async def failing(case: Case, fail: Fail, *, echoes: bool) -> tuple[str, list[str]]:
    """The key, and all that shows when this happens at this provider.

    Local variables hold what a provider sent; they are looked at unless that `echoes` the key.
    """
    async with case.emulator() as server:
        backend = case.backend(server.base_url, server.key)
        server.script.then(fail, fail)
        async with Router([backend], retries=0) as router:
            with pytest.raises(BackendError) as streamed:
                await anext(router.stream(case.model, "Hello"))
        async with Router([backend], retries=0) as router:
            with pytest.raises(BackendError) as whole:
                await router.complete(case.model, "Hello")
            holders = (
                backend,
                vars(backend),
                backend.dialect,
                router,
                router.describe(),
                dict(router.backends),
            )
        texts = [
            text for error in (streamed, whole) for text in surfaces(error.value, with_locals=not echoes)
        ]
        return server.key, [*texts, *map(repr, holders)]


@pytest.mark.parametrize("place", Place)
@pytest.mark.parametrize("failure", [Failure.BAD_KEY, Failure.INTERNAL, Failure.NO_MODEL])
@pytest.mark.parametrize("case", KEYED, ids=str)
async def test_no_failure_shows_the_key(
    case: Case, failure: Failure, place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    key, texts = await failing(case, Fail(failure, place=place), echoes=failure is Failure.BAD_KEY)
    for text in [*texts, caplog.text]:
        assert key not in text


@pytest.mark.parametrize("case", KEYED, ids=str)
async def test_no_echo_of_a_gateway_shows_the_key(case: Case, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    echo = f"<html>502: cannot forward Authorization: Bearer {case.emulator().key}</html>".encode()
    key, texts = await failing(case, Fail(Failure.BAD_GATEWAY, body=echo), echoes=True)
    assert any("cannot forward" in text for text in texts)
    for text in [*texts, caplog.text]:
        assert key not in text


@pytest.mark.parametrize("case", KEYED, ids=str)
async def test_no_broken_connection_shows_the_key(case: Case, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with case.emulator() as server:
        for url in (server.base_url, f"http://127.0.0.1:{closed_port()}"):
            backend = case.backend(url, server.key)
            async with Router([backend], retries=0) as router:
                server.script.then(Answer(fault=Fault.RESET))
                with pytest.raises(BackendError) as caught:
                    await router.complete(case.model, "Hello")
                for text in surfaces(caught.value):
                    assert server.key not in text
    assert server.key not in caplog.text


@pytest.mark.parametrize("case", KEYED, ids=str)
async def test_a_missing_key_names_its_variable(case: Case) -> None:
    backend = case.backend("http://127.0.0.1:1", "")
    if not backend.key_missing:
        pytest.skip("works without a key")
    async with Router([backend]) as router:
        with pytest.raises(NoBackendError, match=backend.default_key_env or "api_key_env"):
            await router.complete(case.model, "Hello")


@pytest.mark.parametrize("case", KEYED, ids=str)
async def test_a_wrong_key_is_refused_and_not_shown(case: Case) -> None:
    wrong = "wrong-0123456789-key-that-looks-like-nothing"
    async with case.emulator() as server, Router([case.backend(server.base_url, wrong)], retries=0) as router:
        with pytest.raises(AuthenticationError) as caught:
            await router.complete(case.model, "Hello")
    for text in surfaces(caught.value):
        assert wrong not in text
