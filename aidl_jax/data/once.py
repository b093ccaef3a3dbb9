"""Properties that are computed once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar, overload

__all__ = ["cached_property"]

T = TypeVar("T")


class cached_property(Generic[T]):
    """`functools.cached_property` without a lock.

    Python 3.11's holds a lock over all objects of a class while it computes. What is computed here may wait for threads (a Python map is
    tried on its first element), which may need the same property of another stage: they would wait for each other for ever. Without it,
    two threads may compute the same value twice, which does no harm, since it is a pure function of the object.
    """

    def __init__(self, fn: Callable[[Any], T]) -> None:
        self.fn, self.name, self.__doc__ = fn, fn.__name__, fn.__doc__

    @overload
    def __get__(self, instance: None, owner: type) -> cached_property[T]: ...

    @overload
    def __get__(self, instance: object, owner: type) -> T: ...

    def __get__(self, instance: Any, owner: type) -> Any:
        if instance is None:
            return self
        value = instance.__dict__[self.name] = self.fn(instance)
        return value
