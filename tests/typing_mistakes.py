"""Mistakes that users make, each named on its line: mypy --strict and pyright complain there, and nowhere else.

`test_typing` holds both to it. Nothing here is ever run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import xml_pipeline
from xml_pipeline import HandlerMetadata, HandlerResponse, Keep, Organism, complete, xmlify
from xml_pipeline.agents import AgentSettings, LLMAgent
from xml_pipeline.events import Event, TextGenerated
from xml_pipeline.pump import Attaching, ListenerOptions, Surroundings


@xmlify
@dataclass
class Add:
    a: int
    b: int


@xmlify
@dataclass
class Sum:
    value: int


@xmlify
@dataclass
class Tally:
    open: int


organism = Organism.build()
xml_pipeline.Organisn.build()  # wrong: a public name is misspelt

# --- listeners ---


@organism.listener(pears=["add"])  # wrong: an option is misspelt
async def misspelt_option(payload: Add, metadata: HandlerMetadata) -> None: ...


@organism.listener(peers="add")  # wrong: peers are one text
async def one_peer(payload: Add, metadata: HandlerMetadata) -> None: ...


@organism.listener(peers=(name for name in ["add"]))  # wrong: peers can be read only once
async def peers_of_a_generator(payload: Add, metadata: HandlerMetadata) -> None: ...


@organism.listener(timeout_seconds="5")  # wrong: an option has the wrong type
async def option_type(payload: Add, metadata: HandlerMetadata) -> None: ...


@organism.listener(remembers="forever")  # wrong: an option has a value that there is not
async def option_value(payload: Add, metadata: HandlerMetadata) -> None: ...


@organism.listener  # wrong: a handler with one parameter
async def one_parameter(payload: Add) -> None: ...


@organism.listener  # wrong: a handler with four parameters
async def four_parameters(
    payload: Add, metadata: HandlerMetadata, state: Tally | None, more: int
) -> None: ...


@organism.listener(peers=["add"])  # wrong: the same, where the decorator has options
async def one_parameter_again(payload: Add) -> None: ...


@organism.listener  # wrong: a handler that wants other metadata
async def wrong_metadata(payload: Add, metadata: dict[str, str]) -> None: ...


@organism.listener  # wrong: a handler that returns a number
async def returns_a_number(payload: Add, metadata: HandlerMetadata) -> int:
    return payload.a


@organism.listener  # wrong: a sync handler that returns a bare payload
def returns_a_payload(payload: Add, metadata: HandlerMetadata) -> Sum:
    return Sum(payload.a)


@organism.listener  # wrong: a list of payloads instead of responses
async def returns_payloads(payload: Add, metadata: HandlerMetadata) -> list[Sum]:
    return [Sum(payload.a)]


@organism.listener  # wrong: a Keep of another class than the state
async def keeps_another(payload: Add, metadata: HandlerMetadata, state: Tally | None) -> Keep[Sum] | None:
    return Keep(Sum(1))


@organism.listener(peers=["add"])  # wrong: the same in a sync handler, where the decorator has options
def keeps_another_too(payload: Add, metadata: HandlerMetadata, state: Tally | None) -> Keep[Sum]:
    return Keep(Sum(1))


@organism.listener  # wrong: a state that is never None
async def state_at_once(payload: Add, metadata: HandlerMetadata, state: Tally) -> Keep[Tally]:
    return Keep(state)


@organism.listener  # wrong: a Keep from a handler without a state
async def keeps_nothing(payload: Add, metadata: HandlerMetadata) -> Keep[Tally]:
    return Keep(Tally(1))


async def kept_in_the_body(payload: Add, metadata: HandlerMetadata, state: Tally | None) -> Keep[Tally]:
    return Keep(Sum(1))  # wrong: a Keep of another class than the handler says


async def promises(payload: Add, metadata: HandlerMetadata) -> HandlerResponse[Sum]:
    return HandlerResponse.respond(payload)  # wrong: an answer of another class than the handler promises


async def promises_one_of_two(payload: Add, metadata: HandlerMetadata) -> HandlerResponse[Sum | Tally]:
    answer = HandlerResponse.respond(payload)
    print(answer)
    return answer  # wrong: the same, made before


async def promises_in_a_list(payload: Add, metadata: HandlerMetadata) -> list[HandlerResponse[Sum]]:
    return [HandlerResponse.respond(Tally(payload.a))]  # wrong: the same in a list


async def promises_and_keeps(
    payload: Add, metadata: HandlerMetadata, state: Tally | None
) -> Keep[Tally, Sum]:
    return Keep(state, HandlerResponse.respond(payload))  # wrong: the same beside a state


class NoHandler:
    """It cannot be called."""


class OneParameter:
    async def __call__(self, payload: Add) -> None: ...


class AttachesWrongly(Attaching):
    def attach(self) -> None: ...  # wrong: attach without surroundings


class AttachesRightly(Attaching):
    def attach(self, surroundings: Surroundings) -> None:
        surroundings.names  # wrong: surroundings have no such attribute


organism.listener(NoHandler(), name="no")  # wrong: an object that cannot be called
organism.listener(OneParameter(), name="one")  # wrong: an object whose call takes one parameter
organism.listener(misspelt_option, "name")  # wrong: the name is no positional argument
organism.human()  # wrong: a person without a name
organism.human("approver", answers="Sum")  # wrong: a class by its name
options: ListenerOptions = {"pears": ["add"]}  # wrong: a misspelt option in a dict of them
agent = LLMAgent("bot", AgentSettings("m", memory="forever"))  # wrong: a memory that there is not
organism.listener(agent, pears=["add"], **agent.options)  # wrong: a misspelt option beside an agent's

# --- the organism ---

Organism.build(thread_scheduling="width-first")  # wrong: a scheduling that there is not
Organism.build(max_inflight=10)  # wrong: a size is misspelt

# --- inside of handlers ---


async def inside(payload: Add, metadata: HandlerMetadata) -> HandlerResponse:
    metadata.thread_id = "t"  # wrong: metadata is frozen
    print(metadata.thread)  # wrong: metadata has no such attribute
    print(metadata.recall(Tally)[0].value)  # wrong: what was remembered has no such field
    print(metadata.recall(Tally(1)))  # wrong: an instance where the class is meant
    HandlerResponse.respond(Sum(1), to="add")  # wrong: an answer with a receiver
    HandlerResponse.gather(HandlerResponse(payload, to="add"))  # wrong: one call instead of several
    HandlerResponse(payload, to=["add"])  # wrong: several receivers
    await complete("m", "hello", temprature=0.5)  # wrong: an option of complete is misspelt
    return HandlerResponse.delegate(payload)  # wrong: a delegation to nobody


# --- from outside ---


async def outside(event: Event) -> None:
    await organism.ask("add")  # wrong: ask without a payload
    await organism.ask("add", Add(1, 2), time_out=5)  # wrong: a keyword of ask is misspelt
    await organism.ask("add", Add(1, 2), timeout="5")  # wrong: the timeout is a text
    await organism.ask("add", Add(1, 2), answer_type=Sum(1))  # wrong: the answer's type is an instance
    await organism.ask("add", Add(1, 2), answer_type="Sum")  # wrong: the answer's type is a name
    tally: Tally = await organism.ask("add", Add(1, 2), answer_type=Sum)  # wrong: an answer of another class
    print((await organism.ask("add", Add(1, 2), answer_type=Sum)).total)  # wrong: an answer has no such field
    organism.session(name="ann")  # wrong: a keyword of session is misspelt
    async with organism.session() as session:
        await session.ask("add", Add(1, 2), sender="ann")  # wrong: the sender is the session's
        print((await session.ask("add", Add(1, 2), answer_type=Sum)).total)  # wrong: the same in a session
    if isinstance(event, TextGenerated):
        print(event.txt)  # wrong: an event has no such attribute
    organism.add_hook(two_parameters)  # wrong: a hook of two parameters
    organism.ask("add", Add(1, 2)).value  # wrong: not awaited
    organism.answer(Sum(1))  # wrong: an answer to no question
    print(tally)


def two_parameters(event: Event, more: Any) -> None: ...
