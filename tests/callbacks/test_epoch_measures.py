"""Measures after each epoch are those of `evaluation.measures`, on one device and on two."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerastrain import callbacks, data, evaluation
from kerastrain.errors import InputError

LABELS = ("a", "b.c", "d")


@pytest.fixture(scope="module")
def two_devices():
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"], tf.distribute.HierarchicalCopyAllReduce())


def examples(count, task="single_label", *, numbers=False):
    random = np.random.default_rng(count)
    targets = {
        "single_label": np.arange(count) % 2,  # none of "d"
        "multi_label": (random.random((count, 3)) < 0.5).astype("float32"),
        "regression": random.normal(1e4, 1, (count, 3)).astype("float32"),
    }[task]
    columns = (
        {"numbers": random.normal(size=(count, 2)).astype("float32"), "number_names": ("x", "y")} if numbers else {}
    )
    return data.Examples(targets, LABELS, random.normal(size=(count, 4)).astype("float32"), task, **columns)


def network(*, numbers=False, offset=0.0):
    keras.utils.set_random_seed(0)
    inputs = [keras.Input((4,)), keras.Input((2,))] if numbers else keras.Input((4,))
    values = keras.layers.Concatenate()(inputs) if numbers else inputs
    values = keras.layers.BatchNormalization(synchronized=True)(values)
    return keras.Model(inputs, keras.layers.Dense(3, bias_initializer=keras.initializers.Constant(offset))(values))


def logged(model, shown, measures, **options):
    callback = callbacks.EpochMeasures(shown, measures, **options)
    callback.set_model(model)
    callback.on_train_begin()
    logs = {"loss": 1.0}
    callback.on_epoch_end(0, logs)
    assert logs.pop("loss") == 1.0
    return logs


def expected(model, shown, names):
    inputs = shown.model_inputs(np.arange(len(shown)))
    outputs = model([*inputs] if isinstance(inputs, tuple) else inputs, training=False).numpy()
    measured = evaluation.measures(evaluation.Predictions(shown.targets, outputs, LABELS, shown.task))
    return [evaluation.catalog.scalar(measured, name) for name in names]


SINGLE = ["macro.f1", "validation.calibration.error", "classes.b.c.recall", "loss"]
CASES = [  # (task, measures, whether there are numbers beside the inputs, examples: 7 in batches of 4, or fewer than devices)
    pytest.param("single_label", SINGLE, True, 7, id="single label"),
    pytest.param("regression", ["mae", "outputs.d.rmse"], False, 1, id="fewer examples than devices"),
    pytest.param("regression", ["r2", "outputs.d.spearman"], False, 7, id="regression", marks=pytest.mark.slow),
    pytest.param("single_label", SINGLE, False, 1, id="one example", marks=pytest.mark.slow),
    pytest.param("multi_label", ["exact", "macro.average_precision"], False, 7, id="labels", marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("task", "names", "numbers", "count"), CASES)
def test_two_devices_measure_as_one(two_devices, task, names, numbers, count):
    shown = examples(count, task, numbers=numbers)
    options = {"numbers": numbers, "offset": 1e4 if task == "regression" else 0.0}
    with two_devices.scope():
        on_two = network(**options)
    measures = {f"val_{index}": name for index, name in enumerate(names)}
    logs = logged(on_two, shown, measures, batch_size=4)
    np.testing.assert_allclose([*logs.values()], expected(network(**options), shown, names), rtol=1e-5)
    assert [*logs] == [*measures]


@pytest.mark.parametrize(
    ("task", "activation", "names"),
    [
        ("single_label", "softmax", ["brier", "calibration.error"]),
        ("multi_label", "sigmoid", ["macro.f1", "brier"]),
        ("regression", "sigmoid", ["mae"]),
    ],
)
def test_probabilities_of_a_model_are_measured_as_its_logits_are(task, activation, names):
    shown, model = examples(7, task), network()
    squashed = keras.Model(model.input, keras.layers.Activation(activation)(model.output))
    logs = logged(squashed, shown, dict(zip(names, names, strict=True)))
    measured = expected(squashed if task == "regression" else model, shown, names)
    np.testing.assert_allclose([*logs.values()], measured, rtol=1e-4)


def test_measures_are_in_the_history_of_a_training():
    shown, model = examples(7), network()
    model.compile("sgd", keras.losses.CategoricalCrossentropy(from_logits=True))
    callback = callbacks.EpochMeasures(shown, {"val_f1": "macro.f1"})
    history = model.fit(data.batches(shown, 4), epochs=2, shuffle=False, verbose=0, callbacks=[callback])
    assert history.history["val_f1"][-1] == pytest.approx(expected(model, shown, ["macro.f1"])[0])


def test_an_undefined_measure_is_nan_and_warned_about_once(caplog):
    callback = callbacks.EpochMeasures(examples(6), {"val_d": "validation.classes.d.recall"})
    callback.set_model(network())
    callback.on_train_begin()
    for epoch in range(2):
        logs = {}
        callback.on_epoch_end(epoch, logs)
        assert math.isnan(logs["val_d"])
    [record] = [record for record in caplog.records if record.name == "kerastrain"]
    assert record.getMessage() == (
        "validation.classes.d.recall is undefined after epoch 1, because there is no example of 'd' among the 6 examples that "
        "it is measured on. An undefined value is never the best."
    )


def test_outputs_that_are_not_finite_have_no_measures():
    logs = logged(network(offset=np.nan), examples(3), {"val_f1": "macro.f1"})
    assert math.isnan(logs["val_f1"])


def test_a_measure_of_another_task_is_refused():
    with pytest.raises(InputError, match="unknown measure 'mae'"):
        logged(network(), examples(3), {"val_mae": "mae"})


@pytest.mark.parametrize(("mode", "values"), [("max", [math.nan, 0.1, 0.2, 0.3]), ("min", [math.nan, 0.3, 0.2, 0.1])])
def test_early_stopping_does_not_take_nan_for_the_best(mode, values):
    stopping = callbacks.EarlyStopping("val_x", mode=mode, patience=2)
    stopping.set_model(network())
    stopping.model.stop_training = False
    stopping.on_train_begin()
    for epoch, value in enumerate([*values, math.nan]):
        stopping.on_epoch_end(epoch, {"val_x": value})
    assert (stopping.best, stopping.best_epoch, stopping.model.stop_training) == (values[-1], 3, False)
    stopping.on_epoch_end(5, {"val_x": math.nan})
    assert stopping.model.stop_training
