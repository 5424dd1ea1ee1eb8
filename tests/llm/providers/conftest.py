"""A started emulator and a router with one backend on it, for every provider."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from tests.emulators import Emulator
from xml_pipeline.llm import Backend, Router

from .cases import CASES, Case


@dataclass(frozen=True)
class Provider:
    """What a provider test works with."""

    case: Case
    server: Emulator
    backend: Backend
    router: Router

    @property
    def model(self) -> str:
        return self.case.model


@pytest.fixture(params=CASES, ids=str)
async def provider(request: pytest.FixtureRequest) -> AsyncIterator[Provider]:
    case: Case = request.param
    async with case.emulator() as server:
        backend = case.backend(server.base_url, server.key)
        async with Router([backend], retries=0) as router:
            yield Provider(case, server, backend, router)
