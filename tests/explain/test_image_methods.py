"""Every method that explains images, on models whose evidence is known, and the choice among them."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerastrain import HubLayer, explain, models, testing
from kerastrain.backbones import keras_applications
from kerastrain.errors import InputError
from kerastrain.explain import class_activation
from kerastrain.layers.tokens import MapsToTokens, PoolTokens, RotaryAttention

SIZE = 32
CAMS = {
    "gradcam": explain.gradcam,
    "gradcam++": explain.gradcam_plus_plus,
    "layercam": explain.layercam,
    "scorecam": explain.scorecam,
}


def colour_model(outputs=2, end=None):
    """Red is class 0 and blue class 1: the mean of bright cells of 4 x 4 pixels."""
    model = keras.Sequential(
        [
            keras.Input((SIZE, SIZE, 3)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Conv2D(3, 4, strides=4, activation="relu"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(outputs, use_bias=False),
            *([end] if end is not None else []),
        ]
    )
    kernel = np.broadcast_to(np.eye(3) / 16, (4, 4, 3, 3))
    dense = np.float32([[1, 0], [0, 0], [0, 1]]) if outputs == 2 else np.float32([[-1], [0], [1]])
    model.set_weights([kernel, np.full(3, -0.1), 30 * dense])
    return model


def colour_image():
    image = np.zeros((1, SIZE, SIZE, 3), "uint8")
    image[0, 4:12, 20:28, 0] = 255  # red: rows 4 to 12, columns 20 to 28
    image[0, 20:32, 0:12, 2] = 255  # blue: the lower left corner
    return image


RED, BLUE = (4, 20, 12, 28), (20, 0, 32, 12)  # top, left, bottom, right


def share_inside(heatmap, box, margin=4):
    top, left, bottom, right = box
    inside = np.zeros_like(heatmap, bool)
    inside[max(top - margin, 0) : bottom + margin, max(left - margin, 0) : right + margin] = True
    return heatmap[inside].sum() / heatmap.sum()


@pytest.mark.parametrize("method", explain.METHODS[:-1])
def test_every_method_is_hot_where_the_evidence_is(method):
    for which, box in ((0, RED), (1, BLUE)):
        found = explain.heatmaps(colour_model(), colour_image(), which, method)
        assert (found.method, found.reason, found.classes.tolist()) == (method, "it was asked for.", [which])
        assert found.values.shape == (1, SIZE, SIZE)
        assert found.values.dtype == np.float32
        assert found.values.max() == 1
        assert share_inside(found.values[0], box) > 0.9


@pytest.mark.parametrize("method", ["gradcam", "scorecam", "occlusion"])
def test_a_model_with_one_logit_explains_both_its_classes(method):
    for which, box in ((0, RED), (1, BLUE)):
        values = explain.heatmaps(colour_model(outputs=1), colour_image(), which, method).values
        # What is filled with the mean colour gets some of both.
        assert share_inside(values[0], box) > (0.5 if method == "occlusion" else 0.9)
        top, left, bottom, right = box
        row, column = np.unravel_index(values[0].argmax(), values[0].shape)
        assert top <= row < bottom
        assert left <= column < right


@pytest.mark.parametrize("task", ["multi_label", "regression"])
def test_the_only_output_of_other_tasks_is_explained_as_it_is(task):
    model = colour_model(outputs=1, end=models.Labels(["blue"], task))
    image = colour_image()
    for classes in (0, None):
        for method in ("gradcam", "layercam", "integrated_gradients", "occlusion"):
            values = explain.heatmaps(model, image, classes, method).values
            assert share_inside(values[0], BLUE) > 0.9
    if task == "regression":
        with pytest.raises(InputError, match="probabilities, which a regression model does not have"):
            explain.scorecam(model, image)
    else:
        assert share_inside(explain.scorecam(model, image)[0], BLUE) > 0.85
    with pytest.raises(InputError, match="from 0 to 0. Received: 1"):
        explain.gradcam(model, image, 1)


def small_network():
    keras.utils.set_random_seed(3)
    return keras.Sequential(
        [
            keras.Input((SIZE, SIZE, 3)),
            keras.layers.Rescaling(1 / 127.5, offset=-1),
            keras.layers.Conv2D(6, 3, strides=4, activation="relu"),
            keras.layers.Conv2D(4, 3, padding="same", name="maps"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(3, activation="softmax", name="head"),
        ]
    )


def photos(count=2):
    return np.random.default_rng(0).integers(0, 256, (count, SIZE, SIZE, 3)).astype("uint8")


def maps_and_gradients(model, images, classes):
    tensor = tf.constant(np.float32(images))
    for layer in model.layers[:3]:
        tensor = layer(tensor)
    with tf.GradientTape() as tape:
        tape.watch(tensor)
        head = model.get_layer("head")
        logits = tf.reduce_mean(tensor, axis=(1, 2)) @ head.kernel + head.bias
        score = tf.reduce_sum(tf.gather(logits, classes, axis=1, batch_dims=1))
    return tensor.numpy(), tape.gradient(score, tensor).numpy(), logits.numpy()


def scaled(cells):
    values = tf.image.resize(np.maximum(cells, 0)[..., None], (SIZE, SIZE))[..., 0].numpy()
    return values / values.max(axis=(1, 2), keepdims=True)


def test_the_formulas_of_layercam_and_gradcam_plus_plus():
    model, classes = small_network(), [2, 0]
    maps, gradients, _ = maps_and_gradients(model, photos(), classes)
    layercam = (np.maximum(gradients, 0) * maps).sum(axis=-1)
    np.testing.assert_allclose(explain.layercam(model, photos(), classes), scaled(layercam), atol=1e-5)
    alpha = gradients**2 / (2 * gradients**2 + maps.sum(axis=(1, 2), keepdims=True) * gradients**3)
    alpha /= alpha.sum(axis=(1, 2), keepdims=True)
    weights = (alpha * np.maximum(gradients, 0)).sum(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(
        explain.gradcam_plus_plus(model, photos(), classes), scaled((weights * maps).sum(axis=-1)), atol=1e-4
    )


def test_gradcam_plus_plus_does_not_overflow_with_large_logits():
    model = small_network()
    expected = explain.gradcam_plus_plus(model, photos(), 1)
    model.get_layer("head").bias.assign([0.0, 500.0, 0.0])
    np.testing.assert_allclose(explain.gradcam_plus_plus(model, photos(), 1), expected, atol=1e-5)


@pytest.mark.parametrize("method", ["gradcam", "gradcam++", "layercam"])
def test_gradients_that_end_at_the_maps_are_those_of_the_whole_model(method, monkeypatch):
    model, images = colour_model(), np.concatenate([colour_image(), np.flip(colour_image(), 1)])
    found, lengths = [], []
    from_maps = class_activation._from_maps
    for choose in (lambda *arguments: (arguments[0], arguments[2], arguments[1]), from_maps):
        counted = lambda *arguments, choose=choose: (
            lengths.append(len(choose(*arguments)[0].layers)) or choose(*arguments)
        )
        monkeypatch.setattr(class_activation, "_from_maps", counted)
        found.append(explain.heatmaps(model, images, [0, 1], method).values)
    np.testing.assert_allclose(*found, atol=1e-6)
    assert lengths[1] < lengths[0]


def test_maps_beside_which_the_outputs_depend_on_the_image_are_explained_too():
    inputs = keras.Input((SIZE, SIZE, 3))
    maps = keras.layers.Conv2D(3, 4, strides=4, name="maps")(inputs)
    pooled = [keras.layers.GlobalAveragePooling2D()(values) for values in (maps, inputs)]
    model = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Concatenate()(pooled)))
    heatmaps = explain.Explainer(model, (SIZE, SIZE, 3), "gradcam", layer="maps")(colour_image(), 0).values
    assert heatmaps.shape == (1, SIZE, SIZE)
    assert np.isfinite(heatmaps).all()


def test_scorecam_prints_nothing(capsys):
    explain.scorecam(small_network(), photos(), 1)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("baseline", [None, 0.0])
def test_attributions_add_up_to_the_difference_of_the_logits(baseline):
    model, classes, images = small_network(), [2, 0], np.float32(photos())
    found = explain.pixel_attributions(model, images, classes, baseline=baseline, steps=256)
    assert found.shape == images.shape
    start = images * 0 if baseline == 0 else images * 0 + images.mean(axis=(1, 2), keepdims=True)
    logits, before = (maps_and_gradients(model, values, classes)[2] for values in (images, start))
    difference = (logits - before)[[0, 1], classes]
    np.testing.assert_allclose(found.sum(axis=(1, 2, 3)), difference, atol=1e-2 * np.abs(difference).max())


def test_occlusion_is_the_mean_loss_of_the_patches_over_a_pixel():
    model, image = small_network(), np.float32(photos(1))
    heatmap = explain.image_occlusion(model, image, 2, patch=16, stride=16, batch_size=3)[0]
    colour = image[0].mean(axis=(0, 1))

    def logit(pixels):
        return maps_and_gradients(model, pixels[None], [2])[2][0, 2]

    losses = np.zeros((2, 2))
    for row in range(2):
        for column in range(2):
            covered = image[0].copy()
            covered[16 * row : 16 * row + 16, 16 * column : 16 * column + 16] = colour
            losses[row, column] = logit(image[0]) - logit(covered)
    expected = np.maximum(losses, 0).repeat(16, axis=0).repeat(16, axis=1)
    np.testing.assert_allclose(heatmap, expected / expected.max(), atol=1e-3)


def vision_transformer(pooling="first", rotary=False):
    keras.utils.set_random_seed(1)
    inputs = keras.Input((SIZE, SIZE, 3))
    patches = keras.layers.Conv2D(8, 8, strides=8)(keras.layers.Rescaling(1 / 255)(inputs))
    values = MapsToTokens(1)(patches)
    for index in range(2):
        if rotary:
            attended = RotaryAttention(2, 4, 4, name=f"attention_{index}")(values, 2 * values, values)
        else:
            attended = keras.layers.MultiHeadAttention(2, 4, name=f"attention_{index}")(values, values)
        values = keras.layers.Add()([values, attended])
    features = PoolTokens(pooling, 1)(values)
    model = keras.Model(inputs, keras.layers.Dense(3, name="head")(features))
    for index, weight in enumerate(model.weights):
        weight.assign(np.random.default_rng(index).normal(0, 0.5, weight.shape))
    return model


@pytest.mark.parametrize("pooling", ["first", "mean"])
def test_rollout_equals_the_formula(pooling):
    model, images, classes = vision_transformer(pooling), np.float32(photos()), [2, 0]
    layers = [model.get_layer(f"attention_{index}") for index in range(2)]
    patches = model.layers[2](model.layers[1](images))
    values = model.layers[3](patches)
    with tf.GradientTape() as tape:
        tape.watch(values)
        tokens, shares = values, []
        for layer in layers:
            attended, attention = layer(tokens, tokens, return_attention_scores=True)
            shares.append(attention)
            tokens = tokens + attended
        pooled = tokens[:, 0] if pooling == "first" else tf.reduce_mean(tokens[:, 1:], axis=1)
        logits = model.get_layer("head")(pooled)
        score = tf.reduce_sum(tf.gather(logits, classes, axis=1, batch_dims=1))
    gradients = tape.gradient(score, shares)
    rollout = np.eye(17)[None].repeat(2, axis=0)
    for attention, gradient in zip(shares, gradients, strict=True):
        rollout = rollout + np.maximum(attention * gradient, 0).mean(axis=1) @ rollout
    rollout -= np.eye(17)
    cells = rollout[:, 0, 1:] if pooling == "first" else rollout[:, 1:, 1:].sum(axis=1)
    found = explain.heatmaps(model, images, classes)
    assert found.method == "rollout"
    np.testing.assert_allclose(found.values, scaled(cells.reshape(2, 4, 4)), atol=1e-4)


def test_rollout_follows_rotary_attention():
    found = explain.heatmaps(vision_transformer(rotary=True), photos())
    assert found.method == "rollout"
    assert found.reason == "the model attends among patches of the image, and its attention can be followed."
    assert np.ptp(found.values) == 1


def test_a_network_of_attention_gets_no_picture_of_maps_before_it():
    inputs = keras.Input((SIZE, SIZE, 3))
    patches = keras.layers.Conv2D(4, 8, strides=8, name="patches")(inputs)
    tokens = keras.layers.Reshape((16, 4))(patches)
    mixed = keras.layers.MultiHeadAttention(2, 2, name="mix")(tokens, tokens)
    model = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.GlobalAveragePooling1D()(mixed)))
    found = explain.heatmaps(model, photos())
    assert (found.method, found.reason) == (
        "occlusion",
        "the model attends, and its attention cannot be followed: its tokens are not known to be patches of the image (no "
        "layer `MapsToTokens`).",
    )
    for layer in (None, "patches"):
        with pytest.raises(InputError, match=r"attention \('mix'\) mixes the positions of the last ones \('patches'\)"):
            explain.gradcam(model, photos(), layer=layer)


class Opaque(keras.Model):
    def __init__(self):
        super().__init__()
        self.inner = colour_model()

    def call(self, images, training=False):
        return self.inner(images, training=training)


def test_the_method_is_chosen_for_the_model_and_says_why():
    found = explain.heatmaps(small_network(), photos())
    assert (found.method, found.reason) == ("gradcam", "its last feature maps (8 x 8 at 'maps') lead to its outputs.")
    inputs = keras.Input((SIZE, SIZE, 3))
    maps = keras.layers.Conv2D(2, 8, strides=8, name="maps")(inputs)
    flat = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Flatten()(maps)))
    assert explain.heatmaps(flat, photos()).method == "layercam"
    coarse = keras.layers.Conv2D(2, 16, strides=16, name="maps")(inputs)
    few = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.GlobalMaxPooling2D()(coarse)))
    found = explain.heatmaps(few, photos())
    assert found.method == "occlusion"
    assert found.reason == "its last feature maps (2 x 2 at 'maps') have too few cells for Grad-CAM."
    dense = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Flatten()(inputs)))
    assert explain.heatmaps(dense, photos()).method == "occlusion"
    found = explain.heatmaps(Opaque(), colour_image(), 1)
    assert found.method == "occlusion"
    assert "it overrides `call`" in found.reason
    assert share_inside(found.values[0], BLUE) > 0.97


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "gradcan"}, "unknown method 'gradcan'.*Did you mean 'gradcam'"),
        ({"method": "saliency", "layer": "maps"}, "only gradcam, gradcam.., layercam, scorecam use"),
        ({"layer": "mapz"}, "unknown feature map layer 'mapz'.*Did you mean 'maps'"),
        ({"method": "rollout"}, "none of its layers returns scores of attention. Use occlusion"),
    ],
)
def test_what_does_not_suit_the_model_is_refused(options, message):
    with pytest.raises(InputError, match=message):
        explain.heatmaps(small_network(), photos(), **options)


def test_numbers_out_of_range_are_refused():
    model, images = small_network(), photos()
    for call, message in (
        (lambda: explain.image_occlusion(model, images, patch=0), "`patch` must be a whole number of at least 1"),
        (lambda: explain.image_occlusion(model, images, patch=2, stride=4), "`stride` must be at most `patch`"),
        (lambda: explain.image_integrated_gradients(model, images, steps=0), "`steps` must be a whole number"),
        (lambda: explain.pixel_attributions(model, images, baseline=[1, 2]), "must broadcast to the images"),
    ):
        with pytest.raises(InputError, match=message):
            call()


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["mixed_bfloat16", pytest.param("mixed_float16", marks=pytest.mark.chaos)])
def test_half_precision_is_near_float32(policy):
    full = small_network()
    keras.config.set_dtype_policy(policy)
    try:
        half = small_network()
        transformer = vision_transformer()
    finally:
        keras.config.set_dtype_policy("float32")
    half.set_weights(full.get_weights())
    for method in (*CAMS, "integrated_gradients", "occlusion"):
        found, expected = (explain.heatmaps(model, photos(), 0, method).values for model in (half, full))
        assert np.abs(found - expected).mean() < 0.05, method
    expected = explain.rollout(vision_transformer(), photos(), 0)
    assert np.abs(explain.rollout(transformer, photos(), 0) - expected).mean() < 0.05


def backbone_model(name, size):
    network = keras_applications.network(name, image_size=(size, size), weights="random")
    inputs = keras.Input((size, size, 3))
    values = inputs
    for layer in (*keras_applications.preprocessing(name), network):
        values = layer(values)
    return keras.Model(inputs, keras.layers.Dense(3)(values))


@pytest.mark.chaos
@pytest.mark.parametrize("name", keras_applications.NETWORKS)
def test_every_network_of_keras_is_explained_by_its_last_maps(name):
    size = max(96, keras_applications.image_size(name)[0] // 2)
    images = np.random.default_rng(0).integers(0, 256, (1, size, size, 3)).astype("uint8")
    found = explain.heatmaps(backbone_model(name, size), images, 1)
    assert found.method == "gradcam", found.reason
    assert found.values.shape == (1, size, size)
    assert np.isfinite(found.values).all()


@pytest.mark.slow
def test_models_of_a_strategy_are_explained_as_on_one_device(tmp_path):
    folder = testing.saved_model(tmp_path / "module", features=5)

    def build():
        keras.utils.set_random_seed(5)
        inputs = keras.Input((SIZE, SIZE, 3))
        values = HubLayer(folder)(keras.layers.Rescaling(1 / 255)(inputs))
        return keras.Model(inputs, keras.layers.Dense(3, kernel_initializer="glorot_normal")(values)), small_network()

    alone = build()
    strategy = tf.distribute.MirroredStrategy(tf.config.list_logical_devices("CPU"))
    with strategy.scope():
        mirrored = build()
    for one, other in zip(alone, mirrored, strict=True):
        other.set_weights(one.get_weights())
        for method in ("auto", "saliency", "occlusion"):
            expected = explain.heatmaps(one, photos(), 1, method)
            found = explain.heatmaps(other, photos(), 1, method)
            assert found.method == expected.method
            np.testing.assert_allclose(found.values, expected.values, atol=1e-4)
