"""An organism with an agent, a person and handlers, and cases for it."""

from __future__ import annotations

from pathlib import Path

from tests.config.projects import write
from xml_pipeline.cases import Cap, Outcome, played
from xml_pipeline.config import OrganismConfig, load

HANDLERS = '''
import asyncio
from dataclasses import dataclass
from xml_pipeline import HandlerMetadata, HandlerResponse, complete, complete_sync, xmlify

@xmlify
@dataclass
class Sum:
    """An amount."""
    cents: int

@xmlify
@dataclass
class Receipt:
    """What was done."""
    id: str
    cents: int = 0

log = []

async def charge(payload: Sum, metadata: HandlerMetadata) -> HandlerResponse[Receipt]:
    log.append(payload.cents)
    return HandlerResponse.respond(Receipt("real", payload.cents))

def double(payload: Sum, metadata: HandlerMetadata) -> HandlerResponse[Sum]:
    log.append(payload.cents)
    return HandlerResponse.respond(Sum(payload.cents * 2))

def plain(payload: Sum, metadata: HandlerMetadata) -> HandlerResponse:
    return HandlerResponse.respond(Receipt("plain"))

async def think(payload: Sum, metadata: HandlerMetadata) -> HandlerResponse[Receipt]:
    said = await complete("m", f"{payload.cents}?")
    return HandlerResponse.respond(Receipt(said.content))

def think_sync(payload: Sum, metadata: HandlerMetadata) -> HandlerResponse[Receipt]:
    return HandlerResponse.respond(Receipt(complete_sync("m", f"{payload.cents}?").content))

async def sleeper(payload: Sum, metadata: HandlerMetadata) -> HandlerResponse[Sum]:
    await asyncio.sleep(payload.cents)
    return HandlerResponse.respond(payload)

async def dials(payload: Sum, metadata: HandlerMetadata) -> HandlerResponse[Sum]:
    await asyncio.open_connection("localhost", 9)
    return HandlerResponse.respond(payload)
'''

ORGANISM = """\
organism: {name: refunds, default: clerk, timeout_seconds: 5000}
payloads:
  Ticket:
    fields: {text: {type: text, min_length: 2}, order: {type: integer, min: 1, default: 1}}
  Triage:
    fields: {kind: [billing, technical, other], note: {type: text, optional: true}, parts: {list: Part, default: []}}
  Part:
    fields: {name: text, price: {type: decimal, default: 0}}
listeners:
  - {name: clerk, agent: true, model: smart, peers: [anna, charge, double]}
  - {name: triage, agent: true, model: smart, accepts: Ticket, answers: Triage}
  - {name: anna, human: true, description: Decides.}
  - {name: charge, handler: hands:charge, effects: once}
  - {name: double, handler: hands:double}
  - {name: heavy, handler: hands:double, cpu_bound: true}
  - {name: plain, handler: hands:plain}
  - {name: think, handler: hands:think}
  - {name: think_sync, handler: hands:think_sync}
  - {name: sleeper, handler: hands:sleeper}
  - {name: dials, handler: hands:dials}
llm:
  models: {smart: m}
  prices: {m: {input: 1000000, output: 0}}
  backends: [{provider: openai, supported_models: [m]}]
"""


def project(folder: Path, cases: str = "", organism: str = ORGANISM) -> Path:
    """The organism in a folder, with cases."""
    return write(folder, {"organism.yaml": f"{organism}{cases}", "hands.py": HANDLERS})


def desk(folder: Path, case: str) -> OrganismConfig:
    """The organism with one case, in the flow of YAML, without its name."""
    return load(project(folder, f"tests: [{{name: it, {case}}}]\n"), environ={})


def play(folder: Path, case: str, cap: Cap | None = None) -> Outcome:
    """What comes of one case."""
    config = desk(folder, case)
    return played(config, config.tests[0], cap)
