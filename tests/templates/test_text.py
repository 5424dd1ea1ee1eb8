"""A template as text: what it is made of, and what is none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xml_pipeline.templates import Reference, Template, TemplateFault, is_template, parse


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", ()),
        ("plain } }} {", ("plain } }} {",)),
        ("{{input}}", (Reference(("input",)),)),
        ("{{ input.text }}", (Reference(("input", "text")),)),
        ('{{a.b or "none"}}', (Reference(("a", "b"), "none"),)),
        (r'{{a or "say \"no\" \\ {{x}}"}}', (Reference(("a",), 'say "no" \\ {{x}}'),)),
        ("no. {{n}}, {{m}}", ("no. ", Reference(("n",)), ", ", Reference(("m",)))),
        ("{{{{input}}", ("{{input}}",)),
        ("{{{{{{input}}", ("{{", Reference(("input",)))),
    ],
)
def test_a_template_is_texts_and_references(text: str, parts: tuple[object, ...]) -> None:
    template = parse(text)
    assert template == Template(parts)
    assert template.references == tuple(part for part in parts if isinstance(part, Reference))
    whole = parts[0] if len(parts) == 1 and isinstance(parts[0], Reference) else None
    assert template.whole == whole


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{{input", "never closed"),
        ("{{}}", "no reference"),
        ("{{input.}}", "no reference"),
        ("{{input text}}", "no reference"),
        ("{{input or none}}", "no reference"),
        ("{{input or 'none'}}", "double quotes"),
        ("{{${NAME}}}", "variable of the environment"),
        ("{{a + b}}", "no reference"),
        ("{{a[0]}}", "no reference"),
        ("{{" + ".".join("a" * 21) + "}}", "at most 20"),
    ],
)
def test_what_is_no_reference_says_what_is_one(text: str, said: str) -> None:
    with pytest.raises(TemplateFault, match=said):
        parse(text)


@given(st.text("{}ab. or\"\\'$", max_size=30))
def test_any_text_is_a_template_or_a_fault(text: str) -> None:
    try:
        template = parse(text)
    except TemplateFault:
        assert is_template(text)
        return
    assert is_template(text) or template.parts in ((), (text,))


@given(st.text(max_size=30))
def test_text_with_its_braces_doubled_means_itself(text: str) -> None:
    template = parse(text.replace("{{", "{{{{"))
    assert "".join(map(str, template.parts)) == text


def test_a_megabyte_of_braces_is_read_at_once() -> None:
    assert parse("{{{{" * 250_000).parts == ("{{" * 250_000,)
    with pytest.raises(TemplateFault, match="never closed"):
        parse("}}" * 250_000 + "{{ " + "{ " * 250_000)
