"""A tree's leaves by their paths: the names that checkpoints and summaries give them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from aidl_jax.files import write_bytes

__all__ = ["leaves_by_path", "write_leaves"]


def leaves_by_path(tree: Any) -> dict[str, Any]:
    """The leaves of a pytree by path, the scopes' names joined with "/".

    >>> leaves_by_path({"params": {"conv1": {"weights": 1}}, "opt_state": (2, 3)})
    {'opt_state/0': 2, 'opt_state/1': 3, 'params/conv1/weights': 1}
    """
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


def write_leaves(path: Path, tree: Any) -> None:
    """Writes a pytree's leaves by path into a file that `numpy.load` reads, whole or not at all; a key as its numbers.

    Raises:
        OSError: it cannot be written.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "state.npz")
    >>> write_leaves(path, {"conv1": {"biases": np.zeros(2)}})
    >>> np.load(path)["conv1/biases"]
    array([0., 0.])
    """
    file = io.BytesIO()
    leaves: dict[str, Any] = {name: _numbers(leaf) for name, leaf in leaves_by_path(tree).items()}
    np.savez(file, **leaves)
    write_bytes(path, file.getvalue())


def _numbers(leaf: Any) -> np.ndarray:
    is_key = isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return np.asarray(jax.random.key_data(leaf) if is_key else leaf)
