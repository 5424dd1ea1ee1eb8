"""What a model's text asks for: the payloads in it, and to whom each goes."""

from __future__ import annotations

from msgspec import Struct

from xml_pipeline.envelope import Huh, extract_payloads
from xml_pipeline.errors import PayloadError, Violation
from xml_pipeline.pump.response import RESPOND, SEND, HandlerResponse, Kind
from xml_pipeline.pump.terms import Terms
from xml_pipeline.threads.state import Thread


class Said(Struct, frozen=True):
    """A text, read.

    Attributes:
        responses: what is to be sent.
        complaints: what its writer is told.
    """

    responses: list[HandlerResponse]
    complaints: list[Huh]


NOTHING = Said([], [])


def read(text: str | bytes, thread: Thread, terms: Terms) -> Said:
    """Each payload that the listener of this thread may send, repaired by name where it was not well formed.

    One that names a peer, or that a peer takes, is a call; every other one answers the caller.
    """
    caller, peers = thread.caller, terms.listeners[thread.listener].peers
    codecs, calls = terms.addressing.from_text(thread.listener, caller if thread.parent else None)
    extraction = extract_payloads(text, codecs)
    said = Said([], [])
    for found in extraction.found:
        # The name of a caller that is a peer too may stand for either: then the payload's class decides.
        either = found.to in (caller, thread.opened_by) and found.to in peers
        named = found.to != "" and not either
        kind: Kind = RESPOND if not named and found.codec.root not in calls else SEND
        to = found.to if named else None
        said.responses.append(HandlerResponse(found.payload, to, kind=kind, repairs=found.repairs))
    for name, error in extraction.errors:
        example = next((codec.example for codec in codecs if codec.root == name), "")
        said.complaints.append(Huh.from_error(error, f"<{name}>", example))
    if not extraction.found and not extraction.errors:
        allowed = ", ".join(f"<{codec.root}>" for codec in codecs) or "none"
        rule = Violation("text", "holds no payload element", None, allowed)
        said.complaints.append(Huh.from_error(PayloadError(rule), "the text"))
    return said
