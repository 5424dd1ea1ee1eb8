"""What a handler's return annotation says it answers its caller. Pure."""

from __future__ import annotations

import collections.abc
import types
import typing
from collections.abc import Callable
from typing import Any

from xml_pipeline.pump.response import GatherResponse, HandlerResponse, Keep

_MANY = (list, tuple, collections.abc.Sequence)
_AWAITED = (collections.abc.Awaitable, collections.abc.Coroutine)
_UNIONS = (typing.Union, types.UnionType)
_SILENT = (GatherResponse, None, types.NoneType, ...)  # they answer nothing


def promised(annotation: Any, resolve: Callable[[str], Any]) -> tuple[Any, ...] | None:
    """What stands in the brackets of `HandlerResponse[Sum]`, wherever that stands; None where nothing is declared.

    A promise holds for all that a handler may return: where one part of a union may answer with anything (a plain
    `HandlerResponse`, text of a model, a `Keep` that does not say), nothing is declared.

    Args:
        annotation: of what the handler returns.
        resolve: from the text of an annotation within it to what it stands for.
    """
    found: dict[Any, None] = {}
    declared = False
    for part in members(annotation, resolve):
        if part in _SILENT:
            continue
        origin, inner = typing.get_origin(part), typing.get_args(part)
        if origin is HandlerResponse or (origin is Keep and len(inner) == 2):
            answers: tuple[Any, ...] | None = tuple(members(inner[-1], resolve))
        elif origin in _AWAITED and inner:
            answers = promised(inner[-1], resolve)
        elif origin in _MANY and inner:
            answers = promised(typing.Union[inner], resolve)  # noqa: UP007 - of a tuple
        else:
            return None
        if answers is None or Any in answers:
            return None
        declared = True
        found.update(dict.fromkeys(answers))
    return tuple(found) if declared else None


def members(annotation: Any, resolve: Callable[[str], Any]) -> list[Any]:
    """The parts of a union, or the one thing that an annotation is; names that stand for types are looked up."""
    if isinstance(annotation, typing.ForwardRef):
        annotation = annotation.__forward_arg__
    if isinstance(annotation, str):
        return members(resolve(annotation), resolve)
    if (named := getattr(annotation, "__value__", None)) is not None:  # `type Reply = ...`
        return members(named, resolve)
    origin = typing.get_origin(annotation)
    if origin in _UNIONS:
        return [part for each in typing.get_args(annotation) for part in members(each, resolve)]
    if origin is typing.Annotated:
        return members(typing.get_args(annotation)[0], resolve)
    return [annotation]
