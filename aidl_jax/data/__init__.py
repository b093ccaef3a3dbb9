"""The streaming input module: tf.data's verbs over arrays, generators and files, with exact resume."""

from aidl_jax.data.autotune import AUTOTUNE
from aidl_jax.data.beginning import from_generator, from_tensor_slices, range, zip
from aidl_jax.data.dataset import Dataset
from aidl_jax.data.iterator import DataIterator, EndOfDataError
from aidl_jax.data.mixing import choose_from, sample_from
from aidl_jax.data.stage import INFINITE, UNKNOWN

__all__ = [
    "AUTOTUNE",
    "INFINITE",
    "UNKNOWN",
    "DataIterator",
    "Dataset",
    "EndOfDataError",
    "choose_from",
    "from_generator",
    "from_tensor_slices",
    "range",
    "sample_from",
    "zip",
]
