"""The only parser: what it refuses, by which rule, and what it lets through."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from xml_pipeline.errors import EnvelopeError
from xml_pipeline.hardened import Limits, parse

XSI = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
LAUGHS = '<!DOCTYPE l [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]><l>&b;</l>'


def rule_of(data: bytes | str, limits: Limits | None = None) -> str:
    with pytest.raises(EnvelopeError) as caught:
        parse(data.encode() if isinstance(data, str) else data, limits or Limits())
    assert str(caught.value)
    return caught.value.rule


@pytest.mark.parametrize(
    ("rule", "document"),
    [
        ("doctype", "<!DOCTYPE a><a/>"),
        ("doctype", '<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>'),
        ("doctype", '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>'),
        ("doctype", LAUGHS),
        ("doctype", "<!-- c --><?p <!-- ?><!DOCTYPE a><a/>"),
        ("doctype", "<a><!DOCTYPE a></a>"),
        ("doctype", "\ufeff<!DOCTYPE a><a/>"),
        ("hint", '<a xmlns:i="http://www.w3.org/2001/XInclude"><i:include href="x"/></a>'),
        ("hint", '<a xmlns:i="http://www.w3.org/2001/XInclud&#101;"><i:include href="x"/></a>'),
        ("hint", f'<a {XSI} xsi:schemaLocation="u file:///x"/>'),
        ("hint", f'<a><b {XSI} xsi:noNamespaceSchemaLocation="http://x/"/></a>'),
        ("hint", f'<a {XSI} xsi:type="b"/>'),
        ("hint", '<a xmlns:q="http://www.w3.org/2001/XMLSchema-instanc&#x65;" q:schemaLocation="u x"/>'),
        ("encoding", b"<a>\xff</a>"),
        ("encoding", "<?xml version='1.0' encoding='latin-1'?><a/>"),
        ("encoding", "\ufeff<?xml version='1.0' encoding=\"UTF-16\"?><a/>"),
        ("encoding", "<a/>".encode("utf-16")),
        ("encoding", "<?xml version='1.0' encoding='utf-16'?><!DOCTYPE a><a/>".encode("utf-16")),
        ("syntax", "<?xml version='1.0'" + " " * 2000 + "encoding='latin-1'?><a/>"),
        ("syntax", ""),
        ("syntax", "no document"),
        ("syntax", "prose <a/>"),
        ("syntax", "<a/><b/>"),
        ("syntax", "<a>&undefined;</a>"),
        ("syntax", "<a>&#0;</a>"),
        ("syntax", "<a>\x00</a>"),
        ("syntax", "<a>\x0b</a>"),
        ("syntax", "<a>\ufffe</a>"),
        ("encoding", b"\x1f\x8b<a/>"),
        ("syntax", "<a x='1' x='2'/>"),
        ("syntax", "<p:a/>"),
        ("syntax", "<a><![CDATA[<!DOCTYPE</a>"),
        ("depth", "<a>" * 257 + "</a>" * 257),
        ("depth", "<a>" * 50_000),
        ("elements", "<a>" + "<b/>" * 50_000 + "</a>"),
        ("elements", "<a>" + "<!---->" * 200_000 + "</a>"),
        ("elements", "<a " + " ".join(f"a{n}=''" for n in range(50_001)) + "/>"),
        ("elements", "<a q='>' " + " ".join(f'a{n} = "="' for n in range(50_001)) + "/>"),
        ("size", "<a>" + "x" * (12 * 1024 * 1024) + "</a>"),
        ("size", "<a>" + "&#65;" * 2_500_001 + "</a>"),
        ("size", "<" + "n" * (4 * 1024 * 1024) + "/>"),
    ],
)  # fmt: skip
def test_it_refuses(rule: str, document: str | bytes) -> None:
    assert rule_of(document) == rule


@pytest.mark.parametrize(
    "document",
    [
        "<a><![CDATA[<!DOCTYPE a>]]></a>",
        "<a><!-- <!DOCTYPE a> --></a>",
        "<a><?pi <!DOCTYPE a> ?></a>",
        "<a>&lt;!DOCTYPE a&gt; XInclude xsi:schemaLocation &#88;</a>",
        "<?xml version='1.0' encoding='UTF-8'?>\n<a/>",
        "\ufeff<?xml version='1.0'?><a/>",
        f'<a {XSI} xsi:nil="true"/>',
        "<a>" * 256 + "</a>" * 256,
        "<a>" + "<b></b>" * 49_999 + "</a>",
        "<a><![CDATA[" + "<b c=''>" * 100_000 + "]]></a>",
        "<a>" + "x = 'y'; " * 100_000 + "</a>",
    ],
)
def test_it_lets_through(document: str) -> None:
    assert parse(document.encode()).tag == "a"


def test_ten_megabytes_of_text_arrive_whole() -> None:
    """Pitfall 7: a long text is cut, and nothing says so."""
    for text in ("x" * 10_000_000, "line\n" * 2_000_000, "é" * 5_000_000, "a&lt;b " * 1_400_000):
        assert parse(f"<a>{text}</a>".encode()).text == text.replace("&lt;", "<")


def test_depth_is_limited_in_large_documents_too() -> None:
    text = "x" * 10_000_001
    assert rule_of("<a>" * 257 + text + "</a>" * 257) == "depth"


def test_a_missing_escape_is_refused_and_not_recovered() -> None:
    """Pitfall 7: `1<00` becomes `100`."""
    assert rule_of("<a>1<00</a>") == "syntax"


def test_comments_and_processing_instructions_are_dropped() -> None:
    root = parse(b"<a>x<!-- c -->y<?p q?>z<b/></a>")
    assert (root.text, [child.tag for child in root]) == ("xyz", ["b"])


def test_limits_can_be_tighter() -> None:
    tight = Limits(
        max_bytes=100, max_depth=3, max_elements=4, max_attributes=1, max_references=2, max_markup=60
    )
    assert rule_of("<a>" + "x" * 100 + "</a>", tight) == "size"
    assert rule_of("<a><b><c><d/></c></b></a>", tight) == "depth"
    assert rule_of("<a><b/><b/><b/><b/></a>", tight) == "elements"
    assert rule_of("<a b='' c=''><d/></a>", tight) == "elements"
    assert rule_of("<a>&amp;&amp;&amp;</a>", tight) == "size"
    assert rule_of("<a b='" + "x" * 70 + "'/>", tight) == "size"
    assert parse(b"<a b=''><b><c/></b><d/></a>", tight).tag == "a"


def test_limits_can_be_wider() -> None:
    wide = Limits(max_bytes=20_000_000, max_depth=1000, max_elements=100_000)
    assert parse(b"<a>" * 1000 + b"</a>" * 1000, wide).tag == "a"
    assert len(parse(b"<a>" + b"<b/>" * 90_000 + b"</a>", wide)) == 90_000


def test_each_thread_parses_on_its_own() -> None:
    roots: list[etree._Element] = []
    threads = [threading.Thread(target=lambda: roots.append(parse(b"<a>1</a>"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [root.text for root in roots] == ["1"] * 8


@given(st.binary() | st.text(alphabet="<>&;!?/='\"[]-ab#x0 :").map(str.encode))
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    try:
        root = parse(data)
    except EnvelopeError:
        return
    assert etree.fromstring(etree.tostring(root, method="c14n", exclusive=True)).tag == root.tag
