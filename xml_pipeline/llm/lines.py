"""What each try at a model came to, as lines of JSON: one file for what was used, one for what went wrong.

For whoever reads logs with other programs; budgets and reports have the ledger. Nothing leaves the machine.
"""

from __future__ import annotations

import json
import logging
import os
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from xml_pipeline.errors import described
from xml_pipeline.llm.accounting.usage import Answered
from xml_pipeline.llm.types import LLMResponse

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Lines:
    """Two files that grow by a line at a time.

    Attributes:
        usage: for tries that were charged; None for nowhere.
        errors: for tries that failed; None for nowhere.
        organism: whose.
    """

    usage: Path | None = None
    errors: Path | None = None
    organism: str = ""
    _open: dict[Path, int] = field(default_factory=dict)

    def add(self, preset: str, fact: Answered, response: LLMResponse | None, wall: float) -> None:
        """Write what a try came to; `preset`: the model as the caller named it."""
        usage, charge = fact.usage, fact.charge
        common = {
            "ts": datetime.fromtimestamp(wall, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "organism": self.organism,
            "op": charge.operation,
            "agent": charge.agent,
            "conversation": charge.conversation_id,
            "thread": charge.thread_id,
            "preset": preset,
            "backend": fact.backend,
            "model": fact.model,
            "attempt": fact.attempt,
            "latency_ms": round((fact.at - fact.started) * 1000),
        }
        if self.usage is not None and usage.total_tokens:
            line = {
                **common,
                "input_tokens": usage.prompt_tokens,
                "cache_read_tokens": usage.cached_tokens,
                "cache_write_tokens": usage.cache_write_tokens,
                "cache_write_1h_tokens": usage.cache_write_1h_tokens,
                "output_tokens": usage.completion_tokens,
                "reasoning_tokens": usage.reasoning_tokens,
                "priced_as": fact.priced_as,
                "usd_estimate": None if fact.micro_usd is None else fact.micro_usd / 1_000_000,
                "estimated": usage.estimated,
                "confirmed": fact.confirmed,
                "outcome": fact.outcome,
                "stop_reason": "" if response is None else response.stop_reason or response.finish_reason,
                "tool_calls": 0 if response is None else len(response.tool_calls),
            }
            self._write(self.usage, line)
        if self.errors is not None and fact.error is not None:
            error = fact.error
            line = {
                **common,
                "error": type(error).__name__,
                "status": error.status,
                "message": described(error),
            }
            self._write(self.errors, line)

    def close(self) -> None:
        """Let the files go."""
        for descriptor in self._open.values():
            os.close(descriptor)
        self._open.clear()

    def _write(self, path: Path, line: dict[str, Any]) -> None:
        """One line in one write: several processes may share a file. A disk that is full costs the line only."""
        try:
            descriptor = self._open.get(path)
            if descriptor is None:
                path.parent.mkdir(parents=True, exist_ok=True)
                flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
                descriptor = self._open[path] = os.open(path, flags, 0o600)
            os.write(descriptor, json.dumps(line).encode() + b"\n")
        except OSError as error:
            logger.warning("%s cannot be written: %s", path, error.strerror)
