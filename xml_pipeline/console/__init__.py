"""Talk to an organism: in a terminal, or line by line from a script.

exit_code = asyncio.run(console.main(Organism.from_file("organism.yaml")))
"""

from xml_pipeline.console.door import main

__all__ = ["main"]
