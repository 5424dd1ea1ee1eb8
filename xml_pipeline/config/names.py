"""How listeners are named in organism.yaml, wherever a key names one."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from xml_pipeline.llm.section import NAMES
from xml_pipeline.pump.listener import NAME

NAME_PATTERN = f"^{NAME.pattern}$"

Name = Annotated[str, Field(pattern=NAME_PATTERN)]
"""A name that something is given."""

ListenerName = Annotated[str, Field(pattern=NAME_PATTERN, json_schema_extra={NAMES: "listeners"})]
"""The name of a listener that is meant; editors offer those that there are."""
