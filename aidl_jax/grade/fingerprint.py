"""A hash over an exported function's graph, and what can be read off it. Runs in the runner.

Names, argument names, files, lines and the order of independent operations do not matter; dead code
does not count; a call is followed into the function it calls, a composite into its decomposition.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterator, Sequence
from typing import Any

from aidl_jax import _compat

IGNORED_ATTRIBUTES = frozenset(
    [
        "sym_name",
        "sym_visibility",
        "arg_attrs",
        "res_attrs",
        "callee",
        "decomposition",
        "mhlo.sharding",
        "sdy.sharding_rule",
    ]
)

FEW_STEPS = 100  # of a loop, that are run sooner than they are compiled well


def fingerprint(module: Any, calling: str = "") -> str:
    """The hash of a module's `main` function and of how it is called, 32 hexadecimal digits."""
    functions = {_name(op): op for op in module.body.operations if op.operation.name == "func.func"}
    memo: dict[tuple[str | int, ...], list[str]] = {}

    def call(name: str, arguments: Sequence[str], depth: int) -> list[str]:
        key: tuple[str | int, ...] = (name, depth, *arguments)
        if key not in memo:
            block = functions[name].regions[0].blocks[0]
            memo[key] = run(block, arguments, {}, depth)
        return memo[key]

    def run(block: Any, arguments: Sequence[str], outer: dict[Any, str], depth: int) -> list[str]:
        """The hashes of what a block returns."""
        known = {**outer, **dict(zip(block.arguments, arguments, strict=True))}
        for op in block.operations:
            operation = op.operation
            operands = [known[operand] for operand in operation.operands]
            if operation.name in ("func.return", "stablehlo.return"):
                return operands
            if operation.name == "func.call":
                results = call(operation.attributes["callee"].value, operands, depth)
            else:
                inner = list(_regions(operation, known, depth))
                if operation.name == "stablehlo.composite":
                    inner += call(operation.attributes["decomposition"].value, operands, depth)
                one = _digest(operation.name, *_attributes(operation), *operands, *inner)
                types = [str(result.type) for result in operation.results]
                results = [_digest(one, str(i), kind) for i, kind in enumerate(types)]
            known.update(zip(operation.results, results, strict=True))
        return []

    def _regions(operation: Any, known: dict[Any, str], depth: int) -> Iterator[str]:
        for region in operation.regions:
            for block in region.blocks:
                names = [f"argument {depth}.{i} {arg.type}" for i, arg in enumerate(block.arguments)]
                yield _digest("region", *run(block, names, known, depth + 1))

    main = functions["main"].regions[0].blocks[0]
    inputs = [f"input {i} {arg.type}" for i, arg in enumerate(main.arguments)]
    return _digest(calling, *run(main, inputs, {}, 0))


def evidence(module: Any) -> dict[str, Any]:
    """How something was computed, as far as the graph shows; a determined cheat can blur it.

    Returns:
        `matrix_products`: how many matrix products and convolutions stand in it;
        `operations`: how many operations stand in it, those in the body of a loop counted once;
        `constant_bytes`: the size of the largest array baked in as a constant;
        `autodiff`: whether JAX's reverse mode left its names on an operation.
    """
    operations, products, constant, autodiff = 0, 0, 0, False
    for operation in walk(module):
        operations += 1
        products += operation.name in ("stablehlo.dot_general", "stablehlo.convolution")
        constant = max(constant, constant_bytes(operation))
        autodiff = autodiff or "transpose(jvp(" in str(operation.location)
    return {"operations": operations, "matrix_products": products, "constant_bytes": constant, "autodiff": autodiff}


def loops_long(module: Any) -> bool:
    """Whether loops stand in it that are not known to take a few steps in all, also should each stand in the others."""
    loops = (operation for operation in walk(module) if operation.name == "stablehlo.while")
    return math.prod(max(_last_step(loop), 1) for loop in loops) > FEW_STEPS


def _last_step(loop: Any) -> float:
    """The integer that a loop counts up to; infinite where it goes on until something else holds."""
    *_, end = loop.regions[0].blocks[0].operations
    compared: Any = end.operands[0].owner if len(end.operands) else None
    direction = str(_compat.attributes(compared).get("comparison_direction")) if hasattr(compared, "attributes") else ""
    found = _integer(compared.operands[1].owner) if re.search(r"\bL[TE]\b", direction) else None
    return math.inf if found is None else found


def _integer(owner: Any) -> int | None:
    """What the operation behind a value holds, if that is an integer."""
    held: Any = _compat.attributes(owner).get("value") if hasattr(owner, "attributes") else None
    if not isinstance(held, _compat.ir.DenseIntElementsAttr) or not held.is_splat:
        return None
    number = held.get_splat_value()
    return int(number) if isinstance(number, _compat.ir.IntegerAttr) else None


def walk(module: Any) -> Iterator[Any]:
    """Every operation, outer ones first."""
    waiting = [module.operation]
    while waiting:
        operation = waiting.pop()
        yield operation
        for region in operation.regions:
            for block in region.blocks:
                waiting += [op.operation for op in block.operations]


def constant_bytes(operation: Any) -> int:
    """The bytes of the array that a constant bakes in; 0 for other operations, and for one number repeated."""
    if operation.name != "stablehlo.constant":
        return 0
    value = _compat.attributes(operation)["value"]
    return 0 if getattr(value, "is_splat", False) else size_of(operation.results[0].type)


def size_of(kind: Any) -> int:
    """The bytes of an array type such as `tensor<4x4xf32>`; 0 for other types."""
    try:
        shaped = _compat.ir.RankedTensorType(kind)
    except (ValueError, TypeError):
        return 0
    count = 1
    for n in shaped.shape:
        count *= max(int(n), 0)
    element = str(shaped.element_type)  # f32, i1, ui8, complex<f32>
    bits = int("".join(c for c in element if c.isdigit()) or 32) * (2 if element.startswith("complex") else 1)
    return count * max(bits // 8, 1)


def _attributes(operation: Any) -> list[str]:
    named = _compat.attributes(operation).items()
    return sorted(f"{name}={value}" for name, value in named if name not in IGNORED_ATTRIBUTES)


def _name(function: Any) -> str:
    return function.attributes["sym_name"].value


def _digest(*parts: str) -> str:
    hashed = hashlib.blake2b(digest_size=16)
    for part in parts:
        hashed.update(part.encode() + b"\0")
    return hashed.hexdigest()
