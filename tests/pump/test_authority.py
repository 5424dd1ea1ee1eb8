"""Who may address whom. Whatever is not declared is refused, and the refusal tells nothing."""

from __future__ import annotations

from typing import Any

import pytest

from tests.pump.scenes import (
    Answer,
    Go,
    Note,
    Question,
    at_rest,
    call,
    delegate,
    echo,
    gather,
    respond,
    virtual,
)
from xml_pipeline import AnswerError, Gathered, HandlerMetadata, Huh, Organism, SystemError
from xml_pipeline.envelope import Heading, Message, codec_for
from xml_pipeline.errors import ConfigError, PayloadError, RoutingError


async def refusal(peers: list[str], to: str | None, way: Any = call) -> SystemError:
    """What a listener with these peers is told when it sends a Question to `to`."""
    organism = Organism.build()

    @organism.listener(peers=peers, hands_over_to=peers)
    async def sender(payload: Go | SystemError, metadata: HandlerMetadata) -> Any:
        if isinstance(payload, SystemError):
            told.append(payload)
            return respond(Note("the thread lives on"))
        return way(Question("x"), to=to)

    told: list[SystemError] = []
    organism.listener(_unreachable, name="hidden")
    organism.listener(echo, name="other")
    async with organism:
        assert await organism.ask("sender", Go()) == Note("the thread lives on")
        assert at_rest(organism)
    (error,) = told
    return error


async def _unreachable(payload: Question, metadata: HandlerMetadata) -> Any:
    raise AssertionError("a message passed that may not")


@pytest.mark.parametrize("way", [call, delegate])
@pytest.mark.parametrize("peers", [[], ["other"]])
@virtual
async def test_undeclared_and_unknown_peers_are_refused_with_the_same_text(
    peers: list[str], way: Any
) -> None:
    existing = await refusal(peers, "hidden", way)
    unknown = await refusal(peers, "does_not_exist", way)
    outside = await refusal(peers, "console", way)
    system = await refusal(peers, "system", way)
    empty = await refusal(peers, "", way)
    assert existing == unknown == outside == system == empty
    assert existing.code == "routing"
    assert "hidden" not in existing.message
    assert "other" not in existing.message


@virtual
async def test_a_class_that_an_undeclared_peer_would_not_take_tells_no_more() -> None:
    organism = Organism.build()

    @organism.listener(peers=[])
    async def sender(payload: Go, metadata: HandlerMetadata) -> Any:
        return call(Note("x"), to="hidden")

    organism.listener(_unreachable, name="hidden")
    async with organism:
        with pytest.raises(AnswerError) as error:
            await organism.ask("sender", Go())
    assert error.value.answer == await refusal([], "hidden")


@virtual
async def test_a_callee_may_not_call_back_into_others_of_the_conversation() -> None:
    organism = Organism.build()

    @organism.listener(peers=["middle"])
    async def top(payload: Go | Note, metadata: HandlerMetadata) -> Any:
        return call(Question("x"), to="middle") if isinstance(payload, Go) else respond(payload)

    @organism.listener(peers=["bottom"])
    async def middle(payload: Question, metadata: HandlerMetadata) -> Any:
        return call(payload, to="bottom")

    @organism.listener
    async def bottom(payload: Question | SystemError, metadata: HandlerMetadata) -> Any:
        if isinstance(payload, SystemError):
            return respond(Note(payload.code))
        return call(Go(), to="top")  # its caller's caller, which it may not know

    async with organism:
        assert await organism.ask("top", Go()) == Note("routing")


@virtual
async def test_a_handler_sets_neither_sender_nor_thread() -> None:
    seen: list[HandlerMetadata] = []
    forged = (
        '<message xmlns="https://xml-pipeline.org/ns/envelope/v1"><meta><from>boss</from><to>helper</to>'
        "<thread>00000000-0000-4000-8000-000000000000</thread></meta>"
        '<Question xmlns=""><text>x</text></Question></message>'
    )
    for returned in (forged, forged.encode()):
        organism = Organism.build()

        @organism.listener(peers=["helper"])
        async def sly(payload: Go, metadata: HandlerMetadata, returned: Any = returned) -> Any:
            return returned

        @organism.listener
        async def helper(payload: Question, metadata: HandlerMetadata) -> Any:
            seen.append(metadata)
            return respond(Answer("ok"))

        organism.listener(_unreachable, name="boss")
        async with organism:
            assert await organism.ask("sly", Go()) == Answer("ok")
    assert [metadata.from_id for metadata in seen] == ["sly", "sly"]
    assert all(not metadata.thread_id.startswith("00000000") for metadata in seen)


@virtual
async def test_a_text_reaches_no_listener_that_is_no_peer() -> None:
    organism = Organism.build()

    @organism.listener(peers=[])
    async def sly(payload: Go, metadata: HandlerMetadata) -> Any:
        return (
            '<message xmlns="https://xml-pipeline.org/ns/envelope/v1"><meta><from>sly</from><to>hidden</to>'
            "</meta><Question xmlns=''><text>x</text></Question></message>"
        )

    organism.listener(_unreachable, name="hidden")
    async with organism:
        with pytest.raises(AnswerError) as error:
            await organism.ask("sly", Go())
    assert error.value.answer == await refusal([], "hidden")


@virtual
async def test_a_gather_reaches_no_listener_that_is_no_peer() -> None:
    organism = Organism.build()

    @organism.listener(peers=["other"])
    async def sender(payload: Go | Gathered, metadata: HandlerMetadata) -> Any:
        if isinstance(payload, Gathered):
            assert [answer.code for answer in payload.answers] == ["routing", "routing"]
            assert payload.answers[0] == payload.answers[1]
            return respond(Note("refused"))
        return gather([call(Question("x"), to="hidden"), call(Question("x"), to="unknown")])

    organism.listener(_unreachable, name="hidden")
    organism.listener(echo, name="other")
    async with organism:
        assert await organism.ask("sender", Go()) == Note("refused")


@pytest.mark.parametrize("sender", ["hidden", "system", "", "a b", "<x>", "x" * 200])
@virtual
async def test_the_outside_passes_for_nobody_else(sender: str) -> None:
    organism = Organism.build()
    organism.listener(_unreachable, name="hidden")
    async with organism:
        for door in (organism.ask, organism.send):
            with pytest.raises(RoutingError):
                await door("hidden", Question("x"), sender=sender)
        with pytest.raises(RoutingError):
            organism.session(sender)


@virtual
async def test_the_outside_is_told_what_there_is() -> None:
    organism = Organism.build()
    organism.listener(echo, name="shouter")
    async with organism:
        with pytest.raises(RoutingError, match="did you mean 'shouter'"):
            await organism.ask("shuoter", Question("x"))
        with pytest.raises(RoutingError, match="takes Question"):
            await organism.ask("shouter", Note())
        with pytest.raises(RoutingError, match="an instance of Question"):
            await organism.ask("shouter", "plain text")
        with pytest.raises(PayloadError, match="text"):
            await organism.ask("shouter", Question(5))  # type: ignore[arg-type]
        assert at_rest(organism)


def takes_everything(organism: Organism, seen: list[object]) -> None:
    @organism.listener
    async def victim(payload: Question | SystemError | Huh | Gathered, metadata: HandlerMetadata) -> Any:
        seen.append(payload)
        return respond(Answer("taken"))


FORGED = {"SystemError": SystemError("handler", "forged"), "huh": Huh("forged"), "Gathered": Gathered(())}


@pytest.mark.parametrize("forged", FORGED)
@virtual
async def test_the_outside_sends_no_message_of_the_system(forged: str) -> None:
    organism = Organism.build()
    seen: list[object] = []
    takes_everything(organism, seen)
    async with organism:
        for door in (organism.ask, organism.send, organism.session().ask):
            with pytest.raises(
                RoutingError, match=f"{forged} is a message of the system.*'victim' takes Question"
            ):
                await door("victim", FORGED[forged])
        heading = Heading("me", "victim", "2f1c0000-0000-4000-8000-0123456789ab", "id")
        envelope = Message.sealed(heading, FORGED[forged], *[codec_for(FORGED[forged])] * 2)
        with pytest.raises(RoutingError, match=f"{forged} is a message of the system"):
            await organism.exchange(envelope.data)
        assert await organism.ask("victim", Question("honest")) == Answer("taken")
        assert seen == [Question("honest")]
        assert at_rest(organism)


@pytest.mark.parametrize("way", ["call", "unaddressed", "delegate", "gather", "itself", "text"])
@pytest.mark.parametrize("forged", ["SystemError", "huh"])
@virtual
async def test_no_peer_sends_a_message_of_the_system(way: str, forged: str) -> None:
    organism = Organism.build()
    seen: list[object] = []
    takes_everything(organism, seen)
    forgery = FORGED[forged]

    @organism.listener(peers=["victim"], hands_over_to=["victim"])
    async def forger(payload: Go | Huh | SystemError | Gathered | Answer, metadata: HandlerMetadata) -> Any:
        if isinstance(payload, Huh | Gathered | SystemError):
            assert "forged" not in repr(payload)
            return respond(Note("refused"))
        match way:
            case "call":
                return call(forgery, to="victim")
            case "unaddressed":
                return call(forgery)
            case "delegate":
                return delegate(forgery, to="victim")
            case "gather":
                return gather([call(forgery, to="victim")])
            case "itself":
                return call(forgery, to="forger")
            case _:
                return f'<call to="victim"><{forged}><message>forged</message></{forged}></call>'

    async with organism:
        assert await organism.ask("forger", Go(), timeout=10) == Note("refused")
        assert seen == []
        assert at_rest(organism)


@virtual
async def test_a_handler_may_answer_with_an_error_of_its_own() -> None:
    organism = Organism.build()

    @organism.listener
    async def refusing(payload: Question, metadata: HandlerMetadata) -> Any:
        return respond(SystemError("handler", "not today"))

    async with organism:
        with pytest.raises(AnswerError, match="not today"):
            await organism.ask("refusing", Question("x"))


@virtual
async def test_a_peer_that_does_not_exist_is_found_at_the_start() -> None:
    organism = Organism.build(default="nobody")
    organism.listener(echo, peers=["ecko"])
    with pytest.raises(ConfigError) as error:
        await organism.start()
    assert len(error.value.problems) == 2
    assert "did you mean 'echo'" in str(error.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"peers": "other"}, "peers"),
        ({"peers": [5]}, "peers"),
        ({"timeout_seconds": 0}, "timeout_seconds"),
        ({"timeout_seconds": -1}, "timeout_seconds"),
        ({"timeout_seconds": float("nan")}, "timeout_seconds"),
        ({"max_concurrent": 0}, "max_concurrent"),
        ({"max_concurrent": -3}, "max_concurrent"),
        ({"max_concurrent": 1.5}, "max_concurrent"),
        ({"name": "a b"}, "a b"),
        ({"name": "system"}, "system"),
        ({"accepts": [int]}, "int"),
        ({"accepts": []}, "accepts"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_listener_that_cannot_be_is_refused(options: dict[str, Any], said: str) -> None:
    organism = Organism.build()
    with pytest.raises(ConfigError, match=said):
        organism.listener(echo, **options)


def test_a_listener_that_accepts_one_class_may_name_it_without_a_list() -> None:
    organism = Organism.build()
    organism.listener(lambda payload, metadata: None, name="one", accepts=Question)
    assert list(organism.listeners["one"].accepts) == ["Question"]


@pytest.mark.parametrize("reserved", ["SystemError", "huh", "Gathered"])
def test_no_class_may_pass_for_a_message_of_the_system(reserved: str) -> None:
    from dataclasses import dataclass

    from xml_pipeline import xmlify

    @xmlify(name=reserved)
    @dataclass
    class Impostor:
        text: str = ""

    with pytest.raises(ConfigError, match=reserved):
        Organism.build().listener(lambda payload, metadata: None, name="fooled", accepts=[Impostor])


def test_two_classes_of_one_name_are_refused() -> None:
    from dataclasses import dataclass

    from xml_pipeline import xmlify

    @xmlify(name="Question")
    @dataclass
    class Other:
        text: str = ""

    with pytest.raises(ConfigError, match="two classes named Question"):
        Organism.build().listener(lambda payload, metadata: None, name="twice", accepts=[Question, Other])
