"""Replay: today's rules, classes and organism.yaml against what handlers returned then.

For each recorded step the fact it followed from is read back (`pump.causes`) and given to a fresh machine over
today's listeners. The events it makes must be those of the record, ids and bytes included. The first that is not is
the difference; nothing after it can be compared, because the conversation would have gone another way. No handler
is called, and nothing is written. (ADR 27)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

from lxml import etree
from msgspec import Struct, field
from msgspec.structs import replace

from xml_pipeline.envelope import Message
from xml_pipeline.errors import XmlPipelineError, described
from xml_pipeline.hardened import parse
from xml_pipeline.journal import Step
from xml_pipeline.journal.rows import packed, unpacked
from xml_pipeline.pump.causes import Causes, NotKept, Outgrown
from xml_pipeline.pump.facts import Aborted, Due, Expired, Fact, Injected, Undeliverable
from xml_pipeline.pump.machine import Machine
from xml_pipeline.pump.recovery import Reviver, Unreadable
from xml_pipeline.pump.response import KEPT
from xml_pipeline.threads.record import (
    Accepted,
    Began,
    DeadLetter,
    Ended,
    Entry,
    Event,
    Handled,
    Refused,
    Remembered,
    ends_conversation,
)
from xml_pipeline.threads.state import Conversation, OutsideSession, State

_NOTHING = "nothing"
_FIRST = ("root", "from_id", "to", "data")  # of a message: what says most; its ids follow from the rest


class Difference(Struct, frozen=True):
    """Where today's way leaves the recorded one.

    Attributes:
        step: its number in the conversation, from 1.
        at: when it was taken, in seconds of Unix time.
        listener: whose message it is about; "" for none.
        field: what differs: `event`, or a field of the event, down to the element of a payload.
        was: in the record.
        now: today.
    """

    step: int
    at: float
    listener: str
    field: str
    was: str
    now: str


class Gap(Struct, frozen=True):
    """A step that cannot be compared; the replay goes on behind it with what is recorded.

    Attributes:
        step: its number in the conversation, from 1.
        at: when it was taken, in seconds of Unix time.
        listener: whose message it is about; "" for none.
        why: what is not kept.
    """

    step: int
    at: float
    listener: str
    why: str


class Replay(Struct):
    """What a replay found.

    Attributes:
        steps: how many are recorded.
        compared: how many were taken again, and came out the same.
        gaps: those that cannot be compared.
        difference: the first one; None for none.
    """

    steps: int
    compared: int = 0
    gaps: list[Gap] = field(default_factory=list)
    difference: Difference | None = None


def replayed(steps: Sequence[Step], machine: Machine) -> Replay:
    """Take the steps of one conversation again.

    Args:
        steps: all of them, in order.
        machine: a fresh one, over today's listeners and limits.
    """
    terms, state = machine.terms, machine.state
    reviver = Reviver(state, terms.listeners, terms.kept_limits)
    causes = Causes(terms.listeners, reviver)
    found = Replay(len(steps))
    for number, step in enumerate(steps, 1):
        conversation = state.conversations.get(step.conversation_id)
        listener = _listener(conversation, step)
        _set_elsewhere(state, conversation, step)
        try:
            fact = _today(machine, causes.of(conversation, step), listener)
            made = unpacked(packed(machine.step(fact)))
        except NotKept as error:
            found.gaps.append(Gap(number, step.at, listener, str(error)))
            _follow(state, reviver, step)
            continue
        except Outgrown as error:
            told = (error.field, error.was, error.now)
        except XmlPipelineError as error:  # what comes from outside is not let in
            told = ("event", _told(step.events[-1]), described(error))
        else:
            difference = _first_difference([_by_rule(event) for event in step.events], made)
            if difference is None:
                found.compared += 1
                continue
            told = difference
        found.difference = Difference(number, step.at, listener, *told)
        break
    return found


def _by_rule(event: Event) -> Event:
    """An event without what no rule decides: whether somebody put it there who calls no handlers."""
    if isinstance(event, Accepted) and event.opens is not None and event.opens.posted:
        return replace(event, opens=replace(event.opens, posted=False))
    return event


def _today(machine: Machine, fact: Fact, listener: str) -> Fact:
    """The fact, as it would be noticed today: what no handler takes any more is never given to one."""
    if isinstance(fact, Injected | Aborted | Expired | Undeliverable):
        return fact
    message = fact.message
    target = machine.terms.listeners.get(message.to)
    conversation = machine.state.conversations.get(message.conversation_id)
    thread = None if conversation is None else conversation.threads.get(message.thread_id)
    if thread is None or message.message_id not in thread.inbox:
        return fact  # too late, whoever it is
    if target is None:
        raise Outgrown("listener", listener, f"there is no listener '{listener}' any more")
    if message.payload is None:
        raise Outgrown("message", message.content, f"'{message.to}' cannot read it any more")
    if message.root not in target.handles and not thread.asked:
        return Due(message, fact.at)
    return fact


def _listener(conversation: Conversation | None, step: Step) -> str:
    """Whose message a step is about."""
    first = step.events[0]
    if isinstance(first, Began | Ended | Handled):
        return first.listener
    message: Message | None = getattr(first, "message", None)
    if message is None or conversation is None:
        return ""
    thread = conversation.threads.get(message.thread_id)
    return message.to if thread is None else thread.listener


def _set_elsewhere(state: State, conversation: Conversation | None, step: Step) -> None:
    """Set what a lasting session had from other conversations when a step was taken; its events tell all that counts.

    What is remembered there is of no consequence here, because no handler reads it: only how much it was.
    """
    first = step.events[0]
    if type(first) is Began and first.lasting:
        session = state.sessions[first.session] = OutsideSession()
    elif conversation is not None and conversation.lasting:
        session = state.sessions[conversation.session]
    else:
        return
    threads = conversation.threads.values() if conversation else ()
    below = {each for thread in threads for each in thread.session_ids}  # of calls within the conversation
    for event in step.events:
        if type(event) is Remembered and event.lasting:
            session.added[event.memory] = event.ordinal - 1
        elif type(event) is Accepted and (opens := event.opens) is not None:
            if opens.parent:
                below.add(opens.session_id)
            elif opens.seen is None:
                session.memory.pop(opens.memory, None)
            else:
                newest, size = opens.seen
                session.added[opens.memory] = newest
                session.memory[opens.memory] = (Entry("", b""),) * size
        if ends_conversation(event):
            ended = [each for each in event.sessions if each not in below]
            session.ending = bool(ended)
            if ended:
                session.sessions = {each: each for each in ended}


def _follow(state: State, reviver: Reviver, step: Step) -> None:
    """Let what is recorded have happened, with payloads where today's classes fit."""
    for event in step.events:
        if type(event) is Accepted:
            with suppress(Unreadable):  # its turn will show it
                event = replace(event, message=reviver.said(event.message))
        state.apply(step.conversation_id, event)


# --- what differs ---


def _first_difference(was: Sequence[Event], now: Sequence[Event]) -> tuple[str, str, str] | None:
    for position in range(max(len(was), len(now))):
        before = was[position] if position < len(was) else None
        after = now[position] if position < len(now) else None
        if type(before) is not type(after):
            return "event", _told(before), _told(after)
        for each in _differences("", before, after):
            return each
    return None


def _differences(path: str, was: Any, now: Any) -> Iterator[tuple[str, str, str]]:
    """The fields that differ, those that say most first."""
    if was == now:
        return
    if not isinstance(was, Struct) or type(was) is not type(now):
        yield path, _shown(was), _shown(now)
        return
    names = was.__struct_fields__
    if isinstance(was, Message):
        names = (*_FIRST, *(each for each in names if each not in _FIRST))
    for name in names:
        before, after = getattr(was, name), getattr(now, name)
        if before == after:
            continue
        if name != "data":
            yield from _differences(f"{path}.{name}" if path else name, before, after)
        elif _body(was) != _body(now):
            yield _element(path, before, after)


def _body(holder: Any) -> Any:
    return holder.content if isinstance(holder, Message) else holder.data


def _element(path: str, was: bytes, now: bytes) -> tuple[str, str, str]:
    """The first element of two documents that differs."""
    before, after = (_payload(each) for each in (was, now))
    if before is None or after is None:
        return path, _shown(was), _shown(now)
    where, first, second = _elements(before.tag, before, after)
    return f"{path}.{where}" if path else where, first, second


def _payload(data: bytes) -> Any:
    if not data:
        return None
    root = parse(data, KEPT)
    return root[1] if etree.QName(root).localname == "message" and root.tag != "message" else root


def _elements(path: str, was: Any, now: Any) -> tuple[str, str, str]:
    if was.tag == now.tag and len(was) and len(now):
        for before, after in zip(was, now, strict=False):
            if before.tag != after.tag or _text(before) != _text(after):
                return _elements(f"{path}.{before.tag}", before, after)
        if len(was) != len(now):
            longer, shorter = (was, now) if len(was) > len(now) else (now, was)
            extra = longer[len(shorter)]
            told = (_text(extra), _NOTHING) if longer is was else (_NOTHING, _text(extra))
            return f"{path}.{extra.tag}", *told
    return path, _text(was), _text(now)


def _text(element: Any) -> str:
    return str(etree.tostring(element, encoding="unicode", with_tail=False)).replace(' xmlns=""', "")


def _told(event: Event | None) -> str:
    """An event in a few words."""
    match event:
        case None:
            return _NOTHING
        case Accepted(message=message, leaves=leaves):
            what = "answers" if leaves or (event.ends and event.opens is None) else "is sent to"
            return f"{message.root} of '{message.from_id}' {what} '{message.to}'"
        case Refused():
            to = f" to '{event.to}'" if event.to else ""
            return f"a message of '{event.listener}'{to} is refused ({event.code}): {event.reason}"
        case Handled():
            why = f" ({event.code}): {event.detail}" if event.code else f" {event.detail}".rstrip()
            return f"a message to '{event.listener}' is handled: {event.how}{why}"
        case DeadLetter(message=message):
            return f"{message.root} to '{message.to}' is a dead letter: {event.reason}"
    named: Message | None = getattr(event, "message", None)
    about = "" if named is None else f" {named.root} to '{named.to}'"
    return f"{type(event).__name__}{about}"


def _shown(value: Any) -> str:
    if value is None:
        return _NOTHING
    if isinstance(value, Struct):
        return ", ".join(
            f"{name}={getattr(value, name)!r}" for name in value.__struct_fields__ if getattr(value, name)
        )
    return value if isinstance(value, str) else repr(value)
