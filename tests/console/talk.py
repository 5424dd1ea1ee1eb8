"""A console over the test organism, as a process: `python -m tests.console.talk`."""

import asyncio
import sys

from tests.console.organisms import build
from xml_pipeline import console

sys.exit(asyncio.run(console.main(build())))
