"""What a call would cost, from what is known of it before it is sent."""

from __future__ import annotations

from xml_pipeline.llm.accounting.estimate import prompt_size
from xml_pipeline.llm.accounting.forecast import Caching, Estimate
from xml_pipeline.llm.accounting.prices import Rates
from xml_pipeline.llm.completion import Completion
from xml_pipeline.llm.prefixes import LIVES
from xml_pipeline.llm.routing.endpoint import Route
from xml_pipeline.llm.types import Usage

WORD = 1  # tokens of the shortest answer


def estimated(
    completion: Completion, route: Route, rates: Rates | None, *, stable: int = 0, turns: int = 1
) -> Estimate:
    """The estimate of a call at the backend that would be asked first.

    Args:
        completion: the call.
        route: to that backend.
        rates: its prices, None when they are unknown.
        stable: how many of the first messages are the same in every call of the task; the tools are, too.
        turns: calls that the task may need at most. Each one's answer is in the next one's prompt; what tools bring
            is not known.
    """
    request, estimator = completion.request, route.estimator
    prompt = estimator.prompt_tokens(completion.size)
    at_most = max(estimator.bound.most(extent) for extent in completion.extents(route))
    cap = request.max_tokens or completion.usual_limit or estimator.output_tokens(None)
    kept = prompt_size(request.messages[:stable], request.tools) if stable or request.tools else 0
    beginning = min(prompt, estimator.prompt_tokens(kept)) if kept else 0
    dialect = route.backend.dialect
    caching: Caching = ""
    if request.cache_prompt:
        ttl = request.cache_ttl or getattr(route.backend, "cache_ttl", "5m")
        caching = "1h" if ttl == "1h" else "5m"
    usd: tuple[float | None, ...] = (None, None, None)
    if rates is not None:
        once = Usage(prompt, estimator.output_tokens(cap))
        most = sum(rates.highest(at_most + turn * cap, cap) for turn in range(turns))
        if caching and route.backend.stores:
            most += rates.highest(at_most, 0) + (rates.stored_micro_usd(at_most, LIVES[caching]) or 0)
        usd = tuple(
            each / 1_000_000 for each in (rates.micro_usd(Usage(prompt, WORD)), rates.micro_usd(once), most)
        )
    return Estimate(
        completion.charge.agent,
        route.model,
        route.name,
        "" if rates is None else rates.name,
        prompt,
        at_most,
        beginning,
        None if dialect is None else dialect.least_cacheable(route.model),
        caching,
        cap,
        turns,
        *usd,
    )
