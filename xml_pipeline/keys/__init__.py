"""API keys by name: environment, OS keyring, encrypted file .

`keys.py` has the order, `names.py` the rules.
"""

from xml_pipeline.keys.secret import Secret

__all__ = ["Secret"]
