"""Whether a model server on this machine is there. Nothing beyond this machine is asked at the start."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from urllib.parse import urlsplit

from xml_pipeline.llm import BackendStatus

SECONDS = 0.5
"""How long a connection to this machine may take."""

_HERE = ("localhost", "127.0.0.1", "::1")


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
