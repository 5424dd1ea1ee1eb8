"""How the final error of a call reads."""

from __future__ import annotations

import pytest

from tests.llm.backends import backend, down
from xml_pipeline.errors import (
    AuthenticationError,
    BackendError,
    ConnectionFailedError,
    ContextWindowError,
    NoBackendError,
    OverloadedError,
)
from xml_pipeline.llm import PROVIDER_CLASSES, Router
from xml_pipeline.testing import run_in_virtual_time

# Everything down


def test_the_final_error_is_of_the_last_kind_and_tells_the_whole_story() -> None:
    async def main() -> None:
        router = Router(
            [backend("a", down("AuthenticationError")), backend("b", down("OverloadedError"))], retries=0
        )
        with pytest.raises(OverloadedError) as caught:
            await router.complete("m", "hello")
        error = caught.value
        assert isinstance(error, BackendError)
        assert [(one.backend, one.error) for one in error.attempts] == [
            ("a", "AuthenticationError"),
            ("b", "OverloadedError"),
        ]
        assert "after 2 tries" in str(error)
        with pytest.raises((AuthenticationError, OverloadedError), match="every backend is out"):
            await router.complete("m", "hello", timeout=0.5)

    run_in_virtual_time(main())


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("AuthenticationError", r"Check the key of backend a \(environment variable MY_KEY\)$"),
        ("QuotaExhaustedError", "Add credit to the account of backend a"),
        ("ModelNotFoundError", "Check the model's name"),
        ("RateLimitedError", "Set rate_limit_rpm and rate_limit_tpm of backend a"),
        ("MalformedAnswerError", "Check that base_url http://127.0.0.1:9/v1 of backend a is the address"),
        ("ConnectionFailedError", "Check that base_url http://127.0.0.1:9/v1 of backend a is right"),
    ],
)
async def test_the_final_error_says_what_to_do(name: str, what: str) -> None:
    failing = backend("a", down(name), base_url="http://127.0.0.1:9/v1", api_key_env="MY_KEY")
    with pytest.raises(BackendError, match=what):
        await Router([failing], retries=0).complete("m", "hello")


async def test_a_server_that_does_not_run_is_no_connection_and_says_where() -> None:
    nobody = PROVIDER_CLASSES["openai-compatible"](base_url="http://127.0.0.1:9/v1")
    async with Router([nobody], retries=0) as router:
        with pytest.raises(
            ConnectionFailedError, match=r"no connection to 127\.0\.0\.1:9: .*its server runs"
        ):
            await router.complete("m", "hello")


def test_a_closed_router_says_so() -> None:
    async def main() -> None:
        async with Router([backend("a")]) as router:
            await router.complete("m", "hello")
        with pytest.raises(NoBackendError, match="closed"):
            await router.complete("m", "hello")

    run_in_virtual_time(main())


def test_a_context_window_error_keeps_its_kind() -> None:
    async def main() -> None:
        with pytest.raises(ContextWindowError):
            await Router([backend("a", down("ContextWindowError"))]).complete("m", "hello")

    run_in_virtual_time(main())
