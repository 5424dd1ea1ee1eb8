"""Classes from a declaration are what the Python classes of the same shape are: in every text, error and byte."""

from __future__ import annotations

import copy
import gc
import pickle
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xml_pipeline.errors import PayloadError, PayloadTypeError
from xml_pipeline.payload import codec_of, is_payload
from xml_pipeline.payload.declared import Declarations, classes_of
from xml_pipeline.payload.declaring import read_declarations
from xml_pipeline.payload.printed import module_of

# A type as organism.yaml has it, as Python has it, a default as each has it, values in JSON (good ones and bad ones).
BOUNDED = "typing.Annotated[{}, pydantic.Field({})]"
TYPES: list[tuple[Any, str, tuple[Any, str] | None, list[Any]]] = [
    ("text", "str", ("a 'b' \"c\"\n", "'a \\'b\\' \"c\"\\n'"), ["", " x ", "]]>", 5, None, "\x00"]),
    ("integer", "int", (7, "7"), [0, 10**30, "5", 5.0, 5.5, True, "x"]),
    ("number", "float", (2, "2.0"), [0.1, 3, "INF", "x", [], 1e300]),
    ("decimal", "decimal.Decimal", ("1.50", "decimal.Decimal('1.50')"), ["1.10", 2, 2.5, "NaN", "1,5"]),
    ("boolean", "bool", (True, "True"), [True, "false", "yes", 1]),
    ("date", "datetime.date", ("2026-01-31", "datetime.date(2026, 1, 31)"), ["2024-02-29", "2023-02-29", 7]),
    ("datetime", "datetime.datetime", None, ["2026-01-31T12:00:00Z", "2026-01-31", "noon"]),
    ("duration", "datetime.timedelta", ("PT90S", "datetime.timedelta(seconds=90)"), ["P1DT2H", "P1M", "90s"]),
    (["red", "dark blue"], "typing.Literal['red', 'dark blue']", ("red", "'red'"), ["red", "dark blue", "r"]),
    ({"one_of": ["1", "true"]}, "typing.Literal['1', 'true']", ("1", "'1'"), ["1", "true", 1, True]),
    ({"type": "text", "min_length": 2, "max_length": 4},
     BOUNDED.format("str", "min_length=2, max_length=4"), ("abc", "'abc'"), ["ab", "é😀", "a", "abcde"]),
    ({"type": "text", "pattern": r"[a-c]+\d?", "example": "ab1"},
     BOUNDED.format("str", "pattern='^([a-c]+[0-9]?)$', examples=['ab1']"), None, ["abc1", "abc1\n", "xabc1", "٣"]),
    ({"type": "integer", "min": -3, "max": 5}, BOUNDED.format("int", "ge=-3, le=5"), (0, "0"), [-3, 5, 6, -4]),
    ({"type": "number", "min": 0.5}, BOUNDED.format("float", "ge=0.5"), (1, "1.0"), [0.5, 0.4, "NaN"]),
    ({"type": "decimal", "max": "1.5"}, BOUNDED.format("decimal.Decimal", "le=decimal.Decimal('1.5')"),
     None, ["1.50", "1.51"]),
    ({"type": "date", "min": "2026-01-01"}, BOUNDED.format("datetime.date", "ge=datetime.date(2026, 1, 1)"),
     None, ["2026-01-01", "2025-12-31"]),
    ({"type": "duration", "max": "P2D"}, BOUNDED.format("datetime.timedelta", "le=datetime.timedelta(days=2)"),
     None, ["PT5S", "P2DT1S"]),
    ({"list": "text"}, "list[str]", (["a", "b"], "dataclasses.field(default_factory=lambda: ['a', 'b'])"),
     [[], ["x", ""], ["x", 5], "x"]),
    ({"list": {"type": "integer", "min": 1}, "min_length": 1, "max_length": 2},
     BOUNDED.format("list[" + BOUNDED.format("int", "ge=1") + "]", "min_length=1, max_length=2"),
     None, [[1], [1, 2], [], [1, 2, 3], [0]]),
    ({"list": {"list": ["a", "b"]}}, "list[list[typing.Literal['a', 'b']]]", None, [[["a"], []], [["c"]]]),
    ({"list": "Leaf"}, "list[Leaf]", ([], "dataclasses.field(default_factory=list)"),
     [[{"size": 1}, {"size": 2, "root": None}], [{"size": 0}], [{}]]),
    ("Leaf", "Leaf", None, [{"size": 3}, {"size": "x"}, {"other": 1}, "Leaf"]),
    ({"any_of": ["Leaf", "Empty"]}, "Leaf | Empty", None,
     [{"Leaf": {"size": 1}}, {"Empty": {}}, {"Empty": {"x": 1}}, {"Nothing": {}}, {}]),
]  # fmt: skip
LEAF = {
    "description": "Holds one number.",
    "fields": {"size": {"type": "integer", "min": 1}, "root": {"type": "Root", "optional": True}},
}
SOURCE = """
from __future__ import annotations
import dataclasses, datetime, decimal, typing, pydantic
from xml_pipeline import xmlify

@xmlify
@dataclasses.dataclass(kw_only=True)
class Root:{root}

@xmlify
@dataclasses.dataclass(kw_only=True)
class Leaf:
    '''Holds one number.'''
    size: typing.Annotated[int, pydantic.Field(ge=1)]
    root: Root | None = None

@xmlify
@dataclasses.dataclass(kw_only=True)
class Empty:
    pass
"""
# Names that base classes, builtins or generated code have; in Python's source below no field stands after a default.
NAMES = [
    "json",
    "copy",
    "schema",
    "model_dump",
    "self",
    "cls",
    "str",
    "list",
    "value",
    "element",
    "fields",
    "x1",
]


@contextmanager
def module(source: str) -> Iterator[Any]:
    """A Python module that can be looked up by its name, as its classes' annotations are."""
    made = types.ModuleType("declared_in_python")
    sys.modules[made.__name__] = made
    try:
        exec(source, made.__dict__)
        yield made
    finally:
        del sys.modules[made.__name__]


def declarations(data: object, owner: str = "demo") -> Declarations:
    found, mistakes = read_declarations(data, owner=owner)
    assert not mistakes
    return found


@st.composite
def shapes(draw: Any) -> tuple[dict[str, Any], str, list[list[Any]]]:
    """A declaration, the same as Python source, and values to try for each field."""
    names = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=4, unique=True))
    fields: dict[str, Any] = {}
    required, optional, tries = [], [], []
    for name in names:
        written, python, default, values = draw(st.sampled_from(TYPES))
        whole = dict(written) if isinstance(written, dict) else {"type": written}
        how = draw(st.sampled_from(["required", "optional", "default", "described"]))
        line = f"{name}: {python}"
        if how == "optional":
            whole["optional"] = True
            line += " | None = None"
        elif how == "default" and default is not None:
            whole["default"] = default[0]
            line += f" = {default[1]}"
        elif how == "described":
            whole["description"] = "What it is."
            line = f"{name}: typing.Annotated[{python}, 'What it is.']"
        fields[name] = written if whole == {"type": written} else whole
        (optional if " = " in line else required).append(line)
        tries.append(values)
    # A default in a class hides what its name means from the lines below it, in Python's own source only.
    source = "".join(f"\n    {line}" for line in (*required, *optional))
    ordered = {line.partition(":")[0]: fields[line.partition(":")[0]] for line in (*required, *optional)}
    data = {"Root": {"fields": ordered}, "Leaf": LEAF, "Empty": {"fields": {}}}
    picked = [draw(st.sampled_from([*tries[names.index(name)], ...])) for name in ordered]
    return data, SOURCE.format(root=source), picked


def outcome(codec: Any, arguments: dict[str, Any]) -> tuple[Any, ...]:
    """What becomes of JSON: bytes and JSON again, or the text of the error."""
    try:
        value = codec.from_json(arguments)
    except PayloadError as error:
        return (str(error),)
    data = codec.encode(value)
    for again in (codec.decode_bytes(data), codec.from_json(codec.to_json(value))):
        assert repr(again) == repr(value)  # a Decimal("NaN") is not equal to itself
    return data, repr(codec.to_json(value))


@given(shapes())
@settings(max_examples=40, deadline=None)
def test_a_declared_class_is_the_python_class_of_its_shape(shape: tuple[Any, str, list[Any]]) -> None:
    data, source, picked = shape
    declared = classes_of(declarations(data))
    printed = module_of(declarations(data))
    arguments = {
        name: value for name, value in zip(data["Root"]["fields"], picked, strict=True) if value is not ...
    }
    for text in (source, printed):
        with module(text) as python:
            for name, cls in declared.items():
                ours, theirs = codec_of(cls), codec_of(getattr(python, name))
                for said in (
                    "xsd",
                    "example",
                    "json_schema",
                    "prompt_text",
                    "fields",
                    "only_field",
                    "fingerprint",
                ):
                    assert getattr(ours, said) == getattr(theirs, said), said
            assert outcome(codec_of(declared["Root"]), arguments) == outcome(codec_of(python.Root), arguments)


@given(shapes())
@settings(max_examples=20, deadline=None)
def test_a_message_comes_back_from_its_pickle_and_from_a_copy(shape: tuple[Any, str, list[Any]]) -> None:
    data, _, picked = shape
    codec = codec_of(classes_of(declarations(data))["Root"])
    arguments = {
        n: value for n, value in zip(data["Root"]["fields"], picked, strict=True) if value is not ...
    }
    try:
        value = codec.from_json(arguments)
    except PayloadError:
        value = codec.decode_bytes(codec.example.encode())
    again = pickle.loads(pickle.dumps(value))
    assert type(again) is type(value)
    assert codec.encode(again) == codec.encode(value)
    assert codec.encode(copy.deepcopy(value)) == codec.encode(value)


TICKET = {"Ticket": {"fields": {"text": "text"}}}


def test_one_declaration_has_one_set_of_classes_while_somebody_holds_one() -> None:
    first = classes_of(declarations(TICKET, "sharing"))["Ticket"]
    assert classes_of(declarations(TICKET, "sharing"))["Ticket"] is first
    assert classes_of(declarations(TICKET, "another"))["Ticket"] is not first
    other = {"Ticket": {"fields": {"text": {"type": "text", "default": ""}}}}
    assert classes_of(declarations(other, "sharing"))["Ticket"] is not first
    assert is_payload(first)
    assert repr(first(text="hi")) == "Ticket(text='hi')"


def test_defaults_that_are_equal_and_not_the_same_are_two_declarations() -> None:
    def of(default: str) -> type:
        data = {"Price": {"fields": {"amount": {"type": "decimal", "default": default}}}}
        return classes_of(declarations(data))["Price"]

    one, two = of("1.0"), of("1.00")
    assert (str(one().amount), str(two().amount)) == ("1.0", "1.00")


def test_classes_go_when_nobody_holds_them_and_a_pickle_says_which_class_it_needs() -> None:
    classes = classes_of(declarations(TICKET, "short-lived"))
    kept = pickle.dumps(classes["Ticket"](text="hi"))
    del classes
    gc.collect()
    with pytest.raises(
        PayloadTypeError, match="Ticket of the organism 'short-lived': is not known in this process"
    ):
        pickle.loads(kept)
    changed = {"Ticket": {"fields": {"text": "text", "more": "text"}}}
    again = classes_of(declarations(changed, "short-lived"))
    with pytest.raises(PayloadTypeError, match="declared in another shape"):
        pickle.loads(kept)
    back = classes_of(declarations(TICKET, "short-lived"))
    assert pickle.loads(kept) == back["Ticket"](text="hi")
    assert again["Ticket"] is not back["Ticket"]


def test_a_declaration_is_the_same_in_another_process() -> None:
    found = declarations({"A": {"fields": {"b": {"type": "date", "default": "2026-01-01"}, "c": "text"}}})
    again = pickle.loads(pickle.dumps(found))
    assert again == found
    assert classes_of(again) is classes_of(found)


def test_a_list_of_a_default_is_every_messages_own() -> None:
    cls = classes_of(declarations({"Tags": {"fields": {"tags": {"list": "text", "default": ["a"]}}}}))["Tags"]
    one, two = cls(), cls()
    one.tags.append("b")
    assert two.tags == ["a"]


def test_what_is_not_valid_yet_can_be_copied_and_says_why_it_cannot_be_sent() -> None:
    cls = classes_of(declarations({"Tags": {"fields": {"tags": {"list": "text"}}}}))["Tags"]
    broken = cls(tags=[5])
    for again in (copy.copy(broken), copy.deepcopy(broken)):
        assert again == broken
    assert copy.copy(broken).tags is broken.tags
    assert copy.deepcopy(broken).tags is not broken.tags
    with pytest.raises(PayloadError, match=r"Tags\.tags\[0\]: needs str"):
        pickle.dumps(broken)


def test_a_field_may_have_the_name_of_what_every_class_has() -> None:
    found = declarations({"Order": {"fields": {"mro": {"list": "text"}}}})
    with module(module_of(found)) as python:
        for cls in (classes_of(found)["Order"], python.Order):
            assert codec_of(cls).from_json({"mro": ["x"]}).mro == ["x"]
            assert "mro" in codec_of(cls).json_schema["required"]


def test_a_printed_module_is_safe_from_what_descriptions_and_words_hold() -> None:
    nasty = 'ends in a quote " and \\ and """ and\n\ttwo lines'
    data = {
        "Odd": {
            "description": nasty,
            "fields": {
                "datetime": {"type": "date", "default": "2026-01-01", "description": nasty},
                "typing": {"one_of": ['a"b', "a'b", "a\\b", "ü"], "default": "ü"},
                "dataclasses": {"list": "text", "default": ['"', "\n"]},
                "decimal": {"type": "decimal", "min": "0.10", "default": 1},
                "pydantic": {"type": "text", "pattern": r"\"\\\w", "example": '"\\a'},
            },
        }
    }
    found = declarations(data, 'an "organism"\\')
    with module(module_of(found)) as python:
        ours, theirs = codec_of(classes_of(found)["Odd"]), codec_of(python.Odd)
        assert (ours.xsd, ours.prompt_text) == (theirs.xsd, theirs.prompt_text)
        value = {"pydantic": '"\\a'}
        assert ours.encode(ours.from_json(value)) == theirs.encode(theirs.from_json(value))
