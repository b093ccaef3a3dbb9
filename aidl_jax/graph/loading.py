"""A function out of a file, and the shapes of its arguments: what `aidl graph` traces."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import jax

from aidl_jax.errors import GraphError, close_matches
from aidl_jax.graph.specs import parse_spec

__all__ = ["find_function", "find_specs", "opened"]


@contextmanager
def opened(path: Path) -> Iterator[ModuleType]:
    """Runs a Python file as a module (not as `__main__`) and forgets it afterwards.

    Meanwhile its folder comes first on the path of modules, as when Python runs the file.

    Raises:
        GraphError: there is no such file.
        Exception: what the file raises.
    """
    if path.suffix != ".py" or not path.is_file():
        raise GraphError("there is no such Python file", given=repr(str(path)), fix="write path/to/file.py:function")
    path = path.resolve()
    code = compile(path.read_bytes(), str(path), "exec", dont_inherit=True)
    module = ModuleType(f"_aidl_graph_{path.stem}")
    module.__file__ = str(path)
    modules, folders = dict(sys.modules), list(sys.path)
    sys.modules[module.__name__] = module
    sys.path.insert(0, str(path.parent))
    try:
        exec(code, module.__dict__)
        yield module
    finally:
        sys.path[:] = folders
        _forget(modules, path.parent)


def _forget(before: dict[str, ModuleType], folder: Path) -> None:
    """Takes away the modules that came from a folder; libraries that were imported on the way stay."""
    for name in sys.modules.keys() - before.keys():
        file = getattr(sys.modules[name], "__file__", None)
        if file and Path(file).parent == folder:
            del sys.modules[name]


def find_function(module: ModuleType, name: str) -> Callable[..., Any]:
    """The function of that name.

    Raises:
        GraphError: the module has none.
    """
    own = [key for key, value in vars(module).items() if callable(value) and _is_own(value, module)]
    if not name:
        raise GraphError(
            "the function's name is missing", expected="path/to/file.py:function", fix=close_matches("", own)
        )
    if name not in vars(module):
        raise GraphError("the file has no such function", given=repr(name), fix=close_matches(name, own))
    found = getattr(module, name)
    if not callable(found):
        raise GraphError(
            "this is not a function", given=f"{name}, {type(found).__name__}", fix=close_matches(name, own)
        )
    return found


def _is_own(value: Any, module: ModuleType) -> bool:
    return getattr(value, "__module__", None) == module.__name__


def find_specs(module: ModuleType, fn: Callable[..., Any], texts: Sequence[str]) -> list[Any]:
    """A spec for each argument: a text for `parse_spec`, or the name of a value in the file, `params`.

    Raises:
        GraphError: a text is neither, or the function takes another number of arguments.
    """
    _check_count(fn, len(texts))
    return [_spec(module, text) for text in texts]


def _spec(module: ModuleType, text: str) -> Any:
    if not text.isidentifier():
        return parse_spec(text)
    values = [name for name, value in vars(module).items() if _has_shapes(value) and name[:1] != "_"]
    if text not in values:
        raise GraphError(
            "the file has no arrays of that name",
            given=repr(text),
            fix=f"{close_matches(text, values)} or write the shape, f32[32,784] for example",
        )
    return getattr(module, text)


def _has_shapes(value: Any) -> bool:
    """Whether it is an array, a spec, or a pytree of those and of numbers."""
    leaves = jax.tree.leaves(value)
    return bool(leaves) and all(
        isinstance(leaf, int | float | complex) or (hasattr(leaf, "dtype") and not isinstance(leaf, type))
        for leaf in leaves
    )


def _check_count(fn: Callable[..., Any], count: int) -> None:
    try:
        signature = inspect.signature(fn)
    except (TypeError, ValueError):
        return
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    named = [one for one in signature.parameters.values() if one.kind in kinds]
    needed = sum(one.default is one.empty for one in named)
    is_open = any(one.kind is one.VAR_POSITIONAL for one in signature.parameters.values())
    if needed <= count and (is_open or count <= len(named)):
        return
    name = getattr(fn, "__name__", type(fn).__name__)
    raise GraphError(
        f"{name} takes another number of arguments",
        given=f"{count} shape{'s' * (count != 1)}",
        expected=f"one each for {', '.join(one.name for one in named) or 'none'}",
        fix="--shapes SPEC..., in quotes and in this order, 'f32[32,784]' 'i32[]' for example",
    )
