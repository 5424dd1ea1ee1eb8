"""How a command is written: a function, and above it what the command line says to it.

    @command("check", "check an organism.yaml and list every mistake", *FILE_ARGUMENT)
    def check(arguments: argparse.Namespace) -> int: ...

Functions import what they work with themselves, so that `xp --help` is quick (ADR 23).
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from xml_pipeline.errors import ConfigError

if TYPE_CHECKING:
    from xml_pipeline.config import Imports, OrganismConfig
    from xml_pipeline.organism import Organism

DEFAULT_FILE = "organism.yaml"
OUT_OF_BUDGET = 3
"""The exit code when a budget ended what was asked for."""

Act: TypeAlias = Callable[[argparse.Namespace], int]
Declare: TypeAlias = Callable[[argparse._ActionsContainer], None]
"""Adds one argument, or several that exclude each other, to a command's parser."""


@dataclass(frozen=True, slots=True)
class Command:
    """One command.

    Attributes:
        name: what is typed behind `xml-pipeline`: a word, or a group's name and a word, as `llm list`.
        does: what it does, in a sentence without its capital and its full stop.
        takes: its arguments and options, in the order of its help.
        act: carries it out; its exit code. Raises XmlPipelineError, which `main` shows.
    """

    name: str
    does: str
    takes: tuple[Declare, ...]
    act: Act


def command(name: str, does: str, *takes: Declare) -> Callable[[Act], Command]:
    """Make the function below it a command; the arguments are those of `Command`."""
    return lambda act: Command(name, does, takes, act)


def argument(*names: str, **options: Any) -> Declare:
    """An argument or an option, as `argparse` takes it."""

    def declare(parser: argparse._ActionsContainer) -> None:
        parser.add_argument(*names, **options)

    return declare


def one_of(*choices: Declare, required: bool = False) -> Declare:
    """Options of which one may be given, or has to be."""

    def declare(parser: argparse._ActionsContainer) -> None:
        group = parser.add_mutually_exclusive_group(required=required)
        for each in choices:
            each(group)

    return declare


def all_of(*parts: Declare) -> Declare:
    """Several arguments that go together."""

    def declare(parser: argparse._ActionsContainer) -> None:
        for each in parts:
            each(parser)

    return declare


FILE_OPTION = all_of(
    argument(
        "-f", "--file", default=DEFAULT_FILE, metavar="FILE", help=f"the organism (default: {DEFAULT_FILE})"
    ),
    argument(
        "--root",
        metavar="DIR",
        help="where the files have to be that it names, links followed (default: its directory)",
    ),
    argument(
        "--llm", metavar="FILE", help="a file with another `llm` section, in the place of the organism's"
    ),
)
FILE_ARGUMENT = (
    argument(
        "given", nargs="?", metavar="FILE", help=f"the organism (default: {DEFAULT_FILE}, or what -f says)"
    ),
    FILE_OPTION,
)


def organism_file(arguments: argparse.Namespace) -> Path:
    """The file that the command line names, or organism.yaml here.

    Raises:
        ConfigError: there is no such file; says what to do.
    """
    return existing(Path(getattr(arguments, "given", None) or arguments.file))


def existing(path: Path) -> Path:
    """The file, or the organism.yaml of the directory, that somebody names. Raises ConfigError as above."""
    if os.path.isdir(path):  # unlike `Path.is_dir` it never raises
        path = path / DEFAULT_FILE
    if not os.path.lexists(path):
        raise ConfigError(
            f"there is no {path}; name the file with -f FILE, or make a new project with `xml-pipeline init DIR`"
        )
    return path


def config(arguments: argparse.Namespace, imports: Imports, tests: Sequence[Path] = ()) -> OrganismConfig:
    """That file, checked, with what it names imported as far as it is said. Raises ConfigError.

    Args:
        arguments: of the command line.
        imports, tests: as `load` takes them.
    """
    from xml_pipeline.config import Untrusted, load

    path = organism_file(arguments)
    if not getattr(arguments, "untrusted", False):
        if getattr(arguments, "usd_at_most", None) is not None:
            raise ConfigError(
                "--usd goes with --untrusted; budgets of your own file stand in it, under `llm`"
            )
        return load(path, root=arguments.root, imports=imports, llm=arguments.llm, tests=tests)
    if arguments.root is not None:
        raise ConfigError(
            "--root does not go with --untrusted: what such a file names lies below its own folder"
        )
    return load(path, imports=imports, untrusted=Untrusted(arguments.llm, arguments.usd_at_most or 0.0))


def refuse_half_trusted(arguments: argparse.Namespace) -> None:
    """Raises ConfigError when a file from somebody else is to be run without models and a budget of one's own."""
    if arguments.untrusted and (arguments.llm is None or arguments.usd_at_most is None):
        raise ConfigError(
            "--untrusted goes with --llm FILE, your own file of models, and --usd N, what the run may cost at most"
        )


def organism(arguments: argparse.Namespace) -> Organism:
    """The organism of that file, not started. Raises ConfigError with every mistake in it."""
    from xml_pipeline.organism import Organism

    return Organism.from_config(config(arguments, "all"))


def seconds(text: str) -> float:
    """A type of `argument`: a finite number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"a number of seconds above 0 is needed, not {text!r}")
    return value


def dollars(text: str) -> float:
    """A type of `argument`: a number from 0."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1e9:
        raise argparse.ArgumentTypeError(f"an amount in US dollars is needed, as 0.01, not {text!r}")
    return value


def positive(text: str) -> int:
    """A type of `argument`: a whole number from 1."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"a whole number from 1 is needed, not {text!r}")
    return value


UNTRUSTED = all_of(
    argument(
        "--untrusted",
        action="store_true",
        help="the file is from somebody else: it may hold no code, no variables, no models and no paths that lead out"
        " of its folder; it is run with --llm and --usd alone",
    ),
    argument(
        "--usd",
        dest="usd_at_most",  # an amount of another command is something else
        type=dollars,
        metavar="N",
        help="with --untrusted: US dollars that all models together may cost in the whole run",
    ),
)
