"""At the door of a running organism: one request, and what becomes of it."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from xml_pipeline.door.place import NoDoor, Place, user_behind
from xml_pipeline.door.requests import (
    LONGEST,
    VERSION,
    Greeting,
    Nonsense,
    Refused,
    Told,
    answer_in,
    greeting_in,
)
from xml_pipeline.errors import JournalError, XmlPipelineError

_GREETED = 10.0  # seconds in which a process that is well says who it is
_GREETING = 1000  # bytes that a greeting may have
_PIECE = 2**16


class Nobody(Exception):
    """Nobody takes requests here just now, and nothing was asked; the text says why."""


class Gone(JournalError):
    """Whoever was asked went away before it said what became of it."""


def told(journal: Path, said: bytes) -> Told:
    """What becomes of a request, which is a line.

    Raises:
        Nobody: nobody took it.
        Gone: it ended in the middle.
        JournalError: who listens cannot be talked to, and nothing was asked; or it says nonsense.
        XmlPipelineError: nothing was done; it says why.
    """
    if len(said) > LONGEST:
        raise XmlPipelineError(f"this is too large for the organism that runs: at most {LONGEST:,} bytes")
    try:
        place = Place(journal)
    except NoDoor as error:
        raise Nobody(str(error)) from error
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as caller:
        caller.settimeout(_GREETED)
        try:
            place.connect(caller)
        except OSError as error:  # also BlockingIOError: too many wait to come in
            raise Nobody(f"{place.path}: {error.strerror or error}") from error
        finally:
            place.close()
        if user_behind(caller) != os.geteuid():
            raise JournalError(f"whoever listens in {place.path} is another user")
        greeting = _greeting(caller)
        try:
            caller.settimeout(None)
            caller.sendall(said)
            answer = _line(caller)
        except OSError:
            answer = b""
    return _understood(answer, greeting.process)


def _greeting(caller: socket.socket) -> Greeting:
    heard = b""
    try:
        while not heard.endswith(b"\n") and len(heard) < _GREETING:
            piece = caller.recv(1)  # nothing follows before we have spoken
            if not piece:
                raise Nobody("it goes just now")
            heard += piece
        greeting = greeting_in(heard)
    except TimeoutError:
        text = (
            f"the process that has the journal does not answer within {_GREETED:g} s; nothing was asked of it"
        )
        raise JournalError(text) from None
    except OSError as error:
        raise Nobody(error.strerror or str(error)) from error
    except Nonsense as error:
        raise JournalError(f"whoever listens at the journal is no organism: {error}") from error
    if greeting.version != VERSION:
        raise JournalError(
            f"process {greeting.process}, which has the journal, speaks version {greeting.version}, and this is"
            f" {VERSION}; use the version of xml-pipeline that runs there"
        )
    if greeting.busy:
        raise Nobody("too many callers are there already")
    return greeting


def _line(caller: socket.socket) -> bytes:
    heard = bytearray()
    while piece := caller.recv(_PIECE):
        heard += piece
    return bytes(heard)


def _understood(answer: bytes, process: int) -> Told:
    if not answer.endswith(b"\n"):
        raise Gone(
            f"process {process}, which had the file, went away before it said what became of this: it may be done,"
            " or not"
        )
    try:
        found = answer_in(answer)
    except Nonsense as error:
        raise JournalError(f"process {process} said what nobody understands: {error}") from error
    if isinstance(found, Refused):
        raise XmlPipelineError(found.why)
    return found
