import csv
import io
import os
import pty
import threading

import keras
import numpy as np
import pytest
import rich.console
import tensorflow as tf

from kerastrain import callbacks, optimizers, schedules
from kerastrain.callbacks import monitor
from kerastrain.errors import InputError


class Scripted(keras.callbacks.Callback):
    """First callback of a list; sets the logs of each epoch, as if the training had produced them."""

    def __init__(self, **values):
        super().__init__()
        self.values = values

    def on_epoch_end(self, epoch, logs=None):
        logs.update({name: values[epoch] for name, values in self.values.items()})


def one_weight(optimizer=None, metrics=()):
    """A model with one weight, which starts at 0 and converges to 1."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")])
    model.compile(optimizer or keras.optimizers.SGD(0.1), "mse", metrics=list(metrics))
    return model


def ones(steps=1):
    return tf.data.Dataset.from_tensors((tf.ones((1, 1)), tf.ones((1, 1)))).repeat(steps)


def fit(model, used, epochs=1, steps=1, **options):
    return model.fit(ones(steps), epochs=epochs, shuffle=False, callbacks=used, **{"verbose": 0, **options})


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def weight(model):
    return model.get_weights()[0].item()


# The history file.


def test_history_file_grows_over_phases_and_gets_new_columns(tmp_path):
    path = tmp_path / "run" / "history.csv"
    fit(one_weight(), [callbacks.HistoryFile(path, phase="head")], epochs=2)
    optimizer = optimizers.make("sgd", schedules.make("linear", 0.5, steps=4))
    fit(one_weight(optimizer, ["mae"]), [callbacks.HistoryFile(path, phase="tune")], steps=2)
    assert [(row["phase"], row["epoch"]) for row in rows(path)] == [("head", "1"), ("head", "2"), ("tune", "1")]
    assert [row["mae"] == "" for row in rows(path)] == [True, True, False]
    assert [float(row["learning_rate"]) for row in rows(path)] == pytest.approx([0.1, 0.1, 0.25])
    assert [float(row["loss"]) for row in rows(path)[:2]] == pytest.approx([1.0, 0.64])


def test_history_file_drops_the_rows_that_a_resumed_run_repeats(tmp_path):
    path = tmp_path / "history.csv"
    for phase in ("head", "tune"):
        fit(one_weight(), [callbacks.HistoryFile(path, phase=phase)], epochs=3)
    fit(one_weight(), [callbacks.HistoryFile(path, phase="tune")], epochs=3, initial_epoch=1)
    assert [(row["phase"], row["epoch"]) for row in rows(path)] == [
        (phase, epoch) for phase in ("head", "tune") for epoch in "123"
    ]
    fit(one_weight(), [callbacks.HistoryFile(path, phase="head")], epochs=3, initial_epoch=2)
    assert [(row["phase"], row["epoch"]) for row in rows(path)] == [("head", epoch) for epoch in "123"]


# The best checkpoint.


@pytest.mark.parametrize("name", ["best.keras", "best.weights.h5"])
def test_best_checkpoint_puts_the_best_epoch_back(tmp_path, name):
    model = one_weight()
    best = callbacks.BestCheckpoint(tmp_path / name, monitor="val_loss")
    fit(model, [Scripted(val_loss=[3.0, 1.0, float("nan"), 2.0]), best], epochs=4)
    assert (best.best, best.best_epoch) == (1.0, 1)
    assert weight(model) == pytest.approx(1 - 0.8**2)
    other = one_weight()
    other.load_weights(tmp_path / name)
    assert weight(other) == weight(model)
    assert os.listdir(tmp_path) == [name]


def test_best_checkpoint_leaves_the_last_epoch_when_told(tmp_path):
    model = one_weight()
    best = callbacks.BestCheckpoint(tmp_path / "best.keras", monitor="val_loss", restore=False)
    fit(model, [Scripted(val_loss=[1.0, 2.0]), best], epochs=2)
    assert weight(model) == pytest.approx(1 - 0.8**2)


def test_best_checkpoint_saves_nothing_when_all_is_nan(tmp_path):
    model = one_weight()
    used = [Scripted(val_loss=[float("nan")] * 2), callbacks.BestCheckpoint(tmp_path / "best.keras")]
    fit(model, used, epochs=2)
    assert weight(model) == pytest.approx(1 - 0.8**2)
    assert not list(tmp_path.iterdir())


def test_best_checkpoint_keeps_the_good_file_when_saving_fails(tmp_path, monkeypatch):
    model = one_weight()
    best = callbacks.BestCheckpoint(tmp_path / "best.keras")
    fit(model, [Scripted(val_loss=[1.0]), best])
    good = best.path.read_bytes()

    def half(path):
        path.write_bytes(good[:100])
        raise OSError("No space left on device")

    monkeypatch.setattr(model, "save", half)
    with pytest.raises(OSError, match="No space left"):
        fit(model, [Scripted(val_loss=[0.5]), best])
    assert best.path.read_bytes() == good


def test_best_checkpoint_says_what_was_logged(tmp_path):
    best = callbacks.BestCheckpoint(tmp_path / "best.keras", monitor="val_loss")
    with pytest.raises(
        InputError, match="unknown monitored value 'val_loss'. Known: loss.*Pass validation data to `fit`"
    ):
        fit(one_weight(), [best])


def test_best_checkpoint_refuses_another_suffix(tmp_path):
    with pytest.raises(InputError, match="must end in '.keras' or '.weights.h5'. Received: .*best.h5"):
        callbacks.BestCheckpoint(tmp_path / "best.h5")


# The monitored value.


@pytest.mark.parametrize(
    ("name", "expected"),
    [("loss", "min"), ("val_accuracy", "max"), ("val_top_5_accuracy", "max"), ("auc_loss", "min"), ("macro_f1", "max")],
)
def test_direction_is_told_by_the_name(name, expected):
    assert monitor.direction(name) == expected


def test_direction_asks_when_the_name_does_not_tell():
    with pytest.raises(InputError, match="'gain' whether higher or lower is better. Set `mode='min'`"):
        monitor.direction("gain")
    with pytest.raises(InputError, match="unknown mode 'maximum'"):
        monitor.direction("gain", "maximum")


# The plateau.


def test_reduce_on_plateau_lowers_any_schedule_and_stops_at_the_lowest():
    optimizer = optimizers.make("sgd", schedules.make("constant", 0.1, steps=10))
    plateau = callbacks.ReduceOnPlateau(monitor="loss", drop_factor=0.1, patience_epochs=2, lowest_fraction=0.05)
    factors = []
    seen = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: factors.append(float(optimizer.rate_factor)))
    fit(one_weight(optimizer), [Scripted(loss=[3, 2, 2, 2, 1, 1, 1, 1]), plateau, seen], epochs=8)
    np.testing.assert_allclose(factors, [1, 1, 1, 0.1, 0.1, 0.1, 0.05, 0.05])
    assert float(optimizer.learning_rate) == pytest.approx(0.005)


def test_reduce_on_plateau_needs_an_optimizer_with_a_factor():
    with pytest.raises(InputError, match="needs an optimizer made by `kerastrain.optimizers.make`. Received: SGD"):
        fit(one_weight(), [callbacks.ReduceOnPlateau(monitor="loss")])


@pytest.mark.parametrize(
    "options", [{"drop_factor": 1.0}, {"patience_epochs": 0}, {"min_change": -1.0}, {"lowest_fraction": 1.0}]
)
def test_reduce_on_plateau_says_what_is_wrong(options):
    with pytest.raises(InputError, match=f"`{next(iter(options))}` must .* Received: {next(iter(options))}="):
        callbacks.ReduceOnPlateau(**options)


# The moving average.


def averaged(weights, momentum):
    average = weights[0]
    for value in weights[1:]:
        average = momentum * average + (1 - momentum) * value
    return average


def test_average_weights_are_validated_and_saved_and_leave_the_training_alone(tmp_path):
    model = one_weight(optimizers.make("sgd", 0.1, ema_momentum=0.5))
    during = []
    watch = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: during.append(weight(model)))
    best = callbacks.BestCheckpoint(tmp_path / "best.keras", monitor="val_loss")
    stop = keras.callbacks.EarlyStopping("val_loss", patience=1)
    used = [Scripted(), callbacks.AverageWeights(), watch, Scripted(), best, stop]
    history = fit(model, used, epochs=2, steps=2, validation_data=ones())
    np.testing.assert_allclose(during, [1 - 0.8**step for step in (1, 2, 3, 4)], rtol=1e-6)
    averages = [averaged(during[:count], 0.5) for count in (2, 4)]
    np.testing.assert_allclose(history.history["val_loss"], [(1 - average) ** 2 for average in averages], rtol=1e-5)
    assert weight(model) == pytest.approx(averages[1])


def test_average_weights_survive_early_stopping(tmp_path):
    model = one_weight(optimizers.make("sgd", 0.1, ema_momentum=0.5))
    stop = keras.callbacks.EarlyStopping("val_loss", patience=1, mode="min")
    best = callbacks.BestCheckpoint(tmp_path / "best.keras", monitor="val_loss")
    fit(model, [Scripted(val_loss=[1.0, 2.0, 3.0]), callbacks.AverageWeights(), best, stop], epochs=3)
    assert weight(model) == pytest.approx(0.2)  # The average after one step is the weight itself.


def test_average_weights_do_nothing_without_an_average():
    model = one_weight()
    fit(model, [callbacks.AverageWeights()], epochs=2, validation_data=ones())
    assert weight(model) == pytest.approx(1 - 0.8**2)


# The progress display.


def test_progress_prints_one_line_for_each_epoch_in_a_file():
    out = io.StringIO()
    progress = callbacks.Progress(phase="head", console=rich.console.Console(file=out, width=20))
    fit(one_weight(metrics=["mae"]), [progress], epochs=2, steps=3, validation_data=ones(), verbose="auto")
    lines = out.getvalue().splitlines()
    assert len(lines) == 2
    for number, line in enumerate(lines, 1):
        assert line.startswith(f"head epoch {number}/2  loss ")
        assert [word for word in line.split() if word[0].isalpha()][3:] == ["mae", "val_loss", "val_mae", "s"]


def test_progress_prints_to_standard_output_and_keras_prints_nothing(capsys):
    fit(one_weight(), [callbacks.Progress()], verbose="auto")
    out = capsys.readouterr().out
    assert out.startswith("epoch 1/1  loss 1.000  ")
    assert out.count("\n") == 1


def test_progress_is_silent_when_fit_is(capsys):
    fit(one_weight(), [callbacks.Progress()], verbose=0)
    assert capsys.readouterr().out == ""


def on_terminal(act):
    """The text that `act(file)` writes to a file that is a terminal."""
    master, slave = pty.openpty()
    chunks = []

    def read():
        try:
            while chunk := os.read(master, 4096):
                chunks.append(chunk)
        except OSError:  # raised by Linux when the other end is closed
            pass

    reader = threading.Thread(target=read)
    reader.start()
    with os.fdopen(slave, "w", encoding="utf-8") as file:
        act(file)
    reader.join()
    os.close(master)
    return b"".join(chunks).decode()


def test_progress_draws_a_bar_on_a_terminal_and_leaves_one_line(monkeypatch):
    monkeypatch.setattr("kerastrain.callbacks.progress._REFRESH_SECONDS", 0.0)
    monkeypatch.setenv("TERM", "xterm")

    def act(file):
        progress = callbacks.Progress(console=rich.console.Console(file=file, width=100))
        fit(one_weight(), [progress], epochs=2, steps=3, validation_data=ones(), verbose="auto")

    drawn = on_terminal(act)
    assert "━" in drawn
    assert "2/3" in drawn
    assert "epoch 1/2, validating" in drawn
    # Each bar is erased before its line, and the cursor is shown again.
    lasting = [line for line in drawn.splitlines() if line.rpartition("\x1b[2K")[2].endswith(" s")]
    assert len(lasting) == 2
    assert drawn.rindex("\x1b[?25h") > drawn.rindex("\x1b[?25l")


def test_progress_leaves_the_bar_out_on_a_terminal_when_told():
    def act(file):
        console = rich.console.Console(file=file, width=100)
        fit(one_weight(), [callbacks.Progress(console=console)], verbose=2)

    drawn = on_terminal(act)
    assert "━" not in drawn
    assert drawn.count("\n") == 1


def test_progress_gives_the_cursor_back_after_an_interruption(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")

    def interrupt(batch, logs):
        raise KeyboardInterrupt

    def act(file):
        progress = callbacks.Progress(console=rich.console.Console(file=file, width=100))
        with pytest.raises(KeyboardInterrupt):
            fit(one_weight(), [progress, keras.callbacks.LambdaCallback(on_train_batch_end=interrupt)], verbose=1)
        progress.on_train_begin()

    drawn = on_terminal(act)
    assert drawn.rindex("\x1b[?25h") > drawn.rindex("\x1b[?25l")


# All of them.


def test_standard_leaves_the_files_of_a_run_over_two_phases(tmp_path, capsys):
    for phase in ("head", "tune"):
        model = one_weight(optimizers.make("adam", 0.1))
        used = callbacks.standard(tmp_path, phase=phase, early_stopping_epochs=2, plateau_epochs=1)
        fit(model, used, epochs=2, validation_data=ones(), verbose="auto")
    assert [row["phase"] for row in rows(tmp_path / "history.csv")] == ["head", "head", "tune", "tune"]
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["best_head.keras", "best_tune.keras"]
    assert len(list((tmp_path / "tensorboard").glob("*/*/events.out.*"))) == 4
    assert len(capsys.readouterr().out.splitlines()) == 4


def test_standard_stops_early_and_restores_the_best(tmp_path):
    model = one_weight(optimizers.make("sgd", 0.1))
    used = callbacks.standard(tmp_path, early_stopping_epochs=2, tensorboard=False, progress=False)
    history = fit(model, [Scripted(val_loss=[2.0, 1.0, 3.0, 3.0, 0.0]), *used], epochs=5)
    assert len(history.epoch) == 4
    assert weight(model) == pytest.approx(1 - 0.8**2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"phase": "a/b"}, "`phase` must be usable in a file name. Received: phase='a/b'"),
        ({"phase": ""}, "`phase` must be usable"),
        ({"early_stopping_epochs": 0}, "`early_stopping_epochs` must be at least 1"),
        ({"plateau_epochs": 0}, "`patience_epochs` must be at least 1"),
        ({"monitor": "gain"}, "cannot infer from the name 'gain'"),
    ],
)
def test_standard_says_what_is_wrong(tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        callbacks.standard(tmp_path, **options)
