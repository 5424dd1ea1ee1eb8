"""The LLM router."""
