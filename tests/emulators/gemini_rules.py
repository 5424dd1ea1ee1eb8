"""The checks Google's generateContent makes on a request body."""

from __future__ import annotations

import re
from typing import Any

PARAMETERS = frozenset(
    [
        "contents",
        "tools",
        "toolConfig",
        "safetySettings",
        "systemInstruction",
        "generationConfig",
        "cachedContent",
        "model",
        "store",
        "serviceTier",
    ]
)
GENERATION = frozenset(
    [
        "stopSequences",
        "responseMimeType",
        "responseSchema",
        "responseJsonSchema",
        "_responseJsonSchema",
        "responseModalities",
        "candidateCount",
        "maxOutputTokens",
        "temperature",
        "topP",
        "topK",
        "seed",
        "presencePenalty",
        "frequencyPenalty",
        "responseLogprobs",
        "logprobs",
        "enableEnhancedCivicAnswers",
        "speechConfig",
        "thinkingConfig",
        "imageConfig",
        "mediaResolution",
    ]
)
PART = frozenset(
    [
        "text",
        "inlineData",
        "fileData",
        "functionCall",
        "functionResponse",
        "thought",
        "thoughtSignature",
        "executableCode",
        "codeExecutionResult",
    ]
)
SCHEMA = frozenset(
    [
        "type",
        "format",
        "title",
        "description",
        "nullable",
        "enum",
        "maxItems",
        "minItems",
        "properties",
        "required",
        "minProperties",
        "maxProperties",
        "minLength",
        "maxLength",
        "pattern",
        "example",
        "anyOf",
        "propertyOrdering",
        "default",
        "items",
        "minimum",
        "maximum",
    ]
)
TOOL_NAME = re.compile(r"^[a-zA-Z_][a-zA-Z0-9_.:-]{0,127}$")
SENTINEL = "skip_thought_signature_validator"


class Wrong(Exception):
    """A broken rule, in Google's words."""


def _known(value: dict[str, Any], known: frozenset[str], where: str) -> None:
    for name in value:
        if name not in known:
            place = f" at '{where}'" if where else ""
            raise Wrong(f'Invalid JSON payload received. Unknown name "{name}"{place}: Cannot find field.')


def check(body: Any, model: str, *, signature_prefix: str) -> None:
    """Raise Wrong for the first rule that `body` breaks."""
    if not isinstance(body, dict):
        raise Wrong("Invalid JSON payload received. Root element must be a message.")
    _known(body, PARAMETERS, "")
    config = body.get("generationConfig", {})
    _known(config, GENERATION, "generation_config")
    if ("responseSchema" in config or "responseJsonSchema" in config) and (
        config.get("responseMimeType") != "application/json"
    ):
        raise Wrong("Response schema is only supported with a response mime type of application/json.")
    if "responseSchema" in config:
        _check_schema(config["responseSchema"], "generation_config.response_schema")
    if body.get("tools") and config.get("responseMimeType") == "application/json" and "gemini-3" not in model:
        raise Wrong("Function calling with a response mime type: 'application/json' is unsupported")
    thinking = config.get("thinkingConfig", {})
    if "thinkingLevel" in thinking and "thinkingBudget" in thinking:
        raise Wrong("You can only set one of thinking budget and thinking level.")
    if "thinkingLevel" in thinking and not model.startswith("gemini-3"):
        raise Wrong("Thinking level is not supported for this model.")
    if body.get("cachedContent") and {"systemInstruction", "tools", "toolConfig"} & set(body):
        raise Wrong(
            "CachedContent can not be used with GenerateContent request setting system_instruction, tools or"
            " tool_config."
        )
    system = body.get("systemInstruction")
    if system is not None:
        _check_parts(system.get("parts"), "system_instruction")
    _check_tools(body)
    _check_contents(body.get("contents"), model, signature_prefix)


CACHED = frozenset(
    ("model", "systemInstruction", "tools", "toolConfig", "contents", "ttl", "expireTime", "displayName")
)


def check_cached(body: Any) -> None:
    """Raise Wrong for the first rule of CachedContent that `body` breaks."""
    if not isinstance(body, dict):
        raise Wrong("Invalid JSON payload received. Root element must be a message.")
    _known(body, CACHED, "cached_content")
    if not re.fullmatch(r"models/[^/]+", str(body.get("model", ""))):
        raise Wrong("* CachedContent.model: model is required, as models/{model}")
    if body.get("systemInstruction") is not None:
        _check_parts(body["systemInstruction"].get("parts"), "system_instruction")
    _check_tools(body)


def _check_schema(schema: Any, where: str) -> None:
    if not isinstance(schema, dict):
        return
    _known(schema, SCHEMA, where)
    for name, part in schema.get("properties", {}).items():
        _check_schema(part, f"{where}.properties[{name}]")
    _check_schema(schema.get("items"), f"{where}.items")
    for part in schema.get("anyOf", ()):
        _check_schema(part, f"{where}.any_of")


def _check_tools(body: dict[str, Any]) -> None:
    names: list[str] = []
    for index, tool in enumerate(body.get("tools", ())):
        declarations = tool.get("functionDeclarations", [])
        if "functionDeclarations" in tool and not declarations:
            raise Wrong(f"* GenerateContentRequest.tools[{index}].function_declarations: should not be empty")
        for place, declaration in enumerate(declarations):
            where = f"tools[{index}].function_declarations[{place}]"
            _known(
                declaration,
                frozenset(
                    (
                        "name",
                        "description",
                        "parameters",
                        "parametersJsonSchema",
                        "parameters_json_schema",  # protobuf takes either spelling; the SDK sends this
                        "response",
                        "responseJsonSchema",
                        "behavior",
                    )
                ),
                where,
            )
            if not TOOL_NAME.match(str(declaration.get("name", ""))):
                raise Wrong(
                    f"* GenerateContentRequest.{where}.name: Invalid function name. Must start with a"
                    " letter or"
                    " an underscore. Must be alphameric (a-z, A-Z, 0-9), underscores (_), dots (.),"
                    " colons (:),"
                    " or dashes (-), with a maximum length"
                    " of 128."
                )
            if "parameters" in declaration:
                _check_schema(declaration["parameters"], f"{where}.parameters")
            if "parameters" in declaration and "parametersJsonSchema" in declaration:
                raise Wrong(f"{where}: only one of parameters and parameters_json_schema may be set")
            names.append(declaration["name"])
    if len(set(names)) != len(names):
        raise Wrong("Duplicate function declaration found.")
    calling = body.get("toolConfig", {}).get("functionCallingConfig", {})
    if calling.get("mode", "AUTO") not in ("AUTO", "ANY", "NONE", "VALIDATED"):
        raise Wrong("Invalid value at 'tool_config.function_calling_config.mode'")
    allowed = calling.get("allowedFunctionNames", [])
    if allowed and calling.get("mode") not in ("ANY", "VALIDATED"):
        raise Wrong(
            "Function calling config is set without an appropriate mode: allowed_function_names need"
            " mode ANY."
        )
    if set(allowed) - set(names):
        raise Wrong("allowed_function_names must be a subset of the declared functions.")


def _check_parts(parts: Any, where: str) -> None:
    if not isinstance(parts, list) or not parts:
        raise Wrong(f"* {where}.parts: contents.parts must not be empty.")
    for part in parts:
        _known(part, PART, f"{where}.parts")
        data = set(part) - {"thought", "thoughtSignature"}
        if len(data) != 1:
            raise Wrong(f"* {where}.parts: required oneof field 'data' must have one initialized field")


def _check_contents(contents: Any, model: str, prefix: str) -> None:
    if not isinstance(contents, list) or not contents:
        raise Wrong("* GenerateContentRequest.contents: contents is not specified")
    previous: dict[str, Any] | None = None
    for index, content in enumerate(contents):
        if content.get("role") not in ("user", "model"):
            raise Wrong(f"Please use a valid role: user, model. (contents[{index}])")
        _known(content, frozenset(("role", "parts")), f"contents[{index}]")
        _check_parts(content.get("parts"), f"GenerateContentRequest.contents[{index}]")
        calls = _of(previous, "functionCall")
        answers = _of(content, "functionResponse")
        if answers and len(calls) != len(answers):
            raise Wrong(
                "Please ensure that the number of function response parts is equal to the number of function"
                " call parts of the function call turn."
            )
        if calls and not answers:
            raise Wrong(
                "Please ensure that function response turn comes immediately after a function call turn."
            )
        for call, answer in zip(calls, answers, strict=False):
            _check_answer(call, answer, index)
        if _of(content, "functionCall") and (
            content["role"] != "model" or previous is None or previous["role"] != "user"
        ):
            raise Wrong(
                "Please ensure that function call turn comes immediately after a user turn or after a"
                " function"
                " response turn."
            )
        previous = content
    if _of(previous, "functionCall"):
        raise Wrong("Please ensure that function response turn comes immediately after a function call turn.")
    _check_signatures(contents, model, prefix)


def _of(content: dict[str, Any] | None, kind: str) -> list[dict[str, Any]]:
    return [part[kind] for part in content["parts"] if kind in part] if content else []


def _check_answer(call: dict[str, Any], answer: dict[str, Any], index: int) -> None:
    _known(call, frozenset(("id", "name", "args")), f"contents[{index}].parts.function_call")
    _known(
        answer,
        frozenset(("id", "name", "response", "parts", "scheduling", "willContinue")),
        f"contents[{index}].parts.function_response",
    )
    if not answer.get("name"):
        raise Wrong(
            f"* GenerateContentRequest.contents[{index}].parts.function_response.name: Name cannot be empty."
        )
    if answer["name"] != call.get("name"):
        raise Wrong("Please ensure that function response names match the function call names.")
    if not isinstance(answer.get("response"), dict):
        raise Wrong(f"Invalid value at 'contents[{index}].parts.function_response.response' (Struct)")
    if not isinstance(call.get("args", {}), dict):
        raise Wrong(f"Invalid value at 'contents[{index}].parts.function_call.args' (Struct)")


def _check_signatures(contents: list[dict[str, Any]], model: str, prefix: str) -> None:
    """Gemini 3 wants the first call of every step of the current turn signed, as it signed it."""
    if not model.startswith("gemini-3"):
        return
    start = max(
        (
            index
            for index, content in enumerate(contents)
            if content["role"] == "user" and any("text" in part for part in content["parts"])
        ),
        default=0,
    )
    for index, content in enumerate(contents[start:], start):
        signed = [part for part in content["parts"] if "functionCall" in part][:1]
        for part in signed:
            signature = part.get("thoughtSignature", "")
            name = part["functionCall"].get("name")
            if not signature:
                raise Wrong(
                    "Function call is missing a thought_signature in functionCall parts. This is required for"
                    " tools to work correctly, and missing thought_signature may lead to degraded model"
                    f" performance. Additional data, function call `default_api:{name}` , position {index}."
                )
            if signature != SENTINEL and not signature.startswith(prefix):
                raise Wrong("Thought signature is not valid.")
