"""What the command line takes. Commands are named here and imported when they run: `xp --help` is quick."""

from __future__ import annotations

import argparse

DEFAULT_FILE = "organism.yaml"

EXIT_CODES = (
    "exit codes: 0 all is well; 1 mistakes were found, or an answer was an error; 2 the command line itself is"
    " wrong; 130 after Ctrl-C"
)


class _Help(argparse.HelpFormatter):
    """One width everywhere, so that help reads the same in a terminal and in the reference."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=28, width=100)


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands; each sets `act` to the `module:function` that carries it out."""
    parser = argparse.ArgumentParser(
        prog="xml-pipeline",
        description="Run, check and inspect an organism: listeners that exchange typed, validated messages.",
        epilog=EXIT_CODES,
        formatter_class=_Help,
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _run(commands)
    _check(commands)
    _init(commands)
    _describe(commands)
    _graph(commands)
    _command(commands, "schema", "print the JSON Schema of organism.yaml, for editors", "schema:show")
    _send(commands)
    _llm(commands)
    _command(commands, "version", "print the version", "version:show")
    return parser


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, does: str, act: str
) -> argparse.ArgumentParser:
    description = f"{does[0].upper()}{does[1:]}."
    command: argparse.ArgumentParser = commands.add_parser(
        name, help=does, description=description, formatter_class=_Help, allow_abbrev=False
    )
    command.set_defaults(act=f"xml_pipeline.cli.{act}")
    return command


def _file_option(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "-f", "--file", default=DEFAULT_FILE, metavar="FILE", help=f"the organism (default: {DEFAULT_FILE})"
    )


def _file_argument(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "given", nargs="?", metavar="FILE", help=f"the organism (default: {DEFAULT_FILE}, or what -f says)"
    )
    _file_option(command)


def _run(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = _command(
        commands,
        "run",
        "talk to an organism in the console; reads lines when the input is no terminal",
        "running:run",
    )
    _file_argument(command)
    command.add_argument(
        "--log",
        metavar="FILE",
        help="where the log goes (default: console.log in the user's state directory)",
    )


def _check(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = _command(commands, "check", "check an organism.yaml and list every mistake", "checking:check")
    _file_argument(command)


def _init(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = _command(commands, "init", "make a small working project with its tests", "project:init")
    command.add_argument(
        "directory", metavar="DIR", help="where to put it; nothing that is there is overwritten"
    )


def _describe(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = _command(
        commands, "describe", "describe a listener and the payloads it takes", "describing:describe"
    )
    command.add_argument("listener", metavar="LISTENER", help="its name")
    command.add_argument("payload", metavar="PAYLOAD", nargs="?", help="one of the classes it takes")
    form = command.add_mutually_exclusive_group()
    for flag, does in (
        ("xsd", "the XML Schema of the payload"),
        ("example", "a valid example document"),
        ("json-schema", "the JSON Schema of a tool call that makes the payload"),
        (
            "prompt",
            "an agent: its whole prompt, as the model sees it; else: how a model is told to write to it",
        ),
    ):
        form.add_argument(f"--{flag}", action="store_const", const=flag, dest="form", help=does)
    _file_option(command)


def _graph(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = _command(commands, "graph", "draw who may call whom", "graphs:graph")
    command.add_argument(
        "--format", choices=("mermaid", "svg"), default="mermaid", help="what to write (default: mermaid)"
    )
    _file_argument(command)


def _send(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = _command(
        commands, "send", "send one raw envelope and print the envelope of its answer", "sending:send"
    )
    command.add_argument("envelope", metavar="ENVELOPE", help="an XML file, or - for the standard input")
    command.add_argument(
        "--timeout", type=_seconds, metavar="SECONDS", help="how long to wait (default: no limit)"
    )
    _file_option(command)


def _llm(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    llm = commands.add_parser(
        "llm", help="look at the models and try them", description="Look at the models and try them.",
        formatter_class=_Help, allow_abbrev=False,
    )  # fmt: skip
    parts = llm.add_subparsers(title="commands", metavar="COMMAND", required=True)
    command = _command(parts, "list", "list backends: keys, models, limits, health", "models:show")
    _file_option(command)
    command = _command(parts, "ask", "ask a model, and stream its answer", "models:ask")
    command.add_argument("model", metavar="MODEL", help="a model's name, or an alias of the llm section")
    command.add_argument("text", metavar="TEXT", help="what to ask")
    command.add_argument("--max-tokens", type=_count, metavar="N", help="tokens that the answer may have")
    _file_option(command)
    command = _command(
        parts, "test", "make one tiny call and one with a tool; tell what works", "probing:probe"
    )
    command.add_argument("backend", metavar="BACKEND", help="a backend's name, as `llm list` shows it")
    command.add_argument("--model", metavar="MODEL", help="what to ask for (default: one that it serves)")
    _file_option(command)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"a number of seconds above 0 is needed, not {text!r}")
    return value


def _count(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"a whole number from 1 is needed, not {text!r}")
    return value
