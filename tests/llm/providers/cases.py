"""Every backend with its emulator: what the provider tests run over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import tests.emulators as emulators
from tests.emulators import Emulator
from xml_pipeline.llm import PROVIDER_CLASSES, Backend


@dataclass(frozen=True)
class Case:
    """One provider.

    Attributes:
        emulator: starts its emulator.
        model: one it serves.
        settings: of the backend.
        prefix: of the paths, where the SDK adds it and our base_url holds it.
    """

    name: str
    emulator: Callable[[], Emulator]
    model: str
    settings: dict[str, Any] = field(default_factory=dict)
    prefix: str = ""

    def backend(self, base_url: str, key: str, **more: Any) -> Backend:
        """The backend, pointed at an emulator."""
        given = {"base_url": base_url + self.prefix, "api_key": key, **self.settings, **more}
        return PROVIDER_CLASSES[self.name](**given)

    def __str__(self) -> str:
        api = self.settings.get("api")
        return str(
            self.settings.get("preset")
            or self.settings.get("name")
            or (f"{self.name}-{api}" if api else self.name)
        )


COMPATIBLE = tuple(
    Case("openai-compatible", kind, "meta/llama-3", {"preset": kind.preset}) for kind in emulators.COMPATIBLE
)
CASES = (
    Case("openai", emulators.OpenAIEmulator, "gpt-4o"),
    Case("openai", emulators.OpenAIEmulator, "gpt-5.6-sol", {"api": "responses"}),
    Case("anthropic", emulators.AnthropicEmulator, "claude-sonnet-4-5"),
    Case("gemini", emulators.GeminiEmulator, "gemini-3-pro", prefix="/v1beta"),
    Case("gemini", emulators.GeminiEmulator, "gemini-2.5-flash", {"name": "gemini-2.5"}, prefix="/v1beta"),
    Case("ollama", emulators.OllamaEmulator, "llama3"),
    Case("xai", emulators.XAIEmulator, "grok-4.1"),
    Case("xai", emulators.XAIEmulator, "grok-4.7", {"api": "responses"}),
    *COMPATIBLE,
)
