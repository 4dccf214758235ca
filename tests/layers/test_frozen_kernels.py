import keras
import numpy as np
import pytest
import tensorflow as tf

from kerastrain.layers.decoder import LINEAR, DecoderBlock

SEGMENTS = np.ones((2, 12), "int32")
POSITIONS = np.tile(np.arange(12, dtype="int32"), (2, 1))
CONFIGS = {
    "int8": keras.quantizers.Int8QuantizationConfig(activation_quantizer=None),
    "int4": keras.quantizers.Int4QuantizationConfig(block_size=16),
}


def block_of(precision):
    block = DecoderBlock(4, 2, 8, 48, rope={"base": 1e4}, attention_bias=True)
    block.build((2, 12, 32), None, None)
    for name in LINEAR:
        block.linear(name).quantize(precision, config=CONFIGS[precision])
    return block


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["int8", "int4"])
def test_the_gradient_of_a_quantized_block_is_that_of_its_kernels_as_floats(precision):
    quantized, floats = block_of(precision), DecoderBlock(4, 2, 8, 48, rope={"base": 1e4}, attention_bias=True)
    floats.build((2, 12, 32), None, None)
    for name in LINEAR:
        layer, bias = quantized.linear(name), quantized.linear(name).bias
        identity = np.eye(48 if name == "down" else 32, dtype="float32")
        floats.linear(name).kernel.assign(layer(identity) - (0 if bias is None else bias))
    values = tf.constant(np.random.default_rng(0).normal(size=(2, 12, 32)).astype("float32"))

    def slope(block):
        with tf.GradientTape() as tape:
            tape.watch(values)
            result = tf.reduce_mean(block(values, SEGMENTS, POSITIONS) ** 2)
        return tape.gradient(result, values)

    for call in (slope, tf.function(slope)):
        np.testing.assert_allclose(call(quantized), slope(floats), atol=1e-6)


def test_kernels_become_floats_when_they_are_multiplied():
    block = block_of("int8")

    @tf.function
    def slope(values):
        with tf.GradientTape() as tape:
            tape.watch(values)
            result = tf.reduce_mean(block(values, SEGMENTS, POSITIONS) ** 2)
        return tape.gradient(result, values)

    graph = slope.get_concrete_function(tf.TensorSpec((2, 12, 32))).graph
    [values] = [tensor.op for tensor in graph.inputs if tensor.shape == (2, 12, 32)]
    casts = [op for op in graph.get_operations() if op.type == "Cast" and op.inputs[0].dtype == tf.int8]
    assert len(casts) >= 2 * len(LINEAR)
    assert all(values in _ancestors(cast) for cast in casts)


def _ancestors(op):
    found, rest = set(), [op]
    while rest:
        for parent in [*(tensor.op for tensor in rest[-1].inputs), *rest.pop().control_inputs]:
            if parent not in found:
                found.add(parent)
                rest.append(parent)
    return found
