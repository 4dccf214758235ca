"""Every layer and every builder: config round trip, `.keras` file, eager equals graph, bfloat16, two devices equal one,
SavedModel and TFLite.

A row creates a new layer or model at each call, with the same weights after the same seed, and provides its inputs. Rows
train without dropout, whose masks differ between devices by design.
"""

import importlib.util
import inspect
import json
import pkgutil

import keras
import numpy as np
import pytest
import tensorflow as tf
from kerashub_folders import write_image_preset
from pretrained_folders import write_images
from text_encoder_folders import write_encoder

import kerastrain
from kerastrain import backbones, export, models, testing
from kerastrain.backbones import keras_applications
from kerastrain.errors import InputError
from kerastrain.hub.layer import HubLayer
from kerastrain.keras_internals.layers import every_layer
from kerastrain.layers import labels, text, tokens
from kerastrain.layers.quantized import QuantizedKernel, QuantizedOutput
from kerastrain.train_step import keras_trainer
from kerastrain.transfer import freezing

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3)).astype("float32")
FEATURES = np.random.default_rng(1).normal(size=(6, 2)).astype("float32")
WORDS = np.random.default_rng(2).normal(size=(6, 4, 8)).astype("float32")
TEXTS = np.array(["a good film", "a bad film", "good", "bad and long", "", "what a film"], object)
NO_EMPTY_TEXTS = np.where(TEXTS == "", "long", TEXTS)  # the module's mean over no words is NaN
TEXT_SIZES = {
    "texts": list(TEXTS),
    "vocabulary_size": 20,
    "sequence_length": 4,
    "embedding_dim": 8,
    "num_layers": 1,
    "word_dropout": 0.0,
}
PAIRS = np.stack([TEXTS, TEXTS[::-1]], axis=1)
TARGETS = np.eye(2, dtype="float32")[[0, 1, 0, 1, 1, 0]]

# Name: a function from the folder of modules to the layer, and the layer's inputs.
LAYERS = {
    "MapsToTokens": (lambda modules: tokens.MapsToTokens(2), IMAGES / 255),
    "GlobalResponseNorm": (lambda modules: tokens.GlobalResponseNorm(), IMAGES / 255),
    "PoolTokens": (lambda modules: tokens.PoolTokens("first_and_mean"), WORDS),
    "ScaleChannels": (lambda modules: tokens.ScaleChannels(), WORDS),
    "TokensToMaps": (lambda modules: tokens.TokensToMaps(1, 3), WORDS),
    "HubLayer": (
        lambda modules: HubLayer(modules / "images", trainable=True, freeze_batch_norm_statistics=True),
        IMAGES / 255,
    ),
    "Labels": (lambda modules: labels.Labels(["a", "b"], name="names"), FEATURES),
    "MeanOverWords": (lambda modules: text.MeanOverWords(), WORDS),
    "QuantizedKernel": (lambda modules: QuantizedKernel(keras.layers.Conv2D(3, 3), per_channel=True), IMAGES / 255),
    "QuantizedOutput": (lambda modules: QuantizedOutput(-0.1, 1.0), IMAGES / 255),
    "ReverseChannels": (lambda modules: keras_applications.ReverseChannels(), IMAGES / 255),
    "WordPositions": (lambda modules: text.WordPositions(4), WORDS),
}
# Name of the builder and kind of the backbone: a function from the folder of modules to the model, and its inputs.
BUILDERS = {
    "image_classifier, vision transformer": (
        lambda modules: unfrozen(classifier(pretrained(modules / "vit", "vit"), image_size=(16, 16))),
        np.tile(IMAGES, (1, 2, 2, 1)),
    ),
    "image_classifier, DINOv3": (
        lambda modules: unfrozen(classifier(pretrained(modules / "dinov3", "dinov3_vit"), image_size=(16, 16))),
        np.tile(IMAGES, (1, 2, 2, 1)),
    ),
    "image_classifier, ConvNeXt": (
        lambda modules: unfrozen(classifier(pretrained(modules / "convnext", "convnextv2"), image_size=(32, 32))),
        np.tile(IMAGES, (1, 4, 4, 1)),
    ),
    "image_classifier, ResNet": (
        lambda modules: classifier(pretrained(modules / "resnet", "resnet"), image_size=(32, 32)),
        np.tile(IMAGES, (1, 4, 4, 1)),
    ),
    "image_classifier, module": (lambda modules: classifier(modules / "images", image_size=(8, 8)), IMAGES),
    "image_classifier, keras:NAME": (lambda modules: classifier(network()), np.tile(IMAGES, (1, 4, 4, 1))),
    "image_classifier, .keras file": (lambda modules: classifier(modules / "tiny.keras"), IMAGES),
    "image_classifier, .keras file of a classifier": (lambda modules: classifier(modules / "trained.keras"), IMAGES),
    "image_classifier, model": (lambda modules: classifier(tiny(), hidden_units=(5,), l2=0.01), IMAGES),
    "image_classifier, many labels": (lambda modules: classifier(tiny(), multi_label=True), IMAGES),
    "image_regressor, model": (
        lambda modules: models.image_regressor(tiny(), labels=["a", "b"], mean=[1.0, 2.0], stddev=3.0),
        IMAGES,
    ),
    "text_classifier, n-grams": (lambda modules: of_ngrams(), TEXTS),
    "text_classifier, embedding": (lambda modules: text_classifier("keras:embedding"), TEXTS),
    "text_classifier, transformer": (lambda modules: text_classifier("keras:transformer"), TEXTS),
    "text_classifier, .keras file": (lambda modules: text_classifier(modules / "texts.keras"), TEXTS),
    "text_classifier, module": (lambda modules: text_classifier(modules / "text"), NO_EMPTY_TEXTS),
    "text_classifier, characters": (lambda modules: text_classifier("keras:embedding", tokenizer="characters"), TEXTS),
    "text_classifier, subwords": (lambda modules: text_classifier("keras:transformer", tokenizer="subwords"), TEXTS),
    "text_classifier, pairs": (
        lambda modules: models.text_classifier(
            "keras:embedding", labels=["a", "b"], pair=True, dropout=0.0, **(TEXT_SIZES | {"texts": PAIRS})
        ),
        PAIRS,
    ),
    "text_regressor, embedding": (
        lambda modules: models.text_regressor(
            "keras:embedding", labels=["a", "b"], mean=[1.0, 2.0], stddev=3.0, **TEXT_SIZES
        ),
        TEXTS,
    ),
}
if importlib.util.find_spec("keras_hub"):
    BUILDERS["image_classifier, EfficientNet of KerasHub"] = (
        lambda modules: classifier(kerashub_preset(modules / "efficientnet", "efficientnet")),
        np.tile(IMAGES, (1, 4, 4, 1)),
    )
if importlib.util.find_spec("tensorflow_text") and importlib.util.find_spec("keras_hub"):
    BUILDERS["text_classifier, encoder"] = (lambda modules: text_classifier(encoder(modules / "encoder")), TEXTS)
# Rows that cannot be converted to a float TFLite file, with the error message.
NO_TFLITE = {
    "QuantizedOutput": '`quantize` must be "int8" for a model that was trained for it',
    "text_classifier, module": "TFLite or ONNX file, which holds no strings: its texts are read by 'backbone'",
}
NO_PART = {
    "AppendNumbers": "reads two tensors; tests/models/test_models_with_numbers.py saves, trains and exports models with it",
    "ComparePair": "reads two tensors; the row of a text_classifier of pairs covers it",
    "DecoderBlock": "reads three tensors; tests/language and tests/export/test_language_models.py save, train and export it",
    "DisentangledBlock": "reads three tensors; tests/backbones/test_relative_encoders.py saves and trains models with it",
    "DistillationModel": "wraps a student during its training only; the student is what is saved",
    "EncoderBlock": "reads two tensors; the row of a text_classifier on an encoder covers it",
    "EncoderEmbedding": "looks up ids; the row of a text_classifier on an encoder covers it",
    "EncoderTokenizer": "needs tensorflow_text; tests/export/test_encoder_models.py saves and exports models with it",
    "InferenceModel": "is never saved; tests/train_step/test_folded_norms.py compares its answers with its model's",
    "LowRankPair": "is made beside a layer of a DecoderBlock; tests/language/test_adapters.py saves and trains models with it",
    "RelativeBias": "looks up ids; tests/backbones/test_relative_encoders.py saves and trains models with it",
    "RelativeEmbedding": "looks up ids; tests/backbones/test_relative_encoders.py saves and trains models with it",
    "Source": "the module of a HubLayer, which is never called; it is saved with its layers",
    "SequenceLogProbability": "reads two tensors; tests/language/test_preferences.py trains models with it",
    "TfIdfPooling": "reads two tensors; the rows of a text_classifier of n-grams cover it",
    "RotaryAttention": "reads three tensors; the row of an image_classifier on DINOv3 covers it",
    "ReplacePatches": "reads two tensors; the row of an image_classifier on a vision transformer covers it",
    "SeparateTexts": "returns two tensors; the row of a text_classifier of pairs covers it",
    "TokenPooling": "reads two tensors; tests/export/test_encoder_models.py saves and exports models with it",
    "TokenMask": "compares ids; the row of a text_classifier on an encoder covers it",
    "TokenPositions": "reads ids; tests/language and tests/export/test_language_models.py save, train and export it",
    "Step": "an operation of a model that is being explained; it holds a function and exists during the call only",
}
ROWS = [*LAYERS, *BUILDERS]
# Networks of many operations, of which `make test EVERYTHING=1` compares ConvNeXt on two devices.
LARGE = [
    f"image_classifier, {name}"
    for name in ("DINOv3", "EfficientNet of KerasHub", "ResNet", "keras:NAME", "vision transformer")
]


def encoder(folder):
    return write_encoder(folder) if not folder.exists() else folder


def tiny():
    inputs = keras.Input((8, 8, 3))
    maps = keras.layers.Conv2D(4, 3, strides=2, activation="relu")(keras.layers.Rescaling(1 / 255)(inputs))
    return keras.Model(inputs, maps, name="tiny")


def network():
    backbone = backbones.load("keras:MobileNet", weights="random", alpha=0.25, image_size=(32, 32))
    for layer in backbone.layer.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.gamma.assign(
                keras.ops.full(layer.gamma.shape, 4.0)
            )  # otherwise random weights give features near 1e-17
    return backbone


def unfrozen(model):
    freezing.unfreeze(model)
    return model


def pretrained(folder, kind):
    return folder if folder.is_dir() else write_images(folder, kind)


def kerashub_preset(folder, family):
    return folder if folder.is_dir() else write_image_preset(folder, family)


def classifier(backbone, **options):
    return models.image_classifier(backbone, labels=["a", "b"], dropout=0.0, **options)


def text_classifier(backbone, **options):
    return models.text_classifier(backbone, labels=["a", "b"], dropout=0.0, **TEXT_SIZES, **options)


def of_ngrams():
    """A classifier whose embeddings, zeros at first, are as after training."""
    model = text_classifier("keras:ngrams")
    embeddings = model.get_layer("backbone").get_layer("words").embeddings
    embeddings.assign(keras.random.normal(embeddings.shape, seed=0))
    return model


def made(name, modules):
    """The model of a row and its inputs as tensors; the model of a layer is the layer under two logits."""
    keras.utils.set_random_seed(0)
    if name in BUILDERS:
        make, inputs = BUILDERS[name]
        return make(modules), tf.constant(inputs)
    make, inputs = LAYERS[name]
    symbolic = keras.Input(inputs.shape[1:])
    outputs = keras.layers.Flatten()(make(modules)(symbolic))
    return keras.Model(symbolic, keras.layers.Dense(2)(outputs)), tf.constant(inputs)


def parts():
    """Every public layer class of the package, by name."""
    classes = {}
    for module in pkgutil.walk_packages(kerastrain.__path__, "kerastrain."):
        if not module.name.endswith("__main__"):
            members = inspect.getmembers(importlib.import_module(module.name), inspect.isclass)
            classes |= {name: kind for name, kind in members if issubclass(kind, keras.Layer)}
    return {
        n: kind for n, kind in classes.items() if kind.__module__.startswith("kerastrain.") and not n.startswith("_")
    }


@pytest.fixture(scope="module")
def modules(tmp_path_factory):
    folder = tmp_path_factory.mktemp("modules")
    testing.saved_model(folder / "images", features=4, l2=0.01)
    testing.text_saved_model(folder / "text", words=["good", "bad", "film"], size=4)
    tiny().save(folder / "tiny.keras")
    classifier(tiny()).save(folder / "trained.keras")
    text_classifier("keras:embedding").save(folder / "texts.keras")
    return folder


@pytest.fixture(scope="module")
def two_devices():
    keras_trainer.patch()
    yield tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"], tf.distribute.HierarchicalCopyAllReduce())
    keras_trainer.unpatch()


def test_every_layer_has_its_row():
    assert set(LAYERS) | set(NO_PART) == set(parts())
    for name in LAYERS:
        assert keras.saving.get_registered_object(f"kerastrain>{name}") is parts()[name]


def test_every_builder_has_its_row():
    public = [getattr(models, name) for name in models.__all__]
    builders = {
        value.__name__
        for value in public
        if inspect.isfunction(value)
        and value.__module__ in ("kerastrain.models.image_models", "kerastrain.models.text_models")
    }
    assert {name.split(",")[0] for name in BUILDERS} == builders


@pytest.mark.parametrize("name", LAYERS)
def test_layer_comes_back_from_its_config(name, modules):
    layer = LAYERS[name][0](modules)
    layer(LAYERS[name][1])
    config = json.loads(json.dumps(layer.get_config()))
    assert json.loads(json.dumps(type(layer).from_config(config).get_config())) == config


@pytest.mark.slow
@pytest.mark.parametrize("name", BUILDERS)
def test_builder_comes_back_from_its_config(name, modules):
    model, inputs = made(name, modules)
    config = json.loads(json.dumps(model.get_config()))
    back = keras.Model.from_config(config)
    assert [(v.path, v.shape, v.trainable) for v in back.weights] == [
        (v.path, v.shape, v.trainable) for v in model.weights
    ]
    back.set_weights(model.get_weights())
    for old, new in zip(vectorizations(model), vectorizations(back), strict=True):
        new.set_vocabulary(old.get_vocabulary())  # Keras saves it in files, not in configs
    np.testing.assert_array_equal(back(inputs), model(inputs))


def vectorizations(model):
    return [layer for layer in every_layer(model) if isinstance(layer, keras.layers.TextVectorization)]


@pytest.mark.slow
@pytest.mark.parametrize("name", ROWS)
def test_file_gives_the_same_answers(name, modules, tmp_path):
    model, inputs = made(name, modules)
    model.save(tmp_path / "model.keras")
    back = models.load(tmp_path / "model.keras")
    np.testing.assert_array_equal(back(inputs), model(inputs))
    assert [v.trainable for v in back.weights] == [v.trainable for v in model.weights]


@pytest.mark.slow
@pytest.mark.parametrize("name", ROWS)
def test_eager_equals_graph(name, modules):
    model, inputs = made(name, modules)

    def answers():
        with tf.GradientTape() as tape:
            outputs = model(inputs, training=True)
            loss = tf.reduce_mean(tf.square(outputs - TARGETS)) + sum(model.losses, 0.0)
        return outputs, tape.gradient(loss, [v.value for v in model.trainable_weights])

    eager, graph = answers(), tf.function(answers)()
    for in_eager, in_graph in zip(keras.tree.flatten(eager), keras.tree.flatten(graph), strict=True):
        assert_close(tf.convert_to_tensor(in_eager), tf.convert_to_tensor(in_graph))


def assert_close(actual, desired):
    assert np.isfinite(actual).all()
    np.testing.assert_allclose(actual, desired, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ROWS)
def test_bfloat16_computes_near_float32_and_keeps_its_weights(name, modules):
    model, inputs = made(name, modules)
    exact = model(inputs).numpy()
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        mixed, inputs = made(name, modules)
    finally:
        keras.config.set_dtype_policy(before)
    outputs = mixed(inputs)
    assert outputs.dtype == (tf.float32 if name in BUILDERS else tf.bfloat16)
    fraction = 0.05 if "keras:NAME" in name else 0.02  # 27 layers round in sequence, sqrt(27) times 1 / 128
    np.testing.assert_allclose(tf.cast(outputs, tf.float32), exact, atol=fraction * np.abs(exact).max())
    assert {v.dtype for v in mixed.trainable_weights} == {"float32"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.equality) if name in LARGE else name for name in ROWS]
)
def test_two_devices_equal_one(name, modules, two_devices):
    dataset = tf.data.Dataset.from_tensor_slices((made(name, modules)[1], TARGETS)).batch(4)
    weights = []
    for strategy in (tf.distribute.get_strategy(), two_devices):
        with strategy.scope():
            model, _ = made(name, modules)
            model.compile(keras.optimizers.SGD(0.01), "mse")
        model.fit(dataset, epochs=2, shuffle=False, verbose=0)
        weights.append(model.get_weights())
    for on_one, on_two in zip(*weights, strict=True):
        assert_close(on_one, on_two)


@pytest.mark.slow
@pytest.mark.parametrize("name", ROWS)
def test_saved_model_gives_the_same_answers(name, modules, tmp_path):
    model, inputs = made(name, modules)
    model.export(str(tmp_path / "exported"), verbose=False)
    exported = tf.saved_model.load(str(tmp_path / "exported"))
    assert_close(exported.serve(inputs), model(inputs))


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in ROWS if name not in NO_TFLITE])
def test_tflite_gives_the_same_answers(name, modules, tmp_path):
    model, inputs = made(name, modules)
    parity = export.tflite(model, tmp_path / "model.tflite", samples=inputs.numpy())
    assert parity.largest_difference <= 1e-5


@pytest.mark.parametrize("name", NO_TFLITE)
def test_tflite_refuses_what_it_cannot_hold(name, modules, tmp_path):
    model, inputs = made(name, modules)
    with pytest.raises(InputError, match=NO_TFLITE[name]):
        export.tflite(model, tmp_path / "model.tflite", samples=inputs.numpy())
