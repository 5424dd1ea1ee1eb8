"""An Ollama server: the native API (source: docs.ollama.com/api, late 2026)."""

from __future__ import annotations

from typing import Any, ClassVar

from .script import Answer, Fail, Failure, Recorded
from .server import Emulator, Frame, Refusal, dump, pieces

PARAMETERS = frozenset(
    [
        "model",
        "messages",
        "tools",
        "stream",
        "format",
        "options",
        "keep_alive",
        "think",
        "logprobs",
        "top_logprobs",
    ]
)
DEFAULT_CONTEXT = 4096
CREATED = "2026-11-21T12:00:00.000000000Z"


def error(status: int, message: str) -> Refusal:
    """Ollama's error body."""
    return Refusal(status, {"error": message})


class OllamaEmulator(Emulator):
    """POST /api/chat, GET /api/tags, /api/version. Knows no keys; cuts prompts to `num_ctx` without a word.

    Args (class attributes to override in a subclass or instance):
        thinks: whether the models accept `think`.
        has_tools: whether the models accept `tools`.
    """

    provider: ClassVar[str] = "ollama"
    stream_type = "application/x-ndjson"
    default_key = ""
    thinks: bool = True
    has_tools: bool = True

    def is_generation(self, request: Recorded) -> bool:
        if request.method != "POST" or request.path != "/api/chat":
            return False
        if isinstance(request.body, dict):
            request.model = str(request.body.get("model", ""))
            request.stream = request.body.get("stream") is not False
        return True

    def check_key(self, request: Recorded) -> None:
        if self.key and request.headers.get("authorization") != f"Bearer {self.key}":
            raise error(401, "unauthorized")

    def check_request(self, request: Recorded) -> None:
        body = request.body
        if not isinstance(body, dict):
            raise error(400, "missing request body")
        for name in body:
            if (
                name not in PARAMETERS
            ):  # the server ignores them; a mapping that sends one is wrong all the same
                raise error(400, f"the emulator knows no parameter {name!r}")
        if not request.model:
            raise error(400, "model is required")
        if self.models and request.model not in self.models:
            raise error(404, f"model '{request.model}' not found")
        if body.get("tools") and not self.has_tools:
            raise error(400, f"registry.ollama.ai/library/{request.model} does not support tools")
        if body.get("tools") and body.get(
            "format"
        ):  # the server takes both, and the model calls nothing then
            raise error(400, "the emulator takes either tools or a format")
        if body.get("think") and not self.thinks:
            raise error(400, f'"{request.model}" does not support thinking')
        for message in body.get("messages") or ():
            _check_message(message)
        context = (body.get("options") or {}).get("num_ctx", DEFAULT_CONTEXT)
        if not isinstance(context, int):
            raise error(400, 'option "num_ctx" must be of type integer')

    def malformed(self, detail: str) -> Refusal:
        return error(400, detail)

    def not_found(self, request: Recorded) -> Refusal:
        return Refusal(404, b"404 page not found", {"Content-Type": "text/plain"})

    def listing(self, request: Recorded) -> Any:
        if request.path == "/api/version":
            return {"version": "0.14.0"}
        if request.path != "/api/tags":
            return None
        details = {
            "format": "gguf",
            "family": "llama",
            "parameter_size": "8B",
            "quantization_level": "Q4_K_M",
        }
        return {
            "models": [
                {
                    "name": name,
                    "model": name,
                    "modified_at": CREATED,
                    "size": 1,
                    "digest": "0",
                    "details": details,
                }
                for name in self.models
            ]
        }

    def prompt_of(self, request: Recorded) -> Any:
        return [request.body.get("messages"), request.body.get("tools")]

    def _count(self, answer: Answer, request: Recorded) -> None:
        super()._count(answer, request)
        context = (request.body.get("options") or {}).get("num_ctx", DEFAULT_CONTEXT)
        if request.prompt_tokens > context:
            request.truncated = True
            request.prompt_tokens = context

    # -- answers ------------------------------------------------------------------------------------------

    def message(self, answer: Answer) -> dict[str, Any]:
        """The whole message; arguments are an object."""
        message: dict[str, Any] = {"role": "assistant", "content": answer.text}
        if answer.reasoning:
            message["thinking"] = answer.reasoning
        if answer.tools:
            message["tool_calls"] = [
                {"function": {"index": index, "name": tool.name, "arguments": tool.arguments}}
                for index, tool in enumerate(answer.tools)
            ]
        return message

    def _line(self, request: Recorded, message: dict[str, Any]) -> dict[str, Any]:
        return {"model": request.model, "created_at": CREATED, "message": message, "done": False}

    def _end(self, answer: Answer, request: Recorded) -> dict[str, Any]:
        return {
            "done": True,
            "done_reason": "stop" if answer.finish == "stop" else answer.finish,
            "total_duration": 5_000_000_000,
            "load_duration": 1_000_000,
            "prompt_eval_count": request.prompt_tokens,
            "prompt_eval_duration": 100_000_000,
            "eval_count": request.completion_tokens,
            "eval_duration": 4_000_000_000,
        }

    def render(self, answer: Answer, request: Recorded) -> Any:
        return {**self._line(request, self.message(answer)), **self._end(answer, request)}

    def frames(self, answer: Answer, request: Recorded) -> list[Frame]:
        lines: list[tuple[dict[str, Any], bool]] = []
        whole = self.message(answer)
        for part in pieces(answer.reasoning):
            lines.append((self._line(request, {"role": "assistant", "content": "", "thinking": part}), True))
        for part in pieces(answer.text):
            lines.append((self._line(request, {"role": "assistant", "content": part}), True))
        for call in whole.get("tool_calls", ()):
            lines.append(
                (self._line(request, {"role": "assistant", "content": "", "tool_calls": [call]}), True)
            )
        last = {**self._line(request, {"role": "assistant", "content": ""}), **self._end(answer, request)}
        return [Frame(dump(line) + b"\n", content) for line, content in [*lines, (last, False)]]

    # -- failures -----------------------------------------------------------------------------------------

    def refusal(self, fail: Fail, request: Recorded) -> Refusal:
        texts = {
            Failure.BAD_REQUEST: (400, "invalid options: num_ctx"),
            Failure.CONTEXT_WINDOW: (400, "the input length exceeds the context length"),
            Failure.CONTENT_POLICY: (400, "the request was refused by the content policy"),
            Failure.BAD_KEY: (401, "unauthorized"),
            Failure.FORBIDDEN: (403, "this model requires a subscription, upgrade for access"),
            Failure.NO_CREDIT: (402, "insufficient credits"),
            Failure.NO_MODEL: (404, f"model '{request.model}' not found"),
            Failure.TIMEOUT_408: (408, "request timeout"),
            Failure.CONFLICT: (409, "conflict"),
            Failure.TOO_LARGE: (413, "http: request body too large"),
            Failure.UNPROCESSABLE: (422, "unprocessable"),
            Failure.RATE: (429, "too many concurrent requests"),
            Failure.QUOTA: (429, "you've reached your weekly usage limit, upgrade for higher limits"),
            Failure.INTERNAL: (500, "llama runner process has terminated: signal: killed"),
            Failure.BAD_GATEWAY: (502, "upstream error"),
            Failure.UNAVAILABLE: (503, "server busy, please try again.  maximum pending requests exceeded"),
            Failure.GATEWAY_TIMEOUT: (504, "gateway timeout"),
            Failure.OVERLOADED: (529, "overloaded"),
        }
        return error(*texts[fail.failure])

    def stream_error(self, fail: Fail, request: Recorded) -> bytes:
        return dump(self.refusal(fail, request).body) + b"\n"


def _check_message(message: dict[str, Any]) -> None:
    unknown = set(message) - {
        "role",
        "content",
        "thinking",
        "images",
        "tool_calls",
        "tool_name",
        "tool_call_id",
    }
    if unknown:
        raise error(400, f"the emulator knows no message field {unknown.pop()!r}")
    if message.get("role") not in ("system", "user", "assistant", "tool"):
        raise error(400, f"invalid role: {message.get('role')!r}")
    if not isinstance(message.get("content", ""), str):
        raise error(
            400,
            "json: cannot unmarshal array into Go struct field ChatRequest.messages.content of type string",
        )
    for call in message.get("tool_calls", ()):
        if not isinstance(call.get("function", {}).get("arguments"), dict):
            raise error(
                400,
                "json: cannot unmarshal string into Go struct field"
                " ChatRequest.messages.tool_calls.function.arguments of type api.ToolCallFunctionArguments",
            )
