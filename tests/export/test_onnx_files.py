import importlib.util
import json
import sys

import keras
import numpy as np
import pytest

from kerastrain import data, export, models, testing
from kerastrain.errors import InputError
from kerastrain.export import onnx_files
from kerastrain.hub import layer as hub_layer
from kerastrain.layers import labels

IMAGES = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3)).astype("float32")
LABELS = ("red", "green", "blue")


def classifier(*layers, dtype="float32"):
    inputs = keras.Input((8, 8, 3), dtype=dtype)
    x = keras.layers.Rescaling(1 / 127.5, offset=-1)(inputs)
    for layer in (keras.layers.Conv2D(8, 3, activation="relu"), keras.layers.BatchNormalization(), *layers):
        x = layer(x)
    x = keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(x))
    return keras.Model(inputs, labels.Labels(LABELS)(x), name="colours")


def test_a_missing_extra_is_named_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    with pytest.raises(InputError, match=r"to write ONNX files, kerastrain needs tf2onnx. .*kerastrain\[onnx\]"):
        export.onnx(classifier(), tmp_path / "a.onnx", samples=IMAGES)
    assert not list(tmp_path.iterdir())


needs_onnx = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("onnx", "tf2onnx", "onnxruntime"))), reason="needs the extra onnx"
)


@needs_onnx
@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_an_onnx_file_answers_as_predict_for_any_batch(tmp_path, dtype):
    import onnx
    import onnxruntime

    model, path = classifier(keras.layers.RandomFlip(), dtype=dtype), tmp_path / "colours.onnx"
    examples = data.Examples(np.repeat([0, 1], 20), LABELS, IMAGES.astype("uint8"))
    measured = export.onnx(model, path, samples=examples, activation="softmax")
    onnx.checker.check_model(str(path), full_check=True)
    session = onnxruntime.InferenceSession(str(path))
    (source,), (target,) = session.get_inputs(), session.get_outputs()
    assert (source.name, source.shape[1:], target.name) == ("images", [8, 8, 3], "probabilities")
    logits = model.predict(IMAGES.astype(dtype), verbose=0)
    expected = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    for batch in (slice(0, 1), slice(3, 20)):
        answers = session.run(None, {"images": IMAGES[batch].astype(dtype)})[0]
        np.testing.assert_allclose(answers, expected[batch], atol=1e-6)
    properties = session.get_modelmeta().custom_metadata_map
    assert json.loads(properties["input"]) == {"kind": "RGB images", "range": [0, 255], "height": 8, "width": 8}
    assert properties["labels.txt"].split() == list(LABELS)
    assert measured.score == measured.model_score == np.mean(expected.argmax(1) == examples.targets)
    assert (tmp_path / "colours.onnx.labels.txt").read_text().split() == list(LABELS)
    assert json.loads((tmp_path / "colours.onnx.parity.json").read_text())["sample_count"] == 40


@needs_onnx
def test_an_onnx_file_of_texts_takes_token_ids(tmp_path):
    texts = ["A moving, wonderful story!", "dull; dull, dull...", "", "a story"]
    model = models.text_classifier(
        labels=["bad", "good"], texts=texts, vocabulary_size=30, sequence_length=12, embedding_dim=8
    )
    export.onnx(model, tmp_path / "texts.onnx", samples=np.array(texts, object))
    ids = export.tokenize(tmp_path / "texts.onnx", texts)
    answers = onnx_files.run(tmp_path / "texts.onnx", ids)
    np.testing.assert_allclose(answers, model.predict(np.array(texts, object), verbose=0), atol=1e-6)


@needs_onnx
def test_an_onnx_file_carries_a_saved_model(tmp_path):
    inputs = keras.Input((8, 8, 3))
    x = hub_layer.HubLayer(str(testing.saved_model(tmp_path / "module")))(keras.layers.Rescaling(1 / 255)(inputs))
    model = keras.Model(inputs, keras.layers.Dense(3)(x))
    assert export.onnx(model, tmp_path / "hub.onnx", samples=IMAGES).agreement == 1


@needs_onnx
def test_an_onnx_file_that_answers_otherwise_is_removed(tmp_path, monkeypatch):
    model = classifier()
    monkeypatch.setattr(model, "predict", lambda inputs, **_: np.zeros((len(inputs), 3), "float32") + [1.0, 0, 0])
    with pytest.raises(export.ParityError, match="`a.onnx`"):
        export.onnx(model, tmp_path / "a.onnx", samples=IMAGES)
    assert not list(tmp_path.iterdir())


@needs_onnx
def test_what_onnx_has_no_operation_for_is_refused(tmp_path):
    import tensorflow as tf

    inputs = keras.Input((8,))
    model = keras.Model(inputs, keras.layers.Lambda(tf.math.bessel_i0)(inputs), name="bessel")
    with pytest.raises(InputError, match="model 'bessel' cannot be converted to ONNX: ONNX has no BesselI0"):
        export.onnx(model, tmp_path / "a.onnx", samples=np.ones((2, 8)))
    with pytest.raises(InputError, match="must end in .onnx"):
        export.onnx(model, tmp_path / "a.pb", samples=np.ones((2, 8)))
    assert not list(tmp_path.iterdir())
