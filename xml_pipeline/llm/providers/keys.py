"""The YAML keys that a provider owns, as the pydantic model that checks them (ADR 16)."""

from __future__ import annotations

import sys
from dataclasses import MISSING, fields
from dataclasses import Field as DataclassField
from importlib import import_module
from types import SimpleNamespace
from typing import Annotated, Any, Protocol, get_origin, get_type_hints, runtime_checkable

from pydantic import BaseModel, ConfigDict, Field, create_model

from xml_pipeline.llm.http.backend import Backend, Key


@runtime_checkable
class HasSettings(Protocol):
    """A model of a provider's own keys that makes the backend's fields itself."""

    def settings(self) -> dict[str, Any]:
        """The backend's fields that are given."""


_COMMON = frozenset(field.name for field in fields(Backend))
_SCALARS = (int, float, bool, str)
_UNSAID = Key("Of this provider.")


_models: dict[object, type[BaseModel]] = {}


def keys_of(kind: type[Backend]) -> type[BaseModel]:
    """The model of a provider's own YAML keys: the one it names, else one made from its own fields."""
    model = _models.get(kind)
    if model is None:
        module, _, name = kind.yaml_keys.partition(":")
        model = _models[kind] = getattr(import_module(module), name) if name else _made_of(kind)
    return model


def _made_of(kind: type[Backend]) -> type[BaseModel]:
    keys: dict[str, Any] = {}
    for one in fields(kind):
        if not one.init or one.name in _COMMON:
            continue
        plain, key = _typed(kind, one)
        default = None if one.default is MISSING else one.default
        strict = plain in _SCALARS  # a list of YAML may become a tuple, but no text a number
        keys[one.name] = (plain, Field(default, description=key.description, ge=key.ge, strict=strict))
    config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)
    return create_model(f"{kind.__name__}Keys", __config__=config, **keys)


def _typed(kind: type[Backend], one: DataclassField[Any]) -> tuple[Any, Key]:
    """A field's type and what is said about it; where its module does not tell, by the type of its default."""
    holder = SimpleNamespace(__annotations__={one.name: one.type})
    try:
        hints = get_type_hints(holder, vars(sys.modules[kind.__module__]), include_extras=True)
    except (NameError, KeyError):
        return (Any if one.default in (MISSING, None) else type(one.default)), _UNSAID
    annotated = hints[one.name]
    if get_origin(annotated) is not Annotated:
        return annotated, _UNSAID
    return annotated.__origin__, next(
        (fact for fact in annotated.__metadata__ if isinstance(fact, Key)), _UNSAID
    )
