"""What a trigger is: when it fires, what it sends through which door, and how a webhook proves who it is. Pure.

What makes them fire is `xml_pipeline.arming`.
"""

from xml_pipeline.triggers.cron import Cron, Every
from xml_pipeline.triggers.trigger import Trigger, Webhook

__all__ = ["Cron", "Every", "Trigger", "Webhook"]
