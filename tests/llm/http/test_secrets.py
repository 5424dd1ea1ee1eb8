"""Keys do not show themselves."""

from __future__ import annotations

import logging

import pytest

from xml_pipeline.keys import Secret
from xml_pipeline.llm import LLMRequest, LLMResponse, Router
from xml_pipeline.llm.http.backend import Backend
from xml_pipeline.llm.http.secrets import scrub

KEY = "sk-proj-Abc123def456"


def test_a_secret_is_used_but_not_shown() -> None:
    secret = Secret(KEY)
    assert f"Bearer {secret}" == f"Bearer {KEY}"
    assert KEY not in repr(secret)
    assert KEY not in repr([secret])
    assert repr(Secret("")) == "Secret('')"


@pytest.mark.parametrize(
    "text",
    [
        f"Incorrect API key provided: {KEY}.",
        "Incorrect API key provided: sk-proj-********f456. You can find your key at …",
        "xai-abcdefgh is not allowed",
        "key AIzaSyA1234567890 is invalid",
        f"url https://x?key={KEY}&b",
        "Authorization: Bearer abcdef123456",
    ],
)
def test_texts_of_providers_are_cleaned(text: str) -> None:
    cleaned = scrub(text, (KEY,))
    for part in (KEY, "sk-proj-", "xai-abc", "AIzaSy", "abcdef123456"):
        assert part not in cleaned
    assert scrub("plain words, task-list and risk-free", (KEY,)) == "plain words, task-list and risk-free"


def test_a_key_with_odd_characters_is_found_in_its_quoted_form_too() -> None:
    assert "a%2Fb%2Bc" not in scrub("GET /x?key=a%2Fb%2Bc", ("a/b+c",))


class Leaky(Backend):
    """Puts its key wherever it can."""

    offline = True

    def serves_model(self, model: str) -> bool:
        return True

    async def _do_completion(self, client: object, request: LLMRequest) -> LLMResponse:
        raise RuntimeError(f"failed with key {self.api_key}")


async def test_no_error_log_or_repr_shows_the_key(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    key = "plain-looking-key-0042"
    backend = Leaky(name="leaky", api_key=key)
    events: list[object] = []
    router = Router([backend], retries=0, on_event=events.append)
    with pytest.raises(Exception, match="RuntimeError") as caught:
        await router.complete("m", "hello")
    error = caught.value
    assert key not in f"{error} {error!r} {error.__cause__!r} {backend!r} {router!r} {router.describe()}"
    assert key not in caplog.text
    assert key not in repr(events)
    assert key not in repr(vars(error))
