"""reader → pricer → book: each hands over to the next, and the last one answers who asked."""

from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated

from pydantic import Field

from xml_pipeline import HandlerMetadata, HandlerResponse, Organism, xmlify

PRICES = {"apple": Decimal("0.30"), "bread": Decimal("2.80"), "tea": Decimal("4.15")}


@xmlify
@dataclass
class Record:
    """One line of the file, as it stands there."""

    text: str


@xmlify
@dataclass
class Order:
    """How many of what."""

    item: str
    quantity: Annotated[int, Field(ge=1, le=1000)]


@xmlify
@dataclass
class Priced:
    """An order and what it costs."""

    order: Order
    total: Decimal


@xmlify
@dataclass
class Booked:
    """The order stands in the book."""

    item: str
    total: Decimal


@xmlify
@dataclass
class Refused:
    """The record cannot be booked."""

    reason: str


async def reader(payload: Record, metadata: HandlerMetadata) -> HandlerResponse:
    """Record → Order. An order that breaks a rule of its class is refused before the pricer sees it."""
    item, _, quantity = payload.text.partition(",")
    if not quantity.strip().isdecimal():
        return HandlerResponse.respond(Refused(f"no quantity in {payload.text!r}"))
    return HandlerResponse.delegate(Order(item.strip(), int(quantity)), to="pricer")


async def pricer(payload: Order, metadata: HandlerMetadata) -> HandlerResponse:
    """Order → Priced."""
    price = PRICES.get(payload.item)
    if price is None:
        return HandlerResponse.respond(Refused(f"there is no {payload.item!r}"))
    return HandlerResponse.delegate(Priced(payload, price * payload.quantity), to="book")


class Book:
    """Adds up what was ordered; a handler may be any object that can be called."""

    def __init__(self) -> None:
        self.totals: Counter[str] = Counter()

    async def __call__(self, payload: Priced, metadata: HandlerMetadata) -> HandlerResponse:
        self.totals[payload.order.item] += payload.order.quantity
        return HandlerResponse.respond(Booked(payload.order.item, payload.total))


def build() -> Organism:
    """The three of them."""
    organism = Organism.build(name="pipeline", max_in_flight=200)
    organism.listener(reader, hands_over_to=["pricer"])
    organism.listener(pricer, hands_over_to=["book"])
    organism.listener(Book(), name="book")
    return organism
