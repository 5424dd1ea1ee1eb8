"""`@xmlify`, and how to come from a class to its codec."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any, TypeVar, overload

from xml_pipeline.errors import PayloadTypeError, Violation
from xml_pipeline.payload.classes import REGISTRATION, refuse, shapes_of
from xml_pipeline.payload.codec import Codec
from xml_pipeline.payload.shapes import Shapes

T = TypeVar("T")


class _Registration:
    """What a decorated class remembers: its element's name, and its codec once that is needed."""

    def __init__(self, cls: type[Any], name: str, frame: FrameType | None) -> None:
        self.cls = cls
        self.name = name
        self.codec: Codec[Any] | None = None
        self._frame = frame  # of a function whose locals a forward reference may name
        self.shapes: Shapes | None = None
        self._lock = threading.RLock()

    def scope(self) -> Mapping[str, Any]:
        return {} if self._frame is None else dict(self._frame.f_locals)

    def resolve(self) -> Shapes:
        with self._lock:
            if self.shapes is None:
                self.shapes = shapes_of(self.cls, self.scope())
                self._frame = None
            return self.shapes

    def compiled(self) -> Codec[Any]:
        with self._lock:
            if self.codec is None:
                try:
                    shapes = self.resolve()
                except NameError as error:
                    raise refuse(self.cls, "", f"has an annotation that names nothing: {error}") from None
                self.codec = Codec(shapes)
            return self.codec


@overload
def xmlify(cls: type[T]) -> type[T]: ...
@overload
def xmlify(cls: None = None, *, name: str | None = None) -> Callable[[type[T]], type[T]]: ...
def xmlify(cls: type[T] | None = None, *, name: str | None = None) -> Any:
    """Make a dataclass or pydantic model a payload.

    Stands above `@dataclass`. Annotations are read at once; where they name a class that is defined further
    down, at first use.

    A class whose instances are kept (the state of a thread, the entries of a memory) may have a class method or
    static method `upgrade(old)`: what an earlier version of it wrote, and it does not take any more, comes as a
    mapping of the old fields' names to texts as they stood, None, lists of items and mappings of fields or entries.
    It returns an instance, or raises.

    Args:
        name: the root element's name, when it shall not be the class's name.

    Raises:
        PayloadTypeError: the class or a field has no wire form.
    """
    frame = sys._getframe(1)
    local = None if frame.f_locals is frame.f_globals else frame

    def decorate(target: type[T]) -> type[T]:
        if not isinstance(target, type):
            what = f"{getattr(target, '__name__', target)!r} is a {type(target).__name__}"
            raise PayloadTypeError(
                Violation(what, "only a class can be a payload: a dataclass or a pydantic model")
            )
        registration = _Registration(target, name or target.__name__, local)
        setattr(target, REGISTRATION, registration)
        try:
            registration.resolve()
        except NameError:
            pass  # a forward reference: read again at first use
        except BaseException:
            delattr(target, REGISTRATION)
            raise
        return target

    return decorate if cls is None else decorate(cls)
