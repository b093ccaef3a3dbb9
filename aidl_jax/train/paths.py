"""A tree's leaves by their paths: the names that checkpoints and summaries give them."""

from __future__ import annotations

from typing import Any

import jax

__all__ = ["leaves_by_path"]


def leaves_by_path(tree: Any) -> dict[str, Any]:
    """The leaves of a pytree by path, the scopes' names joined with "/".

    >>> leaves_by_path({"params": {"conv1": {"weights": 1}}, "opt_state": (2, 3)})
    {'opt_state/0': 2, 'opt_state/1': 3, 'params/conv1/weights': 1}
    """
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }
