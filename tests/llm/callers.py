"""A running handler, as the pump would announce it; and what an attempt of its came to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from xml_pipeline.attribution import current_caller
from xml_pipeline.llm import Usage
from xml_pipeline.llm.accounting.usage import Answered, Charge


@dataclass(frozen=True)
class Handler:
    listener: str
    thread_id: str = "t1"
    conversation_id: str = "c1"
    above: tuple[str, ...] = ()
    called_by: tuple[str, ...] = ()
    message_id: str = "m1"
    attempt: int = 1
    run: int = 0
    operation: str = ""
    caller: str = ""
    door: str = ""

    def nth(self, what: bytes) -> int:
        return 0

    def times(self, what: bytes) -> int:
        return 0

    def new_id(self) -> str:
        return "id-1"

    def came(self) -> tuple[str, str]:
        return self.caller, self.door

    def lineage(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        return (self.thread_id, *self.above), (self.listener, *(self.called_by or ("",) * len(self.above)))


@contextmanager
def running(handler: Handler) -> Iterator[None]:
    token = current_caller.set(handler)
    try:
        yield
    finally:
        current_caller.reset(token)


def answered(charge: Charge, backend: str, model: str, usage: Usage, micro_usd: int | None) -> Answered:
    """An attempt that was answered."""
    return Answered(charge, backend, model, "answered", usage, True, micro_usd, started=0.0, at=0.0, size=0)
