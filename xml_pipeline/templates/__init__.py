"""Templates: `{{input.text}}` in what a file says is to be sent. Parsed once, typed before anything runs, filled in.

There are no expressions: a path, and perhaps a text for when there is nothing. A value that was filled in is never
read again, so what a model or a stranger wrote cannot become a template (ADR 38).
"""

from xml_pipeline.templates.filling import Filler
from xml_pipeline.templates.telling import told, untellable
from xml_pipeline.templates.text import Reference, Template, TemplateFault, is_template, parse
from xml_pipeline.templates.types import Scope, Type, lead, of_classes

__all__ = [
    "Filler",
    "Reference",
    "Scope",
    "Template",
    "TemplateFault",
    "Type",
    "is_template",
    "lead",
    "of_classes",
    "parse",
    "told",
    "untellable",
]
