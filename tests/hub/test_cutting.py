"""Hub modules cut at their feature maps, compared with the same network in Keras layers."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerastrain import HubLayer, explain
from kerastrain.errors import InputError
from kerastrain.hub import cutting
from kerastrain.hub.spatial_tensors import layer_name

SIZE = 32
IMAGES = np.random.default_rng(0).uniform(0, 1, (3, SIZE, SIZE, 3)).astype("float32")


def network(library, size=SIZE):
    """Preprocessing, a residual block, squeeze-and-excitation and a convolution."""
    layers = library.layers
    inputs = layers.Input((size, size, 3))
    values = layers.Rescaling(2.0, -1.0, name="scale")(inputs)
    values = layers.Conv2D(6, 3, strides=2, padding="same", name="first")(values)
    values = layers.ReLU(name="relu")(layers.BatchNormalization(name="norm")(values))
    branch = layers.Conv2D(6, 3, padding="same", activation="relu", name="branch")(values)
    values = layers.Add(name="sum")([values, branch])
    gate = layers.GlobalAveragePooling2D(keepdims=True, name="squeeze")(values)
    values = layers.Multiply(name="gated")([values, layers.Conv2D(6, 1, activation="sigmoid", name="gate")(gate)])
    values = layers.Conv2D(5, 3, padding="same", activation="relu", name="last")(values)
    return library.Model(inputs, layers.GlobalAveragePooling2D(name="pool")(values))


def weights():
    generator = np.random.default_rng(1)
    values = [(weight.path, generator.normal(0, 0.5, weight.shape)) for weight in network(keras).weights]
    return [np.abs(value) if "variance" in path else value for path, value in values]


def keras_3_module(path):
    model = network(keras)
    model.set_weights(weights())
    model.export(path, verbose=False)
    return {"handle": path, "signature": "serving_default", "output_key": "output_0"}


def keras_2_module(path):
    tf_keras = pytest.importorskip("tf_keras")
    model = network(tf_keras)
    model.set_weights(weights())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.save(path, save_format="tf")
    return {"handle": path}


def tf1_module(path, use_resource):
    """The same network in the format of TensorFlow 1, with sizes that it learns from its input."""
    arrays = in_order(weights())
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        images = tf.compat.v1.placeholder(tf.float32, (None, None, None, 3))
        values = [tf.compat.v1.get_variable(f"w{index}", initializer=value.astype("float32"), use_resource=use_resource)
                  for index, value in enumerate(arrays)]  # fmt: skip
        (first, bias, gamma, beta, mean, variance, branch, branch_bias, gate, gate_bias, last, last_bias) = in_order(
            values
        )
        maps = tf.nn.conv2d(images * 2.0 - 1.0, first, 2, "SAME") + bias
        maps = tf.nn.relu((maps - mean) / tf.sqrt(variance + 1e-3) * gamma + beta, name="relu")
        maps = maps + tf.nn.relu(tf.nn.conv2d(maps, branch, 1, "SAME") + branch_bias)
        squeezed = tf.reduce_mean(maps, [1, 2], keepdims=True)
        maps = maps * tf.sigmoid(tf.nn.conv2d(squeezed, gate, 1, "SAME") + gate_bias)
        maps = tf.nn.relu(tf.nn.conv2d(maps, last, 1, "SAME") + last_bias, name="last")
        outputs = {"default": tf.reduce_mean(maps, [1, 2]), "maps": maps}
        signature = tf.compat.v1.saved_model.predict_signature_def({"images": images}, outputs)
        session.run(tf.compat.v1.global_variables_initializer())
        builder = tf.compat.v1.saved_model.Builder(str(path))
        builder.add_meta_graph_and_variables(session, [], {"default": signature})
        builder.save()
    (path / "tfhub_module.pb").write_bytes(b"\x08\x03")
    return {"handle": path}


def in_order(values):
    names = [weight.path for weight in network(keras).weights]
    wanted = ["first/kernel", "first/bias", "norm/gamma", "norm/beta", "norm/moving_mean", "norm/moving_variance",
              "branch/kernel", "branch/bias", "gate/kernel", "gate/bias", "last/kernel", "last/bias"]  # fmt: skip
    return [values[names.index(name)] for name in wanted]


MODULES = {
    "keras 3": keras_3_module,
    "keras 2": keras_2_module,
    "tf1": lambda path: tf1_module(path, True),
    "tf1 with reference variables": lambda path: tf1_module(path, False),
}


def with_head(features):
    inputs = keras.Input((SIZE, SIZE, 3))
    values = keras.layers.Rescaling(1 / 255)(inputs)
    head = keras.layers.Dense(3, activation="softmax", name="head")
    model = keras.Model(inputs, head(features(values)))
    head.set_weights([np.random.default_rng(2).normal(0, 1, (5, 3)), np.zeros(3)])
    return model


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=pytest.mark.chaos) if kind == "tf1" else kind for kind in MODULES]
)
def test_maps_equal_those_of_the_same_network_in_keras_layers(kind, tmp_path, monkeypatch):
    module = with_head(HubLayer(**MODULES[kind](tmp_path / "module"), name="backbone"))
    layers = network(keras)
    layers.set_weights(weights())
    model = with_head(layers)
    pixels, classes = np.uint8(255 * IMAGES), [2, 0, 1]
    np.testing.assert_allclose(module.predict(pixels, verbose=0), model.predict(pixels, verbose=0), atol=1e-5)
    for method in ("gradcam", "layercam") if kind == "keras 3" else ("gradcam",):
        found = explain.heatmaps(module, pixels, classes, "auto" if method == "gradcam" else method)
        assert found.method == method, found.reason
        np.testing.assert_allclose(
            found.values, explain.heatmaps(model, pixels, classes, method).values, atol=1e-4, err_msg=method
        )
        assert found.values.max(axis=(1, 2)).tolist() == [1, 1, 1] or found.values.max() > 0
    if kind == "keras 3":
        for name in ("gated", "sum"):  # the second leads past itself: the gate is computed from it
            np.testing.assert_allclose(
                explain.gradcam(module, pixels, classes, layer=next(n for n in inner_names(module) if name in n)),
                explain.gradcam(model, pixels, classes, layer=name),
                atol=1e-4,
            )
        with pytest.raises(
            InputError, match=r"unknown layer 'lasst'. Known: branch_1, first_1, gated_1, last_1, norm_1/batchnorm, "
        ):
            explain.gradcam(module, pixels, classes, layer="lasst")


def inner_names(model):
    return cutting.cut(model.get_layer("backbone"), (SIZE, SIZE, 3)).names


class Module(tf.Module):
    def __init__(self, call, dtype=tf.float32, size=None):
        super().__init__()
        self.kernel = tf.Variable(np.random.default_rng(0).normal(0, 1, (3, 3, 3, 4)).astype("float32"))
        self.variables_ = [self.kernel]
        spec = tf.TensorSpec((None, size, size, 3), dtype)
        self.call = tf.function(lambda images: call(self, images), input_signature=[spec])

    def __call__(self, images):
        return self.call(images)


def convolved(module, images):
    return tf.nn.relu(tf.nn.conv2d(tf.cast(images, tf.float32), module.kernel, 4, "SAME"))


def several(module, images):
    maps = convolved(module, images)
    return {"features": tf.reduce_mean(maps, (1, 2)), "largest": tf.reduce_max(maps, (1, 2))}


def resized(module, images):
    """Sizes that the graph reads from its input."""
    shape = tf.shape(images)
    maps = tf.image.resize(convolved(module, images), (shape[1] // 2, shape[2] // 2))
    return tf.reduce_mean(maps, (1, 2))


def channels_first(module, images):
    maps = tf.transpose(convolved(module, images), (0, 3, 1, 2))
    return tf.reduce_mean(tf.nn.relu(maps - 0.1), (2, 3))


def attending(module, images):
    tokens = tf.reshape(convolved(module, images), (-1, 64, 4))
    shares = tf.nn.softmax(tf.matmul(tokens, tokens, transpose_b=True))
    return tf.reduce_mean(tf.matmul(shares, tokens), 1)


def two_roads(module, images):
    maps = convolved(module, images)
    other = tf.nn.relu(tf.nn.conv2d(images, module.kernel, 2, "SAME"))
    return tf.concat([tf.reduce_mean(maps, (1, 2)), tf.reduce_max(other, (1, 2))], axis=-1)


def rounding(module, images):
    maps = convolved(module, images)
    return tf.cast(tf.cast(tf.reduce_mean(maps, (1, 2)), tf.int32), tf.float32)


@pytest.mark.parametrize(
    ("call", "options"),
    [
        (several, {}),
        (several, {"output_key": "largest"}),
        (resized, {}),
        (channels_first, {}),
        (several, {"dtype": "mixed_bfloat16"}),
    ],
)
def test_the_halves_compute_what_the_module_computes(call, options):
    layer = HubLayer(Module(call), **options)
    halves = cutting.cut(layer, (SIZE, SIZE, 3))
    maps = halves.maps(IMAGES)
    assert maps.shape[:3] == ((3, 16, 16) if call is resized else (3, 8, 8))
    found, expected = halves.outputs(IMAGES, maps), layer(IMAGES)
    assert type(found) is type(expected)
    assert cutting.largest_difference(found, expected) < (1e-2 if "dtype" in options else 1e-6)
    assert {value.dtype for value in tf.nest.flatten(found)} == {value.dtype for value in tf.nest.flatten(expected)}


def test_a_module_of_whole_pixels_is_cut(tmp_path):
    module = Module(several, tf.uint8)
    module.__call__ = module.call
    tf.saved_model.save(module, tmp_path / "module")
    layer = HubLayer(tmp_path / "module", output_key="features")
    halves = cutting.cut(layer, (SIZE, SIZE, 3))
    np.testing.assert_allclose(halves.outputs(IMAGES, halves.maps(255 * IMAGES)), layer(255 * IMAGES), rtol=1e-5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (attending, "attention mixes the positions of its last feature maps afterwards"),
        (two_roads, "its paths from the images to the outputs have no feature maps in common"),
        (rounding, "no gradient of its outputs reaches its feature maps"),
        (lambda module, images: tf.reduce_mean(images, (1, 2)), "it computes no feature maps"),
    ],
)
def test_what_cannot_be_cut_is_covered_and_the_sentence_says_why(call, message):
    layer = HubLayer(Module(call), name="backbone")
    with pytest.raises(cutting.CannotCut, match=message):
        cutting.cut(layer, (SIZE, SIZE, 3))
    if call is attending:
        inputs = keras.Input((SIZE, SIZE, 3))
        found = explain.heatmaps(keras.Model(inputs, keras.layers.Dense(2)(layer(inputs))), IMAGES)
        assert found.method == "occlusion"
        assert found.reason == (
            "the model has no feature maps for Grad-CAM: the Hub module 'backbone' cannot be cut, because attention mixes the "
            "positions of its last feature maps afterwards."
        )


def test_weights_that_were_trained_since_are_those_of_the_next_explanation():
    layer = HubLayer(Module(several), output_key="features")
    before = cutting.cut(layer, (SIZE, SIZE, 3)).maps(IMAGES)
    layer.module.kernel.assign(-layer.module.kernel)
    after = cutting.cut(layer, (SIZE, SIZE, 3)).maps(IMAGES)
    assert not np.allclose(before, after)
    np.testing.assert_allclose(tf.reduce_mean(after, (1, 2)), layer(IMAGES), atol=1e-5)


def test_the_names_of_calls_are_left_out():
    assert layer_name("StatefulPartitionedCall/StatefulPartitionedCall/net/conv/Relu") == "net/conv"
    assert layer_name("Relu") == "Relu"


@pytest.mark.slow
def test_maps_of_a_published_network_equal_those_of_its_keras_layers(shared):
    module = HubLayer(shared("models/mobilenet_v1_025_224_feature_vector"), name="backbone")
    network = keras.applications.MobileNet(
        alpha=0.25, include_top=False, weights=None, input_shape=(224, 224, 3), pooling="avg"
    )
    network.load_weights(shared("models/mobilenet_v1_0.25_224.h5"), by_name=True)
    inputs = keras.Input((224, 224, 3))
    head = keras.layers.Dense(4, name="head")
    layers = keras.Model(inputs, head(network(keras.layers.Rescaling(1 / 127.5, -1.0)(inputs))))
    cut = keras.Model(inputs, head(module(keras.layers.Rescaling(1 / 255)(inputs))))
    images = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3)).astype("uint8")
    found = explain.heatmaps(cut, images, [0, 3])
    assert found.reason.startswith("its last feature maps (7 x 7 at 'backbone/mobilenet_v1_025_224_feature_vector/")
    np.testing.assert_allclose(found.values, explain.gradcam(layers, images, [0, 3]), atol=1e-4)
