"""Examples: `python -m examples.console`, `python -m examples.hello`, `python -m examples.pipeline`."""
