"""A folded step computes what Keras's own step computes, up to rounding, and folds what may be folded only."""

import functools
import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from kerastrain import distribute, evaluation, memory
from kerastrain.train_step import folded_norms, keras_trainer

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.normal(size=(7, 8, 8, 3)).astype("float32")
TARGETS = RANDOM.normal(size=(7, 2)).astype("float32")


def network():
    """Convolutions of every kind, in a nested backbone, and a head."""
    x = inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, strides=2, padding="same", use_bias=False)(x)
    x = short = layers.ReLU(6.0)(layers.BatchNormalization()(x))
    x = layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2, depthwise_regularizer="l2")(x)
    x = layers.ReLU()(layers.BatchNormalization(scale=False)(x))
    x = layers.BatchNormalization(center=False, epsilon=0.1)(layers.Conv2D(4, 1)(x))
    x = layers.Add()([x, short])
    backbone = keras.Model(inputs, x, name="backbone")
    return keras.Model(inputs, layers.Dense(2)(layers.GlobalAveragePooling2D()(backbone(inputs))))


def prepared(*, policy="float32", trains=(), jit_compile=False):
    """The network with statistics that normalize visibly, compiled; all norms frozen but those in `trains`."""
    keras.utils.set_random_seed(0)
    before = keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy(policy)
    try:
        model = network()
    finally:
        keras.mixed_precision.set_global_policy(before)
    norms = [layer for layer in model.get_layer("backbone").layers if isinstance(layer, layers.BatchNormalization)]
    random = np.random.default_rng(1)
    for number, norm in enumerate(norms):
        norm.set_weights([random.uniform(0.5, 2, size=value.shape) for value in norm.get_weights()])
        norm.trainable = number in trains
    model.compile(keras.optimizers.SGD(0.05, momentum=0.9), "mse", metrics=["mae"], jit_compile=jit_compile)
    return model


def fitted(model):
    options = {"validation_data": (IMAGES, TARGETS), "validation_batch_size": 4, "shuffle": False, "verbose": 0}
    history = model.fit(IMAGES, TARGETS, batch_size=4, epochs=2, **options).history
    return model.get_weights(), history


def assert_equal(result, expected, tolerance=1e-5):
    for value, expected_value in zip(result[0], expected[0], strict=True):
        np.testing.assert_allclose(value, expected_value, atol=tolerance)
    for name in ("loss", "mae", "val_loss", "val_mae"):
        np.testing.assert_allclose(result[1][name], expected[1][name], rtol=tolerance)


def scaled_activations(step):
    """The multiplications of whole activations in a step, one for each norm that is not folded."""
    graph = tf.function(step).get_concrete_function((tf.constant(IMAGES), tf.constant(TARGETS))).graph
    products = [operation.outputs[0].shape for operation in graph.get_operations() if operation.type == "Mul"]
    return sum(shape.rank == 4 and shape[0] == len(IMAGES) for shape in products)


@pytest.mark.parametrize("trains", [(1,), pytest.param((), marks=pytest.mark.slow)])
def test_a_step_equals_that_of_keras(trains):
    expected, model = fitted(prepared(trains=trains)), prepared(trains=trains)
    assert folded_norms.install(model)
    assert_equal(fitted(model), expected)
    assert scaled_activations(lambda batch: model.train_step.folded(batch[0], training=True)) == len(trains)
    assert (
        scaled_activations(model.test_step) == 0 < scaled_activations(functools.partial(keras.Model.test_step, model))
    )


@pytest.mark.slow
def test_a_step_with_xla_equals_that_without():
    expected, model = fitted(prepared()), prepared(jit_compile=True)
    assert folded_norms.install(model)
    assert_equal(fitted(model), expected)
    assert model.jit_compile


@pytest.mark.slow
def test_a_step_in_bfloat16_equals_that_in_float32_up_to_its_precision():
    model = prepared(policy="mixed_bfloat16")
    assert folded_norms.install(model)
    assert_equal(fitted(model), fitted(prepared()), tolerance=0.02)


@pytest.mark.slow
def test_two_devices_equal_one():
    folded = prepared()
    folded_norms.install(folded)
    expected = fitted(folded)
    keras_trainer.patch()
    try:
        with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"], tf.distribute.HierarchicalCopyAllReduce()).scope():
            model = prepared()
        folded_norms.install(model)
        assert_equal(fitted(model), expected)
    finally:
        keras_trainer.unpatch()


@pytest.mark.slow
def test_norms_may_be_frozen_between_two_fits():
    def continued(*, folds):
        model = prepared(trains=(0,))
        if folds:
            folded_norms.install(model)
        fitted(model)
        for layer in model.get_layer("backbone").layers:
            layer.trainable = not isinstance(layer, layers.BatchNormalization)
        model.compile(keras.optimizers.SGD(0.05), "mse", metrics=["mae"], jit_compile=False)
        return fitted(model)

    assert_equal(continued(folds=True), continued(folds=False))


def test_memory_settings_keep_their_own_pass_and_their_rule_about_xla():
    model = prepared()
    folded_norms.install(model)
    memory.accumulate(model, micro_batches=2)
    folded_norms.install(model)
    model.compile("sgd", "mse", jit_compile=True)
    with pytest.raises(ValueError, match="XLA keeps the activations"):
        model.train_on_batch(IMAGES, TARGETS)


def test_nothing_changes_outside_the_step():
    model = prepared()
    before, config = model.predict(IMAGES, verbose=0), model.to_json()
    folded_norms.install(model)
    np.testing.assert_array_equal(model.predict(IMAGES, verbose=0), before)
    assert model.to_json() == config


def test_inference_folds_norms_that_train_too_and_sees_new_weights():
    model = prepared(trains=(0, 1, 2))
    inference = folded_norms.inference_model(model)
    for _ in range(2):
        expected = model.predict(IMAGES, verbose=0)
        np.testing.assert_allclose(inference.predict(IMAGES, verbose=0), expected, atol=1e-5)
        model.set_weights([value * 1.1 for value in model.get_weights()])
    assert not np.allclose(model.predict(IMAGES, verbose=0), expected, atol=1e-3)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", pytest.param("bfloat16", marks=pytest.mark.slow)])
def test_inference_in_half_precision_rounds_weights_once(policy):
    before = keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy(policy)
    try:
        model = one_norm(layers.Conv2D(4, 1))  # with a bias
        model.set_weights([value + np.float32(0.3) for value in model.get_weights()])
        expected = model.predict(IMAGES, verbose=0).astype("float32")
        inferred = folded_norms.inference_model(model).predict(IMAGES, verbose=0).astype("float32")
        measured = keras.Sequential([model, layers.GlobalAveragePooling2D(dtype="float32")])
        targets = np.linspace(1, 2, 28, dtype="float32").reshape(7, 4)  # of which half precision loses digits
        batches = tf.data.Dataset.from_tensor_slices((IMAGES, targets)).batch(4)
        predicted = evaluation.predict(measured, batches, task="regression")
    finally:
        keras.mixed_precision.set_global_policy(before)
    np.testing.assert_allclose(inferred, expected, rtol=0.02, atol=0.03)
    np.testing.assert_allclose(predicted.outputs, expected.mean((1, 2)), atol=0.03)
    np.testing.assert_array_equal(predicted.targets, targets)


@pytest.mark.slow
def test_an_optimizer_may_accumulate_gradients_on_one_device():
    def trained(*, folds):
        model = prepared()
        model.compile(
            keras.optimizers.SGD(0.05, gradient_accumulation_steps=2), "mse", metrics=["mae"], jit_compile=False
        )
        assert not folds or folded_norms.install(model)
        return fitted(model)

    assert_equal(trained(folds=True), trained(folds=False))


def test_inference_of_a_model_without_norms_is_that_model():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    assert folded_norms.inference_model(model) is model


def one_norm(convolution, *, read_twice=False, norm=None):
    inputs = keras.Input((8, 8, 3))
    x = convolution(inputs)
    y = (norm or layers.BatchNormalization())(x)
    return keras.Model(inputs, layers.Add()([x, y]) if read_twice else y)


@pytest.mark.parametrize(
    "model",
    [
        lambda: one_norm(layers.Conv2D(4, 1), read_twice=True),
        lambda: one_norm(layers.Conv2D(4, 1), norm=layers.BatchNormalization(axis=1)),
        lambda: one_norm(layers.Conv2D(4, 1), norm=layers.BatchNormalization(activity_regularizer="l2")),
        pytest.param(
            lambda: one_norm(layers.Conv2D(4, 1), norm=layers.BatchNormalization(renorm=True)),
            marks=pytest.mark.skipif(
                "renorm" not in inspect.signature(layers.BatchNormalization).parameters,
                reason="this version of Keras has no batch renormalization",
            ),
        ),
        lambda: one_norm(layers.Conv2D(4, 1, data_format="channels_first"), norm=layers.BatchNormalization(axis=3)),
        lambda: one_norm(layers.Conv2D(4, 1, dtype="bfloat16")),
        lambda: one_norm(
            layers.Conv2D(4, 1, dtype="mixed_float16"), norm=layers.BatchNormalization(dtype="mixed_float16")
        ),
        lambda: one_norm(layers.SeparableConv2D(4, 1)),
        lambda: one_norm(layers.Identity()),
    ],
)
def test_what_is_no_affine_map_of_its_channels_is_not_folded(model):
    assert folded_norms.forward(model()) is None


@pytest.mark.parametrize("options", [{"activation": "relu"}, {"activity_regularizer": "l2"}])
def test_a_convolution_that_does_more_is_computed_as_keras_does(options):
    model = one_norm(layers.Conv2D(4, 1, **options))
    model.trainable = False
    expected = model(IMAGES, training=True)
    np.testing.assert_array_equal(folded_norms.forward(model)(IMAGES, training=True), expected)


def test_a_model_with_a_step_of_its_own_keeps_it():
    class OwnTraining(keras.Model):
        def train_step(self, data):
            return {}

    class OwnValidation(keras.Model):
        def test_step(self, data):
            return {"own": 1.0}

    inputs = keras.Input((8, 8, 3))
    outputs = layers.BatchNormalization()(layers.Conv2D(4, 1)(inputs))
    assert not folded_norms.install(OwnTraining(inputs, outputs))
    model = OwnValidation(inputs, outputs)
    assert folded_norms.install(model)
    assert model.test_step(None) == {"own": 1.0}


def test_a_model_on_several_devices_keeps_its_pass(monkeypatch):
    fused, folded = folded_norms._fused, []
    monkeypatch.setattr(folded_norms, "_fused", lambda *values: folded.append(values) or fused(*values))
    for is_placed in (False, True):
        model = prepared()
        folded_norms.install(model)
        if is_placed:
            distribute.place(model, ["CPU:0", "CPU:0"])
        model.run_eagerly = True
        for step in (model.train_on_batch, model.test_on_batch):
            folded.clear()
            step(IMAGES, TARGETS)
            assert bool(folded) != is_placed
