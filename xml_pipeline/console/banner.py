"""What a person is told at the start: who is there, and which models can answer."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Sequence
from urllib.parse import urlsplit

from xml_pipeline.arming.armed import Armed
from xml_pipeline.console.overview import first_line
from xml_pipeline.llm import BackendStatus
from xml_pipeline.organism import Organism
from xml_pipeline.terminal import Line, count, line

SECONDS = 0.5
"""How long a connection to this machine may take."""

_HERE = ("localhost", "127.0.0.1", "::1")


async def banner(organism: Organism, armed: Armed | None = None) -> list[Line]:
    """The organism in a few lines; asks the model servers on this machine, and no others, whether they run."""
    found = organism.router.describe()
    shown = [line(("name", organism.name), f"  {first_line(organism.description)}")]
    shown += _models(found, await absent(found))
    shown += told_armed(armed)
    who = f"; text without @name goes to {organism.default}" if organism.default else ""
    shown.append(line(("dim", f"{count(len(organism.listeners), 'listener')}{who}; /help says more")))
    return shown


def _models(found: Sequence[BackendStatus], not_running: Collection[str]) -> list[Line]:
    missing = [each for each in found if each.key == "missing"]
    offline = [each.name for each in found if each.offline]
    silent = [each for each in found if each.name in not_running and each not in missing]
    live = [each.name for each in found if not each.offline and each not in (*missing, *silent)]
    shown = []
    if live:
        shown.append(line(("good", "models live: "), ", ".join(live)))
    if missing:
        keys = ", ".join(f"{each.name} (set {each.key_variable})" for each in missing)
        shown.append(line(("warn", "without a key: "), keys))
    if silent:
        places = ", ".join(f"{each.name} ({each.base_url})" for each in silent)
        shown.append(line(("warn", "not running: "), places))
    if offline:
        when = "when no other backend can" if live else "because no other backend can"
        names = ", ".join(offline)
        shown.append(line(("dim", f"backend '{names}' answers {when}: it is offline, rules and no model")))
    elif found and not live:
        shown.append(
            line(("warn", "no model can answer: set a key, or add `offline: true` to the llm section"))
        )
    return shown


async def absent(backends: Iterable[BackendStatus]) -> frozenset[str]:
    """The names of those whose address is on this machine, and where nothing listens."""
    asked = [each for each in backends if not each.offline and urlsplit(each.base_url).hostname in _HERE]
    there = await asyncio.gather(*(_listens(each.base_url) for each in asked))
    return frozenset(each.name for each, found in zip(asked, there, strict=True) if not found)


async def _listens(url: str) -> bool:
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        async with asyncio.timeout(SECONDS):
            _, writer = await asyncio.open_connection(parts.hostname, port)
    except OSError:  # TimeoutError is one
        return False
    writer.close()
    return True


def told_armed(armed: Armed | None) -> list[Line]:
    """Which triggers are armed, and when each fires next."""
    rows = () if armed is None else armed.rows()
    return [line(("good", "armed: "), f"{name} → {to}, {when}") for name, to, when in rows]
