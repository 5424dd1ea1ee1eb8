"""`send`: one raw envelope in, the answer's envelope out."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

from xml_pipeline.cli.files import organism_file
from xml_pipeline.console.state import start_log
from xml_pipeline.envelope import Huh, SystemError, decode
from xml_pipeline.errors import EnvelopeError
from xml_pipeline.organism import Organism
from xml_pipeline.payload import codec_of


def send(arguments: argparse.Namespace) -> int:
    """Print the answer's envelope; 1 when it is an error."""
    start_log()
    organism = Organism.from_file(organism_file(arguments))
    data = _read(arguments.envelope)
    answer = asyncio.run(_exchange(organism, data, arguments.timeout))
    sys.stdout.buffer.write(answer + b"\n")
    return 1 if decode(answer).payload.tag in {codec_of(Huh).root, codec_of(SystemError).root} else 0


async def _exchange(organism: Organism, data: bytes, timeout: float | None) -> bytes:
    async with organism:
        return await organism.exchange(data, timeout=timeout)


def _read(name: str) -> bytes:
    if name == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(name).read_bytes()
    except OSError as error:
        raise EnvelopeError("envelope", f"{name} cannot be read: {error.strerror or error}") from None
