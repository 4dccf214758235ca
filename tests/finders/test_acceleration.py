import json
import time

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerastrain import config as configs
from kerastrain import finders, recipe, run_directory, testing
from kerastrain.errors import InputError
from kerastrain.finders import acceleration

BATCH = (
    tf.constant(np.random.default_rng(0).normal(size=(16, 8)).astype("float32")),
    tf.constant(np.eye(4, dtype="float32")[np.arange(16) % 4]),
)


def network(*layers):
    x = inputs = keras.Input((8,))
    for layer in (*layers, keras.layers.Dense(16, activation="relu"), keras.layers.Dropout(0.5), keras.layers.Dense(4)):
        x = layer(x)
    model = keras.Model(inputs, x)
    model.compile("adam", keras.losses.CategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    model.optimizer.build(model.trainable_variables)
    return model


@pytest.mark.parametrize("jit_compile", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.slow
def test_a_step_is_timed_and_the_model_comes_back_bit_by_bit(jit_compile, monkeypatch):
    model = network(keras.layers.BatchNormalization())
    before = [value.numpy() for value in (*model.variables, *model.optimizer.variables)]
    seconds, clock, step = iter([7, 2, 0.5, 1, 3]), [0.0], model.train_on_batch

    def timed_step(*batch):
        clock[0] += next(seconds)
        return step(*batch)

    monkeypatch.setattr(model, "train_on_batch", timed_step)
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    timing = finders.step_seconds(model, BATCH, jit_compile=jit_compile, name="tried")
    # The first step, with its compilation, does not count among the five seconds; of the others this is the median.
    assert (timing.first_seconds, timing.step_seconds) == (7, 1.5)
    assert not list(seconds)
    after = [value.numpy() for value in (*model.variables, *model.optimizer.variables)]
    for value_before, value_after in zip(before, after, strict=True):
        np.testing.assert_array_equal(value_before, value_after)
    assert not model.jit_compile


@pytest.mark.slow
def test_what_xla_cannot_compile_or_would_compile_for_minutes_is_not_tried(monkeypatch):
    incompatible = keras.layers.Lambda(
        lambda x: tf.ensure_shape(tf.numpy_function(np.sign, [x], tf.float32), (None, 8))
    )
    assert finders.step_seconds(network(incompatible), BATCH, jit_compile=False, name="without XLA").step_seconds > 0
    timing = finders.step_seconds(network(incompatible), BATCH, jit_compile=True, name="with XLA")
    assert timing.step_seconds is None
    assert timing.reason.startswith("XLA cannot compile it: Detected unsupported operations")
    monkeypatch.setattr(acceleration, "MOST_OPERATIONS", 10)
    assert "would take XLA minutes" in finders.step_seconds(network(), BATCH, jit_compile=True, name="x").reason
    texts = keras.Input((), dtype="string")
    words = keras.layers.TextVectorization(vocabulary=["a"], output_mode="multi_hot")(texts)
    model = keras.Model(texts, keras.layers.Dense(2)(words))
    model.compile("sgd", "mse")
    batch = tf.constant(["a", "b"]), tf.zeros((2, 2))
    assert finders.step_seconds(model, batch, jit_compile=True, name="with XLA").reason


def test_precisions_are_those_that_the_processor_has():
    assert finders.precisions("flags : fpu avx2 avx512f") == {}
    assert finders.precisions("flags : avx512f amx_tile amx_bf16 amx_int8") == {"mixed_bfloat16": "amx_bf16"}


def test_several_processes_do_not_choose_by_their_own_clocks(monkeypatch):
    assert finders.reason_against_measuring() == ""
    monkeypatch.setenv("TF_CONFIG", "{}")
    assert "by its own clock" in finders.reason_against_measuring()


def test_keys_take_words_and_truth():
    for value, expected in (("auto", "auto"), ("measure", "measure"), ("true", True), ("false", False)):
        assert configs.load(None, [f"runtime.jit_compile={value}"]).runtime.jit_compile is expected or value == expected
    with pytest.raises(InputError, match="runtime.jit_compile"):
        configs.load(None, ["runtime.jit_compile=fast"])


@pytest.mark.chaos
def test_a_run_keeps_what_was_measured_and_goes_on_with_it(tmp_path):
    inputs = keras.Input((16, 16, 3))
    keras.Model(inputs, keras.layers.Conv2D(4, 3, strides=2, activation="relu")(inputs)).save(
        tmp_path / "network.keras"
    )
    testing.colour_folder(tmp_path / "colours", count=16)
    places = [f"data.path={tmp_path / 'colours'}", f"model.backbone={tmp_path / 'network.keras'}"]
    quick = ["fit.head_epochs=1", "fit.epochs=1", "export.formats=[]"]
    config = configs.load(None, [*places, *quick, "runtime.precision=measure", "runtime.jit_compile=measure"])
    done = recipe.run(config, tmp_path / "run")
    timings = json.loads((tmp_path / "run" / "acceleration.json").read_text())
    assert {"float32", "without XLA", "with XLA"} <= {timing["name"] for timing in timings}
    own = configs.load(tmp_path / "run" / "config.yaml")
    assert own.runtime.precision in ("float32", "mixed_bfloat16")
    assert own.runtime.jit_compile in (True, False)
    assert done.model.jit_compile == own.runtime.jit_compile
    (tmp_path / "run" / "finished.json").unlink()
    assert run_directory.resumable(tmp_path / "run", config) == own
