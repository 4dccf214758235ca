"""The step is that of Keras's Adam, bit for bit, in every graph and branch that it is taken in."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerastrain import optimizers

GRADIENTS = np.random.default_rng(0).normal(size=(5, 3, 2)).astype("float32")


def stepped(optimizer, *, traced=True, sparse=False):
    """The weights after five steps, and the types of the operations of a step."""
    kernel, bias = keras.Variable(np.ones((3, 2), "float32")), keras.Variable(np.ones(2, "float32"), name="bias")
    optimizer.build([kernel, bias])

    def step(gradient):
        rows = tf.IndexedSlices(gradient[:2], tf.constant([2, 0]), dense_shape=[3, 2])
        optimizer.apply([rows if sparse else gradient, gradient[0]])

    function = tf.function(step, autograph=False) if traced else step
    for gradient in GRADIENTS:
        function(tf.constant(gradient))
    graph = function.get_concrete_function(tf.constant(GRADIENTS[0])).graph if traced else None
    types = [operation.type for operation in graph.get_operations()] if traced else []
    return [kernel.numpy(), bias.numpy()], types


@pytest.mark.parametrize("traced", [True, False])
@pytest.mark.parametrize(("options", "powers"), [({"beta_1": 0.5, "epsilon": 0.1}, 2), ({"amsgrad": True}, 4)])
def test_steps_equal_those_of_keras(options, powers, traced):
    expected, _ = stepped(keras.optimizers.Adam(0.1, **options), traced=traced)
    values, types = stepped(optimizers.make("adam", 0.1, **options), traced=traced)
    for value, expected_value in zip(values, expected, strict=True):
        np.testing.assert_array_equal(value, expected_value)
    assert types.count("Pow") == powers * traced


def test_sparse_gradients_are_left_to_keras():
    (values, _), (expected, _) = (
        stepped(made, sparse=True) for made in (optimizers.make("adam", 0.1), keras.optimizers.Adam(0.1))
    )
    np.testing.assert_array_equal(values[0], expected[0])


def test_a_loss_scale_steps_in_a_branch():
    (values, _), (expected, _) = (
        stepped(keras.optimizers.LossScaleOptimizer(made, initial_scale=1.0))
        for made in (optimizers.make("adam", 0.1), keras.optimizers.Adam(0.1))
    )
    np.testing.assert_array_equal(values[0], expected[0])


def test_layers_of_other_rates_do_not_share_theirs():
    values, types = stepped(optimizers.make("adam", 0.1, layer_rates={"bias": 0.5}))
    whole, _ = stepped(optimizers.make("adam", 0.1))
    np.testing.assert_allclose(values[1] - 1, (whole[1] - 1) / 2, rtol=1e-5)
    assert types.count("Pow") == 4
