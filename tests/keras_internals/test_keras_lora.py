import gc

import keras
import numpy as np
import pytest

from kerastrain.keras_internals import lora

LAYERS = {
    "kernel": lambda: keras.layers.Dense(3),
    "einsum kernel": lambda: keras.layers.EinsumDense("ab,bc->ac", output_shape=3),
    "embeddings": lambda: keras.layers.Embedding(4, 3),
}


def built(name):
    layer = LAYERS[name]()
    layer.build((None, 4))
    return layer


@pytest.mark.parametrize("name", LAYERS)
def test_the_stored_kernel_leaves_the_pair_out(name):
    layer = built(name)
    weight = layer.weights[0]
    assert lora.stored_kernel(layer) is weight
    before = weight.numpy()
    layer.enable_lora(2)
    pair = [variable for variable in layer.weights if "lora" in variable.name]
    for variable in pair:
        variable.assign(np.ones(variable.shape))
    assert lora.stored_kernel(layer) is weight
    np.testing.assert_array_equal(lora.stored_kernel(layer), before)


@pytest.mark.parametrize("name", LAYERS)
def test_merging_adds_the_pair_and_leaves_an_ordinary_layer(name):
    layer = built(name)
    weight = layer.weights[0]
    layer.enable_lora(2)
    for variable in [variable for variable in layer.weights if "lora" in variable.name]:
        variable.assign(np.ones(variable.shape))
    expected = weight.numpy() + np.ones((4, 2)) @ np.ones((2, 3))

    lora.merge(layer)

    np.testing.assert_allclose(weight, expected, rtol=1e-6)
    assert (layer.lora_enabled, weight.trainable) == (False, True)
    assert not any("lora" in variable.name for variable in layer.weights)
    layer.enable_lora(1)


def test_a_variable_is_deleted_as_keras_does_without_collecting_garbage(monkeypatch):
    collections = []
    monkeypatch.setattr(gc, "collect", lambda *_: collections.append(1))
    ours, keras_own = built("kernel"), built("kernel")
    lora.delete_variable(ours, "bias")
    assert not collections
    del keras_own.bias
    assert collections, "Keras no longer collects garbage, so `delete_variable` is needless."
    for layer in (ours, keras_own):
        assert [weight.name for weight in layer.weights] == ["kernel"]
        assert not hasattr(layer, "bias")
