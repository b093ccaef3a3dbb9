from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import pytest

from aidl_jax.autodiff import AutodiffError, flops, residuals

W, X = jax.ShapeDtypeStruct((64, 64), jnp.float32), jax.ShapeDtypeStruct((256, 64), jnp.float32)
ARRAY = 4 * 256 * 64
PRODUCT = 2 * 256 * 64 * 64


def block(w, x):
    return jnp.tanh(jnp.sin(x @ w) @ w)


def deep(layer):
    def fn(w, x):
        for _ in range(3):
            x = layer(w, x)
        return x.sum()

    return fn


def jaxs(fn, *specs):
    """What JAX's own backward pass is given, arguments included."""
    _, pull = jax.vjp(fn, *(jnp.ones(one.shape) for one in specs))
    leaves = {id(leaf): leaf for leaf in jax.tree.leaves(pull)}
    return sum(leaf.nbytes for leaf in leaves.values())


@pytest.mark.oldest
def test_names_sizes_lines_and_who_wants_them():
    found = residuals(lambda w, x: block(w, x).sum(), W, X)
    told = [(one.name, one.bytes, one.wanted_by, one.is_given) for one in found.held]
    assert told == [
        ("w:0", 4 * 64 * 64, ("dot_general_1",), True),
        ("x:0", ARRAY, ("dot_general",), True),
        ("dot_general:0", ARRAY, ("sin",), False),
        ("sin:0", ARRAY, ("dot_general_1",), False),
        ("tanh:0", ARRAY, ("tanh",), False),
    ]
    assert found.bytes == 3 * ARRAY
    assert {one.source.line for one in found.held if one.source} == {block.__code__.co_firstlineno + 1}


def test_checkpoint_holds_what_goes_into_the_function_as_jax_does():
    """Of three blocks, what went into the second and the third is held; JAX holds the arguments, too, and not more."""
    fn = deep(jax.checkpoint(block))
    found = residuals(fn, W, X)
    assert [one.name for one in found.held if not one.is_given] == ["tanh:0", "tanh_1:0"]
    assert sum(one.bytes for one in found.held) == jaxs(fn, W, X)
    assert len(found.recomputed) == 3 * len(["dot_general", "sin", "dot_general", "tanh"])


def test_checkpoint_trades_memory_for_flops():
    plain, checked = deep(block), deep(jax.checkpoint(block))
    assert residuals(plain, W, X).bytes == 9 * ARRAY
    assert residuals(checked, W, X).bytes == 2 * ARRAY
    more = flops(jax.value_and_grad(checked), W, X) - flops(jax.value_and_grad(plain), W, X)
    assert 6 * PRODUCT <= more <= 6.1 * PRODUCT  # all six products once more


def test_jax_holds_the_cosine_in_place_of_what_it_is_the_cosine_of():
    """So the sizes agree where no operation of ours needs two values, here for matrices and sines."""
    fn = lambda w, x: jnp.sin(jnp.sin(x @ w) @ w).sum()  # noqa: E731
    assert sum(one.bytes for one in residuals(fn, W, X).held) == jaxs(fn, W, X)


def test_only_the_argument_that_is_asked_for_counts():
    assert [one.name for one in residuals(lambda w, x: (w * jnp.sin(x)).sum(), X, X).held] == ["sin:0"]
    assert [one.name for one in residuals(lambda w, x: (w * jnp.sin(x)).sum(), X, X, argnums=1).held] == ["w:0", "x:0"]


def test_what_a_print_shows():
    lines = str(residuals(deep(jax.checkpoint(block)), W, X)).splitlines()
    assert (
        lines[0] == "fn: 2 values of 131.1 kB are held for the way back; 12 operations are done again on the way back"
    )
    assert lines[2].split() == ["held", "output", "size", "source", "for", "the", "way", "back", "of"]
    assert lines[4].startswith("(w)") and lines[5].startswith("(x)")
    assert lines[6].split()[:4] == ["tanh", "float32[256,64]", "65.5", "kB"] and "test_residuals.py:" in lines[6]
    assert lines[-1].startswith("(...) is an argument or a constant")


def test_linear_operations_hold_nothing():
    assert residuals(lambda x: (x.T.reshape(-1)[::2] * 2.0 + 1.0).sum(), X).held == ()


def test_a_policy_is_not_guessed():
    layer = jax.checkpoint(block, policy=jax.checkpoint_policies.dots_saveable)
    with pytest.raises(AutodiffError) as told:
        residuals(deep(layer), W, X)
    assert "what a policy of jax.checkpoint keeps is not known here" in str(told.value)
    assert "leave policy=... out" in str(told.value)


def test_while_is_refused_before_it_runs():
    with pytest.raises(AutodiffError, match="cannot be gone through backwards"):
        residuals(lambda x: jax.lax.while_loop(lambda x: x < 9, lambda x: x * 2, x), 1.0)


def test_flops_of_a_product():
    assert flops(jnp.matmul, X, W) == PRODUCT == 2 * math.prod((256, 64, 64))
