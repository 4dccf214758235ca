"""A module whose weights are constants computes what it computed, for any batch, and is used where that is sound only."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerastrain import HubLayer
from kerastrain.backbones import constant_pass

IMAGES = np.random.default_rng(0).uniform(0, 255, (5, 8, 8, 3)).astype("float32")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    inputs = keras.Input((8, 8, 3))
    values = keras.layers.BatchNormalization()(keras.layers.Conv2D(4, 3, padding="same")(inputs))
    network = keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(values))
    network.set_weights([np.random.default_rng(1).uniform(0.5, 1, weight.shape) for weight in network.weights])
    path = tmp_path_factory.mktemp("constant") / "module"
    network.export(path, verbose=False)
    layer = HubLayer(str(path), signature="serving_default", output_key="output_0", trainable=False)
    return keras.Model(inputs, layer(keras.layers.Rescaling(1 / 255)(inputs)))


def test_a_module_computes_the_same_with_constants(model):
    constant = constant_pass.inference_model(model)
    assert constant is not model
    expected = model.predict(IMAGES, verbose=0)
    np.testing.assert_allclose(constant.predict(IMAGES, batch_size=2, verbose=0), expected, rtol=1e-5)
    integers = IMAGES.astype("uint8")
    np.testing.assert_allclose(
        constant.predict(integers, verbose=0), model.predict(integers.astype("float32"), verbose=0), rtol=1e-5
    )
    assert constant.output_shape == model.output_shape
    graph = tf.function(constant).get_concrete_function(tf.TensorSpec((None, 8, 8, 3))).graph
    assert not graph.variables


def test_another_model_than_one_with_a_small_module_of_images_is_used_as_it_is(model, monkeypatch):
    inputs = keras.Input((8, 8, 3))
    plain = keras.Model(inputs, keras.layers.Flatten()(inputs))
    assert constant_pass.inference_model(plain) is plain
    for name, value in (("_MOST_BYTES", 10), ("_SLOWER", "Conv2D")):
        with monkeypatch.context() as patch:
            patch.setattr(constant_pass, name, value)
            assert constant_pass.inference_model(model) is model
