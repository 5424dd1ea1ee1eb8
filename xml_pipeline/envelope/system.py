"""The messages that the system itself sends: `<huh>`, `<SystemError>`, `<Gathered>`.

They are payloads like any other and take the same way. A listener that wants them names them in its handler's
annotation; one that does not lets them pass on to its caller.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, get_args

from xml_pipeline.errors import EnvelopeError, PayloadError, cut
from xml_pipeline.payload import PayloadCodec, xmlify

Code: TypeAlias = Literal[
    "routing", "validation", "timeout", "handler", "budget", "limit", "interrupted", "refused"
]

CODES: frozenset[str] = frozenset(get_args(Code))

SYSTEM = "system"
"""The sender's name of system messages; no listener may have it."""

MAX_VIOLATIONS = 5
MAX_TEXT = 2_000  # characters of one part of a broken rule; a class's own code may write more


@xmlify
@dataclass(frozen=True)
class SystemError:  # the design's name; import it from here, the builtin is never meant
    """Something in the system went wrong with a message; the code says what kind of thing.

    `partial` is what there was of an answer, where an agent's budget was used up in the middle of its work.
    """

    code: Code
    message: str = ""
    partial: str | None = field(default=None, repr=False)


@xmlify
@dataclass(frozen=True)
class BrokenRule:
    """One rule that a payload breaks: where, what was found, what is right."""

    field: str
    rule: str
    value: str | None = None
    allowed: str = ""


@xmlify(name="huh")
@dataclass(frozen=True)
class Huh:
    """A message was not understood: which rules it breaks, and an example that breaks none."""

    message: str
    rules: list[BrokenRule] = field(default_factory=list)
    example: str = ""

    @classmethod
    def from_error(cls, error: PayloadError, payload_name: str, example: str = "") -> Huh:
        """The complaint about a payload that `error` describes; at most five rules of it."""
        rules = [
            BrokenRule(
                field=_printable(v.field),
                rule=_printable(v.rule),
                value=None if v.value is None else _printable(v.value),
                allowed=_printable(v.allowed),
            )
            for v in error.violations[:MAX_VIOLATIONS]
        ]
        return cls(message=f"{payload_name} is not valid", rules=rules, example=example)

    def __str__(self) -> str:
        lines = [self.message]
        for rule in self.rules:
            got = "" if rule.value is None else f", got {rule.value!r}"
            allowed = f"; allowed: {rule.allowed}" if rule.allowed else ""
            lines.append(f"- {rule.field}: {rule.rule}{got}{allowed}")
        if self.example:
            lines += ["A valid example:", self.example]
        return "\n".join(lines)


def _printable(text: str) -> str:
    """`text` with what XML cannot carry made visible: it quotes the very value that was refused."""
    text = cut(text, MAX_TEXT)
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char in "\t\n" else f"\\u{ord(char):04x}" for char in text)


@dataclass(frozen=True, slots=True)
class Gathered:
    """The answers to one `HandlerResponse.gather(...)`, in the order of its calls.

    Attributes:
        answers: a payload each: the answer, a SystemError or Huh where the call failed, None where the
            call ended without an answer.
    """

    answers: tuple[Any, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether every call was answered, and none with an error."""
        return all(answer is not None and not is_error(answer) for answer in self.answers)


def complaint(error: PayloadError | EnvelopeError, codec: PayloadCodec[Any]) -> SystemError | Huh:
    """What the sender of an invalid payload, or of too large a message, is told."""
    if isinstance(error, PayloadError):
        return Huh.from_error(error, codec.root, codec.example)
    return SystemError("limit" if error.rule in ("size", "depth", "elements") else "validation", str(error))


def is_error(payload: object) -> bool:
    """Whether a payload is one of the two error messages."""
    return isinstance(payload, SystemError | Huh)
