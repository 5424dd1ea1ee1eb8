"""How a model hands its task over for good. Pure.

A hand-over is a tool of its own and never a call: who answers in an agent's place is not taken for who helps it.
Where the target takes the class of the task, the tool has no arguments, and the task itself goes on as it came.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from xml_pipeline.payload import Codec, codec_of, xmlify
from xml_pipeline.pump.listener import Listener


@xmlify
@dataclass(frozen=True)
class HandOver:
    """The task, handed over as it is."""


@dataclass(frozen=True, slots=True)
class Offer:
    """One way in which an agent may hand tasks over.

    Attributes:
        peer: who takes them.
        codec: of what the model writes: `HandOver` where the task goes on as it is.
        tasks: the classes of the tasks for which it is.
        name: of its tool, before that is made legal; no listener has one with a blank.
        description: what the model is told.
    """

    peer: str
    codec: Codec[Any]
    tasks: frozenset[type]
    name: str
    description: str


def offers(listener: Listener, table: Mapping[str, Listener]) -> Iterator[Offer]:
    """How a listener may hand its tasks over, in the order of its `hands_over_to`."""
    tasks = [codec.cls for codec in listener.requests.values()]
    for name in listener.hands_over_to:
        if name in table:
            yield from _to(table[name], tasks)


def _to(target: Listener, tasks: Collection[type]) -> Iterator[Offer]:
    taken = {codec.cls for codec in target.requests.values()}
    whole = frozenset(cls for cls in tasks if cls in taken)
    others = frozenset(tasks) - whole
    codecs = [codec for codec in target.requests.values() if isinstance(codec, Codec)] if others else []
    name = f"hand_over_to {target.name}"
    ends = f"{target.name} answers in your place, and your work on this task ends. Make this call alone."
    if whole:
        text = f"Hands the task over to {target.name}, as it is{_if(whole, others)}: {ends}"
        yield Offer(target.name, codec_of(HandOver), whole, name, _lines(text, target.description))
    for codec in codecs:
        text = f"Hands the task over to {target.name}, in what you write here{_if(others, whole)}: {ends}"
        told = _lines(text, target.description, codec.description)
        full = f"{name}-{codec.root}" if whole or len(codecs) > 1 else name
        yield Offer(target.name, codec, others, full, told)


def _if(tasks: Collection[type], others: Collection[type]) -> str:
    """For which tasks an offer is, where it is not for all."""
    names = sorted(codec_of(cls).root for cls in tasks)
    return f" (for tasks of the kind {' or '.join(names)})" if others else ""


def _lines(*texts: str) -> str:
    return "\n".join(text for text in texts if text)
