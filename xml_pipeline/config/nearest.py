"""`did you mean …?`"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

_LISTED = 20


def suggestion(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'shouter'?` for the nearest of `known`, or "" when none is near."""
    names = sorted(set(known))
    by_fold = {name.casefold().replace("-", "_"): name for name in reversed(names)}
    near = get_close_matches(word.casefold().replace("-", "_"), by_fold, n=1, cutoff=0.6)
    return f"; did you mean '{by_fold[near[0]]}'?" if near else ""


def listing(names: Iterable[str]) -> str:
    """`a, b, c`, sorted, cut when there are many."""
    known = sorted(set(names))
    more = f", … ({len(known)} in all)" if len(known) > _LISTED else ""
    return ", ".join(known[:_LISTED]) + more
