"""`--dry-run`: what a task would cost, and whether to go on."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from xml_pipeline.cli.command import argument
from xml_pipeline.terminal import count, money, plain, table

if TYPE_CHECKING:
    from xml_pipeline.llm.accounting.forecast import Estimate
    from xml_pipeline.organism import Organism

DRY_RUN = argument(
    "--dry-run",
    action="store_true",
    help="say what it would cost and ask nobody; in a terminal, go on when told so",
)


def goes_on(receiver: Organism, name: str, payload: Any) -> bool:
    """Print the estimate of a task; whether somebody at a terminal says to go on."""
    import asyncio

    estimate = asyncio.run(_estimate(receiver, name, payload))
    print(f"would ask '{name}':")
    for row in table(_rows(estimate)):
        print(plain(row).rstrip())
    if not (sys.stdin and sys.stdin.isatty() and sys.stdout.isatty()):
        return False
    try:
        return input("Proceed? [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        print()
        return False


async def _estimate(receiver: Organism, name: str, payload: Any) -> Estimate:
    try:
        return await receiver.estimate(name, payload)
    finally:
        receiver.router.rest()


def _rows(each: Estimate) -> list[tuple[str, str]]:
    priced = f", priced as {each.priced_as}" if each.priced_as else ", at an unknown price"
    prompt = f"about {each.input_tokens:,} tokens, at most {each.input_at_most:,}"
    rows = [
        ("model", f"{each.model} at {each.backend}{priced}"),
        ("prompt", f"{prompt}; {each.stable_tokens:,} of them the same in every call"),
        ("cache", _cache(each)),
        ("answer", f"at most {count(each.output_cap, 'token')}, in at most {count(each.turns, 'turn')}"),
    ]
    if each.usd_once is None:
        rows.append(("cost", "unknown; add the model under llm.prices"))
    else:
        turn = f"{money(each.usd_short)} with a short answer, {money(each.usd_once)} with a usual one"
        rows.append(("one turn", turn))
        rows.append(("all turns", f"at most {money(each.usd_most)}, what tools bring not counted"))
    return rows


def _cache(each: Estimate) -> str:
    if not each.caching:
        return "not asked for: no later turn would read it"
    kept = "an hour" if each.caching == "1h" else "five minutes"
    if each.least_cacheable is None:
        return f"what is the same is kept for {kept}, where the provider keeps it"
    fits = "is" if each.clears else "is not"
    return f"what is the same is kept for {kept} from {each.least_cacheable:,} tokens on, which this {fits}"
