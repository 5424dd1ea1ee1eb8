"""One hop beside the bare lxml calls for the same message, in the same run.

A hop: a handler returns a message; it is encoded, parsed, checked, validated, decoded and scheduled; the next
handler is called. The bare calls are what lxml itself needs for one such message: exclusive C14N of a tree that
is there already, a parse, the envelope's schema, the payload's schema. CPU seconds of the process, medians.
"""

from __future__ import annotations

import asyncio
import importlib.util
import time
from dataclasses import dataclass

from lxml import etree

from benchmarks.table import median, table
from xml_pipeline import Gathered, HandlerMetadata, HandlerResponse, Organism, xmlify
from xml_pipeline.envelope import ENVELOPE_XSD, Heading, Message
from xml_pipeline.journal import Journal
from xml_pipeline.payload import codec_of
from xml_pipeline.pump import ConversationLimits, PumpSettings

HOPS = 20_000
SIZES = {"1 KB": 400, "100 KB": 100_000}
CONVERSATIONS = (1, 100, 10_000)


@xmlify
@dataclass
class Ball:
    """What the players pass on."""

    left: int
    player: str
    speed: float
    spin: bool
    note: str


def ball(left: int, size: int) -> Ball:
    return Ball(left, "Alice", 12.5, True, "x" * size)


def bare_lxml(size: int, calls: int) -> float:
    """CPU microseconds of the bare lxml calls for one message."""
    codec = codec_of(Ball)
    ids = "2f1c8a52-6c1d-4b8e-9d8e-111111111111"
    data = Message.sealed(Heading("ping", "pong", ids, ids, ids), ball(1, size), codec).data
    parser = etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=False)
    envelope = etree.XMLSchema(etree.fromstring(ENVELOPE_XSD.encode()))
    payload = etree.XMLSchema(etree.fromstring(codec.xsd.encode()))
    tree = etree.fromstring(data, parser)
    start = time.process_time()
    for _ in range(calls):
        etree.tostring(tree, method="c14n", exclusive=True)
        root = etree.fromstring(data, parser)
        assert envelope.validate(root)
        assert payload.validate(root[1])
    return (time.process_time() - start) / calls * 1e6


def court(journal: Journal | None = None) -> Organism:
    """Two listeners that call each other until the ball says stop, and one that calls ten at once."""
    limits = ConversationLimits(messages=10**9, depth=10**9, handovers=10**9)
    settings = PumpSettings(max_in_flight=20_000)
    organism = Organism("court", limits=limits, settings=settings, journal=journal)

    @organism.listener(hands_over_to=["pong"])
    async def ping(payload: Ball, metadata: HandlerMetadata) -> HandlerResponse:
        if payload.left <= 0:
            return HandlerResponse.respond(payload)
        return HandlerResponse.delegate(Ball(payload.left - 1, "a", 1.5, True, payload.note), to="pong")

    @organism.listener(hands_over_to=["ping"])
    async def pong(payload: Ball, metadata: HandlerMetadata) -> HandlerResponse:
        if payload.left <= 0:
            return HandlerResponse.respond(payload)
        return HandlerResponse.delegate(Ball(payload.left - 1, "b", 1.5, True, payload.note), to="ping")

    @organism.listener
    async def wall(payload: Ball, metadata: HandlerMetadata) -> HandlerResponse:
        return HandlerResponse.respond(payload)

    @organism.listener(peers=["wall"])
    async def coach(payload: Ball | Gathered, metadata: HandlerMetadata) -> HandlerResponse:
        if isinstance(payload, Gathered):
            return HandlerResponse.respond(payload.answers[0])
        return HandlerResponse.gather([HandlerResponse(payload, to="wall") for _ in range(10)])

    return organism


async def _hops(conversations: int, size: int, total: int) -> float:
    each = max(10, total // conversations)
    async with court() as organism:
        start = time.process_time()
        await asyncio.gather(*(organism.ask("ping", ball(each, size)) for _ in range(conversations)))
        spent = time.process_time() - start
    return spent / ((each + 2) * conversations) * 1e6


async def _fan_out(size: int, rounds: int) -> float:
    async with court() as organism:
        start = time.process_time()
        for _ in range(rounds):
            await organism.ask("coach", ball(1, size))
        spent = time.process_time() - start
    # in, ten calls, ten answers, their bundle, out
    return spent / (rounds * 23) * 1e6


def _row(what: str, size: str, cost: float, bare: float) -> list[str]:
    return [what, size, f"{cost:.1f}", f"{bare:.1f}", f"{cost / bare:.2f}"]


def main() -> None:
    rows = []
    for label, size in SIZES.items():
        total = HOPS if size < 10_000 else HOPS // 20
        for conversations in CONVERSATIONS:
            if size >= 10_000 and conversations > 1000:
                continue
            bare = median(lambda size=size, total=total: bare_lxml(size, total // 2))
            cost = median(lambda n=conversations, size=size, total=total: asyncio.run(_hops(n, size, total)))
            rows.append(_row(f"hop, {conversations:,} conversations", label, cost, bare))
        bare = median(lambda size=size, total=total: bare_lxml(size, total // 2))
        cost = median(lambda size=size, total=total: asyncio.run(_fan_out(size, total // 25)))
        rows.append(_row("hop, fan-out to 10 and gather", label, cost, bare))
    bare = median(lambda: bare_lxml(SIZES["1 KB"], HOPS // 2))
    if importlib.util.find_spec("autogen_core"):
        from benchmarks import hop_autogen

        rows.append(_row("autogen-core, no validation", "1 KB", median(hop_autogen.measure), bare))
    if importlib.util.find_spec("pykka"):
        from benchmarks import hop_pykka

        rows.append(_row("Pykka, threads, no validation", "1 KB", median(hop_pykka.measure), bare))
    table("One hop (CPU µs)", ["what", "payload", "µs a hop", "bare lxml µs", "ratio"], rows)


if __name__ == "__main__":
    main()
