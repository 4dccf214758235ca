"""Each patch is needed: when one of these fails, Keras has mended it and the patch can go."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerastrain.distribute import Cluster, keras_trainer

INPUTS = np.random.default_rng(0).normal(size=(7, 3)).astype("float32")


@pytest.fixture(scope="module")
def two_devices():
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"], tf.distribute.HierarchicalCopyAllReduce())


@pytest.fixture
def mended():
    keras_trainer.mend()
    yield
    keras_trainer.unmend()


def weights_after(strategy, batch_size):
    keras.utils.set_random_seed(0)
    with strategy.scope():
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
        model.compile(keras.optimizers.SGD(0.1), "mse")
    model.fit(INPUTS, INPUTS[:, :1] ** 2, batch_size=batch_size, shuffle=False, verbose=0)
    return model.get_weights()[0]


def test_an_uneven_last_batch_is_exact(two_devices, mended):
    alone = weights_after(tf.distribute.get_strategy(), 4)
    np.testing.assert_allclose(weights_after(two_devices, 4), alone, atol=1e-6)


def test_a_batch_of_one_example_is_exact_on_two_devices(two_devices, mended):
    alone = weights_after(tf.distribute.get_strategy(), 6)
    np.testing.assert_allclose(weights_after(two_devices, 6), alone, atol=1e-6)


def test_an_uneven_first_batch_is_exact(two_devices, mended):
    alone = weights_after(tf.distribute.get_strategy(), 7)
    np.testing.assert_allclose(weights_after(two_devices, 7), alone, atol=1e-6)


def test_keras_itself_still_averages_means(two_devices):
    alone = weights_after(tf.distribute.get_strategy(), 4)
    assert np.abs(weights_after(two_devices, 4) - alone).max() > 1e-3


def test_keras_itself_still_fails_on_an_uneven_first_batch(two_devices):
    with pytest.raises(tf.errors.InvalidArgumentError, match="same size and shape"):
        weights_after(two_devices, 7)


@pytest.mark.multi_worker
def test_keras_itself_still_fails_with_two_workers(tmp_path, free_addresses):
    script = tmp_path / "unmended.py"
    script.write_text(
        "import numpy as np, keras\n"
        "from kerastrain import distribute\n"
        "from kerastrain.distribute import keras_trainer\n"
        "strategy = distribute.make('multi_worker')\n"
        "keras_trainer.unmend()\n"
        "with strategy.scope():\n"
        "    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])\n"
        "    model.compile('sgd', 'mse')\n"
        "model.fit(np.ones((4, 3)), np.ones((4, 1)), batch_size=4, verbose=0)\n"
    )
    addresses = free_addresses(2)
    workers = [
        subprocess.Popen(
            [sys.executable, script],
            env={**os.environ, "TF_CONFIG": Cluster(addresses, index).tf_config()},
            stderr=subprocess.PIPE,
            text=True,
        )
        for index in range(2)
    ]
    words = [worker.communicate(timeout=120)[1] for worker in workers]
    assert all(worker.returncode for worker in workers)
    assert any("axis" in text or "must have the same" in text or "Error" in text for text in words)


def test_a_keras_that_was_never_tried_is_refused(monkeypatch):
    monkeypatch.setattr(keras, "__version__", "3.16.0")
    with pytest.raises(ImportError, match=r"Keras 3.12 to 3.15. Received: Keras 3.16.0"):
        keras_trainer.mend()


def test_a_keras_without_the_private_names_is_refused(monkeypatch):
    monkeypatch.delattr(keras_trainer.trainer, "reduce_per_replica")
    with pytest.raises(ImportError, match="private names"):
        keras_trainer.mend()


def test_a_step_that_cannot_be_exact_is_refused(two_devices, mended):
    with two_devices.scope():
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
        model.compile(keras.optimizers.SGD(0.1, gradient_accumulation_steps=2), "mse")
    with pytest.raises(ValueError, match="memory.accumulate"):
        model.fit(INPUTS, INPUTS[:, :1], batch_size=4, verbose=0)
    with two_devices.scope():
        model.compile("sgd", keras.losses.MeanSquaredError(reduction="mean_with_sample_weight"))
    with pytest.raises(ValueError, match="mean_with_sample_weight"):
        model.fit(INPUTS, INPUTS[:, :1], sample_weight=np.arange(7.0), batch_size=4, verbose=0)
