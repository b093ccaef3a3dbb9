"""Answers against independent oracles: honest rounding passes, real errors do not."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from aidl_jax.errors import CourseError
from aidl_jax.exercise.compare import Failure, compare, compare_trees, expect_error, require, show, tolerance
from aidl_jax.exercise.expressions import Student, static
from aidl_jax.exercise.requests import Request, Transcript

F = np.float32


class Params(NamedTuple):
    w: Any
    b: Any


class Canned:
    """Answers each function's requests with what was put in for it."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers

    def evaluate(self, request: Request) -> Any:
        return self.answers[request.functions[0]]

    def iterate(self, request: Request, limit: int) -> Transcript:
        raise NotImplementedError


def student(**answers: Any) -> Student:
    return Student(answers, Canned(**answers))


def failure_of(got: Any, wanted: Any, **options: Any) -> Failure:
    with pytest.raises(Failure) as caught:
        compare_trees(got, wanted, **options)
    return caught.value


def sum_float32(terms: np.ndarray) -> np.float32:
    """One rounding after another, in order: the worst way to add float32 numbers."""
    return np.add.accumulate(terms.astype(F), dtype=F)[-1]


@pytest.mark.parametrize(
    ("got", "wanted", "shown", "said"),
    [
        (F([1]), (np.ones(1),), ("*", "(*,)"), "an array where a tuple was asked for (each * is an array)."),
        ((F(1), F(2)), [1.0, 2.0], ("(*, *)", "[*, *]"), "a tuple where a list was asked for (each * is an array)."),
        (
            [F(1), F(2)],
            np.ones(2),
            ("[*, *]", "*"),
            "a list where one array was asked for; jnp.stack makes one of several.",
        ),
        (
            {"w": F(1)},
            {"w": 1.0, "b": 1.0},
            ("{'w': *}", "{'b': *, 'w': *}"),
            "a dict, but with other parts than were asked for (each * is an array).",
        ),
        (
            (F(1), None),
            (1.0, 2.0),
            ("(*, None)", "(*, *)"),
            "a tuple, but with other parts than were asked for (each * is an array).",
        ),
        (
            (F(1), F(2)),
            Params(1.0, 2.0),
            ("(*, *)", "Params(w=*, b=*)"),
            "a tuple where a Params was asked for (each * is an array).",
        ),
        ([], None, ("[]", "None"), "a list where None was asked for (each * is an array)."),
    ],
)
def test_another_structure(got: Any, wanted: Any, shown: tuple[str, str], said: str) -> None:
    failure = failure_of(got, wanted)
    assert (failure.kind, failure.got, failure.expected) == ("structure", *shown)
    assert str(failure) == f"You returned {said}"


def test_equal_trees_pass() -> None:
    compare_trees({"w": F([1, 2]), "b": (F(0), None)}, {"b": (0.0, None), "w": np.array([1.0, 2.0])})


@pytest.mark.parametrize(
    ("got", "wanted", "shown"),
    [
        (F([[1], [2]]), np.ones(2), ("shape (2, 1)", "shape (2,)")),
        (F([1, 2]), np.array(1.0), ("shape (2,)", "shape () (a single number)")),
        (F(1), np.ones(1), ("shape () (a single number)", "shape (1,)")),
        (F(np.zeros((0, 3))), np.zeros((0, 2)), ("shape (0, 3)", "shape (0, 2)")),
    ],
)
def test_another_shape(got: Any, wanted: Any, shown: tuple[str, str]) -> None:
    failure = failure_of(got, wanted)
    assert (failure.kind, str(failure), failure.where) == ("shape", "The shape is wrong.", None)
    assert (failure.got, failure.expected) == shown


def test_a_wrong_shape_in_a_tree_says_where() -> None:
    failure = failure_of({"l": Params(F([1]), F(1))}, {"l": Params(np.ones(1), np.ones(1))})
    assert (str(failure), failure.where) == ("The shape is wrong in ['l'].b.", "['l'].b")


def test_shapes_are_told_before_values_and_not_broadcast() -> None:
    failure = failure_of((F(1), F([1, 1])), (2.0, np.ones((3, 2))))
    assert (failure.kind, failure.where) == ("shape", "[1]")


@pytest.mark.parametrize(
    ("got", "wanted", "shown"),
    [
        (np.int32([1]), np.ones(1), ("int32", "float32")),
        (F([1]), np.array([1]), ("float32", "int32")),
        (F([1]), np.array([True]), ("float32", "bool")),
        (np.float16([1]), np.ones(1), ("float16", "float32")),
        (np.float64([1]), np.ones(1), ("float64", "float32")),
        (np.int32([1]), np.uint64([1]), ("int32", "uint32")),
        (F([1]), np.array([1j]), ("float32", "complex64")),
    ],
)
def test_another_dtype(got: Any, wanted: Any, shown: tuple[str, str]) -> None:
    failure = failure_of(got, wanted)
    assert (failure.kind, str(failure), failure.got, failure.expected) == ("dtype", "The dtype is wrong.", *shown)


@pytest.mark.parametrize(
    ("got", "wanted"),
    [
        (F([1.5]), np.array([1.5])),
        (np.int32([3]), np.array([3])),
        (np.uint32([3]), np.array([3], np.uint64)),
        (np.complex64([1 + 2j]), np.array([1 + 2j])),
        (F(2), 2.0),
        (np.int32(2), 2),
        (np.bool_(True), True),
        (np.float16([1.5]), np.float16([1.5])),
    ],
)
def test_what_numpy_computes_in_64_bits_stands_for_what_jax_returns(got: Any, wanted: Any) -> None:
    compare_trees(got, wanted)


@pytest.mark.parametrize(("bad", "said"), [(np.nan, "a nan"), (np.inf, "an inf"), (-np.inf, "a -inf")])
def test_a_number_that_is_none(bad: float, said: str) -> None:
    failure = failure_of({"w": F([[1, 2], [bad, 4]])}, {"w": np.array([[1.0, 2.0], [3.5, 4.0]])})
    assert failure.kind == "not finite"
    assert str(failure) == f"There is {said} where a number was expected in ['w']."
    assert (failure.got, failure.expected, failure.where) == (said.split()[1], "3.5", "at ['w'][1, 0]")


def test_a_single_nan() -> None:
    failure = failure_of(F(np.nan), 1.0)
    assert (failure.kind, failure.where) == ("not finite", "the whole answer")


@pytest.mark.parametrize("length", [1, 1_000_000])
@pytest.mark.parametrize("magnitude", [None, 1e30])
def test_no_tolerance_lets_a_nan_through(length: int, magnitude: float | None) -> None:
    assert failure_of(F([np.nan]), np.ones(1), length=length, magnitude=magnitude).kind == "not finite"


@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("magnitude", [None, "the same"])
def test_an_expected_nan_or_infinity_must_be_there(special: float, magnitude: Any) -> None:
    wanted = np.array([1.0, special])
    size = np.abs(wanted) if magnitude else None
    compare_trees(F([1, special]), wanted, magnitude=size)
    for other in {1.0, np.nan, np.inf, -np.inf} - {special}:
        if math.isnan(special) and math.isnan(other):
            continue
        failure = failure_of(F([1, other]), wanted, magnitude=size)
        assert failure.kind == "value"
        assert failure.where is not None and failure.where.startswith("at [1]: ")


def test_the_element_shown_is_a_wrong_one() -> None:
    failure = failure_of(F([np.inf, 1]), np.array([np.inf, np.nan]))
    assert failure.where == "at [1]: 1 instead of nan, the only wrong element of 2"


def test_a_wrong_value_shows_the_worst_element() -> None:
    wanted = np.arange(6.0).reshape(2, 3)
    got = wanted.astype(F)
    got[0, 1] += 0.5
    got[1, 2] -= 3
    failure = failure_of(got, wanted)
    assert (failure.kind, str(failure)) == ("value", "The values are wrong.")
    assert failure.where == "at [1, 2]: 2 instead of 5, the worst of 2 wrong elements of 6"
    assert (failure.got, failure.expected) == ("[[0, 1.5, 2], [3, 4, 2]]", "[[0, 1, 2], [3, 4, 5]]")


def test_a_single_wrong_value_is_shown_plainly() -> None:
    failure = failure_of({"b": F(3)}, {"b": 4.0})
    assert (str(failure), failure.got, failure.expected) == ("The value is wrong in ['b'].", "3", "4")
    assert failure.where == "['b']"


def test_an_element_with_a_larger_error_and_a_larger_bound_is_not_the_wrong_one() -> None:
    failure = failure_of(F([1e6 + 1, 1.5]), np.array([1e6, 0.5]), length=10, magnitude=np.array([1e6, 1.0]))
    assert failure.where is not None and failure.where.startswith("at [1]: 1.5 instead of 0.5")


@pytest.mark.parametrize(
    ("got", "wanted", "where"),
    [
        (np.int32([1, 100, 0]), np.array([0, 0, 0]), "at [1]: 100 instead of 0, the worst of 2 wrong elements of 3"),
        (np.uint32([0, 9]), np.uint32([1, 4]), "at [1]: 9 instead of 4, the worst of 2 wrong elements of 2"),
        (
            np.array([True, False]),
            np.array([True, True]),
            "at [1]: False instead of True, the only wrong element of 2",
        ),
    ],
)
def test_integers_and_booleans_are_exact(got: Any, wanted: Any, where: str) -> None:
    failure = failure_of(got, wanted, atol=1000.0)
    assert (failure.kind, failure.where) == ("value", where)


def test_large_neighbouring_integers_differ() -> None:
    assert failure_of(np.int32([2**31 - 1]), np.array([2**31 - 2]), length=1000).kind == "value"


def test_values_that_look_alike_are_shown_with_more_digits() -> None:
    failure = failure_of(F([1.5]), np.array([1.50001]))
    assert (failure.got, failure.expected) == ("[1.5]", "[1.50001]")
    failure = failure_of(F(0.1), 0.1000001)
    assert (failure.got, failure.expected) == ("0.100000001", "0.1000001")


@given(st.integers(1, 2000), st.integers(0, 2**32 - 1))
def test_honest_rounding_of_a_sum_passes(length: int, seed: int) -> None:
    terms = np.random.default_rng(seed).uniform(0, 1, length).astype(F)
    compare_trees(sum_float32(terms), math.fsum(terms.tolist()), length=length)


@given(st.integers(2, 2000), st.integers(0, 2**32 - 1))
def test_honest_rounding_of_terms_that_cancel_passes_with_their_magnitude(length: int, seed: int) -> None:
    half = np.random.default_rng(seed).standard_normal(length // 2 + 1).astype(F) * F(1000)
    terms = np.concatenate([half, -half[::-1], F([1e-3])])
    compare_trees(
        sum_float32(terms), math.fsum(terms.tolist()), length=terms.size, magnitude=math.fsum(np.abs(terms).tolist())
    )


@given(st.integers(1, 64), st.integers(1, 8), st.integers(0, 2**32 - 1))
def test_an_honest_matrix_product_passes(features: int, rows: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, w = rng.standard_normal((rows, features)).astype(F), rng.standard_normal(features).astype(F)
    x64, w64 = x.astype(float), w.astype(float)
    compare_trees(x @ w, x64 @ w64, length=features, magnitude=np.abs(x64) @ np.abs(w64))


def test_cancelling_terms_need_their_magnitude() -> None:
    terms = F([1e8, 1, -1e8])
    assert failure_of(sum_float32(terms), 1.0, length=3).kind == "value"
    compare_trees(sum_float32(terms), 1.0, length=3, magnitude=2e8)


@given(st.integers(2, 1000), st.integers(0, 2**32 - 1))
def test_real_errors_of_a_mean_are_rejected(length: int, seed: int) -> None:
    terms = np.random.default_rng(seed).uniform(0.5, 1.5, length)
    mean = terms.mean()
    for wrong in (terms.sum() / (length - 1), terms.sum() / (length + 1), terms.sum() - terms[0], -mean, mean / 2):
        if abs(wrong - mean) > 1e-3 * mean:
            assert failure_of(F(wrong), mean, length=length).kind == "value"


@given(hnp.arrays(F, st.integers(1, 5), elements=st.floats(-1e6, 1e6, width=32)))
def test_an_error_of_a_thousandth_of_the_largest_element_is_rejected(array: np.ndarray) -> None:
    size = max(float(np.max(np.abs(array))), 1e-3)
    wrong = array.copy()
    wrong[-1] += F(size / 100)
    assert failure_of(wrong, array.astype(float), length=5).kind == "value"


def test_the_bound_is_per_element_where_the_magnitude_is_an_array() -> None:
    wanted, magnitude = np.array([1e6, 1e-3]), np.array([1e6, 1e-3])
    compare_trees(F([1e6, 1e-3]), wanted, magnitude=magnitude)
    assert failure_of(F([1e6, 2e-3]), wanted, magnitude=magnitude).kind == "value"
    compare_trees(F([1e6, 2e-3]), wanted)


def test_magnitudes_of_a_tree_go_to_their_leaves() -> None:
    got, wanted = {"w": F([1.001]), "b": F(1)}, {"w": np.ones(1), "b": 1.0}
    compare_trees(got, wanted, magnitude={"w": 1e5, "b": 1.0})
    assert failure_of(got, wanted, magnitude={"w": 1.0, "b": 1e5}).where == "['w']"


def test_magnitudes_of_another_structure_are_the_authors_mistake() -> None:
    with pytest.raises(CourseError) as refused:
        compare_trees((F(1), F(2)), (1.0, 2.0), magnitude={"w": 1.0, "b": 2.0})
    assert str(refused.value) == (
        "magnitude is built differently from what is expected: given {'b': *, 'w': *}, "
        "expected one array or number for all, or (*, *)"
    )


def test_zero_is_compared_with_next_to_no_tolerance() -> None:
    compare_trees(F([0, -0.0]), np.zeros(2))
    assert failure_of(F([1e-30]), np.zeros(1), length=100).kind == "value"


def test_empty_arrays_are_equal() -> None:
    compare_trees(F(np.zeros((0, 3))), np.zeros((0, 3)))


def test_tolerance_follows_the_documented_bound() -> None:
    eps = 2.0**-23
    assert tolerance(np.array([-3.0, 2.0]), 7) == 4 * 7 * eps * 3
    assert tolerance(np.array([5.0]), 2, magnitude=-10.0) == 4 * 2 * eps * 10
    np.testing.assert_array_equal(tolerance(np.zeros(2), 1, np.array([1.0, 2.0])), 4 * eps * np.array([1.0, 2.0]))
    assert 0 < tolerance(np.zeros(0), 1) < 1e-40


@pytest.mark.parametrize("options", [{"atol": 1e-3}, {"reason": "five steps"}])
def test_an_atol_carries_its_reason(options: dict[str, Any]) -> None:
    with pytest.raises(CourseError, match=r"an explicit atol carries its reason\. Fix: compare\(\.\.\., atol=1e-5"):
        compare(F(1), 1.0, **options)


def test_an_explicit_atol_is_the_bound() -> None:
    compare(F([1.25]), np.array([1.0]), atol=0.25, reason="one coarse step")
    with pytest.raises(Failure, match="The value is wrong"):
        compare(F([1.25]), np.array([1.0]), atol=0.125, reason="one coarse step")


def test_compare_asks_and_returns_the_answer() -> None:
    answer = F([1, 2])
    assert compare(student(predict=answer).predict(np.ones(2)), np.array([1.0, 2.0])) is answer


def test_compare_takes_expressions_on_both_sides() -> None:
    asked = student(gradients=F([1, 2]), loss=F([1, 3]))
    compare(asked.gradients(), asked.gradients())
    with pytest.raises(Failure) as caught:
        compare(asked.gradients(np.ones(3)), asked.loss())
    assert caught.value.request is not None
    assert caught.value.request.text == "gradients(float32[3])"
    assert caught.value.expected == "[1, 3]"


def test_an_answer_that_was_asked_for_before_names_no_request() -> None:
    with pytest.raises(Failure) as caught:
        compare(F(1), 2.0)
    assert caught.value.request is None


@pytest.mark.parametrize(("shape", "passes"), [((3, 4), False), ((1000,), True), ((2, 1000), True)])
def test_the_longest_axis_of_the_inputs_is_the_length(shape: tuple[int, ...], passes: bool) -> None:
    call = student(mean=F(1 + 1e-5)).mean(np.zeros(shape), static(100_000))
    if passes:
        compare(call, 1.0)
    else:
        with pytest.raises(Failure, match="The value is wrong"):
            compare(call, 1.0)


def test_a_given_length_counts_more_than_the_inputs() -> None:
    with pytest.raises(Failure, match="The value is wrong"):
        compare(student(mean=F(1 + 1e-5)).mean(np.zeros(1000)), 1.0, length=2)


@pytest.mark.parametrize("condition", [True, 1, np.bool_(True), [0]])
def test_a_property_that_holds_is_silent(condition: Any) -> None:
    require(condition, "never read")


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, None), ("3 pulled", "3 pulled"), ([1, 2], "[1, 2]"), (F(0.1), "0.1"), (np.arange(3), "[0, 1, 2]")],
)
def test_a_property_that_fails_says_so(value: Any, shown: str | None) -> None:
    with pytest.raises(Failure, match=r"^Too many were pulled$") as caught:
        require(np.bool_(False), "Too many were pulled", got=value, expected=value)
    assert (caught.value.kind, caught.value.got, caught.value.expected) == ("property", shown, shown)


def raising(kind: str) -> Callable[[], Any]:
    def ask() -> Any:
        raise Failure(kind, "buffer_size must be at least 1")

    return ask


def test_the_expected_error_is_no_failure() -> None:
    expect_error(raising("ValueError"), "ValueError", "never read")


def test_another_error_is_passed_on() -> None:
    with pytest.raises(Failure, match="buffer_size must be") as caught:
        expect_error(raising("TypeError"), "ValueError", "a buffer of 0 elements must be refused")
    assert caught.value.kind == "TypeError"


def test_no_error_where_one_was_expected() -> None:
    with pytest.raises(Failure, match=r"^a buffer of 0 elements must be refused$") as caught:
        expect_error(lambda: F(1), "ValueError", "a buffer of 0 elements must be refused")
    assert (caught.value.kind, caught.value.got, caught.value.expected) == ("property", "no error", "ValueError")


@pytest.mark.parametrize(
    ("array", "text"),
    [
        (np.array(0.1), "0.1"),
        (F(0.1), "0.1"),
        (np.array(1234567.0), "1.23457e+06"),
        (np.array(1234567), "1234567"),
        (np.array(True), "True"),
        (np.array(np.nan), "nan"),
        (np.array([[1.0, -2.5], [0.0, np.inf]]), "[[1, -2.5], [0, inf]]"),
        (np.array([1 + 2j]), "[1+2j]"),
        (np.zeros((0, 3)), "[]"),
        (np.zeros((2, 0)), "[[], []]"),
        (np.arange(24), "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23]"),
        (np.arange(25.0), "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, ...] of shape (25,)"),
        (np.arange(26).reshape(2, 13), "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, ...] of shape (2, 13)"),
    ],
)
def test_show_is_short_and_readable(array: Any, text: str) -> None:
    assert show(array) == text


def test_show_takes_more_digits() -> None:
    assert show(np.array([1.0000011]), digits=9) == "[1.0000011]"
