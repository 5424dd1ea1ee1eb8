"""Marks at the keys of organism.yaml: which of them a file from somebody else may have.

A mark stands at the definition of its key, as `name: Annotated[str, OPEN] = Field(...)`. A key without one is refused
in such a file: what nobody has thought about is not let in. The marks travel in the JSON Schema of the file, so that
the gate (`config.untrusted`) and the reference page read what the models say.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import GetJsonSchemaHandler
    from pydantic_core import CoreSchema

MARK = "x-stranger"
"""Under which key of a JSON Schema a mark stands."""


@dataclass(frozen=True, slots=True)
class Mark:
    """What a file from somebody else may say at a key.

    Attributes:
        open: whether it may have the key at all.
        why: why not, or what to do instead.
        most: the largest number that may stand there; None for the key's own bounds.
        only: the texts that may stand there; () for all that the key takes.
    """

    open: bool = False
    why: str = ""
    most: float | None = None
    only: tuple[str, ...] = ()

    def __get_pydantic_json_schema__(
        self, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """The key's schema with the mark."""
        return {**handler(core_schema), MARK: self}


OPEN = Mark(open=True)
CLOSED = Mark()


def closed(why: str) -> Mark:
    """A key that is refused, and why."""
    return Mark(why=why)


def up_to(most: float) -> Mark:
    """A key that may be there with a number up to this one."""
    return Mark(open=True, most=most)


def only(*texts: str) -> Mark:
    """A key that may be there with these texts."""
    return Mark(open=True, only=texts)


def mark_of(key: dict[str, Any]) -> Mark | None:
    """The mark in the JSON Schema of a key; None for none."""
    found = key.get(MARK)
    return found if isinstance(found, Mark) else None


def without_marks(schema: Any) -> Any:
    """A JSON Schema for others."""
    if isinstance(schema, dict):
        return {key: without_marks(value) for key, value in schema.items() if key != MARK}
    return [without_marks(item) for item in schema] if isinstance(schema, list) else schema
