"""What a name of the `models:` section stands for: models, and how they are asked when the call does not say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from xml_pipeline.errors import ConfigError, InvalidRequestError, listing
from xml_pipeline.llm.completion import Timeouts
from xml_pipeline.llm.types import LLMRequest


@dataclass(frozen=True, slots=True)
class Preset:
    """One name.

    Attributes:
        chain: a model, or a chain of models to fall back on.
        temperature, max_output_tokens, reasoning_effort, cache_ttl: as the options of `complete()`, where a call does
            not state them; None for the provider's own.
        timeouts: instead of the router's; None for those.
    """

    chain: Sequence[str]
    temperature: float | None = None
    max_output_tokens: int | None = None
    reasoning_effort: str | None = None
    cache_ttl: str | None = None
    timeouts: Timeouts | None = None

    @property
    def says_how(self) -> bool:
        """Whether it says more than which models are meant."""
        return any(getattr(self, each.name) is not None for each in fields(self) if each.name != "chain")

    def of(self, request: LLMRequest) -> LLMRequest:
        """The request, with what it leaves open."""
        given: dict[str, Any] = {
            "temperature": self.temperature,
            "max_tokens": self.max_output_tokens,
            "reasoning_effort": self.reasoning_effort,
            "cache_ttl": self.cache_ttl,
        }
        opens = {
            name: value for name, value in given.items() if value is not None and not getattr(request, name)
        }
        if request.temperature is not None:
            opens.pop("temperature", None)
        return replace(request, **opens) if opens else request


def presets_of(models: Mapping[str, str | Sequence[str] | Preset]) -> dict[str, Preset]:
    """Name → preset; one model is a chain of one.

    Raises:
        ConfigError: a chain names a preset that says how its models are asked: it would not be heard there.
    """
    found = {
        name: each if isinstance(each, Preset) else Preset((each,) if isinstance(each, str) else each)
        for name, each in models.items()
    }
    for name, preset in found.items():
        for step in preset.chain:
            if step in found and found[step].says_how:
                raise ConfigError(
                    f"models.{name} leads to '{step}', which has parameters of its own; they hold for calls that name"
                    f" '{step}' only. Name its models in `{name}`, or write the parameters there"
                )
    return found


class Routing:
    """Which name of `models` serves an operation whose call names no model.

    Args:
        names: operation → a model or a name of `models`; `default` for every other operation.
    """

    def __init__(self, names: Mapping[str, str] | None = None) -> None:
        self.names = dict(names or {})

    def model(self, operation: str) -> str:
        """The model that a call of this operation means.

        Raises:
            InvalidRequestError: nothing says which one.
        """
        found = self.names.get(operation) or self.names.get("default")
        if found is None:
            what = f"the operation '{operation}'" if operation else "calls without an operation"
            raise InvalidRequestError(
                f"the call names no model, and `routing` does not say which one serves {what} (it knows:"
                f" {listing(self.names) or 'none'})"
            )
        return found
