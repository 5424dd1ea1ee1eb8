"""The cases of `tests:`: an organism without its models, people and effects, and what came of it."""

from xml_pipeline.cases.outcome import Outcome
from xml_pipeline.cases.running import Cap, played

__all__ = ["Cap", "Outcome", "played"]
