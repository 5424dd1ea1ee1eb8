"""xml_pipeline as a library, in thirty lines: `python -m examples.hello`."""
