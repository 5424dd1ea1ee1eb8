"""Every exception this library raises.

    XmlPipelineError
    ├── ConfigError               organism.yaml, or a call that builds an organism, is wrong
    ├── PayloadError              a value or document does not fit its payload class
    │   └── PayloadTypeError      a class that @xmlify cannot take
    ├── EnvelopeError             bytes that are no acceptable XML message
    ├── RoutingError              a message from outside names no listener, or one that cannot take it
    ├── AskError                  an ask from outside ended without a good answer
    │   ├── AnswerError           the answer is a SystemError or a huh
    │   ├── NoReply               the conversation ended and nobody answered
    │   └── AskTimeout            no answer in time (also a TimeoutError)
    ├── OrganismClosed            the organism does not take messages (any more)
    ├── KeyStoreError             an API key cannot be had, stored or removed
    └── LLMError
        ├── NoBackendError        no configured backend serves the model
        ├── BudgetExceededError   the call would pass a budget; no money was spent
        ├── StructuredOutputError the model gave no valid payload after its repairs
        └── BackendError          a provider failed, or all of them did
            ├── InvalidRequestError      400, 413, 422: the caller's fault, never retried
            │   ├── ContextWindowError   the prompt is longer than the model takes
            │   └── ContentPolicyError   the provider refuses the content
            ├── AuthenticationError      401, 403: the key is dead
            ├── QuotaExhaustedError      402 and quota 429: the account is out
            ├── ModelNotFoundError       404: this backend has no such model
            ├── RateLimitedError         429
            ├── OverloadedError          503 or 529 with an overload code
            ├── ServerError              other 5xx, 408, 409
            ├── ConnectionFailedError    refused, reset, DNS, TLS
            ├── BackendTimeoutError      connect, first token, idle or the whole request
            └── MalformedAnswerError     the answer is not what the provider documents

No message ever holds a key: texts from providers are scrubbed before they come here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import islice
from typing import Any, Literal

VALUE_CUT = 80  # characters of an offending value that an error shows
NAMES_LISTED = 20  # known names that an error lists
NAMES_COMPARED = 1000  # known names among which the nearest is looked for


_real_name = type.__dict__["__name__"].__get__  # a metaclass may make of `__name__` what it likes


def class_name(value: object) -> str:
    """The name of a value's class, whatever the class says of it."""
    return str(_real_name(type(value)))


def described(error: BaseException) -> str:
    """An exception's class and message, writable; one that cannot be shown is named by its class."""
    name = class_name(error)
    try:
        text = str(error)
    except KeyboardInterrupt:
        raise
    except BaseException:  # whatever it raises when it is looked at
        return f"{name} (which cannot be shown)"
    return f"{name}: {writable(text)}" if text else name


def writable(text: str) -> str:
    """`text` with a `?` for each character that cannot be written: halves of such as are written as two."""
    return text if text.isascii() else text.encode(errors="replace").decode()


def cut(value: object, length: int = VALUE_CUT) -> str:
    """`value` as text of at most `length` characters, with the number of those left out."""
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= length else f"{text[:length]}… ({len(text)} characters)"


def did_you_mean(word: str, known: Iterable[str], form: str = "; {}", *, cutoff: float = 0.6) -> str:
    """`did you mean 'shouter'?` for the nearest of `known`, set into `form`; "" when none is near.

    Upper and lower case, `-` and `_` are taken for the same letters. Long words and very many names have no near one:
    an error must not take longer than what it is about.
    """
    if len(word) > VALUE_CUT:
        return ""
    comparable = islice((name for name in known if len(name) <= VALUE_CUT), NAMES_COMPARED)
    by_fold = {_folded(name): name for name in sorted(set(comparable), reverse=True)}
    near = get_close_matches(_folded(word), by_fold, n=1, cutoff=cutoff)
    return form.format(f"did you mean {by_fold[near[0]]!r}?") if near else ""


def _folded(name: str) -> str:
    return name.casefold().replace("-", "_")


def listing(names: Iterable[str]) -> str:
    """`a, b, c`, sorted, each once, cut when there are many, or when one is long."""
    known = sorted(set(names))
    more = f", … ({len(known)} in all)" if len(known) > NAMES_LISTED else ""
    return ", ".join(map(cut, known[:NAMES_LISTED])) + more


def no_such(what: str, word: str, known: Collection[str]) -> str:
    """`no listener 'shoutr'; there are greeter, shouter; did you mean 'shouter'?`."""
    return f"no {what} '{cut(word)}'; there are {listing(known) or 'none'}{did_you_mean(word, known)}"


class XmlPipelineError(Exception):
    """Root of all errors of this library."""

    def __reduce__(self) -> tuple[Any, ...]:
        """As it is, to be read again: constructors here make the text from parts, and would make it of the text."""
        return _as_it_was, (type(self), self.args), self.__dict__ or None


def _as_it_was(cls: type[XmlPipelineError], args: tuple[Any, ...]) -> XmlPipelineError:
    return cls.__new__(cls, *args)


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in a configuration.

    Attributes:
        message: what is wrong, what is allowed, what to do.
        path: where in the document, as `listeners[2].peers[0]`; empty for the whole.
        file: the file's name as the user gave it, or "" when there is none.
        line: from 1; 0 when unknown.
        column: from 1; 0 when unknown.
    """

    message: str
    path: str = ""
    file: str = ""
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.file, self.line, self.column) if part)
        return ": ".join(part for part in (place, self.path, self.message) if part)


class ConfigError(XmlPipelineError):
    """A configuration with at least one mistake.

    Attributes:
        problems: the mistakes; the first of them when there are very many.
        more: how many there are beside those.
    """

    def __init__(self, problems: Sequence[Problem] | str, *, more: int = 0) -> None:
        self.problems: tuple[Problem, ...] = (
            (Problem(problems),) if isinstance(problems, str) else tuple(problems)
        )
        self.more = more
        rows = [str(problem) for problem in self.problems]
        super().__init__("\n".join([*rows, f"and {more:,} more"] if more else rows))


@dataclass(frozen=True, slots=True)
class Violation:
    """One rule that a payload breaks.

    Attributes:
        field: path from the payload's root by field names, as `Order.items[2].price`.
        rule: what is wrong, in words a person or a model can act on.
        value: the offending value as text, cut to `VALUE_CUT` characters; None when there is none.
        allowed: what would be right (a type, a list of values, a range), or "".
    """

    field: str
    rule: str
    value: str | None = None
    allowed: str = ""

    def __str__(self) -> str:
        shown = "" if self.value is None else f" (got {self.value!r})"
        allowed = f"; allowed: {self.allowed}" if self.allowed else ""
        return f"{self.field}: {self.rule}{shown}{allowed}"


class PayloadError(XmlPipelineError):
    """A value cannot be a payload, or a document is not one; `violations` says where and why."""

    def __init__(self, violations: Sequence[Violation] | Violation) -> None:
        self.violations: tuple[Violation, ...] = (
            (violations,) if isinstance(violations, Violation) else tuple(violations)
        )
        super().__init__("; ".join(str(violation) for violation in self.violations))


class PayloadTypeError(PayloadError, TypeError):
    """A class that @xmlify cannot take; raised at decoration, naming class and field."""


class EnvelopeError(XmlPipelineError):
    """Bytes that are refused before they become a message.

    Attributes:
        rule: the broken rule's short name: `size`, `depth`, `elements`, `doctype`, `encoding`,
            `syntax`, `hint`, `envelope`, `payload`.
    """

    def __init__(self, rule: str, message: str) -> None:
        self.rule = rule
        super().__init__(message)


class RoutingError(XmlPipelineError):
    """A message from outside names no listener, or one that does not accept its payload."""


class TaskFailed(XmlPipelineError):
    """What a handler raises to give its task up: its caller gets a SystemError with this code and text.

    Attributes:
        code: `routing`, `validation`, `timeout`, `handler`, `budget`, `limit` or `interrupted`.
        text: for the caller; other exceptions tell it their class only.
    """

    def __init__(self, code: str, text: str) -> None:
        self.code = code
        self.text = text
        super().__init__(code, text)

    def __str__(self) -> str:
        return f"{self.code}: {self.text}"


class AskError(XmlPipelineError):
    """An ask from outside ended without a good answer."""


class AnswerError(AskError):
    """The answer to an ask is an error message.

    Attributes:
        answer: the SystemError or Huh payload as received.
        code: its code: `routing`, `validation`, `timeout`, `handler`, `budget`, `limit`,
            `interrupted`.
    """

    def __init__(self, answer: Any, code: str, message: str) -> None:
        self.answer = answer
        self.code = code
        super().__init__(f"{code}: {message}")


class NoReply(AskError):
    """The conversation is over and nobody answered."""


class AskTimeout(AskError, TimeoutError):
    """No answer came in time; the conversation was cancelled."""


class KeyConflict(AskError):
    """The key of an ask or send names another request: another receiver, or another payload."""


class OrganismClosed(XmlPipelineError):
    """The organism is not running: not started yet, stopping, or stopped."""


class Interrupted(XmlPipelineError):
    """Something that is done once had begun when the process ended; whether it was done is not known."""


class JournalError(XmlPipelineError):
    """Work cannot be made durable, or a journal cannot be used; the text says which file, why, and what to do."""


class KeyStoreError(XmlPipelineError):
    """An API key cannot be had, stored or removed; the text says where, why, and what to do, and holds no key."""


class Ended(BaseException):
    """A signal ended a program in order; like KeyboardInterrupt it is no error that somebody should catch.

    Attributes:
        code: the exit code that says so: 128 and the signal's number.
    """

    def __init__(self, signal: int) -> None:
        super().__init__(signal)
        self.code = 128 + signal


class LLMError(XmlPipelineError):
    """Root of what a call to a language model can raise."""


class NoBackendError(LLMError):
    """No configured backend serves the model; the message names those there are, and the nearest."""


class BudgetExceededError(LLMError):
    """The call, or another try of it, was refused before it was sent, because it could pass a budget.

    Attributes:
        scope: whose budget, as `agent researcher`, `thread 2f1c…`, `organism`.
        limit: tokens, or USD, as `unit` says.
        spent: used and reserved so far.
        requested: what the call would have reserved: the most that it can use.
        unit: `tokens` or `usd`.
        period: `run`, `day` or `month`.
    """

    def __init__(
        self,
        scope: str,
        *,
        limit: float,
        spent: float,
        requested: float,
        unit: str,
        period: str = "run",
        made_of: str = "",
    ) -> None:
        self.scope = scope
        self.limit = limit
        self.spent = spent
        self.requested = requested
        self.unit = unit
        self.period = period
        super().__init__(
            f"the budget of {scope} is {limit:.12g} {unit} per {period}; {spent:.12g} are spent or reserved and"
            f" this call may need {requested:.12g} more{f' ({made_of})' if made_of else ''}. Raise the budget, lower"
            " max_tokens, shorten the prompt, or wait for the period to end."
        )


class StructuredOutputError(LLMError):
    """The model gave no valid payload, also after its repair rounds; `violations` are the last ones."""

    def __init__(self, message: str, violations: Sequence[Violation] = ()) -> None:
        self.violations = tuple(violations)
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try at one backend, as the trail of a failed (or rescued) call.

    Attributes:
        backend: the backend's name.
        model: the model asked there.
        error: the class name of what happened; "" for success.
        status: HTTP status, or None.
        seconds: how long it took.
    """

    backend: str
    model: str
    error: str = ""
    status: int | None = None
    seconds: float = 0.0


class BackendError(LLMError):
    """A provider failed; raised by `complete()` when all candidates did.

    Attributes:
        provider: as `openai`.
        backend: the configured backend's name.
        model: the model asked.
        status: HTTP status, or None when there was none.
        code: the provider's own error code or type, or "".
        request_id: the provider's, or "".
        retry_after: seconds the provider asked to wait, or None.
        attempts: the trail of all tries of the call, oldest first.
        retryable: whether the same backend may be asked again with the same request.
        failover: whether another backend may be asked with the same request.
        sent: False when the request surely never reached the provider, so that it cannot have been billed.
        refuses: `tools` or `schema` when the model has no such thing natively; the router then asks it in words.
    """

    retryable = False
    failover = True
    sent = True
    refuses: Literal["tools", "schema"] | None = None

    def __init__(
        self,
        message: str,
        *,
        provider: str = "",
        backend: str = "",
        model: str = "",
        status: int | None = None,
        code: str = "",
        request_id: str = "",
        retry_after: float | None = None,
        attempts: Sequence[Attempt] = (),
    ) -> None:
        self.provider = provider
        self.backend = backend
        self.model = model
        self.status = status
        self.code = code
        self.request_id = request_id
        self.retry_after = retry_after
        self.attempts = tuple(attempts)
        super().__init__(message)


class InvalidRequestError(BackendError):
    """400, 413 or 422: the request itself is wrong; no other backend is asked."""

    failover = False


class ContextWindowError(InvalidRequestError):
    """The prompt is longer than the model's context window."""


class ContentPolicyError(InvalidRequestError):
    """The provider refuses the content."""


class AuthenticationError(BackendError):
    """401 or 403: the key is missing, wrong or not allowed."""


class QuotaExhaustedError(BackendError):
    """402 or a quota 429: the account has no credit or has reached its spend limit."""


class ModelNotFoundError(BackendError):
    """404: this backend has no such model."""


class RateLimitedError(BackendError):
    """429: too many requests or tokens a minute."""

    retryable = True


class OverloadedError(BackendError):
    """The provider says that it is overloaded (529, or 503 with such a code)."""

    retryable = True


class ServerError(BackendError):
    """408, 409 or another 5xx."""

    retryable = True


class ConnectionFailedError(BackendError):
    """No connection, or it broke: refused, reset, DNS, TLS."""

    retryable = True


class BackendTimeoutError(BackendError):
    """The backend was too slow: connecting, to the first token, between tokens, or in all."""

    retryable = True


class MalformedAnswerError(BackendError):
    """The answer is not what the provider documents (cut JSON, missing parts, no final event)."""

    retryable = True
