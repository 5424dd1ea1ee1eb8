"""What makes triggers fire while an organism runs: timers, and a server for webhooks."""

from xml_pipeline.arming.armed import Armed

__all__ = ["Armed"]
