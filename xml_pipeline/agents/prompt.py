"""An agent's prompt: put together once, then frozen and hashed. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from xml_pipeline.agents.contract import Answer
from xml_pipeline.agents.history import tokens_of
from xml_pipeline.agents.skills import Skill, told
from xml_pipeline.agents.toolbox import Toolbox
from xml_pipeline.llm.accounting.estimate import BYTES_PER_TOKEN, tools_size
from xml_pipeline.llm.types import Message, ToolSpec
from xml_pipeline.payload import codec_of
from xml_pipeline.pump.instructions import described, how_to_call, peers_of
from xml_pipeline.pump.listener import Listener

Mode: TypeAlias = Literal["native", "xml"]


@dataclass(frozen=True, slots=True)
class Prompt:
    """What every model call of an agent begins with.

    Attributes:
        mode: how the model calls peers: by native tool calls, or by XML in its text.
        system: the system message; "" for none.
        tools: offered natively; empty in `xml` mode.
        later: texts that come after it as they are, by name: skills, and templates of tasks.
    """

    mode: Mode
    system: str
    tools: tuple[ToolSpec, ...] = ()
    later: tuple[tuple[str, str], ...] = ()

    @property
    def messages(self) -> list[Message]:
        """The system message, or nothing."""
        return [{"role": "system", "content": self.system}] if self.system else []

    @property
    def sha256(self) -> str:
        """Of system text, tools and what comes later: the same for the same prompt on every machine."""
        parts: dict[str, object] = {
            "system": self.system,
            "tools": [[tool.name, tool.description, tool.parameters] for tool in self.tools],
        }
        if self.later:
            parts["later"] = self.later
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
        if self.later:
            sizes = [f"{name}: {len(text):,} characters" for name, text in self.later]
            parts += ["--- later ---", *sizes]
        how = "native tool calls" if self.mode == "native" else "XML in its text"
        parts.append(f"--- calls peers by {how}; about {self.tokens} tokens; sha256 {self.sha256} ---")
        return "\n".join(parts)


def compose(
    text: str,
    mode: Mode,
    listener: Listener,
    table: Mapping[str, Listener],
    answers: Sequence[type] = (Answer,),
    *,
    skills: Sequence[Skill] = (),
    tasks: Mapping[type, str] | None = None,
) -> Prompt:
    """The prompt of `listener`: its own text, its skills, how to call its peers and hand over, how to answer.

    Args:
        text: the agent's own prompt.
        mode: how its model calls peers.
        listener: with its peers and those it hands over to.
        table: all listeners by name.
        answers: the payload classes that it may answer with; an `Answer` is written as plain text.
        skills: what it may read.
        tasks: templates of its tasks, by payload class.
    """
    toolbox = Toolbox.of(listener, table, hand_overs=True, skills=skills)
    reads = next((tool for tool in toolbox.tools if tool.does == "reads"), None)
    parts = [text.strip()]
    if reads is not None:
        parts.append(told(skills, f" with {reads.address}"))
    tools: tuple[ToolSpec, ...] = ()
    if mode == "native":
        tools = toolbox.specs
    else:
        others = (tool for tool in toolbox.tools if tool.does != "calls")
        own = (described(tool.address, tool.description, (tool.codec.prompt_text,)) for tool in others)
        parts.append(how_to_call((*peers_of(listener, table), *own)))
    parts.append(_how_to_answer(answers, alone=not toolbox.tools))
    return Prompt(mode, "\n\n".join(part for part in parts if part), tools, _later(skills, tasks or {}))


def _later(skills: Sequence[Skill], tasks: Mapping[type, str]) -> tuple[tuple[str, str], ...]:
    texts = [(f"task {codec_of(cls).root}", text) for cls, text in tasks.items()]
    for skill in skills:
        texts.append((f"skill {skill.name}", skill.text))
        texts += [(f"skill {skill.name}/{name}", text) for name, text in skill.files.items()]
    return tuple(texts)


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
