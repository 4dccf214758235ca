import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from kerastrain import HubLayer, explain, models, testing
from kerastrain.errors import InputError
from kerastrain.explain.flattening import flattened
from kerastrain.keras_internals.layers import every_layer

SIZE = 32


def convolutions(name="backbone"):
    return [
        keras.layers.Conv2D(8, 3, strides=2, padding="same", activation="relu", name=f"{name}_first"),
        keras.layers.Conv2D(6, 3, strides=2, padding="same", name=f"{name}_second"),
        keras.layers.BatchNormalization(name=f"{name}_norm"),
        keras.layers.ReLU(name=f"{name}_relu"),
    ]


def sequential(activation=None):
    return keras.Sequential(
        [
            keras.Input((SIZE, SIZE, 3)),
            keras.layers.Rescaling(1 / 127.5, offset=-1),
            *convolutions(),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(3, activation=activation, name="head"),
        ]
    )


def functional(activation=None):
    inputs = tensor = keras.Input((SIZE, SIZE, 3), dtype="uint8")
    tensor = keras.ops.cast(tensor, "float32") / 127.5 - 1
    for layer in convolutions():
        tensor = layer(tensor)
    tensor = tensor + keras.ops.relu(tensor[..., ::-1])
    tensor = keras.layers.GlobalAveragePooling2D()(tensor)
    tensor = keras.layers.Dropout(0.5)(tensor)
    tensor = keras.layers.Dense(3, name="head")(tensor)
    return keras.Model(inputs, keras.layers.Activation(activation)(tensor))


def nested(activation=None):
    """A functional model around a functional model around a Sequential one, as fine-tuned backbones are."""
    inner = keras.Sequential([keras.Input((SIZE, SIZE, 3)), *convolutions()], name="inner")
    images = keras.Input((SIZE, SIZE, 3))
    backbone = keras.Model(images, keras.layers.GlobalAveragePooling2D()(inner(images)), name="backbone")
    inputs = keras.Input((SIZE, SIZE, 3))
    features = backbone(keras.layers.Rescaling(1 / 127.5, offset=-1)(inputs))
    head = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3, activation=activation, name="head")], name="top")
    return keras.Model(inputs, keras.layers.Identity(name="labels")(head(features)))


BUILDERS = {"sequential": sequential, "functional": functional, "nested": nested}


def photos(count=3):
    return np.random.default_rng(0).integers(0, 256, (count, SIZE, SIZE, 3)).astype("uint8")


def layer_named(model, name):
    return next(layer for layer in every_layer(model) if layer.name == name)


def by_hand(model, kind, images, classes):
    """Grad-CAM as in eq. 1 and 2 of the paper, on layers called one after another."""
    tensor = tf.constant(np.float32(images)) / 127.5 - 1
    for layer in (layer_named(model, f"backbone_{part}") for part in ("first", "second", "norm", "relu")):
        tensor = layer(tensor, training=False)
    with tf.GradientTape() as tape:
        maps = tensor + tf.nn.relu(tensor[..., ::-1]) if kind == "functional" else tensor
        tape.watch(maps)
        head = layer_named(model, "head")
        logits = tf.reduce_mean(maps, axis=(1, 2)) @ head.kernel + head.bias
        score = tf.reduce_sum(tf.gather(logits, classes, axis=1, batch_dims=1))
    weights = tape.gradient(score, maps).numpy().mean(axis=(1, 2))
    small = np.maximum((maps.numpy() * weights[:, None, None]).sum(axis=-1), 0)
    large = np.stack([half_pixel(heatmap, SIZE) for heatmap in small])
    return large / np.maximum(large.max(axis=(1, 2), keepdims=True), 1e-12)


def half_pixel(array, size):
    """Bilinear enlargement in which cell i covers the pixels [i, i + 1) * size / cells."""
    cells = array.shape[0]
    places = np.clip((np.arange(size) + 0.5) * cells / size - 0.5, 0, cells - 1)
    rows = np.stack([np.interp(places, np.arange(cells), column) for column in array.T], axis=1)
    return np.stack([np.interp(places, np.arange(cells), row) for row in rows])


@pytest.mark.parametrize("activation", [None, "softmax"])
@pytest.mark.parametrize("kind", BUILDERS)
def test_gradcam_equals_the_formula(kind, activation):
    model = BUILDERS[kind](activation)
    classes = [2, 0, 1]
    heatmaps = explain.gradcam(model, photos(), classes)
    assert heatmaps.dtype == np.float32
    assert heatmaps.max() == 1
    np.testing.assert_allclose(heatmaps, by_hand(model, kind, photos(), classes), atol=1e-5)


def test_gradcam_explains_the_predicted_class_when_none_is_given():
    model = sequential()
    predicted = model.predict(photos(5), verbose=0).argmax(axis=1)
    whole = explain.gradcam(model, photos(5), batch_size=2)
    np.testing.assert_allclose(whole, by_hand(model, "sequential", photos(5), predicted), atol=1e-5)


def corner_model():
    """Red is class 0, blue is class 1; the convolution averages colours over 4 x 4 pixels and keeps the bright ones."""
    model = keras.Sequential(
        [
            keras.Input((SIZE, SIZE, 3)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Conv2D(3, 4, strides=4, activation="relu"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(2, use_bias=False),
        ]
    )
    kernel = np.broadcast_to(np.eye(3) / 16, (4, 4, 3, 3))
    model.set_weights([kernel, np.full(3, -0.1), np.float32([[1, 0], [0, 0], [0, 1]])])
    return model


def corner_image():
    image = np.zeros((1, SIZE, SIZE, 3), "uint8")
    image[0, 4:12, 20:28, 0] = 255  # red: rows 4 to 12, columns 20 to 28
    image[0, 24:, :8, 2] = 200  # blue: the lower left corner
    return image


def box(rows, columns):
    inside = np.zeros((SIZE, SIZE), bool)
    inside[slice(*rows), slice(*columns)] = True
    return inside


@pytest.mark.parametrize(("which", "rows", "columns"), [(0, (4, 12), (20, 28)), (1, (24, 32), (0, 8))])
def test_gradcam_is_hot_where_the_evidence_is(which, rows, columns):
    heatmap = explain.gradcam(corner_model(), corner_image(), which)[0]
    assert heatmap[box(rows, columns)].min() == 0.625**2
    # Bilinear enlargement reaches half a cell of 4 pixels beyond the evidence, and no further.
    near = box((max(rows[0] - 2, 0), rows[1] + 2), (max(columns[0] - 2, 0), columns[1] + 2))
    assert heatmap[~near].max() == 0
    if which == 0:
        centre = (np.argwhere(heatmap > 0) * heatmap[heatmap > 0][:, None]).sum(axis=0) / heatmap.sum()
        np.testing.assert_allclose(centre, [7.5, 23.5], atol=0.01)


@pytest.mark.parametrize(("which", "rows", "columns"), [(0, (4, 12), (20, 28)), (1, (24, 32), (0, 8))])
def test_saliency_is_hot_where_the_evidence_is(which, rows, columns):
    heatmap = explain.saliency(corner_model(), corner_image(), which, samples=1)[0]
    np.testing.assert_array_equal(heatmap, box(rows, columns))


def test_gradcam_is_zero_when_nothing_speaks_for_the_class():
    image = corner_image()
    image[..., 2] = 0
    assert explain.gradcam(corner_model(), image, 1).max() == 0


def test_a_model_with_one_logit_explains_both_its_classes():
    inputs = keras.Input((SIZE, SIZE, 3))
    logits = corner_model()(inputs)
    model = keras.Model(inputs, keras.layers.Activation("sigmoid")(logits[:, :1] - logits[:, 1:]))
    for which in (0, 1):
        expected = explain.gradcam(corner_model(), corner_image(), 1 - which)
        np.testing.assert_allclose(explain.gradcam(model, corner_image(), which), expected, atol=1e-6)


def test_gradcam_takes_the_named_layer():
    model = nested()
    first = explain.gradcam(model, photos(), layer="backbone_first")
    assert not np.allclose(first, explain.gradcam(model, photos()))
    np.testing.assert_array_equal(first, explain.gradcam(model, photos(), layer="backbone/inner/backbone_first"))
    with pytest.raises(InputError, match="unknown feature map layer 'backbone_frist'.*backbone/inner/backbone_first"):
        explain.gradcam(model, photos(), layer="backbone_frist")


def test_a_recorded_training_flag_does_not_wake_augmentation():
    inputs = keras.Input((SIZE, SIZE, 3))
    noisy = keras.layers.RandomFlip()(inputs, training=True)
    model = keras.Model(inputs, sequential()(noisy))
    steps = flattened(model, (SIZE, SIZE, 3))
    expected = model.layers[-1](np.float32(photos()))
    np.testing.assert_array_equal(steps([np.float32(photos())], training=False), expected)


def test_explaining_leaves_the_model_as_it_was():
    model = nested("softmax")
    model.compile("adam", "categorical_crossentropy")
    before, outputs = model.to_json(), model.predict(photos(), verbose=0)
    nodes = [len(layer._inbound_nodes) for layer in every_layer(model)]
    explain.gradcam(model, photos())
    explain.saliency(model, photos(), samples=1)
    assert [len(layer._inbound_nodes) for layer in every_layer(model)] == nodes
    assert model.to_json() == before
    np.testing.assert_array_equal(model.predict(photos(), verbose=0), outputs)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_gradcam_in_half_precision_is_near_float32(policy):
    full = sequential()
    keras.config.set_dtype_policy(policy)
    try:
        half = sequential()
    finally:
        keras.config.set_dtype_policy("float32")
    half.set_weights(full.get_weights())
    difference = explain.gradcam(half, photos(), 0) - explain.gradcam(full, photos(), 0)
    assert np.abs(difference).mean() < 0.02


class Opaque(keras.Model):
    def __init__(self):
        super().__init__()
        self.inner = sequential()

    def call(self, images, training=False):
        return self.inner(images, training=training)


def test_gradcam_reaches_the_feature_maps_of_a_hub_module(tmp_path):
    folder = testing.saved_model(tmp_path / "module", features=5)
    model = models.image_classifier(folder, labels=["a", "b", "c"], image_size=(SIZE, SIZE))
    heatmaps = explain.gradcam(model, photos(), [0, 1, 2])
    module = tf.saved_model.load(folder)
    with tf.GradientTape() as tape:
        maps = module.feature_maps(tf.constant(np.float32(photos())) / 255, training=False)
        tape.watch(maps)
        head = model.get_layer("logits")
        logits = tf.reduce_mean(maps, axis=(1, 2)) @ head.kernel + head.bias
        score = tf.linalg.trace(logits)
    weights = tape.gradient(score, maps).numpy().mean(axis=(1, 2))
    expected = np.maximum((maps.numpy() * weights[:, None, None]).sum(axis=-1), 0)
    expected /= np.maximum(expected.max(axis=(1, 2), keepdims=True), 1e-12)
    np.testing.assert_allclose(heatmaps, expected, atol=1e-5)
    assert explain.saliency(model, photos(), samples=2).max() == 1


class Contrary(tf.Module):
    """A module whose output is not the mean of its `feature_maps`."""

    @tf.function(input_signature=[tf.TensorSpec((None, None, None, 3), tf.float32)])
    def __call__(self, images):
        return tf.reduce_mean(images, axis=(1, 2))

    @tf.function
    def feature_maps(self, images, training=False):
        return 1 - images


def test_an_endpoint_that_does_not_lead_to_the_output_is_not_used():
    inputs = keras.Input((SIZE, SIZE, 3))
    values = HubLayer(Contrary())(keras.layers.Rescaling(1 / 255)(inputs))
    model = keras.Model(inputs, keras.layers.Dense(3, kernel_initializer="identity")(values))
    with pytest.raises(InputError, match="'hub_layer' cannot be cut, because it computes no feature maps"):
        explain.gradcam(model, photos())
    assert explain.heatmaps(model, photos()).method == "occlusion"


def test_an_opaque_model_is_refused_with_the_way_out():
    with pytest.raises(InputError, match="its graph is not known. Use occlusion "):
        explain.gradcam(Opaque(), photos())
    inputs = keras.Input((SIZE, SIZE, 3))
    model = keras.Model(inputs, Opaque()(keras.layers.Rescaling(1 / 255)(inputs)))
    with pytest.raises(InputError, match="it is opaque or not convolutional"):
        explain.gradcam(model, photos())


def test_saliency_equals_the_gradient():
    model = sequential()
    images = tf.constant(np.float32(photos()))
    with tf.GradientTape() as tape:
        tape.watch(images)
        score = tf.reduce_sum(model(images, training=False)[:, 1])
    expected = np.abs(tape.gradient(score, images).numpy()).max(axis=-1)
    expected /= expected.max(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(explain.saliency(model, photos(), 1, samples=1), expected, atol=1e-5)


def test_saliency_sees_through_an_opaque_model():
    model = Opaque()
    model(np.float32(photos()))
    heatmaps = explain.saliency(model, photos(), [0, 1, 2], samples=3)
    np.testing.assert_allclose(heatmaps, explain.saliency(model.inner, photos(), [0, 1, 2], samples=3), atol=1e-5)


def test_saliency_depends_on_its_seed_alone():
    model = sequential()
    np.random.seed(1)
    first = explain.saliency(model, photos(), samples=2, seed=3)
    state = np.random.get_state()[1].copy()
    np.testing.assert_array_equal(first, explain.saliency(model, photos(), samples=2, seed=3))
    assert not np.array_equal(first, explain.saliency(model, photos(), samples=2, seed=4))
    np.testing.assert_array_equal(np.random.get_state()[1], state)


def test_saliency_says_so_when_no_gradient_reaches_the_input():
    inputs = keras.Input((SIZE, SIZE, 3))
    pixels = keras.layers.Flatten()(keras.ops.cast(keras.ops.cast(inputs, "int32"), "float32"))
    with pytest.raises(InputError, match="not differentiable"):
        explain.saliency(keras.Model(inputs, keras.layers.Dense(2)(pixels)), photos(), samples=1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"images": photos()[0]}, r"n >= 1. Received: \(32, 32, 3\)"),
        ({"images": photos()[:0]}, "n >= 1"),
        ({"images": photos()[:, :16]}, r"fit the model's input \(32, 32, 3\). Received: \(16, 32, 3\)"),
        ({"classes": 3}, "from 0 to 2. Received: 3"),
        ({"classes": [0, 1]}, "one for each of 3 images"),
        ({"classes": 0.5}, "must be one int"),
    ],
)
@pytest.mark.parametrize("method", [explain.gradcam, explain.saliency])
def test_explaining_refuses_what_does_not_fit(method, options, message):
    with pytest.raises(InputError, match=message):
        method(sequential(), **{"images": photos(), **options})


def test_explaining_refuses_other_types_and_numbers():
    with pytest.raises(TypeError, match="must be a keras.Model. Received: builtins.str"):
        explain.gradcam("model.keras", photos())
    with pytest.raises(InputError, match="`samples` must be at least 1"):
        explain.saliency(sequential(), photos(), samples=0)
    first, second = keras.Input((SIZE, SIZE, 3)), keras.Input((SIZE, SIZE, 3))
    with pytest.raises(InputError, match="Received: 2 inputs and 1 outputs"):
        explain.gradcam(keras.Model([first, second], first + second), photos())


def test_an_overlay_leaves_the_image_where_the_heatmap_is_zero():
    heatmap = np.zeros((SIZE, SIZE), "float32")
    heatmap[:4] = 1
    image = photos()[0]
    mixed = explain.overlay(image, heatmap, opacity=0.5)
    assert mixed.dtype == np.uint8
    np.testing.assert_array_equal(mixed[4:], image[4:])
    hottest = np.array([0.47960, 0.01583, 0.01055]) * 255  # the last entry of Turbo's published table
    assert np.abs(mixed[:4] - (image[:4] * 0.5 + hottest * 0.5)).max() <= 1
    with pytest.raises(InputError, match=r"Received: \(32, 32, 3\) and \(4, 32\)"):
        explain.overlay(image, heatmap[:4])


def test_a_written_picture_can_be_opened_and_shows_titles_as_they_are(tmp_path):
    heatmaps = explain.gradcam(corner_model(), corner_image())
    path = explain.write(corner_image(), heatmaps, tmp_path / "explain" / "corner.png", titles=["$red^ <b>"])
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        assert picture.width > 300
    assert [entry.name for entry in path.parent.iterdir()] == ["corner.png"]
    with pytest.raises(InputError, match="Received: 1, 1 and 2"):
        explain.figure(corner_image(), heatmaps, titles=["a", "b"])
