"""The streaming input module: tf.data's verbs over arrays, generators and files, with exact resume."""

from aidl_jax.data.autotune import AUTOTUNE
from aidl_jax.data.beginning import from_generator, from_tensor_slices, range, zip
from aidl_jax.data.dataset import Dataset
from aidl_jax.data.datasets import cifar10, fashion_mnist, mnist, mnist_5000
from aidl_jax.data.example_building import build_example
from aidl_jax.data.examples import parse_example
from aidl_jax.data.image_stage import IMAGENET_MEAN, IMAGENET_STD, decode_images
from aidl_jax.data.iterator import DataIterator, EndOfDataError
from aidl_jax.data.mixing import choose_from, sample_from
from aidl_jax.data.readers import digits, idx, image_classes, image_folder, text_lines, tfrecord, whole_files
from aidl_jax.data.record_files import write_tfrecord, write_tfrecord_index
from aidl_jax.data.stage import INFINITE, UNKNOWN

__all__ = [
    "AUTOTUNE",
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "INFINITE",
    "UNKNOWN",
    "DataIterator",
    "Dataset",
    "EndOfDataError",
    "build_example",
    "choose_from",
    "cifar10",
    "decode_images",
    "digits",
    "fashion_mnist",
    "from_generator",
    "from_tensor_slices",
    "idx",
    "image_classes",
    "image_folder",
    "mnist",
    "mnist_5000",
    "parse_example",
    "range",
    "sample_from",
    "text_lines",
    "tfrecord",
    "whole_files",
    "write_tfrecord",
    "write_tfrecord_index",
    "zip",
]
