"""What a call of `graph.run` and of `graph.function` costs on ten small operations, beside JAX and TensorFlow.

Run: python -m pip install -e '.[bench]'
     python benchmarks/graph_run.py [--rounds 61] > benchmarks/results/graph_run.md
All contenders take turns in every round, so that what else the machine does hits them alike. Times are medians over
rounds; ratios are medians of the rounds' ratios to `jax.jit`. Without TensorFlow: --no-tensorflow.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

os.environ |= {"JAX_PLATFORMS": "cpu", "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}

import jax
import jax.numpy as jnp
import numpy as np

from aidl_jax.graph import Graph, trace

BATCH, WIDTH, PAUSE = 8, 16, 10
LATE = f"`jax.jit`, {PAUSE} microseconds after the last call"
Contenders = dict[str, Callable[[], Any]]


class Model(NamedTuple):
    """A function of ten operations, written for one library, and the shapes of its arguments."""

    name: str
    function: Callable[..., Any]
    shapes: tuple[tuple[int, ...], ...]


def scalars(library: Any, x: Any) -> Any:
    """Five times a product and a maximum."""
    for _ in range(5):
        x = library.maximum(x * 0.5, 0.1)
    return x


def mlp(library: Any, x: Any, *params: Any) -> Any:
    """Three layers: each a product, a sum and an activation; the output scaled."""
    w1, b1, w2, b2, w3, b3 = params
    hidden = library.maximum(library.matmul(x, w1) + b1, 0.0)
    hidden = library.maximum(library.matmul(hidden, w2) + b2, 0.0)
    return library.tanh(library.matmul(hidden, w3) + b3) * 0.5


def main() -> None:
    """Prints the tables as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=61)
    parser.add_argument("--calls", type=int, default=100, help="calls of each contender in a round")
    parser.add_argument("--no-tensorflow", action="store_true")
    options = parser.parse_args()
    tensorflow = None if options.no_tensorflow else imported_tensorflow()
    square, row = (WIDTH, WIDTH), (BATCH, WIDTH)
    versions = f"python {platform.python_version()}, jax {jax.__version__}, numpy {np.__version__}"
    if tensorflow:
        versions += f", tensorflow {tensorflow.__version__}"
    machine = f"{platform.machine()}, CPU, {os.cpu_count()} cores"
    print(f"# Cost of running a graph\n\n{versions}; {machine}; {options.rounds} rounds of {options.calls} calls.\n")
    print(EXPLAINED + (EXPLAINED_TENSORFLOW if tensorflow else ""), end="")
    for model in (
        Model("scalars, one feed", scalars, ((),)),
        Model(f"MLP, seven feeds, float32[{BATCH},{WIDTH}]", mlp, (row, *[square, row] * 3)),
    ):
        report(f"{model.name}: NumPy in, NumPy out", compared(model, tensorflow), options)
        report(f"{model.name}: JAX arrays in, result awaited", awaited(model), options)
    for size in (1, 2, 8):
        report(f"MLP, a batch of {size}: NumPy in, NumPy out", batches(size), options)


EXPLAINED = f"""\
`function` is `graph.function(fetches, feeds)`, called; `run` is `graph.run(fetches, feeds)`. Every function is of ten
operations. XLA gives matrix products to threads, which fall asleep some microseconds after the last call and take longer
to wake than the products take: a caller of `jax.jit` that does something else for {PAUSE} microseconds (they are counted)
pays for more than those, and so does `run`.
"""
EXPLAINED_TENSORFLOW = """
TensorFlow's graph is of the same ten operations. It is measured twice: as it comes, with a pool of threads, and with
`inter_op_parallelism_threads=-1`, which was the fastest of its settings for graphs this small.
"""


def imported_tensorflow() -> Any:
    """TensorFlow, which only this benchmark needs."""
    try:
        import tensorflow as tf
    except ImportError as error:
        raise SystemExit(f"TensorFlow is not here ({error}): python -m pip install -e '.[bench]'") from error
    return tf


def compared(model: Model, tensorflow: Any) -> Contenders:
    """All contenders on the same NumPy arrays."""
    values = drawn(model)
    jitted, graph, names = traced(model)
    function, feeds = graph.function(graph.outputs, names), dict(zip(names, values, strict=True))
    contenders: Contenders = {
        "`jax.jit`": lambda: np.asarray(jitted(*values)),
        LATE: lambda: np.asarray(after_a_pause(jitted)(*values)),
        "`function`": lambda: np.asarray(function(*values)),
        "`run`": lambda: np.asarray(graph.run(graph.outputs, feeds)),
        "`run`, fetch by name": lambda: np.asarray(graph.run(graph.outputs.name, feeds)),
    }
    return contenders | (sessions(model, values, tensorflow) if tensorflow else {})


def awaited(model: Model) -> Contenders:
    """Without copies between NumPy and JAX: what the calls themselves cost."""
    values = list(map(jnp.asarray, drawn(model)))
    jitted, graph, names = traced(model)
    function, feeds = graph.function(graph.outputs, names), dict(zip(names, values, strict=True))
    return {
        "`jax.jit`": lambda: jitted(*values).block_until_ready(),
        LATE: lambda: after_a_pause(jitted)(*values).block_until_ready(),
        "`function`": lambda: function(*values).block_until_ready(),
        "`run`": lambda: graph.run(graph.outputs, feeds).block_until_ready(),
    }


def batches(size: int) -> Contenders:
    """A graph that serves every size beside one for this size."""
    row, square = (size, WIDTH), (WIDTH, WIDTH)
    model = Model("", mlp, (row, *[square, row] * 3))
    values = drawn(model)
    jitted, graph, names = traced(model)
    specs = [jax.ShapeDtypeStruct((None, WIDTH) if shape == row else shape, jnp.float32) for shape in model.shapes]
    every = trace(of_jax(model), *specs)
    feeds, function = dict(zip(names, values, strict=True)), every.function(every.outputs, names)
    return {
        "`jax.jit`": lambda: np.asarray(jitted(*values)),
        LATE: lambda: np.asarray(after_a_pause(jitted)(*values)),
        "`run`, traced at this size": lambda: np.asarray(graph.run(graph.outputs, feeds)),
        "`function`, traced for every size": lambda: np.asarray(function(*values)),
        "`run`, traced for every size": lambda: np.asarray(every.run(every.outputs, feeds)),
    }


def after_a_pause(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, after the microseconds that a slower caller would have spent."""
    end = time.perf_counter() + PAUSE * 1e-6
    while time.perf_counter() < end:
        pass
    return function


def drawn(model: Model) -> list[np.ndarray]:
    """The same random arguments for all."""
    generator = np.random.default_rng(0)
    return [np.asarray(generator.normal(size=shape) / np.sqrt(WIDTH), np.float32) for shape in model.shapes]


def of_jax(model: Model) -> Callable[..., Any]:
    """The model as a function of arrays."""

    def function(*args: Any) -> Any:
        return model.function(jnp, *args)

    return function


def traced(model: Model) -> tuple[Callable[..., Any], Graph, list[str]]:
    """The model jitted, its graph, and the names of its arguments."""
    function = of_jax(model)
    graph = trace(function, *drawn(model))
    work = [operation.type for operation in graph.operations() if operation.inputs]
    assert len(work) == 10, work
    return jax.jit(function), graph, [one.operation for one in graph.placeholders]


def sessions(model: Model, values: Sequence[np.ndarray], tensorflow: Any) -> Contenders:
    """TensorFlow's graph of the same operations, run as TF 1 ran it."""
    v1 = tensorflow.compat.v1
    contenders: Contenders = {}
    for threads, suffix in ((0, ""), (-1, ", in the calling thread")):
        graph = tensorflow.Graph()
        with graph.as_default():
            given = [v1.placeholder(tensorflow.float32, shape) for shape in model.shapes]
            output = model.function(tensorflow, *given)
        config = v1.ConfigProto(inter_op_parallelism_threads=threads)
        session, feeds = v1.Session(graph=graph, config=config), dict(zip(given, values, strict=True))
        contenders[f"`Session.run`{suffix}"] = partial(session.run, output, feeds)
        contenders[f"`Session.make_callable`{suffix}"] = partial(session.make_callable(output, given), *values)
    work = [one.type for one in graph.get_operations() if one.type not in ("Placeholder", "Const")]
    assert len(work) == 10, work
    return contenders


def report(title: str, contenders: Contenders, options: argparse.Namespace) -> None:
    """One table; contenders must agree before they are timed."""
    expected = contenders["`jax.jit`"]()
    for call in contenders.values():
        np.testing.assert_allclose(call(), expected, rtol=1e-5, atol=1e-6)
    rounds = [timed(contenders, options.calls, number) for number in range(options.rounds + 1)][1:]
    print(f"\n## {title}\n\n| call | microseconds | fastest round | times `jax.jit` |\n|---|---:|---:|---:|")
    for name in contenders:
        found = [one[name] for one in rounds]
        ratio = statistics.median(one[name] / one["`jax.jit`"] for one in rounds)
        print(f"| {name} | {statistics.median(found):.1f} | {min(found):.1f} | {ratio:.2f} |")


def timed(contenders: Contenders, calls: int, number: int) -> dict[str, float]:
    """Microseconds a call; the order differs from round to round, so that what ran before hits all alike."""
    found = {}
    for name in random.Random(number).sample(list(contenders), len(contenders)):
        call = contenders[name]
        start = time.perf_counter()
        for _ in range(calls):
            call()
        found[name] = (time.perf_counter() - start) / calls * 1e6
    return found


if __name__ == "__main__":
    main()
