"""Each patch is needed: when one of these tests fails, Keras has fixed the bug and the patch can be removed."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerastrain import distribute
from kerastrain.distribute import Cluster
from kerastrain.train_step import keras_trainer

INPUTS = np.random.default_rng(0).normal(size=(7, 3)).astype("float32")


@pytest.fixture(scope="module")
def two_devices():
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"], tf.distribute.HierarchicalCopyAllReduce())


@pytest.fixture
def patched():
    keras_trainer.patch()
    yield
    keras_trainer.unpatch()


def weights_after(strategy, batch_size):
    keras.utils.set_random_seed(0)
    with strategy.scope():
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
        model.compile(keras.optimizers.SGD(0.1), "mse")
    model.fit(INPUTS, INPUTS[:, :1] ** 2, batch_size=batch_size, shuffle=False, verbose=0)
    return model.get_weights()[0]


def test_an_uneven_last_batch_is_exact(two_devices, patched):
    expected = weights_after(tf.distribute.get_strategy(), 4)
    np.testing.assert_allclose(weights_after(two_devices, 4), expected, atol=1e-6)


def test_a_batch_of_one_example_is_exact_on_two_devices(two_devices, patched):
    expected = weights_after(tf.distribute.get_strategy(), 6)
    np.testing.assert_allclose(weights_after(two_devices, 6), expected, atol=1e-6)


def test_an_uneven_first_batch_is_exact(two_devices, patched):
    expected = weights_after(tf.distribute.get_strategy(), 7)
    np.testing.assert_allclose(weights_after(two_devices, 7), expected, atol=1e-6)


class Steps(keras.callbacks.Callback):
    """Records the last step of each execution."""

    def on_train_begin(self, logs=None):
        self.ends = []

    def on_train_batch_end(self, batch, logs=None):
        self.ends.append(batch)

    def on_test_batch_end(self, batch, logs=None):
        self.ends.append(-batch)


def several_steps(strategy, steps_per_execution):
    """Weights, logs and last steps of executions, after two epochs of five steps, each validated in three steps."""
    keras.utils.set_random_seed(0)
    with strategy.scope():
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
        model.compile("adam", "mse", steps_per_execution=steps_per_execution)
    data, steps = tf.data.Dataset.from_tensor_slices((INPUTS, INPUTS[:, :1] ** 2)).repeat(2), Steps()
    history = model.fit(
        distribute.shard(data.batch(3).repeat(3), strategy),
        steps_per_epoch=5,
        epochs=2,
        validation_data=distribute.shard(data.batch(5).repeat(3), strategy),
        validation_steps=3,
        shuffle=False,
        verbose=0,
        callbacks=[steps],
    ).history
    return [*model.get_weights(), *map(np.array, history.values())], steps.ends


@pytest.mark.slow
@pytest.mark.parametrize("steps_per_execution", [2, 4, 9])
def test_several_steps_in_one_execution_are_those_of_the_epoch(two_devices, patched, steps_per_execution):
    expected_values, _ = several_steps(tf.distribute.get_strategy(), 1)
    values, ends = several_steps(two_devices, steps_per_execution)
    for value, expected in zip(values, expected_values, strict=True):
        np.testing.assert_allclose(value, expected, atol=1e-6)
    assert ends == 2 * {2: [1, 3, 4, -1, -2], 4: [3, 4, -2], 9: [4, -2]}[steps_per_execution]


@pytest.mark.slow
def test_keras_itself_still_reads_on_where_steps_do_not_divide(two_devices, patched, monkeypatch):
    expected_values, _ = several_steps(tf.distribute.get_strategy(), 1)
    monkeypatch.setattr(keras_trainer.trainer, "TFEpochIterator", keras_trainer._EpochIterator)
    monkeypatch.setattr(keras_trainer.trainer.TensorFlowTrainer, "_make_function", keras_trainer._make_function)
    values, ends = several_steps(two_devices, 2)
    assert ends[:5] == [1, 3, 5, -1, -3]
    pairs = zip(values, expected_values, strict=True)
    assert max(np.abs(value - expected).max() for value, expected in pairs) > 1e-4


def test_keras_itself_still_averages_means(two_devices):
    expected = weights_after(tf.distribute.get_strategy(), 4)
    assert np.abs(weights_after(two_devices, 4) - expected).max() > 1e-3


def test_keras_itself_still_fails_on_an_uneven_first_batch(two_devices):
    with pytest.raises(tf.errors.InvalidArgumentError, match="same size and shape"):
        weights_after(two_devices, 7)


def errors_of_two_workers(tmp_path, addresses, unpatch, options=""):
    """Standard error of two workers that call `fit` with some of the patches removed; both must fail."""
    script = tmp_path / "unpatched.py"
    script.write_text(
        "import numpy as np, keras\n"
        "from kerastrain import distribute\n"
        "from kerastrain.train_step import keras_trainer\n"
        "strategy = distribute.make('multi_worker')\n"
        f"{unpatch}\n"
        "with strategy.scope():\n"
        "    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])\n"
        f"    model.compile('sgd', 'mse'{options})\n"
        "model.fit(np.ones((4, 3)), np.ones((4, 1)), batch_size=2, verbose=0)\n"
    )
    workers = [
        subprocess.Popen(
            [sys.executable, script],
            env={**os.environ, "TF_CONFIG": Cluster(addresses, index).tf_config()},
            stderr=subprocess.PIPE,
            text=True,
        )
        for index in range(2)
    ]
    errors = [worker.communicate(timeout=120)[1] for worker in workers]
    assert all(worker.returncode for worker in workers), errors
    return errors


@pytest.mark.multi_worker
def test_keras_itself_still_fails_with_two_workers(tmp_path, free_addresses):
    errors = errors_of_two_workers(tmp_path, free_addresses(2), "keras_trainer.unpatch()")
    assert any("axis" in text or "must have the same" in text or "Error" in text for text in errors)


@pytest.mark.multi_worker
def test_keras_itself_still_fails_with_several_steps_of_two_workers(tmp_path, free_addresses):
    unpatch = (
        "keras_trainer.trainer.TFEpochIterator = keras_trainer._EpochIterator\n"
        "keras_trainer.trainer.TensorFlowTrainer._make_function = keras_trainer._make_function"
    )
    errors = errors_of_two_workers(tmp_path, free_addresses(2), unpatch, ", steps_per_execution=2")
    assert any("You must feed a value for placeholder" in text for text in errors)


def test_a_keras_that_was_never_tried_is_refused(monkeypatch):
    monkeypatch.setattr(keras, "__version__", "3.16.0")
    with pytest.raises(ImportError, match=r"Keras 3.12 to 3.15. Received: Keras 3.16.0"):
        keras_trainer.patch()


def test_a_keras_without_the_private_names_is_refused(monkeypatch):
    monkeypatch.delattr(keras_trainer.trainer, "reduce_per_replica")
    with pytest.raises(ImportError, match="private names"):
        keras_trainer.patch()


def test_a_step_that_cannot_be_exact_is_refused(two_devices, patched):
    with two_devices.scope():
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
        model.compile(keras.optimizers.SGD(0.1, gradient_accumulation_steps=2), "mse")
    with pytest.raises(ValueError, match="memory.accumulate"):
        model.fit(INPUTS, INPUTS[:, :1], batch_size=4, verbose=0)
    with two_devices.scope():
        model.compile("sgd", keras.losses.MeanSquaredError(reduction="mean_with_sample_weight"))
    with pytest.raises(ValueError, match="mean_with_sample_weight"):
        model.fit(INPUTS, INPUTS[:, :1], sample_weight=np.arange(7.0), batch_size=4, verbose=0)
