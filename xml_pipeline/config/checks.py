"""Rules that concern more than one key, checked on the data as it is written.

They take the data before it is typed, so that they report their mistakes together with those of single keys;
what has the wrong type is left to the types.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from xml_pipeline.config.classes import no_such_class
from xml_pipeline.config.document import Document, Path
from xml_pipeline.config.models import BOXES, HANDLERS, listener_keys
from xml_pipeline.config.triggers import check_doors, check_triggers
from xml_pipeline.envelope import SYSTEM
from xml_pipeline.errors import did_you_mean, listing

_KEYS = listener_keys()
_OF_HANDLERS = [key for key, who in _KEYS.items() if who == HANDLERS and key != "handler"]
_OF_AGENTS = [key for key, who in _KEYS.items() if who.agents and not who.handlers]
_OF_BOXES = [key for key, who in _KEYS.items() if who.boxes]
_OF_FLOWS = [key for key, who in _KEYS.items() if who.flows]
_SAY_WHAT_IT_IS = ("agent", "handler", "human", "flow", "use")
_OF_PEOPLE = [
    key for key, who in _KEYS.items() if who.people or key == "agent"
]  # `agent: false` does no harm


def check(document: Document, classes: Collection[str], *, one_author: bool = True) -> None:
    """Report what does not fit together.

    Args:
        document: the file.
        classes: those that it names by a word.
        one_author: whether who wrote the listeners wrote the `llm` section too.
    """
    data = document.data
    if not isinstance(data, Mapping):
        return
    listeners = data.get("listeners")
    entries: list[tuple[Path, Mapping[str, object]]] = []
    if isinstance(listeners, Sequence) and not isinstance(listeners, str):
        entries = [
            (("listeners", index), entry)
            for index, entry in enumerate(listeners)
            if isinstance(entry, Mapping)
        ]
    names = _names(document, entries)
    known = _Known({**names, **_tools(entries)})
    people = [str(entry.get("name")) for _, entry in entries if entry.get("human") is True]
    for path, entry in entries:
        _check_kind(document, path, entry, _has_usual_model(data, entry) or _routed(data, entry))
        for key, word in (("peers", "peer"), ("hands_over_to", "listener")):
            _check_named(document, (*path, key), word, entry.get(key), known)
        _check_classes(document, path, entry, classes)
        _check_approver(document, path, entry, known, people)
        people_of = entry.get("people")
        for own, name in people_of.items() if isinstance(people_of, Mapping) else ():
            known.check(document, (*path, "people", own), name)
            if isinstance(name, str) and name in known.names and name not in people:
                document.report((*path, "people", own), f"'{name}' is no person of this file")
    if one_author:
        _check_budgets(document, entries, data.get("llm"))
    _check_ledger(document, data)
    boxes = [str(entry.get("name")) for _, entry in entries if "use" in entry]
    check_triggers(document, check_doors(document, known.names, known.words, known.literal, boxes))
    organism = data.get("organism")
    if isinstance(organism, Mapping):
        known.check(document, ("organism", "default"), organism.get("default"))


def _names(document: Document, entries: Sequence[tuple[Path, Mapping[str, object]]]) -> dict[str, str]:
    """Listener name → the name as an error may show it."""
    first: dict[str, Path] = {}
    for path, entry in entries:
        name, here = entry.get("name"), (*path, "name")
        if not isinstance(name, str):
            continue
        shown = document.shown(here, name)
        if name == SYSTEM:
            document.report(here, f"'{shown}' is the sender of system messages; choose another name")
        if name in first:
            place = document.values.get(first[name])
            where = f" (first in {place.file}, line {place.line})" if place else ""
            document.report(here, f"there is another listener '{shown}'{where}; every name is there once")
        first.setdefault(name, here)
    return {name: document.shown(path, name) for name, path in first.items()}


def _tools(entries: Sequence[tuple[Path, Mapping[str, object]]]) -> dict[str, str]:
    """What can be called in boxes, as `billing.desk`."""
    return {
        f"{entry.get('name')}.{tool}": f"{entry.get('name')}.{tool}"
        for _, entry in entries
        if isinstance(tools := entry.get("tools"), list) and "use" in entry
        for tool in tools
        if isinstance(tool, str)
    }


class _Known:
    """The listeners there are, as an error names them."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self.names = names
        # What is near to a name from the environment would tell of it.
        self.literal = [known for known, shown in names.items() if known == shown]
        self.words = f"listeners are: {listing(names.values())}" if names else "there are no listeners"

    def check(self, document: Document, path: Path, name: object) -> None:
        if not isinstance(name, str) or name in self.names:
            return

        def message() -> str:
            hint = "" if path in document.hidden else did_you_mean(name, self.literal)
            return f"there is no listener '{document.shown(path, name)}'{hint}; {self.words}"

        document.report(path, message)


def _check_named(document: Document, path: Path, word: str, names: object, known: _Known) -> None:
    """A list of listeners: they exist, and stand there once."""
    if not isinstance(names, Sequence) or isinstance(names, str):
        return
    seen: set[str] = set()
    for index, name in enumerate(names):
        here = (*path, index)
        known.check(document, here, name)
        if isinstance(name, str):
            if name in seen:
                document.report(here, f"the {word} '{document.shown(here, name)}' is named twice; remove one")
            seen.add(name)


def _check_approver(
    document: Document, path: Path, entry: Mapping[str, object], known: _Known, people: Collection[str]
) -> None:
    """Whoever approves is a person."""
    name, here = entry.get("approve"), (*path, "approve")
    known.check(document, here, name)
    if isinstance(name, str) and name in known.names and name not in people:
        there = listing(known.names[each] for each in people) or "none: add a listener with `human: true`"
        document.report(here, f"'{document.shown(here, name)}' is no person; people are {there}")


def _check_classes(
    document: Document, path: Path, entry: Mapping[str, object], classes: Collection[str]
) -> None:
    for key in ("accepts", "answers"):
        value = entry.get(key)
        if value is None and key in entry:
            document.report((*path, key), "is empty; name a class, or leave the key out")
        named = {(*path, key): value}
        if isinstance(value, Sequence) and not isinstance(value, str):
            named = {(*path, key, index): one for index, one in enumerate(value)}
        for here, name in named.items():
            if isinstance(name, str) and name.isidentifier() and name not in classes:
                known = None if here in document.hidden else name
                document.report(here, no_such_class(document.shown(here, name), known, classes))


def _check_budgets(
    document: Document, entries: Sequence[tuple[Path, Mapping[str, object]]], llm: object
) -> None:
    """A listener's budget is written in one place."""
    budgets = llm.get("budgets") if isinstance(llm, Mapping) else None
    agents = budgets.get("agents") if isinstance(budgets, Mapping) else None
    for path, entry in entries:
        name = entry.get("name")
        if "budget" in entry and isinstance(agents, Mapping) and isinstance(name, str) and name in agents:
            shown = document.shown((*path, "name"), name)
            place = document.keys[("llm", "budgets", "agents", name)]
            document.report(
                (*path, "budget"),
                f"the budget of '{shown}' is also in llm.budgets.agents (line {place.line}); keep one of the two",
                at_key=True,
            )


def _check_ledger(document: Document, data: Mapping[str, object]) -> None:
    """Calls of models are written down in one place."""
    organism, llm = data.get("organism"), data.get("llm")
    ledger = llm.get("ledger") if isinstance(llm, Mapping) else None
    apart = isinstance(ledger, str) or (isinstance(ledger, Mapping) and "path" in ledger)
    journal = organism.get("journal") if isinstance(organism, Mapping) else None
    if apart and (journal.get("path") if isinstance(journal, Mapping) else journal):
        path: Path = ("llm", "ledger") if isinstance(ledger, str) else ("llm", "ledger", "path")
        document.report(
            path, "organism.journal holds the ledger too; leave this file out, or the journal", at_key=True
        )


def _has_usual_model(data: Mapping[str, object], entry: Mapping[str, object]) -> bool:
    """Whether `defaults` name the model of an agent that says nothing of it."""
    defaults = data.get("defaults")
    agents = defaults.get("agents") if isinstance(defaults, Mapping) else None
    return isinstance(agents, Mapping) and "model" in agents and "model" not in entry


def _routed(data: Mapping[str, object], entry: Mapping[str, object]) -> bool:
    """Whether `llm.routing` says which model serves an agent that names none."""
    llm = data.get("llm")
    routing = llm.get("routing") if isinstance(llm, Mapping) else None
    return isinstance(routing, Mapping) and ("default" in routing or entry.get("operation") in routing)


def _check_kind(document: Document, path: Path, entry: Mapping[str, object], routed: bool) -> None:
    handler, agent, human = entry.get("handler"), entry.get("agent", False), entry.get("human", False)
    if not isinstance(agent, bool) or not isinstance(human, bool):
        return
    if "use" in entry:
        _check_box(document, path, entry)
        return
    for key in _OF_BOXES:
        if key in entry and _KEYS[key] == BOXES:
            text = f"`{key}` goes with `use`, and there is none"
            if key == "tools":  # a former key of agents
                text += "; how a model calls its peers is called `calls` now: `xml-pipeline migrate` mends the file"
            document.report((*path, key), text, at_key=True)
    if "flow" in entry:
        for key in entry:
            if key in _KEYS and key not in _OF_FLOWS:
                allowed = f"allowed with `flow`: {listing(_OF_FLOWS)}"
                document.report((*path, key), f"a flow has no `{key}`; {allowed}", at_key=True)
        if entry["flow"] is None:
            document.report((*path, "flow"), "is empty; write its steps")
        return
    if human:
        if agent:
            both = "a listener is an agent or a person, not both; remove `agent` or `human`"
            document.report((*path, "agent"), both)
        allowed = f"allowed with `human: true`: {listing(_OF_PEOPLE)}"
        for key in entry:
            if key in _KEYS and key not in _OF_PEOPLE:
                document.report((*path, key), f"a person has no `{key}`; {allowed}", at_key=True)
        return
    if handler is not None or "handler" in entry:
        _refuse(document, path, entry, _OF_AGENTS, _of_agents(agent))
        if handler is None:
            document.report((*path, "handler"), "is empty; write `module:function`")
        return
    if not agent and any(key not in _KEYS and did_you_mean(str(key), _SAY_WHAT_IT_IS) for key in entry):
        return  # told at that key, and what else is wrong follows from it
    _refuse(document, path, entry, _OF_HANDLERS, "goes with a `handler`, and there is none")
    if not agent:
        document.report(
            path,
            "has no `handler`; write `handler: module:function`, or `agent: true` with a `model` for an LLM agent,"
            " or `human: true`, or `flow:` with steps, or `use: FILE` for another organism",
        )
        _refuse(document, path, entry, _OF_AGENTS, _of_agents(agent))
        return
    if not routed and entry.get("model") is None and (*path, "model") not in document.broken:
        document.report(
            path,
            "is an agent without a `model`; write `model: NAME` (a model or an alias of `llm`), or name one"
            " in `defaults.agents` or `llm.routing`",
        )


def _check_box(document: Document, path: Path, entry: Mapping[str, object]) -> None:
    """A box has its own keys, says what of it can be called, and is paid for by the call."""
    for key in entry:
        if key in _KEYS and key not in (*_OF_BOXES,):
            allowed = f"allowed with `use`: {listing(_OF_BOXES)}"
            document.report(
                (*path, key), f"what is used from elsewhere has no `{key}`; {allowed}", at_key=True
            )
    if not entry.get("tools"):
        document.report(path, "`use` needs `tools`, the list of what can be called there: tools: [desk]")
    budgets = entry.get("budget")
    for index, each in enumerate(budgets if isinstance(budgets, list) else [budgets]):
        if isinstance(each, Mapping) and each.get("per") != "call":
            here: Path = (*path, "budget", index) if isinstance(budgets, list) else (*path, "budget")
            document.report(
                here, "a box is paid for by the call, with all that is done for it: add `per: call`"
            )


def _of_agents(agent: bool) -> str:
    if agent:
        return "is for the built-in agent; with a `handler` the handler decides, so remove one of the two"
    return "is for agents (`agent: true`)"


def _refuse(
    document: Document, path: Path, entry: Mapping[str, object], keys: Sequence[str], reason: str
) -> None:
    for key in keys:
        if key in entry:
            document.report((*path, key), f"`{key}` {reason}", at_key=True)
