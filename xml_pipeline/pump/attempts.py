"""How often a message is handled, and what is said when that was often enough."""

from __future__ import annotations

MOST_INTERRUPTIONS = 5
POISONOUS = f"its handler was interrupted {MOST_INTERRUPTIONS} times, by the end of the process"
NOT_TWICE = "it was interrupted when it had begun, and what it does is not done twice"
_LONGEST_PAUSE = 60.0


def pause_after(failures: int) -> float:
    """Seconds until a message is tried again whose handler raised so often: 1, 2, 4, … at most 60."""
    return min(_LONGEST_PAUSE, 2.0 ** (failures - 1))


def failed_for_good(times: int, detail: str) -> str:
    """Why a message is a dead letter whose handler raised each of these times."""
    return f"its handler failed {times} times: {detail}"
