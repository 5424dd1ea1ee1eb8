"""What a task for a built-in agent would cost, before it is begun."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from xml_pipeline.agents.agent import LLMAgent
from xml_pipeline.errors import ConfigError, RoutingError, no_such
from xml_pipeline.pump.listener import Listener

if TYPE_CHECKING:
    from xml_pipeline.llm import Router
    from xml_pipeline.llm.accounting.forecast import Estimate


async def estimate_of(to: str, payload: Any, table: Mapping[str, Listener], router: Router) -> Estimate:
    """The estimate of a task, with an agent that remembers nothing yet.

    Raises:
        RoutingError: there is no such listener.
        ConfigError: it is no built-in agent, so nobody knows what it will ask.
        NoBackendError: nobody serves its model.
    """
    found = table.get(to)
    if found is None:
        raise RoutingError(no_such("listener", to, table))
    agent = found.handler
    if not isinstance(agent, LLMAgent):
        raise ConfigError(f"what '{to}' costs cannot be known before: it is no built-in agent (agent: true)")
    settings, prompt = agent.settings, agent.prompt_as_sent(table, router)
    task = {"role": "user", "content": agent.task_as_sent(payload, prompt.mode)}
    turns = settings.max_turns if agent.asks_again(table) else 1
    return await router.estimate(
        settings.model,
        [*prompt.messages, task],
        stable=len(prompt.messages),
        turns=turns,
        agent_id=to,
        operation=found.operation or None,
        temperature=settings.temperature,
        max_tokens=settings.max_tokens,
        tools=prompt.tools,
        cache_prompt=turns > 1 or settings.memory in ("session", "conversation"),
    )
