"""`organism.lock`: what is used from elsewhere, as somebody looked at it: names, schemas and descriptions, by digest.

What differs is refused until it is looked at again; what is new there is not offered: `tools` is a closed list.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

from xml_pipeline.config.document import Document
from xml_pipeline.config.flows import contracts_of
from xml_pipeline.config.models import Box, OrganismConfig
from xml_pipeline.errors import cut, listing
from xml_pipeline.flows import Contract
from xml_pipeline.payload import codec_of
from xml_pipeline.regular import bytes_of

NAME = "organism.lock"
FORMAT = 1

Locked = dict[str, dict[str, dict[str, Any]]]
"""Box → what can be called there → what it was."""


def locked(boxes: Mapping[str, Box]) -> Locked:
    """What an organism uses from elsewhere, as it is now."""
    contracts = contracts_of(boxes)
    return {
        name: {tool: _digests(contracts[f"{name}.{tool}"], box.config, tool) for tool in box.entry.tools}
        for name, box in boxes.items()
    }


def _digests(contract: Contract, config: OrganismConfig, tool: str) -> dict[str, Any]:
    description = next((each.description for each in config.listeners if each.name == tool), "")
    return {
        "accepts": _schemas(contract.accepts),
        "answers": _schemas(contract.answers),
        "description": blake2b(description.encode(), digest_size=8).hexdigest(),
    }


def _schemas(classes: tuple[type, ...] | None) -> dict[str, str] | None:
    return None if classes is None else {cls.__name__: codec_of(cls).fingerprint.hex() for cls in classes}


def written(now: Locked) -> str:
    """The lock as the text of its file."""
    return json.dumps({"format": FORMAT, "boxes": now}, indent=2, sort_keys=True) + "\n"


def check_lock(document: Document, home: Path, boxes: Mapping[str, Box]) -> None:
    """Report what is not as the lock says, if there is one."""
    file = home / NAME
    if not boxes or not file.exists():
        return
    try:
        found = json.loads(bytes_of(file))
        if found["format"] != FORMAT:
            raise ValueError(f"it has format {found['format']}, and this version reads {FORMAT}")
        changed = {name: _changed(found["boxes"].get(name), tools) for name, tools in locked(boxes).items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        document.report(
            (), f"{NAME} beside it cannot be read ({cut(str(error))}); write it anew: `xml-pipeline lock`"
        )
        return
    data: Any = document.data
    for index, entry in enumerate(data["listeners"]):
        if what := changed.get(entry["name"]):
            text = f"is not what {NAME} holds of it: {what}; look at it, then write `xml-pipeline lock`"
            document.report(("listeners", index, "use"), text)


def _changed(kept: Mapping[str, Mapping[str, Any]] | None, now: Mapping[str, Mapping[str, Any]]) -> str:
    """What differs, in a few words; "" for nothing."""
    if kept is None:
        return "it is not there"
    parts = []
    for tool, is_now in now.items():
        was = kept.get(tool)
        if was is None:
            parts.append(f"'{tool}' is not there")
        elif different := [key for key in is_now if was.get(key) != is_now[key]]:
            parts.append(f"{listing(different)} of '{tool}' changed")
    return "; ".join(parts)
