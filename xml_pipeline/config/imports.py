"""`module:function` in organism.yaml → the object.

Modules beside organism.yaml are found without being installed: their directory leads the import search while
an import of the file runs, and only then. Two organisms of one process may each have a `handlers.py`: what is
found beside one file is never taken for another file's. `located` lets another process find a handler again.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import pickle
import pkgutil
import re
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from xml_pipeline.errors import ConfigError, cut, described, did_you_mean
from xml_pipeline.payload.declared import Declarations, classes_of

_BESIDE = "__organism_directory__"  # set on modules found beside an organism.yaml
_DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")
_TOLD = 250  # characters of what an exception says
_import_search = threading.RLock()  # sys.path and sys.modules belong to the process


class ImportFault(Exception):
    """An import path that leads nowhere.

    Attributes:
        kind: what is wrong, in words that show nothing of the path (it may come from the environment).
    """

    def __init__(self, kind: str, message: str) -> None:
        self.kind = kind
        super().__init__(message)


def resolve(path: str, *, base: Path | str) -> Any:
    """The object that `path` names: `module:function`, `package.module:Class.method`.

    Modules in the directory `base` go before installed ones; an already imported module that was not found
    beside some organism.yaml stays what it is, as for every import.

    Raises:
        ConfigError: no import path, no such module, no such attribute, or the module fails while it is imported.
    """
    try:
        return find(path, Path(base))
    except ImportFault as fault:
        raise ConfigError(str(fault)) from fault.__cause__


def with_colon(dotted: str) -> str:
    """`package.module.Class.method` as `package.module:Class.method`; what is no dotted path is left as it is."""
    if not _DOTTED.fullmatch(dotted):
        return dotted
    parts = dotted.split(".")
    at = next((index for index, part in enumerate(parts) if index and part[0].isupper()), len(parts) - 1)
    return f"{'.'.join(parts[:at])}:{'.'.join(parts[at:])}"


def find(path: str, base: Path) -> Any:
    """`resolve`, raising ImportFault."""
    module_name, colon, attributes = path.partition(":")
    names = attributes.split(".")
    if not colon or not all(part.isidentifier() for part in (*module_name.split("."), *names)):
        right = with_colon(path)
        instead = right if right != path else "module:function"
        raise ImportFault("is no import path", f"'{path}' is no import path; write `{instead}`")
    with searching(base):
        module = _module(module_name, base)
    found: Any = module
    for index, name in enumerate(names):
        before = ".".join((module_name, *names[:index]))
        try:
            found = getattr(found, name)
        except AttributeError:
            raise _no_attribute(found, before, name) from None
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # of the module's own `__getattr__`
            raise ImportFault(
                f"its module fails when it is asked for it: {type(error).__name__}",
                f"'{before}.{name}' cannot be had: {cut(described(error), _TOLD)}",
            ) from error
    return found


def _module(name: str, base: Path) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if missing != name and not name.startswith(f"{missing}."):
            raise _broken(name, error) from error
        raise _no_module(missing, base) from None
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever else a stranger's module may raise
        raise _broken(name, error) from error


def _broken(name: str, error: BaseException) -> ImportFault:
    place = ""
    trace = error.__traceback__
    while trace is not None:
        frame = trace.tb_frame
        file, module = frame.f_code.co_filename, frame.f_globals.get("__name__")
        if not file.startswith("<frozen") and module not in (__name__, "importlib"):
            place = f" ({Path(file).name}, line {trace.tb_lineno})"
        trace = trace.tb_next
    kind = f"its module fails while it is imported: {type(error).__name__}"
    reason = cut(described(error), _TOLD)
    return ImportFault(kind, f"the module '{name}' fails while it is imported: {reason}{place}")


def _no_module(missing: str, base: Path) -> ImportFault:
    parent, _, last = missing.rpartition(".")
    if parent:
        search = getattr(sys.modules.get(parent), "__path__", None)
        where = f"in the package '{parent}'" if search else f"'{parent}' is a module and holds no modules"
    else:
        search = [str(base)]
        where = f"looked beside organism.yaml ({base}) and in the Python path"
    names = {module.name for module in pkgutil.iter_modules(search)} if search else set()
    if not parent:
        names |= {name for name in sys.modules if "." not in name and not name.startswith("_")}
    hint = did_you_mean(last, names)
    return ImportFault("there is no such module", f"there is no module '{missing}'{hint} ({where})")


def _no_attribute(owner: object, path: str, name: str) -> ImportFault:
    known = {name for name in dir(owner) if not name.startswith("_")}
    known |= {module.name for module in pkgutil.iter_modules(getattr(owner, "__path__", ()))}
    hint = did_you_mean(name, known)
    file = getattr(owner, "__file__", None)
    where = f" ({file})" if isinstance(file, str) else ""
    return ImportFault("the module has no such name", f"'{path}'{where} has no '{name}'{hint}")


@contextmanager
def searching(base: Path) -> Iterator[None]:
    """`base` leads the import search; modules found beside another organism.yaml are out of sight."""
    home = str(base.resolve())
    with _import_search:
        foreign = {
            name: module
            for name, module in list(sys.modules.items())
            if getattr(module, "__dict__", {}).get(_BESIDE, home) != home
        }
        for name in foreign:
            del sys.modules[name]
        before = set(sys.modules)
        importlib.invalidate_caches()
        sys.path.insert(0, home)
        try:
            yield
        finally:
            sys.path.remove(home)
            for name in set(sys.modules) - before:
                module = sys.modules[name]
                file = getattr(module, "__file__", None)
                if isinstance(file, str) and Path(file).is_relative_to(home) and "site-packages" not in file:
                    setattr(module, _BESIDE, home)
            for name, module in foreign.items():
                sys.modules.setdefault(name, module)


@contextmanager
def anew(base: Path) -> Iterator[None]:
    """Modules that were found beside `base` are imported again within this block.

    Who has something of the former ones keeps it. When the block raises, the former ones are back: what runs on is
    still found under its names, as when its values are pickled for another process.
    """
    with _import_search:
        former = _beside(base)
        for name in former:
            del sys.modules[name]
        caches, sys.dont_write_bytecode = (
            sys.dont_write_bytecode,
            True,
        )  # one of a source as old and as long is stale
        try:
            yield
        except BaseException:
            for name in _beside(base):
                del sys.modules[name]
            sys.modules.update(former)
            raise
        finally:
            sys.dont_write_bytecode = caches


def _beside(base: Path) -> dict[str, ModuleType]:
    home = str(base.resolve())
    return {
        name: module
        for name, module in list(sys.modules.items())
        if getattr(module, "__dict__", {}).get(_BESIDE) == home
    }


class _Located:
    """Calls `handler`; unpickled, it is what `dotted` stands for beside `base`, where `declared` is known."""

    def __init__(self, handler: Callable[..., Any], dotted: str, base: Path, declared: bytes) -> None:
        functools.update_wrapper(self, handler)
        self._handler = handler
        self._origin = (dotted, str(base), declared)

    def __call__(self, payload: Any, metadata: Any) -> Any:
        return self._handler(payload, metadata)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str, str, bytes]]:
        return _found_again, self._origin


class _AsyncLocated(_Located):
    """As `_Located`, for an async handler, which has to be recognised as one."""

    async def __call__(self, payload: Any, metadata: Any) -> Any:
        return await self._handler(payload, metadata)


def located(
    handler: Callable[..., Any], dotted: str, base: Path, declarations: Declarations
) -> Callable[..., Any]:
    """`handler`, so that a process without `base` in its import path can unpickle it.

    Python pickles a function as the name of its module; the processes that run `cpu_bound` handlers would not find
    a module beside organism.yaml by that. The declared classes, which are in no module at all, go with it.
    """
    kind = _AsyncLocated if inspect.iscoroutinefunction(handler) else _Located
    return kind(handler, dotted, base, pickle.dumps(declarations) if declarations.classes else b"")


def _found_again(dotted: str, base: str, declared: bytes) -> Any:
    if declared:
        _known_here(declared)
    return resolve(dotted, base=base)


@functools.lru_cache(maxsize=8)
def _known_here(declared: bytes) -> Mapping[str, type[Any]]:
    """The classes that a process was sent; it keeps those of the latest organisms that it works for."""
    return classes_of(pickle.loads(declared))  # noqa: S301 - pickled by `located`
