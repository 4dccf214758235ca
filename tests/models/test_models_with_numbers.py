"""Models that read numbers beside an image or a text: the layer, training, files, and the exported signatures."""

import io

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import kerastrain as kt
from kerastrain.errors import InputError
from kerastrain.export import litert
from kerastrain.layers.numbers import AppendNumbers
from kerastrain.train_step import keras_trainer

NAN = float("nan")
RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(0, 256, (8, 8, 8, 3)).astype("float32")
NUMBERS = np.array([[2000 + n, NAN if n == 3 else n * n] for n in range(8)], "float32")
NAMES = ("year", "price")
TARGETS = np.arange(8) % 2


def tiny():
    inputs = keras.Input((8, 8, 3))
    return keras.Model(inputs, keras.layers.Conv2D(4, 3, activation="relu")(keras.layers.Rescaling(1 / 255)(inputs)))


def classifier(**options):
    keras.utils.set_random_seed(0)
    return kt.models.image_classifier(
        tiny(), labels=["a", "b"], dropout=0.0, numbers=NUMBERS, number_names=NAMES, **options
    )


def examples(inputs=IMAGES):
    inputs = inputs.astype("uint8") if inputs.dtype != object else inputs
    return kt.data.Examples(TARGETS, ("a", "b"), inputs, numbers=NUMBERS, number_names=NAMES)


def test_numbers_are_standardized_and_missing_ones_are_the_mean_and_marked():
    layer = AppendNumbers(NAMES, [2003.0, 4.0], [2.0, 0.0], [False, True], units=0)
    features = np.array([[7.0], [8.0]], "float32")
    outputs = layer([features, np.array([[2005, 9], [NAN, NAN]], "float32")])
    np.testing.assert_array_equal(outputs, [[7, 1, 0, 0], [8, 0, 0, 1]])


def test_a_dense_layer_reads_the_standardized_numbers():
    layer = AppendNumbers(["n"], [1.0], [2.0], [True], units=3)
    features, numbers = np.zeros((2, 1), "float32"), np.array([[5.0], [NAN]], "float32")
    outputs = np.asarray(layer([features, numbers]))
    kernel, bias = layer.get_weights()
    expected = np.maximum(np.array([[2.0, 0.0], [0.0, 1.0]]) @ kernel + bias, 0)
    np.testing.assert_allclose(outputs[:, 1:], expected, atol=1e-6)


def test_bfloat16_does_not_round_a_year():
    layer = AppendNumbers(["year"], [2003.0], [1.0], [False], units=0, dtype="mixed_bfloat16")
    outputs = layer([tf.zeros((2, 1), tf.bfloat16), np.array([[2002.0], [2004.0]], "float32")])
    assert outputs.dtype == tf.bfloat16
    assert np.asarray(tf.cast(outputs, "float32"))[:, 1].tolist() == [-1.0, 1.0]


def test_a_model_takes_a_tuple_or_names_and_gives_the_same_after_loading(tmp_path):
    model = classifier()
    outputs = model.predict((IMAGES, NUMBERS), verbose=0)
    assert np.isfinite(outputs).all()
    assert not np.allclose(outputs, model.predict((IMAGES, NUMBERS[::-1]), verbose=0))
    model.save(tmp_path / "model.keras")
    loaded = kt.models.load(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.predict({"images": IMAGES, "numbers": NUMBERS}, verbose=0), outputs)
    assert AppendNumbers.from_config(loaded.get_layer("append_numbers").get_config()).names == NAMES


def test_features_and_head_are_the_model_and_features_are_computed_without_numbers():
    model = classifier(hidden_units=(5,))
    features, head = kt.models.split_at_backbone(model)
    cached = kt.data.features.precompute(features, examples(), 3)
    assert cached.shape == (4,)
    outputs = head.predict(kt.data.batches(cached, 3), verbose=0)
    np.testing.assert_allclose(outputs, model.predict((IMAGES, NUMBERS), verbose=0), atol=1e-6)


def test_evaluate_reads_the_numbers():
    model = classifier()
    measures = kt.evaluation.evaluate(model, kt.data.batches(examples(), 3))
    expected = (model.predict((IMAGES, NUMBERS), verbose=0).argmax(1) == TARGETS).mean()
    assert measures["accuracy"] == expected


def test_a_search_for_nan_does_not_stop_at_a_missing_number():
    from kerastrain.callbacks import nonfinite_search

    model = classifier()
    model.compile("sgd", kt.models.loss(model))
    batch = (tf.constant(IMAGES), tf.constant(NUMBERS))
    targets = tf.one_hot(TARGETS, 2)
    assert nonfinite_search.find(model, batch, targets) is None
    broken = tf.constant(np.where(np.arange(8).reshape(8, 1, 1, 1) == 5, NAN, IMAGES))
    assert nonfinite_search.find(model, (broken, batch[1]), targets).place == "inputs"


@pytest.mark.slow
def test_two_devices_equal_one():
    keras_trainer.patch()
    two = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"], tf.distribute.HierarchicalCopyAllReduce())
    weights = []
    for strategy in (tf.distribute.get_strategy(), two):
        with strategy.scope():
            model = classifier()
            model.compile(keras.optimizers.SGD(0.1), kt.models.loss(model))
        batches = kt.data.batches(examples(), 3, shuffle=True, epochs=2)
        model.fit(kt.distribute.shard(batches, strategy), epochs=2, steps_per_epoch=3, shuffle=False, verbose=0)
        features, _ = kt.models.split_at_backbone(model)
        weights.append([*model.get_weights(), kt.data.features.precompute(features, examples(), 3).inputs])
    keras_trainer.unpatch()
    for on_one, on_two in zip(*weights, strict=True):
        np.testing.assert_allclose(on_one, on_two, atol=1e-6)


@pytest.mark.slow
def test_exported_files_take_the_images_and_the_numbers(tmp_path):
    model = classifier()
    outputs = model.predict((IMAGES, NUMBERS), verbose=0)
    kt.export.saved_model(model, tmp_path / "served", samples=examples())
    assert (tmp_path / "served/assets.extra/numbers.txt").read_text() == "year\nprice\n"
    signatures = tf.saved_model.load(str(tmp_path / "served")).signatures
    answers = signatures["serving_default"](images=tf.constant(IMAGES), numbers=tf.constant(NUMBERS))
    np.testing.assert_allclose(answers["logits"], outputs, atol=1e-6)
    contents = []
    for image in IMAGES.astype("uint8"):
        Image.fromarray(image).save(content := io.BytesIO(), "PNG")
        contents.append(content.getvalue())
    answers = signatures["image_bytes"](image_bytes=tf.constant(contents), numbers=tf.constant(NUMBERS))
    np.testing.assert_allclose(answers["logits"], outputs, atol=1e-6)
    kt.export.tflite(model, tmp_path / "model.tflite", samples=kt.data.batches(examples(), 3))
    assert (tmp_path / "model.numbers.txt").read_text() == "year\nprice\n"
    answers = litert.run(tmp_path / "model.tflite", {"images": IMAGES, "numbers": NUMBERS})
    np.testing.assert_allclose(answers, outputs, atol=1e-5)


@pytest.mark.slow
def test_a_text_model_becomes_a_tflite_file_of_tokens_and_numbers(tmp_path):
    texts = np.array([f"{'good' if n % 3 else 'bad'} film {n}" for n in range(8)], object)
    model = kt.models.text_classifier(labels=["a", "b"], texts=texts, vocabulary_size=30, numbers=NUMBERS)
    kt.export.tflite(model, tmp_path / "model.tflite", samples=examples(texts))
    ids = kt.export.tokenize(tmp_path / "model.tflite", texts.tolist())
    outputs = litert.run(tmp_path / "model.tflite", {"tokens": ids, "numbers": NUMBERS})
    np.testing.assert_allclose(outputs, model.predict((tf.constant(texts), NUMBERS), verbose=0), atol=1e-5)


def test_what_does_not_fit_a_model_with_numbers_is_refused(tmp_path):
    model = classifier()
    with pytest.raises(InputError, match="`samples` must hold the 2 numbers beside each input too"):
        kt.export.saved_model(model, tmp_path / "served", samples=IMAGES)
    with pytest.raises(InputError, match=r"`samples` must hold 2 numbers beside each input. Received: shape \(8, 1\)"):
        kt.export.saved_model(model, tmp_path / "served", samples=(IMAGES, NUMBERS[:, :1]))
    with pytest.raises(
        InputError, match="`quantize` must be None, 'float16' or 'dynamic' for a model that reads numbers"
    ):
        kt.export.tflite(model, tmp_path / "m.tflite", samples=examples(), quantize="int8", representative=examples())
    with pytest.raises(InputError, match="`number_names` must name 2 numbers. Received: 1 names"):
        kt.models.image_classifier(tiny(), labels=["a", "b"], numbers=NUMBERS, number_names=["year"])
    with pytest.raises(InputError, match="column 'number_1' has no number in any training example"):
        kt.models.image_classifier(tiny(), labels=["a", "b"], numbers=np.full((3, 1), NAN))
    with pytest.raises(InputError, match=r"AppendNumbers needs 1 numbers: n. Received: 2"):
        AppendNumbers(["n"], [0.0], [1.0], [False])([keras.Input((3,)), keras.Input((2,))])
    with pytest.raises(InputError, match="arguments of AppendNumbers must have one length"):
        AppendNumbers(["n"], [0.0], [1.0, 2.0], [False])
