"""A console over the test organism, as a process: `python -m tests.console.talk`; `TALK_JOURNAL` names its journal.

`OUT_OF_TIME`, in seconds, is how long a process that was told to end may hang.
"""

import asyncio
import os
import sys

from tests.console.organisms import build
from xml_pipeline import console
from xml_pipeline.console import signals

signals.OUT_OF_TIME = float(os.environ.get("OUT_OF_TIME", signals.OUT_OF_TIME))
journal = os.environ.get("TALK_JOURNAL")
sys.exit(asyncio.run(console.main(build(journal=journal))))
