"""Batches with fewer examples than devices: the results equal those of one device, and no device gets an empty batch."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerastrain import data, distribute, memory, testing
from kerastrain.hub.layer import HubLayer
from kerastrain.train_step import keras_trainer

TOLERANCE = 1e-6
IMAGES = np.random.default_rng(0).random((7, 8, 8, 3), np.float32)
LABELS = np.eye(3, dtype="float32")[np.arange(7) % 3]


@pytest.fixture(scope="module")
def two_devices():
    keras_trainer.patch()
    yield tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"], tf.distribute.HierarchicalCopyAllReduce())
    keras_trainer.unpatch()


@pytest.fixture(scope="module")
def module(tmp_path_factory):
    return testing.saved_model(tmp_path_factory.mktemp("hub") / "module", image_size=(8, 8), l2=1e-3)


def hub_module(module):
    return [HubLayer(module, trainable=True, freeze_batch_norm_statistics=True)]


def convolutions(module):
    layers = keras.layers
    return [
        layers.Conv2D(4, 3, padding="same", use_bias=False, kernel_regularizer=keras.regularizers.L2(0.01)),
        layers.BatchNormalization(synchronized=True),
        layers.ReLU(),
        layers.MaxPooling2D(2),
        layers.Conv2D(4, 3),
        layers.GlobalAveragePooling2D(),
    ]


def trained(strategy, layers, size, reduction="sum_over_batch_size"):
    """Weights, logs of two epochs, metrics and predictions of 7 images in batches of `size`."""
    with strategy.scope():
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((8, 8, 3)), *layers(), keras.layers.Dense(3)])
        loss = keras.losses.CategoricalCrossentropy(from_logits=True, reduction=reduction)
        model.compile("adam", loss, metrics=["accuracy", keras.metrics.AUC(from_logits=True, name="auc")])
    dataset = tf.data.Dataset.from_tensor_slices((IMAGES, LABELS)).batch(size)
    steps = int(dataset.cardinality())
    two_epochs = distribute.shard(dataset.repeat(2), strategy)
    history = model.fit(two_epochs, epochs=2, steps_per_epoch=steps, shuffle=False, verbose=0).history
    metrics = model.evaluate(distribute.shard(dataset, strategy), steps=steps, verbose=0)
    predictions = model.predict(distribute.shard(dataset, strategy), steps=steps, verbose=0)
    return [*model.get_weights(), *map(np.array, history.values()), np.array(metrics), predictions]


def assert_equal_to_one_device(strategy, layers, **options):
    expected_values = trained(tf.distribute.get_strategy(), layers, **options)
    for value, expected in zip(trained(strategy, layers, **options), expected_values, strict=True):
        np.testing.assert_allclose(value, expected, atol=TOLERANCE)


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("layers", [hub_module, convolutions])
def test_fewer_examples_than_devices_train_to_the_weights_of_one_device(layers, size, two_devices, module):
    assert_equal_to_one_device(two_devices, lambda: layers(module), size=size)


@pytest.mark.slow
def test_a_sum_of_losses_counts_no_copy(two_devices, module):
    assert_equal_to_one_device(two_devices, lambda: convolutions(module), size=3, reduction="sum")


def test_features_of_fewer_examples_than_devices_are_those_of_one_device(two_devices, module):
    examples = data.digits(image_size=(8, 8)).validation.subset(np.arange(7))

    def features(strategy):
        with strategy.scope():
            model = keras.Sequential([keras.Input((8, 8, 3)), HubLayer(module)])
        return data.features.precompute(model, examples, 3).inputs

    np.testing.assert_allclose(features(two_devices), features(tf.distribute.get_strategy()), rtol=1e-5)


@pytest.mark.slow
def test_fewer_examples_than_micro_batches_train_to_the_weights_of_the_whole_batch(module):
    def weights(micro_batches):
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((8, 8, 3)), *hub_module(module), keras.layers.Dense(3)])
        model.compile("adam", keras.losses.CategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
        memory.accumulate(model, micro_batches=micro_batches)
        history = model.fit(IMAGES, LABELS, batch_size=3, shuffle=False, verbose=0).history
        return [*model.get_weights(), *history.values()]

    for expected, value in zip(weights(1), weights(3), strict=True):
        np.testing.assert_allclose(value, expected, atol=TOLERANCE)


def test_a_model_with_a_step_of_its_own_is_refused(two_devices):
    class Own(keras.Sequential):
        def train_step(self, data):
            return super().train_step(data)

    with two_devices.scope():
        model = Own([keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(3)])
        model.compile("sgd", "mse")
    batches = tf.data.Dataset.from_tensor_slices((IMAGES, LABELS)).batch(4)
    with pytest.raises(ValueError, match=r"must use Keras's own steps. Received: .*Own, which overrides `train_step`"):
        model.fit(distribute.shard(batches, two_devices), steps_per_epoch=2, shuffle=False, verbose=0)
