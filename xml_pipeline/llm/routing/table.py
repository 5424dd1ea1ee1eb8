"""From the name of a model to the backends that can serve it, and may be asked here."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from contextvars import ContextVar, Token
from difflib import get_close_matches
from types import TracebackType
from typing import Self

from xml_pipeline.errors import ConfigError, NoBackendError
from xml_pipeline.llm.http.backend import Backend
from xml_pipeline.llm.routing.endpoint import Endpoint, Route, serves

_MODELS_SHOWN = 8  # of one backend, in an error
MAX_CHAIN = 100  # models that one alias stands for, and aliases on the way to them
MAX_REMEMBERED = 1024  # model names whose routes are kept ready

Groups = tuple[tuple[Route, ...], ...]


class RoutingTable:
    """Aliases, fallback chains and backends.

    Args:
        endpoints: all backends, as configured.
        models: alias → names of models (or of other aliases), the preferred one first.

    Raises:
        ConfigError: an alias leads back to itself, is empty, or leads too far.
    """

    def __init__(self, endpoints: Sequence[Endpoint], models: Mapping[str, Sequence[str]]) -> None:
        self._endpoints = sorted(endpoints, key=lambda endpoint: endpoint.backend.priority)
        self._models = {name: tuple(chain) for name, chain in models.items()}
        self._chains: dict[str, tuple[str, ...]] = {}
        self._routes: dict[str, Groups] = {}
        for name in self._models:
            self.chain(name)

    @property
    def aliases(self) -> Mapping[str, tuple[str, ...]]:
        """Alias → chain as configured."""
        return self._models

    def chain(self, model: str, seen: tuple[str, ...] = ()) -> tuple[str, ...]:
        """The model names that a name stands for, in order."""
        if model in self._chains:  # found once each, because aliases of aliases multiply
            return self._chains[model]
        if model in seen:
            raise ConfigError(f"models: {' → '.join((*seen, model))} leads back to itself")
        if model not in self._models:
            return (model,)
        if len(seen) >= MAX_CHAIN:
            raise ConfigError(f"models.{seen[0]} leads over more than {MAX_CHAIN} aliases")
        names = tuple(
            dict.fromkeys(name for step in self._models[model] for name in self.chain(step, (*seen, model)))
        )
        if not names:
            raise ConfigError(f"models.{model} is empty; name at least one model")
        if len(names) > MAX_CHAIN:
            raise ConfigError(
                f"models.{model} stands for {len(names):,} models; at most {MAX_CHAIN} are tried"
            )
        self._chains[model] = names
        return names

    def routes(self, model: str) -> Groups:
        """Routes per step of the chain; steps that nobody can serve are left out.

        Raises:
            NoBackendError: nobody can serve any of them; says why, and names what there is.
        """
        groups = self._routes.get(model)
        if groups is None:
            chain = self.chain(model)
            found = (tuple(self._step(name)) for name in chain)
            groups = tuple(group for group in found if group)
            if not groups:
                raise self._nobody(model, chain)
            if len(self._routes) >= MAX_REMEMBERED:
                self._routes.clear()
            self._routes[model] = groups
        return groups

    def open_routes(self, model: str) -> Groups:
        """As `routes`; where real requests are forbidden, only those that do not leave this machine."""
        groups = self.routes(model)
        return on_this_machine(model, groups) if real_requests_forbidden() else groups

    def forget(self) -> None:
        """Look again: keys have come, or will not come."""
        self._routes.clear()

    def _step(self, model: str) -> Iterable[Route]:
        for endpoint in self._endpoints:
            backend = endpoint.backend
            if not backend.key_missing and serves(backend, model) and not self._waits_for_others(backend):
                yield Route(endpoint, model)

    def _waits_for_others(self, backend: Backend) -> bool:
        """Whether it stands in for others, and one of them can be asked."""
        others = (each.backend for each in self._endpoints)
        return backend.stands_in and any(not each.stands_in and not each.key_missing for each in others)

    def _nobody(self, model: str, chain: Sequence[str]) -> NoBackendError:
        keyless = [
            f"backend {endpoint.name!r} serves {name!r} but has no key; {_advice(endpoint.backend)}"
            for name in chain
            for endpoint in self._endpoints
            if endpoint.backend.key_missing and serves(endpoint.backend, name)
        ]
        if keyless:
            return NoBackendError(f"no backend can serve the model {model!r}: {'; '.join(keyless)}")
        if not self._endpoints:
            return NoBackendError(
                f"no backend is configured, so none serves the model {model!r}. Add one under llm.backends in"
                " organism.yaml, or call configure_router([...])"
            )
        configured = ", ".join(_described(one) for one in self._endpoints)
        near = self._nearest(model)
        hint = f" Did you mean {near!r}?" if near else ""
        names = model if tuple(chain) == (model,) else f"{model} ({', '.join(chain)})"
        return NoBackendError(
            f"no configured backend serves the model {names!r}.{hint} Configured: {configured}. Name the model"
            " in a backend's supported_models or model_map, or add a backend that serves it"
        )

    def _nearest(self, model: str) -> str:
        """The configured name that looks most like this one, else the provider's glob that does, or ""."""
        near = get_close_matches(model, self.known_models(), n=1, cutoff=0.4)
        if near:
            return near[0]
        globs = {glob.rstrip("-*"): glob for one in self._endpoints for glob in one.backend.usual_models}
        stems = get_close_matches(model.lower().partition("-")[0], globs, n=1)
        return globs[stems[0]] if stems else ""

    def known_models(self) -> list[str]:
        """Names that are written in the configuration: aliases, supported models, model maps."""
        names: dict[str, None] = dict.fromkeys(self._models)
        for endpoint in self._endpoints:
            names.update(dict.fromkeys((*endpoint.backend.supported_models, *endpoint.backend.model_map)))
        return [name for name in names if not any(sign in name for sign in "*?[")]


def _advice(backend: Backend) -> str:
    variable = backend.key_variable or "(name one in api_key_env)"
    return backend.key_problem or f"set the environment variable {variable}"


def _described(endpoint: Endpoint) -> str:
    backend = endpoint.backend
    models = (*(backend.supported_models or backend.usual_models), *backend.model_map)
    shown = ", ".join(models[:_MODELS_SHOWN]) + (", …" if len(models) > _MODELS_SHOWN else "")
    return f"{endpoint.name} ({backend.provider}{': ' if shown else ''}{shown})"


# Where no request may leave this machine

VARIABLE = "XML_PIPELINE_FORBID_REAL_REQUESTS"

_forbidden: ContextVar[bool] = ContextVar("xml_pipeline_forbid_real_requests", default=False)


class forbid_real_requests:
    """Forbid model calls that would leave this machine, from now on or for a `with` block.

    Scripted backends and those with a loopback address stay usable; for every other one a call raises
    `NoBackendError`. It holds in the current context and in tasks started from it. The environment variable
    XML_PIPELINE_FORBID_REAL_REQUESTS=1 does the same for the whole process.
    """

    def __init__(self) -> None:
        self._token: Token[bool] | None = _forbidden.set(True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._token is not None:
            _forbidden.reset(self._token)
            self._token = None


def real_requests_forbidden(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether requests that leave this machine are forbidden here and now."""
    return _forbidden.get() or environ.get(VARIABLE, "") not in ("", "0", "false")


def on_this_machine(model: str, groups: Groups) -> Groups:
    """The routes that do not leave this machine.

    Raises:
        NoBackendError: there are none.
    """
    kept = tuple(tuple(route for route in group if route.endpoint.loopback) for group in groups)
    kept = tuple(group for group in kept if group)
    if not kept:
        raise NoBackendError(
            f"real requests are forbidden here (forbid_real_requests() or {VARIABLE}), and only backends on"
            f" other machines serve {model!r}; add a scripted backend for it"
        )
    return kept
