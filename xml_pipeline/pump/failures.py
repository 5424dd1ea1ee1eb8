"""What a handler's exception means: to its caller, to operators, to the log."""

from __future__ import annotations

from typing import cast

from xml_pipeline.envelope import CODES, Code, Message
from xml_pipeline.errors import BudgetExceededError, Interrupted, TaskFailed, class_name, described, writable
from xml_pipeline.pump.log import logger


def told_of(message: Message, error: BaseException) -> tuple[Code, str, str]:
    """What a handler's error is called, what its caller is told, and what operators read; it is logged."""
    detail, name = described(error), message.to
    if isinstance(error, BudgetExceededError):
        logger.warning("the budget of %s is used up: %s", error.scope, detail)
        return "budget", "the budget for this work is used up", detail
    if isinstance(error, Interrupted):
        logger.error("'%s' was interrupted at message %s: %s", name, message.message_id, detail)
        return "interrupted", writable(str(error)), detail
    if isinstance(error, TaskFailed) and error.code in CODES:
        logger.warning("'%s' gave up message %s: %s", name, message.message_id, detail)
        text = writable(error.text)
        return cast("Code", error.code), text, text
    about = (name, message.message_id, detail)
    logger.error("the handler of '%s' failed on message %s: %s", *about, exc_info=error)
    return "handler", f"the handler failed with {class_name(error)}", detail
