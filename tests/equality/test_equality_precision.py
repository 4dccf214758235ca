"""Mixed precision on two devices gives the weights of one, within its precision, and skips the same steps."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerastrain import distribute, optimizers

INPUTS = np.random.default_rng(0).normal(size=(27, 6)).astype("float32")
LABELS = np.eye(3, dtype="float32")[np.random.default_rng(1).integers(0, 3, 27)]
STEPS_PER_EPOCH, EPOCHS = 5, 4


def trained(policy, strategy, inputs=INPUTS, *, normalized=True):
    """The weights before and after 20 steps with partial batches, the optimizer and the losses."""
    keras.utils.set_random_seed(1)
    with strategy.scope():
        dense = keras.layers.Dense(8, "relu", kernel_regularizer=keras.regularizers.L2(0.01), dtype=policy)
        norm = [keras.layers.BatchNormalization(synchronized=True, dtype=policy)] if normalized else []
        model = keras.Sequential([keras.Input((6,)), dense, *norm, keras.layers.Dense(3, dtype="float32")])
        model.dtype_policy = keras.DTypePolicy(policy)  # tells `compile` to scale the loss
        model.compile(
            optimizers.make("sgd", 0.1, global_clip_norm=1.0),
            keras.losses.CategoricalCrossentropy(from_logits=True),
            jit_compile=False,
        )
    before = model.get_weights()
    dataset = tf.data.Dataset.from_tensor_slices((inputs, LABELS)).batch(6).repeat(EPOCHS)
    history = model.fit(
        distribute.shard(dataset, strategy), epochs=EPOCHS, steps_per_epoch=STEPS_PER_EPOCH, shuffle=False, verbose=0
    ).history
    return before, model.get_weights(), model.optimizer, history["loss"]


@pytest.mark.parametrize(
    ("policy", "roundoff"),
    [("mixed_float16", 2.0**-11), pytest.param("mixed_bfloat16", 2.0**-8, marks=pytest.mark.slow)],
)
def test_mixed_precision_on_two_devices_is_that_of_one(policy, roundoff, two_devices):
    before, on_one, optimizer, losses = trained(policy, tf.distribute.get_strategy())
    _, on_two, _, losses_on_two = trained(policy, two_devices)
    assert isinstance(optimizer, keras.optimizers.LossScaleOptimizer) == (policy == "mixed_float16")
    # A gradient sums rounded products in another order on two devices, and the weights sum the gradients.
    for start, expected, weight in zip(before, on_one, on_two, strict=True):
        np.testing.assert_allclose(weight, expected, atol=2 * roundoff * max(np.abs(expected - start).max(), 1e-3))
    np.testing.assert_allclose(losses_on_two, losses, rtol=2 * roundoff)


@pytest.mark.slow
def test_a_step_that_overflows_on_one_device_is_left_out_on_both(two_devices):
    inputs = INPUTS.copy()
    inputs[-1] *= 1e4  # the last example of the partial batch, on the second device
    _, on_one, optimizer, _ = trained("mixed_float16", tf.distribute.get_strategy(), inputs, normalized=False)
    _, on_two, other_optimizer, _ = trained("mixed_float16", two_devices, inputs, normalized=False)
    state, other_state = (
        [scaled.iterations.numpy(), scaled.dynamic_scale.numpy()] for scaled in (optimizer, other_optimizer)
    )
    assert 0 < state[0] < STEPS_PER_EPOCH * EPOCHS
    assert other_state == state
    for expected, weight in zip(on_one, on_two, strict=True):
        np.testing.assert_allclose(weight, expected, atol=2 * 2.0**-11)
