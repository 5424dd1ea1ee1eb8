"""A YAML document with one value more, or another one in its place: everything else stays as somebody laid it out.

Nothing is written anew but what changes: the text is cut at the places that the parser tells, and then read again.
What does not come out as it was meant (because of anchors, or of a layout that nobody thought of) is refused. Pure.
"""

from __future__ import annotations

from typing import Any

import yaml

Path = tuple[str, ...]
_STEP = 2  # columns by which new blocks are indented


class Uneditable(Exception):
    """The document cannot be changed without a risk for the rest of it."""


def with_item(text: str, path: Path, item: Any) -> str:
    """The document with one item more at the end of a list, which is made if there is none. Raises Uneditable."""

    def change(data: dict[str, Any]) -> None:
        *above, last = path
        for key in above:
            data = _made(data, key, {})
        _made(data, last, []).append(item)

    return _changed(text, path, [item], change, appends=True)


def with_value(text: str, path: Path, value: Any) -> str:
    """The document with a value at a place, in which there may have been another one. Raises Uneditable."""

    def change(data: dict[str, Any]) -> None:
        *above, last = path
        for key in above:
            data = _made(data, key, {})
        data[last] = value

    return _changed(text, path, value, change, appends=False)


def _unshared(data: Any) -> Any:
    """A copy in which nothing is shared: what an anchor names would change in two places."""
    if isinstance(data, dict):
        return {key: _unshared(each) for key, each in data.items()}
    return [_unshared(each) for each in data] if isinstance(data, list) else data


def _made(data: Any, key: str, empty: Any) -> Any:
    if not isinstance(data, dict):
        raise Uneditable(f"'{key}' would stand in what is no mapping")
    if data.get(key) is None:
        data[key] = empty
    if not isinstance(data[key], type(empty)):
        raise Uneditable(f"'{key}' is no {'mapping' if isinstance(empty, dict) else 'list'}")
    return data[key]


def _changed(text: str, path: Path, value: Any, change: Any, *, appends: bool) -> str:
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        expected = _unshared(yaml.safe_load(text))
    except RecursionError:
        raise Uneditable("it is nested too deep") from None
    except yaml.YAMLError as error:
        raise Uneditable(f"it is no YAML: {error}") from None
    if not isinstance(root, yaml.MappingNode):
        raise Uneditable("it is no mapping")
    change(expected)
    made = _Text(text).changed(root, path, value, appends=appends)
    try:
        same = yaml.safe_load(made) == expected
    except yaml.YAMLError:
        same = False
    if not same:
        raise Uneditable("its layout leaves no place that is sure")
    return made


class _Text:
    def __init__(self, text: str) -> None:
        self.text = text
        self.newline = "\r\n" if "\r\n" in text else "\n"

    def changed(self, root: yaml.MappingNode, path: Path, value: Any, *, appends: bool) -> str:
        node: yaml.MappingNode = root
        for depth, key in enumerate(path):
            found = _value_of(node, key)
            rest = path[depth + 1 :]
            whole = _nested(rest, value)
            if found is None:
                return self._with_key(node, key, whole)
            if _is_empty(found):
                return self._filled(node, found, whole)
            if not rest:
                return self._with_item(found, value[0]) if appends else self._replaced(found, value)
            if not isinstance(found, yaml.MappingNode):
                break
            node = found
        raise Uneditable("there is something else where the value belongs")

    def _with_key(self, node: yaml.MappingNode, key: str, value: Any) -> str:
        if node.flow_style:
            return self._in_flow(node, f"{flow(key)}: {flow(value)}", [each for _, each in node.value])
        column = node.value[0][0].start_mark.column if node.value else 0
        return self._after(_end_of(node), _block({key: value}, column))

    def _with_item(self, node: yaml.Node, item: Any) -> str:
        if not isinstance(node, yaml.SequenceNode):
            raise Uneditable("there is no list where an item belongs")
        if node.flow_style:
            return self._in_flow(node, flow(item), node.value)
        column = node.start_mark.column
        flows = isinstance(node.value[-1], yaml.CollectionNode) and node.value[-1].flow_style
        lines = [f"{' ' * column}- {flow(item)}"] if flows else _block([item], column)
        return self._after(_end_of(node), lines)

    def _in_flow(self, node: yaml.CollectionNode, entry: str, entries: list[yaml.Node]) -> str:
        if not entries:
            return self._cut(node.start_mark.index + 1, node.start_mark.index + 1, entry)
        end = entries[-1].end_mark.index
        return self._cut(end, end, f", {entry}")

    def _filled(self, parent: yaml.MappingNode, node: yaml.Node, value: Any) -> str:
        """In the place of a value that is empty."""
        start, end = node.start_mark.index, node.end_mark.index
        if parent.flow_style:
            return self._cut(start, end, f"{flow(value)}" if start < end else f" {flow(value)}")
        without = _Text(self._cut(start, end, ""))
        return without._after(start, _block(value, parent.value[0][0].start_mark.column + _STEP))

    def _replaced(self, node: yaml.Node, value: Any) -> str:
        if isinstance(node, yaml.ScalarNode) and node.style in ("|", ">"):
            raise Uneditable("the value is a text of several lines")
        end = _end_of(node)
        if isinstance(node, yaml.CollectionNode) and "#" in self.text[node.start_mark.index : end]:
            raise Uneditable("there are comments in the value that would be replaced")
        start = node.start_mark.index
        if "\n" in (between := self.text[:start]) and not between.rpartition("\n")[2].strip():
            above = between.rstrip()  # a block below its key: what is instead stands behind the key
            if not above.endswith(":"):
                raise Uneditable("there are comments between a key and its value")
            return self._cut(len(above), end, f" {flow(value)}")
        return self._cut(start, end, flow(value))

    def _after(self, index: int, lines: list[str]) -> str:
        """New lines below the one in which something ends, whatever comment stands behind it."""
        at_start = index > 0 and self.text[index - 1] == "\n"  # a text of several lines ends there
        end = index if at_start else self.text.find("\n", index) + 1
        added = "".join(f"{line}{self.newline}" for line in lines)
        if not at_start and end == 0:
            return f"{self.text}{self.newline}{added}"
        return self._cut(end, end, added)

    def _cut(self, start: int, end: int, instead: str) -> str:
        return f"{self.text[:start]}{instead}{self.text[end:]}"


def _value_of(node: yaml.MappingNode, key: str) -> yaml.Node | None:
    return next((value for name, value in node.value if name.value == key), None)


def _is_empty(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null"


def _end_of(node: yaml.Node) -> int:
    """Where what is written of it ends; the parser puts the end of a block behind the comments that follow it."""
    while isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        node = last[1] if isinstance(last, tuple) else last
    return int(node.end_mark.index)


def _nested(path: Path, value: Any) -> Any:
    for key in reversed(path):
        value = {key: value}
    return value


def flow(value: Any) -> str:
    """A value on one line."""
    written = yaml.dump(
        [value], Dumper=_OnOneLine, default_flow_style=True, sort_keys=False, width=10**9, allow_unicode=True
    )
    return str(written).strip()[1:-1]


class _OnOneLine(yaml.SafeDumper):
    """A text of several lines stands in double quotes, with `\\n` in it."""


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style='"' if "\n" in value else None)


_OnOneLine.add_representer(str, _text)


def _block(value: Any, column: int) -> list[str]:
    """As lines, each list of texts on one of them."""
    lines = []
    if isinstance(value, dict):
        for key, each in value.items():
            if isinstance(each, dict) or (
                isinstance(each, list) and any(isinstance(one, dict) for one in each)
            ):
                lines += [f"{' ' * column}{flow(key)}:", *_block(each, column + _STEP)]
            else:
                lines.append(f"{' ' * column}{flow(key)}: {flow(each)}")
    else:
        for each in value:
            inner = column + _STEP
            first, *rest = _block(each, inner) if isinstance(each, dict) else [flow(each)]
            lines += [f"{' ' * column}- {first.lstrip()}", *rest]
    return lines
