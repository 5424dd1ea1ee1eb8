"""A package a provider. `BUILTIN` says where each lives, so that nothing is imported before it is used."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xml_pipeline.llm.http.backend import Backend

ENTRY_POINT_GROUP = "xml_pipeline.providers"

BUILTIN: dict[str, str] = {
    "openai": "xml_pipeline.llm.providers.openai:OpenAIBackend",
    "anthropic": "xml_pipeline.llm.providers.anthropic:AnthropicBackend",
    "gemini": "xml_pipeline.llm.providers.gemini:GeminiBackend",
    "ollama": "xml_pipeline.llm.providers.ollama:OllamaBackend",
    "xai": "xml_pipeline.llm.providers.xai:XAIBackend",
    "openai-compatible": "xml_pipeline.llm.providers.openai_compatible:OpenAICompatibleBackend",
    "scripted": "xml_pipeline.llm.providers.scripted:ScriptedBackend",
}


class ProviderClasses(MutableMapping[str, "type[Backend]"]):
    """A mapping that imports a provider when it is first asked for.

    `PROVIDER_CLASSES["mine"] = MyBackend` registers one; an installed distribution does the same with an
    entry point of the group `xml_pipeline.providers`. What is set by hand comes first, then the built-in ones, then
    entry points, so that installing a package cannot replace a built-in provider.
    """

    def __init__(self, builtin: dict[str, str]) -> None:
        self._known: dict[str, type[Backend] | str] = dict(builtin)
        self._entry_points: dict[str, Any] | None = None

    def _installed(self) -> dict[str, Any]:
        if self._entry_points is None:
            from importlib.metadata import entry_points

            self._entry_points = {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP)}
        return self._entry_points

    def __getitem__(self, provider: str) -> type[Backend]:
        found = self._known.get(provider)
        if isinstance(found, str):
            module, _, name = found.partition(":")
            found = self._known[provider] = getattr(import_module(module), name)
        if found is None:
            point = self._installed().get(provider)
            if point is None:
                raise KeyError(provider)
            found = self._known[provider] = point.load()
        assert not isinstance(found, str)
        return found

    def __setitem__(self, provider: str, backend: type[Backend]) -> None:
        self._known[provider] = backend

    def __delitem__(self, provider: str) -> None:
        del self._known[provider]

    def __iter__(self) -> Iterator[str]:
        yield from self._known
        yield from (name for name in self._installed() if name not in self._known)

    def __len__(self) -> int:
        return len(self._known.keys() | self._installed().keys())

    def __contains__(self, provider: object) -> bool:
        return provider in self._known or provider in self._installed()


PROVIDER_CLASSES = ProviderClasses(BUILTIN)
"""Provider name → `Backend` subclass. Add your own: `PROVIDER_CLASSES["mine"] = MyBackend`."""
