"""A listener's peers as tools of a model, and a model's calls as payloads to peers. Pure.

Each payload class of each peer is one tool. A model's call becomes either a `PeerCall`, whose payload is a typed
instance for a declared peer, or a `BadCall` with what the model is told; there is no third. The built-in agent has
tools for hand-overs and for skills besides: a call of these is a `PeerCall` whose tool says what it `does`.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

from xml_pipeline.agents.handing_over import HandOver, offers
from xml_pipeline.agents.skills import TOOL, ReadSkill, Skill
from xml_pipeline.agents.wording import broken, complaint, json_example
from xml_pipeline.errors import PayloadError, cut
from xml_pipeline.llm.entrance import distinct
from xml_pipeline.llm.types import ToolCall, ToolSpec
from xml_pipeline.payload import Codec, codec_of
from xml_pipeline.payload.text import carriable
from xml_pipeline.pump.listener import Listener

_ILLEGAL = re.compile(r"[^a-zA-Z0-9_-]")
_MAX_NAME = 64  # OpenAI: ^[a-zA-Z0-9_-]{1,64}$, the narrowest rule of all providers
_DIGEST = 8

Does: TypeAlias = Literal["calls", "hands over", "reads"]


@dataclass(frozen=True, slots=True)
class Tool:
    """One payload class of one peer.

    Attributes:
        name: what the model calls it: legal for every provider, unique in its toolbox.
        peer: the listener's name; "" for what reads skills.
        codec: of the class.
        description: the peer's, and the class's own.
        does: whether it calls the peer, hands the task over to it, or reads a skill.
        tasks: for a hand-over, the classes of the tasks that may be handed over by it.
    """

    name: str
    peer: str
    codec: Codec[Any]
    description: str
    does: Does = "calls"
    tasks: frozenset[type] = frozenset()

    @property
    def address(self) -> str:
        """What a call in text names: the peer, or what is no call of a peer by its own name."""
        return self.peer if self.does == "calls" else self.name

    @property
    def whole(self) -> bool:
        """Whether it hands over the task as it is."""
        return self.codec.cls is HandOver

    @property
    def spec(self) -> ToolSpec:
        """The tool as a model gets it natively."""
        return ToolSpec(self.name, self.description, self.codec.json_schema)


@dataclass(frozen=True, slots=True)
class PeerCall:
    """A call that may be sent.

    Attributes:
        id: the tool call's id; the result carries it back.
        tool: what is called.
        payload: the typed instance.
        repairs: what the model's text needed before it was one.
        written: the native call, for the history; None for a call in text.
    """

    id: str
    tool: Tool
    payload: Any
    repairs: tuple[str, ...] = ()
    written: ToolCall | None = None

    @property
    def name(self) -> str:
        """The tool's name."""
        return self.tool.name


@dataclass(frozen=True, slots=True)
class BadCall:
    """A call that cannot be sent.

    Attributes:
        id: as of `PeerCall`.
        name: the name that the model wrote, made legal.
        huh: what the model is told.
        reason: the same in one line, for the agent's caller.
        written: as of `PeerCall`.
    """

    id: str
    name: str
    huh: str
    reason: str
    written: ToolCall | None = None


@dataclass(frozen=True, slots=True)
class Lookup:
    """A skill that was read: nobody is asked for it.

    Attributes:
        id, tool, written: as of `PeerCall`.
        text: what stands there.
    """

    id: str
    tool: Tool
    text: str
    written: ToolCall | None = None

    @property
    def name(self) -> str:
        """The tool's name."""
        return self.tool.name


ModelCall: TypeAlias = PeerCall | Lookup | BadCall


@dataclass(frozen=True, slots=True)
class Toolbox:
    """The tools of one listener, in the order of its peers; then its hand-overs, and what reads skills.

    Attributes:
        tools: all of them.
        by_name: by the names that models see.
        skills: what may be read.
    """

    tools: tuple[Tool, ...]
    by_name: Mapping[str, Tool] = field(repr=False)
    skills: tuple[Skill, ...] = ()

    @classmethod
    def of(
        cls,
        listener: Listener,
        table: Mapping[str, Listener],
        *,
        hand_overs: bool = False,
        skills: Sequence[Skill] = (),
    ) -> Toolbox:
        """What `listener` may call.

        Args:
            listener: whose tools they are.
            table: all listeners by name, as `organism.listeners`.
            hand_overs: whether there are tools for its `hands_over_to` as well.
            skills: what it may read.
        """
        pairs = [
            (table[name], codec)
            for name in listener.peers
            if name in table
            for codec in table[name].requests.values()
            if isinstance(codec, Codec)
        ]
        several = {peer.name for peer, codec in pairs if sum(p is peer for p, _ in pairs) > 1}
        full = [f"{peer.name}-{codec.root}" if peer.name in several else peer.name for peer, codec in pairs]
        over = list(offers(listener, table)) if hand_overs else []
        own = [TOOL.replace("_", " ")] if skills else []
        names = iter(legal_names([*full, *(offer.name for offer in over), *own]))
        tools = [
            Tool(name, peer.name, codec, _description(peer, codec, named=name == _ILLEGAL.sub("_", whole)))
            for whole, (peer, codec), name in zip(full, pairs, names, strict=False)
        ]
        for offer in over:
            tools.append(
                Tool(next(names), offer.peer, offer.codec, offer.description, "hands over", offer.tasks)
            )
        if skills:
            codec = codec_of(ReadSkill)
            tools.append(Tool(next(names), "", codec, codec.description, "reads"))
        return cls(tuple(tools), {tool.name: tool for tool in tools}, tuple(skills))

    @property
    def specs(self) -> tuple[ToolSpec, ...]:
        """For `complete(tools=...)`."""
        return tuple(tool.spec for tool in self.tools)

    @property
    def codecs(self) -> tuple[Codec[Any], ...]:
        """The classes that its tools take, each once."""
        return tuple({tool.codec.root: tool.codec for tool in self.tools}.values())

    @property
    def addresses(self) -> tuple[str, ...]:
        """What a call in text may name, each once."""
        return tuple(dict.fromkeys(tool.address for tool in self.tools))

    def find(self, name: str) -> Tool | None:
        """The tool of this name; a peer's own name, or a class's, does when only one tool that calls has it."""
        tool = self.by_name.get(name)
        if tool is not None:
            return tool
        calls = (tool for tool in self.tools if tool.does == "calls")
        named = [tool for tool in calls if name in (tool.peer, tool.codec.root)]
        return named[0] if len(named) == 1 else None

    def takers(self, root: str, address: str = "") -> list[Tool]:
        """The tools that take an element of this name: that which a call names, or all but hand-overs."""
        takers = [tool for tool in self.tools if tool.codec.root == root]
        if address:
            return [tool for tool in takers if tool.address == address]
        return [tool for tool in takers if tool.does != "hands over"]

    def read(self, calls: Iterable[ToolCall]) -> list[PeerCall | BadCall]:
        """Native tool calls, in order; a call that repeats another one whole is left out.

        Names are made legal, and ids unique where a server repeats or omits them.
        """
        found: list[PeerCall | BadCall] = []
        for call in distinct(calls):
            tool = self.find(call.name)
            name = tool.name if tool else legal_name(call.name)
            found.append(self._read(replace(call, name=name), tool, call.name))
        return found

    def _read(self, call: ToolCall, tool: Tool | None, said: str) -> PeerCall | BadCall:
        if tool is None:
            allowed, said = ", ".join(self.by_name) or "none", carriable(cut(said))
            error = broken(said, "is no tool that you have", allowed)
            return BadCall(call.id, call.name, complaint(error, said), str(error), call)
        try:
            return PeerCall(call.id, tool, tool.codec.from_json(call.arguments), written=call)
        except PayloadError as error:
            huh = complaint(error, tool.name, json_example(tool.codec))
            return BadCall(call.id, tool.name, huh, f"{tool.name}: {error}", call)


def legal_name(name: str) -> str:
    """`name` with what not every provider takes replaced; the same name gives the same result."""
    legal = _ILLEGAL.sub("_", name)
    if 0 < len(legal) <= _MAX_NAME:
        return legal
    return f"{legal[: _MAX_NAME - _DIGEST - 1] or 'tool'}-{_digest(name)}"


def legal_names(names: Sequence[str]) -> list[str]:
    """Legal names for distinct `names`, distinct as well: those that would fall together carry a digest."""
    legal = [legal_name(name) for name in names]
    times = Counter(legal)
    return [
        f"{short[: _MAX_NAME - _DIGEST - 1]}-{_digest(name)}" if times[short] > 1 else short
        for name, short in zip(names, legal, strict=True)
    ]


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST]


def _description(peer: Listener, codec: Codec[Any], *, named: bool) -> str:
    """What a tool is for; a name with a digest does not say whose it is."""
    parts = ("" if named else f"Peer {peer.name}.", peer.description, codec.description)
    return "\n".join(dict.fromkeys(text for text in parts if text))
