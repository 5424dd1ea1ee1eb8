"""The built-in LLM agent, and the parts of it that hand-written agents use."""

from xml_pipeline.agents.agent import MAX_CORRECTIONS, LLMAgent, agent_listener
from xml_pipeline.agents.contract import Answer, Task
from xml_pipeline.agents.history import Bounds, Exchange, Result, Round
from xml_pipeline.agents.prompt import Prompt
from xml_pipeline.agents.reading import Fault, Reader, Reading
from xml_pipeline.agents.running import RememberedTask
from xml_pipeline.agents.settings import AgentSettings
from xml_pipeline.agents.skills import Skill
from xml_pipeline.agents.toolbox import BadCall, PeerCall, Tool, Toolbox

__all__ = [
    "MAX_CORRECTIONS",
    "AgentSettings",
    "Answer",
    "BadCall",
    "Bounds",
    "Exchange",
    "Fault",
    "LLMAgent",
    "PeerCall",
    "Prompt",
    "Reader",
    "Reading",
    "RememberedTask",
    "Result",
    "Round",
    "Skill",
    "Task",
    "Tool",
    "Toolbox",
    "agent_listener",
]
