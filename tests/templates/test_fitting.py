"""What a file wants sent, held to the class that it names before there are values, and filled in when there are."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from xml_pipeline import PayloadError, xmlify
from xml_pipeline.payload import nodes
from xml_pipeline.payload.scalars import BOOL, FLOAT, INT, STR
from xml_pipeline.templates import Filler, Type, of_classes
from xml_pipeline.templates.fitting import mistakes_in


class Colour(Enum):
    """Colours."""

    RED = "red"
    BLUE = "blue"


@xmlify
@dataclass
class Place:
    """Where."""

    name: str
    size: int | None = None


@xmlify
@dataclass
class Fact:
    """What is known."""

    text: str
    number: int
    share: float
    sure: bool
    kind: Literal["a", "b"]
    colour: Colour
    day: date
    price: Decimal
    place: Place
    places: list[Place]
    words: list[str]
    maybe: str | None = None


@xmlify
@dataclass
class Wanted:
    """What is sent."""

    text: str = ""
    number: int = 0
    share: float = 0.0
    sure: bool = False
    kind: Literal["a", "b", "c"] = "a"
    code: Annotated[str, Field(pattern="^[A-Z]+$")] = "A"
    short: Annotated[str, Field(max_length=5)] = ""
    price: Decimal = Decimal(0)
    place: Place | None = None
    places: list[Place] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    either: Place | Fact | None = None


@xmlify
@dataclass
class Needs:
    """A field that has to be there."""

    text: str
    place: Place


SCOPE = {
    "fact": of_classes([Fact]),
    "facts": Type(nodes.ListOf(list, nodes.Nested(Fact))),
    "either": of_classes([Fact, Place]),
    "perhaps": Type(nodes.Nested(Place), optional=True),
    "word": Type(nodes.Scalar(STR)),
    "unknown": Type(None),
}
PLACE = Place("Bern", 3)
FACT = Fact(
    "t & <t>",
    5,
    0.5,
    True,
    "b",
    Colour.BLUE,
    date(2026, 1, 2),
    Decimal("1.50"),
    PLACE,
    [PLACE, Place("Rom")],
    ["x", "y"],
)
VALUES = {"fact": FACT, "facts": [FACT, FACT], "perhaps": None, "word": "w", "either": PLACE}


@pytest.mark.parametrize(
    ("given", "made"),
    [
        ({"text": "{{fact.text}}"}, Wanted(text="t & <t>")),
        ({"text": "{{fact.kind}}"}, Wanted(text="b")),
        (
            {"text": "{{fact.number}} at {{fact.share}}, {{fact.sure}}, {{fact.day}}"},
            Wanted(text="5 at 0.5, true, 2026-01-02"),
        ),
        ({"text": "{{fact.colour}} for {{fact.price}}"}, Wanted(text="blue for 1.50")),
        ({"text": "{{{{fact.text}} {{word}}"}, Wanted(text="{{fact.text}} w")),
        ({"text": '{{fact.maybe or "{{fact.text}}"}}'}, Wanted(text="{{fact.text}}")),
        ({"text": '-{{perhaps.name or "nowhere"}}-'}, Wanted(text="-nowhere-")),
        ({"text": "{{fact.maybe}}"}, Wanted()),
        ({"number": "{{fact.number}}", "share": "{{fact.number}}"}, Wanted(number=5, share=5.0)),
        ({"number": '{{perhaps.size or "7"}}'}, Wanted(number=7)),
        ({"sure": "{{fact.sure}}", "price": "{{fact.price}}"}, Wanted(sure=True, price=Decimal("1.50"))),
        ({"kind": "{{fact.kind}}"}, Wanted(kind="b")),
        ({"place": "{{fact.place}}", "places": "{{fact.places}}"}, Wanted(place=PLACE, places=FACT.places)),
        ({"place": {"name": "{{word}}", "size": 3}}, Wanted(place=Place("w", 3))),
        ({"places": [{"name": "{{word}}"}, "{{fact.place}}"]}, Wanted(places=[Place("w"), PLACE])),
        ({"words": "{{fact.words}}"}, Wanted(words=["x", "y"])),
        ({"words": "{{facts.text}}"}, Wanted(words=["t & <t>", "t & <t>"])),
        ({"words": ["{{word}}", "z {{fact.number}}"]}, Wanted(words=["w", "z 5"])),
        ({"either": "{{either}}"}, Wanted(either=PLACE)),
        ({"either": "{{fact}}"}, Wanted(either=FACT)),
        ({"either": {"Place": {"name": "{{word}}"}}}, Wanted(either=Place("w"))),
        ({"place": None, "text": "x"}, Wanted(text="x")),
    ],
)
def test_what_fits_is_made(given: Any, made: Wanted) -> None:
    assert list(mistakes_in(Wanted, given, SCOPE)) == []
    assert Filler(VALUES).message(Wanted, given) == made


@pytest.mark.parametrize(
    ("given", "path", "said"),
    [
        ({"txt": "x"}, ("txt",), "did you mean 'text'"),
        ({"text": "{{fcat.text}}"}, ("text",), "no 'fcat' here; did you mean 'fact'"),
        ({"text": "{{fact.txt}}"}, ("text",), "no field 'txt'; did you mean 'text'"),
        ({"text": "{{fact.text.more}}"}, ("text",), "has no fields"),
        ({"text": "{{either.name}}"}, ("text",), "tells them apart"),
        ({"text": "{{fact.number}}"}, ("text",), "an integer, and a text is needed; within other text"),
        ({"text": "{{fact.place}}"}, ("text",), "is Place, and a text is needed"),
        ({"text": "at {{fact.place}}"}, ("text",), "within text only"),
        ({"text": "at {{fact.words}}"}, ("text",), "within text only"),
        ({"text": "at {{fact.maybe}}"}, ("text",), "may be absent"),
        ({"text": '{{fact.text or "x"}}'}, ("text",), "always there"),
        ({"text": '-{{fact.text or "x"}}-'}, ("text",), "always there"),
        ({"number": "{{fact.share}}"}, ("number",), "an integer is needed"),
        ({"number": "{{fact.text}}"}, ("number",), "whether a text is one is not known"),
        ({"number": "n {{fact.number}}"}, ("number",), "a text with references"),
        ({"number": '{{perhaps.size or "x"}}'}, ("number",), "the text after `or`"),
        ({"number": "seven"}, ("number",), "seven"),
        ({"kind": "{{fact.text}}"}, ("kind",), "whether a text is one is not known"),
        ({"kind": "d"}, ("kind",), "none of the values"),
        ({"code": "{{fact.text}}"}, ("code",), "is needed"),
        ({"code": "x"}, ("code",), "x"),
        ({"short": "longer"}, ("short",), "longer"),
        ({"sure": "{{fact.kind}}"}, ("sure",), "is needed"),
        ({"place": "{{fact.maybe}}"}, ("place",), "Place is needed"),
        ({"place": {"nam": "x"}}, ("place", "nam"), "did you mean 'name'"),
        ({"place": {}}, ("place",), "`name` of Place is missing"),
        ({"place": "Bern"}, ("place",), "must be a mapping"),
        ({"places": "{{fact.place}}"}, ("places",), "a list of Place is needed"),
        ({"places": [{"name": "{{nobody}}"}]}, ("places", 0, "name"), "no 'nobody' here"),
        ({"words": "{{facts.maybe}}"}, ("words",), "'maybe' may be absent"),
        ({"words": "{{facts.number}}"}, ("words",), "a list of a text is needed"),
        ({"either": "{{word}}"}, ("either",), "is needed"),
        ({"text": "{{fact.text"}, ("text",), "never closed"),
        ([], (), "must be a mapping"),
    ],
)
def test_what_does_not_fit_is_told_where_it_stands(given: Any, path: tuple[Any, ...], said: str) -> None:
    found = [mistake for mistake in mistakes_in(Wanted, given, SCOPE) if mistake.path == path]
    assert len(found) == 1, list(mistakes_in(Wanted, given, SCOPE))
    assert said in found[0].message


def test_a_field_that_has_to_be_there_is_missed_also_when_its_value_may_be_absent() -> None:
    found = {each.path: each.message for each in mistakes_in(Needs, {"place": "{{perhaps}}"}, SCOPE)}
    assert "`text` of Needs is missing" in found[()]
    assert "'perhaps' may be absent" in found["place",]


def test_anything_fits_what_is_not_known_yet() -> None:
    given = {"text": "{{unknown.a.b}}", "number": "{{unknown}}", "places": "{{unknown.list}}"}
    assert list(mistakes_in(Wanted, given, SCOPE)) == []


def test_what_only_a_value_can_break_is_told_when_it_is_there() -> None:
    assert list(mistakes_in(Wanted, {"short": "{{fact.text}}"}, SCOPE)) == []
    with pytest.raises(PayloadError, match="too long"):
        Filler(VALUES).message(Wanted, {"short": "{{fact.text}}"})


def test_a_value_is_never_read_again() -> None:
    sly = Filler({"fact": Place("{{fact.size}} ${HOME} {{{{ {{")})
    assert sly.message(Wanted, {"text": "{{fact.name}}"}).text == "{{fact.size}} ${HOME} {{{{ {{"
    assert sly.message(Wanted, {"text": "-{{fact.name}}-"}).text == "-{{fact.size}} ${HOME} {{{{ {{-"


@pytest.mark.parametrize(
    ("kind", "value", "text"), [(BOOL, False, "false"), (INT, 7, "7"), (FLOAT, 1e22, "1e+22")]
)
def test_an_item_of_a_list_stands_within_text_as_its_type_writes_it(kind: Any, value: Any, text: str) -> None:
    scope = {"item": Type(nodes.Scalar(kind))}
    assert list(mistakes_in(Wanted, {"text": "-{{item}}-"}, scope)) == []
    assert Filler({"item": value}).message(Wanted, {"text": "-{{item}}-"}).text == f"-{text}-"
