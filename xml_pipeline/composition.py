"""From a checked configuration to the parts of an organism, each built once; `organism_of` puts them together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from xml_pipeline.agents import AgentSettings, Answer, Bounds, Task, agent_listener
from xml_pipeline.config import ListenerConfig, OrganismConfig
from xml_pipeline.config.flows import FlowConfig
from xml_pipeline.config.models import OrganismSection
from xml_pipeline.config.serving import unserved
from xml_pipeline.errors import ConfigError, Problem
from xml_pipeline.flows import FlowHandler
from xml_pipeline.hardened import DEFAULT_LIMITS, Limits
from xml_pipeline.journal import Journal
from xml_pipeline.llm import Router
from xml_pipeline.llm.presets import Routing
from xml_pipeline.llm.section import LLMSection, build_router
from xml_pipeline.pump import ConversationLimits, Listener, ListenerOptions, PumpSettings, listener


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
    from xml_pipeline.journal.span import seconds_of
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
            if each.flow is not None:
                built.append(_flow(each, config.flows[each.name]))
            else:
                built.append(_listener(each, config.resolved, config.llm.routing))
        except ConfigError as error:
            problems.extend(
                Problem(problem.message, problem.path or f"listeners[{position}]")
                for problem in error.problems
            )
    if problems:
        raise ConfigError(problems)
    return built


def _listener(each: ListenerConfig, resolved: Mapping[str, Any], routing: Mapping[str, str]) -> Listener:
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
        return agent_listener(each.name, _agent_settings(each, routing), **options)
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
