"""A flow in words, for people who look at it. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from xml_pipeline.flows.steps import Answer, Build, Call, Calls, Choose, Delegate, Flow, Message, Repeat, Step


def told(flow: Flow) -> list[str]:
    """A line for each step, what is within a step set in."""
    return list(_told(flow.steps, ""))


def _told(steps: tuple[Step, ...], indent: str) -> Iterator[str]:
    for number, step in enumerate(steps, 1):
        head = f"{indent}{number}. "
        within = " " * len(head)
        match step:
            case Calls((call,)):
                yield f"{head}{_call(call)}"
            case Calls(calls):
                yield f"{head}together: {'; '.join(map(_call, calls))}"
            case Repeat(inner, (reference, value), at_most, go_on):
                end = "goes on" if go_on else "fails"
                yield f"{head}repeat until {reference} is {value!r}, at most {at_most} times, then it {end}:"
                yield from _told(inner, within)
            case Choose(on, ways):
                yield f"{head}choose by {on}:"
                for name, way in ways.items():
                    if way:
                        yield f"{within}{name}:"
                        yield from _told(way, within + "  ")
                    else:
                        yield f"{within}{name}: goes on"
            case Delegate(to, send):
                yield f"{head}hand over to {to}: {_message(send)}"
            case Answer(send):
                yield f"{head}answer: {_message(send)}"


def _call(call: Call) -> str:
    each = "" if call.each is None else f" for each {call.each.variable} of {call.each.of}"
    name = f" as {call.name}" if call.name else ""
    fails = ", or nothing" if call.absent else f", or {_message(call.instead)}" if call.instead else ""
    return f"{call.to}{name}{each}{fails}"


def _message(message: Message) -> str:
    return message.cls.__name__ if isinstance(message, Build) else str(message)
