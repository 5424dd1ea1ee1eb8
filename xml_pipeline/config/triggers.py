"""The keys about who comes in by itself: doors, triggers, and where webhooks are listened for; and their rules."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from xml_pipeline.agents import Task
from xml_pipeline.config.document import Document, Path
from xml_pipeline.config.names import ListenerName, Name
from xml_pipeline.errors import ConfigError, PayloadError, cut, did_you_mean, listing
from xml_pipeline.journal.span import PATTERN as SPAN_PATTERN
from xml_pipeline.llm.accounting.periods import zone_named
from xml_pipeline.llm.section import BudgetSection, Count, Section, one_or_several
from xml_pipeline.payload import codec_of
from xml_pipeline.pump.listener import contract
from xml_pipeline.triggers.cron import Cron

SECTION = "triggers"
PATH_PATTERN = "^(/[A-Za-z0-9._~-]+)+$"
VARIABLE_PATTERN = "^[A-Za-z_][A-Za-z0-9_]*$"
_KINDS = ("cron", "every", "webhook")


def _for_longer_than_a_call(budgets: tuple[BudgetSection, ...]) -> tuple[BudgetSection, ...]:
    if any(each.per == "call" for each in budgets):
        raise ValueError("is not `per: call` here; what comes in is a conversation: `per: conversation`")
    return budgets


VisitorBudgets = Annotated[
    tuple[BudgetSection, ...],
    AfterValidator(_for_longer_than_a_call),
    BeforeValidator(one_or_several, json_schema_input_type=BudgetSection | list[BudgetSection]),
]


class DoorSection(Section):
    """One door: a listener that others may reach, and what that may cost."""

    budget: VisitorBudgets = Field(
        default=(),
        description="What all that comes in through it may spend on models, with everything that follows from it: one"
        " limit, or a list of them; `per: conversation` limits each conversation by itself.",
    )


def _names_alone(value: object) -> object:
    """A list of names is a mapping without budgets."""
    if isinstance(value, list | tuple) and all(isinstance(each, str) for each in value):
        return {each: {} for each in value}
    return value


Doors = Annotated[
    dict[str, DoorSection],
    BeforeValidator(_names_alone, json_schema_input_type=dict[str, DoorSection] | list[ListenerName]),
]


class WebhooksSection(Section):
    """Where the webhooks of `triggers` are listened for; only while there are some."""

    host: str = Field(
        default="127.0.0.1",
        min_length=1,
        description="The address to listen on. The usual one is reached from this machine alone, as by a proxy that"
        " speaks TLS; `0.0.0.0` from everywhere.",
    )
    port: int = Field(default=8787, ge=0, le=65_535, description="The port; 0 for a free one.")
    max_bytes: Count = Field(
        default=1_000_000, description="Bytes of one body; a larger one is refused unread."
    )


class WebhookSection(Section):
    """A webhook: a POST that is signed as Standard Webhooks say."""

    path: str = Field(
        pattern=PATH_PATTERN, max_length=200, description="The path of its URL, as `/hooks/order`."
    )
    secret_env: str = Field(
        pattern=VARIABLE_PATTERN,
        description="The environment variable that holds the secret of the signatures: `whsec_` and base64 as many"
        " providers give it, or any text of 24 characters or more.",
    )
    payload: str | None = Field(
        default=None,
        min_length=1,
        max_length=500,
        description="The class whose fields the JSON of the body is; default: the only one that the door accepts. Not"
        " beside `send`.",
    )


class TriggerSection(Section):
    """What begins a conversation by itself: at times (`cron`, `every`), or when somebody posts (`webhook`)."""

    name: Name = Field(description="Its name; listeners see `trigger:NAME` as who asks.")
    cron: str | None = Field(
        default=None,
        description="When: minute, hour, day of the month, month, day of the week, as `0 7 * * MON-FRI`. A time that"
        " the clock skips fires at the next moment there is, one that comes twice fires at its first coming.",
    )
    zone: str = Field(default="UTC", description="By whose clock `cron` is meant, as `Europe/Zurich`.")
    every: str | None = Field(
        default=None,
        pattern=SPAN_PATTERN,
        description="When: at this distance, as `90s`, `15m`, `12h` or `7d`, counted from 1970-01-01 00:00 UTC, so"
        " that a restart does not move it.",
    )
    webhook: WebhookSection | None = Field(default=None, description="When: at each delivery.")
    to: ListenerName = Field(description="The listener it calls: one of `organism.doors`.")
    send: str | dict[str, Any] | None = Field(
        default=None,
        description="What it says: `{Class: {field: value}}`, or a text, which is a `Task`. A webhook without it says"
        " what is in its body.",
    )
    budget: VisitorBudgets = Field(
        min_length=1,
        description="What all that it begins may spend on models, with everything that follows from it: one limit"
        " that is not `soft`, or a list of them; `per: conversation` limits each firing by itself.",
    )
    if_running: Literal["skip", "queue", "also"] | None = Field(
        default=None,
        description="What happens when it fires while something goes on that it began: `skip` lets it be, `queue`"
        " fires once when that is over, `also` fires. Default: `skip`; for a webhook `also` (a `skip` there answers"
        " 409, and there is no `queue`: whoever sends tries again).",
    )
    missed: Literal["skip", "once"] = Field(
        default="skip",
        description="What becomes of times at which nobody ran: nothing (`skip`), or one firing for all of them at"
        " the next start (`once`), which needs a journal. Less than a minute late is not missed.",
    )


# --- rules that concern more than one key ---


def check_doors(
    document: Document, names: Collection[str], words: str, literal: Collection[str], boxes: Collection[str]
) -> set[str]:
    """Report doors that are no listeners; the names of all doors.

    Args:
        document: what the file says.
        names: of the listeners.
        words: that list them, as an error may show them.
        literal: those of them that do not come from the environment.
        boxes: those of them that are other organisms, and no listeners themselves.
    """
    data: Any = document.data
    organism = data.get("organism")
    doors = organism.get("doors") if isinstance(organism, Mapping) else None
    found: set[str] = set()
    here: Path = ("organism", "doors")
    if isinstance(doors, Mapping):
        places = {(*here, name): name for name in doors}
    elif isinstance(doors, Sequence) and not isinstance(doors, str):
        places = {(*here, index): name for index, name in enumerate(doors) if isinstance(name, str)}
    else:
        return found
    for path, name in places.items():
        shown = document.shown(path, name)
        if name in found:
            document.report(path, f"the door '{shown}' is named twice; remove one")
        elif name in boxes:
            text = f"'{shown}' is another organism; a door is one listener of it, as `{shown}.NAME`"
            document.report(path, text, at_key=True)
        elif name not in names:
            near = "" if path in document.hidden else did_you_mean(name, literal)
            document.report(path, f"there is no listener '{shown}'{near}; {words}", at_key=True)
        found.add(name)
    return found


def check_triggers(document: Document, doors: Collection[str]) -> None:
    """Report what does not fit together; `doors` are their names."""
    data: Any = document.data
    entries = data.get(SECTION)
    if not isinstance(entries, Sequence) or isinstance(entries, str):
        return
    taken: dict[tuple[str, str], Path] = {}
    for index, entry in enumerate(entries):
        if not isinstance(entry, Mapping):
            continue
        here: Path = (SECTION, index)
        hook = entry.get("webhook")
        _once(document, taken, "trigger", (*here, "name"), entry.get("name"))
        if isinstance(hook, Mapping):
            _once(document, taken, "webhook", (*here, "webhook", "path"), hook.get("path"))
        _check_kind(document, here, entry)
        _check_times(document, here, entry)
        _check_door(document, (*here, "to"), entry.get("to"), doors)
        _check_said(document, here, entry)
        _check_running(document, here, entry, _has_journal(data))
        _check_budget(document, here, entry)


def _once(
    document: Document, taken: dict[tuple[str, str], Path], what: str, here: Path, value: object
) -> None:
    if not isinstance(value, str):
        return
    first = taken.setdefault((what, value), here)
    if first != here:
        place = document.values.get(first)
        where = f" (first in line {place.line})" if place else ""
        document.report(
            here, f"there is another {what} '{document.shown(here, value)}'{where}; each is there once"
        )


def _check_kind(document: Document, here: Path, entry: Mapping[str, object]) -> None:
    given = [kind for kind in _KINDS if kind in entry]
    for kind in given:
        if entry[kind] is None:
            document.report((*here, kind), "is empty; say when it fires, or leave the key out")
    if not given:
        document.report(
            here, "never fires; say when: `cron: 0 7 * * MON-FRI`, `every: 15m` or `webhook: {…}`"
        )
    for kind in given[1:]:
        document.report(
            (*here, kind), f"a trigger has one of cron, every and webhook, and this one has {given[0]}; remove one",
            at_key=True,
        )  # fmt: skip
    if "zone" in entry and "cron" not in given:
        document.report((*here, "zone"), "goes with `cron`, and there is none; remove it", at_key=True)
    if "webhook" in given and "missed" in entry:
        text = "is about times at which nobody ran; whoever sends to a webhook tries again, so remove it"
        document.report((*here, "missed"), text, at_key=True)


def _check_times(document: Document, here: Path, entry: Mapping[str, object]) -> None:
    zone, cron = entry.get("zone", "UTC"), entry.get("cron")
    if isinstance(zone, str):
        try:
            zone_named(zone)
        except ConfigError:
            shown = document.shown((*here, "zone"), zone)
            text = f"there is no time zone '{shown}' here; write one as `UTC` or `Europe/Zurich`"
            document.report((*here, "zone"), text)
    if isinstance(cron, str):
        try:
            Cron(cron)
        except ValueError as error:
            hidden = document.hidden.get((*here, "cron"))
            document.report(
                (*here, "cron"), str(error) if hidden is None else f"{hidden} is no cron expression"
            )


def _check_door(document: Document, here: Path, name: object, doors: Collection[str]) -> None:
    if not isinstance(name, str) or name in doors:
        return
    shown = document.shown(here, name)
    near = "" if here in document.hidden else did_you_mean(name, doors)
    there_are = f"doors are: {listing(doors)}" if doors else "there are none"
    document.report(here, f"'{shown}' is no door{near}; {there_are}; write it under `organism: {{doors: …}}`")


def _check_said(document: Document, here: Path, entry: Mapping[str, object]) -> None:
    said, hook, at = entry.get("send"), entry.get("webhook"), (*here, "send")
    if said is None:
        if "send" in entry:
            document.report(at, "is empty; write a text, or `{Class: {field: value}}`")
        elif "webhook" not in entry:
            document.report(here, "says nothing; write `send: TEXT`, or `send: {Class: {field: value}}`")
    payload = hook.get("payload") if isinstance(hook, Mapping) else None
    if said is not None and payload is not None:
        text = "the body is not read where `send` says what is sent; remove one of the two"
        document.report((*here, "webhook", "payload"), text, at_key=True)
    if isinstance(said, Mapping) and len(said) != 1:
        document.report(at, f"is one message, `{{Class: {{field: value}}}}`, and not {len(said)}")


def _check_running(document: Document, here: Path, entry: Mapping[str, object], journal: bool) -> None:
    needs = "needs a journal, which knows {}: add `journal: state.db` to `organism`"
    if entry.get("missed") == "once" and not journal:
        document.report((*here, "missed"), f"`once` {needs.format('what has fired')}, or write `skip`")
    if "webhook" in entry:
        if not journal:
            text = f"a webhook {needs.format('which deliveries came')}"
            document.report((*here, "webhook"), text, at_key=True)
        if entry.get("if_running") == "queue":
            text = "a delivery is taken or refused; write `skip`, which answers 409, or `also`"
            document.report((*here, "if_running"), text)


def _has_journal(data: Mapping[str, Any]) -> bool:
    organism = data.get("organism")
    journal = organism.get("journal") if isinstance(organism, Mapping) else None
    return bool(journal.get("path") if isinstance(journal, Mapping) else journal)


def _check_budget(document: Document, here: Path, entry: Mapping[str, object]) -> None:
    budget = entry.get("budget")
    some = budget if isinstance(budget, Sequence) and not isinstance(budget, str) else [budget]
    if some and all(isinstance(each, Mapping) and each.get("soft") is True for each in some):
        text = "only warns (`soft`); nobody watches a trigger, so give it a limit that holds, as `{usd: 1, per: day}`"
        document.report((*here, "budget"), text, at_key=True)


# --- what only the classes could show ---


def check_messages(document: Document, resolved: Mapping[str, Any]) -> None:
    """Report what triggers would send that their doors do not take; `resolved` is what the file's names stand for."""
    data: Any = document.data
    listeners = {each["name"]: each for each in data.get("listeners") or ()}
    for index, entry in enumerate(data.get(SECTION) or ()):
        door = listeners.get(entry["to"])
        if door is None:  # of a box: its own file says what it takes
            continue
        accepts = door.get("accepts")
        several = [accepts] if isinstance(accepts, str) else accepts
        classes = None if several is None else [resolved[each] for each in several]
        handler = resolved.get(str(door.get("handler")))
        if handler is None and classes is None:
            classes = [Task]
        takes = contract("door", handler, classes).accepts
        _check_message(document, (SECTION, index), entry, {root: codec.cls for root, codec in takes.items()})


def _check_message(
    document: Document, here: Path, entry: Mapping[str, Any], takes: Mapping[str, type]
) -> None:
    said, hook = entry.get("send"), entry.get("webhook")
    to = document.shown((*here, "to"), entry["to"])
    if said is None:
        name = hook and hook.get("payload")
        if name is None:
            if len(takes) > 1:
                text = f"'{to}' takes {listing(takes)}; say which with `payload: {next(iter(takes))}`"
                document.report((*here, "webhook"), text)
        elif name not in takes:
            _refuse(document, (*here, "webhook", "payload"), name, to, takes)
        return
    if isinstance(said, str):
        said, at = {"Task": {"text": said}}, (*here, "send")
    else:
        at = (*here, "send", next(iter(said)))
    name, values = next(iter(said.items()))
    if name not in takes:
        _refuse(document, at, name, to, takes)
        return
    try:
        codec_of(takes[name]).from_json(values)
    except PayloadError as error:
        hidden = any(path[: len(at)] == at for path in document.hidden)
        document.report(
            at, f"is no {name}: {'a value from the environment does not fit' if hidden else error}"
        )


def _refuse(document: Document, path: Path, name: str, to: str, takes: Mapping[str, type]) -> None:
    shown = document.shown(path, name)
    hint = "" if path in document.hidden else did_you_mean(name, takes)
    why = "; a text is a `Task`" if path[-1] == "send" else ""
    document.report(path, f"'{to}' takes no {cut(shown)}; it takes {listing(takes)}{hint}{why}")
