"""From a trained model to one file: its weights, and its function with the preprocessing, traced for a batch of any size."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import jaxlib
import numpy as np

from aidl_jax.errors import ServeError
from aidl_jax.graph.specs import parse_spec
from aidl_jax.serve import artifact

__all__ = ["export"]

PLATFORMS = ("cpu", "cuda")


def export(
    path: Path | str,
    apply_fn: Callable[[Any, Any], Any],
    params: Any,
    preprocess: Callable[[Any], Any],
    spec: jax.ShapeDtypeStruct | str,
    *,
    class_names: Sequence[str],
    platforms: Sequence[str] = PLATFORMS,
) -> str:
    """Writes a trained model into one file, which `load` reads where none of the model's code is.

    Args:
        path: of the file, a zip.
        apply_fn: `apply_fn(params, inputs) -> logits`, inputs [batch, ...], logits float [batch, classes]. As it answers, not as it is
            trained: without dropout, batch norm by its averages.
        params: a pytree of arrays.
        preprocess: what is done with each raw example before the model sees it, `preprocess(example) -> input`, traceable: the very
            function that training maps over its dataset.
        spec: of one raw example, without a batch; "u8[28,28,1]" for grey images.
        class_names: one for each logit.
        platforms: where it shall run, in JAX's words.

    Returns:
        The SHA-256 of the file's manifest, for `load(path, sha256)`.

    Raises:
        ServeError: the function cannot be exported, gives no logits for these classes, or answers for an example by its neighbours.
        OSError: the file cannot be written.

    >>> import tempfile
    >>> path = tempfile.mkdtemp() + "/model.zip"
    >>> pinned = export(path, lambda w, x: x @ w, jnp.eye(2), lambda x: x / 255, "u8[2]", class_names=["a", "b"])
    >>> len(pinned)
    64
    """
    spec = parse_spec(spec) if isinstance(spec, str) else spec
    _check_spec(spec)
    leaves = _arrays(params)
    treedef = jax.tree.structure(params)

    def function(weights: dict[str, Any], examples: Any) -> Any:
        inputs = jax.vmap(preprocess)(examples)
        return apply_fn(jax.tree.unflatten(treedef, [weights[name] for name in leaves]), inputs)

    with jax.default_matmul_precision("highest"):  # a GPU's products would have 10 bits otherwise
        exported = _exported(function, leaves, spec, platforms)
        _check_classes(exported, list(map(str, class_names)))
        _check_rows(function, leaves, spec)
    return artifact.write(
        Path(path),
        {artifact.WEIGHTS: _npz(leaves), artifact.FUNCTION: bytes(exported.serialize())},
        versions={"aidl_jax": metadata.version("aidl-jax"), "jax": jax.__version__, "jaxlib": jaxlib.__version__},
        calling_convention=exported.calling_convention_version,
        platforms=tuple(exported.platforms),
        shape=tuple(spec.shape),
        dtype=str(spec.dtype),
        class_names=tuple(map(str, class_names)),
    )


def _check_spec(spec: Any) -> None:
    numbers = getattr(getattr(spec, "dtype", None), "kind", None) in {"i", "u", "f"}
    if not numbers or not all(isinstance(size, int) for size in spec.shape):
        raise ServeError(
            "this is not the shape and type of one example",
            given=str(spec),
            expected="whole sizes, and integers or floats",
            fix='leave the batch away: "u8[28,28,1]" for grey images, "f32[4]" for four numbers',
        )


def _arrays(params: Any) -> dict[str, Any]:
    from aidl_jax.train.paths import leaves_by_path  # loading a model needs nothing of training

    leaves = {name: jnp.asarray(leaf) for name, leaf in leaves_by_path({"params": params}).items()}
    for name, leaf in leaves.items():
        if not _is_numpys(leaf.dtype):
            raise ServeError(
                f"{name!r} cannot be written as a NumPy array",
                given=str(leaf.dtype),
                expected="float32, float16, an integer or bool",
                fix=f"export it as another type: jax.tree.map(lambda leaf: leaf.astype('float32'), {name.split('/')[0]})",
            )
    return leaves


def _is_numpys(dtype: Any) -> bool:
    """Whether a `.npy` file keeps it: not bfloat16, which comes back as bytes, nor a PRNG key."""
    return getattr(dtype, "kind", None) in {"b", "i", "u", "f"}


def _npz(leaves: dict[str, Any]) -> bytes:
    file = io.BytesIO()
    arrays: dict[str, Any] = {name: np.asarray(leaf) for name, leaf in leaves.items()}
    np.savez(file, **arrays)
    return file.getvalue()


def _exported(function: Any, leaves: dict[str, Any], spec: Any, platforms: Sequence[str]) -> Any:
    (batch,) = jax.export.symbolic_shape("batch")
    weights = {name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for name, leaf in leaves.items()}
    examples = jax.ShapeDtypeStruct((batch, *spec.shape), spec.dtype)
    try:
        return jax.export.export(jax.jit(function), platforms=tuple(platforms))(weights, examples)
    except jax.errors.JAXTypeError as error:
        raise ServeError(
            "preprocess or the model looks at values while it is traced",
            given=f"{type(error).__name__}",
            expected="a function of arrays that JAX can trace",
            fix="write if as jnp.where, and NumPy's functions as jax.numpy's",
        ) from error
    except (NotImplementedError, ValueError, TypeError) as error:
        raise ServeError(
            "the model cannot be exported for a batch of any size",
            given=f"{type(error).__name__}: {str(error).splitlines()[0]}",
            fix="write sizes as x.shape[0], take callbacks and jax.debug.print out, or name fewer platforms",
        ) from error


def _check_rows(function: Any, leaves: dict[str, Any], spec: Any) -> None:
    """Refuses a model that looks at the whole batch: what is served together is chance."""
    examples = _different_examples(spec)
    together, alone = (np.asarray(jax.jit(function)(leaves, x), np.float64)[:1] for x in (examples, examples[:1]))
    if not np.allclose(together, alone, rtol=1e-3, atol=1e-3 * max(1.0, np.abs(alone).max()), equal_nan=True):
        raise ServeError(
            "the logits of an example depend on the other examples in its batch",
            given=f"logits that differ by {np.abs(together - alone).max():.2g} beside another example",
            fix="export the model as it answers: training=False, batch norm by its averages",
        )


def _different_examples(spec: Any) -> np.ndarray:
    drawn = np.random.default_rng(0).uniform(size=(3, *spec.shape))
    largest = np.iinfo(spec.dtype).max if np.issubdtype(spec.dtype, np.integer) else 1
    return (drawn * min(largest, 255)).astype(spec.dtype)


def _check_classes(exported: Any, class_names: Sequence[str]) -> None:
    if len(set(class_names)) != len(class_names):
        raise ServeError(
            "two classes have one name", given=", ".join(class_names), fix="give each class a name of its own"
        )
    out = exported.out_avals
    is_one = exported.out_tree == jax.tree.structure(0)
    if not is_one or out[0].dtype != np.float32 or out[0].shape[1:] != (len(class_names),):
        raise ServeError(
            "the model gives no logits for these classes",
            given=f"{', '.join(_told(one) for one in out)} for {len(class_names)} class names",
            expected=f"one float32 array [batch, {len(class_names)}]",
            fix="let apply_fn give the logits alone (not the model state beside them), and name every class",
        )


def _told(value: Any) -> str:
    return f"{value.dtype}[{', '.join(map(str, value.shape))}]"
