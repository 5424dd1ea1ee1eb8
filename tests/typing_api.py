"""A program that takes the front door once through every name, as its users do.

It is typed to the last line: mypy --strict and pyright (strict) have nothing to say about it, and `assert_type` says
what they have to know. It also runs. `test_typing` sees to all three.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, assert_type

from pydantic import BaseModel, Field

from xml_pipeline import (
    AnswerError,
    Approval,
    AskTimeout,
    BackendError,
    BudgetExceededError,
    ConfigError,
    Gathered,
    HandlerMetadata,
    HandlerResponse,
    Huh,
    Keep,
    NoReply,
    Organism,
    PayloadError,
    SystemError,
    XmlPipelineError,
    complete,
    complete_sync,
    extract_payloads,
    once,
    stream,
    stream_sync,
    xmlify,
)
from xml_pipeline.agents import (
    AgentSettings,
    Answer,
    Bounds,
    LLMAgent,
    PeerCall,
    Skill,
    Task,
    Toolbox,
    agent_listener,
)
from xml_pipeline.events import (
    Event,
    Fact,
    LLMCalled,
    MessageDelivered,
    QuestionAsked,
    StateChanged,
    TextGenerated,
    ThreadEnded,
)
from xml_pipeline.llm import (
    BackendStatus,
    Budget,
    Budgets,
    LLMResponse,
    Price,
    ReasoningDelta,
    Router,
    StreamEnd,
    StreamEvent,
    TextDelta,
    Timeouts,
    ToolCall,
    ToolCallDelta,
    ToolSpec,
    TransportSettings,
    Usage,
    UsageTotals,
    configure_router,
    get_router,
    use_router,
)
from xml_pipeline.organism import Question, Session, Status, ThreadInfo
from xml_pipeline.payload import codec_of
from xml_pipeline.pump import (
    Attaching,
    ConversationLimits,
    DeadLetter,
    GatherResponse,
    Listener,
    ListenerOptions,
    PumpSettings,
    Surroundings,
    listener,
)
from xml_pipeline.testing import (
    Recorder,
    Rule,
    ScriptedBackend,
    VirtualTimeLoop,
    forbid_real_requests,
    run_in_virtual_time,
    scripted_router,
)

# --- payloads ---


@xmlify
@dataclass
class Add:
    """Two integers to add."""

    a: int
    b: int


@xmlify(name="sum")
@dataclass(frozen=True)
class Sum:
    value: int


@xmlify
class Order(BaseModel):
    """So many of a thing."""

    item: str
    count: int = Field(default=1, ge=1)


@xmlify
@dataclass
class Numbers:
    values: list[int]


@xmlify
@dataclass
class Tally:
    """What is known so far."""

    open: int
    total: int


@xmlify
@dataclass
class Visit:
    name: str


organism = Organism.build(
    "office",
    description="Adds and counts.",
    default="add",
    max_in_flight=100,
    max_concurrent_handlers=10,
    max_concurrent_per_agent=5,
    thread_scheduling="depth-first",
    timeout_seconds=30,
    shutdown_seconds=1.5,
    limits=ConversationLimits(messages=500, depth=8, seconds=60.0),
    router=scripted_router(Rule(match="hello", reply="Hello!"), "Something else."),
)

# --- handlers: what they may be, and what they may return ---


@organism.listener
async def add(payload: Add, metadata: HandlerMetadata) -> HandlerResponse:
    """Adds two integers."""

    async def added() -> int:
        return payload.a + payload.b

    value = await once("add", added)
    assert_type(value, int)
    return HandlerResponse.respond(Sum(value))


@organism.listener(
    name="every.option",
    accepts=[Order, Huh],
    description="Takes orders.",
    peers=["add", "sync"],
    agent=True,
    broadcast=False,
    cpu_bound=False,
    timeout_seconds=5,
    max_concurrent=2,
    remembers="conversation",
    keep=7,
)
async def every_option(payload: Order | Huh, metadata: HandlerMetadata) -> list[HandlerResponse] | None:
    return None if isinstance(payload, Huh) else [HandlerResponse(Add(1, payload.count), to="add")]


@organism.listener()
def sync(payload: Order, metadata: HandlerMetadata) -> HandlerResponse:
    return HandlerResponse.respond(Sum(payload.count))


@organism.listener(agent=True, peers=("add", "sync"))
async def text(payload: Visit, metadata: HandlerMetadata) -> str:
    return f"{metadata.own_name}: <Add><a>1</a><b>2</b></Add> {metadata.usage_instructions}"


@organism.listener(peers={"add"})
def raw(payload: Visit, metadata: HandlerMetadata) -> bytes:
    return b"<Add><a>1</a><b>2</b></Add>"


@organism.listener
async def silent(payload: Visit, metadata: HandlerMetadata) -> None: ...


@organism.listener(peers={"add": "adds"}.keys())
async def accountant(
    payload: Numbers | Gathered, metadata: HandlerMetadata
) -> HandlerResponse | GatherResponse | tuple[HandlerResponse, ...]:
    if isinstance(payload, Numbers):
        return HandlerResponse.gather((HandlerResponse(Add(n, 0), "add") for n in payload.values), timeout=5)
    if not payload.complete:
        return (HandlerResponse.respond(SystemError("handler", "a number could not be added")),)
    return HandlerResponse.respond(Sum(sum(answer.value for answer in payload.answers)))


@organism.listener(peers=frozenset({"add"}), hands_over_to=("add",))
async def delegates(payload: Add, metadata: HandlerMetadata) -> HandlerResponse:
    response = HandlerResponse.delegate(payload, to="add")
    assert_type(response.message_id, str)
    return response


@organism.listener(peers=["add"])
async def counts(
    payload: Numbers | Sum, metadata: HandlerMetadata, state: Tally | None
) -> Keep[Tally] | HandlerResponse:
    if isinstance(payload, Numbers):
        return Keep(
            Tally(len(payload.values), 0), [HandlerResponse(Add(n, 0), "add") for n in payload.values]
        )
    if state is None:
        return HandlerResponse.respond(SystemError("handler", "nothing was asked"))
    state = Tally(state.open - 1, state.total + payload.value)
    return Keep(state, None if state.open else HandlerResponse.respond(Sum(state.total)))


@organism.listener
def sync_counts(payload: Visit, metadata: HandlerMetadata, state: Tally | None) -> Keep[Tally]:
    return Keep(None, HandlerResponse.respond(Sum(0)))


@organism.listener(remembers="session", keep=10)
async def greeter(payload: Visit, metadata: HandlerMetadata) -> HandlerResponse:
    before = metadata.recall(Visit)
    assert_type(before, tuple[Visit, ...])
    names = " ".join([*(visit.name for visit in before), payload.name])
    return HandlerResponse.respond(Visit(names), remember=payload)


class Book:
    """Handlers that are methods, with something in common."""

    def __init__(self) -> None:
        self.orders: list[Order] = []

    async def put(self, payload: Order, metadata: HandlerMetadata) -> HandlerResponse:
        self.orders.append(payload)
        return HandlerResponse.respond(Sum(len(self.orders)))

    def count(self, payload: Visit, metadata: HandlerMetadata) -> HandlerResponse:
        return HandlerResponse.respond(Sum(len(self.orders)))


class Watchful(Attaching):
    """A handler that is an object, and wants to know where it is."""

    names: Sequence[str] = ()

    def attach(self, surroundings: Surroundings) -> None:
        table: Mapping[str, Listener] = surroundings.listeners
        self.names = tuple(table)

    async def __call__(self, payload: Visit, metadata: HandlerMetadata) -> HandlerResponse:
        return HandlerResponse.respond(Sum(len(self.names)))


class SyncObject:
    def __call__(self, payload: Add, metadata: HandlerMetadata) -> HandlerResponse | None:
        return HandlerResponse.respond(Sum(payload.a))


class Remembering:
    async def __call__(
        self, payload: Visit, metadata: HandlerMetadata, state: Tally | None
    ) -> Keep[Tally] | HandlerResponse | None:
        return None


class Doubler:
    """Any payload: the classes are said by `accepts`."""

    async def __call__(self, payload: Any, metadata: HandlerMetadata) -> HandlerResponse:
        return HandlerResponse.respond(payload)


# --- handlers that say what they answer ---


@organism.listener(peers=["add", "sync"])
async def promises(payload: Add | Sum, metadata: HandlerMetadata) -> HandlerResponse[Sum]:
    if isinstance(payload, Sum):
        answer = HandlerResponse.respond(payload)
        assert_type(answer, HandlerResponse[Sum])
        return answer
    if payload.a < 0:
        return HandlerResponse.respond(SystemError("handler", "an error may always be answered"))
    if payload.b < 0:
        return HandlerResponse.delegate(payload, "sync")
    return HandlerResponse(payload, to="add")


@organism.listener(peers=["add"])
def promises_one_of_two(
    payload: Add, metadata: HandlerMetadata
) -> HandlerResponse[Sum | Answer] | GatherResponse | None:
    if payload.a:
        return HandlerResponse.respond(Sum(1) if payload.b else Answer("none"))
    calls = [HandlerResponse(payload, to="add") for _ in range(3)]
    return HandlerResponse.gather(calls) if payload.b else None


@organism.listener(peers=["add"], answers=Sum)
async def promises_in_a_list(payload: Add, metadata: HandlerMetadata) -> list[HandlerResponse[Sum]]:
    calls = [HandlerResponse(payload, to="add")]
    return calls if payload.a else [*calls, HandlerResponse.respond(Sum(1), remember=payload)]


@organism.listener(peers=["add"])
async def promises_and_keeps(
    payload: Add | Sum, metadata: HandlerMetadata, state: Tally | None
) -> Keep[Tally, Sum] | None:
    if isinstance(payload, Sum):
        return Keep(state, HandlerResponse.respond(payload))
    return Keep(Tally(1, 1), [HandlerResponse(payload, to="add")]) if payload.a else Keep(Tally(0, 0))


book = Book()
organism.listener(book.put, name="book.put")
organism.listener(book.count, name="book.count", description="How many orders there are.")
organism.listener(Watchful(), name="watchful")
organism.listener(SyncObject(), name="sync.object")
organism.listener(Remembering(), name="remembering")
organism.listener(Doubler(), name="doubler", accepts=Add)
assert_type(Approval(granted=True, note="well"), Approval)
organism.human("approver", accepts=[Order], answers=Sum, description="Says yes or no.")
organism.human("second.approver", accepts=Order, answers=[Answer, Order])
organism.human("anybody")

# --- agents ---

bot = LLMAgent("bot", AgentSettings("m", "You are brief.", max_turns=3, history=Bounds(messages=4)))
assert_type(bot.options["agent"], bool)
assert_type(Skill("tone", "How we write.", "Be kind.").files, Mapping[str, str])
reader = AgentSettings("m", task={Task: "Do this:\n{{text}}"}, skills=(Skill("a", "b", "c"),))
assert_type(LLMAgent("reader", reader).settings, AgentSettings)
assert_type(HandlerResponse.delegate(Task("x"), to="add", remember=Visit("Ann")), HandlerResponse)
chooser = LLMAgent("chooser", AgentSettings("m"), accepts=Order, answers=[Order, Answer])
organism.listener(chooser, name="chooser", **chooser.options)
organism.listener(bot, name="bot", peers=["add"], **bot.options)

options: ListenerOptions = {"peers": ["add"], "timeout_seconds": None}
assert_type(listener("alone", add, **options), Listener)
other = agent_listener(
    "other", AgentSettings("m", calls="xml", memory="call"), accepts=[Order], peers=["add"]
)
small = Organism("small", [listener("add", add), other], settings=PumpSettings(scheduling="breadth-first"))


@organism.listener(agent=True, peers=["add"])
async def by_hand(payload: Task, metadata: HandlerMetadata) -> HandlerResponse | list[HandlerResponse]:
    toolbox = Toolbox.of(organism.listeners["by_hand"], organism.listeners)
    response = await complete("m", payload.text, tools=toolbox.specs, temperature=0.0)
    calls = [call for call in toolbox.read(response.tool_calls) if isinstance(call, PeerCall)]
    if calls:
        return [HandlerResponse(call.payload, to=call.tool.peer) for call in calls]
    return HandlerResponse.respond(Answer(response.content))


# --- from outside ---


async def asks() -> None:
    seen: list[Event] = []
    costs: list[float] = []

    def hook(event: Event) -> None:
        if isinstance(event, LLMCalled):
            costs.append(event.cost or 0.0)

    organism.add_hook(hook)
    organism.add_hook(seen.append)
    recorder = Recorder(organism)
    events = organism.events(limit=1000)

    async with organism:
        answer = await organism.ask("add", Add(1, 2), answer_type=Sum, timeout=5, sender="ann")
        assert_type(answer, Sum)
        anything = await organism.ask("add", Add(1, 2))
        assert_type(anything, Any)
        assert answer == anything == Sum(3)
        assert_type(await organism.ask("accountant", Numbers([1, 2]), answer_type=Sum), Sum)
        assert await organism.ask("counts", Numbers([1, 2, 3]), answer_type=Sum) == Sum(6)
        assert_type(await organism.send("add", Add(1, 2), sender="ann"), str)
        assert_type(await organism.ask("bot", Task("hello"), answer_type=Answer), Answer)
        assert (await organism.ask("by_hand", Task("hello"), answer_type=Answer)).text == "Hello!"

        async with organism.session("ann") as session:
            assert_type(session, Session)
            assert_type(await session.ask("greeter", Visit("Ann"), answer_type=Visit, timeout=5.0), Visit)
            assert await session.ask("greeter", Visit("Bob")) == Visit("Ann Bob")
            assert_type(await session.send("greeter", Visit("Eve")), str)
        named = organism.session(id="alice", ttl=3600)
        await named.ask("greeter", Visit("Ann"))
        assert_type(organism.remembered("outside/alice", Visit), tuple[Visit, ...])
        await named.close()

        async with organism.events() as watched:
            conversation = await organism.send("approver", Order(item="pen"))
            async for event in watched:
                if isinstance(event, QuestionAsked):
                    break
        questions = organism.questions()
        assert_type(questions, list[Question])
        assert_type(await organism.answer(questions[0].thread_id, Sum(1)), None)
        assert_type(await organism.cancel(conversation), bool)
        assert_type(organism.listeners["add"], Listener)
        assert_type(organism.router, Router)
        assert_type(organism.dead_letters(), list[DeadLetter])
        assert_type(organism.threads(), list[ThreadInfo])
        assert_type(organism.status(), Status)
        assert organism.status().handled > 0
        assert "add" in organism.usage_instructions("by_hand")
        await errors()

    assert_type(recorder.of(ThreadEnded), list[ThreadEnded])
    assert recorder.of(MessageDelivered)[0].to == "add"
    assert costs
    async for event in events:
        assert_type(event, Event)
        match event:
            case TextGenerated(text=piece, listener=who):
                assert_type((piece, who), tuple[str, str])
            case StateChanged():
                assert_type(event.size, int)
            case Fact():
                assert_type(event.seq, int)
            case _:
                pass
    assert len(seen) == len(recorder.events)


async def errors() -> None:
    """Every error that a caller may want to tell apart."""
    try:
        await organism.ask("add", Add(1, 2), answer_type=Visit)
    except AnswerError as error:
        assert_type(error.code, str)
        assert_type(error.answer, Any)
    except AskTimeout as error:
        assert_type(error.args, tuple[Any, ...])
    try:
        await organism.ask("silent", Visit("Ann"))
    except NoReply as error:
        root: XmlPipelineError = error
        assert_type(str(root), str)
    try:
        Organism.build().listener(add, name="no name")
    except ConfigError as error:
        assert_type([problem.line for problem in error.problems], list[int])
    try:
        codec_of(Add).from_json({"a": "x"})
    except PayloadError as error:
        assert_type([violation.field for violation in error.violations], list[str])
    huh = Huh("not understood", example="<Add/>")
    assert_type([rule.rule for rule in huh.rules], list[str])
    for letter in organism.dead_letters():
        assert_type((letter.reason, letter.conversation_id), tuple[str, str])


# --- models ---


async def models() -> None:
    backend = ScriptedBackend(
        name="scripted",
        rules=[
            Rule(match="add", tool="add", arguments={"a": 1, "b": 2}),
            Rule(match="sum", reply="<sum><value>3</value></sum>"),
            Rule(match="busy", error="OverloadedError"),
            Rule(reply=lambda request: LLMResponse("Hi.", request.model, {"total_tokens": 3})),
        ],
    )
    router = Router(
        [backend],
        strategy="round-robin",
        retries=1,
        retry_base_delay=0.01,
        timeouts=Timeouts(request=10, first_token=5),
        models={"smart": ["m", "n"], "cheap": "n"},
        budgets=Budgets(organism=[Budget(usd=1.0, per="day")], agents={"poor": [Budget(tokens=1)]}),
        prices={"*": Price(input=1.0, output=2.0)},
        transport=TransportSettings(),
    )
    configure_router(router)
    with use_router(router), forbid_real_requests():
        assert get_router() is router
        response = await complete(
            "smart",
            [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Please add."}],
            tools=[Add, ToolSpec("look", "Looks."), {"type": "function", "function": {"name": "see"}}],
            tool_choice="auto",
            max_tokens=100,
            timeout=5,
            agent_id="bot",
        )
        assert_type(response, LLMResponse)
        for call in response.tool_calls:
            assert_type(call, ToolCall)
            assert_type(call.arguments, dict[str, Any])
        assert_type(response.usage["total_tokens"], int)
        assert_type(Usage.of(response.usage).total_tokens, int)
        assert_type(response.cost, float | None)
        parsed = (await complete("smart", "the sum", response_type=Sum)).parsed
        assert parsed == Sum(3)
        extraction = extract_payloads(response.content + "<Add><a>1</a><b>2</b></Add>", [codec_of(Add)])
        assert_type(extraction.prose, str)
        assert [found.payload for found in extraction.found] == [Add(1, 2)]

        async with aclosing(stream("cheap", "Hello?", temperature=0.5)) as pieces:
            async for piece in pieces:
                assert_type(piece, StreamEvent)
                match piece:
                    case TextDelta(words) | ReasoningDelta(words):
                        assert_type(words, str)
                    case ToolCallDelta():
                        assert_type(piece.index, int)
                    case StreamEnd(whole):
                        assert_type(whole, LLMResponse)
                        assert_type(piece.usage, Usage)
                    case _:
                        pass

        def script() -> None:
            answer = complete_sync("cheap", "Hello?", response_type=None)
            assert_type(answer, LLMResponse)
            assert_type(
                (answer.stop_reason, answer.stop_sequence, answer.repairs), tuple[str, str, tuple[str, ...]]
            )
            assert json.loads(json.dumps(answer.usage))["total_tokens"] == answer.usage["total_tokens"]
            for event in stream_sync("cheap", "Hello?"):
                assert_type(event, StreamEvent)

        await asyncio.to_thread(script)
        try:
            await complete("m", "hello", agent_id="poor")
        except BudgetExceededError as error:
            assert_type((error.scope, error.limit), tuple[str, float])
        try:
            await complete("m", "busy")
        except BackendError as error:
            assert_type([attempt.backend for attempt in error.attempts], list[str])
    assert_type(router.describe(), list[BackendStatus])
    assert_type(router.get_agent_usage("bot"), UsageTotals)
    await router.aclose()


# --- tests of one's own ---


async def unit_tests() -> None:
    """A registered handler is still the function that it was."""
    metadata = HandlerMetadata(
        thread_id="t",
        from_id="test",
        own_name=None,
        is_self_call=False,
        usage_instructions="",
        message_id="m",
        attempt=1,
        session_id="s",
        conversation_id="c",
        in_reply_to="",
    )
    assert_type(await add(payload=Add(1, 2), metadata=metadata), HandlerResponse)
    assert_type(sync(Order(item="pen"), metadata), HandlerResponse)
    kept = await counts(Sum(4), metadata, Tally(2, 1))
    assert_type(kept, Keep[Tally] | HandlerResponse)
    assert isinstance(kept, Keep)
    assert_type(kept.state, Tally | None)
    assert kept.state == Tally(1, 5)
    assert_type(sync_counts(Visit("Ann"), metadata, None), Keep[Tally])
    assert_type(metadata.received_at, float)
    assert_type(metadata.new_id(), str)


async def virtual_seconds() -> float:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    await asyncio.sleep(3600)
    return loop.time()


def main() -> None:
    asyncio.run(asks())
    asyncio.run(models())
    asyncio.run(unit_tests())
    assert_type(run_in_virtual_time(virtual_seconds()), float)


if __name__ == "__main__":
    main()
