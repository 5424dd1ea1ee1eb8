"""What may be reached by whoever comes in by itself: triggers, webhooks, whoever is no console, test or Python.

A visitor is one of those at one door. It reaches that listener and no other, and what it begins is charged to the
door and to it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from xml_pipeline.errors import ConfigError, RoutingError, cut, did_you_mean, listing, no_such
from xml_pipeline.pump import Listener, Pump
from xml_pipeline.pump.listener import NAME
from xml_pipeline.session import Session
from xml_pipeline.triggers.trigger import Trigger

_CALLER = re.compile(f"[a-z]+:{NAME.pattern}")


class Doors(Mapping[str, Listener]):
    """The doors of an organism, by name; there are none that nobody named.

    Args:
        pump: of the organism.
        names: of the listeners that are doors.
        new_id: where conversation ids come from.
    """

    def __init__(self, pump: Pump, names: Collection[str], new_id: Callable[[], str]) -> None:
        if isinstance(names, str) or not all(isinstance(each, str) for each in names):
            raise ConfigError(f"doors is {cut(repr(names))}; a list of listeners' names is needed")
        self._pump = pump
        self._names = tuple(dict.fromkeys(names))
        self._new_id = new_id

    def __getitem__(self, name: str) -> Listener:
        if name not in self._names:
            raise KeyError(name)
        return self._pump.listeners[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def check(self) -> None:
        """Raises ConfigError: a door is no listener."""
        listeners = self._pump.listeners
        for name in self._names:
            if name not in listeners:
                near = did_you_mean(name, listeners)
                raise ConfigError(
                    f"the door '{name}' is no listener{near}; listeners are: {listing(listeners)}"
                )

    def refused(self, name: str) -> str:
        """What whoever wants to come in there is told; the same whether there is such a listener or not."""
        there_are = f"doors are: {listing(self._names)}" if self._names else "there are no doors"
        return f"'{cut(name)}' is no door; {there_are}"

    def caller_of(self, conversation_id: str) -> str:
        """Who brought a conversation in through a door; "" for nobody, or where it is over."""
        found = self._pump.state.conversations.get(conversation_id)
        return found.caller if found is not None and found.door else ""

    def visitor(self, name: str, caller: str) -> Visitor:
        """Somebody at a door.

        Args:
            name: of the door.
            caller: who it is, as `trigger:nightly`: what brings it, and its own name. Listeners see it as `from_id`,
                and budgets and the journal know it by that.

        Raises:
            RoutingError: there is no such door, or nobody can have that name.
        """
        if name not in self._names:
            raise RoutingError(self.refused(name))
        if not _CALLER.fullmatch(caller):
            raise RoutingError(f"'{cut(caller)}' is nobody who comes through doors; write `KIND:NAME`")
        return Visitor(self._pump, name, Session(self._pump, caller, "", self._new_id))


class Visitor:
    """Somebody at a door.

    Args:
        pump: of the organism.
        door: the only listener that it reaches.
        session: its own.
    """

    def __init__(self, pump: Pump, door: str, session: Session) -> None:
        self._pump = pump
        self._door = door
        self._session = session

    async def send(self, payload: Any, *, key: str | None = None) -> str:
        """As `Organism.send`, to the door."""
        return await self._session.send(self._door, payload, key=key)

    async def ask(self, payload: Any, *, timeout: float | None = None, key: str | None = None) -> Any:
        """As `Organism.ask`, of the door."""
        return await self._session.ask(self._door, payload, timeout=timeout, key=key)

    def knows(self, key: str) -> bool:
        """Whether a request of this key came before. Raises JournalError."""
        return self._session.knows(key)

    @property
    def has_to_wait(self) -> bool:
        """Whether the organism is full, so that what is sent now waits."""
        return self._pump.admission.full


async def fired(name: str, triggers: Mapping[str, Trigger], doors: Doors) -> str:
    """Let a trigger fire now, as `Organism.fire`."""
    trigger = triggers.get(name)
    if trigger is None:
        raise RoutingError(no_such("trigger", name, triggers))
    if trigger.said is None:
        raise RoutingError(f"what '{name}' says comes with its deliveries: post one to its webhook")
    return await doors.visitor(trigger.to, trigger.caller).send(dict(trigger.said))
