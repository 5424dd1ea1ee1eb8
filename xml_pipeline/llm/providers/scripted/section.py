"""The YAML keys of a scripted backend."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from xml_pipeline.errors import ConfigError
from xml_pipeline.llm.providers.scripted import Rule

Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class CallSection(_Section):
    """One tool call of a scripted answer."""

    tool: str = Field(description="The tool's name.")
    arguments: str | dict[str, Any] = Field(
        "{}", description="A mapping, or JSON text, with groups of `match`."
    )


class RuleSection(_Section):
    """One rule of a scripted backend; the first that fits the last message answers."""

    match: str = Field(
        "",
        description="Regular expression, searched in the last message's text, or in all tool results since the"
        " model's last answer; empty fits any.",
    )
    on: Literal["user", "tool"] = Field("user", description="Which last message it looks at.")
    model: str = Field("*", description="Name or glob of the model asked for.")
    agent: str = Field("*", description="Name or glob of the agent that asks.")
    reply: str = Field("", description="The answer; `\\1` and `\\g<name>` stand for the groups of `match`.")
    tool: str = Field("", description="Name of a tool to call instead of answering.")
    arguments: str | dict[str, Any] = Field(
        "{}", description="Arguments of that call: a mapping, or JSON text, with groups as in `reply`."
    )
    calls: tuple[CallSection, ...] = Field(
        (), strict=False, description="Further tool calls in the same answer."
    )
    error: str | None = Field(None, description="Name of an error to fail with, as `RateLimitedError`.")
    retry_after: Amount | None = Field(None, description="Seconds that the error asks to wait.")
    latency: Amount = Field(0.0, description="Seconds until the answer.")
    chunks: tuple[str, ...] = Field(
        (), strict=False, description="Pieces of a streamed answer; by words when empty."
    )
    fail_after: int | None = Field(None, ge=0, description="Pieces after which a stream breaks with `error`.")
    usage: dict[str, int] | None = Field(
        None, description="Tokens to report; by the texts' length when absent."
    )
    finish_reason: str = Field("", description="Why the answer ended; `stop` or `tool_calls` when empty.")
    times: Count | None = Field(None, description="How often the rule holds; always when absent.")

    @model_validator(mode="after")
    def _makes_a_rule(self) -> RuleSection:
        try:
            self.rule()
        except ConfigError as error:
            raise ValueError(str(error)) from None
        return self

    def rule(self) -> Rule:
        """The rule it describes."""
        calls = tuple((call.tool, call.arguments) for call in self.calls)
        return Rule(**{**dict(self), "calls": calls})


class ScriptedKeys(_Section):
    """What a scripted backend answers, and what it claims to know."""

    native_tools: bool = Field(
        True, description="Whether it claims to call tools; if not, they are put into words."
    )
    native_schema: bool = Field(False, description="Whether it claims to take a JSON Schema for its answer.")
    rules: tuple[RuleSection, ...] = Field((), strict=False, description="Its answers.")

    def settings(self) -> dict[str, Any]:
        """The backend's fields that are given."""
        given = {name: getattr(self, name) for name in self.model_fields_set}
        return {**given, "rules": tuple(rule.rule() for rule in self.rules)}
