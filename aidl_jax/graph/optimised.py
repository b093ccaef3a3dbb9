"""What XLA made of a function, read from the text of the compiled program."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

__all__ = ["Counts", "Instruction", "computations", "count", "kernels"]

_HEADER = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{$")
_INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%?[\w.\-]+ = .*? ([a-z][\w\-]*)\((.*)$")
_CALLED = re.compile(
    r"\b(?:calls|to_apply|condition|body|true_computation|false_computation|branch_computations)=(\{.*?\}|[^\s,]+)"
)
_CONTROL = ("call", "while", "conditional")
_NO_WORK = ("parameter", "constant", "tuple", "get-tuple-element", "bitcast")


@dataclass(frozen=True)
class Counts:
    """How much there is in an optimised program.

    Args:
        instructions: all, those inside of fusions included.
        kernels: pieces of work that are run one after the other, those of loops and branches once.
        fusions: those kernels that are several operations made one.
        loops: loops; XLA counts the work of one iteration.
        library_calls: calls of routines that XLA cannot look into, whose work it does not count.
    """

    instructions: int
    kernels: int
    fusions: int
    loops: int
    library_calls: int


class Instruction(NamedTuple):
    """One line of a computation: `fusion`, `dot`, `while`, ..., and the computations that it names."""

    opcode: str
    called: tuple[str, ...]


def computations(text: str) -> tuple[str, dict[str, list[Instruction]]]:
    """The name of the computation where an optimised program starts, and all computations by name.

    Args:
        text: as `jax.stages.Compiled.as_text()` gives it, in XLA's HLO.

    Source: XLA, Operation semantics (https://openxla.org/xla/operation_semantics).
    """
    found: dict[str, list[Instruction]] = {}
    entry = name = ""
    for line in text.splitlines():
        if header := _HEADER.match(line):
            name = header[2]
            found[name] = []
            entry = name if header[1] else entry
        elif name and (instruction := _INSTRUCTION.match(line)):
            called = [one for group in _CALLED.findall(instruction[2]) for one in re.findall(r"[\w.\-]+", group)]
            found[name].append(Instruction(instruction[1], tuple(called)))
    return entry, found


def count(text: str) -> Counts:
    """How much there is in an optimised program.

    Args:
        text: as for `computations`.
    """
    _, found = computations(text)
    opcodes = [instruction.opcode for instructions in found.values() for instruction in instructions]
    run = kernels(text)
    fusions = sum(len(kernel) > 1 for kernel in run)
    return Counts(len(opcodes), len(run), fusions, opcodes.count("while"), opcodes.count("custom-call"))


def kernels(text: str) -> list[tuple[str, ...]]:
    """The pieces of work that a program runs one after the other, those of loops and branches once.

    Args:
        text: as for `computations`.

    Returns:
        For each kernel what it does: `("dot",)`, or `("add", "maximum")` for a fusion of two operations.
    """
    entry, found = computations(text)
    return list(_within(found, entry))


def _within(found: Mapping[str, list[Instruction]], name: str) -> Iterator[tuple[str, ...]]:
    for opcode, called in found[name]:
        if opcode in _CONTROL:
            for one in called:
                yield from _within(found, one)
        elif opcode not in _NO_WORK:
            yield tuple(_fused(found, called[0])) if opcode == "fusion" else (opcode,)


def _fused(found: Mapping[str, list[Instruction]], name: str) -> list[str]:
    """What is done in a fusion; a broadcast inside it copies nothing."""
    work = [one for one in found[name] if one.opcode not in _NO_WORK]
    parts = [
        part for one in work for part in (_fused(found, one.called[0]) if one.opcode == "fusion" else [one.opcode])
    ]
    return [part for part in parts if part != "broadcast"] or parts
