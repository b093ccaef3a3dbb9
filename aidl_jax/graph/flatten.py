"""A traced function as one flat list of steps: the functions that it calls are written out in place.

A call of a function with a derivative rule of its own (`custom_jvp`, `custom_vjp`, `checkpoint`) is written
out too, so that it can be looked at and cut, and remembered whole, so that it can be run with its rule.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

import jax.numpy as jnp

from aidl_jax._compat import Callee, ClosedJaxpr, Literal, Var, callee, name_stack, without_effects

__all__ = ["Call", "Program", "Step", "flatten"]


@dataclass(eq=False)
class Call:
    """A call with a rule of its own; its equation is in the program's variables.

    `custom` is the function whose derivative the rule is; None for `checkpoint`, whose rule is what to keep.
    """

    equation: Any
    custom: str | None

    def delivers(self, variable: Any) -> bool:
        """Whether a value made inside comes out of the call."""
        return any(variable is out for out in self.equation.outvars)


@dataclass(frozen=True, eq=False)
class Step:
    """One equation and where it stands.

    Args:
        equation: JAX's, in the program's variables.
        scopes: the names around it, outermost first.
        is_differentiated: on the way forward of something that is differentiated.
        is_transposed: on the way back.
        callers: the equations of the calls that it was written out of, outermost first.
        calls: those of them that have a rule of their own.
    """

    equation: Any
    scopes: tuple[str, ...]
    is_differentiated: bool
    is_transposed: bool
    callers: tuple[Any, ...]
    calls: tuple[Call, ...]


@dataclass(frozen=True, eq=False)
class Program:
    """A flat function: every variable is an input, a constant or the output of one step."""

    inputs: tuple[Any, ...]
    constants: dict[Any, Any]
    steps: tuple[Step, ...]
    outputs: tuple[Any, ...]
    jaxpr: Any = field(repr=False)


@dataclass(frozen=True)
class _Around:
    scopes: tuple[str, ...] = ()
    is_differentiated: bool = False
    is_transposed: bool = False
    callers: tuple[Any, ...] = ()
    calls: tuple[Call, ...] = ()

    def of(self, equation: Any) -> _Around:
        scopes, transformations = name_stack(equation)
        return replace(
            self,
            scopes=self.scopes + scopes,
            is_differentiated=self.is_differentiated or "jvp" in transformations,
            is_transposed=self.is_transposed or "transpose" in transformations,
        )


def flatten(closed: ClosedJaxpr, jits: int = 0) -> Program:
    """A traced function's steps, in the order in which they were traced, nested calls written out.

    Args:
        closed: what JAX traced.
        jits: how often the function itself is jitted: it is the same graph without; these calls open no scope.
    """
    for _ in range(jits):
        closed = _unwrapped(closed)
    writer = _Writer()
    environment = writer.constants_of(closed) | {variable: variable for variable in closed.jaxpr.invars}
    writer.write(closed.jaxpr, environment, _Around())
    return Program(
        inputs=tuple(closed.jaxpr.invars),
        constants=writer.constants,
        steps=tuple(writer.steps),
        outputs=tuple(writer.variable(writer.read(environment, out)) for out in closed.jaxpr.outvars),
        jaxpr=closed.jaxpr,
    )


def _unwrapped(closed: ClosedJaxpr) -> ClosedJaxpr:
    """What a jitted function's one call calls."""
    jaxpr = closed.jaxpr
    if len(jaxpr.eqns) != 1:
        return closed
    called = callee(jaxpr.eqns[0])
    same = called and jaxpr.eqns[0].invars == jaxpr.invars and jaxpr.eqns[0].outvars == jaxpr.outvars
    return called.jaxpr if called and same and not called.own_rule else closed


class _Writer:
    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.constants: dict[Any, Any] = {}
        self.opened: Counter[tuple[Any, ...]] = Counter()

    @staticmethod
    def read(environment: dict[Any, Any], atom: Any) -> Any:
        return atom if isinstance(atom, Literal) else environment[atom]

    def variable(self, atom: Any) -> Any:
        """An output that is a number written into the program becomes a constant, so that it has a name."""
        if not isinstance(atom, Literal):
            return atom
        constant = Var(atom.aval)
        self.constants[constant] = jnp.asarray(atom.val, atom.aval.dtype)
        return constant

    def constants_of(self, closed: ClosedJaxpr) -> dict[Any, Any]:
        """Variables for what a function closes over; one array is one constant, however often it is used."""
        known = {id(value): variable for variable, value in self.constants.items()}
        found = {}
        for variable, value in zip(closed.jaxpr.constvars, closed.consts, strict=True):
            found[variable] = known.setdefault(id(value), Var(variable.aval))
            self.constants[found[variable]] = value
        return found

    def write(self, jaxpr: Any, environment: dict[Any, Any], around: _Around) -> None:
        for equation in jaxpr.eqns:
            inputs = [self.read(environment, atom) for atom in equation.invars]
            here = around.of(equation)
            called = callee(equation)
            inside = replace(here, callers=(*here.callers, equation))
            outputs = self.call(equation, called, inputs, inside) if called else None
            if outputs is None:
                outputs = [Var(variable.aval) for variable in equation.outvars]
                flat = equation.replace(invars=inputs, outvars=outputs)
                self.steps.append(Step(flat, **vars(here)))
            environment.update(zip(equation.outvars, outputs, strict=True))

    def call(self, equation: Any, called: Callee, inputs: list[Any], here: _Around) -> list[Any] | None:
        """Writes a call out and returns what it delivers.

        None for one with a rule of its own that gives back one of its inputs, or one value twice: two variables that
        are the same one in here have a derivative each in the rule, which would be lost.
        """
        if not called.own_rule:
            return self.body(called, inputs, self.scope(here, called.scope))
        start, opened = len(self.steps), self.opened.copy()
        custom = equation.primitive.name.startswith("custom") and called.jaxpr.jaxpr.debug_info.func_name
        own = Call(equation, custom or None)
        outputs = self.body(called, inputs, replace(here, calls=(*here.calls, own)))
        made = {out for step in self.steps[start:] for out in step.equation.outvars}
        if not all(isinstance(out, Var) and out in made for out in outputs) or len(set(outputs)) < len(outputs):
            del self.steps[start:]
            self.opened = opened
            return None
        own.equation = without_effects(equation).replace(invars=inputs, outvars=outputs)
        return outputs

    def body(self, called: Callee, inputs: list[Any], here: _Around) -> list[Any]:
        jaxpr = called.jaxpr.jaxpr
        environment = self.constants_of(called.jaxpr) | dict(zip(jaxpr.invars, inputs, strict=True))
        self.write(jaxpr, environment, here)
        return [self.read(environment, out) for out in jaxpr.outvars]

    def scope(self, here: _Around, name: str | None) -> _Around:
        """Each call of a function opens a scope of its own: `relu`, `relu_1`."""
        name = (name or "").strip("_<>")
        if not name:
            return here
        path = (here.is_transposed, *here.scopes, name)
        count = self.opened[path]
        self.opened[path] += 1
        return replace(here, scopes=(*here.scopes, f"{name}_{count}" if count else name))
