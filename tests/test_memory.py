import keras
import numpy as np
import pytest

from kerastrain import memory

INPUTS = np.random.default_rng(0).normal(size=(10, 4)).astype("float32")
TARGETS = INPUTS[:, :1] ** 2


def fitted(micro_batches, *, batch_size=5, **compiled):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(3, "tanh", kernel_regularizer="l2"), keras.layers.Dense(1)]
    )
    model.compile(**{"optimizer": keras.optimizers.Adam(0.01), "loss": "mse", "metrics": ["mae"], **compiled})
    memory.accumulate(model, micro_batches=micro_batches)
    history = model.fit(INPUTS, TARGETS, batch_size=batch_size, epochs=2, shuffle=False, verbose=0).history
    return model.get_weights(), history


@pytest.mark.parametrize("micro_batches", [2, 3, 7])
def test_micro_batches_equal_the_whole_batch(micro_batches):
    (weights, history), (expected, whole) = fitted(micro_batches), fitted(1)
    for one, other in zip(weights, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    for name in ("loss", "mae"):
        np.testing.assert_allclose(history[name], whole[name], rtol=1e-6)


def test_micro_batches_of_one_step_equal_keras_itself():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, kernel_initializer="ones")])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    memory.accumulate(model, micro_batches=4)
    model.fit(INPUTS, TARGETS, batch_size=10, verbose=0)
    gradient = 2 * INPUTS.T @ (INPUTS.sum(axis=1, keepdims=True) - TARGETS) / 10
    np.testing.assert_allclose(model.get_weights()[0], 1 - 0.1 * gradient, atol=1e-6)


def test_a_batch_normalization_is_refused_unless_frozen():
    model = keras.Sequential([keras.Input((4,)), keras.layers.BatchNormalization(name="norm"), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="would see only its micro-batch.*Received: norm"):
        memory.accumulate(model, micro_batches=2)
    model.layers[0].trainable = False
    memory.accumulate(model, micro_batches=2)


@pytest.mark.parametrize("micro_batches", [0, 2.0, True])
def test_a_number_of_micro_batches_that_is_none_is_refused(micro_batches):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    with pytest.raises(ValueError, match="`micro_batches` must be an int of at least 1"):
        memory.accumulate(model, micro_batches=micro_batches)


def test_a_model_with_a_step_of_its_own_is_refused():
    class Own(keras.Model):
        def train_step(self, data):
            return {}

    with pytest.raises(TypeError, match="which has one of its own"):
        memory.accumulate(Own(), micro_batches=2)


def test_a_loss_that_is_no_mean_is_refused():
    with pytest.raises(ValueError, match="must be 'sum_over_batch_size'"):
        fitted(2, loss=keras.losses.MeanSquaredError(reduction="sum"))
