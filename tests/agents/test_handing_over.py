"""A model hands its task over for good: as it came, or in what it writes; and what becomes of what it may not."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any

import pytest
from pydantic import Field

from xml_pipeline import (
    AnswerError,
    Approval,
    Gathered,
    HandlerMetadata,
    HandlerResponse,
    SystemError,
    xmlify,
)
from xml_pipeline.agents import Answer, Task, Toolbox
from xml_pipeline.events import MessageDelivered
from xml_pipeline.llm import LLMRequest, LLMResponse, ToolCall
from xml_pipeline.pump import ConversationLimits
from xml_pipeline.testing import Recorder

from .scenes import Add, Note, Scene, calls, virtual

OVER = ToolCall.of("h1", "hand_over_to_desk", {})
OVER_XML = '<call to="hand_over_to_desk"><HandOver/></call>'
OVER_WORDS = '<tool_call>{"name": "hand_over_to_desk", "arguments": {}}</tool_call>'
ADD = ToolCall.of("c1", "calculator_add", {"a": 2, "b": 40})
ADD_XML = '<call to="calculator.add"><Add><a>2</a><b>40</b></Add></call>'
WAYS: dict[str, tuple[dict[str, Any], Any, Any]] = {
    "native": ({"calls": "native"}, OVER, ADD),
    "xml": ({"calls": "xml"}, f"Not mine.\n{OVER_XML}", ADD_XML),
    "emulated": (
        {"calls": "native", "native_tools": False},
        OVER_WORDS,
        '<tool_call>{"name": "calculator_add", "arguments": {"a": 2, "b": 40}}</tool_call>',
    ),
}
NOTE = Note("7 < 8 & so on\n</Note>", ["a", ""])


def desk(scene: Scene, *accepts: type, name: str = "desk", says: str = "From the desk.") -> list[Any]:
    """A listener that takes tasks over; what it got."""
    got: list[Any] = []

    async def take(payload: Any, metadata: HandlerMetadata) -> HandlerResponse:
        got.append(payload)
        return HandlerResponse.respond(Answer(says))

    scene.organism.listener(
        take, name=name, accepts=accepts, answers=Answer, description="Takes what is left."
    )
    return got


def over_scene(
    *lines: Any,
    accepts: Iterable[type] = (Task,),
    peers: Iterable[str] = ("calculator.add",),
    hands_over_to: Iterable[str] = ("desk",),
    **settings: Any,
) -> Scene:
    return Scene(*lines, accepts=accepts, peers=peers, hands_over_to=hands_over_to, **settings)


async def asked(scene: Scene, payload: Any, **options: Any) -> Any:
    async with scene.organism:
        return await scene.organism.ask("bot", payload, **options)


@pytest.mark.parametrize("way", WAYS)
@virtual
async def test_a_task_goes_on_as_it_came_and_its_caller_gets_the_other_one_s_answer(way: str) -> None:
    settings, over, _ = WAYS[way]
    scene = over_scene(over, accepts=[Note], **settings)
    got = desk(scene, Note)
    assert await asked(scene, NOTE) == Answer("From the desk.")
    assert got == [NOTE]
    assert len(scene.model.requests) == 1
    assert scene.open_tasks() == 0


@pytest.mark.parametrize("arguments", ["", "{}", " {} "])
@virtual
async def test_what_a_server_makes_of_no_arguments_is_no_mistake(arguments: str) -> None:
    scene = over_scene(ToolCall("h1", "hand_over_to_desk", arguments))
    got = desk(scene, Task)
    assert await scene.ask("mine") == Answer("From the desk.")
    assert got == [Task("mine")]


@pytest.mark.parametrize("way", WAYS)
@virtual
async def test_a_task_goes_on_as_it_came_after_peers_were_called(way: str) -> None:
    settings, over, add = WAYS[way]
    scene = over_scene(add, over, accepts=[Note], **settings)
    got = desk(scene, Note)
    assert await asked(scene, NOTE) == Answer("From the desk.")
    assert got == [NOTE]
    assert "42" in scene.model.seen()


@pytest.mark.parametrize(
    ("settings", "over"),
    [
        ({}, ToolCall.of("h1", "hand_over_to_desk", {"a": 1, "b": 2})),
        ({"calls": "xml"}, '<call to="hand_over_to_desk"><Add><a>1</a><b>2</b></Add></call>'),
    ],
)
@virtual
async def test_where_the_target_does_not_take_the_task_the_model_writes_what_it_gets(
    settings: dict[str, Any], over: Any
) -> None:
    scene = over_scene(over, peers=(), **settings)
    got = desk(scene, Add)
    assert await asked(scene, Task("1 + 2")) == Answer("From the desk.")
    assert got == [Add(1, 2)]


@virtual
async def test_a_target_that_takes_some_of_the_tasks_gets_those_as_they_came() -> None:
    """The prompt is one for all tasks, so there are both tools, and each is refused for the tasks of the other."""
    written = ToolCall.of("h2", "hand_over_to_desk-Add", {"a": 1, "b": 2})
    for task, lines, taken in (
        (NOTE, [OVER], NOTE),
        (NOTE, [written, OVER], NOTE),
        (Task("1 + 2"), [written], Add(1, 2)),
        (Task("1 + 2"), [OVER, written], Add(1, 2)),
    ):
        scene = over_scene(*lines, accepts=[Task, Note])
        got = desk(scene, Note, Add)
        assert await asked(scene, task) == Answer("From the desk.")
        assert got == [taken]
        names = [tool.name for tool in scene.model.last.tools]
        assert names == [
            "calculator_add", "hand_over_to_desk", "hand_over_to_desk-Note", "hand_over_to_desk-Add",
        ]  # fmt: skip
        assert "tasks of the kind Note" in scene.model.last.tools[1].description
        assert "tasks of the kind Task" in scene.model.last.tools[3].description
        if len(lines) == 2:
            assert "is not for this task" in scene.model.seen()


@pytest.mark.parametrize(
    "answer",
    [
        [ADD, OVER],
        [OVER, ADD],
        [OVER, ToolCall.of("h2", "hand_over_to_other", {})],
        [OVER, ToolCall.of("c9", "nobody", {})],
    ],
)
@virtual
async def test_nothing_is_done_of_an_answer_that_hands_over_and_does_more(answer: list[ToolCall]) -> None:
    scene = over_scene(answer, "I do it myself.", hands_over_to=["desk", "other"])
    got = [desk(scene, Task), desk(scene, Task, name="other")]
    recorder = Recorder(scene.organism)
    assert await scene.ask() == Answer("I do it myself.")
    assert got == [[], []]
    assert not [each for each in recorder.of(MessageDelivered) if each.to == "calculator.add"]
    results = scene.model.last.messages[-2:]
    assert all(each["is_error"] for each in results)
    assert "only call of an answer" in scene.model.seen()
    if ADD in answer:
        assert "was not made, because this answer hands the task over too" in scene.model.seen()


@virtual
async def test_in_text_too_a_hand_over_stands_alone() -> None:
    scene = over_scene(ADD_XML + OVER_XML, OVER_XML, calls="xml")
    got = desk(scene, Task)
    assert await scene.ask("mine") == Answer("From the desk.")
    assert got == [Task("mine")]
    assert "42" not in scene.model.seen()


@virtual
async def test_text_beside_a_hand_over_is_nobody_s_answer() -> None:
    scene = over_scene(calls(OVER, text="The answer is 7, surely."))
    desk(scene, Task)
    assert await scene.ask() == Answer("From the desk.")


@virtual
async def test_a_hand_over_with_broken_arguments_is_told_and_mended() -> None:
    bad, good = (ToolCall.of("h", "hand_over_to_desk", {"a": 1, "b": b}) for b in (5000, 2))
    scene = over_scene(bad, good, peers=())
    got = desk(scene, Add)
    assert await scene.ask() == Answer("From the desk.")
    assert got == [Add(1, 2)]
    assert "1000" in scene.model.seen()


@pytest.mark.parametrize("way", WAYS)
@virtual
async def test_a_loop_of_hand_overs_ends_with_limit(way: str) -> None:
    settings, over, _ = WAYS[way]

    def pass_on(request: LLMRequest) -> str | LLMResponse:
        other = "desk" if request.agent == "bot" else "bot"
        if isinstance(over, ToolCall):
            return calls(ToolCall.of("h", f"hand_over_to_{other}", {}))
        return str(over).replace("_desk", f"_{other}")

    scene = over_scene(pass_on, peers=(), max_turns=2, **settings)
    scene.agent("desk", hands_over_to=["bot"], max_turns=2, calls=settings["calls"])
    recorder = Recorder(scene.organism)
    with pytest.raises(AnswerError) as caught:
        await scene.ask("nobody's")
    assert caught.value.code == "limit"
    tasks = [each for each in recorder.of(MessageDelivered) if each.to in ("bot", "desk")]
    assert sum(each.from_id != "system" for each in tasks) == 9  # the call, and eight hand-overs of it
    assert "handed over 8 times already" in scene.model.seen()


@pytest.mark.parametrize("way", WAYS)
@virtual
async def test_a_refused_hand_over_is_a_result_and_the_model_goes_on(way: str) -> None:
    settings, over, add = WAYS[way]
    scene = over_scene(over, add, "It is 42.", limits=ConversationLimits(handovers=1), **settings)
    got = desk(scene, Task)

    async def front(payload: Task, metadata: HandlerMetadata) -> HandlerResponse:
        return HandlerResponse.delegate(payload, to="bot")

    scene.organism.listener(front, hands_over_to=["bot"])
    async with scene.organism, scene.organism.session() as session:
        assert await session.ask("front", Task("2 + 40")) == Answer("It is 42.")
        assert got == []
        assert "handed over 1 times already" in scene.model.seen()
        assert "42" in scene.model.seen()
        assert len(scene.memories()) == 1  # the answered task, once


@pytest.mark.parametrize("way", WAYS)
@virtual
async def test_a_hand_over_inside_a_gather_answers_its_own_call(way: str) -> None:
    settings, over, _ = WAYS[way]

    def odd(request: LLMRequest) -> str | LLMResponse:
        mine = "keep" in str(request.messages[-1]["content"])
        return "kept" if mine else calls(over) if isinstance(over, ToolCall) else over

    scene = over_scene(odd, **settings)
    got = desk(scene, Task)

    async def boss(payload: Task | Gathered, metadata: HandlerMetadata) -> Any:
        if isinstance(payload, Gathered):
            return HandlerResponse.respond(Answer("; ".join(each.text for each in payload.answers)))
        tasks = ["keep 1", "give 2", "keep 3", "give 4"]
        return HandlerResponse.gather(HandlerResponse(Task(text), to="bot") for text in tasks)

    scene.organism.listener(boss, peers=["bot"])
    async with scene.organism:
        answer = await scene.organism.ask("boss", Task("go"))
    assert answer == Answer("kept; From the desk.; kept; From the desk.")
    assert sorted(each.text for each in got) == ["give 2", "give 4"]


@virtual
async def test_a_person_may_take_over() -> None:
    scene = over_scene(ToolCall.of("h", "hand_over_to_anna", {}), hands_over_to=["anna"])
    scene.organism.human("anna", accepts=Task, answers=Answer)
    async with scene.organism:
        asked = asyncio.create_task(scene.organism.ask("bot", Task("a refund?")))
        await asyncio.sleep(600)
        (question,) = scene.organism.questions()
        assert (question.listener, question.payload) == ("anna", Task("a refund?"))
        scene.organism.answer(question.thread_id, Answer("granted"))
        assert await asked == Answer("granted")


@pytest.mark.parametrize("granted", [True, False])
@virtual
async def test_a_hand_over_that_a_person_has_to_approve_waits_for_that(granted: bool) -> None:
    scene = over_scene(OVER)

    async def take(payload: Task, metadata: HandlerMetadata) -> HandlerResponse:
        return HandlerResponse.respond(Answer("From the desk."))

    scene.organism.listener(take, name="desk", approve="anna")
    scene.organism.human("anna", accepts=Task, answers=Answer)
    async with scene.organism:
        asked = asyncio.create_task(scene.organism.ask("bot", Task("a refund?")))
        await asyncio.sleep(600)
        (question,) = scene.organism.questions()
        assert question.payload == Task("a refund?")
        scene.organism.answer(question.thread_id, Approval(granted))
        if granted:
            assert await asked == Answer("From the desk.")
        else:
            with pytest.raises(AnswerError) as caught:
                await asked
            assert caught.value.code == "refused"
    assert len(scene.model.requests) == 1


@pytest.mark.parametrize("way", WAYS)
@virtual
async def test_an_agent_remembers_that_it_handed_a_task_over_and_to_whom(way: str) -> None:
    settings, over, _ = WAYS[way]
    scene = over_scene(over, "That was for the desk.", **settings)
    desk(scene, Task)
    async with scene.organism, scene.organism.session() as session:
        assert await session.ask("bot", Task("my invoice")) == Answer("From the desk.")
        assert await session.ask("bot", Task("and now?")) == Answer("That was for the desk.")
    seen = scene.model.seen()
    assert (
        seen.index("my invoice") < seen.index("handed over to desk, who answers it") < seen.index("and now?")
    )
    assert "From the desk." not in seen


@pytest.mark.parametrize("memory", ["call", "none"])
@virtual
async def test_an_agent_that_remembers_nothing_remembers_no_hand_over(memory: str) -> None:
    scene = over_scene(OVER, "ok", memory=memory)
    desk(scene, Task)
    async with scene.organism, scene.organism.session() as session:
        await session.ask("bot", Task("my invoice"))
        await session.ask("bot", Task("and now?"))
    assert "my invoice" not in scene.model.seen()


@virtual
async def test_a_peer_that_takes_over_too_is_called_or_takes_over_as_the_model_says() -> None:
    by_name = ToolCall.of("c", "desk", {"text": "what do you think?"})
    scene = over_scene(by_name, OVER, peers=["desk"])
    got = desk(scene, Task)
    assert await scene.ask("mine") == Answer("From the desk.")
    assert got == [Task("what do you think?"), Task("mine")]


@virtual
async def test_the_name_of_a_target_alone_hands_nothing_over() -> None:
    for line in (ToolCall.of("c", "desk", {"text": "x"}), ToolCall.of("c", "Task", {"text": "x"})):
        scene = over_scene(line, "done")
        got = desk(scene, Task)
        assert await scene.ask() == Answer("done")
        assert got == []
        assert "hand_over_to_desk" in scene.model.seen()


IN_TEXT = {
    '<call to="desk"><Task><text>x</text></Task></call>': "the call to 'desk' holds no payload",
    "<HandOver/>": "say to whom it is handed over",
    "<hand_over_to_desk/>": "in a notation that nobody reads",
    '<call to="hand_over_to_desk"><Add><a>1</a><b>2</b></Add></call>': "is not what 'hand_over_to_desk' takes",
    'Sure. <call to="hand_over_to_desk"/>': "in a notation that nobody reads",
    'Sure. <call to="hand_over_to_desk"></call>': "holds no payload that can be sent",
    '{"name": "hand_over_to_desk", "arguments": {}}': "written as JSON text",
}


@pytest.mark.parametrize("line", IN_TEXT)
@virtual
async def test_in_text_a_hand_over_names_whom_and_everything_near_it_is_told(line: str) -> None:
    scene = over_scene(line, OVER_XML, calls="xml")
    got = desk(scene, Task)
    assert await scene.ask("mine") == Answer("From the desk.")
    assert got == [Task("mine")]
    assert IN_TEXT[line] in scene.model.seen()


@virtual
async def test_a_peer_with_the_name_of_a_hand_over_is_told_apart() -> None:
    scene = over_scene("ok", peers=["hand_over_to_desk"])
    peer, taken = desk(scene, Task, name="hand_over_to_desk", says="a peer"), desk(scene, Task)
    bot = scene.organism.listeners["bot"]
    tools = Toolbox.of(bot, scene.organism.listeners, hand_overs=True).tools
    assert len({tool.name for tool in tools}) == len({tool.address for tool in tools}) == 2
    over = next(tool for tool in tools if tool.does == "hands over")
    scene.model.lines[0] = ToolCall.of("h", over.name, {})
    assert await scene.ask("mine") == Answer("From the desk.")
    assert (peer, taken) == ([], [Task("mine")])


def test_the_tools_of_hand_written_agents_are_calls_alone() -> None:
    scene = over_scene("ok")
    desk(scene, Task)
    bot = scene.organism.listeners["bot"]
    assert list(Toolbox.of(bot, scene.organism.listeners).by_name) == ["calculator_add"]
    assert "hand_over" not in scene.organism.usage_instructions("bot")


@pytest.mark.parametrize("mode", ["native", "xml"])
@virtual
async def test_the_prompt_with_its_hand_overs_is_frozen_and_shown_as_it_is_sent(mode: str) -> None:
    def made() -> Scene:
        scene = over_scene("ok", accepts=[Task, Note], calls=mode)
        desk(scene, Note, Add)
        return scene

    first, second = made(), made()
    shown = [each.bot.prompt_as_sent(each.organism.listeners) for each in (first, second)]
    assert shown[0].sha256 == shown[1].sha256
    await first.ask()
    assert first.model.last.messages[0]["content"] == shown[0].system
    assert "hand_over_to_desk" in str(shown[0])
    assert "answers in your place" in str(shown[0])
    assert "Takes what is left." in str(shown[0])


@virtual
async def test_what_a_target_answers_passes_on_though_its_agent_is_gone() -> None:
    """Also an error, which is the caller's business now."""
    scene = over_scene(OVER)

    async def fails(payload: Task, metadata: HandlerMetadata) -> HandlerResponse:
        return HandlerResponse.respond(SystemError("handler", "not today"))

    scene.organism.listener(fails, name="desk", answers=Answer)
    with pytest.raises(AnswerError, match="not today"):
        await scene.ask()
    assert len(scene.model.requests) == 1


@virtual
async def test_an_answer_that_was_refused_does_not_keep_the_task_from_being_handed_over() -> None:
    """The caller refuses what the agent says; the task is still there as it came."""

    @xmlify(name="Answer")
    @dataclass
    class Short:
        """An answer of few letters."""

        text: Annotated[str, Field(max_length=5)]

    async def chief(payload: Add | Short, metadata: HandlerMetadata) -> HandlerResponse:
        if isinstance(payload, Add):
            return HandlerResponse(NOTE, to="bot")
        return HandlerResponse.respond(Answer(payload.text))

    scene = over_scene("far too long", OVER, accepts=[Note])
    got = desk(scene, Note, says="ok")
    scene.organism.listener(chief, peers=["bot"])
    async with scene.organism:
        assert await scene.organism.ask("chief", Add(1, 2)) == Answer("ok")
    assert got == [NOTE]
    assert "far too long" in scene.model.seen()
