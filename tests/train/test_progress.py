"""The progress bar: what it shows, when it draws, and that it waits for no step that it need not wait for."""

from __future__ import annotations

import io
import re
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console
from training import BATCHES, STEP, X, Y, new_state

from aidl_jax import data
from aidl_jax.errors import TrainError
from aidl_jax.train import fit
from aidl_jax.train.progress import ProgressBar


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


class Loss:
    """The loss of a step; notes that somebody waited for it."""

    def __init__(self, step, read):
        self.step, self.read = step, read

    def __float__(self):
        self.read.append(self.step)
        return float(self.step)


def moment(step, steps, loss, last=False, waited=0.0):
    """What a bar looks at of a `Moment`."""
    return SimpleNamespace(step=step, steps=steps, metrics={"loss": loss}, last=last, waited=waited)


def consoles():
    """A terminal and a pipe, with what is written to them."""
    return [
        Console(file=io.StringIO(), force_terminal=True, width=100, force_jupyter=False, highlight=False),
        Console(file=io.StringIO(), force_terminal=False, width=100, force_jupyter=False, highlight=False),
    ]


def told(console):
    """What stands there at last, line by line, without colours and with what was drawn over gone."""
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", console.file.getvalue())
    return [line.split("\r")[-1].rstrip() for line in text.splitlines()]


def run(bar, clock, steps, seconds, waited=0.0, total=None):
    """Tells a bar of steps that take so long, a part of it waited for data; the losses that were read."""
    read = []
    for step in range(1, steps + 1):
        clock.now += seconds
        last = total is None and step == steps
        bar(moment(step, total or steps, Loss(step, read), last, waited * clock.now))
    return read


def test_it_draws_ten_times_a_second_and_reads_the_loss_of_the_step_before():
    clock, (terminal, _) = Clock(), consoles()
    read = run(ProgressBar(console=terminal, clock=clock), clock, 1000, 0.001)
    assert read[0] == 1 and read[-1] == 1000 and len(read) == 11
    assert read[1:-1] == [100 * n for n in range(1, 10)]  # drawn in steps 101, 201, ...


def test_what_a_terminal_shows():
    clock, (terminal, _) = Clock(), consoles()
    run(ProgressBar(console=terminal, clock=clock), clock, 200, 0.5, waited=0.25, total=400)
    last = told(terminal)[-1]
    assert re.fullmatch(r"[━╸╺]{36}  200/400  loss 199  2 steps/s  ingestion 25%  1:40 left", last), last


def test_what_a_pipe_gets():
    clock, (_, pipe) = Clock(), consoles()
    read = run(ProgressBar(console=pipe, clock=clock), clock, 30, 1.0, waited=0.5)
    assert told(pipe) == [
        "1/30, loss 1",
        "11/30, loss 10, 1 steps/s, ingestion 50%, 0:19 left",
        "21/30, loss 20, 1 steps/s, ingestion 50%, 0:09 left",
        "30/30, loss 30, 1 steps/s, ingestion 50%",
    ]
    assert len(read) == 4


def test_rates_are_of_the_last_seconds():
    clock, (terminal, _) = Clock(), consoles()
    bar = ProgressBar(console=terminal, clock=clock)
    run(bar, clock, 60, 1.0, total=1000)
    clock.now += 100.0  # a long validation
    read = []
    for step in range(61, 161):
        clock.now += 0.1
        bar(moment(step, 1000, Loss(step, read)))
    assert "10 steps/s" in told(terminal)[-1]


def test_fused_steps_count():
    clock, (_, pipe) = Clock(), consoles()
    bar = ProgressBar(console=pipe, clock=clock)
    for step in (16, 32):
        clock.now += 16
        bar(moment(step, 32, np.float32(step), step == 32))
    assert told(pipe) == ["16/32, loss 16", "32/32, loss 32, 1 steps/s, ingestion 0%"]


def test_fit_enters_and_leaves_it_where_the_data_end_early():
    _, pipe = consoles()
    fit(STEP, new_state(), data.from_tensor_slices((X, Y)).batch(16), steps=100, hooks=[ProgressBar(console=pipe)])
    assert told(pipe)[-1].startswith("6/100, loss ")


def test_an_error_leaves_the_terminal_as_it_was(capsys):
    terminal, _ = consoles()
    bar, before = ProgressBar(console=terminal), sys.stdout

    def fails(_):
        raise ValueError("here")

    with pytest.raises(ValueError, match="here"):
        fit(STEP, new_state(), BATCHES, steps=5, hooks=[bar, fails])
    assert sys.stdout is before
    assert terminal.file.getvalue().rstrip().endswith("\x1b[?25h")  # the cursor is shown again
    fit(STEP, new_state(), BATCHES, steps=5, hooks=[bar])
    assert "5/5" in told(terminal)[-1]


def test_a_notebook_gets_one_output_that_changes(monkeypatch):
    shown = []

    def display(data, raw, display_id):
        assert raw and display_id
        shown.append(data)
        return SimpleNamespace(update=lambda data, raw: shown.append(data))

    monkeypatch.setattr("IPython.display.display", display)
    clock = Clock()
    run(ProgressBar(console=Console(force_jupyter=True), clock=clock), clock, 4, 1.0)
    assert [one["text/plain"] for one in shown][-1] == "4/4  loss 4  1 steps/s  ingestion 0%"
    assert '<progress value="4" max="4"' in shown[-1]["text/html"] and len(shown) == 4


def test_fit_tells_how_long_it_waited(monkeypatch):
    clock, seen = Clock(), []
    monkeypatch.setattr("aidl_jax.train.loop.time", SimpleNamespace(perf_counter=clock))

    def rows():
        for row in zip(X, Y, strict=True):
            clock.now += 1.0
            yield row

    def elsewhere(moment):
        seen.append(moment.waited)
        clock.now += 50.0

    spec = data.from_tensor_slices((X, Y)).element_spec
    batches = data.from_generator(rows, spec).batch(16)
    fit(STEP, new_state(), batches, steps=3, hooks=[elsewhere])
    assert seen == [16.0, 32.0, 48.0]


def test_a_bar_that_never_draws_is_refused():
    with pytest.raises(
        TrainError, match=r"^a progress bar draws now and then: given redraws_per_second=0, expected more than 0"
    ):
        ProgressBar(0)
