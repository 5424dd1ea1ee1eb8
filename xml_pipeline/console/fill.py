"""From what follows `@name` to a payload of a class that the listener accepts."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from xml_pipeline.console.parse import InputError
from xml_pipeline.errors import EnvelopeError, did_you_mean
from xml_pipeline.hardened import parse as parse_xml
from xml_pipeline.payload import Codec, codec_of
from xml_pipeline.pump import Listener

_WORD = re.compile(r"(\S+)(.*)", re.DOTALL)
_ELEMENT = re.compile(r"<[A-Za-z_][\w.\-]*[\s/>]")
_OBJECT = re.compile(r'\{\s*"([A-Z]\w*)"\s*:\s*\{')
_PAIR = re.compile(
    r"""\s*(?P<key>[A-Za-z_]\w*)=(?:"(?P<double>(?:[^"\\]|\\.)*)"|'(?P<single>[^']*)'|(?P<bare>[^\s"']\S*|))(?=\s|$)""",
    re.DOTALL,
)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPED = {"n": "\n", "t": "\t"}


def accepted(listener: Listener) -> tuple[Codec[Any], ...]:
    """What a person may send to a listener: what it accepts, system messages left out."""
    return tuple(codec_of(each.cls) for each in listener.requests.values())


def fill(name: str, classes: Sequence[Codec[Any]], body: str, *, sign: str = "@") -> Any:
    """The payload of one of `classes` that `body` describes.

    `<Xml…>` and `{"Class": {"field": value}}` are the whole payload; `a=2 b=40` fills fields; other text fills the
    only or obvious field. Where there are several classes, the fields or the class's name before them choose.

    Args:
        name: the listener's, for messages.
        classes: what it takes, see `accepted`.
        body: what was typed after the name.
        sign: what a line for it starts with, for messages: `@` (then its name follows) or `!`.

    Raises:
        InputError: it cannot be told what is meant; the message says how to write it.
        PayloadError: a field's value does not fit.
        EnvelopeError: the XML is not well-formed, or too large.
    """
    if not classes:
        raise InputError(f"'{name}' takes only messages of the system; nothing can be sent to it")
    return _Filling(name, classes, f"{sign}{name}" if sign == "@" else sign).read(body)


def how_to_write(head: str, codec: Codec[Any]) -> str:
    """How to write a message of this class, as `@calculator.add a=<int> b=<int>` for the head `@calculator.add`."""
    required = [field for field in codec.fields if field.required] or list(codec.fields)
    if codec.only_field and len(required) == 1:
        return f"{head} <{codec.only_field}>"
    return " ".join([head, *(f"{field.name}=<{field.type}>" for field in required)])


def pairs(body: str) -> tuple[list[tuple[str, str]], str]:
    """The leading `key=value` pairs of `body`, and what is left behind them.

    A value with blanks stands in quotes: in double ones `\\"`, `\\\\`, `\\n` and `\\t` mean what they mean in
    Python, in single ones everything is text.
    """
    found: list[tuple[str, str]] = []
    position = 0
    while match := _PAIR.match(body, position):
        if match["double"] is not None:
            value = _ESCAPE.sub(lambda escape: _ESCAPED.get(escape[1], escape[1]), match["double"])
        else:
            value = match["single"] if match["single"] is not None else match["bare"]
        found.append((match["key"], value))
        position = match.end()
    return found, body[position:].strip()


def _names(codec: Codec[Any]) -> list[str]:
    return [field.name for field in codec.fields]


def _assigns(codec: Codec[Any], body: str) -> bool:
    found, rest = pairs(body)
    return bool(found) and not rest and all(key in _names(codec) for key, _ in found)


@dataclass(frozen=True, slots=True)
class _Filling:
    """One receiver's classes, and how messages to it start."""

    name: str
    classes: Sequence[Codec[Any]]
    head: str

    def read(self, body: str) -> Any:
        if _ELEMENT.match(body):
            return self._from_xml(body)
        if named := _OBJECT.match(body):
            codec = next((each for each in self.classes if each.root == named[1]), None)
            if codec is not None:
                return self._from_json(codec, body)
            self._refuse_near(named[1])
        word = _WORD.match(body)
        if word is not None:
            rest = word[2].strip()
            for codec in self.classes:
                if codec.root == word[1] and (len(self.classes) > 1 or _assigns(codec, rest)):
                    return self._from_words((codec,), rest)
        return self._from_words(self.classes, body)

    def _from_xml(self, body: str) -> Any:
        try:
            element = parse_xml(body.encode("utf-8", "surrogatepass"))
        except EnvelopeError as error:
            obvious = next((codec for codec in self.classes if codec.only_field), None)
            hint = f'; to send it as text, write {obvious.only_field}="…"' if obvious else ""
            raise EnvelopeError(error.rule, f"{error}{hint}") from None
        for codec in self.classes:
            if codec.root == element.tag:
                return codec.decode(element)
        roots = [codec.root for codec in self.classes]
        raise InputError(
            f"'{self.name}' does not take <{element.tag}>; it takes"
            f" {' or '.join(f'<{root}>' for root in roots)}{did_you_mean(str(element.tag), roots)}"
        )

    def _from_json(self, codec: Codec[Any], body: str) -> Any:
        try:
            said = json.loads(body)
        except ValueError as error:
            raise InputError(f"that is no valid JSON: {error}; {self._ways([codec])}") from None
        if len(said) > 1:
            raise InputError(f'one message is {{"{codec.root}": {{…}}}}; that has {len(said)} keys')
        return codec.from_json(said[codec.root])

    def _refuse_near(self, name: str) -> None:
        """`{"Tiket": {…}}` is a slip; other JSON is a text for whoever takes texts."""
        near = did_you_mean(name, [codec.root for codec in self.classes])
        if near:
            raise InputError(f"'{self.name}' does not take {name}{near}")

    def _from_words(self, classes: Sequence[Codec[Any]], body: str) -> Any:
        found, rest = pairs(body)
        if found and any(key in _names(codec) for codec in classes for key, _ in found):
            return self._from_pairs(classes, found, rest)
        obvious = [codec for codec in classes if codec.only_field]
        if found and not rest:
            self._refuse_misspelt(classes, found[0][0], obvious)
        if not body:
            return self._from_nothing(classes)
        if len(obvious) == 1:
            return obvious[0].from_text({obvious[0].only_field or "": body})
        if obvious:
            raise InputError(f"'{self.name}' could take that as one of several; {self._ways(obvious)}")
        raise InputError(f"'{self.name}' needs fields; {self._ways(classes)}")

    def _from_pairs(self, classes: Sequence[Codec[Any]], found: list[tuple[str, str]], rest: str) -> Any:
        texts = dict(found)
        if rest:
            word = rest.split(maxsplit=1)[0]
            raise InputError(
                f"{word!r} is no field=value; put a value with blanks into quotes, as"
                f' {found[-1][0]}="two words"'
            )
        if len(texts) < len(found):
            keys = [key for key, _ in found]
            twice = next(key for number, key in enumerate(keys) if key in keys[:number])
            raise InputError(f"the field '{twice}' is given twice; a list is one field: {twice}=\"a, b\"")
        known = [codec for codec in classes if set(texts) <= set(_names(codec))]
        whole = [codec for codec in known if all(not f.required or f.name in texts for f in codec.fields)]
        fitting = whole or known or (list(classes) if len(classes) == 1 else [])
        if len(fitting) == 1:
            return fitting[0].from_text(texts)
        why = "could take that as one of several" if fitting else f"has no message with {', '.join(texts)}"
        raise InputError(f"'{self.name}' {why}; {self._ways(fitting or classes)}")

    def _refuse_misspelt(
        self, classes: Sequence[Codec[Any]], key: str, obvious: Sequence[Codec[Any]]
    ) -> None:
        """`nam=Alice` is a slip; `x=3` for a listener that takes any text is text."""
        near = did_you_mean(key, (name for codec in classes for name in _names(codec)))
        if not obvious or near:
            near = near or ";"
            as_text = f'; to send it as text, write {obvious[0].only_field}="…"' if obvious else ""
            raise InputError(f"'{self.name}' has no field '{key}'{near} {self._ways(classes)}{as_text}")

    def _from_nothing(self, classes: Sequence[Codec[Any]]) -> Any:
        ready = [codec for codec in classes if not any(field.required for field in codec.fields)]
        if len(ready) == 1:
            return ready[0].from_text({})
        raise InputError(f"'{self.name}' needs more than that; {self._ways(ready or classes)}")

    def _ways(self, classes: Sequence[Codec[Any]]) -> str:
        """`write @calculator.add a=<int> b=<int>`, or one way for each class."""
        several = len(self.classes) > 1
        heads = [
            f"{self.head} {codec.root}".replace("! ", "!") if several else self.head for codec in classes
        ]
        return "write " + " or ".join(map(how_to_write, heads, classes))
