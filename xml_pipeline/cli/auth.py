"""API keys: `auth set`, `auth list`, `auth remove`; and the passphrase that commands ask for before they start.

No key stands on the command line: a shell remembers it, and every program of the machine can read it there.
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

from xml_pipeline.cli.command import argument, command
from xml_pipeline.errors import KeyStoreError, no_such
from xml_pipeline.terminal import one_line, plain, table

if TYPE_CHECKING:
    from xml_pipeline.keys import Secret
    from xml_pipeline.keys.keys import Keys
    from xml_pipeline.llm import Router

_NAME = argument("name", metavar="NAME", help="what the key is called, as in `api_key_ref: NAME`")
_ON_THE_LINE = (
    "a key does not belong on the command line, where the shell's history keeps it and other programs see it;"
    " nothing was stored. Write `xp auth set NAME` and type it, or pipe it into `xp auth set NAME -`. Take the one"
    " that you have just written out of the history, or better make a new one"
)


def _keys() -> Keys:
    from xml_pipeline.keys.keys import Keys

    return Keys(os.environ)


@command(
    "auth set",
    "store an API key under a name: in the OS keyring, or encrypted in a file",
    argument("--file", action="store_true", help="in the file, also where there is a keyring"),
    argument("--key", nargs="?", const="", help=argparse.SUPPRESS),
    _NAME,
    argument(
        "rest",
        nargs=argparse.REMAINDER,
        metavar="-",
        help="read the key from the standard input instead of asking for it",
    ),
)
def set_key(arguments: argparse.Namespace) -> int:
    """Ask for a key, keep it, and say where."""
    from xml_pipeline.keys.names import checked_key, checked_name, prefix_of, variable_of

    if arguments.key is not None or set(arguments.rest) - {"-", "--file"}:
        raise KeyStoreError(_ON_THE_LINE)
    name = checked_name(arguments.name)
    key = checked_key(_read_key(name, piped="-" in arguments.rest))
    keys = _keys()
    place = _store(keys, name, key, in_file=arguments.file or "--file" in arguments.rest)
    print(one_line(f"{name} ({prefix_of(key)}) is in {place}; backends use it with `api_key_ref: {name}`"))
    if os.environ.get(variable_of(name)):
        print(f"note: {variable_of(name)} is set here, and goes before it")
    return 0


def _read_key(name: str, *, piped: bool) -> Secret:
    from xml_pipeline.keys import Secret
    from xml_pipeline.keys.names import MAX_KEY
    from xml_pipeline.keys.passphrase import can_ask, typed

    if not piped:
        if not can_ask():
            raise KeyStoreError(f"there is no terminal to ask in: pipe the key into `xp auth set {name} -`")
        return typed(f"Key '{name}' (it is not shown): ")
    try:
        stream = sys.stdin.buffer if sys.stdin else None
        return Secret((stream.read(4 * MAX_KEY) if stream else b"").decode("utf-8-sig"))
    except (OSError, ValueError):
        raise KeyStoreError("the standard input is no text; nothing was changed") from None


def _store(keys: Keys, name: str, key: Secret, *, in_file: bool) -> str:
    """Keep it in the keyring, or if that cannot be in the file; where, for people."""
    from xml_pipeline.keys.passphrase import chosen
    from xml_pipeline.keys.sealed import Sealed

    if not in_file:
        try:
            problem = keys.store_in_keyring(name, key)
        except KeyStoreError as error:
            print(f"not in the keyring ({error}): in the file", file=sys.stderr)
        else:
            if problem:
                print(f"note: `xp auth list` will not know of it: {problem}", file=sys.stderr)
            return "the keyring"
    new = not any(isinstance(each, Sealed) for each in keys.file.entries().values())
    if problem := keys.store_in_file(name, key, chosen(os.environ, new=new)):
        print(
            f"note: a key '{name}' that the keyring may have goes before this one, and could not be removed there:"
            f" {problem}",
            file=sys.stderr,
        )
    return str(keys.file.path)


@command("auth list", "list the keys that were stored, and where they are; shows how they begin")
def list_keys(arguments: argparse.Namespace) -> int:
    """Print a table of names, places and beginnings."""
    keys = _keys()
    found = [keys.listed(name) for name in keys.names()]
    if not found:
        print("no keys are stored; `xp auth set NAME` stores one")
        return 0
    rows = [(each.name, each.place or "missing", each.shown, each.problem) for each in found]
    for row in table([("NAME", "WHERE", "KEY", "NOTE"), *rows], ""):
        print(plain(row).rstrip())
    return 0


@command("auth remove", "remove a key from the keyring and from the file", _NAME)
def remove_key(arguments: argparse.Namespace) -> int:
    """Forget a key; 1 when there was none."""
    from xml_pipeline.keys.names import checked_name, variable_of

    keys, name = _keys(), checked_name(arguments.name)
    gone = keys.remove(name)
    if not gone:
        raise KeyStoreError(no_such("stored key", name, keys.names()))
    print(f"{name} is removed ({', '.join(gone)})")
    if os.environ.get(variable_of(name)):
        print(f"note: {variable_of(name)} is set here, and still holds a key")
    return 0


def unlock(router: Router) -> None:
    """Ask for the passphrase of keys that it needs, while a person can still be asked.

    Once the organism and its console run, nobody can: keys are then looked up without asking.

    Args:
        router: its backends say which keys are needed.

    Raises:
        KeyStoreError: what was typed is not the passphrase.
    """
    from xml_pipeline.keys.passphrase import can_ask, typed

    wanted = [backend.api_key_ref for backend in router.backends.values() if backend.key_pending]
    if wanted and can_ask() and (name := router.keys.locked(wanted)):
        router.keys.unlock(name, typed(f"Passphrase of the key '{name}': "))


def relock(router: Router, former: Router) -> None:
    """Use the passphrase that was typed for another router of this program: while a console runs, nobody is asked.

    Raises:
        KeyStoreError: the router needs one, and none was typed.
    """
    wanted = [backend.api_key_ref for backend in router.backends.values() if backend.key_pending]
    if not wanted:
        return
    router.keys.trust(former.keys)
    if name := router.keys.locked(wanted):
        raise KeyStoreError(f"the key '{name}' needs its passphrase, and nobody can be asked now: begin anew")
