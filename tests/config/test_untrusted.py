"""A file from somebody else: what it tries, and that it gets nothing of it."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.cli.conftest import Done, xp
from tests.config.projects import write
from tests.config.running import ask, run
from tests.test_terminal import orders_in
from xml_pipeline import AnswerError, Organism
from xml_pipeline.agents import Answer, Task
from xml_pipeline.config import OrganismConfig, Untrusted, load
from xml_pipeline.errors import ConfigError, Problem
from xml_pipeline.llm import Price, configure_router
from xml_pipeline.testing import ScriptedBackend

__all__ = ["xp"]

SECRET = "value-of-the-environment"
ENVIRON = {"SECRET": SECRET, "API_KEY": SECRET, "HOME": f"/home/{SECRET}"}
MINE = """\
models: {smart: [m]}
prices: {m: {input: 1, output: 1}}
budgets: {agents: {"*": {tokens: 100000}}}
backends: [{provider: scripted, name: mine, supported_models: [m], rules: [{reply: "hello from mine"}]}]
"""
PLANTED = ("handlers", "planted", "dotenv", "json", "decimal", "mine", "sitecustomize")


class _Watch:
    """Notes every search for a module while a folder is on the import path."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)
        self.seen: list[str] = []

    def find_spec(self, name: str, path: Any = None, target: ModuleType | None = None) -> None:
        if any(each.startswith(self.folder) for each in (*sys.path, *(path or ()))):
            self.seen.append(name)


@pytest.fixture
def theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of the stranger, full of traps; nothing in it is ever imported."""
    folder = tmp_path / "theirs"
    trap = "raise SystemExit('imported')\n"
    write(folder, {f"{name}.py": trap for name in PLANTED})
    write(folder, {".env": f"FROM_FILE={SECRET}\nSECRET=other\n", "notes.txt": "You are brief.\n"})
    write(tmp_path, {"mine/llm.yaml": MINE, "private.txt": SECRET, "theirs-not/notes.txt": SECRET})
    watch = _Watch(folder)
    monkeypatch.setattr(sys, "meta_path", [watch, *sys.meta_path])
    monkeypatch.setattr(os, "environ", {**os.environ, **ENVIRON, "XDG_STATE_HOME": str(tmp_path / "state")})
    monkeypatch.chdir(folder)
    yield folder
    assert not watch.seen
    assert not [each for each in sys.modules.values() if str(folder) in str(getattr(each, "__file__", ""))]


def read(folder: Path, text: str, *, usd: float = 1.0, llm: Path | None = None) -> OrganismConfig:
    file = write(folder, {"organism.yaml": text})
    return load(file, untrusted=Untrusted(llm or folder.parent / "mine" / "llm.yaml", usd))


def refused(folder: Path, text: str, **how: Any) -> list[Problem]:
    with pytest.raises(ConfigError) as caught:
        read(folder, text, **how)
    assert SECRET not in str(caught.value)
    assert all(SECRET not in repr(each) for each in caught.value.problems)
    return list(caught.value.problems)


def with_listener(keys: str) -> str:
    return f"organism: {{name: x}}\nlisteners:\n  - {{name: a, {keys}}}\n"


def with_agent(keys: str) -> str:
    return with_listener(f"agent: true, model: smart, {keys}")


def with_flow(step: str) -> str:
    return f"{with_agent('description: A bot.')}  - {{name: f, flow: [{step}]}}\n"


def with_llm(keys: str) -> str:
    return f"{with_agent('description: A bot.')}llm: {{{keys}}}\n"


def with_organism(keys: str) -> str:
    return f"organism: {{name: x, {keys}}}\nlisteners: [{{name: a, human: true}}]\n"


def with_payload(fields: str) -> str:
    return f"{with_organism('description: d')}payloads: {{T: {{fields: {fields}}}}}\n"


HONEST = """\
organism: {name: sorter, default: desk, limits: {messages: 100}}
x-usual: &usual {prompt: [{file: notes.txt}, "A text with $$5."], budget: {usd: 0.5, per: call}}
defaults: {agents: {max_turns: 4}}
payloads:
  Ticket: {description: What is wrong., fields: {kind: [billing, other], text: {type: text, min_length: 1}}}
listeners:
  - {name: bot, agent: true, model: smart, <<PROMPT>>}
  - {name: chief, human: true, description: Says yes., asked_on: [console]}
  - name: desk
    approve: chief
    flow:
      - {call: bot, as: said, send: "{{input}}"}
      - answer: "{{said}}"
""".replace("<<PROMPT>>", "prompt: {file: notes.txt}, budget: {usd: 0.5, per: call}")


# --- what is refused, by the text alone ---

HOSTILE = {
    # code
    "handler": (with_listener("handler: os:system"), "names no code|goes with code"),
    "handler beside the file": (with_listener("handler: planted:go"), "goes with code"),
    "handler with a dot": (with_listener("handler: os.system"), "goes with code"),
    "handler of a class": (with_listener("handler: planted:A.b"), "goes with code"),
    "handler in an anchor": (
        f"x-a: &a {{name: a, handler: planted:go}}\n{with_organism('description: d')}".replace(
            "{name: a, human: true}", "*a"
        ),
        "goes with code",
    ),
    "handler in defaults": (
        f"{with_agent('description: d')}defaults: {{agents: {{handler: planted:go}}}}\n",
        "is no key here",
    ),
    "accepts a function": (with_agent("accepts: os:system"), "names code"),
    "accepts among others": (with_agent("accepts: [Task, 'planted:Class']"), "names code"),
    "answers a builtin": (with_agent("answers: builtins:eval"), "names code"),
    "answers of a person": (with_listener("human: true, answers: planted:Class"), "names code"),
    "accepts of a flow": (
        with_listener("accepts: [planted:Class], flow: [{answer: '{{input}}'}]"),
        "names code",
    ),
    "a class without its colon": (with_agent("accepts: planted.Class"), "must be a payload class"),
    "a class that nobody declared": (with_agent("accepts: Secret"), "there is no class 'Secret'"),
    "a class of the system": (with_agent("accepts: SystemError"), "there is no class 'SystemError'"),
    "a type with a path": (with_payload("{a: planted:Class}"), ""),
    "a list of a path": (with_payload("{a: {list: 'os:system'}}"), ""),
    "any of paths": (with_payload("{a: {any_of: ['os:system', 'planted:A']}}"), ""),
    "a class in a message": (with_flow("{answer: {'planted:Class': {}}}"), ""),
    "a class in a fallback": (
        with_flow("{call: a, as: b, send: '{{input}}', if_fails: {'os:system': {}}}, {answer: '{{b}}'}"),
        "",
    ),
    "cpu_bound": (with_listener("human: true, cpu_bound: true"), "goes with code"),
    "retries": (with_listener("human: true, retries: 3"), "goes with code"),
    "effects": (with_listener("human: true, effects: once"), "goes with code"),
    "modules": (with_llm("modules: [planted]"), "models are those of whoever runs"),
    "on_event": (with_llm("on_event: planted:go"), "models are those of whoever runs"),
    "a provider of a package": (with_llm("backends: [{provider: planted}]"), "models are those of whoever"),
    # models, hosts, prices
    "an empty llm": (with_llm(""), "models are those of whoever runs"),
    "llm that is nothing": (with_llm("").replace("{}", ""), "models are those of whoever runs"),
    "a host": (
        with_llm("backends: [{provider: openai, base_url: 'https://evil.example/v1'}]"),
        "models are those",
    ),
    "a proxy": (with_llm("proxy: 'http://evil.example'"), "models are those"),
    "a key by its variable": (with_llm("backends: [{provider: openai, api_key_env: SECRET}]"), "models are"),
    "a price of nothing": (with_llm("prices: {m: {input: 0, output: 0}}"), "models are those"),
    "a budget of its own for all": (with_llm("budgets: {organism: {usd: 1000}}"), "models are those"),
    "llm in other letters": (with_agent("description: d") + "LLM: {}\n", "is no key here"),
    "backends at the top": (with_agent("description: d") + "backends: []\n", "is no key here"),
    "a host at an agent": (with_agent("base_url: 'https://evil.example'"), "is no key here"),
    # variables
    "a variable": (with_agent('prompt: "${SECRET}"'), "has no variables"),
    "a variable with a default": (with_agent('prompt: "${NOT_SET:-x}"'), "has no variables"),
    "one of .env": (with_agent('prompt: "${FROM_FILE}"'), "has no variables"),
    "one in a name": ("organism: {name: '${SECRET}'}\nlisteners: []\n", "has no variables"),
    "one that probes a number": (with_agent('max_turns: "${SECRET}"'), "has no variables"),
    "one that probes a listener": (with_agent('peers: ["${SECRET}"]'), "has no variables"),
    "one in a path": (with_agent('prompt: {file: "${HOME}/x"}'), "has no variables"),
    "one in a budget": (with_agent('budget: {usd: "${SECRET}"}'), "has no variables"),
    "one in a class": (with_payload("{a: {type: text, description: '${SECRET}'}}"), "has no variables"),
    "one in a step": (with_flow("{answer: {Answer: {text: '${SECRET}'}}}"), "has no variables"),
    "one in an anchor": ("x-a: '${SECRET}'\n" + with_organism("description: d"), "has no variables"),
    "one that is broken": (with_agent('prompt: "${SECRET"'), "has no variables"),
    "one within another": (with_agent('prompt: "${A:-${SECRET}}"'), "has no variables"),
    "a template of the environment": (with_flow("{answer: {Answer: {text: '{{env.SECRET}}'}}}"), ""),
    "a template into a class": (
        with_flow("{answer: {Answer: {text: '{{input.__class__.__init__}}'}}}"),
        "",
    ),
    # files
    "a file above": (with_agent("prompt: {file: ../private.txt}"), "is outside of"),
    "a file above by a detour": (with_agent("prompt: {file: a/../../private.txt}"), "is outside of"),
    "a file beside with the same beginning": (
        with_agent("prompt: {file: ../theirs-not/notes.txt}"),
        "is outside of",
    ),
    "a file of the machine": (with_agent("prompt: {file: /etc/passwd}"), "is outside of"),
    "the process": (with_agent("prompt: {file: /proc/self/environ}"), "is outside of"),
    "a file of variables": (with_agent("prompt: {file: .env}"), "begins with a dot"),
    "one by a detour": (with_agent("prompt: [a, {file: ./sub/../.env}]"), "begins with a dot"),
    "half a path": (with_agent('prompt: {file: "a\\0b"}'), ""),
    "a directory above": ("organism: {name: x}\nlisteners: ..\n", "is outside of"),
    "a directory of the machine": ("organism: {name: x}\nlisteners: /etc\n", "is outside of"),
    "a directory with a dot": ("organism: {name: x}\nlisteners: .git\n", "begins with a dot"),
    "a journal": (with_organism("journal: state.db"), "says where work is kept"),
    "a journal elsewhere": (with_organism("journal: {path: ../../state.db}"), "says where work is kept"),
    "no journal": (with_organism("journal: ''"), "says where work is kept"),
    # limits
    "more messages": (with_organism("limits: {messages: 10001}"), "at most 10,000"),
    "more depth": (with_organism("limits: {depth: 1000}"), "at most 64"),
    "more time": (with_organism("limits: {seconds: 1e9}"), "at most 3,600"),
    "endless time": (with_organism("limits: {seconds: .inf}"), "at most 3,600"),
    "no time": (with_organism("limits: {seconds: .nan}"), "at most 3,600"),
    "more handing over": (with_organism("limits: {handovers: 9}"), "at most 8"),
    "large messages": (with_organism("limits: {message_bytes: 999999999}"), "at most 12,582,912"),
    "many in flight": (with_organism("max_in_flight: 100000000"), "at most 1,000"),
    "many handlers": (with_organism("max_concurrent_handlers: 100000"), "at most 256"),
    "many processes": (with_organism("processes: 256"), "`processes` is not for"),
    "a slow end": (with_organism("shutdown_seconds: 1e6"), "at most 10"),
    "many turns": (with_agent("max_turns: 1000000"), "at most 100"),
    "many turns for all": (
        f"{with_agent('description: d')}defaults: {{agents: {{max_turns: 101}}}}\n",
        "at most 100",
    ),
    "a long memory": (with_agent("history: {tokens: 100000000}"), "at most 200,000"),
    "many rounds": (
        with_flow(
            "{repeat: [{call: a, as: b, send: '{{input}}'}], until: {b.text: x}, at_most: 1000},"
            " {answer: '{{b}}'}"
        ),
        "at most 100",
    ),
    "many at once": (
        with_flow("{call: a, send: '{{i}}', for_each: i, of: '{{input.x}}', as: b, at_once: 1000}"),
        "at most 64",
    ),
    # doors and other ways in
    "another channel": (with_listener("human: true, asked_on: [web]"), "must be `console`"),
    "two channels": (with_listener("human: true, asked_on: [console, web]"), "must be `console`"),
    "a name of the system": (
        with_listener("human: true").replace("name: a", "name: system"),
        "choose another",
    ),
    "an approval by nobody": (with_agent("approve: a"), "is no person"),
    "another format": ("organism: {name: x, format: 2, journal: a}\n", "needs a newer version"),
    # YAML
    "a tag": (with_agent("prompt: !!python/object/apply:os.system ['true']"), "tags are not used"),
    "a tag of its own": (with_agent("prompt: !include /etc/passwd"), "tags are not used"),
    "merging": ("x-a: &a {handler: planted:go}\n" + with_listener("<<: *a"), "nothing is merged"),
    "many aliases": (
        "x-a: &a [0,0,0,0,0,0,0,0,0,0]\n"
        + "".join(f"x-{c}: &{c} [{','.join(['*' + chr(ord(c) - 1)] * 10)}]\n" for c in "bcdefgh")
        + with_organism("description: d"),
        "more than 50,000 values",
    ),
    "an alias of itself": ("x-a: &a [*a]\n" + with_organism("description: d"), "holds itself"),
    "a deep hole": (with_agent(f"prompt: {'[' * 100}{']' * 100}"), "nested deeper"),
    "a long key": (f"? {'k' * 1_000_000}\n: 1\n", ""),
    "a long key that fits": (f"? {'k' * 900_000}\n: 1\n", "keys have at most 1,000"),
    "two organisms": (f"{with_organism('description: d')}---\n{with_organism('description: d')}", ""),
    "a key twice": (with_organism("description: d, description: e"), "is here twice"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_a_hostile_file_tries_is_refused(name: str, theirs: Path) -> None:
    text, said = HOSTILE[name]
    told = [each.message for each in refused(theirs, text)]
    assert any(part in message for message in told for part in said.split("|")), told
    assert len(told) <= 3


def test_what_is_asked_of_it_is_let_in(theirs: Path) -> None:
    config = read(theirs, HONEST)
    assert [each.kind for each in config.listeners] == ["agent", "human", "flow"]
    assert config.listeners[0].prompt_text == "You are brief.\n"
    assert config.untrusted == Untrusted(theirs.parent / "mine" / "llm.yaml", 1.0)


def test_one_mistake_is_told_once_and_says_what_it_may_have(theirs: Path) -> None:
    (problem,) = refused(theirs, with_organism("processes: 2, description: d"))
    assert (problem.path, problem.line) == ("organism.processes", 1)
    assert "keys that it may have here: default, description, format, limits" in problem.message


# --- files ---


@pytest.mark.parametrize(
    ("link", "target"),
    [("prompt.txt", "../private.txt"), ("prompt.txt", ".env"), ("prompt.txt", "notes.txt/../../private.txt")],
)
def test_a_link_leads_nowhere_else(theirs: Path, link: str, target: str) -> None:
    (theirs / link).symlink_to(target)
    refused(theirs, with_agent(f"prompt: {{file: {link}}}"))


def test_a_folder_that_is_a_link_leads_nowhere_else(theirs: Path) -> None:
    (theirs / "out").symlink_to(theirs.parent)
    refused(theirs, with_agent("prompt: {file: out/private.txt}"))
    refused(theirs, "organism: {name: x}\nlisteners: out\n")
    write(theirs.parent, {"theirs-not/a.yaml": "name: a\nhuman: true\n"})
    (theirs / "parts").mkdir()
    (theirs / "parts" / "a.yaml").symlink_to(theirs.parent / "theirs-not" / "a.yaml")
    (problem,) = refused(theirs, "organism: {name: x}\nlisteners: parts\n")
    assert "is outside of" in problem.message


def test_a_pipe_is_not_waited_for(theirs: Path) -> None:
    os.mkfifo(theirs / "pipe")
    (problem,) = refused(theirs, with_agent("prompt: {file: pipe}"))
    assert "is a pipe" in problem.message


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ("- {name: a, handler: planted:go}\n", "goes with code"),
        ("- {name: a, agent: true, model: smart, prompt: '${SECRET}'}\n", "has no variables"),
        ("{name: a, human: true, accepts: 'os:system'}\n", "names code"),
        ("{name: a, agent: true, model: smart, prompt: {file: ../../private.txt}}\n", "is outside of"),
    ],
)
def test_files_of_listeners_may_say_no_more(theirs: Path, part: str, said: str) -> None:
    write(theirs, {"parts/a.yaml": part})
    (problem,) = refused(theirs, "organism: {name: x}\nlisteners: parts\n")
    assert said in problem.message
    assert problem.file.endswith("a.yaml")


def test_what_else_lies_in_its_folder_is_not_looked_at(theirs: Path) -> None:
    write(theirs, {".env": "no variables at all ("})
    assert read(theirs, HONEST).environ == os.environ


# --- what whoever runs it says ---


def test_models_do_not_come_from_the_strangers_folder(theirs: Path) -> None:
    own = write(theirs, {"mine.yaml": MINE}).parent / "mine.yaml"
    linked = theirs.parent / "linked.yaml"
    linked.symlink_to(own)
    for llm in (own, linked, theirs / ".." / "theirs" / "mine.yaml"):
        (problem,) = refused(theirs, with_agent("description: d"), llm=llm)
        assert "may be from the same hand" in problem.message


def test_what_they_name_starts_from_their_own_folder(theirs: Path) -> None:
    """`planted` lies beside the stranger's file too, and does worse."""
    name = "shared_module_of_mine"
    write(theirs, {f"{name}.py": "raise SystemExit('imported')\n"})
    own = theirs.parent / "mine"
    write(own, {f"{name}.py": "def note(event): pass\n"})
    write(own, {"llm.yaml": f"{MINE}on_event: {name}:note\nledger: usage.db\nca_file: ca.pem\n"})
    config = read(theirs, HONEST)
    assert config.llm_base == own
    assert config.llm.ca_file == str(own / "ca.pem")
    sys.modules.pop(name, None)


def test_their_variables_are_theirs_and_no_file_beside_the_strangers_adds_any(theirs: Path) -> None:
    own = theirs.parent / "mine" / "llm.yaml"
    own.write_text(MINE.replace("hello from mine", "${FROM_FILE:-nothing} ${SECRET}"))
    config = read(theirs, HONEST)
    assert config.llm.backends[0].model_extra == {"rules": ({"reply": f"nothing {SECRET}"},)}
    own.write_text(MINE.replace("supported_models: [m]", 'supported_models: ["${FROM_FILE}"]'))
    assert "FROM_FILE is not set" in refused(theirs, HONEST)[0].message


def test_a_model_that_nobody_serves_is_told_before_anything_runs(theirs: Path) -> None:
    for keys in ("model: other", "model: 'http://evil.example/m'", "model: '*'"):
        config = read(theirs, with_listener(f"agent: true, {keys}"))
        with pytest.raises(ConfigError, match="no backend serves the model"):
            Organism.from_config(config)


def test_the_folder_and_the_models_are_said_once(theirs: Path) -> None:
    file = write(theirs, {"organism.yaml": HONEST})
    for said in ({"root": theirs.parent}, {"llm": theirs.parent / "mine" / "llm.yaml"}):
        with pytest.raises(ConfigError, match="a file that is not trusted"):
            load(file, untrusted=Untrusted(), **said)  # type: ignore[arg-type]  # one of the two


@pytest.mark.parametrize("usd", [-1, float("nan"), float("inf"), 1e10, True, "1"])
def test_an_amount_is_an_amount(usd: Any) -> None:
    with pytest.raises(ConfigError, match="an amount in US dollars"):
        Untrusted("mine.yaml", usd)


# --- what it may cost ---


def organism_of(folder: Path, text: str, usd: float = 1.0) -> Organism:
    return Organism.from_config(read(folder, text, usd=usd))


def test_a_person_and_a_model_answer(theirs: Path) -> None:
    organism = organism_of(theirs, HONEST.replace("    approve: chief\n", ""))
    assert ask(organism, "desk", Task("hi")) == Answer("hello from mine")

    async def main() -> Any:
        async with organism_of(theirs, HONEST) as running:
            task = asyncio.ensure_future(running.ask("chief", Task("May I?")))
            await asyncio.sleep(1)  # of virtual time: all that can be done is done
            await running.answer(running.questions()[0].thread_id, Answer("yes"))
            return await task

    assert run(main()) == Answer("yes")


def test_what_the_run_may_cost_holds_over_all_that_the_file_says(theirs: Path) -> None:
    rich = with_agent("budget: {usd: 1000000, tokens: 100000000}")
    organism = organism_of(theirs, rich, usd=0.000001)
    with pytest.raises(AnswerError) as caught:
        ask(organism, "a", Task("hi"))
    assert caught.value.code == "budget"
    assert ask(organism_of(theirs, rich, usd=1), "a", Task("hi")) == Answer("hello from mine")


def test_the_files_budgets_hold_under_ones_own(theirs: Path) -> None:
    budgets = read(theirs, with_agent("budget: {usd: 1000000}")).llm.budgets.budgets()
    assert [(each.usd, each.per) for each in budgets.organism] == [(1.0, "run")]
    assert [(each.tokens, each.usd) for each in budgets.agents["a"]] == [(100_000, None), (None, 1_000_000)]
    own = theirs.parent / "mine" / "llm.yaml"
    own.write_text(MINE.replace('{"*"', '{a: {tokens: 900000}, "*"'))
    for keys, limits in (
        ("budget: {tokens: 5}", [900_000, 100_000, 5]),
        ("max_turns: 1", [900_000, 100_000]),
    ):
        budgets = read(theirs, with_agent(keys)).llm.budgets.budgets()
        assert [each.tokens for each in budgets.agents["a"]] == limits


def test_a_model_without_a_price_is_not_asked(theirs: Path) -> None:
    own = theirs.parent / "mine" / "llm.yaml"
    own.write_text(
        "models: {smart: unpriced}\nbackends: [{provider: openai, base_url: 'http://127.0.0.1:9',"
        " api_key_env: SECRET, supported_models: [unpriced]}]\n"
    )

    async def main() -> None:  # on a real clock: the table of prices is read in a thread
        async with organism_of(theirs, with_agent("description: d")) as organism:
            await organism.ask("a", Task("hi"))

    with pytest.raises(AnswerError, match="a USD budget applies, and the price of"):
        asyncio.run(main())


def test_without_models_none_is_asked_not_even_that_of_the_program(theirs: Path) -> None:
    backend = ScriptedBackend(rules=[])
    configure_router([backend], prices={"*": Price(0, 0)})
    try:
        file = write(theirs, {"organism.yaml": with_agent("description: d")})
        with pytest.raises(AnswerError):
            ask(Organism.from_file(file, untrusted=Untrusted()), "a", Task("hi"))
        assert not backend.requests
    finally:
        configure_router([])


def test_a_circle_ends_at_the_limits(theirs: Path) -> None:
    call = "{{call: {}, as: said, send: '{{{{input}}}}'}}, {{answer: '{{{{said}}}}'}}"
    flows = "".join(
        f"  - {{name: {name}, answers: Answer, flow: [{call.format(other)}]}}\n"
        for name, other in ("ab", "ba")
    )
    told = refused(theirs, f"organism: {{name: x}}\nlisteners:\n{flows}")
    assert "would never end" in told[0].message
    own = theirs.parent / "mine" / "llm.yaml"
    again = "tool: a, arguments: {text: on and on}"
    rules = f"[{{on: tool, match: '.*', {again}}}, {{match: '.*', {again}}}]"
    own.write_text(MINE.replace('[{reply: "hello from mine"}]', rules))
    text = with_agent("peers: [a]").replace("name: x", "name: x, limits: {messages: 100}")
    with pytest.raises(AnswerError) as caught:
        ask(organism_of(theirs, text), "a", Task("hi"))
    assert caught.value.code == "limit"


def test_its_ledger_is_beside_ones_own_file_and_nobody_joins_it(theirs: Path) -> None:
    own = theirs.parent / "mine"
    write(own, {"llm.yaml": MINE + "ledger: usage.db\n"})
    write(theirs, {"usage.db": "no database"})

    async def files(organism: Organism) -> set[str]:  # on a real clock: a thread writes the ledger
        async with organism:
            await organism.ask("a", Task("hi"))
            return {each.name for each in own.iterdir()}

    found = asyncio.run(files(organism_of(theirs, with_agent("description: d"))))
    assert "usage.db" in found
    assert "usage.db.run" not in found
    assert (theirs / "usage.db").read_text() == "no database"
    trusted = load(write(own, {"organism.yaml": with_agent("description: d")}), llm=own / "llm.yaml")
    assert "usage.db.run" in asyncio.run(files(Organism.from_config(trusted)))  # so one's own is joined


# --- the command line ---


def test_the_three_go_together(theirs: Path, xp: Callable[..., Done]) -> None:
    write(theirs, {"organism.yaml": HONEST})
    mine = ("--llm", "../mine/llm.yaml")
    for command in (["run", "--once", "hi"], ["ask", "bot", "hi"]):
        for some in ([], [*mine], ["--usd", "1"]):
            done = xp(*command, "--untrusted", *some)
            assert done.returncode == 1
            assert "--untrusted goes with --llm FILE" in done.stderr
        assert "--usd goes with --untrusted" in xp(*command, *mine, "--usd", "1").stderr
    assert "--root does not go with" in xp("check", "--untrusted", "--root", "..").stderr
    assert xp("ask", "bot", "hi", "--untrusted", *mine, "--usd", "1").stdout == "hello from mine\n"
    assert xp("ask", "bot", "hi", "--untrusted", *mine, "--usd", "0.000001").returncode == 3
    assert xp("ask", "bot", "hi", "--untrusted", *mine, "--usd", "-1").returncode == 2


def test_check_says_the_same_mistakes(theirs: Path, xp: Callable[..., Done]) -> None:
    write(theirs, {"organism.yaml": HONEST})
    assert ": ok: sorter, 3 listeners" in xp("check", "--untrusted").stdout
    write(theirs, {"organism.yaml": with_listener("handler: planted:go")})
    mine = ("--llm", "../mine/llm.yaml", "--usd", "1")
    said = {
        xp(*command).stderr
        for command in (
            ("check", "--untrusted"),
            ("check", "--untrusted", "--no-import"),
            ("graph", "--untrusted"),
            ("payloads", "--untrusted"),
            ("describe", "a", "--untrusted"),
            ("run", "--untrusted", *mine),
            ("ask", "a", "hi", "--untrusted", *mine),
        )
    }
    (one,) = said
    assert "organism.yaml:3:15: listeners[0].handler: `handler` is not for" in one


NASTY = "\x1b]0;owned\x07\x1b[2J\u202egnol\u2066\u200b\u2028\x9b31m\r\nerror: forged"


def test_nothing_of_it_gives_the_terminal_an_order(theirs: Path, xp: Callable[..., Done]) -> None:
    said, soft = (
        '"' + "".join(f"\\U{ord(char):08x}" for char in text) + '"'
        for text in (NASTY, "".join(char for char in NASTY if ord(char) >= 0x20))  # what XML carries
    )
    write(
        theirs,
        {
            "organism.yaml": f"""\
organism: {{name: {said}, description: {said}, default: a}}
payloads:
  Ticket: {{description: {soft}, fields: {{text: {{type: text, description: {soft}, optional: true}}}}}}
listeners:
  - {{name: a, agent: true, description: {said}, model: smart, prompt: {said}, peers: [p]}}
  - {{name: p, human: true, description: {said}, accepts: Ticket}}
  - {{name: f, flow: [{{answer: {{Answer: {{text: {soft}}}}}}}]}}
""",
            "bad.yaml": f"organism: {{name: x, {said}: 1}}\nlisteners:\n"
            f"  - {{name: {said}, handler: {said}, {said}: 1}}\n",
        },
    )
    mine = ("--untrusted", "--llm", "../mine/llm.yaml", "--usd", "1")
    for command in (
        ("check",),
        ("graph",),
        ("graph", "--format", "svg"),
        ("payloads",),
        ("describe", "a"),
        ("describe", "a", "--prompt"),
        ("describe", "p", "--xsd"),
        ("describe", "p", "--json-schema"),
        ("run", "--once", "hi"),
        ("run", "--once", "hi", "--to", "f"),
        ("ask", "f", "hi"),
        ("ask", "nobody", "hi"),
    ):
        done = xp(*command, *mine)
        assert done.returncode == (1 if "nobody" in command else 0), (command, done)
        assert not orders_in(done.stdout + done.stderr), command
        assert "\nerror: forged" not in done.stderr
    done = xp("run", *mine, text=f"/listeners\n/help\n@f hi\n@p text={NASTY}\n/questions\n/quit\n")
    assert not orders_in(done.stdout + done.stderr)
    done = xp("check", "-f", "bad.yaml", "--untrusted")
    assert done.returncode == 1
    assert not orders_in(done.stdout + done.stderr)
