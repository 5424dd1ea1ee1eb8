"""Neutral request → body of Gemini's generateContent. Pure.

What the API wants: roles `user` and `model`; all results of one turn's tool calls together, in the order of
the calls, right after them; and from Gemini 3 on a `thoughtSignature` on the first call of every step of
the current turn. Calls that other providers made have none; Google documents a stand-in for them
(ai.google.dev/gemini-api/docs/thought-signatures).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from xml_pipeline.llm.providers.history import (
    CONTINUE,
    arguments_of,
    calls_of,
    image_url,
    inline_data,
    merge_extra,
    own_data,
    parts_of,
    text_of,
    texts_of,
    unsupported,
)
from xml_pipeline.llm.providers.schemas import in_words
from xml_pipeline.llm.providers.tool_names import DOTTED, ToolNames, described
from xml_pipeline.llm.types import LLMRequest, Message, ToolSpec

FOREIGN_SIGNATURE = "skip_thought_signature_validator"
_SIGNED = re.compile(r"gemini-([3-9]|\d\d)")
_LEVELS = {"none": "minimal", "minimal": "minimal", "low": "low", "medium": "medium"}
_BUDGETS = {"none": 0, "minimal": 512, "low": 1024, "medium": 8192}
_HIGH_BUDGET = 24_576


def signs_calls(model: str) -> bool:
    """Whether the model wants its tool calls back signed (Gemini 3 and later)."""
    return _SIGNED.match(model.lower().removeprefix("models/")) is not None


def encode_body(request: LLMRequest, dialect: str) -> dict[str, Any]:
    """The JSON body; whether it streams is in the path."""
    names = ToolNames.of(request, DOTTED)
    contents = _Contents(names, dialect, signed=signs_calls(request.model))
    for message in request.messages:
        contents.add(message)
    native = _schema_fits(request)
    body = {"contents": contents.closed(), **_beginning(request, names, native=native)}
    generation = _generation(request, schema=native)
    if generation:
        body["generationConfig"] = generation
    if request.stored:
        body["cachedContent"] = request.stored
    body = merge_extra(body, request)
    if body.get("cachedContent"):  # holds these already, and the API refuses them beside it
        for key in _STORED - {"cachedContent"}:
            body.pop(key, None)
    return body


def stored_body(request: LLMRequest) -> dict[str, Any]:
    """What can be stored of the request by name: what it says before its contents; {} for nothing.

    Nothing is stored for a call that says so itself (`extra`), nor for one that must or must not call a tool, or
    answer by a schema in words: it begins otherwise than its neighbours, for once.
    """
    if (
        request.tool_choice not in (None, "auto")
        or not _schema_fits(request)
        or _STORED & request.extra.keys()
    ):
        return {}
    return _beginning(request, ToolNames.of(request, DOTTED), native=True)


_STORED = frozenset(("cachedContent", "systemInstruction", "tools", "toolConfig"))


def _schema_fits(request: LLMRequest) -> bool:
    """Whether the answer's schema can be asked for natively: before Gemini 3 tools exclude a JSON answer."""
    return request.response_schema is None or not request.tools or signs_calls(request.model)


def _beginning(request: LLMRequest, names: ToolNames, *, native: bool) -> dict[str, Any]:
    """What stands above the contents."""
    found: dict[str, Any] = {}
    system = [
        {"text": part["text"]}
        for message in request.messages
        if message["role"] == "system"
        for part in texts_of(message)
    ]
    if request.response_schema is not None and not native:
        system.append({"text": in_words(request.response_schema.schema)})
    if system:
        found["systemInstruction"] = {"parts": system}
    if request.tools:
        found["tools"] = [{"functionDeclarations": [_declaration(tool, names) for tool in request.tools]}]
        config = _calling(request.tool_choice, names)
        if config:
            found["toolConfig"] = {"functionCallingConfig": config}
    return found


def _declaration(tool: ToolSpec, names: ToolNames) -> dict[str, Any]:
    declared = described({"name": names.wire(tool.name)}, tool)
    if tool.parameters.get("properties"):
        declared["parametersJsonSchema"] = {
            key: value for key, value in tool.parameters.items() if key != "$schema"
        }
    return declared


def _calling(choice: str | None, names: ToolNames) -> dict[str, Any]:
    if choice is None or choice == "auto":
        return {}
    if choice == "none":
        return {"mode": "NONE"}
    if choice == "required":
        return {"mode": "ANY"}
    return {"mode": "ANY", "allowedFunctionNames": [names.wire(choice)]}


def _generation(request: LLMRequest, *, schema: bool) -> dict[str, Any]:
    optional: dict[str, Any] = {
        "temperature": request.temperature,
        "topP": request.top_p,
        "seed": request.seed,
        "maxOutputTokens": request.max_tokens,
        "stopSequences": list(request.stop) or None,
    }
    generation = {key: value for key, value in optional.items() if value is not None}
    if schema and request.response_schema is not None:
        generation["responseMimeType"] = "application/json"
        generation["responseJsonSchema"] = dict(request.response_schema.schema)
    effort = request.reasoning_effort
    if effort is not None:
        if signs_calls(request.model):
            thinking: dict[str, Any] = {"thinkingLevel": _LEVELS.get(effort, "high")}
        else:
            thinking = {"thinkingBudget": _BUDGETS.get(effort, _HIGH_BUDGET)}
        if effort != "none":
            thinking["includeThoughts"] = True
        generation["thinkingConfig"] = thinking
    return generation


class _Contents:
    """Messages → contents."""

    def __init__(self, names: ToolNames, dialect: str, *, signed: bool) -> None:
        self._names = names
        self._dialect = dialect
        self._signed = signed
        self._contents: list[dict[str, Any]] = []
        self._asked: list[Mapping[str, Any]] = []
        self._results: dict[str, dict[str, Any]] = {}

    def add(self, message: Message) -> None:
        """Append a message."""
        match message["role"]:
            case "tool":
                self._results[message["tool_call_id"]] = self._response(message)
                return
            case "system":
                return
        self._flush()
        if message["role"] == "assistant":
            self._extend("model", self._model_parts(message))
            self._asked = [*self._asked, *calls_of(message)]
        else:
            self._extend("user", [self._part(part) for part in parts_of(message)])

    def closed(self) -> list[dict[str, Any]]:
        """The contents, with the user turns that the API wants where there are none."""
        self._flush()
        contents = self._contents
        if not contents or contents[0]["role"] != "user":
            contents.insert(0, {"role": "user", "parts": [{"text": CONTINUE}]})
        return contents

    def _extend(self, role: str, parts: list[dict[str, Any]]) -> None:
        if not parts:
            return
        last = self._contents[-1] if self._contents else None
        if last is not None and last["role"] == role and "functionResponse" not in last["parts"][-1]:
            last["parts"] += parts
        else:
            self._contents.append({"role": role, "parts": parts})

    def _flush(self) -> None:
        """Write the results that came, in the order of their calls."""
        if not self._results:
            return
        parts = []
        for call in self._asked:
            response = self._results.pop(call["id"], None)
            if response is not None:
                response["name"] = self._names.wire(call["function"]["name"])
                call_id = own_data(call, self._dialect).get("id")
                if call_id:
                    response["id"] = call_id
                parts.append({"functionResponse": response})
        parts += [{"functionResponse": response} for response in self._results.values()]
        self._results, self._asked = {}, []
        self._contents.append({"role": "user", "parts": parts})

    def _response(self, message: Message) -> dict[str, Any]:
        key = "error" if message.get("is_error") else "output"
        name = self._names.wire(str(message.get("name") or "unknown"))
        return {"name": name, "response": {key: text_of(message)}}

    def _model_parts(self, message: Message) -> list[dict[str, Any]]:
        parts: list[dict[str, Any]] = [{"text": part["text"]} for part in texts_of(message)]
        signature = own_data(message, self._dialect).get("signature")
        if signature and parts:
            parts[-1]["thoughtSignature"] = signature
        for index, call in enumerate(calls_of(message)):
            parts.append(self._call(call, first=index == 0))
        return parts

    def _call(self, call: Mapping[str, Any], *, first: bool) -> dict[str, Any]:
        own = own_data(call, self._dialect)
        written: dict[str, Any] = {
            "name": self._names.wire(call["function"]["name"]),
            "args": arguments_of(call),
        }
        if own.get("id"):
            written["id"] = own["id"]
        part: dict[str, Any] = {"functionCall": written}
        if own.get("signature"):
            part["thoughtSignature"] = own["signature"]
        elif first and self._signed:
            part["thoughtSignature"] = FOREIGN_SIGNATURE
        return part

    def _part(self, part: Mapping[str, Any]) -> dict[str, Any]:
        if part["type"] == "text":
            return {"text": part["text"]}
        if part["type"] != "image_url":
            raise unsupported(part, "a message")
        url = image_url(part)
        data = inline_data(url)
        if data is None:
            return {"fileData": {"fileUri": url}}
        return {"inlineData": {"mimeType": data[0], "data": data[1]}}
