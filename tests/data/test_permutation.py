"""Random orders of integers: bijections, their statistics at fixed seeds, and a buffer's order against a slow buffer."""

from __future__ import annotations

import numpy as np
import pytest
from pipeline_oracle import buffered

from aidl_jax.data.permutation import bijection, buffer_order, buffer_slots, generator, shuffled, slot_generator

LARGE = 5000  # beyond what is drawn as a whole: the network's


@pytest.mark.parametrize("n", [1, 2, 3, 17, 4095, 4096, 4097, 5000, 8192, 8193, 100_003])
def test_every_number_comes_once(n: int) -> None:
    np.testing.assert_array_equal(np.sort(shuffled(n, 3, 1)), np.arange(n))


@pytest.mark.parametrize("n", [2**32 - 5, 2**32 + 5, 2**45 + 1, 2**62])
def test_numbers_beyond_any_memory(n: int) -> None:
    positions = np.append(np.arange(2000), n - 1 - np.arange(2000))
    places = bijection(positions, n, 0, np.zeros(4000, np.int64))
    assert len(set(places.tolist())) == 4000 and places.min() >= 0 and places.max() < n
    assert abs(places.mean() / n - 0.5) < 0.05


@pytest.mark.parametrize(
    ("n", "places"),
    [
        (5000, [3724, 433, 4311, 4638]),
        (10**7, [5770676, 2791695, 5125510, 6976884]),
        (2**45 + 1, [6667170170208, 14450926263944, 22389012399200, 12243584262351]),
    ],
)
def test_orders_stay_what_they_were_when_states_were_saved(n: int, places: list[int]) -> None:
    assert bijection(np.arange(4), n, 7, np.full(4, 2)).tolist() == places


@pytest.mark.parametrize("n", [100, LARGE])
def test_a_place_does_not_depend_on_what_it_is_asked_with(n: int) -> None:
    whole = {epoch: shuffled(n, 7, epoch) for epoch in (0, 1, 5)}
    positions, epochs = np.array([3, 99, 3, 0, 50]), np.array([1, 0, 5, 5, 1])
    places = bijection(positions, n, 7, epochs)
    assert places.tolist() == [whole[e][p] for p, e in zip(positions.tolist(), epochs.tolist(), strict=True)]


def chi_squared(table: np.ndarray) -> float:
    """How many standard deviations a table of counts, all equally likely, is from what chance gives."""
    expected = table.sum() / table.size
    freedom = table.size - 1
    return float((((table - expected) ** 2 / expected).sum() - freedom) / np.sqrt(2 * freedom))


@pytest.mark.parametrize("n", [64, LARGE])
def test_every_place_is_equally_likely(n: int) -> None:
    for position in (0, 1, n // 2, n - 1):
        places = bijection(np.full(3200, position), n, 0, np.arange(3200))
        assert chi_squared(np.bincount(places * 32 // n, minlength=32)) < 5


@pytest.mark.parametrize("n", [64, LARGE])
def test_two_neighbours_are_independent(n: int) -> None:
    first, second = (bijection(np.full(6400, position), n, 0, np.arange(6400)) * 8 // n for position in (10, 11))
    table = np.bincount(first * 8 + second, minlength=64).reshape(8, 8).astype(float)
    table[np.diag_indices(8)] *= (n / 8) / (n / 8 - 1)  # no two stand at one place, so the same eighth is rarer

    assert chi_squared(table) < 5


def test_epochs_and_seeds_are_independent() -> None:
    base = shuffled(LARGE, 0, 0)
    for other in (shuffled(LARGE, 0, 1), shuffled(LARGE, 1, 0), shuffled(LARGE, 12345, 678)):
        assert abs(np.corrcoef(base, other)[0, 1]) < 5 / np.sqrt(LARGE)
        assert chi_squared(np.bincount(base * 8 // LARGE * 8 + other * 8 // LARGE, minlength=64)) < 5
        assert (base == other).sum() < 10


def test_an_order_has_no_runs() -> None:
    order = shuffled(LARGE, 0, 0)
    assert np.isin(np.diff(order), [-1, 1]).sum() < 12
    assert abs(np.corrcoef(order, np.arange(LARGE))[0, 1]) < 5 / np.sqrt(LARGE)
    assert abs(np.corrcoef(order[1:], order[:-1])[0, 1]) < 5 / np.sqrt(LARGE)


@pytest.mark.parametrize(
    ("n", "size"), [(0, 3), (1, 1), (5, 1), (6, 2), (7, 7), (7, 9), (300, 1), (300, 16), (300, 299)]
)
def test_a_buffers_order_is_that_of_a_slow_buffer(n: int, size: int) -> None:
    for epoch in (0, 3):
        assert buffer_order(n, size, 5, epoch).tolist() == buffered(range(n), size, 5, epoch)


def test_a_buffer_larger_than_16_bits_count() -> None:
    n, size = 66_000, 65_537
    assert buffer_order(n, size, 1, 0).tolist() == buffered(range(n), size, 1, 0)


@pytest.mark.parametrize("size", [1, 2, 10, 100])
def test_a_buffer_gives_nothing_before_it_can_have_come_in(size: int) -> None:
    order = buffer_order(2000, size, 2, 0)
    assert (order < np.arange(2000) + size).all()
    assert sorted(order.tolist()) == list(range(2000))
    assert size == 1 or (order >= np.arange(2000) + size - 1).any()


def test_slots_in_one_piece_or_in_several_are_the_same() -> None:
    one, several = slot_generator(0, 0), slot_generator(0, 0)
    pieces = [buffer_slots(7, count, several) for count in (1, 1, 3, 500, 2, 1)]
    np.testing.assert_array_equal(np.concatenate(pieces), buffer_slots(7, 508, one))


def test_draws_are_the_same_on_every_machine() -> None:
    assert generator(1, 2).integers(0, 1000, 4).tolist() == [549, 511, 79, 365]
    places = bijection(np.arange(4), 10**9, 3, np.full(4, 2))
    assert places.tolist() == [235687024, 48741514, 692751810, 107068532]
