"""A model out of its file: checked before anything is parsed, asked in batches of a few sizes."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from aidl_jax._compat import export_platform
from aidl_jax.errors import ServeError
from aidl_jax.serve import artifact
from aidl_jax.serve.artifact import Artifact, Manifest

__all__ = ["SIZES", "Model", "load", "predictions", "probabilities", "warm"]

SIZES = (1, 8, 64)  # each is compiled once; what lies between is filled up


@dataclass(frozen=True)
class Model:
    """A trained model, without its code.

    Attributes:
        manifest: what its file says.
        sha256: the manifest's.
        params: the weights by path.
        function: `function(params, examples) -> logits`, compiled once for each size of batch.
    """

    manifest: Manifest
    sha256: str
    params: dict[str, jax.Array]
    function: Callable[..., Any]

    def predict(self, examples: np.ndarray) -> np.ndarray:
        """The logits of raw examples; they are preprocessed as in training.

        Args:
            examples: [batch, ...] of the shape and dtype that `export` was told, at least one.

        Returns:
            float32 [batch, classes], unnormalised.

        Raises:
            ServeError: they have another shape or dtype.
        """
        self.check(examples)
        blocks = [examples[at : at + SIZES[-1]] for at in range(0, len(examples), SIZES[-1])]
        return np.concatenate([self._asked(block) for block in blocks])

    def check(self, examples: np.ndarray) -> None:
        """Refuses examples of another shape or dtype.

        Raises:
            ServeError: they are not what the model takes.
        """
        told = self.manifest
        if examples.shape[1:] != told.shape or str(examples.dtype) != told.dtype or not len(examples):
            raise ServeError(
                "these are not examples of the kind that the model takes",
                given=f"{examples.dtype}{list(examples.shape)}",
                expected=f"{told.dtype}[batch, {', '.join(map(str, told.shape))}] with at least one",
                fix="give the raw examples, as they were before preprocess",
            )

    def _asked(self, block: np.ndarray) -> np.ndarray:
        missing = next(size for size in SIZES if size >= len(block)) - len(block)
        filled = np.concatenate([block, np.repeat(block[-1:], missing, axis=0)])
        return np.asarray(self.function(self.params, filled))[: len(block)]


def load(path: Path | str, sha256: str | None = None) -> Model:
    """The model in a file that `export` wrote.

    Its function is a program, and reading a program made by an enemy can end the process: load files of people you trust, or pin them.

    Args:
        path: of the file.
        sha256: of its manifest, as `export` and `aidl predict` tell it; any other file is refused before it is parsed.

    Raises:
        ServeError: the file is damaged, or not the one that is pinned, or of another version or platform than this process.
        OSError: it cannot be read.
    """
    found = artifact.read(Path(path), sha256)
    _check_versions(found)
    _check_platform(found)
    serialized = artifact.read_part(found, artifact.FUNCTION)
    weights = _weights(artifact.read_part(found, artifact.WEIGHTS), found)
    exported = jax.export.deserialize(bytearray(serialized))
    _check_fit(exported, weights, found)
    return Model(found.manifest, found.sha256, jax.device_put(weights), jax.jit(exported.call))


def warm(model: Model) -> None:
    """Compiles a model for every size of batch, so that nobody waits for it later."""
    for size in SIZES:
        model.predict(np.zeros((size, *model.manifest.shape), model.manifest.dtype))


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Softmax over the last axis.

    Args:
        logits: float [batch, classes].

    >>> probabilities(np.float32([[0, 0], [1000, 0]])).tolist()
    [[0.5, 0.5], [1.0, 0.0]]
    """
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def predictions(logits: np.ndarray, class_names: Sequence[str]) -> list[dict[str, Any]]:
    """What is told of each example: the likeliest class, and every class's probability.

    Args:
        logits: float [batch, classes].
        class_names: in the same order.

    >>> predictions(np.float32([[0, 0]]), ["cat", "dog"])
    [{'class': 'cat', 'probabilities': {'cat': 0.5, 'dog': 0.5}}]
    """
    return [
        {"class": class_names[int(row.argmax())], "probabilities": dict(zip(class_names, map(float, row), strict=True))}
        for row in probabilities(logits)
    ]


def _check_versions(found: Artifact) -> None:
    """Before anything is parsed: an older JAX reads a newer function as "exported for 0 devices"."""
    theirs = found.manifest.versions["jax"]
    if _numbers(theirs) > _numbers(jax.__version__):
        raise ServeError(
            "the model was exported by a newer JAX than the one here",
            given=f"JAX {theirs}",
            expected=f"JAX {jax.__version__} or older",
            where=str(found.path),
            fix=f'pip install "jax>={theirs}", or export the model again with JAX {jax.__version__}',
        )
    oldest = jax.export.minimum_supported_calling_convention_version
    if found.manifest.calling_convention < oldest:
        raise ServeError(
            "the model was exported by a JAX too old for the one here",
            given=f"JAX {theirs}, calling convention {found.manifest.calling_convention}",
            expected=f"calling convention {oldest} or newer, which JAX {jax.__version__} reads",
            where=str(found.path),
            fix=f'export the model again with this JAX, or pip install "jax=={theirs}"',
        )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])


def _check_platform(found: Artifact) -> None:
    here = export_platform(None)
    if here not in found.manifest.platforms:
        raise ServeError(
            "the model was not exported for what this process computes on",
            given=here,
            expected=" or ".join(found.manifest.platforms),
            where=str(found.path),
            fix=f"set JAX_PLATFORMS={found.manifest.platforms[0]}, or export(..., platforms=[{here!r}])",
        )


def _weights(data: bytes, found: Artifact) -> dict[str, np.ndarray]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if any(one.compress_type != zipfile.ZIP_STORED for one in archive.infolist()):
                raise ValueError("weights are compressed")  # and might be of any size
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays}
    except artifact.DAMAGED as error:
        raise artifact.damaged(found.path, f"weights that NumPy cannot read: {error}") from error


def _check_fit(exported: Any, weights: dict[str, np.ndarray], found: Artifact) -> None:
    """The function, the weights and the manifest tell of one and the same model."""
    told = found.manifest
    expected = [(weights[name].shape, weights[name].dtype) for name in sorted(weights)]
    *taken, examples = [(one.shape, one.dtype) for one in exported.in_avals]
    classes = [one.shape[1:] for one in exported.out_avals]
    same = taken == expected and (examples[0][1:], str(examples[1])) == (told.shape, told.dtype)
    if not same or classes != [(len(told.class_names),)]:
        raise artifact.damaged(found.path, "a function that does not fit its weights, its examples or its classes")
