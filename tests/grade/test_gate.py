"""What the runner takes in and what it refuses, by name, before it runs anything."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.export
import jax.numpy as jnp
import jax.scipy as jsp
import numpy as np
import pytest
from jax._src.interpreters import mlir
from jaxlib.mlir import ir
from jaxlib.mlir.dialects import stablehlo

from aidl_jax import _compat
from aidl_jax.errors import ProtocolError
from aidl_jax.grade import gate
from aidl_jax.grade.process import Died, Process
from aidl_jax.grade.runner import Runner

X = np.float32([0.5, 1.0, 2.0])
SPECS = [[[3], "float32"]]
M = np.float32([[4, 1, 0], [1, 5, 2], [0, 2, 6]])
KEY = np.uint32([1, 2])


def exported(f: Any, *inputs: Any, disabled: Any = ()) -> jax.export.Exported:
    specs = [jax.ShapeDtypeStruct(np.shape(x), np.asarray(x).dtype) for x in inputs or (X,)]
    flat = jax.jit(lambda *args: jax.tree.leaves(f(*args)), keep_unused=True)
    return jax.export.export(flat, platforms=["cpu"], disabled_checks=disabled)(*specs)


def load(
    runner: Runner, one: jax.export.Exported, specs: Any = SPECS, executable: bytes | None = None
) -> dict[str, Any]:
    """Has a function taken in and, where it is not refused, compiled."""
    answer = runner.answer({"do": "load", "exported": bytes(one.serialize(vjp_order=0)), "specs": specs})
    if "function" in answer:
        assert runner.answer({"do": "compile", "function": answer["function"], "executable": executable}) == {}
    return answer


def matrix(x: Any) -> Any:
    return jnp.asarray(M) + jnp.diag(x)


COURSE: dict[str, Any] = {
    "relu": jax.nn.relu, "leaky_relu": jax.nn.leaky_relu, "elu": jax.nn.elu, "sigmoid": jax.nn.sigmoid,
    "softmax": jax.nn.softmax, "log_softmax": jax.nn.log_softmax, "logsumexp": jax.nn.logsumexp,
    "gelu": jax.nn.gelu, "exact gelu": lambda x: jax.nn.gelu(x, approximate=False), "silu": jax.nn.silu,
    "softplus": jax.nn.softplus, "one_hot": lambda x: jax.nn.one_hot(x.astype(int), 4), "standardize": jax.nn.standardize,
    "erf": jax.lax.erf, "erf_inv": lambda x: jax.lax.erf_inv(x / 4), "gammaln": jsp.special.gammaln, "digamma": jsp.special.digamma,
    "norm.cdf": jsp.stats.norm.cdf, "sin": jnp.sin, "tan": jnp.tan, "arcsin": lambda x: jnp.arcsin(x / 4),
    "arccos": lambda x: jnp.arccos(x / 4), "arctan": jnp.arctan, "arctan2": lambda x: jnp.arctan2(x, x + 1), "sinh": jnp.sinh,
    "cosh": jnp.cosh, "tanh": jnp.tanh, "arcsinh": jnp.arcsinh, "arccosh": lambda x: jnp.arccosh(x + 1),
    "arctanh": lambda x: jnp.arctanh(x / 4), "exp": jnp.exp, "exp2": jnp.exp2, "expm1": jnp.expm1, "log": jnp.log,
    "log1p": jnp.log1p, "log2": jnp.log2, "sqrt": jnp.sqrt, "cbrt": jnp.cbrt, "power": lambda x: x**1.5, "round": jnp.round,
    "floor": jnp.floor, "mod": lambda x: x % 0.7, "sign": jnp.sign, "clip": lambda x: jnp.clip(x, 0.7, 1), "where": lambda x: jnp.where(x > 1, x, -x),
    "cumsum": jnp.cumsum, "cumprod": jnp.cumprod, "cummax": jax.lax.cummax, "associative_scan": lambda x: jax.lax.associative_scan(jnp.add, x),
    "sort": jnp.sort, "argsort": jnp.argsort, "top_k": lambda x: jax.lax.top_k(x, 2), "argmax": jnp.argmax, "median": jnp.median,
    "quantile": lambda x: jnp.quantile(x, 0.3), "unique": lambda x: jnp.unique(x, size=3), "searchsorted": lambda x: jnp.searchsorted(x, 1.5),
    "interp": lambda x: jnp.interp(x, x, x * 2), "histogram": lambda x: jnp.histogram(x, bins=3), "bincount": lambda x: jnp.bincount(x.astype(int), length=4),
    "gather": lambda x: x[jnp.array([0, 2, 1])], "gather by value": lambda x: x[x.astype(int)], "take_along_axis": lambda x: jnp.take_along_axis(x, jnp.array([2, 0]), 0),
    "scatter": lambda x: x.at[jnp.array([0, 1])].set(5), "scatter add": lambda x: x.at[jnp.array([0, 0])].add(5), "segment_sum": lambda x: jax.ops.segment_sum(x, jnp.array([0, 1, 0]), 2),
    "roll": lambda x: jnp.roll(x, 1), "flip": jnp.flip, "pad": lambda x: jnp.pad(x, 1), "concatenate": lambda x: jnp.concatenate([x, x]), "tile": lambda x: jnp.tile(x, (2, 2)),
    "dynamic_slice": lambda x: jax.lax.dynamic_slice(x, (x[0].astype(int),), (2,)), "einsum": lambda x: jnp.einsum("i,j->ij", x, x), "dot": lambda x: x @ x,
    "conv": lambda x: jax.lax.conv(x.reshape(1, 1, 3, 1), jnp.ones((1, 1, 2, 1)), (1, 1), "SAME"), "convolve": lambda x: jnp.convolve(x, x),
    "max pool": lambda x: jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (2,), (1,), "VALID"),
    "gradient of a max pool": jax.grad(lambda x: jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (2,), (2,), "VALID").sum()),
    "resize": lambda x: jax.image.resize(x.reshape(3, 1), (6, 2), "bilinear"), "attention": lambda x: jax.nn.dot_product_attention(*[x.reshape(1, 3, 1, 1)] * 3),
    "fft": lambda x: jnp.abs(jnp.fft.fft(x)), "rfft": lambda x: jnp.fft.irfft(jnp.fft.rfft(x), 3), "angle": lambda x: jnp.angle(x + 1j),
    "complex constant": lambda x: x * np.complex64([1 + 2j, 3j, -1]),
    "solve": lambda x: jnp.linalg.solve(matrix(x), x), "inv": lambda x: jnp.linalg.inv(matrix(x)), "det": lambda x: jnp.linalg.det(matrix(x)),
    "slogdet": lambda x: jnp.linalg.slogdet(matrix(x)), "svd": lambda x: jnp.linalg.svd(matrix(x))[1], "cholesky": lambda x: jnp.linalg.cholesky(matrix(x)),
    "qr": lambda x: jnp.abs(jnp.linalg.qr(matrix(x))[1]), "eigh": lambda x: jnp.linalg.eigh(matrix(x))[0], "eig": lambda x: jnp.sort(jnp.linalg.eig(matrix(x))[0].real),
    "lstsq": lambda x: jnp.linalg.lstsq(matrix(x), x)[0], "pinv": lambda x: jnp.linalg.pinv(matrix(x)), "norm": jnp.linalg.norm, "matrix_rank": lambda x: jnp.linalg.matrix_rank(matrix(x)),
    "solve_triangular": lambda x: jsp.linalg.solve_triangular(matrix(x), x), "expm": lambda x: jsp.linalg.expm(matrix(x) / 9), "polyfit": lambda x: jnp.polyfit(x, x, 1),
    "gradient of solve": jax.grad(lambda x: jnp.linalg.solve(matrix(x), x).sum()), "gradient of eigh": jax.grad(lambda x: jnp.linalg.eigh(matrix(x))[0].sum()),
    "gradient of cholesky": jax.grad(lambda x: jnp.linalg.cholesky(matrix(x)).sum()), "gradient of qr": jax.grad(lambda x: jnp.linalg.qr(matrix(x))[1].sum()),
    "scan": lambda x: jax.lax.scan(lambda c, e: (c + e, c), 0.0, x), "while_loop": lambda x: jax.lax.while_loop(lambda c: c[0] < 9, lambda c: c * 2, x),
    "fori_loop": lambda x: jax.lax.fori_loop(0, 3, lambda i, c: c + i, x), "cond": lambda x: jax.lax.cond(x[0] > 0, jnp.sin, jnp.cos, x),
    "switch": lambda x: jax.lax.switch(x[1].astype(int), [jnp.sin, jnp.cos], x), "map": lambda x: jax.lax.map(jnp.sin, x), "vmap": jax.vmap(jnp.sin), "checkpoint": jax.checkpoint(jnp.sin),
    "stop_gradient": jax.lax.stop_gradient, "barrier": jax.lax.optimization_barrier, "bfloat16": lambda x: x.astype("bfloat16"), "float16": lambda x: (x.astype("float16") @ x.astype("float16")),
    "bit patterns": lambda x: jax.lax.bitcast_convert_type(x, jnp.uint32) >> 3 ^ 5, "isnan": jnp.isnan, "shift": lambda x: x.astype(int) >> 1, "clz": lambda x: jax.lax.clz(x.astype(int)), "precision": lambda x: jax.lax.reduce_precision(x, 5, 10), "population_count": lambda x: jax.lax.population_count(x.astype(int)),
    "nested jit of a lambda": lambda x: jax.lax.scan(lambda c, e: jax.jit(lambda a, b: (a + b, a))(c, e), 0.0, x), "a constant": lambda x: x + np.arange(3),
}  # fmt: skip


@pytest.fixture(scope="module")
def runner() -> Runner:
    return Runner()


@pytest.mark.oldest
@pytest.mark.parametrize("name", COURSE)
def test_what_a_course_uses_passes_and_gives_what_jax_gives(runner: Runner, name: str) -> None:
    f = COURSE[name]
    loaded = load(runner, exported(f))
    assert set(loaded) == {"function", "evidence"}
    got = runner.answer({"do": "run", "function": loaded["function"], "inputs": [X]})["outputs"]
    wanted = jax.tree.leaves(f(jnp.asarray(X)))
    assert len(got) == len(wanted)
    for one, other in zip(got, wanted, strict=True):
        assert type(one) is np.ndarray
        assert one.dtype == other.dtype
        np.testing.assert_allclose(np.asarray(one, "complex64"), np.asarray(other, "complex64"), rtol=1e-4, atol=1e-5)


RANDOM: dict[str, Any] = {
    "normal": lambda key: jax.random.normal(key, (4,)), "uniform": lambda key: jax.random.uniform(key, (4,)), "bernoulli": lambda key: jax.random.bernoulli(key, 0.5, (4,)),
    "randint": lambda key: jax.random.randint(key, (4,), 0, 9), "permutation": lambda key: jax.random.permutation(key, 5), "choice": lambda key: jax.random.choice(key, 5, (2,)),
    "choice without replacement": lambda key: jax.random.choice(key, 5, (2,), replace=False), "choice by weight": lambda key: jax.random.choice(key, 3, (2,), p=jnp.asarray(X) / 3.5),
    "categorical": lambda key: jax.random.categorical(key, jnp.asarray(X), shape=(4,)), "truncated_normal": lambda key: jax.random.truncated_normal(key, -1, 1, (4,)),
    "poisson": lambda key: jax.random.poisson(key, 3.0, (4,)), "gumbel": lambda key: jax.random.gumbel(key, (4,)), "orthogonal": lambda key: jax.random.orthogonal(key, 3),
    "split": lambda key: jax.random.key_data(jax.random.split(key, 3)), "fold_in": lambda key: jax.random.uniform(jax.random.fold_in(key, 3)),
    "vmapped": lambda key: jax.vmap(lambda k: jax.random.normal(k, (2,)))(jax.random.split(key, 3)),
    "in a scan": lambda key: jax.lax.scan(lambda k, _: (jax.random.split(k)[0], jax.random.normal(k)), key, None, length=2)[1],
    "initializer": lambda key: jax.nn.initializers.glorot_uniform()(key, (3, 4)),
}  # fmt: skip


@pytest.mark.oldest
@pytest.mark.parametrize("name", RANDOM)
def test_random_numbers_pass_and_are_those_of_jax(runner: Runner, name: str) -> None:
    def f(data: Any) -> Any:
        return RANDOM[name](jax.random.wrap_key_data(data))

    loaded = load(runner, exported(f, KEY), [[[2], "uint32"]])
    (got,) = runner.answer({"do": "run", "function": loaded["function"], "inputs": [KEY]})["outputs"]
    np.testing.assert_allclose(got, f(jnp.asarray(KEY)), rtol=1e-5, atol=1e-6)


def crafted(
    body: str, arguments: str = "%a: tensor<3xf32>", result: str = "tensor<3xf32>", more: str = ""
) -> jax.export.Exported:
    """A well-formed exported function around hand-written StableHLO."""
    text = f"module @m {{ func.func public @main({arguments}) -> {result} {{ {body} }} {more} }}"
    context = mlir.make_ir_context()
    with context:
        module = ir.Module.parse(text)
        serialized = stablehlo.serialize_portable_artifact(module, stablehlo.get_current_version())
    return dataclasses.replace(exported(lambda x: x + 1), mlir_module_serialized=serialized)


def custom_call(target: str) -> str:
    return f"%0 = stablehlo.custom_call @{target}(%a) : (tensor<3xf32>) -> tensor<3xf32> return %0 : tensor<3xf32>"


IDENTITY = "return %a : tensor<3xf32>"


def test_a_handwritten_module_is_run_where_it_is_fine(runner: Runner) -> None:
    one = crafted("%0 = stablehlo.multiply %a, %a : tensor<3xf32> return %0 : tensor<3xf32>")
    (got,) = runner.answer({"do": "run", "function": load(runner, one)["function"], "inputs": [X]})["outputs"]
    np.testing.assert_array_equal(got, X * X)


@pytest.mark.oldest
@pytest.mark.parametrize(
    "target",
    [
        "xla_python_cpu_callback", "xla_ffi_python_cpu_callback", "xla_ffi_partitioned_python_cpu_callback", "evil",
        "lapack_sevil_ffi", "lapack_sgetrf", "Sharding2", "sharding", "mhlo.erfc", "SPMDFullToShardShape", "AllocateBuffer",
    ],
)  # fmt: skip
def test_an_unlisted_custom_call_is_refused_by_name(runner: Runner, target: str) -> None:
    assert load(runner, crafted(custom_call(target))) == {"refused": f"the custom call {target!r} is not allowed"}


def test_a_foreign_function_of_jax_is_refused_by_name(runner: Runner) -> None:
    check = jax.export.DisabledSafetyCheck.custom_call("evil_target")
    one = exported(
        lambda x: jax.ffi.ffi_call("evil_target", jax.ShapeDtypeStruct((3,), np.float32))(x), disabled=[check]
    )
    assert load(runner, one) == {"refused": "the custom call 'evil_target' is not allowed"}


TOKEN = "%t = stablehlo.create_token : !stablehlo.token "
REFUSED_OPERATIONS: dict[str, tuple[str, str]] = {
    "infeed": ("stablehlo.infeed", '%0:2 = "stablehlo.infeed"(%t) {infeed_config=""} : (!stablehlo.token) -> (tensor<3xf32>, !stablehlo.token) '),
    "outfeed": ("stablehlo.outfeed", '%0 = "stablehlo.outfeed"(%a, %t) {outfeed_config=""} : (tensor<3xf32>, !stablehlo.token) -> !stablehlo.token '),
    "all_reduce": ("stablehlo.all_reduce", '%0 = "stablehlo.all_reduce"(%a) ({ ^bb0(%x: tensor<f32>, %y: tensor<f32>): '
                   "%s = stablehlo.add %x, %y : tensor<f32> stablehlo.return %s : tensor<f32> }) "
                   "{replica_groups = dense<[[0]]> : tensor<1x1xi64>} : (tensor<3xf32>) -> tensor<3xf32> "),
    "rng": ("stablehlo.rng", "%l = stablehlo.constant dense<0.0> : tensor<f32> %s = stablehlo.constant dense<3> : tensor<1xi64> "
            "%0 = stablehlo.rng %l, %l, %s, distribution = UNIFORM : (tensor<f32>, tensor<f32>, tensor<1xi64>) -> tensor<3xf32> "),
    "dynamic_iota": ("stablehlo.dynamic_iota", "%s = stablehlo.constant dense<3> : tensor<1xi64> "
                     "%0 = stablehlo.dynamic_iota %s, dim = 0 : (tensor<1xi64>) -> tensor<?xf32> "),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED_OPERATIONS)
def test_an_unlisted_operation_is_refused_by_name(runner: Runner, name: str) -> None:
    operation, text = REFUSED_OPERATIONS[name]
    token = TOKEN if "token" in text else ""
    refused = load(runner, crafted(token + text + IDENTITY))["refused"]
    named = {f"the operation {operation!r} is not allowed", "the operation 'stablehlo.create_token' is not allowed"}
    assert refused in (named if token else {f"the operation {operation!r} is not allowed"})


@pytest.mark.parametrize(
    ("body", "more"),
    [
        (IDENTITY, f"func.func private @dead(%a: tensor<3xf32>) -> tensor<3xf32> {{ {custom_call('evil')} }}"),
        ("%0 = stablehlo.custom_call @evil(%a) : (tensor<3xf32>) -> tensor<3xf32> " + IDENTITY, ""),
        (
            "%p = stablehlo.constant dense<0> : tensor<i32> "
            '%0 = "stablehlo.case"(%p) ({ %1 = stablehlo.custom_call @evil(%a) : (tensor<3xf32>) -> tensor<3xf32> '
            "stablehlo.return %1 : tensor<3xf32> }, { stablehlo.return %a : tensor<3xf32> }) : (tensor<i32>) -> tensor<3xf32> "
            "return %0 : tensor<3xf32>",
            "",
        ),
        (
            '%0 = stablehlo.composite "my.op" %a {decomposition = @inside} : (tensor<3xf32>) -> tensor<3xf32> return %0 : tensor<3xf32>',
            f"func.func private @inside(%a: tensor<3xf32>) -> tensor<3xf32> {{ {custom_call('evil')} }}",
        ),
    ],
    ids=["function never called", "result never used", "in a branch", "in a composite"],
)
def test_a_custom_call_cannot_be_hidden(runner: Runner, body: str, more: str) -> None:
    assert load(runner, crafted(body, more=more)) == {"refused": "the custom call 'evil' is not allowed"}


@pytest.mark.oldest
@pytest.mark.parametrize(
    "body",
    [
        "%0 = stablehlo.iota dim = 0 : tensor<100000x100000xf32> ",
        "%0 = stablehlo.constant dense<0.0> : tensor<300000000xf32> ",
        "%c = stablehlo.constant dense<0> : tensor<i8> %0 = stablehlo.broadcast_in_dim %c, dims = [] : (tensor<i8>) -> tensor<1099511627776xi8> ",
    ],
    ids=["iota", "constant", "broadcast"],
)  # fmt: skip
def test_an_absurd_size_is_refused(runner: Runner, body: str) -> None:
    assert "larger than 1,024 MiB" in load(runner, crafted(body + IDENTITY))["refused"]


def test_a_program_with_a_library_in_it_is_refused(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    one = exported(lambda x: x + np.arange(300, dtype="float32").reshape(100, 3) + np.ones((100, 3), "float32"))
    assert "function" in load(runner, one)
    monkeypatch.setattr(gate, "MAX_CONSTANTS", 1199)
    assert load(runner, one) == {"refused": "more than 0 MiB of arrays are baked into it"}
    monkeypatch.setattr(gate, "MAX_CONSTANTS", 1200)  # one number repeated takes no room
    assert "function" in load(runner, one)


def test_a_program_that_is_too_long_is_refused(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    one = exported(lambda x: jnp.sin(jnp.sin(jnp.sin(x))))
    assert "function" in load(runner, one)
    monkeypatch.setattr(gate, "MAX_OPERATIONS", 4)
    assert load(runner, one) == {"refused": "it has more than 4 operations"}


def test_a_size_just_below_the_limit_passes() -> None:
    fine, large = (
        _compat.parse_module(
            crafted(f"%0 = stablehlo.iota dim = 0 : tensor<{n}xf32> {IDENTITY}").mlir_module_serialized
        )
        for n in (gate.MAX_BYTES // 4, gate.MAX_BYTES // 4 + 1)
    )
    assert gate.refusal(fine) is None
    assert gate.refusal(large) is not None


WRONG_SPECS: list[Any] = [
    [], [[[4], "float32"]], [[[3], "int32"]], [[[3], "float32"], [[3], "float32"]], [[[], "float32"]], [[[1, 3], "float32"]], None,
]  # fmt: skip


@pytest.mark.parametrize("specs", WRONG_SPECS, ids=repr)
def test_a_function_of_other_inputs_is_refused(runner: Runner, specs: Any) -> None:
    refused = load(runner, exported(lambda x: x), specs)["refused"]
    assert refused == f"it takes {SPECS} where {specs} was asked for"


def test_a_module_that_is_not_what_its_header_says_is_not_run(runner: Runner) -> None:
    one = crafted("return %a : tensor<4xf32>", "%a: tensor<4xf32>", "tensor<4xf32>")
    with pytest.raises(Exception, match=r"same shape|verifier"):
        load(runner, one)


def test_a_function_that_calls_itself_is_not_run(runner: Runner) -> None:
    one = crafted("%0 = func.call @main(%a) : (tensor<3xf32>) -> tensor<3xf32> return %0 : tensor<3xf32>")
    with pytest.raises(RecursionError):
        load(runner, one)


def kept(f: Any) -> bytes:
    """What another runner has compiled a function to."""
    other = Runner()
    executable: bytes = other.answer({"do": "keep", "function": load(other, exported(f))["function"]})["executable"]
    return executable


@pytest.mark.oldest
def test_what_another_runner_has_compiled_gives_the_same_numbers() -> None:
    f = lambda x: {"a": jnp.exp(x) @ x, "b": jax.lax.fori_loop(0, 3, lambda i, y: y * x, x)}  # noqa: E731
    compiled, taken = Runner(), Runner()
    name = load(compiled, exported(f))["function"]
    assert load(taken, exported(f), executable=kept(f))["function"] == name
    answers = [one.answer({"do": "run", "function": name, "inputs": [X]})["outputs"] for one in (compiled, taken)]
    assert [part.tolist() for part in answers[0]] == [part.tolist() for part in answers[1]]


def test_what_another_runner_has_compiled_is_not_compiled_again() -> None:
    runner = Runner()
    name = load(runner, exported(lambda x: x * 2), executable=kept(lambda x: x * 3))["function"]
    assert runner.answer({"do": "run", "function": name, "inputs": [X]})["outputs"][0].tolist() == (X * 3).tolist()


def test_the_same_body_at_other_inputs_is_another_function() -> None:
    runner = Runner()
    one = load(runner, exported(lambda x, y: y + 1, X, X), SPECS * 2)
    other = load(runner, exported(lambda y: y + 1, X))
    assert one["function"] != other["function"]
    assert (
        runner.answer({"do": "run", "function": one["function"], "inputs": [X, X + 1]})["outputs"][0].tolist()
        == (X + 2).tolist()
    )


@pytest.mark.parametrize("message", [{"do": "exec"}, {"do": None}, {"do": ["load"]}, {"do": "trace"}], ids=repr)
def test_an_unknown_message_is_refused(runner: Runner, message: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError, match="does not know this message"):
        runner.answer(message)


@pytest.fixture(scope="module")
def whole() -> bytes:
    return bytes(exported(lambda x: jnp.sin(x) @ x).serialize(vjp_order=0))


@pytest.mark.oldest
@pytest.mark.parametrize("part", ["nothing", "half", "all but the end", "zeros", "text"])
def test_damaged_bytes_end_the_runner_at_worst(whole: bytes, part: str) -> None:
    damaged = {"nothing": b"", "half": whole[: len(whole) // 2], "all but the end": whole[:-40], "zeros": bytes(len(whole)),
               "text": b"def f(x): pass" * 9}[part]  # fmt: skip
    process = Process("runner")
    try:
        try:
            answer = process.ask({"do": "load", "exported": damaged, "specs": SPECS}, 60)
        except Died:
            answer = {"refused": "died"}
        assert "refused" in answer
    finally:
        process.close()
