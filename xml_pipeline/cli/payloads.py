"""`payloads`: the classes that an organism.yaml declares, for people and as Python."""

from __future__ import annotations

import argparse

from xml_pipeline.cli.command import FILE_ARGUMENT, UNTRUSTED, argument, command, config
from xml_pipeline.terminal import line, plain, visible


@command(
    "payloads",
    "list the payload classes that the file declares; imports nothing",
    argument(
        "--python",
        action="store_true",
        help="as a Python module with the same classes, for whoever goes on in Python",
    ),
    *FILE_ARGUMENT,
    UNTRUSTED,
)
def payloads(arguments: argparse.Namespace) -> int:
    """Print them."""
    from xml_pipeline.payload import codec_of
    from xml_pipeline.payload.printed import module_of

    found = config(arguments, "nothing")
    if arguments.python:
        print(visible(module_of(found.declarations)), end="")
        return 0
    if not found.classes:
        print("the file declares no payloads")
    for name, cls in found.classes.items():
        codec = codec_of(cls)
        print(plain(line(f"{name}: {codec.description}" if codec.description else name)))
        for field in codec.fields:
            default = f", default {field.default}" if field.default else ""
            presence = "required" if field.required else f"optional{default}"
            notes = "; ".join(filter(None, (field.description, field.constraints)))
            print(plain(line(f"  {field.name} ({field.type}, {presence}){notes and f': {notes}'}")))
    return 0
