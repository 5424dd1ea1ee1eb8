"""The `llm:` section of organism.yaml. Its models live with the router they describe."""

from __future__ import annotations

from xml_pipeline.llm.section import BackendSection, LLMSection, build_router

__all__ = ["BackendSection", "LLMSection", "build_router"]
