"""The final answer in a model's text: a document of a class that the agent answers with, or plain text. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from xml_pipeline.agents.contract import Answer
from xml_pipeline.agents.wording import broken
from xml_pipeline.envelope import extract_payloads
from xml_pipeline.envelope.fences import unfenced
from xml_pipeline.envelope.repairs import CHARACTER
from xml_pipeline.errors import PayloadError, listing
from xml_pipeline.llm.types import ToolCall
from xml_pipeline.payload import Codec, codec_of
from xml_pipeline.payload.text import carriable


class Unanswered(Exception):
    """A text that is no valid answer.

    Attributes:
        error: why.
        example: a document that would be one.
    """

    def __init__(self, error: PayloadError, example: str) -> None:
        self.error = error
        self.example = example
        super().__init__(str(error))


class Answering:
    """Reads final answers.

    Args:
        answers: the classes that they may be of; an `Answer` is what is plain text.

    Attributes:
        codecs: of all of them, in their order.
        roots: names of their root elements.
    """

    def __init__(self, answers: Sequence[type] = (Answer,)) -> None:
        self.codecs: tuple[Codec[Any], ...] = tuple(map(codec_of, answers))
        self.roots = frozenset(codec.root for codec in self.codecs)
        self._documents = tuple(codec for codec in self.codecs if codec.cls is not Answer)
        self._plain = Answer in answers

    def read(self, content: str, text: str) -> tuple[Any, tuple[str, ...]]:
        """The payload, and what had to be repaired before it was one.

        Args:
            content: what the model wrote.
            text: the same without its thinking.

        Raises:
            Unanswered: there is no valid answer, or more than one.
        """
        extraction = extract_payloads(content, self.codecs)
        found, errors, body = extraction.found, extraction.errors, unfenced(text)
        if self._plain and not _documents_in([*(each.codec.root for each in found), *dict(errors)]):
            as_json = self._of_json(body) if self._documents and _is_json(body) else None
            if as_json is not None:
                return as_json, ()
            if extraction.prose or not (found or errors) or len(found) > 1:
                stripped = text.strip()
                sendable = carriable(stripped)
                return Answer(sendable), (CHARACTER,) if sendable != stripped else ()
        if len(found) == 1:
            return found[0].payload, found[0].repairs
        if errors:
            name, error = errors[0]
            raise self._unanswered(error, name)
        first = self.codecs[0].root
        if found:
            raise self._unanswered(broken(first, f"there are {len(found)} documents; one is wanted"), first)
        as_json = self._of_json(body) if body.startswith("{") else None
        if as_json is None:
            wanted = " or ".join(f"<{codec.root}>" for codec in self.codecs)
            raise self._unanswered(broken(first, f"your answer holds no {wanted} document"), first)
        return as_json, ()

    def _of_json(self, body: str) -> Any:
        """The answer that a JSON object is: of the class that it names, or whose fields it has; None for neither."""
        documents = self._documents or self.codecs
        codec = documents[0]
        try:
            arguments = ToolCall("", codec.root, body).arguments
            for codec in documents:
                inner = arguments.get(codec.root)
                if len(arguments) == 1 and isinstance(inner, Mapping):
                    return codec.from_json(inner)
            fitting = documents if len(self.codecs) == 1 else _fitting(documents, arguments)
            if len(fitting) > 1:
                several = listing(each.root for each in fitting)
                raise broken("your answer", f"is JSON that may be one of {several}; write it as XML", several)
            for codec in fitting:
                return codec.from_json(arguments)
        except PayloadError as error:
            raise self._unanswered(error, codec.root) from None
        return None

    def _unanswered(self, error: PayloadError, root: str) -> Unanswered:
        named = (codec.example for codec in self.codecs if codec.root == root)
        return Unanswered(error, next(named, self.codecs[0].example))


def _fitting(codecs: Sequence[Codec[Any]], arguments: Mapping[str, Any]) -> list[Codec[Any]]:
    """Those that have all the fields given; only those that need no other, if there are such."""
    known = [
        codec for codec in codecs if arguments and set(arguments) <= {each.name for each in codec.fields}
    ]
    whole = [codec for codec in known if all(not f.required or f.name in arguments for f in codec.fields)]
    return whole or known


def _documents_in(names: Sequence[str]) -> bool:
    """Whether one of the elements is a document, or a slip of one, and not plain text in an element."""
    return any(name.lower() != "answer" for name in names)


def _is_json(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False
