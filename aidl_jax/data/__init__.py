"""The streaming input module: tf.data's verbs over arrays, generators and files, with exact resume."""

from aidl_jax.data.dataset import Dataset, from_generator, from_tensor_slices, range, zip
from aidl_jax.data.iterator import DataIterator, EndOfDataError
from aidl_jax.data.stage import INFINITE, UNKNOWN

__all__ = [
    "INFINITE",
    "UNKNOWN",
    "DataIterator",
    "Dataset",
    "EndOfDataError",
    "from_generator",
    "from_tensor_slices",
    "range",
    "zip",
]
