"""A trained model leaves the notebook: one file, loaded where none of its code is, asked from the command line or over HTTP."""

from aidl_jax.serve.exporting import export
from aidl_jax.serve.model import Model, load, probabilities

__all__ = ["Model", "export", "load", "probabilities"]
