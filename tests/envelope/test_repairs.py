"""Payloads in the text of models: found wherever they stand, repaired by name or refused by name."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from xml_pipeline import xmlify
from xml_pipeline.envelope import extract_payloads
from xml_pipeline.envelope.repairs import AMPERSAND, CHARACTER, FENCE, LESS_THAN, PROSE
from xml_pipeline.envelope.thinking import without_thinking
from xml_pipeline.payload import codec_of


@xmlify
@dataclass
class Task:
    text: str


@xmlify
@dataclass
class Pair:
    first: str
    second: list[str]


@xmlify
@dataclass
class Tree:
    name: str
    children: list[Tree]


CODECS = [codec_of(Task), codec_of(Pair), codec_of(Tree)]
legal = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"], exclude_characters="\ufffe\uffff")
)
prose = st.text(st.characters(codec="utf-8", exclude_characters="<>`", exclude_categories=["Cc", "Cs"]))
PIECES = (
    *"<>/&;#x!-?[]='\" abT\n\x00",
    *("<Task>", "</Task>", "<text>", "</text>", "<![CDATA[", "]]>", "```", "<call to='a'>", "</call>"),
    *("<message>", "<to>", "</to>", "<think>", "</think>", "&amp;", "&#0;", "<!DOCTYPE", "<Tree>", "<Tas>"),
)
markup = st.lists(st.sampled_from(PIECES), max_size=60).map("".join)
trees = st.recursive(
    st.builds(Tree, legal, st.just([])), lambda inner: st.builds(Tree, legal, st.lists(inner)), max_leaves=5
)
payloads = st.one_of(st.builds(Task, legal), st.builds(Pair, legal, st.lists(legal)), trees)


@given(markup)
@example("<Task" + " " * 5000)
@example("<![CDATA[" * 500)
@example("<message><to>" + " " * 5000)
@example("<think>" * 500)
def test_no_text_is_too_odd(text: str) -> None:
    extraction = extract_payloads(text, CODECS)
    for found in extraction.found:
        assert found.codec.decode_bytes(found.codec.encode(found.payload)) == found.payload  # type: ignore[attr-defined]
    extract_payloads(text.encode("utf-8", "replace"), CODECS)
    without_thinking(text)


@given(st.lists(st.tuples(prose, payloads), min_size=1, max_size=4), prose)
def test_valid_documents_are_found_in_order_whatever_stands_around(
    parts: list[tuple[str, object]], end: str
) -> None:
    text = (
        "".join(
            f"{before}\n{codec_of(type(payload)).encode(payload).decode()}\n" for before, payload in parts
        )
        + end
    )
    extraction = extract_payloads(text, CODECS)
    assert [found.payload for found in extraction.found] == [payload for _, payload in parts]
    assert not extraction.errors
    outside = "".join(before for before, _ in parts) + end
    assert {found.repairs for found in extraction.found} == {(PROSE,) if outside.strip() else ()}


@given(
    legal.filter(lambda text: text.isalnum()), st.sampled_from(["a & b", "a&b;", "R&D &copy;", "&", "&#x;"])
)
def test_bare_ampersands_are_text(word: str, odd: str) -> None:
    (found,) = extract_payloads(f"<Task><text>{word} {odd}</text></Task>", CODECS).found
    assert found.payload == Task(f"{word} {odd}")
    assert found.repairs == (AMPERSAND,)


@pytest.mark.parametrize("odd", ["a < b", "1<00", "<br>", "</p>", "x <y", "<", "<<>>", "<text", "<Pair>"])
def test_a_less_than_that_begins_no_tag_of_the_class_is_text(odd: str) -> None:
    (found,) = extract_payloads(f"<Task><text>{odd}</text></Task>", CODECS[:1]).found
    assert found.payload == Task(odd)
    assert found.repairs == (LESS_THAN,)


def test_references_and_cdata_mean_what_they_mean() -> None:
    text = "<Task><text>&lt;&amp;&#65; <![CDATA[<raw> & &amp;]]></text></Task>"
    (found,) = extract_payloads(text, CODECS).found
    assert found.payload == Task("<&A <raw> & &amp;")
    assert found.repairs == ()


@pytest.mark.parametrize("odd", ["\x00", "\x0b", "\ud800", "\ufffe", "&#0;", "&#xD800;", "&#x110000;"])
def test_what_xml_cannot_carry_is_replaced_and_named(odd: str) -> None:
    (found,) = extract_payloads(f"<Task><text>a{odd}b</text></Task>", CODECS).found
    assert found.payload == Task("a\ufffdb")
    assert found.repairs == (CHARACTER,)


def test_fences_and_prose_are_named_apart() -> None:
    document = "<Task><text>x</text></Task>"
    cases = {
        document: (),
        f"```xml\n{document}\n```": (FENCE,),
        f"Here:\n{document}": (PROSE,),
        f"Here:\n```\n{document}\n```\nDone.": (FENCE, PROSE),
        f'<call to="x">{document}</call>': (),
    }
    assert {text: extract_payloads(text, CODECS).found[0].repairs for text in cases} == cases
    assert extract_payloads(f"Here:\n```\n{document}\n```\nDone.", CODECS).prose == "Here:\n\n\n\nDone."


def test_a_fence_inside_a_payload_is_its_own() -> None:
    (found,) = extract_payloads("<Task><text>\n```py\nx = 1\n```\n</text></Task>", CODECS).found
    assert found.payload == Task("\n```py\nx = 1\n```\n")
    assert found.repairs == ()


ADDRESSED = [
    ('<call to="bob"><Task><text>1</text></Task></call>', ["bob"]),
    ("<call to='bob'>\n  <Task><text>1</text></Task>\n</call>", ["bob"]),
    ('<call to="bob"><Task><text>1</text></Task><Task><text>2</text></Task></call>', ["bob", "bob"]),
    ('<call to="bob"><Task><text>1</text></Task></call><Task><text>2</text></Task>', ["bob", ""]),
    ('<call to="bob"><Task><text>1</text></Task>', ["bob"]),
    ("<message><meta><from>x</from><to> bob </to></meta><Task><text>1</text></Task></message>", ["bob"]),
    ("<message><meta><from>x</from></meta><Task><text>1</text></Task></message>", [""]),
    ("Send it <to>bob</to>: <Task><text>1</text></Task>", [""]),
]


@pytest.mark.parametrize(("text", "receivers"), ADDRESSED)
def test_receivers_are_read_from_around_the_payload(text: str, receivers: list[str]) -> None:
    extraction = extract_payloads(text, CODECS)
    assert [found.to for found in extraction.found] == receivers
    assert not extraction.errors


REFUSED = [
    ("<Task><text>x</text>", "Task", "cut short: </Task> is missing"),
    ("<Task><text>x", "Task", "cut short"),
    ("<task><text>x</text></task>", "task", "did you mean <Task>"),
    ("<task><text>x", "task", "did you mean <Task>"),
    ("<Tasks><text>x</text></Tasks>", "Tasks", "did you mean <Task>"),
    ("<Task><text>x</txt></Task>", "Task", "well-formed"),
    ("<Task><txt>x</txt></Task>", "Task", "text"),
    ("<Task/>", "Task", "text"),
    ('<call to="bob"><Search>x</Search></call>', "Search", "the call to 'bob' holds no payload"),
    ('<call to="bob">do it</call>', "call", "the call to 'bob' holds no payload"),
    ("<message><meta><to>bob</to></meta><Search/></message>", "Search", "'bob'"),
]


@pytest.mark.parametrize(("text", "name", "reason"), REFUSED)
def test_what_cannot_be_taken_is_refused_by_name(text: str, name: str, reason: str) -> None:
    extraction = extract_payloads(text, CODECS)
    assert not extraction.found
    ((element, error),) = extraction.errors
    assert element == name
    assert reason in str(error)


def test_a_refusal_does_not_hide_what_is_good() -> None:
    text = "<Task><txt>x</txt></Task><Task><text>y</text></Task><Pair><first>"
    extraction = extract_payloads(text, CODECS)
    assert [found.payload for found in extraction.found] == [Task("y")]
    assert [name for name, _ in extraction.errors] == ["Task", "Pair"]


def test_nested_payloads_belong_to_the_outermost() -> None:
    inner = Tree("b", [Tree("c", [])])
    (found,) = extract_payloads(codec_of(Tree).encode(Tree("a", [inner])).decode(), CODECS).found
    assert found.payload == Tree("a", [inner])


def test_names_in_backticks_are_talk() -> None:
    extraction = extract_payloads("Write a `<Task>` with a `<text>` in it.", CODECS)
    assert not extraction.found
    assert not extraction.errors


def test_a_list_of_refusals_is_bounded() -> None:
    text = "".join(f"<Task{n}>x</Task{n}>" for n in range(10_000))
    assert len(extract_payloads(text, CODECS).errors) <= 100


THOUGHTS = {
    "a <think>x</think>b": "a b",
    "<thinking>x</thinking>b": "b",
    "<reasoning><Task></reasoning>b": "b",
    "<think>never ends <Task><text>x</text></Task>": "",
    "it began before\n</think>\nb": "\nb",
    "Tags like </think> close thinking.": "Tags like </think> close thinking.",
    "<Task><text><think>mine</think></text></Task>": "<Task><text><think>mine</think></text></Task>",
    "no thoughts": "no thoughts",
}


@pytest.mark.parametrize("text", THOUGHTS)
def test_thinking_is_left_out_unless_it_is_a_payloads_own(text: str) -> None:
    assert without_thinking(text, ["Task"]) == THOUGHTS[text]
