"""An agent's prompt: put together once, then frozen and hashed. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from xml_pipeline.agents.contract import Answer
from xml_pipeline.agents.history import tokens_of
from xml_pipeline.agents.toolbox import Toolbox
from xml_pipeline.llm.accounting.estimate import BYTES_PER_TOKEN, tools_size
from xml_pipeline.llm.types import Message, ToolSpec
from xml_pipeline.payload import codec_of
from xml_pipeline.pump.instructions import usage_instructions
from xml_pipeline.pump.listener import Listener

Mode: TypeAlias = Literal["native", "xml"]


@dataclass(frozen=True, slots=True)
class Prompt:
    """What every model call of an agent begins with.

    Attributes:
        mode: how the model calls peers: by native tool calls, or by XML in its text.
        system: the system message; "" for none.
        tools: offered natively; empty in `xml` mode.
    """

    mode: Mode
    system: str
    tools: tuple[ToolSpec, ...] = ()

    @property
    def messages(self) -> list[Message]:
        """The system message, or nothing."""
        return [{"role": "system", "content": self.system}] if self.system else []

    @property
    def sha256(self) -> str:
        """Of system text and tools: the same for the same prompt on every machine."""
        parts = {
            "system": self.system,
            "tools": [[tool.name, tool.description, tool.parameters] for tool in self.tools],
        }
        text = json.dumps(parts, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()

    @property
    def tokens(self) -> int:
        """Estimated size."""
        return tokens_of(self.messages) + int(tools_size(self.tools) / BYTES_PER_TOKEN)

    def __str__(self) -> str:
        """The whole prompt as people read it."""
        tools = [
            f"{tool.name}\n{tool.description}\n{json.dumps(tool.parameters, indent=2, ensure_ascii=False)}"
            for tool in self.tools
        ]
        parts = ["--- system ---", self.system or "(none)"]
        if tools:
            parts += ["--- tools ---", "\n\n".join(tools)]
        how = "native tool calls" if self.mode == "native" else "XML in its text"
        parts.append(f"--- calls peers by {how}; about {self.tokens} tokens; sha256 {self.sha256} ---")
        return "\n".join(parts)


def compose(
    text: str,
    mode: Mode,
    listener: Listener,
    table: Mapping[str, Listener],
    answers: Sequence[type] = (Answer,),
) -> Prompt:
    """The prompt of `listener`: its own text, how to call its peers, how to answer.

    Args:
        text: the agent's own prompt.
        mode: how its model calls peers.
        listener: with its peers.
        table: all listeners by name.
        answers: the payload classes that it may answer with; an `Answer` is written as plain text.
    """
    parts = [text.strip()]
    tools: tuple[ToolSpec, ...] = ()
    if mode == "native":
        tools = Toolbox.of(listener, table).specs
    else:
        parts.append(usage_instructions(listener, table))
    parts.append(_how_to_answer(answers, alone=not listener.peers))
    return Prompt(mode, "\n\n".join(part for part in parts if part), tools)


def _how_to_answer(answers: Sequence[type], *, alone: bool) -> str:
    """Nothing for a model that may answer in text alone, as models do."""
    documents = [codec_of(cls).prompt_text.strip() for cls in answers if cls is not Answer]
    if not documents:
        return ""
    final = "Answer" if alone else "When you are done, answer"
    kind = "of this kind" if len(documents) == 1 else "of one of these kinds"
    otherwise = "and nothing else"
    if Answer in answers:
        otherwise += ". If that does not fit your answer, write plain text instead"
    return "\n\n".join((f"{final} with exactly one XML document {kind} {otherwise}.", *documents))
