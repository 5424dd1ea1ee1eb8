"""A listener that is a flow: each message of its thread brings it one step on, and is kept for the steps after it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from xml_pipeline.envelope import Gathered, Huh, SystemError
from xml_pipeline.flows.running import Next, Over, Run, Work, read, written
from xml_pipeline.flows.steps import Flow
from xml_pipeline.payload import xmlify
from xml_pipeline.pump.response import GatherResponse, HandlerMetadata, HandlerResponse, Keep

VERSION = 1
"""Of what stands in `FlowState`; another number is not read."""


@xmlify
@dataclass(frozen=True)
class FlowState:
    """A flow at work in one thread."""

    version: int
    flow: str
    run: str


class FlowHandler:
    """Does what a flow says.

    Args:
        name: of its listener.
        flow: what it does for tasks that come from now on.
        definition: that flow as text: a call that is open goes on with the one that it began with.
        tasks: the payload classes that it takes.
        read: the flow that the definition of an earlier life is among today's listeners; None where it is none.
    """

    def __init__(
        self,
        name: str,
        flow: Flow,
        definition: str,
        tasks: tuple[type, ...],
        read: Callable[[str], Flow | None] = lambda definition: None,
    ) -> None:
        self.name = name
        self.flow = flow
        self.definition = definition
        self.digest = blake2b(definition.encode(), digest_size=16).hexdigest()
        self.accepts: tuple[type, ...] = (*tasks, Gathered, Huh, SystemError)
        self._read = read
        self._definitions: Mapping[str, str] = {}
        self._earlier: dict[str, Flow | None] = {}

    def know(self, definitions: Mapping[str, str]) -> None:
        """As `pump.listener.Defined`."""
        self._definitions = definitions

    def _flow_of(self, digest: str) -> Flow | None:
        """The flow that a call began with."""
        if digest == self.digest:
            return self.flow
        if digest not in self._earlier:
            definition = self._definitions.get(digest)
            self._earlier[digest] = None if definition is None else self._read(definition)
        return self._earlier[digest]

    async def __call__(
        self, payload: Any, metadata: HandlerMetadata, state: FlowState | None
    ) -> Keep[FlowState] | HandlerResponse | None:
        """Begin with a task, or go on with what a call came to."""
        if isinstance(payload, Huh | SystemError):
            what = SystemError("validation", f"its answer was refused: {payload}")
            return HandlerResponse.respond(what if isinstance(payload, Huh) else payload)
        kept: Mapping[str, Any] = {**metadata.kept, metadata.message_id: payload}
        if state is None:
            work = Work(self.flow, Run(), kept)
            digest, following = self.digest, work.begin(metadata.message_id)
        else:
            flow = self._flow_of(state.flow)
            if flow is None or state.version != VERSION:
                text = f"it began with steps that '{self.name}' does not know any more"
                return HandlerResponse.respond(SystemError("handler", text))
            work = Work(flow, read(state.run), kept)
            outcome = payload.answers[0] if isinstance(payload, Gathered) else payload
            digest, following = state.flow, work.come(metadata.in_reply_to, metadata.message_id, outcome)
        sent = self._sent(work.run, following)
        return Keep(FlowState(VERSION, digest, written(work.run)), sent, message=not work.run.ended)

    def _sent(self, run: Run, following: Next) -> Any:
        """What is to be sent; calls that go out are noted by the ids of their messages."""
        if isinstance(following, Over):
            if following.to:
                return HandlerResponse.delegate(following.payload, to=following.to)
            return HandlerResponse.respond(following.payload)
        sent = []
        for each in following:
            call = HandlerResponse(each.payload, to=each.to)
            run.open[call.message_id] = each.open
            sent.append(GatherResponse((call,), each.seconds, each.apart))
        return sent
