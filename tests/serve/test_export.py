"""An exported model answers as the model did, at every size of batch, where none of its code is; what is refused when it is written."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from served import NAMES, PARAMS, SPEC, apply_fn, by_hand, drawn, exported, preprocess

from aidl_jax.errors import ServeError
from aidl_jax.serve import export, load, probabilities
from aidl_jax.serve.model import SIZES, predictions


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return load(exported(tmp_path_factory.mktemp("model"))[0])


@pytest.mark.parametrize("count", [1, 2, 3, 8, 9, 64, 65, 130])
def test_the_logits_are_those_of_the_model_at_every_size(model, count):
    images = drawn(count)
    got = model.predict(images)
    assert got.shape == (count, 3) and got.dtype == np.float32
    np.testing.assert_allclose(got, by_hand(images), atol=64 * np.finfo(np.float32).eps * 5)


def test_the_function_itself_takes_every_size(model):
    for count in (2, 5):
        np.testing.assert_allclose(model.function(model.params, drawn(count)), by_hand(drawn(count)), atol=1e-4)


def test_few_sizes_are_compiled(model):
    for count in (2, 3, 7, 20, 63, 100):
        model.predict(drawn(count))
    assert model.function._cache_size() <= len(SIZES) + 2  # the two of the test above


def test_a_process_without_the_models_code_gives_the_same_logits(tmp_path):
    _, pinned = exported(tmp_path)
    np.save(tmp_path / "images.npy", drawn(9))
    code = (
        "import sys, numpy as np; from aidl_jax.serve import load\n"
        "model = load('model.zip', sys.argv[1])\n"
        "np.save('logits.npy', model.predict(np.load('images.npy')))\n"
        "assert 'served' not in sys.modules and 'flax' not in sys.modules and 'aidl_jax.models' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, pinned], cwd=tmp_path, check=True, timeout=120)
    here = jax.jit(lambda images: apply_fn(PARAMS, jax.vmap(preprocess)(images)))(drawn(9))
    np.testing.assert_allclose(np.load(tmp_path / "logits.npy"), here, rtol=0, atol=1e-6 * float(np.abs(here).max()))


def test_the_file_says_what_it_is(tmp_path):
    path, pinned = exported(tmp_path)
    with zipfile.ZipFile(path) as archive:
        told = json.loads(archive.read("manifest.json"))
    assert (told["shape"], told["dtype"], told["class_names"]) == ([4, 3, 1], "uint8", NAMES)
    assert told["platforms"] == ["cpu", "cuda"] and told["versions"]["jax"] == jax.__version__
    assert load(path).sha256 == pinned
    with zipfile.ZipFile(path) as archive, archive.open("weights.npz") as file, np.load(file) as weights:
        np.testing.assert_array_equal(weights["params/hidden/w"], PARAMS["hidden"]["w"])
        assert set(weights) == {"params/hidden/w", "params/hidden/b", "params/out/0"}


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    path, _ = exported(tmp_path)
    before = path.read_bytes()
    with pytest.raises(ServeError):
        exported(tmp_path, class_names=["one"])
    assert path.read_bytes() == before and [one.name for one in tmp_path.iterdir()] == ["model.zip"]


def test_products_are_at_full_precision(tmp_path):
    path, _ = exported(tmp_path)
    with zipfile.ZipFile(path) as archive:
        module = jax.export.deserialize(bytearray(archive.read("function.bin"))).mlir_module()
    products = [line for line in module.splitlines() if "stablehlo.dot_general" in line]
    assert len(products) == 4 and all("HIGHEST" in line for line in products)  # two for each platform


def test_error_examples_of_another_kind(model):
    fix = "give the raw examples, as they were before preprocess"
    with pytest.raises(ServeError) as told:
        model.predict(drawn(2).astype(np.float32))
    assert str(told.value) == (
        "these are not examples of the kind that the model takes: given float32[2, 4, 3, 1], "
        f"expected uint8[batch, 4, 3, 1] with at least one. Fix: {fix}"
    )
    for wrong in (drawn(2)[0], drawn(0), drawn(2)[:, :3]):
        with pytest.raises(ServeError, match="these are not examples of the kind"):
            model.predict(wrong)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"class_names": ["cat"]}, r"no logits for these classes: given float32\[batch, 3\] for 1 class names, expected one"),
        ({"spec": "u8[?,4,3,1]"}, r"not the shape and type of one example: given .*Fix: leave the batch away: \"u8\[28"),
        ({"spec": "key<fry>[]"}, r"not the shape and type of one example"),
        ({"class_names": ["cat", "cat", "eel"]}, r"two classes have one name: given cat, cat, eel\. Fix: give each"),
        ({"apply_fn": lambda p, x: (apply_fn(p, x), {})}, r"no logits for .* let apply_fn give the logits alone"),
        ({"apply_fn": lambda p, x: (apply_fn(p, x), x)}, r"no logits for these classes"),
        (
            {"apply_fn": lambda p, x: apply_fn(p, x - x.mean(axis=0))},
            r"depend on the other examples in its batch: given logits that differ by .* Fix: export the model as it answers",
        ),
        (
            {"preprocess": lambda image: preprocess(image) if image.max() > 9 else image},
            r"looks at values while it is traced: given TracerBoolConversionError, .*Fix: write if as jnp\.where",
        ),
        (
            {"apply_fn": lambda p, x: jax.pure_callback(np.tanh, jax.ShapeDtypeStruct(x[:, :3].shape, x.dtype), x[:, :3])},
            r"cannot be exported for a batch of any size: given .*Fix: write sizes as x\.shape\[0\], take callbacks",
        ),
        (
            {"params": jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.bfloat16), PARAMS)},
            r"'params/hidden/b' cannot be written as a NumPy array: given bfloat16, .*Fix: export it as another type",
        ),
    ],
)  # fmt: skip
def test_error_what_cannot_be_exported(tmp_path, changed, words):
    with pytest.raises(ServeError, match=words):
        exported(tmp_path, **changed)
    assert not list(tmp_path.iterdir())


def test_a_spec_may_be_one_of_jax(tmp_path):
    export(
        tmp_path / "model.zip", apply_fn, PARAMS, preprocess, jax.ShapeDtypeStruct((4, 3, 1), np.uint8),
        class_names=NAMES,
    )  # fmt: skip
    assert SPEC == "u8[4,3,1]" and load(tmp_path / "model.zip").manifest.shape == (4, 3, 1)


def test_probabilities_and_what_is_told():
    logits = np.float32([[1, 2, 3], [1000, 0, -1000]])
    powers = np.exp(np.float64([1, 2, 3]))
    np.testing.assert_allclose(probabilities(logits)[0], powers / powers.sum(), rtol=1e-6)
    first, second = predictions(logits, NAMES)
    assert (first["class"], second["class"]) == ("eel", "cat") and list(first["probabilities"]) == NAMES
    assert second["probabilities"] == {"cat": 1.0, "dog": 0.0, "eel": 0.0}
