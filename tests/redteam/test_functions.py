"""Exported functions made by hand: what is not listed is refused by name, what is malformed or endless ends its own runner."""

from __future__ import annotations

import functools
import os
import random
from collections.abc import Iterator

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
from arena import Arena, Attack, parametrized

from aidl_jax.errors import ProtocolError
from aidl_jax.grade.process import Died, Process, TimedOut

MUTATIONS = int(os.environ.get("AIDL_MUTATIONS", "1000"))
SPECS = [[[4], "float32"], [[], "float32"]]
READING = "^(refused: The traced function was refused: its bytes cannot be read|malformed: )"
CRAFT = '''
import dataclasses
from jax._src.export import _export
from jax._src.interpreters import mlir
from jax._src.lib.mlir import ir

def crafted(main, others=""):
    text = f"""module @m {{
      func.func public @main(%x: tensor<4xf32>, %factor: tensor<f32>) -> (tensor<4xf32>) {{
        {main}
      }}
      {others}
    }}"""
    with mlir.make_ir_context():
        return _export._module_to_bytecode(ir.Module.parse(text))

def instead(main, others=""):
    """From now on the bytes of every exported function are those of this one."""
    replace_bytes(lambda exported: dataclasses.replace(exported, mlir_module_serialized=crafted(main, others)))

def replace_bytes(change):
    serialize = _export.Exported.serialize
    _export.Exported.serialize = lambda self, **options: serialize(change(self), **options)
'''
LARGE = "tensor<100000000000xf32>"
CALL = "stablehlo.custom_call @{target}(%x) {{{options}}} : (tensor<4xf32>) -> tensor<4xf32>"


def module(name: str, pattern: str, main: str, others: str = "") -> Attack:
    """An attack whose traced function is replaced by a module written by hand."""
    body = f"instead({main!r}, {others!r})\nreturn x + factor"
    return Attack(name, {"scale": pattern}, top=CRAFT, scale=body)


def returned(operation: str) -> str:
    """The body of a function that returns what one operation gives."""
    return f"%r = {operation}\nreturn %r : tensor<4xf32>"


REFUSED = [
    *[
        module(
            f"a custom call of {target}",
            f"^refused: .*custom call '{target}'",
            returned(CALL.format(target=target, options=options)),
        )
        for target, options in {
            "xla_ffi_python_cpu_callback": "api_version = 4 : i32, has_side_effect = true",
            "xla_python_cpu_callback": "api_version = 2 : i32",
            "system": "",
            "no_such_target": "",
        }.items()
    ],
    module(
        "infeed",
        "^refused: .*stablehlo.(infeed|after_all)' is not allowed",
        "%t = stablehlo.after_all : !stablehlo.token\n"
        '%r:2 = "stablehlo.infeed"(%t) : (!stablehlo.token) -> (tensor<4xf32>, !stablehlo.token)\n'
        "return %r#0 : tensor<4xf32>",
    ),
    module(
        "outfeed",
        "^refused: .*stablehlo.(outfeed|after_all)' is not allowed",
        "%t = stablehlo.after_all : !stablehlo.token\n"
        '%o = "stablehlo.outfeed"(%x, %t) : (tensor<4xf32>, !stablehlo.token) -> !stablehlo.token\nreturn %x : tensor<4xf32>',
    ),
    module(
        "a collective",
        "^refused: .*'stablehlo.all_gather' is not allowed",
        '%r = "stablehlo.all_gather"(%x) {all_gather_dim = 0 : i64, replica_groups = dense<[[0]]> : tensor<1x1xi64>} '
        ": (tensor<4xf32>) -> tensor<4xf32>\nreturn %r : tensor<4xf32>",
    ),
    module(
        "absurd shapes",
        "^refused: .*is larger than",
        f"%a = stablehlo.iota dim = 0 : {LARGE}\n"
        f'%r = "stablehlo.slice"(%a) {{start_indices = array<i64: 0>, limit_indices = array<i64: 4>, strides = array<i64: 1>}} '
        f": ({LARGE}) -> tensor<4xf32>\nreturn %r : tensor<4xf32>",
    ),
    module(
        "an absurd constant",
        "^refused: .*is larger than",
        f"%a = stablehlo.constant dense<1.0> : {LARGE}\n"
        f'%r = "stablehlo.slice"(%a) {{start_indices = array<i64: 0>, limit_indices = array<i64: 4>, strides = array<i64: 1>}} '
        f": ({LARGE}) -> tensor<4xf32>\nreturn %r : tensor<4xf32>",
    ),
    module(
        "an endless loop",
        "^timeout: ",
        """%r = stablehlo.while(%i = %x) : tensor<4xf32>
        cond { %t = stablehlo.constant dense<true> : tensor<i1>
               stablehlo.return %t : tensor<i1> }
        do { %n = stablehlo.add %i, %i : tensor<4xf32>
             stablehlo.return %n : tensor<4xf32> }
        return %r : tensor<4xf32>""",
    ),
    module(
        "a call graph that doubles forty times",
        "^(timeout|limit|malformed|refused): ",
        "%r = func.call @f0(%x) : (tensor<4xf32>) -> tensor<4xf32>\nreturn %r : tensor<4xf32>",
        "\n".join(
            f"func.func private @f{n}(%x: tensor<4xf32>) -> tensor<4xf32> {{\n"
            f"%a = func.call @f{n + 1}(%x) : (tensor<4xf32>) -> tensor<4xf32>\n"
            f"%b = func.call @f{n + 1}(%a) : (tensor<4xf32>) -> tensor<4xf32>\nreturn %b : tensor<4xf32> }}"
            for n in range(40)
        )
        + "func.func private @f40(%x: tensor<4xf32>) -> tensor<4xf32> {\n"
        "%a = stablehlo.add %x, %x : tensor<4xf32>\nreturn %a : tensor<4xf32> }",
    ),
    module(
        "a function that calls itself",
        "^(timeout|limit|malformed|refused|died): ",
        "%r = func.call @f(%x) : (tensor<4xf32>) -> tensor<4xf32>\nreturn %r : tensor<4xf32>",
        "func.func private @f(%x: tensor<4xf32>) -> tensor<4xf32> {\n"
        "%a = func.call @f(%x) : (tensor<4xf32>) -> tensor<4xf32>\nreturn %a : tensor<4xf32> }",
    ),
    Attack(
        "deep nesting",
        {"scale": "^(timeout|limit|malformed|refused|died|value): "},
        top=CRAFT,
        scale="""
        inner = "%z = stablehlo.constant dense<0> : tensor<i32>\\n"
        for n in range(2_000):
            inner += f'%r{n} = "stablehlo.case"(%z) ({{\\n'
        inner += "stablehlo.return %x : tensor<4xf32>\\n"
        for n in reversed(range(2_000)):
            inner += "}) : (tensor<i32>) -> tensor<4xf32>\\n" + (f"stablehlo.return %r{n} : tensor<4xf32>\\n" if n else "")
        instead(inner + "return %r0 : tensor<4xf32>")
        return x + factor
        """,
    ),
]

BYTES = [
    Attack("no bytes", {"scale": READING}, top=CRAFT, scale="_export.Exported.serialize = lambda *a, **k: b''\nreturn x"),
    Attack("text", {"scale": READING}, top=CRAFT, scale="_export.Exported.serialize = lambda *a, **k: b'passed' * 99\nreturn x"),
    Attack(
        "half of the bytes",
        {"scale": READING},
        top=CRAFT,
        scale="""
        serialize = _export.Exported.serialize
        _export.Exported.serialize = lambda self, **k: serialize(self, **k)[:900]
        return x * factor
        """,
    ),
    Attack(
        "a module that is none",
        {"scale": READING},
        top=CRAFT,
        scale="replace_bytes(lambda e: dataclasses.replace(e, mlir_module_serialized=b'ML\\xefR' + bytes(99)))\nreturn x * factor",
    ),
    Attack(
        "a function of other inputs",
        {"scale": "^refused: .*it takes .* was asked for"},
        top=CRAFT,
        scale="""
        wide = jax.export.export(jax.jit(lambda a, b: [a]))(jnp.zeros(8), jnp.zeros(()))
        replace_bytes(lambda exported: wide)
        return x * factor
        """,
    ),
    Attack(
        "a function for another platform",
        {"scale": "^(malformed|refused): "},
        top=CRAFT,
        scale="replace_bytes(lambda e: dataclasses.replace(e, platforms=('tpu',)))\nreturn x * factor",
    ),
]  # fmt: skip


@parametrized(REFUSED)
def test_a_module_made_by_hand_never_passes(arena: Arena, attack: Attack) -> None:
    arena.withstands(attack, time_limit=3.0)


@parametrized(BYTES)
def test_bytes_that_are_no_such_function_never_pass(arena: Arena, attack: Attack) -> None:
    arena.withstands(attack)


@functools.cache
def exported() -> tuple[bytes, ...]:
    """Three functions, as a worker would send them."""
    functions = [
        lambda x, factor: [x * factor],
        lambda x, factor: [jax.lax.fori_loop(0, 3, lambda i, c: jnp.sin(c) * factor, x)],
        lambda x, factor: [jnp.linalg.inv(jnp.outer(x, x) + factor * jnp.eye(4))[0]],
    ]
    arguments = [jax.ShapeDtypeStruct(tuple(shape), np.dtype(dtype)) for shape, dtype in SPECS]
    return tuple(bytes(jax.export.export(jax.jit(f), platforms=["cpu"])(*arguments).serialize()) for f in functions)


def mutations(count: int, seed: int) -> Iterator[bytes]:
    """Serialized functions with some bytes changed, cut off or put elsewhere; the same for the same seed."""
    source = random.Random(seed)
    for _ in range(count):
        data = bytearray(source.choice(exported()))
        for _ in range(source.choice([1, 1, 2, 8, 64])):
            if len(data) < 4:
                break
            place, other = source.randrange(len(data)), source.randrange(len(data))
            match source.randrange(5):
                case 0:
                    data[place] ^= 1 << source.randrange(8)
                case 1:
                    data[place] = source.choice([0, 1, 0x7F, 0x80, 0xFF])
                case 2:
                    data[place : place + source.randrange(16)] = source.randbytes(source.randrange(16))
                case 3:
                    data[place : place + 16] = data[other : other + 16]
                case 4:
                    del data[source.randrange(len(data) // 2, len(data)) :]
        yield bytes(data)


def answer_to(runner: Process, mutant: bytes) -> str:
    """What a runner does with a mutant: "refused", "loaded", or how it ended."""
    try:
        answer = runner.ask({"do": "load", "exported": mutant, "specs": SPECS}, 5)
        if "function" in answer:
            inputs = [np.zeros(4, "float32"), np.zeros((), "float32")]
            runner.ask({"do": "compile", "function": answer["function"], "executable": None}, 5)
            runner.ask({"do": "run", "function": answer["function"], "inputs": inputs}, 5)
        return "refused" if "refused" in answer else "loaded"
    except (Died, TimedOut, ProtocolError) as error:
        return type(error).__name__


@pytest.mark.parametrize("part", range(4))
def test_mutated_bytes_end_their_own_runner_at_most(arena: Arena, part: int) -> None:
    runner = Process("runner", arena.nursery.start)
    seen: dict[str, int] = {}
    for count, mutant in enumerate(mutations(MUTATIONS // 4, seed=part)):
        outcome = answer_to(runner, mutant)
        seen[outcome] = seen.get(outcome, 0) + 1
        if outcome not in ("refused", "loaded"):
            runner.close()
            runner = Process("runner", arena.nursery.start)
        if count % 100 == 99:
            assert arena.neighbour.record() == arena.neighbour.alone
    runner.close()
    assert arena.neighbour.record() == arena.neighbour.alone
    assert sum(seen.values()) == MUTATIONS // 4 and seen["refused"] > seen.get("Died", 0)
