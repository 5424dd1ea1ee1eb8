"""What a model's answer means: calls, a hand-over, the final answer, or a fault it is told of. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from xml_pipeline.agents.answering import Answering, Unanswered
from xml_pipeline.agents.contract import Answer
from xml_pipeline.agents.misplaced import (
    written_as_json,
    written_as_result,
    written_as_unknown_element,
    written_in_another_notation,
)
from xml_pipeline.agents.prompt import Mode
from xml_pipeline.agents.skills import looked_up
from xml_pipeline.agents.toolbox import BadCall, Lookup, ModelCall, PeerCall, Toolbox
from xml_pipeline.agents.wording import broken, complaint, rule
from xml_pipeline.envelope import Code, Found, extract_payloads
from xml_pipeline.envelope.thinking import without_thinking
from xml_pipeline.errors import PayloadError, cut
from xml_pipeline.llm.types import LLMResponse, Message


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a model's answer is neither a call nor an answer.

    Attributes:
        code: for the agent's caller, should the model not mend it.
        reason: for the same, in one line.
        huh: what the model is told.
        final: whether asking again is pointless.
    """

    code: Code
    reason: str
    huh: str = ""
    final: bool = False


@dataclass(frozen=True, slots=True)
class Reading:
    """One model's answer, understood.

    Attributes:
        message: the assistant message for the history, with legal names and unique ids in its calls.
        calls: in the order written.
        answer: the final answer's payload, or None.
        fault: what is wrong with the answer as a whole, or None.
        repairs: what the answer's text needed.
    """

    message: Message
    calls: tuple[ModelCall, ...] = ()
    answer: Any = None
    fault: Fault | None = None
    repairs: tuple[str, ...] = ()

    @property
    def good(self) -> bool:
        """Whether something in it can be done: a call, a hand-over, a skill that was read."""
        return any(not isinstance(call, BadCall) for call in self.calls)

    @property
    def sent(self) -> list[PeerCall]:
        """The calls of peers."""
        calls = (call for call in self.calls if isinstance(call, PeerCall))
        return [call for call in calls if call.tool.does == "calls"]

    @property
    def hand_over(self) -> PeerCall | None:
        """The hand-over; then there is no other call."""
        calls = (call for call in self.calls if isinstance(call, PeerCall))
        return next((call for call in calls if call.tool.does == "hands over"), None)

    @property
    def problem(self) -> Fault | None:
        """The fault, or the first bad call as one."""
        if self.fault is not None:
            return self.fault
        bad = next((call for call in self.calls if isinstance(call, BadCall)), None)
        return (
            None
            if bad is None
            else Fault("validation", f"the model made a call that is not valid: {bad.reason}")
        )


class Reader:
    """Reads the answers of one agent's model.

    Args:
        toolbox: what it may call.
        mode: how it was told to call.
        answers: the classes that its final answer may be of; an `Answer` is what is plain text.
    """

    def __init__(self, toolbox: Toolbox, mode: Mode, answers: Sequence[type] = (Answer,)) -> None:
        self._toolbox = toolbox
        self._mode = mode
        self._answering = Answering(answers)
        self._codecs = tuple(
            {codec.root: codec for codec in (*toolbox.codecs, *self._answering.codecs)}.values()
        )

    @property
    def call_elements(self) -> tuple[str, ...]:
        """The elements with which a call in text begins."""
        if self._mode == "native":
            return ()
        return ("call", "message", *(codec.root for codec in self._toolbox.codecs))

    def read(self, response: LLMResponse, task: type | None = None) -> Reading:
        """What `response` means.

        Args:
            response: the model's answer.
            task: the class of the task, if that can be handed over as it is.
        """
        reading = self._read(response)
        if reading.calls:
            reading = replace(reading, calls=self._settled(reading.calls, task))
        repairs = tuple(dict.fromkeys((*response.repairs, *reading.repairs)))
        return replace(reading, repairs=repairs) if response.repairs else reading

    def _read(self, response: LLMResponse) -> Reading:
        message = response.message
        if response.tool_calls:
            calls: tuple[ModelCall, ...] = tuple(self._toolbox.read(response.tool_calls))
            written = [call.written.as_dict() for call in calls if call.written is not None]
            return Reading({**message, "tool_calls": written}, calls)
        text = without_thinking(response.content, [codec.root for codec in self._codecs])
        fault = _stopped(response, text)
        if fault is not None:
            return Reading(message, fault=fault)
        if self._mode == "xml" and self._toolbox.tools:
            calls = tuple(self._elements(response.content))
            if calls:
                return Reading(message, calls)
        fault = self._misplaced(text)
        if fault is not None:
            return Reading(message, fault=fault)
        return self._final(message, response.content, text)

    # --- hand-overs and skills ---

    def _settled(self, calls: Sequence[ModelCall], task: type | None) -> tuple[ModelCall, ...]:
        """Skills are read, and what a hand-over does not allow is refused: it ends the task, so it stands alone."""
        peers = [call for call in calls if isinstance(call, PeerCall)]
        if len(calls) > 1 and any(call.tool.does == "hands over" for call in peers):
            return tuple(_beside(call) if isinstance(call, PeerCall) else call for call in calls)
        return tuple(self._settle(call, task) if isinstance(call, PeerCall) else call for call in calls)

    def _settle(self, call: PeerCall, task: type | None) -> ModelCall:
        tool = call.tool
        if tool.does == "reads":
            try:
                return Lookup(call.id, tool, looked_up(self._toolbox.skills, call.payload), call.written)
            except PayloadError as error:
                return _refused(call, error)
        if tool.does == "calls" or task in tool.tasks or (task is None and not tool.whole):
            return call
        fitting = [each.name for each in self._toolbox.tools if each.peer == tool.peer and task in each.tasks]
        why = f"is not for this task; it can be handed over to {tool.peer} in another way"
        if not fitting:
            why = "hands over nothing here: the task as it came is not there any more. Answer it, or call a peer"
        return _refused(call, broken(tool.name, why, ", ".join(fitting)))

    # --- calls as XML in text ---

    def _elements(self, text: str) -> list[ModelCall]:
        extraction = extract_payloads(text, self._codecs)
        calls: list[ModelCall] = []
        for found in extraction.found:
            if found.to or not self._is_answer(found.codec.root):
                calls.append(self._call(f"call-{len(calls) + 1}", found))
        for name, error in extraction.errors:
            if not self._is_answer(name):
                calls.append(self._bad(f"call-{len(calls) + 1}", name, error))
        return calls

    def _is_answer(self, name: str) -> bool:
        """Whether an element is (a slip of) the final answer, and no call."""
        roots = {root.lower() for root in self._answering.roots}
        return name.lower() in roots and not self._toolbox.takers(name)

    def _call(self, call_id: str, found: Found) -> ModelCall:
        root = found.codec.root
        takers = self._toolbox.takers(root, found.to)
        if len(takers) == 1:
            return PeerCall(call_id, takers[0], found.payload, found.repairs)
        tools = self._toolbox.tools
        named = takers or ([] if found.to else [tool for tool in tools if tool.codec.root == root])
        if named:
            form = f'<call to="{named[0].address}"><{root}>…</{root}></call>'
            what = "several peers take it; name one of them" if takers else "say to whom it is handed over,"
            error = broken(root, f"{what} as {form}", ", ".join(tool.address for tool in named))
        elif takes := [f"<{tool.codec.root}>" for tool in tools if tool.address == found.to]:
            error = broken(root, f"is not what '{found.to}' takes", ", ".join(takes))
        else:
            peers = ", ".join(self._toolbox.addresses)
            error = broken(root, f"there is no peer '{cut(found.to)}' that you can call", peers)
        return self._bad(call_id, root, error)

    def _bad(self, call_id: str, name: str, error: PayloadError) -> BadCall:
        example = next((codec.example for codec in self._codecs if codec.root == name), "")
        return BadCall(call_id, name, complaint(error, f"<{name}>", example), str(error))

    # --- calls where no calls belong ---

    def _misplaced(self, text: str) -> Fault | None:
        toolbox = self._toolbox
        if not toolbox.tools:
            if not written_in_another_notation(text, toolbox):
                return None
            huh = rule("your answer", "is a call of a tool, but you have no tools; answer in text")
            return Fault("validation", "the model wrote a call, but it has no peers", huh)
        if written_as_json(text, toolbox, by_fields=self._mode == "xml"):
            huh = rule("your answer", f"is a call written as JSON text; write it {self._right_way}")
            return Fault("validation", "the model wrote a call as JSON text", huh)
        if written_in_another_notation(text, toolbox):
            huh = rule(
                "your answer", f"is a call in a notation that nobody reads; write it {self._right_way}"
            )
            return Fault("validation", "the model wrote a call in a notation that nobody reads", huh)
        if self._mode == "xml" and written_as_result(text):
            huh = rule("your answer", "holds a <result>; only peers give results. Call the peer, then stop")
            return Fault("validation", "the model made up the result of a call", huh)
        name = written_as_unknown_element(text, self._answering.roots)
        if name:
            huh = rule(
                f"<{cut(name)}>",
                "nobody takes it. A call goes to one of your peers; if it is your answer, begin it with a sentence",
                ", ".join(toolbox.by_name),
            )
            return Fault("validation", f"the model wrote <{cut(name)}>, which nobody takes", huh)
        return None

    @property
    def _right_way(self) -> str:
        if self._mode == "native":
            return "as a tool call"
        first = self._toolbox.tools[0]
        return f'as XML: <call to="{first.address}"><{first.codec.root}>…</{first.codec.root}></call>'

    # --- the final answer ---

    def _final(self, message: Message, content: str, text: str) -> Reading:
        try:
            answer, repairs = self._answering.read(content, text)
        except Unanswered as no:
            huh = complaint(no.error, "your answer", no.example)
            return Reading(message, fault=Fault("validation", f"the model's answer is not valid: {no}", huh))
        return Reading(message, answer=answer, repairs=repairs)


def _beside(call: PeerCall) -> BadCall:
    """A call beside a hand-over: nothing of such an answer is done, because what comes back would reach nobody."""
    if call.tool.does == "hands over":
        why = (
            "hands the task over for good, so it is the only call of an answer; nothing of this one was done"
        )
    else:
        why = "was not made, because this answer hands the task over too; do one of the two"
    return _refused(call, broken(call.name, why))


def _refused(call: PeerCall, error: PayloadError) -> BadCall:
    return BadCall(call.id, call.name, complaint(error, call.name), str(error), call.written)


def _stopped(response: LLMResponse, text: str) -> Fault | None:
    """Why an answer without calls is not taken as it is."""
    if response.finish_reason == "content_filter":
        return Fault("handler", "the provider's content filter stopped the model's answer", final=True)
    if response.finish_reason == "length":
        huh = rule("your answer", "was cut at the token limit; answer again in fewer words")
        return Fault("limit", "the model's answer was cut at the token limit (max_tokens)", huh)
    if not text.strip():
        announced = response.finish_reason == "tool_calls"
        what = "announces a call but holds none" if announced else "is empty"
        huh = rule("your answer", f"{what}; call a peer, or answer in text")
        return Fault("handler", f"the model's answer {what}", huh)
    return None
