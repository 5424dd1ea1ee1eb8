"""What a try at a model is in the ledger: before it is sent, and when it came to something."""

from __future__ import annotations

from xml_pipeline.ledger import Asked, Came, Try
from xml_pipeline.llm.accounting.prices import Rates
from xml_pipeline.llm.accounting.usage import Answered
from xml_pipeline.llm.completion import Completion
from xml_pipeline.llm.routing.leases import Lease
from xml_pipeline.llm.tape import written
from xml_pipeline.llm.types import LLMResponse, Usage


def begun(completion: Completion, lease: Lease, rates: Rates | None, wall: float) -> Try:
    """A try before it is sent. It may come to what its budgets hold for it, or else to what is expected."""
    charge, held, estimator = completion.charge, lease.held, lease.route.estimator
    if held is None:
        prompt = estimator.prompt_tokens(completion.size)
        output = estimator.output_tokens(completion.request.max_tokens)
    else:
        prompt, output = held.most.prompt, held.most.output
    price = None if rates is None else 0 if rates.free else rates.micro_usd(Usage(prompt, output))
    return Try(
        charge.agent,
        charge.operation,
        charge.conversation_id,
        charge.threads,
        completion.asked,
        lease.route.name,
        lease.route.model,
        "" if rates is None else rates.name,
        wall,
        prompt,
        output,
        price if held is None or not held.most.micro_usd else held.most.micro_usd,
        lease.attempt,
        charge.caller,
        charge.door,
    )


def ended(asked: Asked | None, fact: Answered, response: LLMResponse | None, wall: float) -> Came:
    """What a try came to, with its answer if a handler may ask for it again."""
    usage = fact.usage
    came = Came(
        fact.outcome,
        wall,
        usage.prompt_tokens,
        usage.completion_tokens,
        usage.cached_tokens,
        usage.cache_write_tokens,
        usage.reasoning_tokens,
        usage.estimated,
        fact.confirmed,
        fact.micro_usd,
        fact.plain,
        fact.priced_as,
        "" if response is None else response.stop_reason or response.finish_reason,
        0 if response is None else len(response.tool_calls),
        "" if fact.error is None else type(fact.error).__name__,
        cache_write_1h=usage.cache_write_1h_tokens,
    )
    if response is None or asked is None:
        return came
    return came._replace(answer=written(response), parts=asked.parts)
