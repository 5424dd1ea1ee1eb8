"""What every provider answers, as bytes: whole, and as the frames of a stream."""

from __future__ import annotations

from dataclasses import dataclass

from tests.emulators import Answer, Recorded, ToolUse
from tests.emulators.server import Frame, dump
from xml_pipeline.llm import LLMRequest, ToolSpec

from .cases import CASES, Case

ANSWER = Answer(
    "Three, 日本.", tools=(ToolUse("add", {"a": 1, "b": 2}),), reasoning="One and two.", cached_tokens=1
)
PLAIN = Answer("Three it is.")
ADD = ToolSpec("add", "Adds.", {"type": "object", "properties": {"a": {"type": "integer"}}})
DIALECTS = tuple(
    case
    for case in CASES
    if str(case) in ("openai", "openai-responses", "anthropic", "gemini", "ollama", "vllm")
)
"""One case of each dialect, and a local server's chat completions."""


@dataclass(frozen=True)
class Recording:
    """Valid bytes of one provider.

    Attributes:
        whole: the JSON body of an answer.
        frames: of the same answer as a stream.
        stream_type: the content type of the stream.
    """

    whole: bytes
    frames: tuple[Frame, ...]
    stream_type: str

    @property
    def stream(self) -> bytes:
        """The whole stream."""
        return b"".join(frame.data for frame in self.frames)


def recording(case: Case, answer: Answer = PLAIN) -> Recording:
    """What the provider's emulator writes for this answer."""
    emulator = case.emulator()
    dialect = case.backend("http://127.0.0.1:1", "sk-recorded-key").dialect
    assert dialect is not None
    asked = LLMRequest(case.model, [{"role": "user", "content": "1 + 2?"}], tools=[ADD])
    wire = dialect.encode(asked, stream=True)
    path, _, query = wire.path.partition("?")
    request = Recorded(
        "POST", emulator.base_path + case.prefix + path, {"alt": "sse"} if query else {}, {}, wire.body
    )
    request.stream, request.model = True, case.model
    emulator._count(answer, request)
    frames = tuple(emulator.frames(answer, request))
    return Recording(dump(emulator.render(answer, request)), frames, emulator.stream_type)
