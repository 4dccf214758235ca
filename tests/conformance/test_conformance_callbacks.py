"""Every callback works in a second `fit` as in the first, and on two replicas as on one."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerastrain import callbacks, data, optimizers

ROWS = {
    "AverageWeights": lambda folder: callbacks.AverageWeights(),
    "TerminateOnNonFinite": lambda folder: callbacks.TerminateOnNonFinite(),
    "BestCheckpoint": lambda folder: callbacks.BestCheckpoint(folder / "best.keras"),
    "Checkpoints": lambda folder: callbacks.Checkpoints(folder / "checkpoints", every="1000 steps"),
    "EndWorsePhase": lambda folder: callbacks.EndWorsePhase(0.0, patience_epochs=1, phase="head"),
    "EarlyStopping": lambda folder: callbacks.EarlyStopping(min_delta=1.0, patience=1),
    "EpochMeasures": lambda folder: callbacks.EpochMeasures(shown(), {"val_mae": "mae"}),
    "EpochReport": lambda folder: callbacks.EpochReport(lambda epoch, logs: "continue"),
    "HistoryFile": lambda folder: callbacks.HistoryFile(folder / "history.csv"),
    "Progress": lambda folder: callbacks.Progress(),
    "ReduceOnPlateau": lambda folder: callbacks.ReduceOnPlateau(min_change=1.0, patience_epochs=1),
}


def shown():
    x = np.linspace(-1, 1, 6, dtype="float32").reshape(3, 2)
    return data.Examples(x.sum(axis=1, keepdims=True), ("sum",), x, "regression")


def dataset():
    x = np.linspace(-1, 1, 16, dtype="float32").reshape(8, 2)
    return tf.data.Dataset.from_tensor_slices((x, x.sum(axis=1, keepdims=True))).batch(4)


def compiled(optimizer_class=None):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    optimizer = optimizer_class(0.1) if optimizer_class else optimizers.make("sgd", 0.1, ema_momentum=0.5)
    model.compile(optimizer, "mse")
    return model


def fitted(model, callback):
    history = model.fit(dataset(), validation_data=dataset(), epochs=2, shuffle=False, callbacks=[callback])
    return [*model.get_weights(), history.history["loss"], history.history["val_loss"]]


def assert_close(left, right, tolerance):
    for actual, expected in zip(left, right, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance)


def test_every_callback_has_its_row():
    public = [getattr(callbacks, name) for name in callbacks.__all__]
    assert set(ROWS) == {
        value.__name__ for value in public if isinstance(value, type) and issubclass(value, keras.callbacks.Callback)
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", ROWS)
def test_callback_serves_a_second_fit(name, tmp_path):
    callback = ROWS[name](tmp_path)
    first = fitted(compiled(), callback)
    assert_close(fitted(compiled(), callback), first, 1e-7)


@pytest.fixture(scope="module")
def two_replicas():
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"], tf.distribute.HierarchicalCopyAllReduce())


@pytest.mark.slow
@pytest.mark.parametrize("name", ROWS)
def test_callback_is_equal_on_two_replicas_and_one(name, tmp_path, two_replicas):
    one_device = fitted(compiled(), ROWS[name](tmp_path / "one"))
    with two_replicas.scope():
        model = compiled()
    assert_close(fitted(model, ROWS[name](tmp_path / "two")), one_device, 1e-6)


@pytest.mark.slow
def test_history_file_reads_the_rate_of_a_keras_optimizer_on_two_replicas(tmp_path, two_replicas):
    with two_replicas.scope():
        model = compiled(keras.optimizers.SGD)
    fitted(model, ROWS["HistoryFile"](tmp_path))
    assert ",0.1," in (tmp_path / "history.csv").read_text()
