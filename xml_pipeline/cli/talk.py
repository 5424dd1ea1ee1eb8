"""Commands that start the organism and talk to it: `run`, `ask`, `send`."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xml_pipeline.cli.auth import relock, unlock
from xml_pipeline.cli.command import (
    FILE_ARGUMENT,
    FILE_OPTION,
    OUT_OF_BUDGET,
    UNTRUSTED,
    argument,
    command,
    config,
    organism_file,
    refuse_half_trusted,
    seconds,
)
from xml_pipeline.cli.forecast import DRY_RUN, goes_on
from xml_pipeline.errors import ConfigError, EnvelopeError
from xml_pipeline.terminal import plain, xml_text

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from xml_pipeline.arming.armed import Armed
    from xml_pipeline.config import OrganismConfig
    from xml_pipeline.console import Renewal
    from xml_pipeline.organism import Organism


def _key(text: str) -> str:
    """A type of `argument`: what may be a key."""
    if not text or not text.isprintable():
        raise argparse.ArgumentTypeError(f"a text of printable characters is needed, not {text!r}")
    return text


KEY = argument(
    "--key",
    type=_key,
    metavar="KEY",
    help="names the request for ever: asked again, it joins what runs or gives the answer that was given"
    " (needs a journal)",
)
TIMEOUT = argument("--timeout", type=seconds, metavar="SECONDS", help="how long to wait (default: no limit)")


@command(
    "run",
    "talk to an organism in the console; reads lines when the input is no terminal",
    *FILE_ARGUMENT,
    UNTRUSTED,
    argument(
        "--once",
        metavar="TASK",
        help="ask this alone, unattended: prints the answer as `ask` does, and exits with 0, 1, or 3 when a budget"
        " ended it",
    ),
    argument("--to", metavar="LISTENER", help="with --once: whom to ask (default: the organism's default)"),
    DRY_RUN,
    KEY,
    TIMEOUT,
    argument(
        "--reload",
        action="store_true",
        help="begin anew with the organism when its file changes, or a prompt, a listener file or a module beside it;"
        " with mistakes in them, what runs goes on",
    ),
    argument(
        "--no-triggers",
        action="store_true",
        help="arm no triggers; armed, they keep it running when its input has ended and is no terminal",
    ),
    argument(
        "--log",
        metavar="FILE",
        help="where the log goes (default: console.log in the user's state directory)",
    ),
)
def run(arguments: argparse.Namespace) -> int:
    """Open the console, or ask once."""
    refuse_half_trusted(arguments)
    if arguments.once is not None:
        if arguments.reload:
            raise ConfigError("--reload goes without --once: it is for a talk that goes on")
        return _once(arguments)
    for name in ("to", "key", "timeout"):
        if getattr(arguments, name) is not None:
            raise ConfigError(f"--{name} goes with --once TASK")
    if arguments.dry_run:
        raise ConfigError("--dry-run goes with --once TASK")
    import asyncio

    from xml_pipeline import console

    maker = Maker(arguments)
    receiver, renewal = renewable(maker) if arguments.reload else (maker.organism(), None)
    unlock(receiver.router)
    log = Path(arguments.log) if arguments.log else None
    arm = None if arguments.no_triggers else maker.armed
    return asyncio.run(console.main(receiver, log=log, renewal=renewal, arm=arm))


class Maker:
    """Makes organisms of the file that a command line names, and arms their triggers.

    Args:
        arguments: of `run`.
    """

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        self._webhooks: Mapping[str, Any] = {}

    def organism(self) -> Organism:
        """What the file says now, not started. Raises ConfigError with every mistake in it."""
        from xml_pipeline.organism import Organism

        found = config(self.arguments, "all")
        made = Organism.from_config(found)
        self._webhooks = dict(found.organism.webhooks)
        return made

    def armed(self, organism: Organism) -> Armed | None:
        """The triggers of the organism that was made last, to arm; None where it has none."""
        from xml_pipeline.arming.armed import Armed

        return Armed(organism, **self._webhooks) if organism.triggers else None


def renewable(
    maker: Maker, *, wait: Callable[[float], Awaitable[object]] | None = None
) -> tuple[Organism, Renewal]:
    """The organism, and what makes it anew when a file has changed since it was read.

    Args:
        maker: makes both.
        wait: lets seconds go by between two looks at the files; default: the event loop's.

    Raises:
        ConfigError: with every mistake in what is there now.
    """
    import asyncio

    from xml_pipeline.config.imports import anew
    from xml_pipeline.config.watching import Watch
    from xml_pipeline.console import Renewal

    file = organism_file(maker.arguments)
    watch = Watch(file, environ=os.environ, root=maker.arguments.root, llm=maker.arguments.llm)

    with anew(file.parent):
        first = maker.organism()
    router = first.router

    def another() -> Organism:
        with anew(file.parent):
            found = maker.organism()
            relock(found.router, router)
        return found

    return first, Renewal(watch.changed, another, wait=wait or asyncio.sleep)


def _once(arguments: argparse.Namespace) -> int:
    found = config(arguments, "all")
    listener = arguments.to or found.organism.default
    if listener is None:
        raise ConfigError("whom to ask? The organism has no `default` listener: say --to LISTENER")
    return _asked(arguments, found, listener, arguments.once)


@command(
    "ask",
    "ask a listener once and print its answer; when the organism runs already, that one is asked",
    argument("listener", metavar="LISTENER", help="whom to ask"),
    argument(
        "message",
        metavar="MESSAGE",
        help='what the console takes: text, key=value, XML, or {"Class": {…}} as JSON',
    ),
    DRY_RUN,
    KEY,
    TIMEOUT,
    FILE_OPTION,
    UNTRUSTED,
)
def ask(arguments: argparse.Namespace) -> int:
    """Print the answer; 1 when it is an error, 3 when a budget ended it."""
    refuse_half_trusted(arguments)
    return _asked(arguments, config(arguments, "all"), arguments.listener, arguments.message)


def _asked(arguments: argparse.Namespace, found: OrganismConfig, name: str, text: str) -> int:
    from lxml import etree

    from xml_pipeline.cli.prospects import machine_of
    from xml_pipeline.console.fill import accepted, fill
    from xml_pipeline.console.render import answer, problem
    from xml_pipeline.console.state_dir import start_log
    from xml_pipeline.envelope import Heading, Message, decode
    from xml_pipeline.envelope.system import is_error
    from xml_pipeline.errors import RoutingError, no_such
    from xml_pipeline.organism import OUTSIDE, Organism
    from xml_pipeline.payload import codec_of
    from xml_pipeline.pump.recovery import Reviver, Unreadable
    from xml_pipeline.threads.ids import random_ids

    log = getattr(arguments, "log", None)
    start_log(Path(log) if log else None)
    receiver = Organism.from_config(found)
    new_id = random_ids()
    if name not in receiver.listeners:
        raise RoutingError(no_such("listener", name, receiver.listeners))
    payload = fill(name, accepted(receiver.listeners[name]), text)
    if arguments.dry_run and not goes_on(receiver, name, payload):
        return 0
    heading = Heading(OUTSIDE, name, new_id(), new_id())
    machine = machine_of(found, receiver)
    terms = machine.terms
    said = Message.sealed(heading, payload, codec_of(type(payload)), None, terms.wire_limits).data

    def show(data: bytes) -> int:
        envelope = decode(data, terms.kept_limits)
        try:
            given = Reviver(machine.state, terms.listeners, terms.kept_limits).said_by(name, envelope.payload)
        except Unreadable:  # whoever runs has classes that are not here
            print(xml_text(etree.tostring(envelope.payload, encoding="unicode")))
            return 0
        failed = is_error(given)
        for row in problem(given) if failed else answer(given):
            print(plain(row), file=sys.stderr if failed else sys.stdout, flush=True)
        return _code(codec_of(type(given)).root, getattr(given, "code", "")) if failed else 0

    return _exchanged(found, receiver, said, arguments, show)


def _code(root: str, code: object) -> int:
    """The exit code of an answer that is an error."""
    from xml_pipeline.envelope import SystemError
    from xml_pipeline.payload import codec_of

    return OUT_OF_BUDGET if root == codec_of(SystemError).root and code == "budget" else 1


@command(
    "send",
    "send one raw envelope and print the envelope of its answer; when the organism runs already, that one gets it",
    argument("envelope", metavar="ENVELOPE", help="an XML file, or - for the standard input"),
    KEY,
    TIMEOUT,
    FILE_OPTION,
)
def send(arguments: argparse.Namespace) -> int:
    """Print the answer's envelope; 1 when it is an error, 3 when a budget ended it."""
    from xml_pipeline.console.state_dir import start_log
    from xml_pipeline.envelope import Huh, SystemError, decode
    from xml_pipeline.organism import Organism
    from xml_pipeline.payload import codec_of

    start_log()
    found = config(arguments, "all")

    def show(answer: bytes) -> int:
        print(xml_text(answer.decode()), flush=True)
        said = decode(answer).payload
        failed = said.tag in {codec_of(Huh).root, codec_of(SystemError).root}
        return _code(str(said.tag), said.findtext("{*}code")) if failed else 0

    return _exchanged(found, Organism.from_config(found), _read(arguments.envelope), arguments, show)


def _exchanged(
    found: OrganismConfig,
    receiver: Organism,
    data: bytes,
    arguments: argparse.Namespace,
    show: Callable[[bytes], int],
) -> int:
    """Show the answer's envelope: of the organism that has the journal or ledger, else of one that runs meanwhile.

    That one runs on, when it has answered, for those that have joined it by then.
    """
    import asyncio

    from xml_pipeline.cli.ledger import ledger_if_any
    from xml_pipeline.console.signals import live
    from xml_pipeline.door import Told, carried_out
    from xml_pipeline.door.requests import Exchange
    from xml_pipeline.organism import Organism

    fresh, shown = [receiver], list[int]()
    again = f"the same with `--key {arguments.key}` gives its answer" if arguments.key else ""

    async def alone(request: Exchange) -> Told:
        organism = (
            fresh.pop() if fresh else Organism.from_config(found)
        )  # one that was refused starts no more
        unlock(organism.router)  # not before: an organism that runs already has its keys

        async def work() -> int:
            code = show(await organism.exchange(data, timeout=request.timeout, key=request.key))
            await organism.served()
            return code

        shown.append(await live(organism, work, again=again))
        return Told([])

    request = Exchange(_text(data), arguments.timeout, arguments.key)
    file = ledger_if_any(found) if found.untrusted is None else None  # it joins nobody
    told = asyncio.run(alone(request)) if file is None else carried_out(file, request, alone)
    return shown[0] if shown else show(told.rows[0].encode())


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise EnvelopeError("envelope", "the envelope is not in UTF-8") from None


def _read(name: str) -> bytes:
    try:
        if name == "-":
            return sys.stdin.buffer.read() if sys.stdin else b""
        return Path(name).read_bytes()
    except OSError as error:
        raise EnvelopeError("envelope", f"{name} cannot be read: {error.strerror or error}") from None
