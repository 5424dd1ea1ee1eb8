"""No text makes the package slow: every regular expression and every scanner takes time in proportion to the text.

What is compared is the cost of a text with the cost of the same text four times as long, so that the machine does not
matter. A new `re.compile` at the top of a module is found by itself; one inside a function, or another function that
reads texts of others, is named in `SCANNERS`.
"""

from __future__ import annotations

import ast
import asyncio
import gc
import importlib
import pkgutil
import random
import re
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest

import xml_pipeline
from tests.hostile_texts import Text, general, invited
from tests.llm.providers.cases import CASES, Case
from xml_pipeline import terminal, xmlify
from xml_pipeline.agents import misplaced
from xml_pipeline.agents.contract import Answer
from xml_pipeline.agents.history import Bounds, Exchange, Result, Round, within
from xml_pipeline.agents.prose import Prose
from xml_pipeline.agents.reading import Reader
from xml_pipeline.agents.toolbox import Toolbox, legal_names
from xml_pipeline.agents.wording import inside_result
from xml_pipeline.config.variables import expand
from xml_pipeline.console.fill import fill
from xml_pipeline.console.parse import parse as parse_line
from xml_pipeline.envelope import extract_payloads
from xml_pipeline.envelope.fences import unfenced, without_quotations
from xml_pipeline.envelope.thinking import without_thinking
from xml_pipeline.errors import XmlPipelineError
from xml_pipeline.hardened import parse
from xml_pipeline.llm import LLMRequest, LLMResponse, TextDelta, ToolCall, ToolSpec
from xml_pipeline.llm.emulation import StreamReader, in_words, split
from xml_pipeline.llm.entrance import Carrier, carriable_answer, carriable_json
from xml_pipeline.llm.http.rate_limit_headers import retry_after
from xml_pipeline.llm.http.secrets import Scrubber
from xml_pipeline.llm.providers.history import inline_data
from xml_pipeline.llm.providers.scripted import ScriptedBackend
from xml_pipeline.llm.providers.tool_names import ToolNames
from xml_pipeline.llm.structured import read
from xml_pipeline.llm.types import StreamFinished
from xml_pipeline.payload import codec_of
from xml_pipeline.payload.text import carriable, collapse, encodable, escape

PACKAGE = Path(xml_pipeline.__file__).parent
MEGABYTE = 1_000_000
FIRST = 1_000  # characters of the texts that are all tried
CHEAP = 200  # nanoseconds a character that are nothing to speak of, whatever a shorter text cost
GROWTH = 9.0  # for four times the text; 4 is linear, 16 quadratic
NOISE = 2_000_000  # nanoseconds below which nothing is compared
ENOUGH = 20_000_000  # nanoseconds after which a text has shown what it costs

Scan = Callable[[str], Any]


@xmlify
@dataclass
class Add:
    """Two numbers."""

    a: int
    b: str


def cost(scan: Callable[[Any], Any], text: object) -> int:
    """CPU nanoseconds of this thread, without the garbage collector's; the scanner may refuse the text."""
    gc.disable()
    try:
        started = time.thread_time_ns()
        with suppress(XmlPipelineError, ValueError, RecursionError):
            scan(text)
        return time.thread_time_ns() - started
    finally:
        gc.enable()


def assert_linear(
    scan: Callable[[Any], Any], texts: Iterable[Text], made: Callable[[str], Any] = str, *, kept: int = 1
) -> None:
    """The costliest texts take time in proportion to their length, up to a megabyte or a long time."""
    costs: list[tuple[int, int, Text]] = []
    for number, text in enumerate(texts):
        spent = cost(scan, made(text(FIRST)))
        assert spent < 50 * NOISE, f"{text(60)!r} again and again"
        costs.append((spent, number, text))
    for _, _, text in sorted(costs, reverse=True)[:kept]:
        size, spent = FIRST, cost(scan, made(text(FIRST)))
        while size < MEGABYTE and spent < ENOUGH:
            size *= 4
            before, spent = spent, cost(scan, made(text(size)))
            if spent > max(
                GROWTH * before + NOISE, CHEAP * size
            ):  # once more: something else may have come between
                again = cost(scan, made(text(size // 4)))
                spent = min(spent, cost(scan, made(text(size))))
                most = max(GROWTH * max(before, again) + NOISE, CHEAP * size)
                assert spent <= most, f"{text(60)!r} again and again, {size} long"


# --- regular expressions ---


@cache
def modules() -> tuple[Any, ...]:
    found = pkgutil.walk_packages(xml_pipeline.__path__, "xml_pipeline.")
    return tuple(importlib.import_module(each.name) for each in found if not each.name.endswith("__main__"))


@cache
def trees() -> dict[str, ast.Module]:
    return {
        str(path.relative_to(PACKAGE)): ast.parse(path.read_text()) for path in sorted(PACKAGE.rglob("*.py"))
    }


def patterns() -> dict[str, re.Pattern[Any]]:
    """Every compiled pattern that a module holds, also inside its tables, by where it stands."""
    found: dict[int, tuple[str, re.Pattern[Any]]] = {}

    def look(value: object, where: str, depth: int) -> None:
        if isinstance(value, re.Pattern):
            found.setdefault(id(value), (where, value))
        elif depth and isinstance(value, tuple | list | set | frozenset):
            for each in value:
                look(each, where, depth - 1)
        elif depth and isinstance(value, dict):
            for each in value.values():
                look(each, where, depth - 1)
        elif depth and type(value).__module__.startswith("xml_pipeline"):
            for name in getattr(type(value), "__slots__", ()):
                look(getattr(value, name, None), where, depth - 1)

    for module in modules():
        for name, value in list(vars(module).items()):
            look(value, f"{module.__name__.removeprefix('xml_pipeline.')}.{name}", 4)
    named: dict[str, re.Pattern[Any]] = {}
    for where, pattern in found.values():
        several = sum(name.partition("[")[0] == where for name in named)
        named[f"{where}[{several}]" if several else where] = pattern
    return named


@cache
def uses() -> dict[str, set[str]]:
    """Methods of a pattern by the name under which it is used anywhere."""
    found: dict[str, set[str]] = {}
    for tree in trees().values():
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name | ast.Attribute):
                name = node.value.id if isinstance(node.value, ast.Name) else node.value.attr
                if node.attr in (
                    "match",
                    "fullmatch",
                    "search",
                    "sub",
                    "subn",
                    "findall",
                    "finditer",
                    "split",
                ):
                    found.setdefault(name, set()).add(node.attr)
    return found


@cache
def usual(number: int) -> list[Text]:
    """So many of the general texts, the same in every run."""
    return random.Random(0).sample([text for text in general() if len(set(text(40))) < 12], number)


@pytest.mark.parametrize("where", patterns())
def test_every_regular_expression_is_linear(where: str) -> None:
    pattern = patterns()[where]
    made: Callable[[str], Any] = str.encode if isinstance(pattern.pattern, bytes) else str
    texts = [*invited(pattern), *usual(12)]
    for method in uses().get(where.rpartition(".")[2].partition("[")[0]) or ("match", "fullmatch"):
        if method in ("match", "fullmatch", "search"):
            assert_linear(getattr(pattern, method), texts, made)
        else:
            assert_linear(lambda text: deque(pattern.finditer(text), maxlen=0), texts, made)


def calls_of_re() -> Iterator[tuple[str, bool]]:
    """(place, whether it stands in a function) for every use of the module `re`."""

    def walk(node: ast.AST, place: str, inside: bool) -> Iterator[tuple[str, bool]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                yield from walk(child, f"{place}:{child.name}", True)
            elif (
                isinstance(child, ast.Call)
                and isinstance(child.func, ast.Attribute)
                and isinstance(child.func.value, ast.Name)
                and child.func.value.id == "re"
                and child.func.attr != "escape"
            ):
                yield place, inside
                yield from walk(child, place, inside)
            else:
                yield from walk(child, place, inside)

    for name, tree in trees().items():
        yield from walk(tree, name, False)


# --- scanners ---


def _stream(read_piece: Callable[[str], Any], text: str) -> None:
    for at in range(0, len(text), 5):
        read_piece(text[at : at + 5])


def _streamed_calls(text: str) -> None:
    reader = StreamReader(1)
    _stream(lambda piece: reader.feed(TextDelta(piece)), text)
    reader.feed(StreamFinished())


def _prose(text: str) -> None:
    Prose(("call", "message", "Add")).feed(text)
    prose = Prose(("call", "message", "Add"))
    _stream(prose.feed, text)
    prose.close()


def _carried(text: str) -> None:
    carrier = Carrier()
    _stream(lambda piece: list(carrier.feed(TextDelta(piece))), text)
    list(carrier.close())


def _scripted(text: str) -> None:
    """A backend that repeats the question, word by word."""

    async def listen() -> None:
        request = LLMRequest("m", [{"role": "user", "content": text}])
        async for _ in ScriptedBackend()._do_stream(None, request):
            pass

    asyncio.run(listen())


def _toolbox() -> Toolbox:
    from tests.agents.scenes import Scene

    scene = Scene("x")
    return Toolbox.of(scene.organism.listeners["bot"], scene.organism.listeners)


CODEC: Any = codec_of(Add)
TOOLBOX = _toolbox()
SCRUB = Scrubber(
    ["sk-a-secret-0123456789", "aaaaaaaaaaaaaaaaaaaaaaaaaaa", "*x*x*x*x*x*x", "1.1.1.1.1.1."], ["a b c d"]
)
READERS = [Reader(TOOLBOX, mode) for mode in ("native", "xml")]

# By name, and the functions with patterns of their own that are run by it.
SCANNERS: dict[str, tuple[Scan, tuple[str, ...]]] = {
    "an agent's reader": (
        lambda text: [reader.read(LLMResponse(text, "m")) for reader in READERS],
        ("agents/misplaced.py:_in_prose", "agents/misplaced.py:_named_after"),
    ),
    "payloads in text": (
        lambda text: extract_payloads(text, [CODEC, codec_of(Answer)]),
        (
            "envelope/repairs.py:_spans",
            "envelope/repairs.py:_end",
            "envelope/repairs.py:_vocabulary",  # reads the schemas of classes only
            "envelope/thinking.py:without_thinking",
        ),
    ),
    "thinking": (lambda text: without_thinking(text, ["Add", "Answer"]), ()),
    "fences": (lambda text: (unfenced(text), without_quotations(text)), ()),
    "made-up results": (misplaced.written_as_result, ()),
    "text for people": (_prose, ("agents/prose.py:__init__",)),
    "calls in words": (lambda text: split(text, 1), ()),
    "streamed calls in words": (_streamed_calls, ()),
    "messages in words": (
        lambda text: in_words(
            [
                {"role": "user", "content": text},
                {"role": "assistant", "tool_calls": [ToolCall("1", text, text).as_dict()]},
                {"role": "tool", "tool_call_id": "1", "content": text},
            ]
        ),
        (),
    ),
    "a result in text": (inside_result, ()),
    "structured answers": (lambda text: read(CODEC, text), ()),
    "arguments": (lambda text: ToolCall("1", "t", text).arguments, ()),
    "JSON escapes": (carriable_json, ()),
    "a whole answer": (
        lambda text: carriable_answer(LLMResponse(text, "m", tool_calls=[ToolCall(text, text, text)])),
        (),
    ),
    "a streamed answer": (_carried, ()),
    "a scripted stream": (_scripted, ("llm/providers/scripted/__init__.py:_pieces",)),
    "characters": (lambda text: (carriable(text), encodable(text), collapse(text)), ()),
    "character data": (escape, ()),
    "secrets": (SCRUB, ()),
    "limits in headers": (lambda text: retry_after({"retry-after": text}), ()),
    "pictures": (inline_data, ()),
    "names of tools": (lambda text: (legal_names([text]), TOOLBOX.read([ToolCall("", text, text)])), ()),
    "documents": (lambda text: parse(text.encode("utf-8", "replace")), ()),
    "a payload": (lambda text: CODEC.from_json({"a": text, "b": text}), ()),
    "variables": (lambda text: expand(text, {"A": "x"}), ()),
    "a line of the console": (parse_line, ()),
    "what a line means": (lambda text: fill("add", [CODEC], text), ()),
    "text for a terminal": (
        lambda text: (
            terminal.lines(text),
            terminal.wrapped(terminal.line(text), 80),
            terminal.columns(text),
        ),
        (),
    ),
}
# Over texts of the package's own, of the file that holds them, or with a pattern that its user wrote.
OTHERS = {
    "cases/expecting.py:_in_value",
    "cases/script.py:next",
    "config/case_checks.py:_pattern",
    "config/diagnosis.py:_requirement",
    "llm/providers/chat/rules.py:rule",
    "llm/providers/scripted/__init__.py:__post_init__",
    "llm/providers/scripted/__init__.py:_choose",
}


@pytest.mark.parametrize("name", SCANNERS)
def test_every_scanner_is_linear(name: str) -> None:
    assert_linear(SCANNERS[name][0], usual(100), kept=2)


def test_every_pattern_inside_a_function_is_run_by_a_scanner() -> None:
    run = {place for _, places in SCANNERS.values() for place in places} | OTHERS
    inside = {place for place, is_inside in calls_of_re() if is_inside}
    assert inside - run == set(), "name a scanner that runs it in SCANNERS"
    assert run - inside == set()


# --- many things instead of long ones ---


def many_calls(count: int) -> list[ToolCall]:
    """Calls without ids, all of one name."""
    return [ToolCall("", "add", '{"a": 1, "b": "x"}') for _ in range(count)]


def many_names(count: int) -> ToolNames:
    return ToolNames([f"{'é' if number % 2 else 'ü'}{chr(0x4E00 + number)}" for number in range(count)])


def long_memory(count: int) -> list[Exchange]:
    rounds = (Round({"role": "assistant", "content": "x"}, (Result("1", "add", "y" * 500),)),)
    earlier = [Exchange({"role": "user", "content": str(number)}, rounds) for number in range(count)]
    current = Exchange({"role": "user", "content": "now"}, rounds * count)
    return within(Bounds(40, 100), earlier, current)


def history_of_calls(count: int) -> LLMRequest:
    calls = [{**call.as_dict(), "id": "same"} for call in many_calls(count)]
    results = [{"role": "tool", "tool_call_id": "same", "content": "3"} for _ in range(count)]
    messages = [
        {"role": "user", "content": "Go."},
        {"role": "assistant", "content": "", "tool_calls": calls},
        *results,
        {"role": "user", "content": "Well?"},
    ]
    return LLMRequest("m", messages, tools=[ToolSpec("add")])


COUNTS: dict[str, Callable[[int], Any]] = {
    "calls without ids": lambda count: TOOLBOX.read(many_calls(count)),
    "names of tools": many_names,
    "legal names": lambda count: legal_names([f"é{number}" for number in range(count)]),
    "a long memory": long_memory,
    "calls in words": lambda count: split(
        '<tool_call>{"name": "add", "arguments": {}}</tool_call>' * count, 1
    ),
    "a history in words": lambda count: in_words(history_of_calls(count).messages),
    "payloads": lambda count: extract_payloads("<Add><a>1</a><b>x</b></Add>\n" * count, [CODEC]),
    **{f"a history for {case}": partial(lambda case, count: encoded(case, count), case) for case in CASES},
}


def encoded(case: Case, count: int) -> Any:
    """A history of many calls and results as a provider gets it."""
    dialect = case.backend("http://127.0.0.1", "key").dialect
    assert dialect is not None
    return dialect.encode(replace(history_of_calls(count), model=case.model), stream=False)


@pytest.mark.parametrize("name", COUNTS)
def test_ten_thousand_of_something_take_ten_thousand_times_as_long_as_one(name: str) -> None:
    few, many = (cost(COUNTS[name], count) for count in (2_500, 10_000))
    if many > GROWTH * few + 10 * NOISE:
        few, many = (min(cost(COUNTS[name], count) for _ in range(2)) for count in (2_500, 10_000))
    assert many <= GROWTH * few + 10 * NOISE


def test_the_test_finds_what_is_not_linear() -> None:
    for written in (
        r"(?m)^Action:[ \t]*([^\n]+?)[ \t]*\n+[ \t]*Action Input:",
        r"(?s)\A\s*```[a-zA-Z]*\s*\n(.*?)\n?```\s*\Z",
        r"(\d+(?:\.\d+)?)(ms|us|h)",
        r"a*b",
    ):
        with pytest.raises(AssertionError, match="again and again"):
            assert_linear(re.compile(written).search, invited(re.compile(written)))
