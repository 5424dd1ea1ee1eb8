"""The same rally between two autogen-core agents on its single-threaded runtime, without validation."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from autogen_core import (
    AgentId,
    MessageContext,
    RoutedAgent,
    SingleThreadedAgentRuntime,
    message_handler,
)

ROUNDS = 2_000


@dataclass
class Ball:
    left: int
    player: str
    speed: float
    spin: bool
    note: str


class Wall(RoutedAgent):
    """Returns each ball."""

    def __init__(self) -> None:
        super().__init__("returns each ball")

    @message_handler
    async def play(self, message: Ball, ctx: MessageContext) -> Ball:
        return Ball(message.left - 1, "b", 1.5, True, message.note)


async def _rally() -> float:
    runtime = SingleThreadedAgentRuntime()
    await Wall.register(runtime, "wall", Wall)
    runtime.start()
    wall = AgentId("wall", "default")
    message = Ball(ROUNDS, "a", 1.5, True, "x" * 400)
    start = time.process_time()
    for _ in range(ROUNDS):
        message = await runtime.send_message(message, wall)
    spent = time.process_time() - start
    await runtime.stop_when_idle()
    return spent / (2 * ROUNDS) * 1e6  # there and back


def measure() -> float:
    """CPU microseconds a hop."""
    return asyncio.run(_rally())
