"""The packages that keys in a keyring or a file need, imported when a key is looked up and not before."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from xml_pipeline.errors import KeyStoreError

INSTALL = "pip install 'xml-pipeline[keys]'"


def extra(module: str) -> Any:
    """A module of the extra `keys`.

    Raises:
        KeyStoreError: it is not installed, or cannot be imported; says what to install.
    """
    try:
        return import_module(module)
    except ImportError:
        package = module.partition(".")[0]
        raise KeyStoreError(f"the package {package} is not installed: {INSTALL}") from None
