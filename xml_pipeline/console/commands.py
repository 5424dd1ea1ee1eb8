"""What `/commands` there are, and what each does."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from xml_pipeline.console import costs, dead, kill, overview
from xml_pipeline.console.earlier import reading
from xml_pipeline.console.parse import Command, InputError
from xml_pipeline.console.people import question_of
from xml_pipeline.errors import did_you_mean, no_such
from xml_pipeline.journal.spending import BY, Span, spending
from xml_pipeline.organism import Organism
from xml_pipeline.terminal import Line, line

if TYPE_CHECKING:
    from xml_pipeline.console.session import Console

NO_LOG = "no log is kept: the state directory cannot be written; name a file with `--log FILE`, in Python with `log=`"


@dataclass(frozen=True, slots=True)
class Entry:
    """One command.

    Attributes:
        arguments: as help shows them; a required one has no brackets.
        does: in a sentence, without its full stop.
        completes: what its argument is completed from: `listeners`, `on off`, or "".
    """

    name: str
    arguments: str
    does: str
    act: Callable[[Console, str], None]
    completes: str = ""


def run(console: Console, command: Command) -> None:
    """Carry out a command.

    Raises:
        InputError: there is no such command, or its argument is not what it takes.
    """
    entry = COMMANDS.get(command.name)
    if entry is None:
        near = did_you_mean(command.name, COMMANDS).replace("'", "'/", 1)
        raise InputError(f"no command '/{command.name}'{near}; /help lists them")
    if command.rest and not entry.arguments:
        raise InputError(f"/{entry.name} takes nothing behind it, not '{command.rest}'")
    if not command.rest and entry.arguments and not entry.arguments.startswith("["):
        raise InputError(f"write /{entry.name} {entry.arguments}")
    entry.act(console, command.rest)


def _page(lines_of: Callable[[Organism], list[Line]]) -> Callable[[Console, str], None]:
    """A command that shows a view of the organism."""
    return lambda console, _: console.screen.show(lines_of(console.organism))


def _help(console: Console, _: str) -> None:
    heads = {entry.name: f"/{entry.name} {entry.arguments}".strip() for entry in COMMANDS.values()}
    width = max(map(len, heads.values()))
    console.screen.show(
        [
            line(("name", "@name text"), "  or  ", ("name", '@name a=2 b="two words"'), "  or  ",
                 ("name", "@name <Payload>…</Payload>"), "  sends a message"),
            line(("name", "text"), f"  goes to {console.organism.default or 'nobody: there is no default listener'}"),
            line(("name", "!text"), "  answers the oldest question that waits for a person"),
            *(line(("name", heads[entry.name].ljust(width)), f"  {entry.does}") for entry in COMMANDS.values()),
        ]
    )  # fmt: skip


def _describe(console: Console, name: str) -> None:
    listener = console.organism.listeners.get(name.removeprefix("@"))
    if listener is None:
        raise InputError(no_such("listener", name, console.organism.listeners))
    console.screen.show(overview.listener(listener))


def _thread(console: Console, start: str) -> None:
    console.screen.show(overview.thread(console.organism, start))


def _status(console: Console, _: str) -> None:
    console.screen.show([*overview.status(console.organism), *overview.backends(console.organism)])
    where = f"log: {console.log}" if console.log else NO_LOG
    console.screen.show([line(("dim", where))])


def _trace(console: Console, word: str) -> None:
    if word not in ("on", "off"):
        raise InputError(f"/trace is 'on' or 'off', not '{word}'")
    console.tracing = word == "on"
    console.screen.note([line(("dim", f"trace is {word}"))])


def _cancel(console: Console, word: str) -> None:
    if not word:
        if not console.cancel():
            console.screen.note([line(("dim", "nothing is running"))])
        return
    number = word.removeprefix("#")
    if not (number.isascii() and number.isdigit()) or int(number) not in console.running:
        running = ", ".join(f"#{each}" for each in console.running) or "none"
        raise InputError(f"nothing runs under '{word}'; running: {running}")
    console.cancel(int(number))


def _answer(console: Console, rest: str) -> None:
    start, _, body = rest.partition(" ")
    console.tell(question_of(console.organism, start), body.strip())


def _dead(console: Console, rest: str) -> None:
    journal = console.organism.journal
    if journal is None and not rest:
        console.screen.show(overview.dead_letters(console.organism))
        return
    verb, number, file = dead.wanted(rest, journal)
    if verb == "list":
        console.screen.show(dead.page(file))
    elif verb == "show":
        console.screen.show(dead.shown(file, number or 0))
    else:
        console.errand(dead.changed(file, verb, number))


def _cost(console: Console, rest: str) -> None:
    words = rest.split()
    since = float("-inf") if "all" in words else console.began
    chosen = [word for word in words if word != "all"] or ["agent"]
    if len(chosen) > 1 or chosen[0] not in BY:
        raise InputError(f"/cost takes `all` and one of {', '.join(BY)}, not '{rest}'")
    file = console.organism.router.file
    ledger = console.organism.journal or (None if file is None else file.path)
    if ledger is None or not ledger.exists():  # a ledger of its own is made with the first call
        console.screen.show(overview.usage(console.organism))
        return
    by = BY[BY.index(chosen[0])]
    with reading(ledger) as connection:
        found = spending(connection, by, Span(since))
    console.screen.show(costs.page(found, by, shutil.get_terminal_size((100, 24)).columns, most=costs.MOST))


def _kill(console: Console, _: str) -> None:
    kill.check(console.organism, person=console.person)
    kill.die()


def _quit(console: Console, _: str) -> None:
    console.quitting = True


COMMANDS = {
    entry.name: entry
    for entry in (
        Entry("help", "", "this list", _help),
        Entry("listeners", "", "who can be addressed, and what each takes", _page(overview.listeners)),
        Entry("describe", "NAME", "a listener in full: fields, peers, an example", _describe, "listeners"),
        Entry("threads", "", "open threads, callees below their callers", _page(overview.threads)),
        Entry("thread", "ID", "one thread: its calls below, its tokens", _thread),
        Entry("usage", "", "tokens and cost of each agent", _page(overview.usage)),
        Entry(
            "cost",
            "[all] [agent | model | backend | conversation | operation | day]",
            "what was spent since this console began, or ever, with a ledger",
            _cost,
            " ".join(BY),
        ),
        Entry("status", "", "messages, threads, backends", _status),
        Entry("trace", "on|off", "show every message on its way", _trace, "on off"),
        Entry(
            "dead",
            "[NUMBER | retry NUMBER | drop NUMBER]",
            "messages that ended without a receiver; show one, send it again, forget it",
            _dead,
            "retry drop",
        ),
        Entry("answer", "ID TEXT", "answer one of several questions that wait for a person", _answer),
        Entry("cancel", "[ID]", "cancel what runs: all of it, or one number", _cancel),
        Entry("kill", "", "kill this process as `kill -9` would, and start it again on its journal", _kill),
        Entry("quit", "", "leave, after the answers that are still to come", _quit),
    )
}
"""All commands by name, in the order that help shows them."""
