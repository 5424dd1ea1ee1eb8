"""Answers that a provider goes on with while nobody is connected: asked for, named, and fetched by their name.

With `background: true` the Responses API answers at once with an id, and works on; `GET /responses/{id}` tells how
far it is. `store: true` keeps the answer longer than the ten minutes of a background request (source:
developers.openai.com/docs/guides/background).
"""

from __future__ import annotations

import asyncio
import re
from typing import Any

from xml_pipeline.errors import MalformedAnswerError, cut
from xml_pipeline.llm.http.backend import Backend
from xml_pipeline.llm.http.dialect import WireRequest, expect_object
from xml_pipeline.llm.http.transport import as_backend_error
from xml_pipeline.llm.types import LLMRequest, LLMResponse

_ID = re.compile(r"[A-Za-z0-9_-]{1,200}")
_WORKING = ("queued", "in_progress")
_FIRST, _GROWS, _LONGEST = 0.1, 1.5, 3.0  # seconds between two looks
_PATIENCE = 8  # looks that fail one after the other: the answer goes on, whatever becomes of a connection


class BackgroundBackend(Backend):
    """A backend whose answers survive whoever asked for them."""

    async def _submit(self, client: Any, request: LLMRequest) -> str:
        assert self.dialect is not None
        wire = self.dialect.encode(request, stream=False)
        wire = WireRequest(wire.path, {**wire.body, "background": True, "store": True}, wire.headers)
        return _id_of(await self._object(await self._post(client, wire), wire))

    async def _fetch(self, client: Any, request: LLMRequest, response_id: str) -> LLMResponse:
        dialect, wait, failed = self.dialect, _FIRST, 0
        assert dialect is not None
        wire = WireRequest(f"/responses/{_id_of({'id': response_id})}", {})
        while True:
            try:
                data = await self._object(await self._request(client, "GET", wire), wire)
            except Exception as raised:
                error, failed = as_backend_error(raised), failed + 1
                if not error.retryable or failed >= _PATIENCE:
                    raise
            else:
                failed, status = 0, data.get("status")
                if status in ("failed", "cancelled"):
                    raise dialect.error(200, {}, data)
                if status not in _WORKING:
                    return dialect.decode(data, request)
            await asyncio.sleep(wait)
            wait = min(wait * _GROWS, _LONGEST)


def _id_of(data: Any) -> str:
    """The name of an answer. Raises MalformedAnswerError: there is none that fits into a path."""
    name = expect_object(data).get("id")
    if not isinstance(name, str) or not _ID.fullmatch(name):
        raise MalformedAnswerError(f"a background response has no usable id: {cut(repr(name))}")
    return name
