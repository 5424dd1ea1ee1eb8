"""The checks OpenAI's chat completions endpoint makes on a request body."""

from __future__ import annotations

import re
from typing import Any

PARAMETERS = frozenset(
    [
        "messages",
        "model",
        "audio",
        "frequency_penalty",
        "function_call",
        "functions",
        "logit_bias",
        "logprobs",
        "max_completion_tokens",
        "max_tokens",
        "metadata",
        "modalities",
        "moderation",
        "n",
        "parallel_tool_calls",
        "prediction",
        "presence_penalty",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "reasoning_effort",
        "response_format",
        "safety_identifier",
        "seed",
        "service_tier",
        "stop",
        "store",
        "stream",
        "stream_options",
        "temperature",
        "tool_choice",
        "tools",
        "top_logprobs",
        "top_p",
        "user",
        "verbosity",
        "web_search_options",
    ]
)
REASONING_MODEL = re.compile(r"^(o\d|gpt-5(?!-chat)|gpt-[6-9])")
NO_TOOLS_WITH_REASONING = re.compile(r"^gpt-(5\.[4-9]|[6-9])")
TOOL_NAME = re.compile(r"^[a-zA-Z0-9_-]{1,64}$")
SAMPLING = ("temperature", "top_p", "presence_penalty", "frequency_penalty", "logprobs", "logit_bias")
DEFAULTS = {"temperature": 1, "top_p": 1, "presence_penalty": 0, "frequency_penalty": 0}


class Wrong(Exception):
    """A broken rule: the message, the parameter and the code of OpenAI's error object."""

    def __init__(self, message: str, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.message, self.param, self.code = message, param, code


def check(body: Any, *, strict_parameters: bool = True, reasoning_rules: bool = True) -> None:
    """Raise Wrong for the first rule of api.openai.com that `body` breaks."""
    if not isinstance(body, dict):
        raise Wrong("We could not parse the JSON body of your request.")
    if not isinstance(body.get("model"), str) or not body["model"]:
        raise Wrong("you must provide a model parameter")
    if strict_parameters:
        for name in body:
            if name not in PARAMETERS:
                raise Wrong(f"Unknown parameter: '{name}'.", name, "unknown_parameter")
    for name, value in body.items():
        if value is None and name in ("max_tokens", "tools", "messages", "tool_choice", "stream_options"):
            raise Wrong(f"Invalid type for '{name}': got null instead.", name, "invalid_type")
    if "stream_options" in body and body.get("stream") is not True:
        raise Wrong(
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.", "stream_options"
        )
    if reasoning_rules:
        _check_reasoning(body)
    _check_tools(body)
    _check_format(body)
    check_messages(body.get("messages"))


def _check_reasoning(body: dict[str, Any]) -> None:
    model = body["model"]
    if not REASONING_MODEL.match(model):
        if "reasoning_effort" in body:
            raise Wrong("Unrecognized request argument supplied: reasoning_effort", "reasoning_effort")
        return
    if "max_tokens" in body:
        raise Wrong(
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use"
            " 'max_completion_tokens'"
            " instead.",
            "max_tokens",
            "unsupported_parameter",
        )
    if body.get("reasoning_effort") == "none":
        return
    if body.get("tools") and NO_TOOLS_WITH_REASONING.match(model):
        raise Wrong(
            f"Function tools with reasoning_effort are not supported for {model} in /v1/chat/completions. To use"
            " function tools, use /v1/responses or set reasoning_effort to 'none'.",
            "reasoning_effort",
        )
    for name in SAMPLING:
        if name in body and body[name] != DEFAULTS.get(name):
            raise Wrong(
                f"Unsupported value: '{name}' does not support {body[name]} with this model. Only the default"
                " value is supported.",
                name,
                "unsupported_value",
            )
    if "stop" in body:
        raise Wrong(
            "Unsupported parameter: 'stop' is not supported with this model.", "stop", "unsupported_parameter"
        )


def _check_tools(body: dict[str, Any]) -> None:
    if "tools" not in body:
        for name in ("tool_choice", "parallel_tool_calls"):
            if name in body and body[name] != "none":
                raise Wrong(f"'{name}' is only allowed when 'tools' are specified.", name)
        return
    if not body["tools"]:
        raise Wrong("[] is too short - 'tools'", "tools", "empty_array")
    seen = set()
    for index, tool in enumerate(body["tools"]):
        where = f"tools[{index}]"
        if tool.get("type") != "function" or not isinstance(tool.get("function"), dict):
            raise Wrong(
                f"Missing required parameter: '{where}.function'.", where, "missing_required_parameter"
            )
        function = tool["function"]
        if not TOOL_NAME.match(str(function.get("name", ""))):
            raise Wrong(
                f"Invalid '{where}.function.name': string does not match pattern. Expected a string"
                " that matches"
                " the pattern '^[a-zA-Z0-9_-]+$'.",
                f"{where}.function.name",
                "invalid_value",
            )
        if function["name"] in seen:
            raise Wrong(f"Tool names must be unique: '{function['name']}'.", where)
        seen.add(function["name"])
        parameters = function.get("parameters", {"type": "object", "properties": {}})
        if not isinstance(parameters, dict) or parameters.get("type") != "object":
            raise Wrong(
                f"Invalid schema for function '{function['name']}': schema must be a JSON Schema of 'type:"
                f' "object"\', got \'type: "{parameters.get("type")}"\'.',
                f"{where}.function.parameters",
                "invalid_function_parameters",
            )
        if function.get("strict"):
            check_strict(parameters, f"function '{function['name']}'")
    choice = body.get("tool_choice")
    if isinstance(choice, dict) and choice.get("function", {}).get("name") not in seen:
        raise Wrong("Tool choice 'function' not found in 'tools' parameter.", "tool_choice")


def check_strict(schema: Any, where: str) -> None:
    """The rules of strict schemas: closed objects, all properties required, no defaults."""
    if isinstance(schema, list):
        for part in schema:
            check_strict(part, where)
    if not isinstance(schema, dict):
        return
    if schema.get("type") == "object" or "properties" in schema:
        if schema.get("additionalProperties") is not False:
            raise Wrong(
                f"Invalid schema for {where}: In context=(), 'additionalProperties' is required to be"
                " supplied"
                " and to be false.",
                "response_format",
            )
        if sorted(schema.get("required", [])) != sorted(schema.get("properties", {})):
            raise Wrong(
                f"Invalid schema for {where}: In context=(), 'required' is required to be supplied and"
                " to be an"
                " array including every key in properties.",
                "response_format",
            )
    for keyword in ("default", "allOf", "oneOf", "not", "if", "dependentRequired", "patternProperties"):
        if keyword in schema:
            raise Wrong(
                f"Invalid schema for {where}: In context=(), '{keyword}' is not permitted.", "response_format"
            )
    for key in ("properties", "$defs"):
        for part in schema.get(key, {}).values():
            check_strict(part, where)
    for key in ("items", "anyOf", "prefixItems"):
        check_strict(schema.get(key), where)


def _check_format(body: dict[str, Any]) -> None:
    form = body.get("response_format")
    if form is None:
        return
    if form.get("type") == "json_object" and "json" not in str(body.get("messages")).lower():
        raise Wrong(
            "'messages' must contain the word 'json' in some form, to use 'response_format' of type"
            " 'json_object'.",
            "messages",
        )
    if form.get("type") != "json_schema":
        return
    named = form.get("json_schema", {})
    if not TOOL_NAME.match(str(named.get("name", ""))):
        raise Wrong(
            "Missing required parameter: 'response_format.json_schema.name'.",
            "response_format",
            "missing_required_parameter",
        )
    if not isinstance(named.get("schema"), dict):
        raise Wrong("Missing required parameter: 'response_format.json_schema.schema'.", "response_format")
    if named["schema"].get("type") != "object":
        raise Wrong(
            "Invalid schema for response_format: schema must be of 'type: \"object\"'.", "response_format"
        )
    if named.get("strict"):
        check_strict(named["schema"], f"response_format '{named['name']}'")


def check_messages(messages: Any) -> None:
    """The order of turns: every tool call is answered by the tool messages right after it."""
    if not isinstance(messages, list) or not messages:
        raise Wrong(
            "Invalid 'messages': empty array. Expected an array with minimum length 1.",
            "messages",
            "empty_array",
        )
    open_calls: list[str] = []
    for index, message in enumerate(messages):
        where = f"messages[{index}]"
        role = message.get("role")
        if role not in ("developer", "system", "user", "assistant", "tool"):
            raise Wrong(f"Invalid value: '{role}'.", f"{where}.role", "invalid_value")
        if role == "tool":
            if message.get("tool_call_id") not in open_calls:
                raise Wrong(
                    "Invalid parameter: messages with role 'tool' must be a response to a preceeding"
                    " message with"
                    " 'tool_calls'.",
                    f"{where}.role",
                )
            open_calls.remove(message["tool_call_id"])
            _check_content(message.get("content"), where)
            continue
        if open_calls:
            raise Wrong(
                "An assistant message with 'tool_calls' must be followed by tool messages responding to each"
                " 'tool_call_id'. The following tool_call_ids did not have response messages: "
                + ", ".join(open_calls),
                where,
            )
        if role == "assistant" and "tool_calls" in message:
            open_calls = _check_calls(message["tool_calls"], where)
            if message.get("content") is not None:
                _check_content(message["content"], where)
        else:
            _check_content(message.get("content"), where)
    if open_calls:
        raise Wrong(
            "An assistant message with 'tool_calls' must be followed by tool messages responding to each"
            " 'tool_call_id'. The following tool_call_ids did not have response messages: "
            + ", ".join(open_calls),
            "messages",
        )


def _check_content(content: Any, where: str) -> None:
    if isinstance(content, str):
        return
    if not isinstance(content, list):
        raise Wrong(f"Invalid value for 'content': expected a string, got {content}.", f"{where}.content")
    if not content:
        raise Wrong(f"Invalid '{where}.content': empty array.", f"{where}.content", "empty_array")
    for part in content:
        if part.get("type") not in ("text", "image_url", "input_audio", "file", "refusal"):
            raise Wrong(f"Invalid value: '{part.get('type')}'.", f"{where}.content", "invalid_value")


def _check_calls(calls: Any, where: str) -> list[str]:
    if not calls:
        raise Wrong(f"Invalid '{where}.tool_calls': empty array.", f"{where}.tool_calls", "empty_array")
    ids = []
    for index, call in enumerate(calls):
        place = f"{where}.tool_calls[{index}]"
        unknown = set(call) - {"id", "type", "function", "index"}
        if unknown:
            raise Wrong(f"Unknown parameter: '{place}.{unknown.pop()}'.", place, "unknown_parameter")
        if call.get("type") != "function":
            raise Wrong(f"Missing required parameter: '{place}.type'.", place, "missing_required_parameter")
        if not isinstance(call.get("id"), str) or not call["id"]:
            raise Wrong(f"Missing required parameter: '{place}.id'.", place, "missing_required_parameter")
        if len(call["id"]) > 40:
            raise Wrong(
                f"Invalid '{place}.id': string too long. Expected a string with maximum length 40, but"
                " got a string"
                f" with length {len(call['id'])} instead.",
                f"{place}.id",
                "string_above_max_length",
            )
        function = call.get("function", {})
        if not TOOL_NAME.match(str(function.get("name", ""))):
            raise Wrong(
                f"Invalid '{place}.function.name': string does not match pattern.", place, "invalid_value"
            )
        if not isinstance(function.get("arguments"), str):
            raise Wrong(
                f"Invalid type for '{place}.function.arguments': expected a string.", place, "invalid_type"
            )
        ids.append(call["id"])
    if len(set(ids)) != len(ids):
        raise Wrong(f"Duplicate value for 'tool_call_id' in {where}.", where)
    return ids
