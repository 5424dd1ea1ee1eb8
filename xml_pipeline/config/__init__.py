"""organism.yaml: read, checked, and every mistake of it told at once."""

from xml_pipeline.config.imports import resolve
from xml_pipeline.config.loader import Imports, load, loads
from xml_pipeline.config.models import (
    HistorySection,
    LimitsSection,
    ListenerConfig,
    OrganismConfig,
    OrganismSection,
)
from xml_pipeline.config.schema import json_schema
from xml_pipeline.config.untrusted import Untrusted

__all__ = [
    "HistorySection",
    "Imports",
    "LimitsSection",
    "ListenerConfig",
    "OrganismConfig",
    "OrganismSection",
    "Untrusted",
    "json_schema",
    "load",
    "loads",
    "resolve",
]
