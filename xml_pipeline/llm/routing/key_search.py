"""Keys that backends name by `api_key_ref`: looked up when such a backend could be asked first, and once."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING

from xml_pipeline.errors import ConfigError, KeyStoreError
from xml_pipeline.llm.routing.endpoint import Endpoint, serves
from xml_pipeline.llm.routing.table import real_requests_forbidden

if TYPE_CHECKING:
    from xml_pipeline.keys.keys import Found, Keys


class KeySearch:
    """The backends of a router that wait for their key.

    A keyring and a passphrase's arithmetic take seconds, so each name is looked up in a thread. It is a daemon: a
    program ends although a keyring hangs.

    Args:
        endpoints: of the router.
        keys: where keys are looked up; default: by the process's environment.
        found: called when what is known of keys has changed.
    """

    def __init__(self, endpoints: Iterable[Endpoint], keys: Keys | None, found: Callable[[], None]) -> None:
        self._endpoints = tuple(endpoints)
        self._keys = keys
        self._found = found
        self._looked_up: dict[str, Future[Found]] = {}
        self.waiting = self._waits()

    @property
    def keys(self) -> Keys:
        """Where keys are looked up."""
        if self._keys is None:
            from xml_pipeline.keys.keys import Keys  # nobody pays for it who names no key

            self._keys = Keys(os.environ)
        return self._keys

    async def end(self, models: Sequence[str]) -> None:
        """Look up what backends need that could be asked for these models; all, when a backend stands in for all."""
        everybody = any(each.backend.stands_in for each in self._endpoints)
        wanted = [
            each.backend
            for each in self._endpoints
            if each.backend.key_pending and (everybody or self._could_be_asked(each, models))
        ]
        begun = [(each, self._begun(each.api_key_ref)) for each in wanted]
        try:
            for backend, answer in begun:
                try:
                    found = await asyncio.wrap_future(answer)
                    backend.take_key(found.key)
                except (KeyStoreError, ConfigError) as error:
                    backend.key_problem = str(error)
        finally:  # also when a caller gives up between two of them
            self.waiting = self._waits()
            self._found()

    def _waits(self) -> bool:
        return any(each.backend.key_pending for each in self._endpoints)

    def _could_be_asked(self, endpoint: Endpoint, models: Sequence[str]) -> bool:
        if real_requests_forbidden() and not endpoint.loopback:
            return False
        return any(serves(endpoint.backend, model) for model in models)

    def _begun(self, name: str) -> Future[Found]:
        future = self._looked_up.get(name)
        if future is None:
            future = Future()
            future.set_running_or_notify_cancel()  # a caller that gives up takes it from nobody else
            threading.Thread(
                target=_look_up, args=(self.keys, name, future), name="xml-pipeline-key", daemon=True
            ).start()
            self._looked_up[name] = future
        return future


def _look_up(keys: Keys, name: str, future: Future[Found]) -> None:
    try:
        future.set_result(keys.find(name))
    except BaseException as error:
        future.set_exception(error)
