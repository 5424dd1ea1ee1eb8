"""An organism of one listener, without YAML."""

import asyncio
from dataclasses import dataclass

from xml_pipeline import HandlerMetadata, HandlerResponse, Organism, xmlify


@xmlify
@dataclass
class Greeting:
    """Somebody to greet, or the greeting itself."""

    name: str


organism = Organism.build(name="hello")


@organism.listener
async def greeter(payload: Greeting, metadata: HandlerMetadata) -> HandlerResponse:
    return HandlerResponse.respond(Greeting(name=f"Hello, {payload.name}!"))


async def main() -> None:
    async with organism:
        answer = await organism.ask("greeter", Greeting(name="Alice"))
        print(answer.name)


asyncio.run(main())
