import keras
import numpy as np
import pytest
import tensorflow as tf

from kerastrain.memory import updates

INPUTS = np.random.default_rng(0).normal(size=(8, 4)).astype("float32")


def weights_after(optimizer, in_turn, jit_compile=False):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, "tanh"), keras.layers.Dense(1)])
    model.compile(optimizer, "mse", jit_compile=jit_compile)
    if in_turn:
        updates.update_one_by_one(model.optimizer)
    model.fit(INPUTS, INPUTS[:, :1], epochs=2, batch_size=4, shuffle=False, verbose=0)
    return model


@pytest.mark.parametrize(
    "make",
    [
        lambda: keras.optimizers.AdamW(0.1, weight_decay=0.1, global_clipnorm=0.5),
        lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1, momentum=0.9)),
    ],
)
@pytest.mark.slow
def test_variables_that_are_updated_in_turn_get_the_same_bits(make):
    expected, found = (weights_after(make(), in_turn).get_weights() for in_turn in (False, True))
    for value, expected_value in zip(found, expected, strict=True):
        np.testing.assert_array_equal(value, expected_value)


def test_the_update_of_a_variable_waits_for_the_one_before():
    model = weights_after(keras.optimizers.AdamW(0.1), True)
    gradients = [tf.ones(weight.shape) for weight in model.trainable_weights]
    graph = tf.function(lambda: model.optimizer.apply(gradients)).get_concrete_function().graph
    roots = [op for op in graph.get_operations() if op.type == "Sqrt" and op.inputs[0].shape.rank]
    before = [_ancestors(op) for op in roots]
    assert len(roots) == 4
    assert all(first in before[number + 1] for number, first in enumerate(roots[:-1]))


def _ancestors(op, seen=None):
    seen = set() if seen is None else seen
    for parent in [*(tensor.op for tensor in op.inputs), *op.control_inputs]:
        if parent not in seen:
            seen.add(parent)
            _ancestors(parent, seen)
    return seen
