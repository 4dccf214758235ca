"""The memory breakdown of a step compared with counts by hand, and with a step measured in another process."""

import subprocess
import sys

import keras
import pytest

from kerastrain import memory, testing
from kerastrain.hub.layer import HubLayer

MIB = 2**20


def convolutional():
    inputs = keras.Input((28, 28, 1))
    x = keras.layers.Conv2D(8, 3, padding="same", activation="relu", name="conv")(inputs)
    x = keras.layers.MaxPooling2D(name="pool")(x)
    x = keras.layers.Dropout(0.5, name="drop")(keras.layers.Flatten(name="flat")(x))
    model = keras.Model(inputs, keras.layers.Dense(10, name="logits")(x))
    model.compile("adam", "mse")
    return model


def test_each_layer_counts_what_the_way_back_reads():
    report = memory.report(convolutional(), batch_size=2)
    activations = {layer.name: layer.activations_bytes for layer in report.layers}
    maps, pooled = 2 * 28 * 28 * 8, 2 * 14 * 14 * 8
    # The ReLU's output; the maxima of the windows; the input of the matrix product and a byte per element of the mask; none.
    assert activations == {"conv": 4 * maps, "pool": 4 * pooled, "flat": 0, "drop": 5 * pooled, "logits": 0}
    parameters = 9 * 8 + 8 + 1568 * 10 + 10
    seed_bytes = 2 * 4
    assert report.gradients_bytes == 4 * parameters
    assert report.parameters_bytes - report.gradients_bytes in (seed_bytes, 2 * seed_bytes)
    # Adam: two slots for each weight, its step as int64 or int32, and its learning rate.
    assert 0 < report.optimizer_bytes - 8 * parameters <= 12
    assert report.step_bytes == 4 * parameters + sum(activations.values())
    assert report.total_bytes == report.parameters_bytes + report.optimizer_bytes + report.step_bytes


def test_micro_batches_and_blocks_are_those_of_the_model():
    layers = [keras.layers.Dense(16, "tanh") for _ in range(9)]
    model = keras.Sequential([keras.Input((16,)), *layers])
    model.compile("sgd", "mse")
    activation = 12 * 16 * 4
    assert memory.report(model, batch_size=12).activations_bytes == 9 * activation
    memory.remat(model, blocks=3)
    blocked = memory.report(model, batch_size=12)
    assert (blocked.blocks, blocked.activations_bytes) == (3, (3 + 3) * activation)
    memory.accumulate(model, micro_batches=5)
    # 12 examples in 5 parts: the largest has 3.
    assert memory.report(model, batch_size=12).activations_bytes == 6 * activation // 4


def test_half_precision_halves_activations_and_nothing_else():
    def model(policy):
        layers = [keras.layers.Dense(64, "tanh", use_bias=False, dtype=policy) for _ in range(3)]
        model = keras.Sequential([keras.Input((64,)), *layers])
        model.compile("sgd", "mse")
        return memory.report(model, batch_size=100)

    full, half = model("float32"), model("mixed_bfloat16")
    assert half.gradients_bytes == full.gradients_bytes == 3 * 64 * 64 * 4
    # Besides the outputs, there are bfloat16 copies of the inputs and the three kernels (that of the first is not read).
    assert half.activations_bytes == full.activations_bytes / 2 + 2 * (100 * 64 + 2 * 64 * 64)


def test_a_hub_module_counts_too(tmp_path):
    testing.saved_model(tmp_path / "module", image_size=(16, 16))
    layer = HubLayer(tmp_path / "module", trainable=True)
    model = keras.Sequential([keras.Input((16, 16, 3)), layer, keras.layers.Dense(2)])
    model.compile("sgd", "mse")
    small, large = (memory.report(model, batch_size=size).activations_bytes for size in (10, 1000))
    assert large > 50 * small > 0


@pytest.mark.parametrize("size", [0, 2.0, True])
def test_a_batch_size_that_is_none_is_told(size):
    with pytest.raises(ValueError, match="`batch_size` must be an int of at least 1"):
        memory.report(convolutional(), batch_size=size)


def test_what_cannot_be_counted_is_told():
    bare = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    with pytest.raises(ValueError, match="must be compiled with an optimizer"):
        memory.report(bare, batch_size=1)
    loose = keras.Sequential([keras.Input((None, 4)), keras.layers.Dense(1)])
    loose.compile("sgd", "mse")
    with pytest.raises(ValueError, match="must have a known size"):
        memory.report(loose, batch_size=1)


MEASURED = """
import keras, numpy as np, tensorflow as tf
from kerastrain import finders, memory
inputs = keras.Input((96, 96, 8))
x = inputs
for _ in range(8):
    x = keras.layers.Conv2D(8, 3, padding="same", activation="tanh")(x)
model = keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(x))
model.compile("adam", "mse", jit_compile=False)
data = tf.data.Dataset.from_tensors((np.ones((4, 96, 96, 8), "float32"), np.ones((4, 8), "float32")))
print(memory.report(model, batch_size=128).step_bytes, finders.step_memory(model, data, batch_size=128))
"""


@pytest.mark.slow
def test_a_real_step_adds_what_is_counted():
    done = subprocess.run([sys.executable, "-c", MEASURED], capture_output=True, text=True, check=True, timeout=300)
    counted, measured = map(int, done.stdout.split()[-2:])
    assert counted == pytest.approx(8 * 128 * 96 * 96 * 8 * 4, rel=0.01)
    # The measured step also has the gradients of two feature maps at a time, and the batch.
    assert counted < measured < 1.6 * counted
