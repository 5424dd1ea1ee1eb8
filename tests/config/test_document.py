"""What a YAML text means, and which texts are refused before they mean anything."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from tests.config.projects import config_of, only, problems_in, problems_of
from xml_pipeline.config import loads
from xml_pipeline.config.document import read
from xml_pipeline.errors import ConfigError

ORGANISM = "organism:\n  name: demo\n"


@pytest.mark.parametrize(
    ("text", "line", "column", "message"),
    [
        ("organism:\n\tname: x\n", 2, 1, "YAML is indented with spaces, not tabs"),
        ("organism:\n  name: a: b\n", 2, 10, "quote a text that holds `: `"),
        ("organism: [\n", 2, 1, "is no valid YAML"),
        ("organism: {name: ${NAME}}\n", 1, 19, 'write a variable in quotes: `"${NAME}"`'),
        ("organism: *nobody\n", 1, 11, "undefined alias 'nobody'"),
        ('organism: {name: "\\UFFFFFFFF"}\n', 1, 21, "stands for no character"),
        ('organism: {name: "\\ud800"}\n', 1, 18, "half of a surrogate pair"),
        ("organism: {name: \x01}\n", 1, 18, "a character that YAML does not allow"),
        ("organism:\n  name: x\n---\nb: 1\n", 3, 1, "expected a single document"),
        ("%YAML 9.9\n---\na: 1\n", 1, 1, "version 1.* is required"),
        (ORGANISM + "  name: other\n", 3, 3, "the key `name` is here twice (first in line 2); remove one"),
        ("organism: {name: !!python/name:os.system x}\n", 1, 18, "tags are not used in this file"),
        ("organism: {name: !secret x}\n", 1, 18, "tags are not used in this file"),
        ("organism: {name: x, max_in_flight: !!int many}\n", 1, 36, "is tagged `!!int` and is no int"),
        ("? [a, b]\n: 1\n" + ORGANISM, 1, 3, "a key that is not a text"),
        (ORGANISM + "listeners:\n  - <<: 7\n    name: a\n    human: true\n", 4, 5, "nothing is merged here"),
        (
            ORGANISM + "listeners: [&a {name: a, human: true}, {name: b, <<: *a}]\n",
            3,
            50,
            "nothing is merged",
        ),
        ("a: " + "[" * 200, 1, 54, "nested deeper than 50 levels"),
        ("a: &a [*a]", 1, 4, "an alias holds itself"),
        ("a: &a {<<: *a}", 1, 8, "nothing is merged here"),
    ],
)
def test_a_text_that_is_refused_has_a_place(text: str, line: int, column: int, message: str) -> None:
    found = [one for one in problems_of(text) if message in one.message]
    assert [(one.line, one.column) for one in found] == [(line, column)], problems_of(text)


def test_aliases_may_not_multiply_without_end() -> None:
    text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9)
    )
    assert "more than 50,000 values" in only(problems_of(text)).message


def test_a_file_over_a_megabyte_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "organism.yaml"
    file.write_text("# " + "x" * 1_100_000 + "\n" + ORGANISM)
    assert "it has more than 1,000,000 bytes" in only(problems_in(file)).message


def test_a_file_must_be_utf_8_and_may_have_a_mark(tmp_path: Path) -> None:
    file = tmp_path / "organism.yaml"
    file.write_bytes(ORGANISM.encode("utf-16"))
    assert "is not UTF-8" in only(problems_in(file)).message
    file.write_bytes(b"organism:\n  name: \xe9t\xe9\n")
    problem = only(problems_in(file))
    assert (problem.line, problem.column) == (2, 9)
    assert loads(b"\xef\xbb\xbf" + ORGANISM.encode(), environ={}).organism.name == "demo"


def test_anchors_bring_their_values_and_keys_for_them_mean_nothing_else() -> None:
    config = config_of(
        "x-bounds: &short {messages: 3}\nx-anything: [1, {a: b}]\nx-: 5\n"
        + ORGANISM
        + "listeners:\n"
        + "  - {name: one, agent: true, model: m, history: *short, peers: &all [two]}\n"
        + "  - {name: two, agent: true, model: m, history: *short, peers: *all}\n"
    )
    one, two = config.listeners
    assert (one.history.messages, two.history.messages, two.peers) == (3, 3, ("two",))


def test_keys_for_anchors_stand_at_the_top_alone() -> None:
    text = ORGANISM + "  x-more: 1\nlisteners: [{name: a, human: true, x-more: 1}]\nX-other: 1\n"
    assert [one.path for one in problems_of(text)] == ["organism.x-more", "listeners[0].x-more", "X-other"]


def test_a_key_of_a_provider_is_refused_below_them_too() -> None:
    text = ORGANISM + "x-mine: {api_key: sk-ant-api03-abcdefghijklmnopqrstuvwxyz0123456789}\n"
    assert only(problems_of(text)).path == "x-mine.api_key"


def test_a_mistake_in_a_value_with_an_anchor_is_shown_once_where_it_is_written() -> None:
    text = (
        ORGANISM + "listeners:\n"
        "  - {name: one, agent: true, model: m, history: &h {messages: 0}}\n"
        "  - {name: two, agent: true, model: m, history: *h}\n"
    )
    assert [(one.line, one.column) for one in problems_of(text)] == [(4, 63)]


@pytest.mark.parametrize("word", ["no", "on", "2026-01-01", "12:30", "0o9", "1_000"])
def test_words_of_old_yaml_stay_text(word: str) -> None:
    assert config_of(f"organism: {{name: {word}}}").organism.name == word


@pytest.mark.parametrize(("word", "value"), [("1e3", 1000.0), ("0x10", 16.0), ("+5", 5.0), (".5", 0.5)])
def test_numbers_are_those_of_yaml_1_2(word: str, value: float) -> None:
    config = config_of(f"organism: {{name: x, timeout_seconds: {word}}}")
    assert math.isclose(config.organism.timeout_seconds, value)


def test_a_number_beyond_all_numbers_is_refused_like_any_other() -> None:
    for digits in (50, 5000):
        found = problems_of(f"organism: {{name: x, timeout_seconds: 1e{'9' * digits}}}")
        assert only(found).path == "organism.timeout_seconds"
    config = config_of(f"organism: {{name: x, max_in_flight: {'9' * 50}}}")
    assert config.organism.max_in_flight == int("9" * 50)


def test_keys_that_are_no_words_are_quoted_in_paths() -> None:
    problem = only(problems_of('organism: {name: x, "a b.c": 1}'))
    assert problem.path == 'organism["a b.c"]'


def test_problems_of_a_text_name_the_file_they_are_told() -> None:
    with pytest.raises(ConfigError, match=r"^conf/mine\.yaml:1:1: holds no organism"):
        loads("", file="conf/mine.yaml", environ={})


@pytest.mark.parametrize(
    ("written", "quoted"),
    [
        ("send: {{input}}", '"{{input}}"'),
        ('send: {{input.text or "none"}}', r'"{{input.text or \"none\"}}"'),
        ("send: {Task: {text: {{input.text}}}}", '"{{input.text}}"'),
        ("send: [a, {{input}}]", '"{{input}}"'),
        ("send: {{{{literal}}}}", '"{{{{literal}}}}"'),
        ("- {{input}}", '"{{input}}"'),
    ],
)
def test_a_template_without_quotes_is_told_with_its_quotes(written: str, quoted: str) -> None:
    problem = only(read(written, file="f", environ={}).problems)
    assert problem.message.endswith(f"put it into quotes: {quoted}")


@pytest.mark.parametrize("written", ["send: {{input}} and more", "a: b\nsend: {{a}}-{{b}}", "- {{a}} b"])
def test_a_template_without_quotes_within_a_text_is_told_too(written: str) -> None:
    assert "written in quotes" in only(read(written, file="f", environ={}).problems).message


def test_braces_that_are_no_template_are_told_as_what_they_are() -> None:
    for written in ("a: { {b: c}: d}", "? {a: b}\n: c", "a: {[b]: c}"):
        problem = only(read(written, file="f", environ={}).problems)
        assert "a key that is not a text" in problem.message
