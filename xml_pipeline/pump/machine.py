"""The state of an organism, and the steps by which it changes.

`Machine.step(fact)` runs the rule for a fact (`rules`), which makes events and applies them. A rule that fails (a
defect of ours, or of a payload class's own code) ends its one conversation and no other.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace

from xml_pipeline.errors import EnvelopeError, PayloadError, RoutingError
from xml_pipeline.hardened import DEFAULT_LIMITS, Limits
from xml_pipeline.pump.addressing import Addressing
from xml_pipeline.pump.facts import Answered, Due, Fact, Injected, Returned
from xml_pipeline.pump.listener import Listener
from xml_pipeline.pump.rules import LATE, RULES, Step, Terms
from xml_pipeline.pump.settings import ConversationLimits
from xml_pipeline.threads.record import DeadLetter, Event
from xml_pipeline.threads.state import Conversation, State

logger = logging.getLogger("xml_pipeline.pump")

_ERROR_BYTES = 65_536


class Machine:
    """Plain data and the rules by which it changes: no clock, no tasks, no I/O.

    Args:
        listeners: all by name; read, never changed.
        limits: of each conversation.
        wire_limits: of each message.

    Attributes:
        terms: what the rules go by.
        state: what is known now; only events change it.
    """

    def __init__(
        self,
        listeners: Mapping[str, Listener],
        limits: ConversationLimits | None = None,
        wire_limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        system_limits = replace(
            wire_limits,
            max_bytes=max(wire_limits.max_bytes, _ERROR_BYTES),
            max_depth=max(wire_limits.max_depth, 16),
        )
        self.terms = Terms(
            listeners, Addressing(listeners), limits or ConversationLimits(), wire_limits, system_limits
        )
        self.state = State()

    def step(self, fact: Fact) -> list[Event]:
        """What follows from `fact`, applied already.

        Raises:
            RoutingError: an injection names no listener, or one that does not take the class. No event follows.
            PayloadError, EnvelopeError: the payload of an injection, or of a person's answer, is not valid or too
                large. No event follows.
        """
        if type(fact) is Due:
            message = fact.message
            listener = self.terms.listeners[message.to]
            if message.root in listener.accepts and not listener.human:
                return []  # its handler is called; nothing to write down
        conversation_id = fact.conversation_id
        conversation = self.state.conversations.get(conversation_id)
        if conversation is None:
            if type(fact) is not Injected:
                return _too_late(fact)
            conversation = Conversation(conversation_id)
        rule, seed = RULES[type(fact)]
        step = Step(self.terms, self.state, conversation, seed(fact), fact.at)
        try:
            rule(step, fact)
        except Exception as error:
            if not step.events and isinstance(error, RoutingError | PayloadError | EnvelopeError):
                raise
            logger.exception("a rule failed; the conversation %s ends", conversation_id)
            step.collapse()
        return step.events


def _too_late(fact: Fact) -> list[Event]:
    """What follows from a fact about a conversation that is over."""
    if isinstance(fact, Answered):
        raise RoutingError(f"no message waits for a person in thread {fact.message.thread_id}")
    if isinstance(fact, Returned) and fact.value is not None:
        return [DeadLetter(fact.message, LATE)]
    return []
