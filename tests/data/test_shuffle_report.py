"""How far a shuffle moves things, against numbers computed by hand."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from aidl_jax import data
from aidl_jax.data.shuffle_report import entropy
from aidl_jax.errors import DataError

LABELS = np.repeat(np.arange(4, dtype=np.int32), 250)
SORTED = data.from_tensor_slices({"x": np.zeros(1000, np.float32), "label": LABELS})


def label(batch):
    return batch["label"]


def test_no_shuffle_moves_nothing():
    report = SORTED.batch(50).shuffle_report(label)
    assert report.displacement == 0 and report.repeated == 0
    np.testing.assert_array_equal(report.order, np.arange(1000))
    np.testing.assert_array_equal(report.entropy, np.zeros(20))


def test_a_whole_shuffle_reaches_the_ideal():
    report = SORTED.shuffle().batch(50).shuffle_report(label)
    assert sorted(report.order) == list(range(1000))
    elements = [int(row) for batch in data.range(1000).shuffle().batch(50) for row in batch]
    np.testing.assert_array_equal(report.order, elements)
    assert report.displacement == np.abs(report.order - np.arange(1000)).mean()
    assert 0.9 < report.displacement / report.ideal_displacement < 1.1
    assert report.entropy.mean() > 0.97 * report.ideal_entropy
    assert report.warnings == []


def test_the_ideal_distance_is_that_of_all_pairs():
    positions = np.arange(7)
    report = data.range(7).shuffle_report()
    assert report.ideal_displacement == pytest.approx(np.abs(positions[:, None] - positions).mean())


def test_entropy_of_each_batch():
    report = SORTED.shuffle(20).batch(100).shuffle_report(label)
    batches = [element["label"] for element in SORTED.shuffle(20).batch(100)]
    for got, batch in zip(report.entropy, batches, strict=True):
        shares = np.bincount(batch) / len(batch)
        shares = shares[shares > 0]
        assert got == pytest.approx(-(shares * np.log2(shares)).sum())
    assert entropy(np.array([3, 3, 3])) == 0


def test_a_small_buffer_over_sorted_data_is_told():
    told = str(SORTED.shuffle(20).batch(50).shuffle_report(label))
    assert "a buffer of 20 for 1,000 elements" in told
    assert "elements stay near where they stood" in told
    assert "batches hold fewer kinds of labels" in told


def test_labels_of_single_elements():
    report = SORTED.shuffle().shuffle_report(label)
    np.testing.assert_array_equal(report.entropy, np.zeros(1000))


def test_shuffle_after_repeat_shows_what_comes_again():
    report = data.range(100).repeat(2).shuffle().shuffle_report()
    assert report.repeated == 100 - len(set(report.order.tolist())) > 10


def test_error_sequential():
    generated = data.from_generator(lambda: iter(range(10)), jax.ShapeDtypeStruct((), np.int32))
    with pytest.raises(DataError, match="only a dataset of the class Indexed can say where its elements came from"):
        generated.shuffle(3).shuffle_report()


def test_error_labels_are_no_integers():
    with pytest.raises(DataError, match=r"labels are whole numbers, one for each element: given float32\[50\]"):
        SORTED.batch(50).shuffle_report(lambda batch: batch["x"])


def test_the_plot_shows_both():
    figure = SORTED.shuffle(20).batch(50).shuffle_report(label).plot()
    above, below = figure.axes
    assert above.get_title() == "Where elements come from" and len(above.lines[0].get_xdata()) == 1000
    np.testing.assert_array_equal(above.lines[0].get_ydata()[:3], SORTED.shuffle(20).shuffle_report().order[:3])
    assert len(below.lines[0].get_ydata()) == 20


def test_what_skip_or_shard_leaves_out_is_no_movement():
    for dataset in (data.range(1000).skip(500), data.range(1000).shard(10, 0)):
        assert dataset.shuffle_report().displacement == 0
    report = data.range(1000).take(100).shuffle().shuffle_report()
    assert 0.8 < report.displacement / report.ideal_displacement < 1.2 and report.warnings == []


def test_error_nothing_to_report_on():
    with pytest.raises(DataError, match="there is nothing to report on"):
        data.range(0).shuffle(3).shuffle_report()
