import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerastrain import backbones, models, testing
from kerastrain.backbones import keras_applications
from kerastrain.errors import InputError
from kerastrain.hub import modules

PIXELS = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3)).astype("float32")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return testing.saved_model(tmp_path_factory.mktemp("modules") / "images", features=4, l2=0.01)


@pytest.fixture(scope="module")
def fixed_folder(tmp_path_factory):
    return testing.saved_model(tmp_path_factory.mktemp("modules") / "fixed", image_size=(24, 16))


def prepared(layers, pixels):
    for layer in layers:
        pixels = layer(pixels)
    return np.asarray(pixels)


def module_of(name):
    return inspect.getmodule(getattr(keras.applications, name))


@pytest.mark.parametrize("name", keras_applications.NETWORKS)
def test_each_network_gets_the_pixels_that_it_was_trained_on(name):
    expected = module_of(name).preprocess_input(PIXELS.copy())
    np.testing.assert_allclose(prepared(keras_applications.preprocessing(name), PIXELS), expected, atol=1e-4)


def test_the_value_range_is_what_the_preprocessing_gives():
    for name in keras_applications.NETWORKS:
        if keras_applications.value_range(name):
            ends = prepared(
                keras_applications.preprocessing(name), np.array([0.0, 255.0])[:, None, None, None] * np.ones(3)
            )
            np.testing.assert_allclose((ends.min(), ends.max()), keras_applications.value_range(name), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["module", "network", "model", "file", "our file"])
def test_every_kind_of_backbone_goes_under_a_classifier_by_one_word(kind, folder, tmp_path):
    inputs = keras.Input((32, 32, 3))
    model = keras.Model(inputs, keras.layers.Conv2D(4, 3, strides=8)(inputs), name="mine")
    handle = {"module": folder, "model": model}.get(kind)
    if kind == "network":
        handle = backbones.load("keras:MobileNetV3Small", weights="random", image_size=(32, 32))
    if kind == "file":
        model.save(tmp_path / "mine.keras")
        handle = tmp_path / "mine.keras"
    if kind == "our file":
        models.image_classifier(folder, labels=["x", "y"], image_size=(32, 32)).save(tmp_path / "ours.keras")
        handle = tmp_path / "ours.keras"
    size = None if kind == "network" else (32, 32)
    classifier = models.image_classifier(handle, labels=["a", "b", "c"], image_size=size)
    assert sum(layer.name == "backbone" for layer in classifier.layers) == 1
    assert len(classifier.trainable_weights) == 2
    images = np.random.default_rng(1).uniform(0, 255, (3, 32, 32, 3)).astype("float32")
    classifier.compile("sgd", models.loss(classifier))
    classifier.fit(images, np.eye(3), verbose=0)
    models.unfreeze(classifier)
    assert len(classifier.trainable_weights) > 2
    if kind == "our file":
        features = models.split_at_backbone(classifier)[0].predict(images, verbose=0)
        module = tf.saved_model.load(str(folder))
        np.testing.assert_allclose(features, module(images / 255), atol=1e-5)


def test_image_size_is_the_backbones_own_unless_one_is_asked_for(folder, fixed_folder):
    assert backbones.image_size("keras:MobileNetV2") == (224, 224)
    assert backbones.image_size("keras:InceptionV3") == (299, 299)
    assert backbones.image_size("keras:EfficientNetB3", (96, 128)) == (96, 128)
    assert backbones.image_size(folder) == (224, 224)
    assert backbones.image_size(folder, (40, 50)) == (40, 50)
    assert backbones.image_size(fixed_folder) == (24, 16)


def test_a_card_tells_size_and_range(tmp_path):
    folder = testing.saved_model(tmp_path / "module")
    (folder / "card.json").write_text('{"image_size": [48, 40], "value_range": [-1, 1]}')
    backbone = backbones.load(folder)
    assert (backbone.image_size, backbone.value_range, backbone.feature_maps) == ((48, 40), (-1, 1), "feature_maps")
    np.testing.assert_allclose(prepared(backbone.preprocessing, PIXELS), PIXELS / 127.5 - 1, atol=1e-6)
    backbone = backbones.load(folder, value_range=(0, 1))
    np.testing.assert_allclose(prepared(backbone.preprocessing, PIXELS), PIXELS / 255, atol=1e-6)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if "lite0" in name else ()) for name in modules.bundled()]
)
def test_what_ships_loads_by_name_and_is_trusted(name, tmp_path):
    backbone = backbones.load(f"kerastrain:{name}")
    assert backbone.feature_maps
    models.image_classifier(backbone, labels=["a", "b"]).save(tmp_path / "model.keras")
    modules._loaded.clear()
    assert models.labels(models.load(tmp_path / "model.keras")) == ("a", "b")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Skipping nested container")  # Keras, before it refuses the file
def test_a_weights_file_fits_its_network_or_says_so(tmp_path):
    whole = keras.applications.MobileNet(alpha=0.25, weights=None, input_shape=(32, 32, 3), classes=5)
    whole.save_weights(tmp_path / "whole.weights.h5")
    bare = keras.applications.MobileNet(alpha=0.25, weights=None, input_shape=(32, 32, 3), include_top=False)
    bare.save_weights(tmp_path / "bare.weights.h5")
    options = {"alpha": 0.25, "image_size": (32, 32)}
    for name, saved in (("bare", bare), ("whole", whole)):
        loaded = backbones.load("keras:MobileNet", weights=tmp_path / f"{name}.weights.h5", **options).layer
        for ours, theirs in zip(loaded.get_weights(), saved.get_weights(), strict=False):
            np.testing.assert_array_equal(ours, theirs)
    with pytest.raises(InputError, match="does not fit this network"):
        backbones.load("keras:MobileNet", weights=tmp_path / "bare.weights.h5", alpha=0.5, image_size=(32, 32))
    with pytest.raises(FileNotFoundError, match="no weights file"):
        backbones.load("keras:MobileNet", weights=tmp_path / "nowhere.h5", **options)


@pytest.mark.slow
def test_a_genuine_weights_file_gives_the_genuine_features(shared):
    network = backbones.load("keras:MobileNet", weights=shared("models/mobilenet_v1_0.25_224.h5"), alpha=0.25)
    module = backbones.load(shared("models/mobilenet_v1_025_224_feature_vector"))
    images = np.random.default_rng(2).uniform(0, 255, (2, 224, 224, 3)).astype("float32")
    ours, theirs = (backbone.layer(prepared(backbone.preprocessing, images)) for backbone in (network, module))
    np.testing.assert_allclose(ours, theirs, atol=1e-3)


def test_describe_tells_what_a_module_is(folder):
    description = backbones.describe(folder, image_size=(32, 32))
    assert list(description.pop("feature_spreads")) == ["[0, 1]", "[-1, 1]", "[0, 255]"]
    assert description.pop("warnings")[0].startswith(
        f"which pixel values '{folder}' expects is not known: its graph does"
    )
    assert description == {
        "handle": str(folder),
        "inputs": [["float32", [None, None, None, 3]]],
        "outputs": [["float32", [None, 4]]],
        "image_size": [32, 32],
        "value_range": [0.0, 1.0],
        "value_range_certainty": "unknown",
        "value_range_reason": "its graph does not scale its input, and its features vary under [0, 1], [-1, 1] and [0, 255]",
        "problem": None,
        "parameters": 124,
        "trainable_parameters": 116,
        "trains": True,
        "feature_maps": "feature_maps",
        "endpoints": ["feature_maps"],
        "signatures": {
            "serving_default": {
                "inputs": {"images": ["float32", [None, None, None, 3]]},
                "outputs": {"features": ["float32", [None, 4]]},
            }
        },
        "regularization_losses": 1,
        "sha256": modules.fingerprint(folder),
    }


def test_describe_tells_what_networks_models_and_text_modules_are(tmp_path):
    network = backbones.describe("keras:MobileNet", alpha=0.25, image_size=(64, 64))
    assert (network["parameters"], network["value_range"]) == (218_544, [-1.0, 1.0])
    assert network["feature_maps"] == "conv_pw_13_relu"
    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, keras.layers.Conv2D(2, 3, name="maps")(inputs))
    assert backbones.describe(model)["feature_maps"] == "maps"
    assert model.trainable
    text = backbones.describe(testing.text_saved_model(tmp_path / "text", words=["good"], size=3))
    assert (text["inputs"], text["outputs"], text["image_size"]) == (
        [["string", [None]]],
        [["float32", [None, 3]]],
        None,
    )


@pytest.mark.parametrize(
    ("handle", "options", "error", "match"),
    [
        ("keras:MobileNetV4", {}, InputError, "Did you mean 'MobileNetV"),
        ("kerastrain:fractal_smal", {}, InputError, "unknown bundled backbone"),
        ("keras:Xception", {"image_size": (32, 32)}, InputError, "at least 71 by 71"),
        ("keras:MobileNet", {"value_range": (0, 1)}, InputError, "`value_range` is fixed"),
        ("keras:ResNet50", {"alpha": 0.5}, InputError, "`alpha` is an option of the MobileNets only"),
        ("keras:MobileNet", {"signature": "serve"}, InputError, "`signature` is an option of a SavedModel only"),
        ("{folder}", {"weights": "imagenet"}, InputError, "`weights` is an option of `keras:NAME` only"),
        ("{folder}", {"value_range": (1, 0)}, InputError, "`value_range` must rise"),
        ("{fixed}", {"image_size": (32, 32)}, InputError, "takes images of 24 by 16 pixels only"),
        ("nowhere.keras", {}, FileNotFoundError, "does not exist"),
        ("nowhere", {}, FileNotFoundError, "does not exist"),
    ],
)
def test_a_backbone_that_cannot_be_says_why(handle, options, error, match, folder, fixed_folder):
    with pytest.raises(error, match=match):
        backbones.load(handle.format(folder=folder, fixed=fixed_folder), **options)


@pytest.mark.slow
def test_stochastic_depth_scales_the_skips_of_an_efficientnet_and_is_refused_elsewhere():
    def rates(name, stochastic_depth):
        network = backbones.load(
            f"keras:{name}", weights="random", image_size=(32, 32), stochastic_depth=stochastic_depth
        ).layer
        return [layer.rate for layer in network.layers if isinstance(layer, keras.layers.Dropout)]

    standard, more = rates("EfficientNetV2B0", None), rates("EfficientNetV2B0", 0.4)
    assert max(standard) == pytest.approx(0.2 * 20 / 21)  # the last of 21 blocks
    np.testing.assert_allclose(more, 2 * np.array(standard))
    with pytest.raises(InputError, match="`stochastic_depth` is an option of the EfficientNets only, .* for ResNet50"):
        rates("ResNet50", 0.1)
    with pytest.raises(InputError, match=r"`stochastic_depth` must lie in \[0, 1\)"):
        rates("EfficientNetB0", 1.0)
    with pytest.raises(InputError, match="`stochastic_depth` is an option of `keras:NAME` only"):
        backbones.load("kerastrain:fractal_small", stochastic_depth=0.1)
