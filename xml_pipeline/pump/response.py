"""What a handler gets besides its payload, and what it returns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Generic, Literal, TypeAlias, overload

from msgspec import Struct, field
from typing_extensions import TypeVar

from xml_pipeline.attribution import current_caller
from xml_pipeline.envelope import Huh, SystemError
from xml_pipeline.errors import cut
from xml_pipeline.payload import REGISTRATION, codec_of, is_payload
from xml_pipeline.payload.text import carried, own_text
from xml_pipeline.pump.kept import entry_of, recalled
from xml_pipeline.pump.settings import seconds
from xml_pipeline.threads.ids import DerivedIds, random_ids
from xml_pipeline.threads.record import Entry

SEND: Final = "send"
RESPOND: Final = "respond"
DELEGATE: Final = "delegate"

Kind: TypeAlias = Literal["send", "respond", "delegate"]
KINDS: Final[tuple[Kind, ...]] = (SEND, RESPOND, DELEGATE)

S = TypeVar("S")
T = TypeVar("T")
A = TypeVar("A", covariant=True, default=Any)  # what a response answers, if it answers

_random_id = random_ids()


class HandlerMetadata(Struct, frozen=True, gc=False):
    """The circumstances of one handler call: a frozen value (`copy.replace` or `msgspec.structs.replace` varies it).

    Attributes:
        thread_id: names the call being worked on; everything that comes back while it is open carries it.
        from_id: who sent this message: a listener, an outside name, or `system`.
        own_name: the listener's own name; None for listeners that are no agents.
        is_self_call: whether the listener sent this message to itself.
        usage_instructions: how to call each peer, for a prompt; "" for listeners that are no agents.
        message_id: names this message; the same on every attempt.
        attempt: which delivery of this message this is, from 1.
        session_id: the same for all calls that one caller's thread makes here.
        conversation_id: names everything that followed from one message from outside.
        in_reply_to: for an answer, the `message_id` of the call that it answers; else "".
        received_at: when the message was accepted, in seconds of Unix time; the same on every attempt.
        memory: what this listener remembered of earlier calls (`respond(..., remember=)`) when its thread opened,
            oldest first; `recall` reads it.
        kept: the payloads of the messages that its thread keeps (`Keep(..., message=True)`), by message id.
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
    received_at: float = 0.0
    memory: tuple[Entry, ...] = ()
    kept: Mapping[str, Any] = field(default_factory=dict)

    def recall(self, cls: type[T]) -> tuple[T, ...]:
        """The remembered entries of one payload class, oldest first, without those that were erased.

        Raises:
            PayloadTypeError: the class is no payload.
            PayloadError: an entry was written by another version of the class, does not fit this one, and cannot be
                upgraded (see `xmlify`).
        """
        return recalled(self.memory, cls)

    def new_id(self) -> str:
        """An opaque UUID: the first, the second, … is the same each time this message is handled."""
        return new_id()


def new_id() -> str:
    """An opaque UUID, derived from the message that is being handled; a random one outside of handlers."""
    caller = current_caller.get()
    return _random_id() if caller is None else caller.new_id()


class _Addressed(Struct):
    payload: Any
    to: str | None = None


class HandlerResponse(_Addressed, Generic[A], kw_only=True, eq=False):
    """One message that a handler wants sent.

    `HandlerResponse(payload, to="peer")` calls a peer; its answer comes back to this listener, in this thread.
    Without `to` it goes to every `broadcast: true` peer that accepts the class, or to the only peer that does.

    What a handler answers its caller stands in brackets: a handler `-> HandlerResponse[Sum]` may call and delegate
    what it likes, and answers with a `Sum` or an error. Without brackets nothing is declared.

    Attributes:
        payload: an instance of a payload class.
        to: a listener's name.
        kind: `send`, `respond` or `delegate`.
        repairs: what the text of a model needed before it was this payload.
        remember: for the listener's memory; see `respond`.
    """

    kind: Kind = SEND
    repairs: tuple[str, ...] = ()
    remember: Any = None
    _message_id: str = ""

    @overload  # with an error any handler may answer, whatever it declares
    @classmethod
    def respond(cls, payload: SystemError | Huh, *, remember: Any = None) -> HandlerResponse: ...
    @overload
    @classmethod
    def respond(cls, payload: T, *, remember: Any = None) -> HandlerResponse[T]: ...
    @classmethod
    def respond(cls, payload: Any, *, remember: Any = None) -> HandlerResponse[Any]:
        """Answer the caller; this thread and everything below it ends.

        Args:
            payload: the answer.
            remember: a payload for this listener's memory, added when the answer is accepted: later calls of the
                same session (or conversation, as the listener says) read it with `metadata.recall`.
        """
        return cls(payload, kind=RESPOND, remember=remember)

    @classmethod
    def delegate(cls, payload: Any, to: str, *, remember: Any = None) -> HandlerResponse:
        """Hand over to a peer: it answers this listener's caller, and this thread ends.

        Args:
            payload: what the peer is asked.
            to: the peer, one of `hands_over_to`.
            remember: as of `respond`, added when the peer gets the call.
        """
        return cls(payload, to, kind=DELEGATE, remember=remember)

    @staticmethod
    def gather(responses: Iterable[HandlerResponse], timeout: float | None = None) -> GatherResponse:
        """Call several peers; their answers come back together, as one `Gathered` in the order given.

        Args:
            responses: calls of peers; neither answers nor delegations.
            timeout: seconds after which the calls still open are given up (a SystemError in their places); while
                all that is left of them waits for people, they do not count.
        """
        return GatherResponse(tuple(responses), timeout)

    @property
    def message_id(self) -> str:
        """The id that this message will have; an answer to it carries it as `metadata.in_reply_to`."""
        if not self._message_id:
            self._message_id = new_id()
        return self._message_id

    def take_id(self, ids: DerivedIds) -> str:
        """The id of the message that is now sent; a response that is returned again makes another message."""
        taken = self._message_id
        if not taken:
            return ids.new_id()
        self._message_id = ""
        return taken

    def __repr__(self) -> str:
        return f"HandlerResponse({self.payload!r}, to={self.to!r}, kind={self.kind!r})"


class GatherResponse(Struct, frozen=True):
    """Several calls whose answers come back together; made by `HandlerResponse.gather`.

    `apart`: whether each has a session of its own, also when there is only one of them; several always have.
    """

    responses: tuple[HandlerResponse, ...]
    timeout: float | None = None
    apart: bool = False


SentBy: TypeAlias = (
    HandlerResponse[A] | GatherResponse | Sequence[HandlerResponse[A] | GatherResponse] | str | bytes | None
)
Sent: TypeAlias = SentBy[Any]
"""What a handler wants sent; design §4 says what each means."""


class Keep(Generic[S, A]):
    """The new state of a thread, and what is sent with it: what a handler with a state returns.

    A second class in the brackets, `Keep[Tally, Sum]`, says what the handler answers, as `HandlerResponse[Sum]` does.

    A handler declares a state by a third parameter, a payload class or None: `state: Tally | None`. It gets what it
    kept at the last message of the same thread, or None at the first. To return no `Keep` leaves the state as it
    is. State and messages are accepted in one step, or neither (ADR 13).

    With `message=True` the thread keeps the message that was handled too: `metadata.kept` has its payload from then
    on. A state needs no copy of what came, only its `message_id`.
    """

    __slots__ = ("message", "sent", "state")

    def __init__(self, state: S | None, sent: SentBy[A] = None, *, message: bool = False) -> None:
        self.state = state
        self.sent = sent
        self.message = message


HandlerReturn: TypeAlias = Sent | Keep[Any, Any]
"""What a handler may return."""


class NonsenseReturned(Exception):
    """A handler returned what the contract does not know; the text says what it was."""


class Intent(Struct, frozen=True):
    """What a handler returned, checked.

    Attributes:
        text: dirty text of a model; None for none.
        responses: to be sent in order.
        keeps: whether the thread's state changes, to `state`.
        keeps_message: whether the thread keeps the message that was handled.
    """

    text: str | bytes | None = None
    responses: tuple[HandlerResponse | GatherResponse, ...] = ()
    keeps: bool = False
    state: Entry | None = None
    keeps_message: bool = False


def intent_of(returned: Any, accepts: Mapping[str, Any], state_class: type | None) -> Intent:
    """What a handler wants, every part checked before one is sent: no half-sent list.

    Args:
        returned: by the handler.
        accepts: what its listener accepts, by root element name.
        state_class: of its threads' state, if it has one.

    Raises:
        NonsenseReturned: the contract does not know it.
    """
    keeps, state, message = False, None, False
    if isinstance(returned, Keep):
        keeps, state, message = True, _kept(returned.state, state_class), bool(returned.message)
        returned = returned.sent
    if isinstance(returned, str | bytes):
        return Intent(returned, (), keeps, state, message)
    if returned is None:
        return Intent(None, (), keeps, state, message)
    responses = tuple(returned) if isinstance(returned, list | tuple) else (returned,)
    for response in responses:
        _check(response, accepts)
    return Intent(None, responses, keeps, state, message)


def _kept(state: Any, state_class: type | None) -> Entry | None:
    if state_class is None:
        raise NonsenseReturned(
            "a Keep, but it declares no state: give it a third parameter, as in `state: Tally | None`"
        )
    if state is None:
        return None
    if not isinstance(state, state_class):
        raise NonsenseReturned(f"a {type(state).__name__} as state; its own is {state_class.__name__}")
    try:
        return entry_of(state)
    except Exception as error:
        raise NonsenseReturned(f"a state that is not valid: {error}") from error


def _check(response: object, accepts: Mapping[str, Any]) -> None:
    if isinstance(response, HandlerResponse):
        check_response(response)
    elif isinstance(response, GatherResponse):
        _check_gather(response, accepts)
    else:
        raise NonsenseReturned(
            f"a {type(response).__name__}; a handler returns HandlerResponse, a list of them,"
            " HandlerResponse.gather(...), text with payloads, or None"
        )


def check_response(response: HandlerResponse) -> None:
    """Raises NonsenseReturned for a response that cannot be sent."""
    payload, to, kind = response.payload, response.to, response.kind
    if REGISTRATION not in type(payload).__dict__:
        if isinstance(payload, type):
            raise NonsenseReturned(
                f"the class {payload.__name__} as payload; return an instance, {payload.__name__}(...)"
            )
        raise NonsenseReturned(f"a {type(payload).__name__} as payload; decorate its class with @xmlify")
    if kind not in KINDS:
        raise NonsenseReturned(f"a response of the kind {kind!r}; there are {', '.join(KINDS)}")
    if type(to) is str:
        pass  # as nearly always
    elif isinstance(to, str):
        response.to = own_text(to)
    elif to is not None or kind == DELEGATE:
        raise NonsenseReturned(f"a response to {to!r}; the name of a listener is a text")
    if response.repairs and not _are_texts(response.repairs):
        raise NonsenseReturned(
            f"a response with the repairs {cut(response.repairs)}; they are a tuple of texts that XML can carry"
        )
    codec_of(type(payload))  # a class whose annotations name nothing fails here, before anything is sent
    if response.remember is not None and not is_payload(type(response.remember)):
        raise NonsenseReturned(
            f"a {type(response.remember).__name__} to remember; a memory holds instances of payload classes"
        )


def _are_texts(values: object) -> bool:
    return isinstance(values, tuple) and all(isinstance(each, str) and carried(each) for each in values)


def _check_gather(gather: GatherResponse, accepts: Mapping[str, Any]) -> None:
    if "Gathered" not in accepts:
        raise NonsenseReturned("a gather, but its annotation does not accept Gathered")
    most = gather.timeout
    if most is not None and ((length := seconds(most)) is None or length < 0):
        raise NonsenseReturned(f"a gather with the timeout {cut(most)}; it takes seconds, 0 or more")
    if not isinstance(gather.responses, tuple | list):
        raise NonsenseReturned(f"a gather of {gather.responses!r}; it takes a list of calls")
    for each in gather.responses:
        if not isinstance(each, HandlerResponse) or each.kind != SEND:
            raise NonsenseReturned(
                f"a gather of {each!r}; it takes calls, as HandlerResponse(payload, to=...)"
            )
        check_response(each)
