"""Which operations run forward, and which were made by differentiation.

JAX says where a step stands, not what it is for: on the way forward of something that is differentiated it also
computes local derivatives (the cosine beside a sine), under the same name. What they are for tells them apart:

* what stands on the way back belongs to the gradients, and so does a zero for what nothing depends on;
* a step of the way forward that only gradients use is a local derivative: it belongs to them, too;
* a step that nothing uses is a local derivative that was not needed after all, except for the loss of a `grad`,
  whose value nobody asked for: the last step from the place in the program that the way back starts at.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np

from aidl_jax._compat import Literal, is_zero_gradient, place
from aidl_jax.graph.flatten import Program, Step

__all__ = ["gradient_steps"]


def gradient_steps(program: Program) -> list[bool]:
    """For each step, whether it belongs to the gradients."""
    users: dict[Any, list[int]] = defaultdict(list)
    for number, step in enumerate(program.steps):
        for given in step.equation.invars:
            if not isinstance(given, Literal):
                users[given].append(number)
    delivered = set(program.outputs)
    losses = _losses(program.steps, users, delivered)
    found = [step.is_transposed or is_zero_gradient(step.equation) for step in program.steps]
    for number in reversed(range(len(program.steps))):
        step = program.steps[number]
        outputs = step.equation.outvars
        if step.is_differentiated and not found[number] and outputs and delivered.isdisjoint(outputs):
            found[number] = number not in losses and all(found[user] for out in outputs for user in users[out])
    return found


def _losses(steps: tuple[Step, ...], users: dict[Any, list[int]], delivered: set[Any]) -> set[int]:
    """The steps that the ways back start from."""
    found: set[int] = set()
    ends: list[int] = []
    for number, step in enumerate(steps):
        if step.is_transposed:
            found.update(_starts(steps, ends, step))
            ends = []
        elif step.is_differentiated and any(out in delivered or not users[out] for out in step.equation.outvars):
            ends.append(number)
    return found


def _starts(steps: tuple[Step, ...], ends: list[int], back: Step) -> list[int]:
    """Of the steps that lead to nothing, the one whose way back this is; if no place tells, all that may be."""
    there = place(back.equation)
    same = [number for number in ends if place(steps[number].equation) == there]
    return same[-1:] or [number for number in ends if _is_loss(steps[number])] or ends[-1:]


def _is_loss(step: Step) -> bool:
    """Whether a step that nothing uses looks like a loss: one real number that depends on something."""
    (first, *_) = step.equation.outvars
    depends = any(not isinstance(given, Literal) for given in step.equation.invars)
    return depends and first.aval.shape == () and np.issubdtype(first.aval.dtype, np.floating)
