"""What a check writes down, and the plain request it becomes. Nothing here runs student code."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aidl_jax.errors import CourseError
from aidl_jax.exercise.draws import Draw
from aidl_jax.exercise.expressions import (
    Expression,
    Student,
    function,
    grad,
    hidden,
    jit,
    jvp,
    library,
    static,
    stream,
    value_and_grad,
    vjp,
    vmap,
    wrap,
)
from aidl_jax.exercise.requests import lower


class State(NamedTuple):
    step: Any
    params: Any


@pytest.fixture
def student() -> Student:
    """Nothing is asked of it here."""
    return Student(["predict", "loss", "update"], None)  # type: ignore[arg-type]


X = np.arange(6.0).reshape(2, 3)
W = np.ones(3, np.float32)


def test_a_call_names_the_function_and_numbers_its_arrays(student: Student) -> None:
    request = lower(student.predict({"w": W, "b": np.float32(2)}, X))
    structure = ["dict", ["b", "w"], [["leaf", 0], ["leaf", 1]]]
    params = ["tree", structure, [["input", 0], ["input", 1]]]
    assert request.body == ["call", ["student", "predict"], [params, ["input", 2]], {}]
    assert [array.tolist() for array in request.inputs] == [2.0, W.tolist(), X.tolist()]


def test_keyword_arguments_keep_their_names(student: Student) -> None:
    request = lower(student.predict(X, scale=W, mode=static("fast")))
    assert request.body[2:] == [[["input", 0]], {"scale": ["input", 1], "mode": ["static", "fast"]}]


def test_specs_tell_shapes_and_dtypes_and_nothing_else(student: Student) -> None:
    request = lower(student.predict(X, np.arange(4), np.array(True), np.uint32([1])))
    assert request.specs == [[[2, 3], "float32"], [[4], "int32"], [[], "bool"], [[1], "uint32"]]


def test_hidden_values_do_not_stand_in_the_body_or_the_text(student: Student) -> None:
    request = lower(student.predict(np.full(2, 123456.0), {"w": np.array(654321)}))
    said = json.dumps(request.body) + request.text + json.dumps(request.specs)
    assert "123456" not in said
    assert "654321" not in said


@pytest.mark.parametrize(
    ("make", "name", "options"),
    [
        (grad, "grad", {"argnums": 0}),
        (lambda f: grad(f, (0, 1)), "grad", {"argnums": [0, 1]}),
        (lambda f: value_and_grad(f, argnums=1), "value_and_grad", {"argnums": 1}),
        (vmap, "vmap", {"in_axes": 0}),
        (lambda f: vmap(f, in_axes=(0, None)), "vmap", {"in_axes": [0, None]}),
        (jit, "jit", {}),
        (vjp, "vjp", {}),
        (jvp, "jvp", {}),
    ],
)
def test_transformations(student: Student, make: Callable[[Any], Expression], name: str, options: Any) -> None:
    assert lower(make(student.loss)).body == ["transform", name, ["student", "loss"], options]


def test_attributes_and_items(student: Student) -> None:
    made = student.predict()
    call = ["call", ["student", "predict"], [], {}]
    assert lower(made[0]).body == ["item", call, 0]
    assert lower(made["w"].params).body == ["attribute", ["item", call, "w"], "params"]


@pytest.mark.parametrize(
    ("operate", "name", "swapped"),
    [
        (lambda e: e + X, "add", False),
        (lambda e: X + e, "add", True),
        (lambda e: e - X, "subtract", False),
        (lambda e: X - e, "subtract", True),
        (lambda e: e * X, "multiply", False),
        (lambda e: X * e, "multiply", True),
        (lambda e: e / X, "divide", False),
        (lambda e: e @ X, "matmul", False),
        (lambda e: X @ e, "matmul", True),
    ],
)
def test_operators_are_jax_numpy_functions(student: Student, operate: Any, name: str, swapped: bool) -> None:
    sides = [["call", ["student", "predict"], [], {}], ["input", 0]]
    expected = ["call", ["library", f"jax.numpy.{name}"], sides[::-1] if swapped else sides, {}]
    assert lower(operate(student.predict())).body == expected


def test_library_functions(student: Student) -> None:
    assert lower(library("jax.nn.relu")(student.predict())).body[1] == ["library", "jax.nn.relu"]


@pytest.mark.parametrize("name", ["os.system", "numpy.add", "jax.numpyx.add", "jax.experimental.io_callback", "relu"])
def test_other_libraries_are_refused(name: str) -> None:
    with pytest.raises(CourseError, match=r"only jax.numpy, jax.nn, jax.lax and jax.random may be used in a request"):
        library(name)


def test_none_and_containers_are_walked(student: Student) -> None:
    request = lower(student.update(None, [X, (W,)], State(static(3), {"w": W})))
    none, items, state = request.body[2]
    assert none == ["tree", ["none"], []]
    assert items == ["tree", ["list", [["leaf", 0], ["tuple", [["leaf", 1]]]]], [["input", 0], ["input", 1]]]
    structure = ["namedtuple", "State", ["step", "params"], [["leaf", 0], ["dict", ["w"], [["leaf", 1]]]]]
    assert state == ["tree", structure, [["static", 3], ["input", 2]]]


def test_a_key_is_hidden_and_is_its_two_words(student: Student) -> None:
    key = Draw(7, "key").key()
    request = lower(student.predict(key, X))
    assert request.body[2] == [["key", 0], ["input", 1]]
    assert request.specs[0] == [[2], "uint32"]


def test_the_same_key_twice_is_one_input(student: Student) -> None:
    key = Draw(7, "key").key()
    request = lower(student.predict(key, key))
    assert (request.body[2], len(request.inputs)) == ([["key", 0], ["key", 0]], 1)


def test_an_expression_used_twice_brings_its_input_once(student: Student) -> None:
    x = wrap(X)
    request = lower(student.loss(student.predict(x), x))
    assert len(request.inputs) == 1


def test_streams_are_numbered_and_never_in_the_body(student: Student) -> None:
    endless = itertools.count()
    request = lower(student.predict(stream([1, 2]), stream(endless)))
    assert request.body[2] == [["stream", 0], ["stream", 1]]
    assert request.streams == ([1, 2], endless)
    assert next(endless) == 0


def test_arguments_are_numbered_before_what_the_callee_closes_over(student: Student) -> None:
    """So the same call with another closure has the same leading inputs."""
    loss = function(lambda p: student.loss(student.predict(p, X), np.arange(2.0)))
    request = lower(grad(loss)(W))
    assert [array.shape for array in request.inputs] == [(3,), (2, 3), (2,)]
    assert request.body[2] == [["input", 0]]


def test_a_function_has_numbered_variables(student: Student) -> None:
    body = lower(function(lambda p, x: student.predict(x, p))).body
    assert body == ["function", [0, 1], ["call", ["student", "predict"], [["variable", 1], ["variable", 0]], {}]]


def test_nested_functions_have_distinct_variables(student: Student) -> None:
    inner = lambda p: function(lambda x: student.predict(p, x))  # noqa: E731
    body = lower(function(lambda p: vmap(inner(p))(X))).body
    kind, outer, call = body
    assert (kind, call[0]) == ("function", "call")
    _, name, (_, inside, predict), _ = call[1]
    assert name == "vmap"
    assert predict[2] == [["variable", outer[0]], ["variable", inside[0]]]
    assert outer != inside


def test_two_uses_of_one_function_are_the_same_request(student: Student) -> None:
    loss = function(lambda p: student.loss(p))
    left, right = lower(loss(W) + loss(W)).body[2]
    assert left[1] == right[1]


def test_a_function_may_return_a_tree(student: Student) -> None:
    body = lower(function(lambda p: {"a": p, "b": [student.loss(p), None]})).body
    assert body[2][:2] == ["tree", ["dict", ["a", "b"], [["leaf", 0], ["list", [["leaf", 1], ["none"]]]]]]


@pytest.mark.parametrize("bare", [5, 0.5, True, "adam", 1j, b"x"])
def test_a_bare_value_is_refused_with_both_ways_out(student: Student, bare: Any) -> None:
    with pytest.raises(CourseError) as refused:
        student.predict(X, bare)
    assert str(refused.value) == (
        f"a bare value in a request is neither hidden nor public: given {bare!r}. "
        f"Fix: static({bare!r}) shows it to the student's code; an array hides it"
    )


@pytest.mark.parametrize(
    "ask",
    [
        lambda s: s.predict({"rate": 0.1}),
        lambda s: s.predict([X, (1,)]),
        lambda s: s.predict(rate=2),
        lambda s: s.predict() + 1,
        lambda s: function(lambda p: 3),
    ],
)
def test_a_bare_number_is_refused_wherever_it_stands(student: Student, ask: Callable[[Student], Any]) -> None:
    with pytest.raises(CourseError, match="a bare value in a request"):
        ask(student)


def test_a_python_function_is_refused_with_its_wrapper(student: Student) -> None:
    with pytest.raises(CourseError, match=r"made of expressions\. Fix: function\(lambda x: \.\.\.\)"):
        student.predict(lambda p: p)


def test_unpacking_is_refused_with_what_to_write(student: Student) -> None:
    with pytest.raises(CourseError) as refused:
        _init, _update = student.predict(X)
    assert str(refused.value) == (
        "an expression cannot be unpacked, since nothing has run yet: given predict(float32[2, 3]). "
        "Fix: index it: pair = student.make_optimizer(...); init, update = pair[0], pair[1]"
    )


def test_an_expression_has_no_truth_value(student: Student) -> None:
    with pytest.raises(CourseError, match=r"no truth value, since nothing has run yet\. Fix: use value\(\.\.\.\)"):
        bool(student.predict(X))


def test_an_unknown_task_names_the_close_ones(student: Student) -> None:
    with pytest.raises(CourseError, match=r"no task 'predikt'\. Fix: did you mean 'predict'\?"):
        _ = student.predikt


@pytest.mark.parametrize("name", ["__iter__", "_private", "__array__"])
def test_private_names_are_no_tasks(student: Student, name: str) -> None:
    assert not hasattr(student, name)
    assert not hasattr(student.predict(), name) or name == "__iter__"


@pytest.mark.parametrize(
    ("given_value", "packed"),
    [
        (5, 5),
        (True, True),
        (None, None),
        ("adam", "adam"),
        ((1, (2.5, None)), ["tuple", [1, ["tuple", [2.5, None]]]]),
        ([1, ()], ["list", [1, ["tuple", []]]]),
        (
            {"y": ("add", ["x"]), "a": {2, 1}},
            ["dict", [["y", ["tuple", ["add", ["list", ["x"]]]]], ["a", ["set", [1, 2]]]]],
        ),
    ],
)
def test_static_values_travel_as_they_are(given_value: Any, packed: Any) -> None:
    assert lower(static(given_value)).body == ["static", packed]


def test_a_later_change_of_a_static_value_does_not_reach_the_request(student: Student) -> None:
    graph = {"x": ["a"]}
    expression = student.predict(static(graph))
    graph["x"].append("b")
    assert (lower(expression).text, lower(expression).body[2]) == (
        "predict({'x': ['a']})",
        [["static", ["dict", [["x", ["list", ["a"]]]]]]],
    )


@pytest.mark.parametrize(
    ("given_value", "named"),
    [
        (X, "a value of type ndarray"),
        (np.float32(1), "a value of type float32"),
        ([object()], "a value of type object at [0]"),
        ({"a": [X]}, "a value of type ndarray at ['a'][0]"),
        (1j, "a value of type complex"),
        ({1.5: 1}, "a dict with the key 1.5, which is no string or integer"),
        (2**64, "an integer of more than 64 bits"),
    ],
)
def test_other_static_values_are_refused(given_value: Any, named: str) -> None:
    with pytest.raises(CourseError) as refused:
        static(given_value)
    said = "static(...) takes None, numbers, strings, bytes, and lists, tuples, sets and dicts of them"
    assert str(refused.value) == f"{said}: given {named}"


def test_a_long_static_value_is_cut_in_the_text(student: Student) -> None:
    text = lower(student.predict(static("z" * 1_000))).text
    assert len(text) < 220 and text.endswith("zzz ...)")


@given(st.lists(st.floats(width=32), max_size=5))
def test_float64_that_float32_can_hold_is_sent_unchanged(values: list[float]) -> None:
    array = np.array(values, np.float64)
    sent = hidden(array)
    assert sent.dtype == np.float32
    np.testing.assert_array_equal(sent.astype(np.float64), array)


@given(st.floats(allow_nan=False).filter(lambda x: not -3.4e38 < x < 3.4e38 or float(np.float32(x)) != x))
def test_float64_that_float32_cannot_hold_is_refused(number: float) -> None:
    if np.isinf(number):
        assert hidden(np.array(number)) == number
        return
    with pytest.raises(CourseError, match="a hidden input has values that float32 cannot hold exactly"):
        hidden(np.array([0.0, number]))


@given(st.integers(-(2**63), 2**63 - 1))
def test_int64_is_sent_where_int32_can_hold_it(number: int) -> None:
    array = np.array([number], np.int64)
    if -(2**31) <= number < 2**31:
        assert (hidden(array).dtype, hidden(array).tolist()) == (np.int32, [number])
    else:
        with pytest.raises(CourseError, match="a hidden input has values that int32 cannot hold exactly"):
            hidden(array)


@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nan_and_infinity_may_be_hidden(special: float, dtype: Any) -> None:
    np.testing.assert_array_equal(hidden(np.array([special, 1], dtype)), np.float32([special, 1]))


def test_a_refused_precision_says_how_to_round() -> None:
    with pytest.raises(CourseError) as refused:
        hidden(np.full((2, 3), 0.1))
    assert str(refused.value) == (
        "a hidden input has values that float32 cannot hold exactly: given float64 array of shape (2, 3). "
        "Fix: draw it, or round it first with aidl_jax.exercise.float32_grid(array)"
    )


@pytest.mark.parametrize("dtype", ["float16", "uint8", "int8", "uint64", "complex64", "complex128", "U1", "O"])
def test_other_dtypes_are_refused(dtype: str) -> None:
    with pytest.raises(
        CourseError, match=r"this dtype cannot be a hidden input: .* expected bool, int32, uint32, float"
    ):
        hidden(np.zeros(2, dtype))


def test_a_later_change_of_the_array_does_not_reach_the_request(student: Student) -> None:
    array = np.zeros(2, np.float32)
    request = lower(student.predict(array))
    array += 1
    assert request.inputs[0].tolist() == [0, 0]


def test_numpy_scalars_are_hidden(student: Student) -> None:
    assert lower(student.predict(np.float64(0.5), np.int64(3), np.bool_(True))).specs == [
        [[], "float32"],
        [[], "int32"],
        [[], "bool"],
    ]


@pytest.mark.parametrize(
    ("write", "text"),
    [
        (lambda s: s.predict({"w": W}, X), "predict({'w': float32[3]}, float32[2, 3])"),
        (lambda s: s.predict(np.array(True)), "predict(bool[])"),
        (lambda s: s.predict(n=static(5), name=static("a")), "predict(n=5, name='a')"),
        (lambda s: s.predict(static((1, None))), "predict((1, None))"),
        (lambda s: s.predict(Draw(0, "").key()), "predict(key)"),
        (lambda s: s.predict(stream([1])), "predict(stream)"),
        (lambda s: s.predict()[0](X), "predict()[0](float32[2, 3])"),
        (lambda s: s.predict().params["w"], "predict().params['w']"),
        (lambda s: library("jax.nn.relu")(s.predict()), "jax.nn.relu(predict())"),
        (lambda s: s.predict() + X, "jnp.add(predict(), float32[2, 3])"),
        (lambda s: function(lambda a, b: s.loss(b, a)), "lambda p, q: loss(q, p)"),
        (lambda s: function(lambda a: s.loss(a))(W), "(lambda p: loss(p))(float32[3])"),
        (lambda s: grad(function(lambda a: s.loss(a, X)))(W), "grad(lambda p: loss(p, float32[2, 3]))(float32[3])"),
        (
            lambda s: vmap(function(lambda a: jit(function(lambda b: s.loss(a, b)))(X))),
            "vmap(lambda p: jit(lambda q: loss(p, q))(float32[2, 3]))",
        ),
    ],
)
def test_the_text_is_what_an_author_would_write(student: Student, write: Callable[[Student], Any], text: str) -> None:
    expression = write(student)
    assert (str(expression), lower(expression).text) == (text, text)


def test_a_function_used_twice_keeps_its_variables_names(student: Student) -> None:
    pair = function(lambda a, b: student.loss(a, b))
    assert str(student.update(pair, pair)) == "update(lambda p, q: loss(p, q), lambda p, q: loss(p, q))"


def test_a_malformed_expression_is_refused() -> None:
    with pytest.raises(CourseError, match="an expression is malformed"):
        lower(Expression("eval", ("1 + 1",)))


def test_the_same_expression_lowers_to_the_same_request(student: Student) -> None:
    expression = grad(function(lambda p: student.loss(student.predict(p, X), W)))(W)
    first, second = lower(expression), lower(expression)
    assert (first.body, first.text, first.specs) == (second.body, second.text, second.specs)


def test_comparing_expressions_with_equals_is_an_error() -> None:
    with pytest.raises(CourseError, match="cannot be compared with =="):
        static(1) == static(2)  # noqa: B015


def test_a_slice_is_refused_where_it_is_written() -> None:
    with pytest.raises(CourseError, match="indexed by a number or a string: given slice"):
        static((1, 2, 3))[1:]  # type: ignore[index]
