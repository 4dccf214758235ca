"""Checkpoints in `fit`: a training that is interrupted anywhere ends bit-equal to an uninterrupted one."""

import contextlib
import csv
import itertools
import os
import signal
import time

import keras
import numpy as np
import pytest
import tensorflow as tf
from interruptions import InterruptAfter, Interrupted

from kerastrain import callbacks, checkpoints, optimizers, schedules
from kerastrain.errors import InputError
from kerastrain.system import files, signals
from kerastrain.transfer import freezing, lora

STEPS, EPOCHS = 5, 4


def data(start_step=0):
    """All epochs in one dataset, each in a different order; the last batch of an epoch is smaller."""
    random = np.random.default_rng(0)
    x = random.normal(size=(EPOCHS, 4 * STEPS - 1, 6)).astype("float32")
    y = x.sum(axis=-1, keepdims=True) + random.normal(size=(EPOCHS, 4 * STEPS - 1, 1)).astype("float32")
    epochs = tf.data.Dataset.from_tensor_slices((x, y)).flat_map(
        lambda *epoch: tf.data.Dataset.from_tensor_slices(epoch).batch(4)
    )
    return epochs.skip(start_step).apply(tf.data.experimental.assert_cardinality(EPOCHS * STEPS - start_step))


def network():
    keras.utils.set_random_seed(0)
    schedule = schedules.make("cosine", 0.02, steps=STEPS * EPOCHS, warmup_steps=3)
    inputs = keras.Input((6,))
    values = keras.layers.Dense(8)(inputs)
    values = keras.layers.BatchNormalization()(values)
    values = keras.layers.Dropout(0.5)(values)
    model = keras.Model(inputs, keras.layers.Dense(1)(values))
    optimizer = optimizers.make("adamw", schedule, ema_momentum=0.8, global_clip_norm=1.0)
    model.compile(optimizer, "mse", metrics=["mae", keras.metrics.RootMeanSquaredError()])
    return model


def used(folder):
    return [
        callbacks.AverageWeights(),
        callbacks.HistoryFile(folder / "history.csv"),
        callbacks.BestCheckpoint(folder / "best.keras"),
        callbacks.ReduceOnPlateau(patience_epochs=1, min_change=0.2),
        keras.callbacks.EarlyStopping(patience=2, min_delta=0.3, restore_best_weights=True),
    ]


def trained(folder, interruptions=(), *, make=network, others=used, every="2 steps", fit=None):
    """Fits, after each interruption with new objects as in a new process; returns the last model and its history."""
    for steps in itertools.chain(interruptions, [None]):
        model, saving = make(), callbacks.Checkpoints(folder / "checkpoints", every=every)
        extra = [] if steps is None else [InterruptAfter(steps)]
        try:
            history = model.fit(
                data(saving.start.step),
                epochs=EPOCHS,
                initial_epoch=saving.start.epoch,
                steps_per_epoch=STEPS,
                shuffle=False,
                verbose=0,
                callbacks=saving.before([*others(folder), *extra]),
                **(fit or {}),
            )
        except Interrupted:
            keras.backend.clear_session(free_memory=False)
    return model, history


def ended(model, history):
    """Everything in which the ends of two trainings could differ."""
    variables = [*model.variables, *model.optimizer.variables, *model.metrics_variables]
    return [variable.numpy() for variable in variables], history.history, history.epoch


def assert_equal(left, right):
    for value, expected in zip(left[0], right[0], strict=True):
        np.testing.assert_array_equal(value, expected)
    assert left[1:] == right[1:]


def rows(path):
    with path.open(newline="") as file:
        return [{name: value for name, value in row.items() if name != "seconds"} for row in csv.DictReader(file)]


@pytest.mark.slow
def test_an_interrupted_training_ends_bit_equal(tmp_path):
    validation = {"validation_data": data().take(3)}
    whole = trained(tmp_path / "whole", fit=validation)
    # Interrupted in the first epoch, right before the last step of an epoch, right after it, and from the same checkpoint.
    parts = trained(tmp_path / "parts", (3, 7, 2, 1), fit=validation)
    assert_equal(ended(*parts), ended(*whole))
    assert 0 < len(whole[1].epoch) <= EPOCHS
    assert rows(tmp_path / "parts" / "history.csv") == rows(tmp_path / "whole" / "history.csv")
    best = [keras.models.load_model(tmp_path / name / "best.keras").get_weights() for name in ("parts", "whole")]
    for value, expected_value in zip(*best, strict=True):
        np.testing.assert_array_equal(value, expected_value)


def stages():
    keras.utils.set_random_seed(0)
    body = keras.Sequential([keras.Input((6,)), keras.layers.Dense(5), keras.layers.Dense(4)], name="backbone")
    model = keras.Sequential([body, keras.layers.Dense(1)])
    model.compile(optimizers.make("adam", 0.01), "mse", metrics=["mae"])
    return model


def unfreezing(folder):
    return [freezing.GradualUnfreezing({1: None})]


def adapted():
    model = stages()
    lora.add_lora(model, 2)
    model.compile(optimizers.make("adam", 0.01), "mse", metrics=["mae"])
    return model


class Halves(keras.constraints.Constraint):
    """A mask that changes at every step, as the masks of pruning do."""

    def __init__(self, shape):
        self.mask = keras.Variable(np.eye(*shape), trainable=False, name="mask")

    def __call__(self, kernel):
        self.mask.assign(keras.ops.roll(self.mask, 1, axis=0))
        return kernel * (1 - self.mask)


def masked():
    model = stages()
    kernel = model.layers[0].layers[1].kernel
    kernel.constraint = Halves(kernel.shape)
    model.compile(optimizers.make("sgd", 0.01, momentum=0.9), "mse")
    return model


class Unseeded(keras.layers.Layer):
    """Draws from Keras's global seed."""

    def call(self, inputs):
        return inputs + keras.random.normal(keras.ops.shape(inputs))


def unseeded():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((6,)), Unseeded(), keras.layers.Dense(1)])
    model.compile("adam", "mse")
    return model


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "others"),
    [
        (stages, unfreezing),
        (adapted, lambda folder: []),
        pytest.param(masked, lambda folder: [], marks=pytest.mark.chaos),
        (unseeded, lambda folder: []),
    ],
)
def test_stages_low_rank_pairs_masks_and_global_seeds_go_on(tmp_path, make, others):
    whole = trained(tmp_path / "whole", make=make, others=others)
    parts = trained(tmp_path / "parts", (7, 4), make=make, others=others, every="1 step")
    assert_equal(ended(*parts), ended(*whole))


def one_weight(**options):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(1)])
    model.compile(optimizers.make("sgd", 0.01), "mse", **options)
    return model


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"run_eagerly": True, "metrics": ["mae"]}, {"steps_per_execution": 5}])
def test_eager_steps_and_several_steps_at_once_go_on(tmp_path, options):
    def make():
        return one_weight(**options)

    whole = trained(tmp_path / "whole", make=make, others=lambda folder: [])
    parts = trained(tmp_path / "parts", (3,), make=make, others=lambda folder: [])
    assert_equal(ended(*parts), ended(*whole))


def test_another_callback_may_still_stop_the_training_in_a_resumed_epoch(tmp_path):
    def stop(folder):
        return [keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: end(batch))]

    def end(batch):
        model.stop_training = model.optimizer.iterations.numpy() == STEPS

    for steps in (3, None):
        model, saving = one_weight(), callbacks.Checkpoints(tmp_path, every="1 step")
        extra = [] if steps is None else [InterruptAfter(steps)]
        with contextlib.suppress(Interrupted):
            model.fit(
                data(saving.start.step),
                epochs=EPOCHS,
                steps_per_epoch=STEPS,
                shuffle=False,
                verbose=0,
                callbacks=saving.before([*stop(tmp_path), *extra]),
            )
    assert model.optimizer.iterations.numpy() == STEPS


def test_a_set_of_one_epoch_can_be_gone_on_with(tmp_path):
    def fit(after=None):
        model, saving = one_weight(), callbacks.Checkpoints(tmp_path, every="1 step")
        epoch = data().take(STEPS)
        extra = [] if after is None else [InterruptAfter(after)]
        model.fit(
            epoch.repeat(3).skip(saving.start.step),
            epochs=3,
            initial_epoch=saving.start.epoch,
            steps_per_epoch=STEPS,
            shuffle=False,
            verbose=0,
            callbacks=saving.before(extra),
        )
        return model.get_weights()

    with pytest.raises(Interrupted):
        fit(after=8)
    resumed = fit()
    plain = one_weight()
    plain.fit(data().take(STEPS), epochs=3, shuffle=False, verbose=0)
    for value, expected_value in zip(resumed, plain.get_weights(), strict=True):
        np.testing.assert_array_equal(value, expected_value)


# The interval.


def saved_steps(tmp_path, every, monkeypatch, seconds_per_step=0.0, seconds_per_write=0.0):
    """The steps before which a training of 4 epochs of 5 steps saves, with a simulated clock."""
    clock, steps = [0.0], []
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])

    def write(directory, state, keep):
        clock[0] += seconds_per_write
        steps.append(checkpoints.Position(**state["position"]).step)

    def tick(batch, logs):
        clock[0] += seconds_per_step

    monkeypatch.setattr(checkpoints, "write", write)
    saving = callbacks.Checkpoints(tmp_path, every=every)
    used = saving.before([keras.callbacks.LambdaCallback(on_train_batch_end=tick)])
    one_weight().fit(data(), epochs=EPOCHS, steps_per_epoch=STEPS, shuffle=False, verbose=0, callbacks=used)
    return steps


@pytest.mark.parametrize(
    ("every", "options", "expected"),
    [
        ("4 steps", {}, [0, 4, 8, 12, 16]),
        ("2 epochs", {}, [0, 10]),
        ("0.6 epochs", {}, [0, 3, 6, 9, 12, 15, 18]),
        ("2 minutes", {"seconds_per_step": 30}, [0, 4, 8, 12, 16]),
        ("1 seconds", {"seconds_per_step": 30, "seconds_per_write": 5}, [0, 9, 18]),
    ],
)
def test_checkpoints_come_as_often_as_asked_and_take_two_percent_at_most(
    tmp_path, monkeypatch, every, options, expected
):
    assert saved_steps(tmp_path, every, monkeypatch, **options) == expected


# Signals.


def test_a_signal_saves_before_the_next_step_and_stops(tmp_path, caplog):
    def kill(epoch, logs):
        os.kill(os.getpid(), signal.SIGTERM)

    saving = callbacks.Checkpoints(tmp_path, every="1 hours")
    used = saving.before([InterruptAfter(100), keras.callbacks.LambdaCallback(on_train_batch_end=kill)])
    with pytest.raises(signals.Stopped) as stopped, signals.graceful():
        one_weight().fit(data(), epochs=EPOCHS, steps_per_epoch=STEPS, shuffle=False, verbose=0, callbacks=used)
    assert stopped.value.code == 75
    assert str(stopped.value) == "stopped by SIGTERM; the state is saved before step 1 (epoch 1, phase fit)"
    assert callbacks.Checkpoints(tmp_path).start.step == 1


# The best model at the time of the checkpoint.


def test_the_best_file_of_a_later_epoch_makes_room_for_that_of_the_checkpoint(tmp_path):
    best, twin = (callbacks.BestCheckpoint(tmp_path / "best.keras") for _ in range(2))
    files.write_text(best.path, "epoch 2")
    best.best, best.best_epoch = 0.5, 1
    checkpoints.write(tmp_path / "checkpoints", best.saved_state())
    files.write_text(best.path, "epoch 5")
    twin.restore_state(checkpoints.latest(tmp_path / "checkpoints").read())
    assert (twin.best, twin.best_epoch, twin.path.read_text()) == (0.5, 1, "epoch 2")
    inode = twin.path.stat().st_ino
    twin.restore_state(checkpoints.latest(tmp_path / "checkpoints").read())
    assert twin.path.stat().st_ino == inode


# Errors.


def fit(saving, model=None, **options):
    model = model or one_weight()
    options = {"epochs": EPOCHS, "steps_per_epoch": STEPS, **options}
    model.fit(options.pop("x", data()), shuffle=False, verbose=0, callbacks=saving.before([]), **options)


def test_a_fit_that_begins_elsewhere_is_told(tmp_path):
    fit(callbacks.Checkpoints(tmp_path, every="7 steps"))
    message = r"must resume at step 14 \(epoch 3, phase fit\), the position .*/000003. Received: initial_epoch=0"
    with pytest.raises(InputError, match=message):
        fit(callbacks.Checkpoints(tmp_path))


def test_data_of_another_length_are_told(tmp_path):
    fit(callbacks.Checkpoints(tmp_path, every="7 steps"))
    with pytest.raises(InputError, match="Received: 4 steps per epoch; the checkpoint .* was written with 5"):
        fit(callbacks.Checkpoints(tmp_path), initial_epoch=2, steps_per_epoch=4)


@pytest.mark.slow
def test_data_of_unknown_length_are_told(tmp_path):
    endless = data().filter(lambda x, y: True)
    with pytest.raises(InputError, match="data of unknown length. Pass `steps_per_epoch` to `fit`"):
        fit(callbacks.Checkpoints(tmp_path), x=endless, steps_per_epoch=None)


def test_executions_that_do_not_divide_an_epoch_are_told(tmp_path):
    with pytest.raises(InputError, match="`steps_per_execution` must divide .* Received: 2 for 5 steps"):
        fit(callbacks.Checkpoints(tmp_path), one_weight(steps_per_execution=2))


def test_a_checkpoint_of_another_phase_is_left_alone(tmp_path):
    fit(callbacks.Checkpoints(tmp_path, phase="head"), epochs=1)
    saving = callbacks.Checkpoints(tmp_path, phase="fine_tune")
    assert saving.start == checkpoints.Position("fine_tune")


@pytest.mark.parametrize(
    ("options", "message"),
    [({"keep": 0}, "`keep` must be at least 1. Received: keep=0"), ({"every": "often"}, "an interval must be like")],
)
def test_checkpoints_say_what_is_wrong(tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        callbacks.Checkpoints(tmp_path, **options)


def trained_with_pauses(folder, answers):
    """Fits with new objects after each pause; returns the last model, its history, and the epochs that were reported."""
    reported, history = [], None

    def on_epoch(epoch, logs):
        reported.append(epoch)
        with (folder / "history.csv").open(newline="", encoding="utf-8") as file:
            assert float([*csv.DictReader(file)][epoch - 1]["loss"]) == pytest.approx(logs["loss"], rel=1e-6)
        return answers.get(epoch, "continue")

    while history is None:
        report = callbacks.EpochReport(on_epoch, folder / "history.csv")
        model, saving = network(), callbacks.Checkpoints(folder / "checkpoints", every="1000 steps", report=report)
        try:
            history = model.fit(
                data(saving.start.step),
                epochs=EPOCHS,
                initial_epoch=saving.start.epoch,
                steps_per_epoch=STEPS,
                shuffle=False,
                verbose=0,
                callbacks=saving.before(used(folder)[:2]),
            )
        except callbacks.Paused as paused:
            if not paused.is_saved:
                raise
            assert str(paused) == f"paused after epoch {reported[-1]}"
            keras.backend.clear_session(free_memory=False)
    return model, history, reported


@pytest.mark.slow
def test_a_training_that_pauses_ends_as_one_that_does_not(tmp_path):
    model, history, reported = trained_with_pauses(tmp_path / "whole", {})
    paused = trained_with_pauses(tmp_path / "paused", {2: "pause", EPOCHS: "pause"})
    assert_equal(ended(model, history), ended(*paused[:2]))
    assert reported == paused[2] == [1, 2, 3, 4]


def test_a_training_that_is_told_to_stop_saves_nothing_more(tmp_path):
    with signals.graceful(), pytest.raises(callbacks.Paused, match="stopped after epoch 2") as stopped:
        trained_with_pauses(tmp_path, {2: "stop"})
    assert (stopped.value.epoch, stopped.value.is_saved) == (2, False)
    assert callbacks.Checkpoints(tmp_path / "checkpoints").start.step == 0
    # At once, because nothing holds signals back any more.
    with pytest.raises(signals.Stopped), signals.graceful():
        os.kill(os.getpid(), signal.SIGTERM)


def test_an_unknown_answer_to_an_epoch_is_refused():
    report = callbacks.EpochReport(lambda epoch, logs: "pauze")
    report.set_model(keras.Sequential([keras.layers.Dense(1)]))
    with pytest.raises(InputError, match="unknown answer of `on_epoch` 'pauze'.*Did you mean 'pause'"):
        report.on_epoch_end(0)
