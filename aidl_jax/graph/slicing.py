"""Cutting a program to the part that leads from what is fed to what is fetched."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aidl_jax._compat import ClosedJaxpr, Literal, Var
from aidl_jax.graph.flatten import Call, Program, Step

__all__ = ["cut", "reached"]


def reached(
    program: Program, fetched: Sequence[Any], fed: Sequence[Any], steps: Sequence[Step] = ()
) -> tuple[set[Any], list[Any]]:
    """What has to be evaluated: walking back from what is fetched, up to what is fed.

    Returns:
        The variables that are needed, and the units (steps, and calls that are kept whole) that make them.
    """
    maker = {out: step for step in program.steps for out in step.equation.outvars}
    known = set(fed)
    opened = {call for out in fed if out in maker for call in maker[out].calls}
    opened |= {call for step in program.steps for call in step.calls if call.equation.effects}
    units: dict[Any, None] = dict.fromkeys(steps)
    seen: set[Any] = set()
    todo = [*fetched, *(atom for step in steps for atom in step.equation.invars)]
    while todo:
        atom = todo.pop()
        if isinstance(atom, Literal) or atom in seen:
            continue
        seen.add(atom)
        if atom in known or atom not in maker:
            continue
        step = maker[atom]
        unit = next((call for call in step.calls if call not in opened and call.delivers(atom)), step)
        if unit not in units:
            units[unit] = None
            todo += unit.equation.invars
    return seen, list(units)


def cut(program: Program, fetched: Sequence[Any], fed: Sequence[Any], steps: Sequence[Step] = ()) -> ClosedJaxpr:
    """The part of a program that leads from some variables to others, as a function.

    A call with a rule of its own is kept whole, so that its derivative is the rule's, unless something is fed inside it
    or what it delivers comes from a callback, which would run twice if another fetch needed it, too.

    Args:
        program: what is cut.
        fetched: its outputs.
        fed: its inputs.
        steps: steps that are run for what they do, not for an output.
    """
    seen, units = reached(program, fetched, fed, steps)
    wanted = set(map(id, units))
    equations: list[Any] = []
    defined: set[Any] = set(fed)
    for unit in _in_order(program):
        if id(unit) in wanted:
            outputs = [_fresh(out, defined) for out in unit.equation.outvars]
            equations.append(unit.equation.replace(outvars=outputs))
    used = seen.difference(fed)
    constants = [variable for variable in program.constants if variable in used]
    jaxpr = program.jaxpr.replace(
        constvars=constants,
        invars=list(fed),
        outvars=list(fetched),
        eqns=equations,
        effects=frozenset().union(*(equation.effects for equation in equations)),
        debug_info=program.jaxpr.debug_info.with_unknown_names(),
    )
    return ClosedJaxpr(jaxpr, [program.constants[variable] for variable in constants])


def _in_order(program: Program) -> list[Step | Call]:
    """Steps, and calls before the first of their steps: a call's inputs are there by then."""
    order: dict[Step | Call, None] = {}
    for step in program.steps:
        order.update(dict.fromkeys(step.calls))
        order[step] = None
    return list(order)


def _fresh(variable: Any, defined: set[Any]) -> Any:
    """The variable, or a new one where its value is there already."""
    if variable in defined:
        return Var(variable.aval)
    defined.add(variable)
    return variable
