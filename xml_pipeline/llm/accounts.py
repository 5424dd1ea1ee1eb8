"""What a router can tell about usage, and the budgets that are set while it runs."""

from __future__ import annotations

from xml_pipeline.llm.budgets import Budget
from xml_pipeline.llm.core import Core
from xml_pipeline.llm.usage import UsageTotals


class Accounts:
    """The accounting side of a router."""

    _core: Core

    def get_agent_usage(self, agent_id: str) -> UsageTotals:
        """What an agent has used; zeros for one that never called."""
        return self._core.ledger.agent(agent_id)

    def get_all_usage(self) -> dict[str, UsageTotals]:
        """What every agent has used, by name."""
        return self._core.ledger.agents()

    def reset_agent_usage(self, agent_id: str | None = None) -> None:
        """Forget the usage of one agent, or of all. Budgets and the total are not touched."""
        self._core.ledger.reset_agents(None if agent_id is None else (agent_id,))

    def get_thread_usage(self, thread_id: str) -> UsageTotals:
        """What a thread and everything below it has used."""
        return self._core.ledger.thread(thread_id)

    def get_conversation_usage(self, conversation_id: str) -> UsageTotals:
        """What a conversation has used."""
        return self._core.ledger.conversation(conversation_id)

    def get_model_usage(self) -> dict[str, UsageTotals]:
        """Usage by model, as the backends name them; failures count tries."""
        return self._core.ledger.models()

    def get_backend_usage(self) -> dict[str, UsageTotals]:
        """Usage by backend; failures count tries."""
        return self._core.ledger.backends()

    def get_total_usage(self) -> UsageTotals:
        """Everything together."""
        return self._core.ledger.total()

    def set_thread_budget(self, thread_id: str, *limits: Budget) -> None:
        """Budgets for one thread and everything below it, beside the configured ones; none takes them away."""
        self._core.book.set_thread_budget(thread_id, *limits)
