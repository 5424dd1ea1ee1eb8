"""What a listener answers: what its handler's return annotation says, or what is said of it."""

from __future__ import annotations

from collections.abc import Awaitable, Coroutine, Sequence
from functools import partial
from typing import Annotated, Any, TypeAlias

import pytest

from tests.pump.scenes import Answer, Go, Note, Question
from xml_pipeline import (
    ConfigError,
    Gathered,
    HandlerMetadata,
    HandlerResponse,
    Huh,
    Keep,
    Organism,
    SystemError,
)
from xml_pipeline.agents import Answer as Text
from xml_pipeline.agents import Task
from xml_pipeline.pump import GatherResponse, Listener, listener

Noted: TypeAlias = HandlerResponse[Note]


def returning(annotation: Any) -> Listener:
    async def handler(payload: Go, metadata: HandlerMetadata) -> Any: ...

    handler.__annotations__["return"] = annotation
    return listener("it", handler)


@pytest.mark.parametrize(
    ("annotation", "answers"),
    [
        (HandlerResponse[Note], (Note,)),
        (HandlerResponse[Note | Answer], (Note, Answer)),
        (HandlerResponse[Note] | None, (Note,)),
        (HandlerResponse[Note] | HandlerResponse[Answer], (Note, Answer)),
        (list[HandlerResponse[Note]], (Note,)),
        (list[HandlerResponse[Note]] | GatherResponse | HandlerResponse[Note] | None, (Note,)),
        (Sequence[HandlerResponse[Note] | GatherResponse], (Note,)),
        (tuple[HandlerResponse[Note], ...], (Note,)),
        (tuple[HandlerResponse[Note], HandlerResponse[Answer]], (Note, Answer)),
        (Awaitable[HandlerResponse[Note]], (Note,)),
        (Coroutine[Any, Any, HandlerResponse[Note]], (Note,)),
        (Annotated[HandlerResponse[Annotated[Note, "what for"]], 3], (Note,)),
        (Keep[Question, Note], (Note,)),
        (Keep[Question, Note] | HandlerResponse[Answer], (Note, Answer)),
        (HandlerResponse[Note | SystemError | Huh], (Note,)),
        (HandlerResponse[SystemError], ()),
        ("HandlerResponse[Note]", (Note,)),
        ("Noted", (Note,)),
        (HandlerResponse["Note"], (Note,)),  # type: ignore[type-var, unused-ignore]
        (list["Noted | None"], (Note,)),
    ],
    ids=str,
)
def test_what_stands_in_the_brackets_is_what_it_answers(annotation: Any, answers: tuple[type, ...]) -> None:
    assert returning(annotation).answers == answers


@pytest.mark.parametrize(
    "annotation",
    [
        HandlerResponse,
        HandlerResponse[Any],
        HandlerResponse[Note] | HandlerResponse,
        list[HandlerResponse],
        list,
        HandlerResponse[Note] | str,
        HandlerResponse[Note] | Keep[Question],
        Keep[Question],
        Keep,
        GatherResponse,
        None,
        Any,
        int,
    ],
    ids=str,
)
def test_a_promise_that_does_not_hold_for_all_that_is_returned_is_none(annotation: Any) -> None:
    assert returning(annotation).answers is None


def test_a_handler_without_an_annotation_declares_nothing() -> None:
    def handler(payload: Go, metadata: HandlerMetadata):  # type: ignore[no-untyped-def]
        ...

    assert listener("it", handler).answers is None


def test_objects_parts_and_local_classes_are_read_too() -> None:
    class Clerk:
        async def __call__(self, payload: Go, metadata: HandlerMetadata) -> HandlerResponse[Note]: ...

        async def method(self, payload: Go, metadata: HandlerMetadata) -> HandlerResponse[Note]: ...

    def more(payload: Go, metadata: HandlerMetadata, extra: int = 0) -> HandlerResponse[Note]: ...

    Local = Note
    organism = Organism.build()

    @organism.listener
    async def local(payload: Go, metadata: HandlerMetadata) -> HandlerResponse[Local]: ...

    for each in (Clerk(), Clerk().method, partial(more, extra=1)):
        assert listener("it", each).answers == (Note,)
    assert organism.listeners["local"].answers == (Note,)


def test_what_is_said_of_it_goes_before_its_annotation() -> None:
    async def handler(payload: Go, metadata: HandlerMetadata) -> HandlerResponse[Note]: ...

    async def unreadable(payload: Go, metadata: HandlerMetadata) -> Nowhere: ...  # type: ignore[name-defined] # noqa: F821

    assert listener("it", handler, answers=Answer).answers == (Answer,)
    assert listener("it", handler, answers=[Answer, Note]).answers == (Answer, Note)
    assert listener("it", handler, answers=iter([Answer])).answers == (Answer,)
    assert listener("it", unreadable, answers=Answer).answers == (Answer,)
    with pytest.raises(ConfigError, match="'Nowhere' of 'it' cannot be resolved"):
        listener("it", unreadable)


class Plain:
    """No payload."""


@pytest.mark.parametrize(
    ("answers", "says"),
    [
        (int, "listener 'it' answers int, which is no payload class: decorate it with @xmlify"),
        ([Note, Plain], "answers Plain, which is no payload class"),
        ((), "answers no payload class; name at least one, or leave it out"),
        (Gathered, "answers Gathered, which only the system sends"),
        ([Text, Answer], "answers two classes named Answer; rename one of them"),
    ],
)
def test_what_nobody_can_answer_is_refused(answers: Any, says: str) -> None:
    async def handler(payload: Go, metadata: HandlerMetadata) -> None: ...

    with pytest.raises(ConfigError, match=says):
        listener("it", handler, answers=answers)
    organism = Organism.build()
    with pytest.raises(ConfigError, match=says.replace("'it'", "'anna'")):
        organism.human("anna", answers=answers)


def test_an_annotation_that_names_no_payload_is_refused() -> None:
    with pytest.raises(ConfigError, match="answers int, which is no payload class"):
        returning(HandlerResponse[int])


def test_a_person_takes_tasks_and_answers_in_text_if_nothing_else_is_said() -> None:
    organism = Organism.build()
    organism.human("anna")
    organism.human("boss", accepts=Question, answers=[Note, Answer])
    anna, boss = organism.listeners["anna"], organism.listeners["boss"]
    assert (list(anna.accepts), anna.answers) == (["Task"], (Text,))
    assert anna.accepts["Task"].cls is Task
    assert (list(boss.accepts), boss.answers) == (["Question"], (Note, Answer))
