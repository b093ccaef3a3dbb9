"""Which operations run forward, and which were made by differentiation.

JAX says where a step stands, not what it is for: on the way forward of something that is differentiated it also
computes local derivatives (the cosine beside a sine), under the same name. What they are for tells them apart:

* what stands on the way back belongs to the gradients;
* a step of the way forward that only gradients use is a local derivative: it belongs to them, too;
* a step that nothing uses is a local derivative that was not needed after all, except for the loss of a `grad`:
  that is the last step before the way back begins.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np

from aidl_jax._compat import Literal
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
    found = [step.is_transposed for step in program.steps]
    before_the_way_back = False
    for number in reversed(range(len(program.steps))):
        step = program.steps[number]
        outputs = step.equation.outvars
        used_by = [user for out in outputs for user in users[out]]
        if step.is_transposed:
            before_the_way_back = True
        elif not step.is_differentiated or not outputs:
            continue
        elif any(out in delivered for out in outputs):
            before_the_way_back = False
        elif used_by:
            found[number] = all(found[user] for user in used_by)
            before_the_way_back &= found[number]
        else:
            found[number] = not (before_the_way_back or _is_loss(step))
            before_the_way_back &= found[number]
    return found


def _is_loss(step: Step) -> bool:
    """Whether a step that nothing uses looks like a loss: one real number that depends on something."""
    (first, *_) = step.equation.outvars
    depends = any(not isinstance(given, Literal) for given in step.equation.invars)
    return depends and first.aval.shape == () and np.issubdtype(first.aval.dtype, np.floating)
