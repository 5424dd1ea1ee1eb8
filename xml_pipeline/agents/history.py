"""What an agent remembers, and how much of it a model gets to see. Pure.

A task is one `Exchange`: the task itself and rounds, each a model's answer with the results of the calls in it.
Bounds cut whole rounds and whole exchanges, so a call is never seen without its result, nor a result without
its call.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from xml_pipeline.llm.accounting.estimate import BYTES_PER_TOKEN, prompt_size
from xml_pipeline.llm.types import Message

SHORT = 400  # characters that a shortened result keeps


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one call.

    Attributes:
        id: the tool call's.
        name: the tool's.
        text: the answer, or what went wrong.
        is_error: whether it is no answer.
        own: whether it is what the agent has itself: a skill, or that the task was handed over.
    """

    id: str
    name: str
    text: str
    is_error: bool = False
    own: bool = False

    def shortened(self) -> Result:
        """The beginning of a long result, which says that it is one."""
        if len(self.text) <= SHORT:
            return self
        return replace(self, text=f"{self.text[:SHORT]}… (shortened: {len(self.text)} characters in all)")


@dataclass(frozen=True, slots=True)
class Round:
    """One answer of the model and what it brought.

    Attributes:
        answer: the assistant message.
        results: of its calls, in call order.
        note: what the model is told besides; "" for nothing.
        native: whether the results go back as tool messages; else as one user message.
    """

    answer: Message
    results: tuple[Result, ...] = ()
    note: str = ""
    native: bool = True

    def messages(self) -> Iterator[Message]:
        """As the model sees it."""
        yield self.answer
        if self.native:
            for result in self.results:
                yield {
                    "role": "tool",
                    "tool_call_id": result.id,
                    "name": result.name,
                    "content": result.text,
                    "is_error": result.is_error,
                }
            if self.note:
                yield {"role": "user", "content": self.note}
        else:
            parts = [
                f'<result of="{each.name}" number="{number}">\n{each.text}\n</result>'
                for number, each in enumerate(self.results, 1)
            ]
            text = "\n\n".join((*parts, self.note) if self.note else parts)
            if text:
                yield {"role": "user", "content": text}

    def shortened(self) -> Round:
        """The same with short results; itself if they are."""
        short = tuple(result.shortened() for result in self.results)
        return self if short == self.results else replace(self, results=short)


@dataclass(frozen=True, slots=True)
class Exchange:
    """One task and all that was said about it; the last round of a finished one is the answer.

    Attributes:
        task: the user message.
        rounds: in order.
    """

    task: Message
    rounds: tuple[Round, ...] = ()

    def messages(self) -> Iterator[Message]:
        """As the model sees it."""
        yield self.task
        for each in self.rounds:
            yield from each.messages()


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much is kept.

    Attributes:
        messages: of earlier exchanges.
        tokens: of earlier exchanges and the current one together, as estimated.
    """

    messages: int = 40
    tokens: int = 8000


def tokens_of(messages: Iterable[Message]) -> int:
    """The estimated size of messages."""
    return int(prompt_size(list(messages)) / BYTES_PER_TOKEN)


def within(bounds: Bounds, earlier: Sequence[Exchange], current: Exchange | None = None) -> list[Exchange]:
    """`earlier` and then `current`, cut to the bounds.

    Results are shortened first, the oldest first; then the oldest exchanges go, then the oldest rounds of the
    current one. The current task and its newest round stay whole whatever their size.
    """
    kept = list(earlier)
    if current is not None:
        kept.append(current)
    most = _bytes_for(bounds.tokens)
    sizes = _shorten(kept, most, current)
    messages = [sum(1 for _ in exchange.messages()) for exchange in kept[: len(earlier)]]
    first, size, before = 0, sum(sizes), sum(messages)
    while first < len(earlier) and (before > bounds.messages or size >= most):
        size, before, first = size - sizes[first], before - messages[first], first + 1
    del kept[:first]
    if current is not None:
        kept[-1] = _without_old_rounds(kept[-1], most)
    return kept


def _bytes_for(tokens: int) -> float:
    """Below so many bytes messages are so many tokens at most: parts add up in bytes, and not in rounded tokens."""
    return (tokens + 1) * BYTES_PER_TOKEN


def _size_of(messages: Iterable[Message]) -> int:
    return prompt_size(list(messages))


def _shorten(kept: list[Exchange], most: float, current: Exchange | None) -> list[int]:
    """Shorten the oldest results until the whole fits, or only the newest round is left; the bytes of each."""
    sizes = [_size_of(exchange.messages()) for exchange in kept]
    excess = sum(sizes) - most
    for position, exchange in enumerate(kept):
        if excess < 0:
            break
        rounds = list(exchange.rounds)
        last = len(rounds) - (exchange is current)
        for index in range(last):
            if excess < 0:
                break
            short = rounds[index].shortened()
            if short is not rounds[index]:
                excess -= _size_of(rounds[index].messages()) - _size_of(short.messages())
                rounds[index] = short
        if tuple(rounds) != exchange.rounds:
            kept[position] = replace(exchange, rounds=tuple(rounds))
            sizes[position] = _size_of(kept[position].messages())
    return sizes


def _without_old_rounds(exchange: Exchange, most: float) -> Exchange:
    sizes = [_size_of(each.messages()) for each in exchange.rounds]
    size, first = _size_of((exchange.task,)) + sum(sizes), 0
    while first < len(sizes) - 1 and size >= most:
        size, first = size - sizes[first], first + 1
    return replace(exchange, rounds=exchange.rounds[first:]) if first else exchange
