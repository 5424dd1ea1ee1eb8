"""What a handler's signature says of its listener."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any

import pytest

from tests.pump.scenes import Answer, Go, Note, Question
from xml_pipeline import ConfigError, HandlerMetadata
from xml_pipeline.payload import codec_of
from xml_pipeline.pump import Listener, listener
from xml_pipeline.pump.instructions import usage_instructions


async def plain(payload: Question, metadata: HandlerMetadata) -> None:
    """What it is for."""


def test_a_listener_is_what_its_handler_says_and_nothing_more() -> None:
    made = listener("it", plain)
    bare = Listener("it", plain, {"Question": codec_of(Question)}, description="What it is for.")
    for each in dataclasses.fields(Listener):
        assert getattr(made, each.name) == getattr(bare, each.name), each.name
    assert bare.is_async
    assert bare.handles == {"Question"}
    assert (bare.peers, bare.agent, bare.broadcast, bare.cpu_bound, bare.human) == (
        (),
        False,
        False,
        False,
        False,
    )
    assert (bare.timeout_seconds, bare.max_concurrent, bare.state) == (None, None, None)
    assert (bare.remembers, bare.keep) == ("session", 100)


def test_annotations_may_say_more_than_the_class() -> None:
    async def one(payload: Annotated[Question, "what for", 3], metadata: HandlerMetadata) -> None: ...

    async def several(
        payload: Annotated[Question | Annotated[Go, "begin"], "either"] | Note, metadata: HandlerMetadata
    ) -> None: ...

    assert list(listener("it", one).accepts) == ["Question"]
    assert list(listener("it", several).accepts) == ["Question", "Go", "Note"]


def test_a_third_parameter_is_a_state_if_it_looks_like_one() -> None:
    async def kept(
        payload: Go, metadata: HandlerMetadata, state: Annotated[Note, "its own"] | None
    ) -> None: ...

    async def own_business(payload: Go, metadata: HandlerMetadata, retries: int = 3) -> None: ...

    async def unannotated(payload: Go, metadata: HandlerMetadata, anything=None) -> None: ...  # type: ignore[no-untyped-def]

    async def by_default(payload: Go, metadata: HandlerMetadata, state: Note | None = None) -> None: ...

    async def named_only(payload: Go, metadata: HandlerMetadata, *, state: Note | None = None) -> None: ...

    async def of_two(payload: Go, metadata: HandlerMetadata, state: Note | Answer) -> None: ...

    assert listener("it", kept).state is Note
    assert listener("it", by_default).state is Note
    for handler in (own_business, unannotated, named_only):
        assert listener("it", handler).state is None
    with pytest.raises(ConfigError, match="its third parameter 'state' can only be its state"):
        listener("it", of_two)


@pytest.mark.parametrize("name", ["outside", "system", "", "9lives", "a b", "x" * 101, "ä"])
def test_a_name_that_stands_for_something_else_is_refused(name: str) -> None:
    with pytest.raises(ConfigError):
        listener(name, plain)


@pytest.mark.parametrize("name", ["x" * 100, "_", "a.b-c_9"])
def test_a_name_may_be(name: str) -> None:
    assert listener(name, plain).name == name


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"keep": 0}, "keep of 'it' is 0"),
        ({"keep": 1.5}, "keep"),
        ({"max_concurrent": 0}, "max_concurrent of 'it' is 0"),
        ({"timeout_seconds": 0}, "timeout_seconds of 'it' is 0"),
        ({"timeout_seconds": float("nan")}, "timeout_seconds"),
        ({"peers": "other"}, "a list of listeners' names"),
        ({"peers": iter(["other"])}, "a list of listeners' names"),
        ({"peers": ["other", 3]}, "a list of listeners' names"),
        ({"remembers": "for ever"}, "allowed: session, conversation"),
        ({"peer": ["other"]}, "unknown peer; there are accepts"),
        ({"accepts": []}, "accepts no payload class"),
        ({"accepts": [int]}, "accepts int, which is no payload class"),
    ],
)
def test_an_option_that_means_nothing_is_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        listener("it", plain, **options)


def test_the_smallest_options_are_taken() -> None:
    made = listener("it", plain, keep=1, max_concurrent=1, timeout_seconds=0.001, peers=["a", "b", "a"])
    assert (made.keep, made.max_concurrent, made.timeout_seconds) == (1, 1, 0.001)
    assert made.peers == ("a", "b")


def test_a_handler_without_a_readable_signature_is_taken_at_its_users_word() -> None:
    assert list(listener("it", max, accepts=[Question]).accepts) == ["Question"]
    with pytest.raises(ConfigError, match="does not say what it accepts"):
        listener("it", max)


def test_an_agent_is_told_of_the_peers_that_there_are() -> None:
    agent = listener("bot", plain, agent=True, peers=["known", "unknown"])
    known = listener("known", plain)
    text = usage_instructions(agent, {"bot": agent, "known": known})
    assert "## known\nWhat it is for." in text
    assert "<Question>" in text
    assert "unknown" not in text
    assert usage_instructions(agent, {"bot": agent}) == ""
