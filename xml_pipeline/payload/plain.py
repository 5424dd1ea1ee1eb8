"""An element as plain Python, read without the class that wrote it: what an older version of a class left behind."""

from __future__ import annotations

from typing import TypeAlias

from lxml import etree

from xml_pipeline.payload.decoder import is_nil

Plain: TypeAlias = "str | list[Plain] | dict[str, Plain] | None"
"""A text as it stands; None; several items; fields by name, or the entries of a dict by their keys."""


def fields_in(element: etree._Element) -> dict[str, Plain]:
    """The fields of a payload's element, by name.

    What a field holds is a text (`"5"`, `"true"`, bytes in base64; "" for what is empty, also for an empty list),
    None, a list where its children are items, a dict of entries where it holds those, else a dict of its own fields.
    """
    return {child.tag: _plain(child) for child in element}


def _plain(element: etree._Element) -> Plain:
    if is_nil(element):
        return None
    children = list(element)
    if not children:
        return element.text or ""
    tags = {child.tag for child in children}
    if tags == {"item"}:
        return [_plain(child) for child in children]
    if tags == {"entry"}:
        entries = [fields_in(child) for child in children]
        if all(entry.keys() == {"key", "value"} and isinstance(entry["key"], str) for entry in entries):
            return {str(entry["key"]): entry["value"] for entry in entries}
    return fields_in(element)
