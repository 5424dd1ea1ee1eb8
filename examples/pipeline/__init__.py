"""A file of records through three listeners: `python -m examples.pipeline [FILE]`."""
