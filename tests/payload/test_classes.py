"""Which classes @xmlify takes, and what it says of the others."""

from __future__ import annotations

import dataclasses
import enum
import typing
from collections.abc import Callable
from dataclasses import KW_ONLY, InitVar, dataclass, field
from typing import Annotated, Any, ClassVar, Generic, Literal, NewType, Optional, Self, TypeVar

import pydantic
import pytest

from xml_pipeline.errors import PayloadError, PayloadTypeError
from xml_pipeline.payload import codec_of, is_payload, xmlify

UserId = NewType("UserId", int)
T = TypeVar("T")


@xmlify
@dataclass
class Folder:
    """Mutually recursive, with a class further down."""

    name: str
    files: list[File]
    parent: Optional[Folder] = None  # noqa: UP045  # the old spelling counts, too


@xmlify
@dataclass
class File:
    name: str
    inside: Folder | None = None


@dataclass
class Plain:
    x: int


def back(value: Any) -> Any:
    codec = codec_of(type(value))
    return codec.decode_bytes(codec.encode(value))


def test_forward_references_and_mutual_recursion() -> None:
    """Pitfall 8: `from __future__ import annotations` is unsupported."""
    folder = Folder("a", [File("f"), File("g", Folder("b", []))], Folder("root", []))
    assert back(folder) == folder


def test_classes_inside_a_function_see_each_other() -> None:
    @xmlify
    @dataclass
    class Tree:
        leaves: list[Leaf]
        more: list[Self]
        root: Tree | None = None

    @xmlify
    @dataclass
    class Leaf:
        colour: Colour
        tree: Tree | None = None

    class Colour(enum.Enum):
        RED = "red"

    tree = Tree([Leaf(Colour.RED, Tree([], []))], [Tree([], [])])
    assert back(tree) == tree


def test_a_name_that_never_comes_is_reported_at_first_use() -> None:
    @xmlify
    @dataclass
    class Lost:
        x: Nowhere  # type: ignore[name-defined]  # noqa: F821  # the mistake under test

    with pytest.raises(PayloadTypeError, match="Nowhere"):
        codec_of(Lost)


def test_a_base_class_is_read_where_it_was_written() -> None:
    class Other:
        @xmlify
        @dataclass
        class Folder(Folder):
            size: int = 0

    folder = Other.Folder("a", [], Folder("b", []), 3)
    assert back(folder) == folder


def _unsupported() -> list[Any]:
    class Loose:
        pass

    class Flags(enum.Flag):
        A = 1

    class Empty(enum.Enum):
        pass

    return [
        Any, object, Callable[[], int], complex, Loose, list, dict, tuple, set, list[Any], type(None), T, bytearray,
        list[Loose], dict[str, Loose], dict[list[int], int], dict[Plain, int], set[list[int]],
        frozenset[dict[str, int]],
        Literal["a", 1, "1"], Literal[1, True], Literal["true", True], Literal[" a"], Literal[b"x"], Literal[None],
        list[int] | list[str], int | UserId, Flags, Empty, typing.Iterable[int], typing.TypedDict("D", {}),
        Annotated[int, __import__("annotated_types").MinLen(3)],
    ]  # fmt: skip


@pytest.mark.parametrize("annotation", _unsupported(), ids=str)
def test_an_unsupported_type_fails_at_decoration_naming_class_and_field(annotation: Any) -> None:
    cls = dataclasses.make_dataclass("Bad", [("fine", int), ("broken", annotation)])
    with pytest.raises(PayloadTypeError, match=r"Bad\.broken: .*supported are str, int"):
        xmlify(cls)
    assert not is_payload(cls)


@pytest.mark.parametrize("name", ["", "1a", "a b", "a:b", "<a>", "xs:schema", "-a", "é b", "é<", "é\u00d7"])
def test_a_root_name_must_be_a_name(name: str) -> None:
    def decorate() -> None:
        @xmlify(name=name or " ")
        @dataclass
        class Fine:
            x: int

    with pytest.raises(PayloadTypeError, match="cannot be an element's name"):
        decorate()


def test_what_is_no_payload_says_so() -> None:
    for thing in (Plain, int, type("Loose", (), {})):
        assert not is_payload(thing)
        with pytest.raises(PayloadTypeError, match="decorate the class with @xmlify"):
            codec_of(thing)
    with pytest.raises(PayloadTypeError, match="put @dataclass below @xmlify"):
        xmlify(type("Loose", (), {}))


def test_a_subclass_is_no_payload_before_it_is_decorated() -> None:
    @dataclass
    class Sub(File):
        pass

    assert is_payload(File)
    assert not is_payload(Sub)


def test_the_name_can_be_chosen() -> None:
    @xmlify(name="greeting-v2")
    @dataclass
    class Greeting:
        name: str

    assert codec_of(Greeting).root == "greeting-v2"
    assert codec_of(Greeting).encode(Greeting("A")) == b"<greeting-v2><name>A</name></greeting-v2>"
    assert back(Greeting("A")) == Greeting("A")


def test_names_of_any_alphabet_work() -> None:
    @xmlify
    @dataclass
    class Größe:
        höhe: int
        名前: str

    assert back(Größe(1, "x")) == Größe(1, "x")


# Letters that Python takes in names and libxml2 does not, in documents or only in schemas.
@pytest.mark.parametrize("name", ["ꙁ", "ꀀ", "𐐀x", "ႠႡ", "ᏸ", "ހ", "ስም", "ᠨᠡᠷᠡ", "နာမည်", "නම"])
def test_a_name_works_or_is_refused_at_decoration(name: str) -> None:
    for build in (
        lambda: dataclasses.make_dataclass("Cls", [(name, int)]),
        lambda: dataclasses.make_dataclass(name, [("x", int)]),
    ):
        cls: Any = build()
        try:
            xmlify(cls)
        except PayloadTypeError:
            with pytest.raises(PayloadTypeError, match="cannot be an element's name"):
                xmlify(cls)
            continue
        assert back(cls(1)) == cls(1)


@pytest.mark.parametrize("name", ["größe_2", "नाम", "ชื่อ", "பெயர்", "дом", "名前", "სახელი", "اسم", "שם"])
def test_names_of_living_scripts_work(name: str) -> None:
    cls: Any = xmlify(dataclasses.make_dataclass(name, [(name, int)]))
    assert back(cls(1)) == cls(1)
    assert codec_of(cls).from_json({name: 1}) == cls(1)


def test_fields_named_like_what_the_codec_uses_itself_do_no_harm() -> None:
    names = [
        "value",
        "depth",
        "element",
        "item",
        "entry",
        "key",
        "c",
        "tag",
        "f0",
        "escape",
        "Mismatch",
        "self",
        "error",
        "children",
    ]
    cls = xmlify(dataclasses.make_dataclass("Names", [(name, int) for name in names]))
    value = cls(*range(len(names)))
    assert back(value) == value
    few = xmlify(dataclasses.make_dataclass("Few", [(name, list[int] | None) for name in names[:6]]))
    value = few(*([n] for n in range(6)))
    assert back(value) == value


def test_all_kinds_of_dataclasses() -> None:
    @xmlify
    @dataclass(frozen=True, slots=True)
    class Frozen:
        a: int
        _: KW_ONLY
        b: str
        c: int = 3

    @xmlify
    @dataclass
    class Odd(Generic[T]):
        count: ClassVar[int] = 0
        a: int
        seed: InitVar[int] = 1
        total: int = field(init=False)
        secret: str = field(default="s", repr=False, compare=False)

        def __post_init__(self, seed: int) -> None:
            self.total = self.a + seed

    assert back(Frozen(1, b="x")) == Frozen(1, b="x")
    odd = Odd(2, secret="t")
    assert (back(odd), back(odd).secret) == (odd, "t")
    assert b"total" not in codec_of(Odd).encode(odd)


def test_an_init_var_without_default_is_refused() -> None:
    def decorate() -> None:
        @xmlify
        @dataclass
        class Lossy:
            a: int
            seed: InitVar[int]

    with pytest.raises(PayloadTypeError, match=r"Lossy\.seed: is an InitVar without default"):
        decorate()


def _set_total(odd: Any) -> Any:
    odd.total = 99
    return odd


def _lossy() -> list[tuple[Any, str]]:
    @xmlify
    @dataclass
    class Summed:
        a: int
        total: int = field(init=False, default=0)

    @xmlify
    @dataclass
    class Seeded:
        a: int
        seed: InitVar[int] = 1
        b: list[int] = field(init=False)

        def __post_init__(self, seed: int) -> None:
            self.b = [self.a * seed]

    @xmlify
    @dataclass
    class Scaled:
        a: int
        seed: InitVar[int] = 2

        def __post_init__(self, seed: int) -> None:
            self.a *= seed

    @xmlify
    @pydantic.dataclasses.dataclass
    class Checked:
        a: int
        total: int = field(init=False, default=0)

    return [
        (_set_total(Summed(1)), "Summed.total"),
        (Seeded(1, seed=5), "Seeded.b"),
        (Scaled(1), "Scaled.a"),
        (_set_total(Checked(1)), "Checked.total"),
    ]


@pytest.mark.parametrize(("value", "path"), _lossy(), ids=str)
def test_what_only_the_constructor_sets_is_never_lost_in_silence(value: Any, path: str) -> None:
    codec = codec_of(type(value))
    for write in (codec.encode, codec.to_json):
        with pytest.raises(PayloadError, match=rf"{path}: would be lost"):
            write(value)
    outer = xmlify(dataclasses.make_dataclass("Outer", [("inner", list[type(value)])]))  # type: ignore[misc]
    with pytest.raises(PayloadError, match=r"Outer\.inner\[0\]\.\w+: would be lost"):
        codec_of(outer).encode(outer([value]))


def test_what_is_not_compared_may_be_lost_and_what_is_made_again_is_not() -> None:
    @xmlify
    @dataclass
    class Cached:
        tags: list[str]
        first: str = field(init=False)
        cache: dict[str, int] = field(init=False, compare=False, default_factory=dict)

        def __post_init__(self) -> None:
            self.first = self.tags[0]

    cached = Cached(["a"])
    cached.cache["a"] = 1
    assert back(cached) == cached
    cached.tags.append("b")
    assert back(cached).tags == ["a", "b"]


def test_an_own_constructor_gets_the_fields_by_name() -> None:
    @xmlify
    @dataclass(init=False)
    class Own:
        a: int
        b: int

        def __init__(self, *, b: int, a: int) -> None:
            self.a, self.b = a, b

    assert back(Own(a=1, b=2)) == Own(a=1, b=2)


def test_annotations_behind_names_are_seen_through() -> None:
    @xmlify
    @dataclass
    class User:
        id: UserId
        tags: Annotated[list[Annotated[str, "one tag"]], "all tags"]
        kind: typing.Final[str] = "user"

    assert back(User(UserId(1), ["a"])) == User(UserId(1), ["a"])


def test_two_classes_of_one_name_in_one_payload() -> None:
    def make(kind: Any) -> Any:
        return xmlify(dataclasses.make_dataclass("Same", [("x", kind)]))

    first, second = make(int), make(str)
    both = xmlify(dataclasses.make_dataclass("Both", [("a", first), ("b", second)]))
    assert back(both(first(1), second("x"))) == both(first(1), second("x"))
    assert set(codec_of(both).json_schema["$defs"]) == {"Same", "Same-2"}


def test_undecorated_dataclasses_may_be_nested() -> None:
    @xmlify
    @dataclass
    class Outer:
        plain: Plain

    assert back(Outer(Plain(1))) == Outer(Plain(1))


def test_enums_are_written_by_value_where_that_is_plain_and_by_name_elsewhere() -> None:
    class Mixed(enum.Enum):
        A = 1
        B = "x"

    class Alias(enum.Enum):
        A = "a"
        B = "a"  # noqa: PIE796  # an alias is what is tested

    cls = xmlify(dataclasses.make_dataclass("Enums", [("m", Mixed), ("a", Alias), ("b", dict[Alias, int])]))
    value = cls(Mixed.B, Alias.B, {Alias.A: 1})
    assert codec_of(cls).encode_body(value).startswith("<m>B</m><a>a</a>")
    assert back(value) == value


def test_a_refusing_constructor_is_a_payload_error() -> None:
    @xmlify
    @dataclass
    class Even:
        n: int

        def __post_init__(self) -> None:
            if self.n % 2:
                raise ValueError("must be even")

    with pytest.raises(PayloadError, match="Even: refused by its class: must be even"):
        codec_of(Even).decode_bytes(b"<Even><n>3</n></Even>")
    with pytest.raises(PayloadError, match="Even: refused by its class: must be even"):
        codec_of(Even).from_json({"n": 3})


class Hostile(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


class Spiteful:
    """What raises whenever it is looked at."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("eq")

    __hash__ = None  # type: ignore[assignment]


def _refuse() -> Any:
    raise Hostile


@xmlify
@dataclass
class Moody:
    n: int = 0
    made: list[int] = field(default_factory=list)
    colour: Literal["red"] = "red"

    def __post_init__(self) -> None:
        if self.n == 1:
            raise Hostile


@xmlify
@dataclass
class Factory:
    made: list[int] = field(default_factory=_refuse)


def test_whatever_a_class_does_when_it_is_looked_at_is_a_payload_error() -> None:
    class Sneaky(Moody):
        pass

    moody = codec_of(Moody)
    sneaky: Any = Moody()
    sneaky.colour = Spiteful()
    for attempt in (
        lambda: moody.encode(sneaky),
        lambda: moody.encode(Spiteful()),  # type: ignore[arg-type]
        lambda: moody.encode(Sneaky()),
        lambda: moody.decode_bytes(b"<Moody><n>1</n></Moody>"),
        lambda: moody.from_json({"n": 1}),
        lambda: moody.from_json({"n": Spiteful()}),
        lambda: codec_of(Factory).decode_bytes(b"<Factory/>"),
        lambda: codec_of(Factory).from_json({}),
    ):
        with pytest.raises(PayloadError):
            attempt()
    with pytest.raises(PayloadError, match="Factory: refused by its class: Hostile"):
        codec_of(Factory).from_json({})
