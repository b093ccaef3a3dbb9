"""Naming a bottleneck from numbers, and what a change would bring, against sums and maxima worked out here."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from aidl_jax.errors import TrainError
from aidl_jax.train.diagnosis import STAGES, Timings, diagnose

NUMBERS = {"step": 1, "copy": 2, "decode": 3, "map": 3, "batch": 3, "read": 4}
PREFETCH = "make batches beside the step: prefetch(2)"


def alone(**stages):
    """Timings of a loop in which nothing overlaps, in milliseconds."""
    seconds = {stage: stages.get(stage, 0) / 1000 for stage in STAGES}
    pipeline = sum(seconds[stage] for stage in ("read", "decode", "map", "batch"))
    return Timings(**seconds, pipeline=pipeline, iteration=sum(seconds.values()))


def predictions(timings):
    return {one.what: one.iterations_per_second for one in diagnose(timings).changes}


@pytest.mark.parametrize("stage", STAGES)
def test_the_largest_stage_names_the_bottleneck(stage):
    others = dict.fromkeys(STAGES, 1)
    told = diagnose(replace(alone(**others | {stage: 20}), float_share=0.5))
    assert told.bottleneck == NUMBERS[stage]
    assert told.iterations_per_second == pytest.approx(1000 / 25)
    assert all(one.iterations_per_second > told.iterations_per_second for one in told.changes)
    assert told.changes and told.predicted == max(one.iterations_per_second for one in told.changes)


def test_sum_maximum_and_overlap():
    nothing = alone(read=30, copy=10, step=60)
    assert (nothing.sum, nothing.maximum, nothing.overlap) == pytest.approx((0.1, 0.06, 0))
    assert replace(nothing, iteration=0.06).overlap == pytest.approx(1)
    assert replace(nothing, iteration=0.08).overlap == pytest.approx(0.5)
    assert replace(nothing, iteration=0.2).overlap == 0 and replace(nothing, iteration=0.01).overlap == 1
    assert alone(step=5).overlap == 0


def test_where_all_overlaps_the_longer_side_holds():
    """Decoding is the largest load; hidden behind the step it costs nothing."""
    timings = alone(read=20, decode=45, copy=10, step=80)
    assert diagnose(timings).bottleneck == 1
    assert diagnose(replace(timings, iteration=0.080)).bottleneck == 1
    longer = alone(read=35, decode=30, copy=10, step=50)
    assert diagnose(longer).bottleneck == 1
    assert diagnose(replace(longer, iteration=0.075)).bottleneck == 4


def test_threads_lighten_what_they_share():
    """Four threads make a batch of 80 ms of work in 20: the step of 30 ms holds."""
    timings = replace(alone(decode=80, step=30), pipeline=0.020, iteration=0.050)
    assert timings.gain_of_threads == pytest.approx(4)
    assert diagnose(timings).bottleneck == 1
    assert diagnose(replace(timings, step=0.015, iteration=0.035)).bottleneck == 3


def test_predictions_keep_the_threads():
    """Batching of 20 ms takes 5 in four threads; without decoding there are those and the step."""
    timings = replace(alone(batch=20, decode=60, step=10), pipeline=0.020, iteration=0.030)
    (told,) = [rate for what, rate in predictions(timings).items() if "as a compiled one" in what]
    assert told == pytest.approx(1000 / 15)


def test_prefetching_is_predicted_to_bring_the_maximum():
    timings = alone(read=40, decode=10, step=25)
    assert predictions(timings)[PREFETCH] == pytest.approx(1 / timings.maximum) == pytest.approx(20)
    assert PREFETCH not in predictions(replace(timings, iteration=timings.maximum))


def test_a_cache_leaves_what_comes_after_it():
    timings = alone(read=40, decode=10, step=25)
    (told,) = [rate for what, rate in predictions(timings).items() if "cache()" in what]
    assert told == pytest.approx(1000 / 35)
    overlapping = replace(timings, iteration=timings.maximum)
    (told,) = [rate for what, rate in predictions(overlapping).items() if "cache()" in what]
    assert told == pytest.approx(1000 / 25)


def test_only_what_waits_gains_by_threads():
    timings = replace(alone(decode=100, step=10), decode_waiting=0.080)
    (told,) = [rate for what, rate in predictions(timings).items() if "num_parallel_calls" in what]
    assert told == pytest.approx(1000 / (20 + 80 / 8 + 10))
    assert not any("num_parallel_calls" in what for what in predictions(alone(decode=100, step=10)))


def test_predictions_start_from_what_was_measured():
    """A loop with 20 % on top of what the model of it says keeps them."""
    timings = alone(read=60, step=40)
    slower = replace(timings, iteration=0.120)
    for what, rate in predictions(timings).items():
        assert predictions(slower)[what] == pytest.approx(rate / 1.2)


def test_random_loops_against_a_plain_rule():
    rng = np.random.default_rng(0)
    for _ in range(200):
        loads = dict(zip(STAGES, rng.integers(1, 100, 6).tolist(), strict=True))
        groups = {
            1: loads["step"],
            2: loads["copy"],
            3: loads["decode"] + loads["map"] + loads["batch"],
            4: loads["read"],
        }
        most = max(groups.values())
        assert groups[diagnose(alone(**loads)).bottleneck] == most
        ingestion = sum(loads.values()) - loads["step"]
        hiding = replace(alone(**loads), iteration=max(ingestion, loads["step"]) / 1000)
        told = diagnose(hiding).bottleneck
        if loads["step"] >= ingestion:
            assert told == 1
        else:
            assert groups[told] == max(groups[2], groups[3], groups[4])


def test_what_is_printed():
    timings = replace(alone(read=40, decode=10, step=25), examples=32)
    assert str(timings).splitlines()[:3] == [
        "stage        ms  share",
        "read     40.000    53%  ██████████████████████████████",
        "decode   10.000    13%  ████████",
    ]
    assert str(timings).splitlines()[-1].endswith("75.000 ms, 13.33 iterations/s, 426.7 examples/s")
    assert str(diagnose(timings)).splitlines()[:4] == [
        "Bottleneck 4: reading from disk",
        "40 ms of 75 ms of work (53%): read 40 ms. Ingestion takes 50 ms, the step 25 ms, the loop 75 ms: 0% of what could overlap "
        "does.",
        "Now 13.33 iterations/s. Predicted, for one change alone:",
        "  28.57  keep what was read: cache() after it, from the second epoch on",
    ]


def test_what_is_drawn():
    timings = replace(alone(read=40, decode=10, step=25), pipeline=0.025, iteration=0.030)
    (axes,) = timings.plot().axes
    ends = [round(bar.get_x() + bar.get_width(), 6) for bar in axes.patches]
    assert max(ends[:6]) == 75 and max(ends[6:12]) == 25 and max(ends[12:18]) == 25 and ends[18] == 30
    told = diagnose(timings)
    (axes,) = told.plot().axes
    rates = [told.iterations_per_second, *(one.iterations_per_second for one in told.changes)]
    assert [bar.get_width() for bar in axes.patches] == pytest.approx(rates)


def test_refused_numbers():
    with pytest.raises(
        TrainError, match=r"^a time is a number of seconds: given read=-0.04, expected a finite number of at least"
    ):
        alone(read=-40)
    with pytest.raises(TrainError, match=r"^a time is a number of seconds: given iteration=nan"):
        replace(alone(read=40), iteration=float("nan"))
    with pytest.raises(
        TrainError, match=r"^an iteration takes time: given iteration=0.0. Fix: Timings is what measure\("
    ):
        diagnose(alone())
