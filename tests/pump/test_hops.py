"""What runs when a message goes from one listener to the next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel

from tests.pump.scenes import respond, virtual
from xml_pipeline import HandlerMetadata, HandlerResponse, Organism, xmlify

ran: list[str] = []


@xmlify
@dataclass
class Parcel:
    """Says when its constructor runs."""

    weight: int
    seen: ClassVar[list[Parcel]] = []

    def __post_init__(self) -> None:
        ran.append("constructor")


def validated(weight: int) -> int:
    ran.append("validator")
    return weight


@xmlify
class Letter(BaseModel):
    """Says when its validator runs."""

    weight: Annotated[int, AfterValidator(validated)]


async def first(payload: Parcel | Letter, metadata: HandlerMetadata) -> Any:
    return HandlerResponse.delegate(payload, to="second")


async def second(payload: Parcel | Letter, metadata: HandlerMetadata) -> Any:
    return respond(payload)


@virtual
async def test_constructors_and_validators_run_once_for_each_hop() -> None:
    organism = Organism.build()
    organism.listener(first, hands_over_to=["second"])
    organism.listener(second)
    async with organism:
        for payload, what in ((Parcel(1), "constructor"), (Letter(weight=1), "validator")):
            ran.clear()
            answer = await organism.ask("first", payload)
            assert answer == payload
            assert answer is not payload
            assert ran == [what] * 3  # to the first, on to the second, and back outside
