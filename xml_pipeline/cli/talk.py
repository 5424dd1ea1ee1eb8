"""Commands that start the organism and talk to it: `run`, `send`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from xml_pipeline.cli.command import FILE_ARGUMENT, FILE_OPTION, argument, command, organism, seconds
from xml_pipeline.errors import EnvelopeError
from xml_pipeline.terminal import xml_text

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

    return asyncio.run(console.main(organism(arguments), log=Path(arguments.log) if arguments.log else None))


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
    receiver = organism(arguments)
    answer = asyncio.run(_exchange(receiver, _read(arguments.envelope), arguments.timeout))
    print(xml_text(answer.decode()))
    return 1 if decode(answer).payload.tag in {codec_of(Huh).root, codec_of(SystemError).root} else 0


async def _exchange(receiver: Organism, data: bytes, timeout: float | None) -> bytes:
    async with receiver:
        return await receiver.exchange(data, timeout=timeout)


def _read(name: str) -> bytes:
    if name == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(name).read_bytes()
    except OSError as error:
        raise EnvelopeError("envelope", f"{name} cannot be read: {error.strerror or error}") from None
