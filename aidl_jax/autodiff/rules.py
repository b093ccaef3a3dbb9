"""One table of local derivatives: how each operation's output moves with each of its inputs, to first order.

No row knows the loss. That is what makes the chain rule a program: forward mode pushes tangents through
these maps, reverse mode pulls gradients back through them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax

from aidl_jax.autodiff import moves, products, windows

__all__ = ["RULES", "Partial"]


class Partial(NamedTuple):
    """How an operation's output moves with one of its inputs.

    Its functions ask for what they need by the names of their arguments: `x`, `y`, `z` are the values of the first three
    inputs, `out` is the output's; these have to be held in memory until the way back comes by. Free of cost are `spec`
    (shape and dtype of the input), `specs` (of all inputs), `number` (which input it is), `operation` and `params` (how it is
    set); `indices` are all inputs that are integers.

    Args:
        text: the local derivative, for people.
        factor: the local derivative as an array, where each element of the output depends on one of the input.
        push: from a tangent of the input to one of the output; None if the operation itself does that, being linear.
        pull: from a gradient of the output to one of the input: the transpose of `push`.
    """

    text: str
    factor: Callable[..., Any] | None = None
    push: Callable[..., Any] | None = None
    pull: Callable[..., Any] | None = None


def each(text: str, factor: Callable[..., Any]) -> Partial:
    """The rule of an elementwise operation: both ways multiply by the local derivative."""
    return Partial(text, factor=factor)


def linear(text: str, pull: Callable[..., Any], push: Callable[..., Any] | None = None) -> Partial:
    """The rule of an operation that is linear in this input."""
    return Partial(text, push=push, pull=pull)


def both(text: str, way: Callable[..., Any]) -> Partial:
    """The rule of an operation whose derivative is its own transpose."""
    return Partial(text, push=way, pull=way)


def _power_base(x: Any, y: Any) -> Any:
    """y x^(y-1), and 0 where y is 0, also for x = 0."""
    return jnp.where(y == 0, 0, y * lax.pow(x, jnp.where(y == 0, 1, y - 1)))


def _power_exponent(x: Any, out: Any) -> Any:
    return jnp.log(jnp.where(x == 0, 1, x)) * out


def _larger(x: Any, y: Any) -> Any:
    """1 where x is the larger one, 1/2 where both are alike."""
    return jnp.where(x == y, 0.5, jnp.where(x > y, 1.0, 0.0)).astype(x.dtype)


def _chosen(x: Any, out: Any, params: Any) -> Any:
    """Where the largest elements are; those that are alike share a 1."""
    mask = (x == jnp.expand_dims(out, params["axes"])).astype(out.dtype)
    return mask / mask.sum(params["axes"], keepdims=True)


EXTREME = Partial(
    "1 at the chosen element",
    push=lambda t, x, out, params: (t * _chosen(x, out, params)).sum(params["axes"]),
    pull=lambda g, x, out, params: jnp.expand_dims(g, params["axes"]) * _chosen(x, out, params),
)

ROOT_PI = float(np.sqrt(np.pi))

RULES: dict[str, tuple[Partial | None, ...]] = {  # the last partial of a row stands for all inputs that follow
    # arithmetic
    "add": (each("1", lambda: 1),),
    "add_any": (each("1", lambda: 1),),
    "sub": (each("1", lambda: 1), each("-1", lambda: -1)),
    "mul": (each("y", lambda y: y), each("x", lambda x: x)),
    "div": (each("1 / y", lambda y: 1 / y), each("-x / y^2", lambda y, out: -out / y)),
    "neg": (each("-1", lambda: -1),),
    "square": (each("2 x", lambda x: 2 * x),),
    "integer_pow": (each("n x^(n-1)", lambda x, params: params["y"] * lax.integer_pow(x, params["y"] - 1)),),
    "pow": (each("y x^(y-1)", _power_base), each("log(x) x^y", _power_exponent)),
    "sqrt": (each("1 / (2 sqrt x)", lambda out: 0.5 / out),),
    "rsqrt": (each("-1 / (2 x sqrt x)", lambda x, out: -0.5 * out / x),),
    # functions
    "exp": (each("exp x", lambda out: out),),
    "expm1": (each("exp x", lambda out: out + 1),),
    "log": (each("1 / x", lambda x: 1 / x),),
    "log1p": (each("1 / (1 + x)", lambda x: 1 / (1 + x)),),
    "sin": (each("cos x", lambda x: jnp.cos(x)),),
    "cos": (each("-sin x", lambda x: -jnp.sin(x)),),
    "tan": (each("1 + tan(x)^2", lambda out: 1 + out * out),),
    "sinh": (each("cosh x", lambda x: jnp.cosh(x)),),
    "cosh": (each("sinh x", lambda x: jnp.sinh(x)),),
    "atan": (each("1 / (1 + x^2)", lambda x: 1 / (1 + x * x)),),
    "tanh": (each("1 - tanh(x)^2", lambda out: 1 - out * out),),
    "logistic": (each("s (1 - s), s = sigmoid(x)", lambda out: out * (1 - out)),),
    "erf": (each("2 exp(-x^2) / sqrt(pi)", lambda x: 2 / ROOT_PI * jnp.exp(-x * x)),),
    # functions with kinks and steps
    "max": (each("1 where x > y", _larger), each("1 where y > x", lambda x, y: _larger(y, x))),
    "min": (each("1 where x < y", lambda x, y: _larger(y, x)), each("1 where y < x", _larger)),
    "relu": (each("1 where x > 0", lambda x: (x > 0).astype(x.dtype)),),
    "abs": (each("sign x", lambda x: jnp.sign(x)),),
    "clamp": (
        each("1 where y < x", lambda x, y: (y < x).astype(y.dtype)),
        each("1 where x < y < z", lambda x, y, z: ((x < y) & (y < z)).astype(y.dtype)),
        each("1 where z < y", lambda y, z: (z < y).astype(y.dtype)),
    ),
    "sign": (each("0", lambda: 0),),
    "floor": (each("0", lambda: 0),),
    "ceil": (each("0", lambda: 0),),
    "round": (each("0", lambda: 0),),
    "select_n": (
        None,
        both("1 where chosen", lambda t, x, number: jnp.where(x.astype(jnp.int32) == number - 1, t, 0)),
    ),
    # sums and extremes
    "reduce_sum": (linear("1 for each term", moves.spread),),
    "reduce_max": (EXTREME,),
    "reduce_min": (EXTREME,),
    "cumsum": (linear("1 for each term", moves.cumsum_back),),
    "reduce_window_sum": (linear("1 for each term", windows.spread),),
    "reduce_window_max": (Partial("1 at the chosen element", push=windows.choose, pull=windows.give_back),),
    # products
    "dot_general": (linear("y, as a matrix", products.left_factor), linear("x, as a matrix", products.right_factor)),
    "conv_general_dilated": (linear("y, as a kernel", products.image), linear("x, as patches", products.kernel)),
    # moving numbers around: the gradient moves back
    "broadcast_in_dim": (linear("1 for each copy", moves.gather_copies),),
    "reshape": (linear("1", lambda g, spec: g.reshape(spec.shape)),),
    "squeeze": (linear("1", lambda g, spec: g.reshape(spec.shape)),),
    "transpose": (linear("1", lambda g, params: lax.transpose(g, np.argsort(params["permutation"]))),),
    "rev": (linear("1", lambda g, params: lax.rev(g, params["dimensions"])),),
    "concatenate": (linear("1", moves.own_part, moves.in_its_place),),
    "split": (linear("1", lambda gs, params: jnp.concatenate(gs, params["axis"])),),
    "stack": (linear("1", moves.own_layer, moves.in_its_layer),),
    "unstack": (linear("1", lambda gs, params: jnp.stack(gs, params["axis"])),),
    "tile": (linear("1 for each copy", moves.add_tiles),),
    "slice": (linear("1 where kept", moves.unslice),),
    "pad": (linear("1", moves.unpad, moves.pad), linear("1 for each copy", moves.unpad_value, moves.pad_value)),
    "dynamic_slice": (linear("1 where kept", moves.dynamic_unslice),),
    "dynamic_update_slice": (
        linear("1 where left", moves.left_alone, moves.left_alone),
        linear("1", moves.update_read, moves.update_written),
    ),
    "gather": (linear("1 where taken", moves.ungather, moves.gather), None),
    "scatter-add": (
        both("1", lambda t: t),
        None,
        linear("1", moves.scattered_read, moves.scattered_written),
    ),
    # the same number in another form
    "convert_element_type": (
        linear("1", lambda g, spec: g.astype(spec.dtype), lambda t, params: t.astype(params["new_dtype"])),
    ),
    "reduce_precision": (both("1", lambda t: t),),
    "copy": (both("1", lambda t: t),),
    "name": (both("1", lambda t: t),),
}
