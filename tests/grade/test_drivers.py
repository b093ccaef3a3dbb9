"""Drivers: models `fn(scope, *inputs)` asked for as array functions, by the bytes that travel between the processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest

from aidl_jax import scope as scopes
from aidl_jax.errors import ScopeError
from aidl_jax.exercise import (
    Draw,
    Expression,
    Student,
    apply,
    drain,
    folder,
    function,
    grad,
    init,
    library,
    shapes,
    static,
    trees,
)
from aidl_jax.exercise.requests import lower
from aidl_jax.grade.explain import explain
from aidl_jax.grade.tracing import export_request, interpret

X = np.float32([[1.0, -2.0, 3.0], [0.5, 0.0, 2.0]])
W = np.float32([[1, 2], [3, 4], [5, 6]])


class Nobody:
    """Answers nothing: requests are lowered by hand."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(name)


def ask(model: Callable[..., Any], ask: Callable[[Expression], Expression]) -> Any:
    request = lower(ask(Student(["model"], Nobody()).model))
    serialized, structure = export_request(request.body, request.specs, {"model": model})
    outputs = jax.export.deserialize(bytearray(serialized)).call(*request.inputs)
    return trees.unflatten(structure, [np.asarray(output) for output in outputs])


def linear(scope: scopes.Scope, x: jax.Array) -> jax.Array:
    with scope.variable_scope("layer") as layer:
        scale = layer.get_variable("scale", (), 2.0, trainable=False)
        return scale * (x @ layer.get_variable("w", (x.shape[-1], 2)))


@pytest.mark.oldest
def test_apply_uses_the_parameters_of_the_check() -> None:
    params, state = {"layer": {"w": W}}, {"layer": {"scale": np.float32(3)}}
    outputs, new = ask(linear, lambda model: apply(model)(params, state, X))
    np.testing.assert_allclose(outputs, 3 * X @ W)
    assert new == {"layer": {"scale": 3}}


def test_init_makes_what_the_scope_makes_from_the_same_key() -> None:
    key = Draw(1, "key").key()
    params, state = ask(linear, lambda model: init(model)(key, X))
    wanted, wanted_state = scopes.init(linear)(jax.random.wrap_key_data(jnp.asarray(key.data)), X)
    np.testing.assert_array_equal(params["layer"]["w"], wanted["layer"]["w"])
    assert state == wanted_state == {"layer": {"scale": 2}}


def test_shapes_tells_names_and_shapes_and_runs_no_random_numbers() -> None:
    params, state = ask(linear, lambda model: shapes(model)(X))
    assert (params["layer"]["w"].shape, params["layer"]["w"].dtype, np.any(params["layer"]["w"])) == (
        (3, 2),
        "float32",
        False,
    )
    assert state == {"layer": {"scale": 0}}


def test_a_driven_model_can_be_differentiated_and_composed() -> None:
    def loss(model: Expression) -> Expression:
        return function(
            lambda p: library("jax.numpy.sum")(apply(function(lambda scope, x: model(scope, x) * X[:, :2]))(
                {"layer": p}, {"layer": {"scale": np.float32(1)}}, X)[0])
        )  # fmt: skip

    got = ask(linear, lambda model: grad(loss(model))({"w": W}))
    np.testing.assert_allclose(got["w"], X.T @ X[:, :2])


def test_drivers_are_told_as_an_author_writes_them() -> None:
    model = Student(["model"], Nobody()).model
    assert str(apply(model)({"w": W}, {}, X)[0]) == "apply(model)({'w': float32[3, 2]}, {}, float32[2, 3])[0]"
    assert str(shapes(model)(X)) == "shapes(model)(float32[2, 3])"


def twice(scope: scopes.Scope, x: jax.Array) -> jax.Array:
    linear(scope, x)
    return linear(scope, x)


def absent(scope: scopes.Scope, x: jax.Array) -> jax.Array:
    with scope.variable_scope("layer", reuse=True) as layer:
        return x @ layer.get_variable("w")


def other_shape(scope: scopes.Scope, x: jax.Array) -> jax.Array:
    linear(scope, x)
    with scope.variable_scope("layer", reuse=True) as layer:
        return x @ layer.get_variable("w", (3, 5))


WORDS = {
    twice: (
        "Variable 'layer/scale' is there already.",
        ["Give one of them another name, or share it: variable_scope(..., reuse=True) or reuse=AUTO. Here: made at "],
    ),
    absent: ("Variable 'layer/w' is not there to be reused.", ["Make it first, outside of reuse=True. Here: asked for at "]),
    other_shape: (
        "Variable 'layer/w' has another shape or dtype.",
        [
            "Ask for what is there, or give the new one another name. Here: float32[3,2], expected: float32[3,5].",
        ],
    ),
}  # fmt: skip


@pytest.mark.parametrize("model", WORDS, ids=lambda model: model.__name__)
def test_a_mistake_with_variables_is_told_in_words(model: Callable[..., Any]) -> None:
    message, fixes = WORDS[model]
    with pytest.raises(ScopeError) as raised:
        ask(model, lambda one: shapes(one)(X))
    told = explain(raised.value, [__file__])
    assert (told["kind"], told["message"]) == ("ScopeError", message)
    assert all(fix in told["fix"] for fix in fixes)
    assert "scope." in told["line"] or "layer." in told["line"]


def test_missing_and_unused_parameters_are_named() -> None:
    with pytest.raises(ScopeError) as raised:
        ask(linear, lambda model: apply(model)({"lair": {"w": W}}, {"layer": {"scale": np.float32(3)}}, X))
    told = explain(raised.value, [__file__])
    assert told["message"] == "Variable 'layer/w' is not in what apply was given."
    assert "missing: 'params/layer/w'; not used: 'params/lair/w'" in told["fix"]


def test_a_folder_holds_the_files_of_the_last_question_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    files = {"n1/b.JPEG": b"\xff\xd8", "a.txt": b"", "n1/c.JPEG": b"c"}

    def held(root: str) -> dict[str, bytes]:
        return {str(path.relative_to(root)): path.read_bytes() for path in Path(root).rglob("*") if path.is_file()}

    for given in (files, {"only": b"one"}):
        expression = Student(["held"], Nobody()).held(folder(given))
        assert interpret(lower(expression).body, {"held": held}, []) == given
    assert str(folder(files)) == "folder(n1/b.JPEG, a.txt, ...)"


def test_a_drained_generator_is_run_so_far_and_yields_how_far() -> None:
    pulled = []

    def count(stop: int) -> Iterator[int]:
        for number in range(stop):
            pulled.append(number)
            yield number

    student = Student(["count"], Nobody())
    for stop, expected in ((10, 3), (2, 2)):
        body = lower(drain(student.count)(static(3), static(stop))).body
        assert list(interpret(body, {"count": count}, [])) == [expected]
    assert pulled == [0, 1, 2, 0, 1]
