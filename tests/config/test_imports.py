"""Import paths: modules beside organism.yaml are found, and what cannot be used is a problem."""

from __future__ import annotations

import inspect
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from tests.config.projects import HANDLERS, only, problems_in, write
from xml_pipeline.config import load, resolve
from xml_pipeline.errors import ConfigError


def one_listener(line: str) -> str:
    return f"organism: {{name: x}}\nlisteners:\n  - name: one\n    {line}\n"


PROJECT = {
    "handlers.py": HANDLERS,
    "package/__init__.py": "",
    "package/tools.py": "from handlers import greet\n\n\nclass Box:\n    put = staticmethod(greet)\n",
    "package/broken.py": "import handlers\n\nhandlers.nothing\n",
    "package/needs.py": "import not_installed_anywhere\n",
    "package/leaves.py": "raise SystemExit(3)\n",
    "package/typo.py": "def f(:\n",
    "package/odd.py": "raise BaseException('odd')\n",
    "package/mute.py": "class Mute(Exception):\n    def __str__(self): raise self\n\nraise Mute\n",
    "package/lazy.py": "def __getattr__(name): raise BaseException(name)\n",
}


@pytest.mark.parametrize(
    "dotted",
    [
        "handlers:greet",
        "package.tools:greet",
        "package.tools:Box.put",
    ],
)
def test_modules_beside_the_file_are_found(dotted: str, tmp_path: Path) -> None:
    file = write(tmp_path, {**PROJECT, "organism.yaml": one_listener(f"handler: {dotted}")})
    search = list(sys.path)
    config = load(file, environ={})
    assert config.resolved[dotted].__name__ == "greet"
    assert resolve(dotted, base=tmp_path) is config.resolved[dotted]
    assert sys.path == search


def test_installed_modules_are_found(tmp_path: Path) -> None:
    from collections import OrderedDict

    assert resolve("collections:OrderedDict", base=tmp_path) is OrderedDict
    assert resolve("collections:OrderedDict.fromkeys", base=tmp_path) == OrderedDict.fromkeys


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("handler: handelrs:greet", "there is no module 'handelrs'; did you mean 'handlers'? (looked beside"),
        (
            "handler: package:tolls.greet",
            "/package/__init__.py) has no 'tolls'; did you mean 'tools'?",
        ),
        (
            "handler: package.tolls:greet",
            "'package.tolls'; did you mean 'tools'? (in the package",
        ),
        (
            "handler: handlers.inner:greet",
            "'handlers.inner' ('handlers' is a module and holds no",
        ),
        ("handler: handlers:gret", "'handlers' ({base}/handlers.py) has no 'gret'; did you mean 'greet'?"),
        ("handler: package.tools:Box.pot", "'package.tools.Box' has no 'pot'; did you mean 'put'?"),
        ("handler: handlers:answer", "'handlers:answer' is of the type int; a handler is a function"),
        ("handler: handlers:Greeting", "'handlers:Greeting' is of the type type; a handler is a function"),
        (
            "handler: package.broken:f",
            "AttributeError: module 'handlers' has no attribute 'nothing'",
        ),
        ("handler: package.broken:f", "(broken.py, line 3)"),
        (
            "handler: package.needs:f",
            "No module named 'not_installed_anywhere' (needs.py, line 1)",
        ),
        ("handler: package.leaves:f", "fails while it is imported: SystemExit: 3 (leaves.py, line 1)"),
        ("handler: package.typo:f", "fails while it is imported: SyntaxError"),
        ("handler: package.odd:f", "fails while it is imported: BaseException: odd (odd.py, line 1)"),
        (
            "handler: package.mute:f",
            "fails while it is imported: Mute (which cannot be shown) (mute.py, line 4)",
        ),
        ("handler: package.lazy:f", "'package.lazy.f' cannot be had: BaseException: f"),
        ("handler: handlers:unannotated", "does not say what it accepts"),
        ("handler: handlers:too_many", "cannot be called as handler(payload, metadata)"),
        ("{handler: handlers:greet, accepts: handlers:NoPayload}", "is no payload class; decorate it"),
        (
            "{handler: handlers:greet, accepts: handlers:greet}",
            "is of the type function; a payload",
        ),
        ("{agent: true, model: m, accepts: [handlers:Reply, handlers:Replay]}", "did you mean 'Reply'?"),
        ("{agent: true, model: m, answers: handlers:NoPayload}", "is no payload class; decorate it"),
        (
            "{agent: true, model: m, accepts: [handlers:Reply, twins:Reply]}",
            "two classes named Reply",
        ),
    ],
)
def test_a_path_that_cannot_be_used_says_why(line: str, message: str, tmp_path: Path) -> None:
    text = one_listener(line)
    if line.startswith("{"):
        text = f"organism: {{name: x}}\nlisteners:\n  -\n    {{name: one, {line[1:]}\n"
    file = write(tmp_path, {**PROJECT, "twins.py": HANDLERS, "organism.yaml": text})
    problem = only(problems_in(file))
    assert message.format(base=tmp_path) in problem.message
    assert problem.line == 4
    assert problem.path.startswith("listeners[0].")


def test_two_projects_in_one_process_do_not_share_modules(tmp_path: Path) -> None:
    handlers = "from helper import NAME\nfrom handlers_base import *\n"
    projects = []
    for name in ("first", "second"):
        files = {
            "organism.yaml": one_listener("handler: handlers:greet"),
            "handlers.py": handlers,
            "handlers_base.py": HANDLERS,
            "helper.py": f"NAME = {name!r}\n",
        }
        projects.append(load(write(tmp_path / name, files), environ={}))
    first, second = (config.resolved["handlers:greet"] for config in projects)
    assert first is not second
    names = [resolve("handlers:NAME", base=tmp_path / name) for name in ("first", "second", "first")]
    assert names == ["first", "second", "first"]


def test_a_module_of_one_project_is_not_found_from_another(tmp_path: Path) -> None:
    write(tmp_path / "first", {"only_here.py": "x = 1\n"})
    assert resolve("only_here:x", base=tmp_path / "first") == 1
    with pytest.raises(ConfigError, match="there is no module 'only_here'"):
        resolve("only_here:x", base=tmp_path / "second")
    assert sys.modules["only_here"].x == 1


def test_a_module_that_appears_later_is_found(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no module 'written_later'"):
        resolve("written_later:x", base=tmp_path)
    (tmp_path / "written_later.py").write_text("x = 1\n")
    assert resolve("written_later:x", base=tmp_path) == 1


@pytest.mark.parametrize("dotted", ["greet", "a..b", ".a", "a.", "a:b:c", "a b.c", ""])
def test_what_is_no_import_path_is_refused(dotted: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is no import path; write `"):
        resolve(dotted, base=tmp_path)


IN_ANOTHER_PROCESS = """
import asyncio, inspect, pickle, sys
handler, payload = pickle.load(sys.stdin.buffer)
answer = handler(payload, None)
answer = asyncio.run(answer) if inspect.isawaitable(answer) else answer
sys.stdout.buffer.write(pickle.dumps(answer))
"""
CPU_HANDLERS = """
from dataclasses import dataclass
from xml_pipeline import xmlify

@xmlify
@dataclass
class Number:
    value: int

def double(payload: Number, metadata: object) -> Number:
    return Number(payload.value * 2)

async def triple(payload: Number, metadata: object) -> Number:
    return Number(payload.value * 3)
"""


@pytest.mark.parametrize(("name", "result"), [("double", 14), ("triple", 21)])
def test_a_cpu_bound_handler_beside_the_file_works_in_another_process(
    name: str, result: int, tmp_path: Path
) -> None:
    line = f"handler: numbers_beside:{name}\n    cpu_bound: true"
    file = write(tmp_path, {"organism.yaml": one_listener(line), "numbers_beside.py": CPU_HANDLERS})
    handler = load(file, environ={}).resolved[f"numbers_beside:{name}"]
    number = resolve("numbers_beside:Number", base=tmp_path)
    ran = subprocess.run(
        [sys.executable, "-c", IN_ANOTHER_PROCESS],
        input=pickle.dumps((handler, number(7))),
        stdout=subprocess.PIPE,
        check=True,
    )
    assert pickle.loads(ran.stdout) == number(result)
    assert inspect.iscoroutinefunction(type(handler).__call__) == (name == "triple")
