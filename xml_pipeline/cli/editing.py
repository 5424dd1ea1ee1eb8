"""Commands that write into organism.yaml, and keep its comments and its layout: `llm add`, `llm route`."""

from __future__ import annotations

import argparse
import difflib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xml_pipeline.cli.command import FILE_OPTION, argument, command, one_of, organism_file
from xml_pipeline.errors import ConfigError, Problem
from xml_pipeline.terminal import line as on_one_line
from xml_pipeline.terminal import plain, visible

if TYPE_CHECKING:
    from xml_pipeline.config import OrganismConfig

DRY = argument("--dry-run", action="store_true", help="show the difference, and write nothing")


@command(
    "llm add",
    "add a backend to organism.yaml, keep all else as it is, and show the difference",
    argument("name", metavar="NAME", help="its name in this file"),
    argument(
        "--provider", required=True, metavar="PROVIDER", help="who speaks to it, as `openai` or `ollama`"
    ),
    argument(
        "--model",
        action="append",
        dest="models",
        metavar="MODEL",
        help="a model that it serves, or a glob; may be given again (default: by the provider's rule)",
    ),
    argument("--base-url", metavar="URL", help="its address (default: the provider's usual one)"),
    one_of(
        argument("--key-env", metavar="VARIABLE", help="the environment variable that holds its key"),
        argument("--key-ref", metavar="KEY", help="the key that `auth set KEY` stored"),
    ),
    DRY,
    FILE_OPTION,
)
def add_backend(arguments: argparse.Namespace) -> int:
    """Write it, when the file loads with it."""
    from xml_pipeline.config.editing import with_item

    given = {
        "name": arguments.name,
        "provider": arguments.provider,
        "base_url": arguments.base_url,
        "api_key_env": arguments.key_env,
        "api_key_ref": arguments.key_ref,
        "supported_models": arguments.models,
    }
    item = {key: value for key, value in given.items() if value}

    def check(before: OrganismConfig) -> None:
        backends = () if before.llm is None else before.llm.backends
        if arguments.name in {each.name or each.provider for each in backends}:
            raise ConfigError(f"there is a backend '{arguments.name}' already; choose another name")

    return _edited(arguments, lambda text: with_item(text, ("llm", "backends"), item), check)


@command(
    "llm route",
    "let an alias stand for a model, or for several to fall back on, in organism.yaml",
    argument("alias", metavar="ALIAS", help="what agents and calls name"),
    argument("models", nargs="+", metavar="MODEL", help="in the order in which they are asked"),
    DRY,
    FILE_OPTION,
)
def route(arguments: argparse.Namespace) -> int:
    """Write it, when the file loads with it."""
    from xml_pipeline.config.editing import with_value

    models = list(arguments.models)
    value = models[0] if len(models) == 1 else models

    def check(before: OrganismConfig) -> None:
        known: Any = {} if before.llm is None else before.llm.models
        if not isinstance(known.get(arguments.alias, ""), str | tuple | list):
            raise ConfigError(
                f"the alias '{arguments.alias}' has settings of its own, which would be lost; change it in the file"
            )

    return _edited(arguments, lambda text: with_value(text, ("llm", "models", arguments.alias), value), check)


def _edited(
    arguments: argparse.Namespace, edit: Callable[[str], str], check: Callable[[OrganismConfig], None]
) -> int:
    from xml_pipeline.config.editing import Uneditable

    named = organism_file(arguments)
    path = named.resolve()  # what a link leads to is written, not the link
    before = read(path)
    config, unserved = _loaded(path, arguments)
    check(config)
    try:
        after = edit(before)
    except Uneditable as error:
        raise ConfigError(f"{named} cannot be changed by a command: {error}; change it by hand") from None

    def loads(beside: Path) -> None:
        _, problems = _loaded(beside, arguments)
        if len(problems) > len(unserved):
            raise ConfigError(problems)

    put(path, before, after, check=loads, dry=arguments.dry_run)
    differences(named, before, after)
    if before == after:
        print(plain(on_one_line(f"{named}: nothing to change")))
    return 0


def _loaded(path: Path, arguments: argparse.Namespace) -> tuple[OrganismConfig, list[Problem]]:
    """What the file says, and the models in it that nobody serves. Raises ConfigError."""
    from xml_pipeline.composition import router_of
    from xml_pipeline.config import load
    from xml_pipeline.config.serving import unserved

    if arguments.llm is not None:
        raise ConfigError("--llm names a file that stands in for this section; edit that file itself")
    found = load(path, root=arguments.root, imports="nothing")
    if found.llm is None or found.llm.modules:  # what these bring is not known without running their code
        return found, []
    backends = list(router_of(found).backends.values())[: len(found.llm.backends)]
    return found, list(unserved(found, backends))


def differences(path: Path, before: str, after: str) -> None:
    """Print what became of a file."""
    rows = difflib.unified_diff(
        before.splitlines(), after.splitlines(), str(path), str(path), lineterm="", n=2
    )
    for row in rows:
        print(visible(row))


def read(path: Path) -> str:
    """The text of a file. Raises ConfigError."""
    try:
        return path.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from None


def put(
    path: Path,
    before: str,
    after: str,
    *,
    check: Callable[[Path], None] = lambda beside: None,
    dry: bool = False,
) -> None:
    """Let the changed file take the place of the other one, at once.

    Args:
        path: of the file; no link.
        before: what it said when it was read.
        after: what it is to say.
        check: raises ConfigError for a file that may not take its place; it gets one beside it with the new text.
        dry: whether to check alone.

    Raises:
        ConfigError: it may not, it cannot be written, or somebody else changed the file.
    """
    beside = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        try:
            with beside.open("xb") as file:
                shutil.copymode(path, beside)
                file.write(after.encode())
                file.flush()
                os.fsync(file.fileno())
            check(beside)
            if read(path) != before:
                raise ConfigError(f"{path} was changed by somebody else meanwhile; try again")
            if not dry:
                beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror or error}") from None
    except ConfigError as error:
        raise ConfigError(_renamed(error, beside, path)) from None


def _renamed(error: ConfigError, beside: Path, path: Path) -> str:
    text = "\n".join(str(problem) for problem in error.problems)
    return f"nothing is written, for the file would not load: {text.replace(str(beside), str(path))}"
