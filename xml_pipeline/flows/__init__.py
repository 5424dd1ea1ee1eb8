"""Flows: listeners that are steps in a file, without a model and without code (ADR 38)."""

from xml_pipeline.flows.flow import FlowHandler
from xml_pipeline.flows.reading import Contract, Reading, World, read_flow
from xml_pipeline.flows.section import StepSection
from xml_pipeline.flows.steps import Flow
from xml_pipeline.flows.telling import told

__all__ = ["Contract", "Flow", "FlowHandler", "Reading", "StepSection", "World", "read_flow", "told"]
