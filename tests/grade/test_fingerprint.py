"""The hash of an exported function's graph: what does not change it, and what must."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
from jax._src.interpreters import mlir
from jaxlib.mlir import ir

from aidl_jax import _compat
from aidl_jax.exercise.expressions import Student, static
from aidl_jax.exercise.requests import lower
from aidl_jax.grade.fingerprint import evidence, fingerprint, loops_long
from aidl_jax.grade.tracing import export_request

X, Y = np.float32([1, 2, 3]), np.float32([4, 5, 6])
M = np.eye(3, dtype=np.float32)
W = np.arange(4000, dtype=np.float32)


class Nobody:
    def evaluate(self, request: Any) -> Any:
        raise AssertionError

    def iterate(self, request: Any, limit: int) -> Any:
        raise AssertionError


def module_of(f: Any, *inputs: Any) -> Any:
    request = lower(Student(["f"], Nobody()).f(*(inputs or (X, Y))))
    serialized, _ = export_request(request.body, request.specs, {"f": f})
    exported = jax.export.deserialize(bytearray(serialized))
    return _compat.parse_module(exported.mlir_module_serialized)


def mark(f: Any, *inputs: Any) -> str:
    return fingerprint(module_of(f, *inputs))


@functools.cache
def mark_of(f: Any) -> str:
    return mark(f)


def written_in(file: str, source: str) -> Any:
    names: dict[str, Any] = {"jax": jax, "jnp": jnp}
    exec(compile(source, file, "exec"), names)
    return names["f"]


def plain(x: Any, y: Any) -> Any:
    return jnp.sin(x) * y + jnp.cos(y) * x


@jax.jit
def sine_times(a: Any, b: Any) -> Any:
    return jnp.sin(a) * b


def with_dead_code(x: Any, y: Any) -> Any:
    unused = jnp.exp(x) @ M
    jax.lax.scan(lambda c, e: (c + e, c), 0.0, y)
    del unused
    return jnp.sin(x) * y + jnp.cos(y) * x


def reordered(x: Any, y: Any) -> Any:
    right = jnp.cos(y)
    left = jnp.sin(x)
    second = right * x
    first = left * y
    return first + second


def over(x: Any, n: int) -> Any:
    return jax.lax.scan(lambda c, _: (jnp.sin(c), None), x, None, length=n)[0]


EQUAL: dict[str, Any] = {
    "renamed": lambda apples, pears: jnp.sin(apples) * pears + jnp.cos(pears) * apples,
    "reordered": reordered,
    "dead code": with_dead_code,
    "in another file": written_in(
        "other.py", "\n\n\n# a comment\ndef f(x, y):\n    return jnp.sin(x) * y + jnp.cos(y) * x"
    ),
    "named scopes": lambda x, y: jax.named_call(plain, name="layer")(x, y),
    "in a jit": jax.jit(plain),
    "in two jits": jax.jit(jax.jit(plain)),
    "a part in a jit": lambda x, y: sine_times(x, y) + jnp.cos(y) * x,
    "a part in a named scope": lambda x, y: _scoped(x, y) + jnp.cos(y) * x,
    "a lambda": lambda x, y: (lambda a, b: jnp.sin(a) * b + jnp.cos(b) * a)(x, y),
    "an identity in between": lambda x, y: plain(x, y).astype("float32").reshape(3),
}


def _scoped(x: Any, y: Any) -> Any:
    with jax.named_scope("part"):
        return jnp.sin(x) * y


@pytest.mark.oldest
@pytest.mark.parametrize("name", EQUAL)
def test_the_same_computation_has_the_same_mark(name: str) -> None:
    assert mark(EQUAL[name]) == mark_of(plain)


def test_a_jit_called_twice_is_as_written_twice() -> None:
    assert mark(lambda x, y: sine_times(x, y) + sine_times(y, x)) == mark(lambda x, y: jnp.sin(x) * y + jnp.sin(y) * x)


def test_loops_do_not_depend_on_names_or_places() -> None:
    def one(x: Any, y: Any) -> Any:
        def step(carry: Any, element: Any) -> Any:
            return carry * element + y, carry

        return jax.lax.scan(step, x, y)

    def two(u: Any, v: Any) -> Any:
        dead = jnp.tan(u)
        body = jax.jit(lambda c, e: (c * e + v, c))
        del dead
        return jax.lax.scan(lambda c, e: body(c, e), u, v)

    assert mark(one) == mark(two)


LOOPS: dict[str, tuple[Any, bool]] = {
    "a few steps": (lambda x: jax.lax.scan(lambda c, _: (c * 2, None), x, None, length=7)[0], False),
    "many steps": (lambda x: jax.lax.fori_loop(0, 300, lambda i, c: c + i, x), True),
    "few, and many": (lambda x: LOOPS["many steps"][0](LOOPS["a few steps"][0](x)), True),
    "many in each of a few": (lambda x: jax.lax.fori_loop(0, 3, lambda _, c: LOOPS["many steps"][0](c), x), True),
    "as many as it is told": (lambda x: jax.lax.fori_loop(0, x[0].astype(int), lambda i, c: c + i, x), True),
    "until something holds": (lambda x: jax.lax.while_loop(lambda c: c[0] < 9, lambda c: c * 2, x), True),
    "until it is told": (
        lambda x: jax.lax.while_loop(lambda c: c[0], lambda c: (c[1][0] < 9, c[1] * 2), (True, x))[1],
        True,
    ),
    "down to zero": (
        lambda x: jax.lax.while_loop(lambda s: s[0] > 0, lambda s: (s[0] - 1, s[1] * 2), (9999, x))[1],
        True,
    ),
    "until it is one": (
        lambda x: jax.lax.while_loop(lambda s: s[0] != 1, lambda s: (s[0] - 1, s[1] * 2), (9999, x))[1],
        True,
    ),
    "few after few": (lambda x: LOOPS["a few steps"][0](LOOPS["a few steps"][0](x)), False),
    "few in few": (lambda x: jax.lax.fori_loop(0, 90, lambda _, c: LOOPS["a few steps"][0](c), x), True),
    "no loop": (jnp.sin, False),
}


@pytest.mark.oldest
@pytest.mark.parametrize("name", LOOPS)
def test_a_loop_is_long_unless_it_is_known_to_be_short(name: str) -> None:
    function, long = LOOPS[name]
    assert loops_long(module_of(function, X)) is long


@pytest.mark.oldest
@pytest.mark.parametrize("name", ["größe", "with space", "<lambda>", 'a "quote"', "main", "f_0"])
def test_a_jitted_function_may_have_any_name(name: str) -> None:
    def inner(c: Any, e: Any) -> Any:
        return c * e, c

    inner.__name__ = inner.__qualname__ = name
    got = mark(lambda x, y: jax.lax.scan(lambda c, e: jax.jit(inner)(c, e), x, y))
    assert got == mark(lambda x, y: jax.lax.scan(lambda c, e: (c * e, c), x, y))


def test_a_loop_in_a_loop_may_be_in_a_jit() -> None:
    def inner(c: Any) -> Any:
        return jax.lax.while_loop(lambda d: d[0] < 5, lambda d: d * c, c + 1)

    def outer(body: Any) -> Any:
        return lambda x, y: jax.lax.while_loop(lambda c: c[0] < 3, body, x)

    assert mark(outer(jax.jit(inner))) == mark(outer(inner))


NESTED = """
module @m {{
  func.func public @main(%a: tensor<i1>) -> tensor<i1> {{
    %0 = stablehlo.while(%outer = %a) : tensor<i1> cond {{ stablehlo.return %outer : tensor<i1> }} do {{
      %1 = {call}
      stablehlo.return %1 : tensor<i1>
    }}
    return %0 : tensor<i1>
  }}
  {function}
}}
"""
INNER = "stablehlo.while(%inner = {a}) : tensor<i1> cond {{ stablehlo.return %inner : tensor<i1> }} do {{ stablehlo.return {b} : tensor<i1> }}"


@pytest.mark.parametrize("called", [False, True])
def test_a_loops_own_variable_is_not_that_of_the_loop_around_it(called: bool) -> None:
    marks = []
    for own in ("%inner", "%around" if called else "%outer"):
        loop = INNER.format(a="%around" if called else "%outer", b=own)
        function = f"func.func private @f(%around: tensor<i1>) -> tensor<i1> {{ %2 = {loop} return %2 : tensor<i1> }}"
        call = "func.call @f(%outer) : (tensor<i1>) -> tensor<i1>"
        text = NESTED.format(call=call if called else loop, function=function if called else "")
        with mlir.make_ir_context():
            marks.append(fingerprint(ir.Module.parse(text)))
    assert marks[0] != marks[1]


@pytest.mark.oldest
def test_an_error_function_of_another_shape_that_is_dead_does_not_matter() -> None:
    def with_dead(x: Any, y: Any) -> Any:
        jax.lax.erf(x[:2])
        return jax.lax.erf(x) * y

    assert mark(with_dead) == mark(lambda x, y: jax.lax.erf(x) * y)


DIFFERENT: dict[str, tuple[Any, Any]] = {
    "a constant": (lambda x, y: x * 2 + y, lambda x, y: x * 3 + y),
    "a constant's last bit": (lambda x, y: x * np.float32(1), lambda x, y: x * np.nextafter(np.float32(1), np.float32(2))),
    "an operation": (lambda x, y: jnp.sin(x) + y, lambda x, y: jnp.cos(x) + y),
    "the order of arguments": (lambda x, y: x - y, lambda x, y: y - x),
    "which argument is returned": (lambda x, y: x, lambda x, y: y),
    "which argument is used": (lambda x, y: x + x, lambda x, y: x + y),
    "the order of results": (lambda x, y: (x, y), lambda x, y: (y, x)),
    "how many results": (lambda x, y: x, lambda x, y: (x, x)),
    "a dtype": (lambda x, y: x.astype("int32"), lambda x, y: x.astype("uint32")),
    "a shape": (lambda x, y: x[None], lambda x, y: x[:, None]),
    "what a composite does": (lambda x, y: jax.lax.composite(lambda a: a * 2, "my.op")(x),
                              lambda x, y: jax.lax.composite(lambda a: a * 3, "my.op")(x)),
    "how many of the largest": (lambda x, y: jax.lax.top_k(x, 1)[0], lambda x, y: jax.lax.top_k(x, 2)[0][:1]),
    "a complex constant": (lambda x, y: x * np.complex64([1j, 2, 3]), lambda x, y: x * np.complex64([1j, 2, 4])),
    "an axis": (lambda x, y: jnp.outer(x, y).sum(0), lambda x, y: jnp.outer(x, y).sum(1)),
    "a comparison": (lambda x, y: x < y, lambda x, y: x <= y),
    "min and max": (jnp.minimum, jnp.maximum),
    "a reduction": (lambda x, y: x.sum(), lambda x, y: x.max()),
    "a slice": (lambda x, y: x[:2], lambda x, y: x[1:]),
    "scan lengths": (lambda x, y: over(x, 3), lambda x, y: over(x, 4)),
    "scan bodies": (lambda x, y: jax.lax.scan(lambda c, e: (c + e, None), 0.0, x)[0],
                    lambda x, y: jax.lax.scan(lambda c, e: (c - e, None), 0.0, x)[0]),
    "what a scan's body closes over": (lambda x, y: jax.lax.scan(lambda c, _: (c + x, None), y, None, length=2)[0],
                                       lambda x, y: jax.lax.scan(lambda c, _: (c + y, None), y, None, length=2)[0]),
    "carry and element swapped": (lambda x, y: jax.lax.scan(lambda c, e: (c - e, c), 0.0, x)[1],
                                  lambda x, y: jax.lax.scan(lambda c, e: (e - c, c), 0.0, x)[1]),
    "reversed scan": (lambda x, y: jax.lax.scan(lambda c, e: (c - e, c), 0.0, x)[1],
                      lambda x, y: jax.lax.scan(lambda c, e: (c - e, c), 0.0, x, reverse=True)[1]),
    "branches swapped": (lambda x, y: jax.lax.cond(x[0] > 0, jnp.sin, jnp.cos, y),
                         lambda x, y: jax.lax.cond(x[0] > 0, jnp.cos, jnp.sin, y)),
    "a loop's condition": (lambda x, y: jax.lax.while_loop(lambda c: c[0] < 9, lambda c: c + 1, x),
                           lambda x, y: jax.lax.while_loop(lambda c: c[1] < 9, lambda c: c + 1, x)),
    "a loop in a loop": (
        lambda x, y: jax.lax.scan(lambda c, e: (jax.lax.scan(lambda d, g: (d + e, None), c, x)[0], None), 0.0, y)[0],
        lambda x, y: jax.lax.scan(lambda c, e: (jax.lax.scan(lambda d, g: (d + g, None), c, x)[0], None), 0.0, y)[0],
    ),
    "outer or inner carry": (
        lambda x, y: jax.lax.scan(lambda c, _: (jax.lax.scan(lambda d, _: (d * c, None), c + 1, x)[0], None), 0.0, y)[0],
        lambda x, y: jax.lax.scan(lambda c, _: (jax.lax.scan(lambda d, _: (d * d, None), c + 1, x)[0], None), 0.0, y)[0],
    ),
    "one element of a large closed-over constant": (
        lambda x, y: x + jnp.asarray(W)[1:4] * y, lambda x, y: x + jnp.asarray(W + (np.arange(4000) == 3999))[1:4] * y),
    "the middle of a large closed-over constant": (
        lambda x, y: x + jnp.asarray(W).sum(),
        lambda x, y: x + jnp.asarray(W + (np.arange(4000) == 2000)).sum()),
    "a small closed-over constant": (lambda x, y: x + np.float32([1, 2, 3]), lambda x, y: x + np.float32([1, 2, 4])),
    "a seed": (lambda x, y: x + jax.random.normal(jax.random.key(0), (3,)), lambda x, y: x + jax.random.normal(jax.random.key(1), (3,))),
    "a jit with arguments swapped": (lambda x, y: sine_times(x, y), lambda x, y: sine_times(y, x)),
    "a sort's direction": (lambda x, y: jnp.sort(x), lambda x, y: jnp.sort(x, descending=True)),
    "a padding": (lambda x, y: jnp.pad(x, 1), lambda x, y: jnp.pad(x, (0, 2))),
    "a product's precision": (lambda x, y: jnp.dot(x, y, precision="default"), lambda x, y: jnp.dot(x, y, precision="highest")),
    "a cholesky's operand": (lambda x, y: jnp.linalg.cholesky(M + jnp.outer(x, x)), lambda x, y: jnp.linalg.cholesky(M + jnp.outer(y, y))),
}  # fmt: skip


@pytest.mark.oldest
@pytest.mark.parametrize("name", DIFFERENT)
def test_another_computation_has_another_mark(name: str) -> None:
    one, other = DIFFERENT[name]
    assert mark_of(one) != mark_of(other)


def test_all_these_marks_differ() -> None:
    functions = [f for pair in DIFFERENT.values() for f in pair]
    texts = [str(jax.make_jaxpr(f)(X, Y)) for f in functions]
    marks = [mark_of(f) for f in functions]
    for i, one in enumerate(marks):
        for j, other in enumerate(marks[:i]):
            if one == other:
                assert texts[i] == texts[j]


def test_static_values_and_shapes_and_dtypes_change_the_mark() -> None:
    def f(x: Any, n: int) -> Any:
        return x * n

    marks = [
        mark(f, X, static(2)),
        mark(f, X, static(3)),
        mark(f, X[:2], static(2)),
        mark(f, X.astype("int32"), static(2)),
    ]
    assert len(set(marks)) == 4


def test_how_it_is_called_is_part_of_the_mark() -> None:
    module = module_of(plain)
    assert fingerprint(module, "a") != fingerprint(module, "b")
    assert fingerprint(module, "a") == fingerprint(module_of(jax.jit(plain)), "a")


@pytest.mark.oldest
def test_complex_constants_are_marked_by_value_alone() -> None:
    factor = np.complex64([1j, 2, 3])
    assert mark(lambda x, y: (jnp.sin(y), x * factor)[1]) == mark(lambda x, y: x * factor)
    assert mark(lambda x, y: [x * factor, y * 1j]) == mark(lambda x, y: [(y * 1j, x * factor)[1], y * 1j])


def test_a_mark_is_32_hexadecimal_digits_and_repeats() -> None:
    one, other = mark(plain), mark(plain)
    assert one == other
    assert len(one) == 32
    int(one, 16)


@pytest.mark.oldest
def test_a_handwritten_gradient_has_another_mark_and_one_by_grad_has_the_same() -> None:
    def loss(w: Any, x: Any) -> Any:
        return jnp.sum((w * x) ** 2)

    asked = mark(jax.grad(loss))
    assert mark(lambda w, x: jax.jit(jax.grad(loss))(w, x)) == asked
    assert mark(lambda w, x: 2 * w * x * x) != asked


@pytest.mark.parametrize(
    ("f", "expected"),
    [
        (lambda x, y: x * y, 0),
        (lambda x, y: x @ y, 1),
        (lambda x, y: (M @ x) @ (M @ y), 3),
        (lambda x, y: jnp.convolve(x, y), 1),
        (lambda x, y: jax.lax.scan(lambda c, _: (M @ c, None), x, None, length=9)[0], 1),
        (lambda x, y: sine_times(x, y) + jnp.einsum("i,i->", x, y), 1),
    ],
)
def test_matrix_products_are_counted_where_they_stand(f: Any, expected: int) -> None:
    assert evidence(module_of(f))["matrix_products"] == expected


@pytest.mark.oldest
@pytest.mark.parametrize(
    ("f", "expected"),
    [
        (lambda x, y: 2 * x * y, False),
        (lambda x, y: jax.grad(lambda a: jnp.sum(jnp.sin(a) * y))(x), True),
        (lambda x, y: jax.jit(jax.grad(lambda a: jnp.sum(jnp.sin(a) * y)))(x), True),
        (
            lambda x, y: jax.lax.scan(lambda c, e: (c - jax.grad(lambda a: jnp.sum((a * y) ** 2))(c), None), x, x)[0],
            True,
        ),
        (lambda x, y: jax.vjp(lambda a: jnp.sum(a * jnp.tanh(a)), x)[1](y[0])[0], True),
        (lambda x, y: jax.jvp(jnp.sin, (x,), (y,))[1], False),
        (lambda x, y: jnp.transpose(jnp.outer(x, y)), False),
    ],
)
def test_reverse_mode_leaves_its_names(f: Any, expected: bool) -> None:
    assert evidence(module_of(f))["autodiff"] is expected


@pytest.mark.parametrize(
    ("f", "expected"),
    [
        (lambda x, y: x + y, 0),
        (lambda x, y: x + np.float32([1, 2, 3]), 12),
        (lambda x, y: x + jnp.asarray(W)[:3], 16_000),
        (lambda x, y: x + jnp.zeros(5000)[:3] + jnp.full((50, 50), 7.0)[0, :3], 0),
        (lambda x, y: jax.lax.scan(lambda c, _: (c + np.float32([1, 2, 3]), None), x, None, length=2)[0], 12),
    ],
)
def test_the_largest_constant_is_measured(f: Any, expected: int) -> None:
    found = evidence(module_of(f))["constant_bytes"]
    assert found == expected or (expected == 0 and found <= 4)
