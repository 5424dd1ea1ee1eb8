"""Talk to the organism of organism.yaml: `make console`, or `python -m examples.console`."""
