"""Commands that start the organism and talk to it: `run`, `ask`, `send`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xml_pipeline.cli.auth import unlock
from xml_pipeline.cli.command import FILE_ARGUMENT, FILE_OPTION, argument, command, organism, seconds
from xml_pipeline.errors import EnvelopeError
from xml_pipeline.terminal import plain, xml_text

if TYPE_CHECKING:
    from xml_pipeline.organism import Organism


@command(
    "run",
    "talk to an organism in the console; reads lines when the input is no terminal",
    *FILE_ARGUMENT,
    argument(
        "--log",
        metavar="FILE",
        help="where the log goes (default: console.log in the user's state directory)",
    ),
)
def run(arguments: argparse.Namespace) -> int:
    """Open the console."""
    import asyncio

    from xml_pipeline import console

    receiver = organism(arguments)
    unlock(receiver.router)
    return asyncio.run(console.main(receiver, log=Path(arguments.log) if arguments.log else None))


@command(
    "ask",
    "ask a listener once and print its answer",
    argument("listener", metavar="LISTENER", help="whom to ask"),
    argument("message", metavar="MESSAGE", help="what the console takes: text, key=value, or XML"),
    argument(
        "--key",
        metavar="KEY",
        help="names the request for ever: asked again, it joins what runs or gives the answer that was given"
        " (needs a journal)",
    ),
    argument("--timeout", type=seconds, metavar="SECONDS", help="how long to wait (default: no limit)"),
    FILE_OPTION,
)
def ask(arguments: argparse.Namespace) -> int:
    """Print the answer; 1 when it is an error."""
    import asyncio

    from xml_pipeline.console.fill import accepted, fill
    from xml_pipeline.console.render import answer, error
    from xml_pipeline.console.state_dir import start_log
    from xml_pipeline.errors import AnswerError, RoutingError, no_such

    start_log()
    receiver = organism(arguments)
    name = arguments.listener
    if name not in receiver.listeners:
        raise RoutingError(no_such("listener", name, receiver.listeners))
    payload = fill(name, accepted(receiver.listeners[name]), arguments.message)
    unlock(receiver.router)
    try:
        given = asyncio.run(_ask(receiver, name, payload, arguments))
    except AnswerError as failed:
        for row in error(failed):
            print(plain(row), file=sys.stderr)
        return 1
    for row in answer(given):
        print(plain(row))
    return 0


async def _ask(receiver: Organism, name: str, payload: Any, arguments: argparse.Namespace) -> Any:
    async with receiver:
        return await receiver.ask(name, payload, timeout=arguments.timeout, key=arguments.key)


@command(
    "send",
    "send one raw envelope and print the envelope of its answer",
    argument("envelope", metavar="ENVELOPE", help="an XML file, or - for the standard input"),
    argument("--timeout", type=seconds, metavar="SECONDS", help="how long to wait (default: no limit)"),
    FILE_OPTION,
)
def send(arguments: argparse.Namespace) -> int:
    """Print the answer's envelope; 1 when it is an error."""
    import asyncio

    from xml_pipeline.console.state_dir import start_log
    from xml_pipeline.envelope import Huh, SystemError, decode
    from xml_pipeline.payload import codec_of

    start_log()
    receiver, envelope = organism(arguments), _read(arguments.envelope)
    unlock(receiver.router)
    answer = asyncio.run(_exchange(receiver, envelope, arguments.timeout))
    print(xml_text(answer.decode()))
    return 1 if decode(answer).payload.tag in {codec_of(Huh).root, codec_of(SystemError).root} else 0


async def _exchange(receiver: Organism, data: bytes, timeout: float | None) -> bytes:
    async with receiver:
        return await receiver.exchange(data, timeout=timeout)


def _read(name: str) -> bytes:
    try:
        if name == "-":
            return sys.stdin.buffer.read() if sys.stdin else b""
        return Path(name).read_bytes()
    except OSError as error:
        raise EnvelopeError("envelope", f"{name} cannot be read: {error.strerror or error}") from None
