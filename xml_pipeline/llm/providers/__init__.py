"""One file a provider; `BUILTIN` says where each lives, so that nothing is imported before it is used."""

from __future__ import annotations

BUILTIN: dict[str, str] = {
    "openai": "xml_pipeline.llm.providers.openai:OpenAIBackend",
    "anthropic": "xml_pipeline.llm.providers.anthropic:AnthropicBackend",
    "gemini": "xml_pipeline.llm.providers.gemini:GeminiBackend",
    "ollama": "xml_pipeline.llm.providers.ollama:OllamaBackend",
    "xai": "xml_pipeline.llm.providers.xai:XAIBackend",
    "openai-compatible": "xml_pipeline.llm.providers.openai_compatible:OpenAICompatibleBackend",
    "scripted": "xml_pipeline.llm.providers.scripted:ScriptedBackend",
}
