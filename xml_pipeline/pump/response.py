"""What a handler gets besides its payload, and what it returns."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from xml_pipeline.threads.ids import uuid_source

SEND: Final = "send"
RESPOND: Final = "respond"
DELEGATE: Final = "delegate"

_new_id = uuid_source()


@dataclass(frozen=True, slots=True)
class HandlerMetadata:
    """The circumstances of one handler call.

    Attributes:
        thread_id: names the call being worked on; everything that comes back while it is open carries it, so
            the state of one task is kept by it.
        from_id: who sent this message: a listener, an outside name, or `system`.
        own_name: the listener's own name; None for listeners that are no agents.
        is_self_call: whether the listener sent this message to itself.
        usage_instructions: how to call each peer, for a prompt; "" for listeners that are no agents.
        message_id: names this message; the same on every attempt.
        attempt: which delivery of this message this is, from 1.
        session_id: the same for all calls that one caller's thread makes here: for what to remember between them.
        conversation_id: names everything that followed from one message from outside.
        in_reply_to: for an answer, the `message_id` of the call that it answers; else "".
    """

    thread_id: str
    from_id: str
    own_name: str | None
    is_self_call: bool
    usage_instructions: str
    message_id: str
    attempt: int
    session_id: str
    conversation_id: str
    in_reply_to: str


class HandlerResponse:
    """One message that a handler wants sent.

    `HandlerResponse(payload, to="peer")` calls a peer; its answer comes back to this listener, in this thread.
    Without `to` it goes to every `broadcast: true` peer that accepts the class, or to the only peer that does.
    """

    __slots__ = ("_message_id", "kind", "payload", "repairs", "to")

    def __init__(
        self,
        payload: Any,
        to: str | None = None,
        *,
        kind: Literal["send", "respond", "delegate"] = SEND,
        repairs: tuple[str, ...] = (),
    ) -> None:
        self.payload = payload
        self.to = to
        self.kind = kind
        self.repairs = repairs  # what the text of a model needed before it was this payload
        self._message_id = ""

    @classmethod
    def respond(cls, payload: Any) -> HandlerResponse:
        """Answer the caller; this thread and everything below it ends."""
        return cls(payload, kind=RESPOND)

    @classmethod
    def delegate(cls, payload: Any, to: str) -> HandlerResponse:
        """Hand over to a peer: it answers this listener's caller, and this thread ends."""
        return cls(payload, to, kind=DELEGATE)

    @staticmethod
    def gather(responses: Iterable[HandlerResponse], timeout: float | None = None) -> GatherResponse:
        """Call several peers; their answers come back together, as one `Gathered` in the order given.

        Args:
            responses: calls of peers; neither answers nor delegations.
            timeout: seconds after which the calls still open are given up (a SystemError in their places).
        """
        return GatherResponse(tuple(responses), timeout)

    @property
    def message_id(self) -> str:
        """The id that this message will have; an answer to it carries it as `metadata.in_reply_to`."""
        if not self._message_id:
            self._message_id = _new_id()
        return self._message_id

    def take_id(self) -> str:
        """The id, for sending; a response that is returned again is another message with another id."""
        taken, self._message_id = self.message_id, ""
        return taken

    def __repr__(self) -> str:
        return f"HandlerResponse({self.payload!r}, to={self.to!r}, kind={self.kind!r})"


@dataclass(frozen=True, slots=True)
class GatherResponse:
    """Several calls whose answers come back together; made by `HandlerResponse.gather`."""

    responses: tuple[HandlerResponse, ...]
    timeout: float | None = None


Returned: TypeAlias = (
    HandlerResponse | GatherResponse | list[HandlerResponse | GatherResponse] | str | bytes | None
)
"""What a handler may return; design §4 says what each means."""
