"""Drivers make something that can be asked for of answers that cannot. They run in the worker, and check nothing.

A model is `fn(scope, *inputs)`; what becomes of it are `init` and `apply` of `aidl_jax.scope`, and `shapes`. Functions that read
files get the path of a `folder`; a generator of large elements is run where it is by `drain`.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from aidl_jax import scope

__all__ = ["DRIVERS", "drain", "folder", "shapes"]


def shapes(model: Callable[..., Any]) -> Callable[..., Any]:
    """What `init` would make, all zeros: names, shapes and dtypes without the cost of compiling random numbers.

    >>> shapes(lambda scope, x: x @ scope.get_variable("w", (3, 2)))(jnp.ones((4, 3)))[0]["w"].shape
    (3, 2)
    """

    def run(*inputs: Any) -> Any:
        made = jax.eval_shape(scope.init(model), jax.random.key(0), *inputs)
        return jax.tree.map(lambda spec: jnp.zeros(spec.shape, spec.dtype), made)

    return run


def folder(files: Mapping[str, bytes]) -> str:
    """Writes files and returns the path of their folder, the same one each time: what lay there before is gone.

    The path is relative, so that it is the same on every machine; a worker's current folder is its scratch space.
    """
    if Path("folder").is_symlink() or Path("folder").is_file():
        Path("folder").unlink()
    shutil.rmtree("folder", ignore_errors=True)
    for name, data in files.items():
        path = Path("folder", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return "folder"


def drain(generator: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[int]]:
    """A generator that takes `count` elements from another one, keeps none, and yields how many there were.

    >>> list(drain(iter)(2, [1, 2, 3])), list(drain(iter)(2, [1]))
    ([2], [1])
    """

    def run(count: int, *args: Any) -> Iterator[int]:
        yield sum(1 for _ in itertools.islice(generator(*args), count))

    return run


DRIVERS: dict[str, Callable[..., Any]] = {
    "init": scope.init,
    "apply": scope.apply,
    "shapes": shapes,
    "folder": folder,
    "drain": drain,
}
