"""The loop: what it does to a state, what hooks are told, how it goes on, what it refuses."""

from __future__ import annotations

import json
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from training import BATCHES, STEP, X, Y, assert_equal_trees, new_state, on_host

from aidl_jax import data
from aidl_jax.errors import TrainError
from aidl_jax.train import NotFiniteError, evaluate, every, fit, loop, make_eval_step
from aidl_jax.train.guards import Watch


def by_hand(steps):
    state = new_state()
    for _, batch in zip(range(steps), BATCHES, strict=False):
        state, _ = STEP(state, batch)
    return state


def test_fit_is_the_loop_by_hand():
    assert_equal_trees(fit(STEP, new_state(), BATCHES, steps=9), by_hand(9))


def test_fused_is_repeatable_and_near_the_unfused():
    fused = [on_host(fit(STEP, new_state(), BATCHES, steps=11, fuse=4)) for _ in range(2)]
    assert_equal_trees(*fused)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), fused[0], on_host(by_hand(11)))


def test_batches_gathered_on_the_device_are_the_batches(monkeypatch):
    numbers = (
        data.from_tensor_slices((X, Y)).shuffle(seed=4).batch(16).repeat()
    )  # the last batch of an epoch is shorter
    states, gathered = {True: [], False: []}, []
    whole = loop.make_gathering_step(STEP)
    monkeypatch.setattr(
        loop, "make_gathering_step", lambda step: lambda *given: (gathered.append(len(given[2])), whole(*given))[1]
    )

    def run(here):
        return on_host(
            fit(STEP, new_state(), numbers, steps=10, fuse=3, hooks=[lambda m: states[here].append(m.batches.state())])
        )

    there = run(True)
    assert gathered == [3, 3, 3]
    assert not fit(STEP, new_state(), numbers, steps=3, fuse=3).step.committed, "going on with it would compile anew"
    assert gathered.pop() == 3
    monkeypatch.setattr(loop, "MOST_RESIDENT", sum(leaf.nbytes for leaf in (X, Y)) - 1)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7), there, run(False))
    assert gathered == [3, 3, 3] and states[True] == states[False] != []


def test_a_state_whose_step_is_numpys_is_trained_all_the_same():
    batches = data.from_tensor_slices((X, Y)).batch(16, drop_remainder=True).repeat()
    state = new_state()._replace(step=np.int32(0))
    assert int(fit(STEP, state, batches, steps=4, fuse=2).step) == 4


@pytest.mark.parametrize("fuse", [1, 4])
def test_a_run_in_two_parts_is_one_run(fuse):
    whole = fit(STEP, new_state(), BATCHES, steps=19, fuse=fuse)
    saved = {}

    def save(moment):
        if moment.step == 8:
            saved["position"] = json.loads(json.dumps(moment.batches.state()))
            saved["state"] = jax.tree.map(jnp.copy, moment.state)

    fit(STEP, new_state(), BATCHES, steps=12, fuse=fuse, hooks=[save])
    assert_equal_trees(fit(STEP, saved["state"], BATCHES, steps=19, fuse=fuse, position=saved["position"]), whole)


def test_it_ends_with_the_data():
    state = fit(STEP, new_state(), data.from_tensor_slices((X, Y)).batch(16), steps=100, fuse=4)
    assert int(state.step) == 6


def test_batches_of_other_shapes_are_not_fused():
    ragged = data.from_tensor_slices((X[:40], Y[:40])).batch(16).repeat()
    fused = fit(STEP, new_state(), ragged, steps=8, fuse=4)
    state = new_state()
    for _, batch in zip(range(8), ragged, strict=False):
        state, _ = STEP(state, batch)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), on_host(fused), on_host(state))


def test_what_hooks_are_told():
    seen = []
    fit(
        STEP,
        new_state(),
        BATCHES,
        steps=7,
        hooks=[lambda m: seen.append((m.step, m.steps, m.last, float(m.metrics["loss"])))],
    )
    assert [one[:3] for one in seen] == [(n, 7, n == 7) for n in range(1, 8)]
    state, losses = new_state(), []
    for _, batch in zip(range(7), BATCHES, strict=False):
        state, metrics = STEP(state, batch)
        losses.append(float(metrics["loss"]))
    assert [one[3] for one in seen] == losses


def test_every():
    seen = {1: [], 4: []}
    for fuse in seen:
        fit(
            STEP,
            new_state(),
            BATCHES,
            steps=10,
            fuse=fuse,
            hooks=[every(3, lambda m, fuse=fuse: seen[fuse].append(m.step))],
        )
    assert seen == {1: [3, 6, 9, 10], 4: [4, 8, 10]}


def test_evaluate_weighs_batches_by_their_size():
    step = make_eval_step(lambda params, model_state, batch: {"mean": batch[1].astype(jnp.float32).mean()})
    got = evaluate(step, new_state(), data.from_tensor_slices((X[:40], Y[:40])).batch(16))
    assert got["mean"] == pytest.approx(Y[:40].mean())
    with pytest.raises(TrainError, match="there is nothing to evaluate on"):
        evaluate(step, new_state(), data.from_tensor_slices((X[:0], Y[:0])).batch(16))


MEAN = make_eval_step(lambda params, model_state, batch: {"mean": batch[0].mean()})
ONCE = data.from_tensor_slices((X, Y)).batch(16)


@pytest.mark.parametrize(
    ("step", "state", "dataset", "told"),
    [
        (MEAN, None, BATCHES, r"these have no end: given .*repeat\(\).* Fix: leave repeat\(\) away, or say how many"),
        (MEAN, None, [1], r"the dataset of evaluate is something else .*Fix: data\.from_tensor_slices"),
        (MEAN, {}, ONCE, r"the state of evaluate is something else than it should be: given \{\}"),
        (3, None, ONCE, r"the step of evaluate is something else .*given 3\. Fix: make_eval_step"),
        (STEP, None, ONCE, r"an evaluation step returns means over the batch, by name: given tuple"),
        (lambda state, batch: {"all": X}, None, ONCE, r"by name: given 'all': an array of shape \(96, 6\), expected a dict of numbers"),
    ],
)  # fmt: skip
def test_error_of_an_evaluation(step, state, dataset, told):
    with pytest.raises(TrainError, match=told):
        evaluate(step, new_state() if state is None else state, dataset)


def test_error_an_evaluation_of_a_state_that_was_used_up():
    state = new_state()
    fit(STEP, state, BATCHES, steps=1)
    with pytest.raises(TrainError, match="the state's memory was taken by an earlier step"):
        evaluate(MEAN, state, ONCE)


@pytest.mark.parametrize("fuse", [1, 4])
def test_error_not_finite(fuse):
    bad = X.copy()
    bad[50] = np.inf
    dataset = data.from_tensor_slices((bad, Y)).shuffle(seed=1).batch(16).repeat()
    where = next(n for n in range(6) if 50 in [origin.position for origin in dataset.locate(n)])
    with pytest.raises(NotFiniteError) as told:
        fit(STEP, new_state(), dataset, steps=40, fuse=fuse, check_every=3)
    assert told.value.step == where and int(told.value.state.step) == where
    assert "loss" in told.value.paths and "the gradient of layer1/weights" in told.value.paths
    assert 50 in [origin.position for origin in told.value.origins]
    assert f"the loss or a gradient is not finite in step {where + 1}" in str(told.value)
    assert_equal_trees(told.value.state.params, by_hand(where).params)
    again = pickle.loads(pickle.dumps(told.value))
    assert (str(again), again.step, again.paths, again.origins) == (
        str(told.value), where, told.value.paths, told.value.origins
    )  # fmt: skip
    assert_equal_trees(again.state, told.value.state)


def test_not_finite_in_a_resumed_run_names_the_right_batch():
    bad = X.copy()
    bad[50] = np.inf
    dataset = data.from_tensor_slices((bad, Y)).batch(16).repeat()  # row 50 is in the fourth batch
    iterator = dataset.iterate()
    for _ in range(2):
        next(iterator)
    state = new_state()._replace(step=jnp.int32(10))
    with pytest.raises(NotFiniteError) as told:
        fit(STEP, state, dataset, steps=40, position=iterator.state())
    assert told.value.step == 11 and [origin.position for origin in told.value.origins] == list(range(48, 64))


def test_error_a_hook_keeps_a_part_of_the_state():
    kept = []

    def keep(moment):
        kept.append(moment.state.params["layer1"])

    with pytest.raises(TrainError, match=r"keep: a hook kept a part of the state.*state.params\['layer1'\]"):
        fit(STEP, new_state(), BATCHES, steps=3, hooks=[keep])


def test_error_a_hook_keeps_the_moment():
    kept = []

    def keep(moment):
        kept.append(moment)

    for hook in (keep, every(2, keep)):
        kept.clear()
        with pytest.raises(
            TrainError, match=r"keep: a hook kept the moment.*given the moment of step \d\. Fix: keep what"
        ):
            fit(STEP, new_state(), BATCHES, steps=3, hooks=[lambda moment: None, hook])
        assert len(kept) == 1


def test_a_hook_may_keep_copies():
    kept = []
    fit(STEP, new_state(), BATCHES, steps=3, hooks=[lambda moment: kept.append(jax.device_get(moment.state.params))])
    assert len(kept) == 3


def test_error_two_leaves_share_memory():
    state = new_state()
    shared = state._replace(model_state={"copy": state.params["layer1"]["biases"]})
    with pytest.raises(TrainError, match="two leaves of the state share memory") as told:
        fit(STEP, shared, BATCHES, steps=3)
    assert "state.params['layer1']['biases'] and state.model_state['copy']" in str(told.value)


def test_error_the_state_was_used_up():
    state = new_state()
    fit(STEP, state, BATCHES, steps=1)
    with pytest.raises(TrainError, match="the state's memory was taken by an earlier step"):
        fit(STEP, state, BATCHES, steps=2)


def test_no_thread_is_left():
    import threading

    before = threading.active_count()
    fit(STEP, new_state(), BATCHES.prefetch(2) if hasattr(data.Dataset, "prefetch") else BATCHES, steps=3)
    assert threading.active_count() == before


def test_every_in_a_resumed_run():
    seen = []
    state = fit(STEP, new_state(), BATCHES, steps=6)
    fit(STEP, state, BATCHES, steps=13, hooks=[every(3, lambda moment: seen.append(moment.step))])
    assert seen == [9, 12, 13]


@pytest.mark.parametrize("fuse", [1, 4])
def test_where_the_data_end_before_the_steps_hooks_are_told(fuse):
    seen, now_and_then = [], []
    hooks = [lambda m: seen.append((m.step, m.last)), every(3, lambda m: now_and_then.append(m.step))]
    fit(STEP, new_state(), data.from_tensor_slices((X[:80], Y[:80])).batch(16), steps=100, fuse=fuse, hooks=hooks)
    assert seen == ([(n, False) for n in range(1, 6)] if fuse == 1 else [(4, False), (5, False)]) + [(5, True)]
    assert now_and_then == ([3, 5] if fuse == 1 else [4, 5])


def test_a_hook_can_be_used_again():
    seen = []
    hook = every(100, lambda moment: seen.append(moment.step))
    for _ in range(2):
        fit(STEP, new_state(), BATCHES, steps=7, hooks=[hook])
    assert seen == [7, 7]


def test_fused_steps_are_compiled_once(caplog):
    fit(STEP, new_state(), BATCHES, steps=8, fuse=4)
    with jax.log_compiles(), caplog.at_level("WARNING"):
        fit(STEP, new_state(), BATCHES, steps=8, fuse=4)
    assert not [record for record in caplog.records if "_fused" in record.getMessage()]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"state": {}}, "the state of fit is something else"),
        ({"dataset": [1]}, "the dataset of fit is something else"),
        ({"steps": 5.5}, "steps of fit is something else"),
        ({"fuse": 0}, "fuse of fit is something else"),
        ({"hooks": print}, "hooks of fit is something else"),
        ({"hooks": [int]}, "hooks of fit is something else"),
        ({"dataset": data.from_tensor_slices((X[:0], Y[:0])).batch(4)}, "there is nothing to train on"),
    ],
)
def test_error_of_misuse(options, told):
    given = {"state": None, "dataset": BATCHES, "steps": 3} | options
    state = new_state() if given.pop("state") is None else options["state"]
    with pytest.raises(TrainError, match=told):
        fit(STEP, state, given.pop("dataset"), **given)


def test_error_fewer_steps_than_are_done():
    state = fit(STEP, new_state(), BATCHES, steps=3)
    with pytest.raises(
        TrainError, match="the state has more steps behind it than it is to have: given 3 steps, and steps=2"
    ):
        fit(STEP, state, BATCHES, steps=2)
    assert int(fit(STEP, state, BATCHES, steps=3).step) == 3


def test_error_every():
    with pytest.raises(TrainError, match="every takes a number of steps: given 0"):
        every(0, print)


def test_what_is_not_finite_is_told_though_a_hook_stumbles_over_it():
    bad = X.copy()
    bad[20] = np.inf

    def stumble(moment):
        if not np.isfinite(float(moment.metrics["loss"])):
            raise TrainError("this is no number")

    with pytest.raises(NotFiniteError) as told:
        fit(STEP, new_state(), data.from_tensor_slices((bad, Y)).batch(16), steps=6, hooks=[stumble])
    assert told.value.step == 1


def test_finiteness_is_looked_at_by_steps_not_by_blocks():
    bad = X.copy()
    bad[20] = np.inf
    seen = []
    dataset = data.from_tensor_slices((bad, Y)).batch(16).repeat()
    with pytest.raises(NotFiniteError):
        fit(
            STEP, new_state(), dataset, steps=96, fuse=4, check_every=8, hooks=[lambda moment: seen.append(moment.step)]
        )
    assert seen[-1] == 12  # the look after 16 steps reads what was noted after 8


def test_the_host_does_not_wait_for_the_step_it_has_just_begun():
    """A look that is due reads what is there since the look before."""
    read = []

    class Flag:
        def __bool__(self):
            read.append(self)
            return True

    watch = Watch(2, lambda step: [])
    for done in range(1, 7):
        watch.note(done - 1, np.ones((1, 5), bool))
        watch.look(new_state(), done)
        if watch.noted and watch.noted[0] == done:
            watch.noted = done, Flag()
    assert len(read) == 2 and watch.noted[1] not in read
    assert [before for before, _ in watch.flags] == [4, 5]
