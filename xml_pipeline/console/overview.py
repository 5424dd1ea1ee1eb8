"""An organism as lines for a person: its listeners, threads, usage, backends, dead letters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from xml_pipeline.console.fill import accepted, how_to_write
from xml_pipeline.console.parse import InputError
from xml_pipeline.console.people import SHOWN_ID
from xml_pipeline.console.render import answer
from xml_pipeline.flows import FlowHandler, told
from xml_pipeline.llm import BackendStatus, UsageTotals
from xml_pipeline.organism import Organism, ThreadInfo
from xml_pipeline.payload import codec_of
from xml_pipeline.pump import Listener
from xml_pipeline.terminal import Line, count, line, lines, money, table

DEAD_SHOWN = 20


class Kinds(Protocol):
    """What tells of which kind a listener is: itself, or its configuration."""

    @property
    def agent(self) -> bool: ...
    @property
    def human(self) -> bool: ...
    @property
    def flow(self) -> object: ...


def kind(listener: Kinds) -> str:
    """`agent`, `person`, `flow` or `tool`."""
    if listener.flow:
        return "flow"
    return "agent" if listener.agent else "person" if listener.human else "tool"


def listeners(organism: Organism) -> list[Line]:
    """One line for each listener."""
    rows = []
    for each in organism.listeners.values():
        default = " (default)" if each.name == organism.default else ""
        rows.append((f"@{each.name}", f"{kind(each)}{default}", contract(each), first_line(each.description)))
    return table(rows) if rows else [line(("dim", "no listeners"))]


def contract(each: Listener) -> str:
    """What a listener takes and answers, as `Task → Answer`; what nobody declared is `…`."""
    takes = [codec.root for codec in accepted(each)]
    return both_sides(takes, None if each.answers is None else [codec_of(cls).root for cls in each.answers])


def both_sides(takes: Sequence[str] | None, answers: Sequence[str] | None) -> str:
    """Names of classes on both sides of an arrow; None is what is not known, nothing at all what there is not."""
    sides = ("…" if names is None else ", ".join(names) or "nothing" for names in (takes, answers))
    return " → ".join(sides)


def first_line(text: str) -> str:
    """What a description says first."""
    return text.strip().split("\n", 1)[0]


def listener(each: Listener) -> list[Line]:
    """All that a person needs for talking to one listener."""
    shown = [
        line(("name", f"@{each.name}"), f"  {kind(each)}"),
        *lines(each.description or "(no description)"),
    ]
    shown.append(line(("dim", "may call: "), ", ".join(each.peers) or "nobody"))
    if each.approve:
        shown.append(line(("dim", "each call is approved by: "), each.approve))
    if each.hands_over_to:
        shown.append(line(("dim", "may hand over to: "), ", ".join(each.hands_over_to)))
    shown.append(line(("dim", "takes and answers: "), contract(each)))
    if isinstance(each.handler, FlowHandler):
        shown += [line(("dim", "steps:")), *(line(f"  {step}") for step in told(each.handler.flow))]
    several = len(accepted(each)) > 1
    for codec in accepted(each):
        head = f"@{each.name} {codec.root}" if several else f"@{each.name}"
        shown += [
            line(),
            line(("dim", "write: "), how_to_write(head, codec)),
            *lines(codec.prompt_text.rstrip()),
        ]
    return shown


def threads(organism: Organism) -> list[Line]:
    """Open threads as a tree."""
    found = organism.threads()
    return _tree(found, "") if found else [line(("dim", "no open threads"))]


def _tree(found: Sequence[ThreadInfo], parent_id: str, indent: str = "") -> list[Line]:
    shown = []
    for each in found:
        if each.parent_id == parent_id:
            about = f"  called by {each.caller}, {count(each.waiting, 'message')}"
            shown.append(
                line(("dim", f"{each.thread_id[:SHOWN_ID]}  "), f"{indent}{each.listener}", ("dim", about))
            )
            shown += _tree(found, each.thread_id, f"{indent}  ")
    return shown


def thread(organism: Organism, start: str) -> list[Line]:
    """One thread and what is below it. Raises InputError."""
    open_ = organism.threads()
    found = [each for each in open_ if each.thread_id.startswith(start)]
    if len(found) != 1:
        what = "more than one open thread starts" if found else "no open thread starts"
        raise InputError(f"{what} with '{start}'; /threads lists them")
    (root,) = found
    rows = [
        ("thread", root.thread_id),
        ("listener", root.listener),
        ("caller", root.caller),
        ("session", root.session_id),
        ("conversation", root.conversation_id),
        ("used", _totals(organism.router.get_thread_usage(root.thread_id))),
    ]
    return [*table(rows, "dim"), *_tree(open_, root.thread_id)]


def usage(organism: Organism) -> list[Line]:
    """Tokens and cost by agent."""
    router = organism.router
    used = router.get_all_usage()
    if not used:
        return [line(("dim", "no model was called yet"))]
    rows = [(agent or "(no agent)", _totals(totals)) for agent, totals in used.items()]
    return table([*rows, ("total", _totals(router.get_total_usage()))])


def _totals(totals: UsageTotals) -> str:
    failures = f", {count(totals.failure_count, 'failure')}" if totals.failure_count else ""
    return (
        f"{count(totals.total_tokens, 'token')} ({totals.prompt_tokens:,} in, {totals.completion_tokens:,} out),"
        f" {count(totals.request_count, 'call')}{failures}, {cost(totals)}"
    )


def cost(totals: UsageTotals) -> str:
    """What was spent as far as it is known."""
    if not totals.unpriced_count:
        return money(totals.known_cost)
    return f"{money(totals.known_cost)} + unpriced" if totals.known_cost else money(None)


def status(organism: Organism) -> list[Line]:
    """The organism in numbers."""
    now = organism.status()
    rows = [
        ("organism", organism.name),
        ("in flight", f"{count(now.in_flight, 'message')}, {count(now.running, 'handler')} running"),
        ("open", f"{count(now.conversations, 'conversation')}, {count(now.threads, 'thread')}"),
        ("handled", count(now.handled, "message")),
        ("dead letters", str(now.dead_letters)),
        ("for people", count(now.waiting_for_people, "question")),
    ]
    return table(rows, "dim")


def backends(organism: Organism) -> list[Line]:
    """Each backend with its health."""
    rows = [
        (
            each.name,
            health(each),
            each.reason or each.base_url or "",
        )
        for each in organism.router.describe()
    ]
    return table(rows) if rows else []


def health(backend: BackendStatus) -> str:
    """How a backend is, and whether it is one that opens no connection."""
    return f"offline, {backend.health}" if backend.offline else backend.health


def dead_letters(organism: Organism) -> list[Line]:
    """The newest messages that ended without a receiver."""
    letters = organism.dead_letters()
    if not letters:
        return [line(("dim", "no dead letters"))]
    older = len(letters) - DEAD_SHOWN
    shown = [line(("dim", f"{count(older, 'older one')} left out"))] if older > 0 else []
    for letter in letters[-DEAD_SHOWN:]:
        shown.append(line(("name", f"{letter.from_id} → {letter.to}"), f"  {letter.reason}"))
        if letter.payload is not None:
            shown += [line(("dim", "  "), *row) for row in answer(letter.payload)]
    return shown


def toolbar(organism: Organism) -> str:
    """One line of what goes on."""
    now = organism.status()
    used = organism.router.get_total_usage()
    parts = [organism.name, f"{now.in_flight} in flight", count(used.total_tokens, "token"), cost(used)]
    if now.waiting_for_people:
        parts.append(f"{count(now.waiting_for_people, 'question')} for you")
    return " · ".join(parts)
