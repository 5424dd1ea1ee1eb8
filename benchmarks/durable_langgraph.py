"""The same rally as a loop in a LangGraph graph, with AsyncSqliteSaver and `durability="sync"`: each superstep waits
until its checkpoint is stored."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any, TypedDict

from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import END, START, StateGraph


class Ball(TypedDict):
    left: int
    note: str


async def hit(ball: Ball) -> dict[str, Any]:
    return {"left": ball["left"] - 1, "note": ball["note"]}


def further(ball: Ball) -> str:
    return "hit" if ball["left"] > 0 else END


async def _measured(path: Path, conversations: int, hops: int, note: str) -> tuple[float, float]:
    graph = StateGraph(Ball)
    graph.add_node("hit", hit)
    graph.add_edge(START, "hit")
    graph.add_conditional_edges("hit", further, ["hit", END])
    async with AsyncSqliteSaver.from_conn_string(str(path)) as saver:
        await saver.setup()
        rally = graph.compile(checkpointer=saver)

        async def play(name: str, left: int) -> None:
            config: Any = {"configurable": {"thread_id": name}, "recursion_limit": left + 5}
            await rally.ainvoke(Ball(left=left, note=note), config, durability="sync")

        await play("warm", 1)
        start, began = time.process_time(), time.perf_counter()
        await asyncio.gather(*(play(str(number), hops) for number in range(conversations)))
        return time.perf_counter() - began, time.process_time() - start


def measure(path: Path, conversations: int, hops: int, note: str) -> tuple[float, float]:
    """Seconds of wall time, and of CPU."""
    return asyncio.run(_measured(path, conversations, hops, note))
