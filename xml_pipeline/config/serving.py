"""Models that an organism.yaml names and no backend serves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from xml_pipeline.config.models import NamedModel, OrganismConfig
from xml_pipeline.errors import Problem, did_you_mean, listing
from xml_pipeline.llm.http.backend import Backend
from xml_pipeline.llm.routing.endpoint import serves

ALIKE = 0.8
"""How alike a model and an alias are that may be the same name, misspelt."""


def unserved(config: OrganismConfig, backends: Sequence[Backend]) -> list[Problem]:
    """The models that none of the configured backends serves, whether they have keys or not.

    An organism without backends gets its router from a program, so nothing is known about its models.
    """
    if not backends:
        return []
    known = [*config.llm.models, *_names(backends)]
    wanted = [each for each in config.named_models if each.name not in config.llm.models]
    return [
        _problem(each, known, backends)
        for each in wanted
        if not any(serves(backend, each.name) for backend in backends)
    ]


def doubtful(config: OrganismConfig, backends: Sequence[Backend]) -> list[Problem]:
    """The models that a backend would take because it takes every name, and that look like an alias misspelt."""
    known = {*config.llm.models, *_names(backends)}
    return [
        replace(each.problem, message=f"'{each.shown}' is no alias{near}")
        for each in config.named_models
        if each.name not in known
        and each.shown == each.name
        and (near := did_you_mean(each.name, config.llm.models, cutoff=ALIKE))
    ]


def _problem(named: NamedModel, known: Sequence[str], backends: Sequence[Backend]) -> Problem:
    # What is near to a name from the environment would tell of it.
    near = did_you_mean(named.name, known) if named.shown == named.name else ""
    served = listing(name for backend in backends for name in _served(backend))
    return replace(
        named.problem,
        message=f"no backend serves the model '{named.shown}'{near}; they serve {served}; name it in"
        " `supported_models` or `model_map` of a backend, or in `llm.models`",
    )


def _served(backend: Backend) -> tuple[str, ...]:
    """Names and globs, as an error shows them."""
    return (*(backend.supported_models or backend.usual_models), *backend.model_map)


def _names(backends: Sequence[Backend]) -> list[str]:
    written = [name for backend in backends for name in (*backend.supported_models, *backend.model_map)]
    return [name for name in written if not set("*?[") & set(name)]
