"""api.openai.com's Responses API (source: platform.openai.com/docs/api-reference/responses, late 2026)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .chat_rules import REASONING_MODEL, TOOL_NAME, Wrong, check_strict
from .script import Answer, Fail, Recorded
from .server import Frame, arguments_text, dump, pieces

if TYPE_CHECKING:
    from .openai import OpenAIEmulator

PARAMETERS = frozenset(
    [
        "background",
        "context_management",
        "conversation",
        "include",
        "input",
        "instructions",
        "max_output_tokens",
        "max_tool_calls",
        "metadata",
        "model",
        "moderation",
        "parallel_tool_calls",
        "previous_response_id",
        "prompt",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "reasoning",
        "safety_identifier",
        "service_tier",
        "store",
        "stream",
        "stream_options",
        "temperature",
        "text",
        "tool_choice",
        "tools",
        "top_logprobs",
        "top_p",
        "truncation",
        "user",
    ]
)
CREATED = 1_795_000_000
SEAL = "gAAAA-sealed-"
PARTS = {
    "user": ("input_text", "input_image", "input_file"),
    "system": ("input_text",),
    "developer": ("input_text",),
    "assistant": ("output_text", "refusal"),
}


def check(body: Any) -> None:
    """Raise Wrong for the first rule that `body` breaks."""
    if not isinstance(body, dict):
        raise Wrong("We could not parse the JSON body of your request.")
    for name in body:
        if name not in PARAMETERS:
            raise Wrong(f"Unknown parameter: '{name}'.", name, "unknown_parameter")
    for name in ("model", "input"):
        if not body.get(name):
            raise Wrong(f"Missing required parameter: '{name}'.", name, "missing_required_parameter")
    effort = (body.get("reasoning") or {}).get("effort")
    for name in ("temperature", "top_p"):
        if name in body and REASONING_MODEL.match(body["model"]) and effort != "none":
            message = f"Unsupported parameter: '{name}' is not supported with this model."
            raise Wrong(message, name, "unsupported_parameter")
    _check_tools(body)
    form = (body.get("text") or {}).get("format") or {"type": "text"}
    if form.get("type") == "json_schema":
        if not TOOL_NAME.match(str(form.get("name", ""))) or not isinstance(form.get("schema"), dict):
            raise Wrong(
                "Missing required parameter: 'text.format.name'.", "text.format", "missing_required_parameter"
            )
        if form.get("strict"):
            check_strict(form["schema"], f"text.format '{form['name']}'")
    if isinstance(body["input"], list):
        _check_items(body["input"])


def _check_tools(body: dict[str, Any]) -> None:
    names = []
    for index, tool in enumerate(body.get("tools") or ()):
        if tool.get("type") != "function" or not TOOL_NAME.match(str(tool.get("name", ""))):
            raise Wrong(
                f"Invalid 'tools[{index}].name': string does not match pattern.", "tools", "invalid_value"
            )
        if "strict" not in tool or not isinstance(tool.get("parameters"), dict):
            raise Wrong(f"Missing required parameter: 'tools[{index}].parameters'.", "tools")
        if tool["strict"]:
            check_strict(tool["parameters"], f"function '{tool['name']}'")
        names.append(tool["name"])
    choice = body.get("tool_choice", "auto")
    if isinstance(choice, dict) and choice.get("name") not in names:
        raise Wrong("Tool choice 'function' not found in 'tools' parameter.", "tool_choice")


def _check_items(items: list[Any]) -> None:
    asked: list[str] = []
    answered: list[str] = []
    for index, item in enumerate(items):
        where = f"input[{index}]"
        match item.get("type", "message"):
            case "message":
                _check_message(item, where)
            case "function_call":
                if (
                    not item.get("call_id")
                    or len(item["call_id"]) > 64
                    or not TOOL_NAME.match(item.get("name", ""))
                ):
                    raise Wrong(f"Invalid '{where}'.", where, "invalid_value")
                if not isinstance(item.get("arguments"), str):
                    raise Wrong(f"Invalid type for '{where}.arguments'.", where, "invalid_type")
                asked.append(item["call_id"])
            case "function_call_output":
                if item.get("call_id") not in asked:
                    raise Wrong(
                        f"No tool call found for function call output with call_id {item.get('call_id')}."
                    )
                answered.append(item["call_id"])
            case "reasoning":
                _check_reasoning(item, items[index + 1 :], where)
            case kind:
                raise Wrong(f"Invalid value: '{kind}'.", where, "invalid_value")
    open_calls = [call for call in asked if call not in answered]
    if open_calls:
        raise Wrong(f"No tool output found for function call {open_calls[0]}.", "input")


def _check_message(item: dict[str, Any], where: str) -> None:
    known = PARTS.get(item.get("role", ""))
    if known is None:
        raise Wrong(f"Invalid value: '{item.get('role')}'.", f"{where}.role", "invalid_value")
    content = item.get("content")
    if isinstance(content, str):
        return
    if not isinstance(content, list):
        raise Wrong(f"Invalid type for '{where}.content'.", where, "invalid_type")
    for part in content:
        if part.get("type") not in known:
            raise Wrong(f"Invalid value: '{part.get('type')}'.", f"{where}.content", "invalid_value")


def _check_reasoning(item: dict[str, Any], following: list[Any], where: str) -> None:
    if not item.get("id") or "summary" not in item:
        raise Wrong(f"Missing required parameter: '{where}.summary'.", where, "missing_required_parameter")
    if not str(item.get("encrypted_content") or "").startswith(SEAL):
        message = (
            f"Item with id '{item['id']}' not found. Items are not persisted when `store` is set to false."
        )
        raise Wrong(message, "input")
    after = following[0] if following else {}
    if after.get("type") not in ("function_call", "reasoning") and after.get("role") != "assistant":
        message = f"Item '{item['id']}' of type 'reasoning' was provided without its required following item."
        raise Wrong(message, "input")


def usage(server: OpenAIEmulator, answer: Answer, request: Recorded) -> dict[str, Any]:
    """Input includes what was cached, output the reasoning."""
    return {
        "input_tokens": request.prompt_tokens,
        "input_tokens_details": {
            "cached_tokens": answer.cached_tokens,
            "cache_write_tokens": answer.cache_write_tokens,
        },
        "output_tokens": request.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": server.reasoning_tokens(answer)},
        "total_tokens": request.prompt_tokens + request.completion_tokens,
    }


def items(server: OpenAIEmulator, answer: Answer, request: Recorded) -> list[dict[str, Any]]:
    """The output items: reasoning before what it led to."""
    found: list[dict[str, Any]] = []
    if answer.reasoning:
        reasoning: dict[str, Any] = {"id": server.serial("rs_"), "type": "reasoning", "summary": []}
        if "reasoning.encrypted_content" in (request.body.get("include") or ()):
            reasoning["encrypted_content"] = server.serial(SEAL)
        if (request.body.get("reasoning") or {}).get("summary"):
            reasoning["summary"] = [{"type": "summary_text", "text": answer.reasoning}]
        found.append(reasoning)
    if answer.text:
        content = [{"type": "output_text", "text": answer.text, "annotations": [], "logprobs": []}]
        message = {"id": server.serial("msg_"), "type": "message", "status": "completed", "role": "assistant"}
        found.append({**message, "content": content})
    for tool in answer.tools:
        call = {"id": server.serial("fc_"), "type": "function_call", "status": "completed", "name": tool.name}
        call_id = tool.id or server.serial("call_")
        found.append({**call, "call_id": call_id, "arguments": arguments_text(tool.arguments)})
    return found


def render(server: OpenAIEmulator, answer: Answer, request: Recorded) -> dict[str, Any]:
    """The whole response."""
    reasons = {"length": "max_output_tokens", "content_filter": "content_filter"}
    reason = reasons.get(answer.finish)
    return {
        "id": server.serial("resp_"),
        "object": "response",
        "created_at": CREATED,
        "status": "incomplete" if reason else "completed",
        "error": None,
        "incomplete_details": {"reason": reason} if reason else None,
        "instructions": None,
        "metadata": {},
        "model": request.model,
        "output": items(server, answer, request),
        "parallel_tool_calls": True,
        "service_tier": answer.service_tier or "default",
        "temperature": 1.0,
        "tool_choice": request.body.get("tool_choice", "auto"),
        "tools": request.body.get("tools", []),
        "top_p": 1.0,
        "usage": usage(server, answer, request),
    }


def unfinished(whole: dict[str, Any], status: str) -> dict[str, Any]:
    """A response that is not there yet."""
    return {**whole, "status": status, "output": [], "usage": None, "incomplete_details": None}


class _Events:
    """Numbers the events of one stream."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []

    def add(self, kind: str, content: bool = False, **body: Any) -> None:
        data = {"type": kind, "sequence_number": len(self.frames), **body}
        self.frames.append(Frame(f"event: {kind}\ndata: ".encode() + dump(data) + b"\n\n", content))


def frames(server: OpenAIEmulator, answer: Answer, request: Recorded) -> list[Frame]:
    """The stream of a response."""
    whole = render(server, answer, request)
    begun = unfinished(whole, "in_progress")
    events = _Events()
    events.add("response.created", response=begun)
    events.add("response.in_progress", response=begun)
    for index, item in enumerate(whole["output"]):
        _item(events, index, item)
    events.add(f"response.{whole['status']}", response=whole)
    return events.frames


def _item(events: _Events, index: int, item: dict[str, Any]) -> None:
    place: dict[str, Any] = {"output_index": index, "item_id": item["id"]}
    match item["type"]:
        case "message":
            events.add("response.output_item.added", output_index=index, item={**item, "content": []})
            text = item["content"][0]["text"]
            part = {**item["content"][0], "text": ""}
            events.add("response.content_part.added", content_index=0, part=part, **place)
            for piece in pieces(text):
                events.add(
                    "response.output_text.delta", True, content_index=0, delta=piece, logprobs=[], **place
                )
            events.add("response.output_text.done", content_index=0, text=text, logprobs=[], **place)
        case "function_call":
            events.add("response.output_item.added", True, output_index=index, item={**item, "arguments": ""})
            written = item["arguments"]
            for start in range(0, len(written), 7):
                delta = written[start : start + 7]
                events.add("response.function_call_arguments.delta", True, delta=delta, **place)
            done = {"arguments": written, "name": item["name"]}
            events.add("response.function_call_arguments.done", **done, **place)
        case _:
            events.add(
                "response.output_item.added", output_index=index, item={**item, "encrypted_content": None}
            )
            for summary in item["summary"]:
                for piece in pieces(summary["text"]):
                    more = {"summary_index": 0, "delta": piece}
                    events.add("response.reasoning_summary_text.delta", True, **more, **place)
    events.add("response.output_item.done", output_index=index, item=item)


def stream_error(server: OpenAIEmulator, fail: Fail, request: Recorded) -> bytes:
    """A failure inside a stream."""
    body = server.refusal(fail, request).body
    inner = body["error"] if isinstance(body, dict) else {"code": "server_error", "message": "Bad gateway"}
    if isinstance(inner, str):  # xAI
        inner = {"code": body["code"], "message": inner}
    code = inner.get("code") or inner.get("type")
    data = {"type": "error", "sequence_number": 9, "code": code, "message": inner["message"], "param": None}
    return b"event: error\ndata: " + dump(data) + b"\n\n"
