"""Nothing in these tests may leave this machine, and nothing may be left running."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from xml_pipeline.llm import forbid_real_requests


@pytest.fixture(autouse=True)
def offline() -> Iterator[None]:
    with forbid_real_requests():
        yield
