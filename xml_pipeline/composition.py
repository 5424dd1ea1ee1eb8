"""From a checked configuration to the parts of an organism, each built once; `Organism.from_config` joins them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from xml_pipeline.agents import AgentSettings, Answer, Bounds, LLMAgent, Skill, Task, agent_listener
from xml_pipeline.config import ListenerConfig, OrganismConfig
from xml_pipeline.config.agents import USUAL, templates_of
from xml_pipeline.config.boxes import model_of
from xml_pipeline.config.flows import FlowConfig
from xml_pipeline.config.models import Box, OrganismSection
from xml_pipeline.config.serving import unserved
from xml_pipeline.config.triggers import TriggerSection
from xml_pipeline.errors import ConfigError, Problem, cut
from xml_pipeline.flows import FlowHandler
from xml_pipeline.hardened import DEFAULT_LIMITS, Limits
from xml_pipeline.journal import Journal
from xml_pipeline.journal.span import seconds_of
from xml_pipeline.keys.secret import Secret
from xml_pipeline.llm import Router
from xml_pipeline.llm.accounting.periods import zone_named
from xml_pipeline.llm.presets import Routing
from xml_pipeline.llm.section import LLMSection, build_router
from xml_pipeline.pump import ConversationLimits, Listener, ListenerOptions, PumpSettings, listener
from xml_pipeline.triggers.cron import Cron, Every
from xml_pipeline.triggers.trigger import Trigger, Webhook


def settings_of(section: OrganismSection) -> PumpSettings:
    """Sizes and times of the pump."""
    return PumpSettings(
        max_in_flight=section.max_in_flight,
        max_concurrent_handlers=section.max_concurrent_handlers,
        max_concurrent_per_agent=section.max_concurrent_per_agent,
        timeout_seconds=section.timeout_seconds,
        scheduling=section.thread_scheduling,
        processes=section.processes,
    )


def limits_of(section: OrganismSection) -> tuple[ConversationLimits, Limits]:
    """What ends a conversation, and what one message may cost."""
    limits = section.limits
    wire = replace(DEFAULT_LIMITS, max_bytes=limits.message_bytes)
    return ConversationLimits(limits.messages, limits.depth, limits.seconds, limits.handovers), wire


def journal_of(config: OrganismConfig) -> Journal | None:
    """Where its work is made durable; None for nowhere."""
    section = config.organism.journal
    if section is None:
        return None
    from xml_pipeline.journal.sqlite import SqliteJournal

    keep = None if section.keep is None else seconds_of(section.keep)
    name = config.organism.name
    return SqliteJournal(
        config.base / section.path, synchronous=section.synchronous, keep=keep, organism=name
    )


def router_of(config: OrganismConfig, *, alone: bool = False) -> Router:
    """The router that the `llm` section declares.

    Args:
        config: what the file says.
        alone: whether it is used without its organism; then a journal is its ledger all the same.

    Raises:
        ConfigError: with what only the built objects could show.
    """
    ledger = None
    if alone and config.organism.journal is not None:
        from xml_pipeline.journal.ledger_file import LedgerFile

        journal = config.organism.journal
        ledger = LedgerFile(
            config.base / journal.path,
            synchronous=journal.synchronous,
            visits=True,
            organism=config.organism.name,
        )
    section = config.llm or LLMSection()
    if config.untrusted is not None and section.ledger is not None and section.ledger.path is not None:
        from xml_pipeline.journal.ledger_file import LedgerFile

        path = config.llm_base / section.ledger.path
        ledger = LedgerFile(path, organism=config.organism.name, joinable=False)
    router = build_router(
        section, environ=config.environ, base=config.llm_base, name=config.organism.name, ledger=ledger
    )
    backends = list(router.backends.values())[: len(section.backends)]
    if config.untrusted is not None and (problems := unserved(config, backends)):
        raise ConfigError(problems)
    return router


def listeners_of(config: OrganismConfig) -> list[Listener]:
    """All listeners; every problem at once, as everywhere in a configuration.

    Raises:
        ConfigError: with what only the built objects could show.
    """
    built: list[Listener] = []
    problems: list[Problem] = []
    for position, each in enumerate(config.listeners):
        try:
            if each.use is not None:
                built += _boxed(config.boxes[each.name], config)
            elif each.flow is not None:
                built.append(_flow(each, config.flows[each.name]))
            else:
                skills = config.skills.get(position, ())
                built.append(_listener(each, config.resolved, config.llm.routing, skills))
        except ConfigError as error:
            problems.extend(
                Problem(problem.message, problem.path or f"listeners[{position}]")
                for problem in error.problems
            )
    if problems:
        raise ConfigError(problems)
    tools = {
        each.name: [f"{each.name}.{tool}" for tool in each.tools] for each in config.listeners if each.use
    }
    return [_with_tools(each, tools) for each in built] if tools else built


def _with_tools(each: Listener, boxes: Mapping[str, Sequence[str]]) -> Listener:
    """A listener that names boxes, with what can be called in them in their place."""
    if not boxes.keys() & {*each.peers, *each.hands_over_to}:
        return each
    peers, takers = (
        tuple(full for name in names for full in boxes.get(name, (name,)))
        for names in (each.peers, each.hands_over_to)
    )
    return replace(each, peers=peers, hands_over_to=takers)


def _boxed(box: Box, config: OrganismConfig) -> list[Listener]:
    """The listeners of another file under their names here; among themselves they have those of their file."""
    entry, inner = box.entry, box.config
    mapped = tuple(
        each.model_copy(update={"model": entry.models[model]}) if (model := model_of(each, inner)) else each
        for each in inner.listeners
    )
    built = listeners_of(inner.model_copy(update={"listeners": mapped}))
    names = {each.name: f"{entry.name}.{each.name}" for each in built}
    asked_on = {each.name: each.asked_on for each in config.listeners if each.human}
    found = []
    for each in built:
        handler: Any = each.handler
        if isinstance(handler, LLMAgent | FlowHandler):
            handler.name = names[each.name]
        person = entry.people.get(each.name, "") if each.human else ""
        found.append(
            replace(
                each,
                name=names[each.name],
                peers=tuple(names.get(name, name) for name in each.peers),
                hands_over_to=tuple(names.get(name, name) for name in each.hands_over_to),
                approve=names.get(each.approve, each.approve),
                asked_on=asked_on.get(person, each.asked_on),
                local={own: names.get(full, full) for own, full in each.local.items()} or names,
            )
        )
    return found


def _listener(
    each: ListenerConfig,
    resolved: Mapping[str, Any],
    routing: Mapping[str, str],
    skills: tuple[Skill, ...],
) -> Listener:
    options: ListenerOptions = {
        "description": each.description,
        "peers": each.peers,
        "hands_over_to": each.hands_over_to,
        "approve": each.approve or "",
        "broadcast": each.broadcast,
        "timeout_seconds": each.timeout_seconds,
        "max_concurrent": each.max_concurrent,
    }
    if each.accepts:
        options["accepts"] = tuple(resolved[path] for path in each.accepts)
    if each.answers:
        options["answers"] = tuple(resolved[path] for path in each.answers)
    if each.kind == "human":
        person: ListenerOptions = {"accepts": Task, "answers": Answer, **options, "asked_on": each.asked_on}
        return listener(each.name, None, human=True, **person)
    options["operation"] = each.operation
    if each.kind == "agent":
        task = templates_of(each.task, each.accepts or USUAL, resolved)
        settings = replace(_agent_settings(each, routing), task=task, skills=skills)
        return agent_listener(each.name, settings, **options)
    options.update(
        {
            "agent": each.agent,
            "cpu_bound": each.cpu_bound,
            "remembers": each.remembers,
            "keep": each.keep,
            "retries": each.retries,
            "effects": each.effects,
        }
    )
    return listener(each.name, resolved[each.handler or ""], **options)


def _flow(each: ListenerConfig, read: FlowConfig) -> Listener:
    handler = FlowHandler(each.name, read.flow, read.definition, read.accepts, read.earlier)
    return listener(
        each.name,
        handler,
        accepts=handler.accepts,
        answers=read.flow.answers,
        description=each.description,
        peers=read.flow.calls,
        hands_over_to=read.flow.hands_over_to,
        approve=each.approve or "",
        broadcast=each.broadcast,
    )


def _agent_settings(each: ListenerConfig, routing: Mapping[str, str]) -> AgentSettings:
    return AgentSettings(
        each.model or Routing(routing).model(each.operation),
        each.prompt_text,
        max_turns=each.max_turns,
        max_tokens=each.max_tokens,
        temperature=each.temperature,
        calls=each.calls,
        memory=each.memory,
        history=Bounds(each.history.messages, each.history.tokens),
        peer_timeout_seconds=each.peer_timeout_seconds,
    )


def journal_at(path: str | Path | None, keep: str | None, name: str) -> Journal | None:
    """The journal of an organism without a file. Raises ConfigError: no path, or no such time."""
    if path is None and keep is not None:
        raise ConfigError(
            "keep is how long a journal keeps what has ended: name its file, journal='state.db'"
        )
    if path is None:
        return None
    if not isinstance(path, str | Path) or not str(path):
        raise ConfigError(f"journal is {cut(repr(path))}; the path of a file is needed")
    from xml_pipeline.journal.sqlite import SqliteJournal

    try:
        seconds_kept = None if keep is None else seconds_of(keep)
    except (TypeError, ValueError):
        raise ConfigError(f"keep is {cut(repr(keep))}; allowed: a text as 90s, 15m, 12h or 7d") from None
    return SqliteJournal(path, keep=seconds_kept, organism=name)


def triggers_of(config: OrganismConfig) -> list[Trigger]:
    """The triggers of a file, with the secrets that its variables hold."""
    return [_trigger(each, config) for each in config.triggers]


def _trigger(each: TriggerSection, config: OrganismConfig) -> Trigger:
    when: Cron | Every | Webhook
    said = {"Task": {"text": each.send}} if isinstance(each.send, str) else each.send
    hook = each.webhook
    if hook is not None:
        secret = Secret(config.environ.get(hook.secret_env, ""))
        when = Webhook(hook.path, hook.secret_env, secret, hook.payload or "")
    elif each.every is not None:
        when = Every(seconds_of(each.every))
    else:
        when = Cron(each.cron or "", zone_named(each.zone))
    running = each.if_running or ("skip" if hook is None else "also")
    return Trigger(each.name, each.to, when, said, running, each.missed)
