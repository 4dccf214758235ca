import base64
import dataclasses
import gzip
import json
import subprocess
import sys
from pathlib import Path

import flatbuffers
import keras
import numpy as np
import odd_files
import pytest
import sklearn.datasets
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from kerastrain import data, export, models, testing
from kerastrain.errors import InputError
from kerastrain.export import benchmark, compact, decoded_images, litert, metadata, parity, samples, selective, serving
from kerastrain.hub import layer as hub_layer

LABELS = ("red", "green", "blue")


def classifier(*layers, image_size=8, classes=3):
    inputs = keras.Input((image_size, image_size, 3), name="image")
    x = keras.layers.Rescaling(1 / 127.5, offset=-1)(inputs)
    for layer in layers or (keras.layers.Conv2D(8, 3, activation="relu"), keras.layers.BatchNormalization()):
        x = layer(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(classes)(x), name="colours")


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3)).astype("float32")


_TFLITE = {"float32": {}, "int8": {"quantize": "int8", "tolerance": export.Tolerance(0.2, agreement=0.5)}}


@pytest.fixture(scope="module")
def served(tmp_path_factory, images):
    keras.utils.set_random_seed(0)
    model = classifier()
    folder = tmp_path_factory.mktemp("served")
    with export.Session(model, samples=images, labels=LABELS, activation="softmax") as session:
        pending = session.saved_model(folder / "colours")
        for name, options in _TFLITE.items():
            session.tflite(folder / f"{name}.tflite", representative=images, **options)
    return model, folder / "colours", pending.result()


def test_saved_model_when_reopened_answers_as_predict(served, images):
    model, path, measured = served
    outputs = tf.saved_model.load(str(path)).signatures["serving_default"](images=tf.constant(images))
    expected = np.exp(model.predict(images, verbose=0))
    np.testing.assert_allclose(outputs["probabilities"], expected / expected.sum(-1, keepdims=True), atol=1e-6)
    assert measured.agreement == 1
    assert (measured.sample_count, measured.encoded_count) == (56, 16)
    assert "agreement 100.0% on 56 samples, 16 of them encoded images, largest" in str(measured)
    assert (path / "assets.extra" / "labels.txt").read_text() == "red\ngreen\nblue\n"
    stored = tf.train.list_variables(str(path / "variables" / "variables"))
    assert len([name for name, _ in stored if "VARIABLE_VALUE" in name]) == len(model.variables)  # each weight once
    assert json.loads((path / "assets.extra" / "parity.json").read_text())["agreement"] == 1


@pytest.mark.parametrize("name", _TFLITE)
def test_files_of_a_session_equal_those_that_are_exported_alone(served, images, tmp_path, name):
    model, path, _ = served
    options = {"samples": images, "representative": images, "labels": LABELS, "activation": "softmax", **_TFLITE[name]}
    alone = export.tflite(model, tmp_path / f"{name}.tflite", **options)
    assert (tmp_path / f"{name}.tflite").read_bytes() == path.with_name(f"{name}.tflite").read_bytes()
    assert json.loads(path.with_name(f"{name}.parity.json").read_text()) == dataclasses.asdict(alone)


# How TensorFlow Serving reads a REST request, https://www.tensorflow.org/tfx/serving/api_rest: an instance is a value, or an
# object with one value per named input; {"b64": ...} is bytes; the values of all instances form the batch.
_SERVER = """
import base64, json, sys, tensorflow as tf
def decoded(value):
    if isinstance(value, dict):
        return base64.b64decode(value["b64"]) if set(value) == {"b64"} else {k: decoded(v) for k, v in value.items()}
    return [decoded(item) for item in value] if isinstance(value, list) else value
answers = []
for folder, request in json.load(open("requests.json")):
    signature = tf.saved_model.load(folder).signatures[request.get("signature_name", "serving_default")]
    ((name, spec),) = signature.structured_input_signature[1].items()
    instances = [decoded(instance) for instance in request["instances"]]
    values = [instance[name] if isinstance(instance, dict) else instance for instance in instances]
    (outputs,) = signature(**{name: tf.constant(values, spec.dtype)}).values()
    answers.append({"predictions": outputs.numpy().tolist()})
assert "kerastrain" not in sys.modules
json.dump(answers, open("answers.json", "w"))
"""


@pytest.mark.slow
def test_saved_models_answer_rest_requests_in_a_process_with_tensorflow_alone(served, images, tmp_path):
    model, path, _ = served
    vectorize = keras.layers.TextVectorization(vocabulary=["good", "bad"], output_mode="multi_hot")
    texts = keras.Input((), dtype="string")
    reader = keras.Model(texts, keras.layers.Dense(2)(vectorize(texts)))
    sentences = ["good", "bad bad", "ugly"]
    export.saved_model(reader, tmp_path / "texts", samples=np.array(sentences))
    photos = images[:2].astype("uint8")
    png = [{"b64": base64.b64encode(tf.io.encode_png(photo).numpy()).decode()} for photo in photos]
    requests = [
        (str(path), {"instances": photos.tolist()}),
        (str(path), {"signature_name": "serving_default", "instances": [{"images": photos[0].tolist()}]}),
        (str(path), {"signature_name": "image_bytes", "instances": png}),
        (str(path), {"signature_name": "image_bytes", "instances": [{"image_bytes": file} for file in png]}),
        (str(tmp_path / "texts"), {"instances": sentences}),
    ]
    (tmp_path / "requests.json").write_text(json.dumps(requests))
    subprocess.run([sys.executable, "-c", _SERVER], cwd=tmp_path, check=True, capture_output=True)
    answers = [answer["predictions"] for answer in json.loads((tmp_path / "answers.json").read_text())]
    expected = tf.nn.softmax(model.predict(photos.astype("float32"), verbose=0)).numpy()
    for answer in (answers[0], answers[2], answers[3]):
        np.testing.assert_allclose(answer, expected, atol=1e-6)
    np.testing.assert_allclose(answers[1], expected[:1], atol=1e-6)
    np.testing.assert_allclose(answers[4], reader.predict(tf.constant(sentences), verbose=0), atol=1e-6)


def test_saved_model_resizes_encoded_images_of_any_size(served):
    _, path, _ = served
    signature = tf.saved_model.load(str(path)).signatures["image_bytes"]
    large = tf.constant(np.full((31, 57, 3), 200, "uint8"))
    small = tf.constant(np.full((8, 8, 3), 200, "uint8"))
    answers = signature(image_bytes=tf.stack([tf.io.encode_jpeg(large), tf.io.encode_png(small)]))
    np.testing.assert_allclose(*answers["probabilities"].numpy(), atol=1e-3)


_NOT_SERVED = ("sixteen_bit.tiff", "sixteen_bit.pgm", "without_end.png", "fax.tiff", "pages.tiff", "moving.webp")
_NOT_SERVED += ("alpha.webp",)


@pytest.mark.parametrize("name", [name for name in odd_files.ODD if name not in _NOT_SERVED])
def test_an_encoded_file_is_served_as_it_was_trained_on(tmp_path, name):
    odd_files.ODD[name][0](tmp_path / name)
    served = decoded_images.decoded_image(tf.constant((tmp_path / name).read_bytes()), (4, 6))
    _, colour = odd_files.ODD[name]
    np.testing.assert_allclose(served, np.tile(colour, (4, 6, 1)), atol=4 if "jpg" in name else 1)


@pytest.mark.parametrize("name", _NOT_SERVED)
def test_an_encoded_file_that_cannot_be_served_is_refused(tmp_path, name):
    odd_files.ODD[name][0](tmp_path / name)
    with pytest.raises(tf.errors.InvalidArgumentError):
        decoded_images.decoded_image(tf.constant((tmp_path / name).read_bytes()), (4, 6))


@pytest.mark.parametrize("image_size", [(427, 640), (224, 224)])
def test_a_photograph_is_served_within_one_of_what_was_trained_on(image_size):
    photo = Path(sklearn.datasets.__file__).parent / "images" / "china.jpg"
    served = decoded_images.decoded_image(tf.constant(photo.read_bytes()), image_size)
    np.testing.assert_allclose(served, data.load_image(photo, image_size).astype(float), atol=1.01)


def test_a_photograph_that_was_decoded_small_is_served_nearly_as_it_was_trained_on():
    photo = Path(sklearn.datasets.__file__).parent / "images" / "china.jpg"
    served = decoded_images.decoded_image(tf.constant(photo.read_bytes()), (96, 96))
    differences = np.abs(served - data.load_image(photo, (96, 96)))
    assert differences.mean() < 1.8
    assert differences.max() < 24


def augmented():
    """A model with augmentation at its top level and in a nested model."""
    inner = keras.Sequential([keras.layers.RandomFlip(), keras.layers.RandomTranslation(0.3, 0.3)])
    return classifier(inner, keras.layers.RandomContrast(0.9), keras.layers.Conv2D(4, 3))


def test_keras_itself_exports_augmentation_alive(images, tmp_path):
    """If this fails, `endpoints.serving_function` no longer needs training=False."""
    model = augmented()
    model.export(str(tmp_path / "alive"), verbose=False)
    alive = tf.saved_model.load(str(tmp_path / "alive"))
    assert np.abs(alive.serve(images) - alive.serve(images)).max() > 0.01


@pytest.mark.slow
def test_no_export_augments(images, tmp_path):
    model = augmented()
    expected = model.predict(images, verbose=0)
    serving.write(model, tmp_path / "served")
    signature = tf.saved_model.load(str(tmp_path / "served")).signatures["serving_default"]
    for _ in range(2):
        np.testing.assert_allclose(signature(images=tf.constant(images))["logits"], expected, atol=1e-5)
    export.tflite(model, tmp_path / "a.tflite", samples=images)
    np.testing.assert_allclose(litert.run(tmp_path / "a.tflite", images), expected, atol=1e-5)
    assert export.keras_file(model, tmp_path / "a.keras", samples=images).largest_difference < 1e-5


class AlwaysNoisy(keras.layers.Layer):
    """Augmentation that ignores the `training` argument."""

    def call(self, inputs):
        return inputs + keras.random.normal(keras.ops.shape(inputs), stddev=50.0)


@pytest.mark.slow
def test_augmentation_that_is_always_alive_is_refused(images, tmp_path):
    with pytest.raises(export.ParityError, match="does not match its model .* largest difference"):
        export.saved_model(classifier(AlwaysNoisy()), tmp_path / "noisy", samples=images)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_saved_model_takes_strings_where_the_model_does(tmp_path):
    vectorize = keras.layers.TextVectorization(vocabulary=["good", "bad"], output_mode="multi_hot")
    text = keras.Input((), dtype="string")
    model = keras.Model(text, keras.layers.Dense(2)(vectorize(text)))
    measured = export.saved_model(model, tmp_path / "text", samples=np.array(["good", "bad bad", "ugly"]))
    assert measured.agreement == 1
    assert set(tf.saved_model.load(str(tmp_path / "text")).signatures) == {"serving_default"}


@pytest.mark.slow
def test_saved_model_removes_the_file_when_it_answers_otherwise(images, tmp_path, monkeypatch):
    model = classifier()
    kernel = model.layers[-1].kernel
    predict = model.predict

    def predict_then_drift(*args, **kwargs):
        outputs = predict(*args, **kwargs)
        kernel.assign(kernel + 1.0)
        return outputs

    monkeypatch.setattr(model, "predict", predict_then_drift)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "old").write_text("stays")
    with pytest.raises(export.ParityError, match="does not match its model on .*largest difference"):
        export.saved_model(model, tmp_path / "model", samples=images, image_bytes=False, replace=True)
    assert [child.name for child in tmp_path.rglob("*")] == ["model", "old"]


@pytest.mark.parametrize("quantize", [None, "float16", "dynamic", "int8", "int16x8"])
def test_tflite_answers_as_predict(quantize, images, tmp_path):
    model = classifier()
    path = tmp_path / "colours.tflite"
    measured = export.tflite(
        model, path, quantize=quantize, samples=images, representative=images, labels=LABELS,
        tolerance=export.Tolerance(0.2, agreement=0.5),
    )  # fmt: skip
    interpreter = Interpreter(model_path=str(path))
    runner = interpreter.get_signature_runner("serving_default")
    assert list(runner.get_input_details()) == ["images"]
    assert list(runner.get_output_details()) == ["logits"]
    pixels = np.uint8 if quantize == "int8" else np.float32
    assert runner.get_input_details()["images"]["dtype"] == pixels
    assert tuple(runner.get_input_details()["images"]["shape"]) == (1, 8, 8, 3)
    difference = np.abs(litert.run(path, images) - model.predict(images, verbose=0)).max()
    assert difference == pytest.approx(measured.largest_difference, rel=1e-4, abs=1e-6)
    assert measured.kind == (quantize or "float32")
    assert measured.size_bytes == path.stat().st_size
    assert measured.gzip_bytes == len(gzip.compress(path.read_bytes()))
    assert metadata.labels(path.read_bytes()) == LABELS
    assert sorted(child.name for child in tmp_path.iterdir()) == [
        "colours.labels.txt", "colours.parity.json", "colours.tflite",
    ]  # fmt: skip


def test_tflite_carries_a_saved_model_and_the_labels_of_the_model(images, tmp_path):
    inputs = keras.Input((8, 8, 3))
    x = hub_layer.HubLayer(str(testing.saved_model(tmp_path / "module")))(keras.layers.Rescaling(1 / 255)(inputs))
    model = keras.Model(inputs, models.Labels(LABELS)(keras.layers.Dense(3)(x)))
    export.tflite(model, tmp_path / "hub.tflite", samples=images)
    assert metadata.labels((tmp_path / "hub.tflite").read_bytes()) == LABELS


def test_tflite_leaves_no_float_tensor_when_quantized_to_int8(images, tmp_path):
    export.tflite(
        classifier(), tmp_path / "a.tflite", quantize="int8", samples=images, representative=images,
        tolerance=export.Tolerance(0.2, agreement=0.5),
    )  # fmt: skip
    details = Interpreter(model_path=str(tmp_path / "a.tflite")).get_tensor_details()
    assert not [detail["name"] for detail in details if detail["dtype"] == np.float32]


def test_compact_files_answer_bit_by_bit_as_before(images, tmp_path):
    serving.write(classifier(), tmp_path / "model", batch_size=1)
    converter = tf.lite.TFLiteConverter.from_saved_model(str(tmp_path / "model"))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([image[None]] for image in images)
    before = converter.convert()
    after = compact.compact(before, {"conv2d", "dense"})
    (tmp_path / "before.tflite").write_bytes(before)
    (tmp_path / "after.tflite").write_bytes(after)
    answers = [litert.run(tmp_path / f"{name}.tflite", images) for name in ("before", "after")]
    np.testing.assert_array_equal(*answers)
    assert len(after) < 0.9 * len(before)
    assert {"conv2d", "dense"} <= {tensor.name.decode() for tensor in compact.unpacked(after).subgraphs[0].tensors}
    kernel = max((buffer.data for buffer in compact.unpacked(after).buffers if buffer.data is not None), key=len)
    assert after.find(kernel.tobytes()) % 16 == 0


def test_compact_files_keep_weights_that_lie_behind_the_tables(images, tmp_path):
    export.tflite(classifier(), tmp_path / "a.tflite", samples=images)
    model = compact.unpacked((tmp_path / "a.tflite").read_bytes())
    buffers = [buffer for buffer in model.buffers if buffer.data is not None]
    kernel = max(buffers, key=lambda buffer: len(buffer.data))
    weights, kernel.data, kernel.offset, kernel.size = kernel.data.tobytes(), None, 1 << 16, len(kernel.data)
    content = compact.packed(model).ljust(1 << 16, b"\0") + weights
    (tmp_path / "b.tflite").write_bytes(content)
    (tmp_path / "c.tflite").write_bytes(compact.compact(content, ()))
    answers = [litert.run(tmp_path / f"{name}.tflite", images) for name in "abc"]
    np.testing.assert_array_equal(answers[0], answers[1])
    np.testing.assert_array_equal(answers[0], answers[2])
    assert (tmp_path / "c.tflite").stat().st_size < 1 << 16


def test_tflite_removes_the_file_when_calibration_was_far_from_the_samples(images, tmp_path):
    with pytest.raises(export.ParityError, match=r"`dark.tflite` \(int8\) does not match its model") as caught:
        export.tflite(
            classifier(), tmp_path / "dark.tflite", quantize="int8", samples=images,
            representative=np.zeros_like(images), labels=LABELS,
        )  # fmt: skip
    assert caught.value.parity.agreement < 0.85 or caught.value.parity.relative_difference > 1
    assert not list(tmp_path.iterdir())


def test_tflite_names_the_operation_when_it_cannot_be_converted(tmp_path):
    inputs = keras.Input((8,))
    model = keras.Model(inputs, keras.layers.Lambda(tf.math.bessel_i0)(inputs), name="bessel")
    with pytest.raises(InputError, match="model 'bessel' cannot be converted to TFLite .*BesselI0"):
        export.tflite(model, tmp_path / "a.tflite", samples=np.ones((2, 8)))


def test_metadata_describes_pixels_and_labels(images, tmp_path):
    from ai_edge_litert import schema_py_generated as schema

    export.tflite(classifier(), tmp_path / "a.tflite", samples=images, labels=LABELS)
    model = schema.ModelT.InitFromPackedBuf((tmp_path / "a.tflite").read_bytes(), 0)
    (entry,) = [entry for entry in model.metadata if entry.name == b"TFLITE_METADATA"]
    description = bytes(model.buffers[entry.buffer].data)
    assert description[4:8] == b"M001"
    # Field and type numbers as in mediapipe/tasks/metadata/metadata_schema.fbs, version 1.5.0.
    root = flatbuffers.table.Table(description, flatbuffers.encode.Get(flatbuffers.packer.uoffset, description, 0))
    graph = item(root, 3)
    source, target = item(graph, 2), item(graph, 3)
    assert [text(root, 0), text(source, 0), text(target, 0)] == [b"colours", b"images", b"logits"]
    assert text(source, 1) == b"RGB image, pixels in [0, 255]."
    assert byte(inner(source, 3), 0) == 2  # ImageProperties
    assert byte(inner(inner(source, 3), 1), 0) == 1  # ColorSpaceType.RGB
    unit = item(source, 4)
    assert byte(unit, 0) == 1  # NormalizationOptions
    assert [number(inner(unit, 1), 0), number(inner(unit, 1), 1)] == [0.0, 1.0]  # mean, standard deviation
    assert [number(inner(source, 5), 0), number(inner(source, 5), 1)] == [255.0, 0.0]  # largest, smallest
    assert (text(item(target, 6), 0), byte(item(target, 6), 2)) == (b"labels.txt", 2)  # TENSOR_AXIS_LABELS


def at(table, field):
    return table.Pos + table.Offset(4 + 2 * field)


def inner(table, field):
    return flatbuffers.table.Table(table.Bytes, table.Indirect(at(table, field)))


def item(table, field):
    return flatbuffers.table.Table(table.Bytes, table.Indirect(table.Vector(table.Offset(4 + 2 * field))))


def text(table, field):
    return table.String(at(table, field))


def byte(table, field):
    return table.Get(flatbuffers.number_types.Uint8Flags, at(table, field))


def number(table, field):
    return table.Get(flatbuffers.number_types.Float32Flags, table.Vector(table.Offset(4 + 2 * field)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"path": "a.bin"}, "`path` must end in .tflite"),
        ({"quantize": "int2"}, "unknown quantization 'int2'"),
        ({"quantize": "int8"}, "`representative` must be given"),
        ({"io": "int32"}, "unknown io 'int32'"),
        ({"activation": "relu"}, "unknown activation 'relu'"),
        ({"labels": ["one"]}, "`labels` must name each of the model's 3 outputs"),
        ({"labels": ["a", "b\nc", "d"]}, "`labels` must be one line each"),
        ({"samples": np.zeros((0, 8, 8, 3))}, "`samples` must hold at least one"),
        ({"samples": np.zeros((2, 9, 8, 3))}, "`samples` must have the shape of the model's input"),
        ({"quantize": "int8", "representative": np.zeros((0, 8, 8, 3))}, "`representative` must hold at least one"),
        ({"quantize": "int8", "representative": np.zeros((2, 4))}, "`representative` must have the shape"),
    ],
)
def test_tflite_refuses_what_it_cannot_use(change, message, images, tmp_path):
    arguments = {"path": "a.tflite", "samples": images[:2], **change}
    with pytest.raises(InputError, match=message):
        export.tflite(classifier(), tmp_path / arguments.pop("path"), **arguments)
    assert not list(tmp_path.iterdir())


def test_exports_refuse_an_existing_path(images, tmp_path):
    (tmp_path / "a.tflite").write_text("mine")
    with pytest.raises(FileExistsError, match="a.tflite exists"):
        export.tflite(classifier(), tmp_path / "a.tflite", samples=images)
    with pytest.raises(FileExistsError, match="exists"):
        export.saved_model(classifier(), tmp_path, samples=images)
    assert (tmp_path / "a.tflite").read_text() == "mine"


def test_exports_refuse_a_path_below_a_file(images, tmp_path):
    (tmp_path / "notes").write_text("no folder")
    for write, name in ((export.tflite, "a.tflite"), (export.saved_model, "a")):
        with pytest.raises(
            InputError, match="`path` must be in a writable folder.*notes', which is not a folder. Choose"
        ):
            write(classifier(), tmp_path / "notes" / name, samples=images)


def test_exports_refuse_models_they_cannot_trace(images, tmp_path):
    with pytest.raises(TypeError, match="`model` must be a keras.Model"):
        export.saved_model(object(), tmp_path / "a", samples=images)
    with pytest.raises(InputError, match="`model` must be built"):
        export.saved_model(keras.Sequential([keras.layers.Dense(1)]), tmp_path / "a", samples=images)
    inputs = keras.Input((4,))
    with pytest.raises(InputError, match="one input and one output"):
        export.saved_model(keras.Model(inputs, [inputs, inputs + 1]), tmp_path / "a", samples=images)
    probabilities = keras.Model(inputs, keras.layers.Softmax()(inputs))
    with pytest.raises(InputError, match="already"):
        export.saved_model(probabilities, tmp_path / "a", samples=np.ones((2, 4)), activation="softmax")


def test_saved_model_refuses_encoded_images_where_samples_are_no_pixels(images, tmp_path):
    with pytest.raises(InputError, match="image_bytes=False"):
        export.saved_model(classifier(), tmp_path / "a", samples=images / 255)


def test_check_measures_differences_and_agreement():
    reference = np.array([[4.0, 0.0], [0.0, 2.0], [1.0, 0.0], [0.0, 1.0]])
    outputs = np.array([[4.0, 0.0], [0.0, 1.0], [0.0, 1.0], [0.0, 1.0]])
    measured = parity.check(
        reference,
        outputs,
        file="a",
        kind="int8",
        size_bytes=1,
        gzip_bytes=1,
        tolerance=export.Tolerance(0.25, agreement=0.75),
    )
    assert (measured.agreement, measured.largest_difference, measured.relative_difference) == (0.75, 1.0, 0.25)


def test_check_holds_what_is_right_against_the_model():
    reference, targets = np.eye(4).repeat(25, axis=0), np.repeat([0, 1, 2, 3], 25)
    outputs = reference.copy()
    outputs[:3] = np.roll(outputs[:3], 1, axis=1)  # 3 of 100 are wrong
    loose = {"file": "a", "kind": "int8", "size_bytes": 1, "gzip_bytes": 1, "targets": targets}
    measured = parity.check(reference, outputs, **loose, tolerance=export.Tolerance(2.0, 0.5, score_loss_fraction=0.03))
    assert (measured.measure, measured.score, measured.model_score) == ("accuracy", 0.97, 1.0)
    with pytest.raises(export.ParityError, match=r"accuracy 0.9700, the model's 1.0000 \(at most 0.02 less\)"):
        parity.check(reference, outputs, **loose, tolerance=export.Tolerance(2.0, 0.5, score_loss_fraction=0.02))
    one_hot = {**loose, "targets": np.eye(4)[targets]}
    assert parity.check(reference, outputs, **one_hot).score == 0.97
    several = {**loose, "targets": np.eye(4)[targets], "threshold": 0.5, "task": "multi_label"}
    assert parity.check(reference, outputs, **several).score == pytest.approx(1 - 6 / 400)
    numbers = {**loose, "targets": np.eye(4)[targets], "task": "regression"}
    measured = parity.check(reference, outputs, **numbers, tolerance=export.Tolerance(2.0, 0.5))
    residual = ((outputs - reference) ** 2).sum(axis=0) / ((reference - reference.mean(axis=0)) ** 2).sum(axis=0)
    assert (measured.measure, measured.score) == ("R²", pytest.approx(np.mean(1 - residual)))


def test_the_loss_of_one_sample_is_always_allowed():
    reference, outputs = np.eye(4), np.eye(4)[[0, 1, 2, 2]]
    sizes = {"file": "a", "kind": "int8", "size_bytes": 1, "gzip_bytes": 1}
    assert parity.check(reference, outputs, **sizes, targets=np.arange(4)).score == 0.75


def test_check_compares_single_outputs_by_the_threshold():
    measured = parity.check(
        np.array([[0.4], [0.6]]),
        np.array([[0.45], [0.55]]),
        file="a",
        kind="int8",
        size_bytes=1,
        gzip_bytes=1,
        threshold=0.5,
    )
    assert measured.agreement == 1


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ([[1.0, np.nan]], "largest difference nan"),
        ([[1.0]], "outputs have shape"),
        ([[0.0, 1.0]], "largest difference 1"),
    ],
)
def test_check_raises_past_the_tolerance(outputs, message):
    with pytest.raises(export.ParityError, match=message):
        parity.check(np.array([[1.0, 0.0]]), np.array(outputs), file="a", kind="float32", size_bytes=1, gzip_bytes=1)


def test_check_refuses_a_model_that_answers_nan():
    with pytest.raises(InputError, match="NaN"):
        parity.check(np.array([[np.nan]]), np.array([[1.0]]), file="a", kind="float32", size_bytes=1, gzip_bytes=1)


@pytest.mark.parametrize("arguments", [(0, 0.5), (float("nan"), 0.5), (0.1, 1.5)])
def test_tolerance_refuses_impossible_shares(arguments):
    with pytest.raises(InputError, match="must"):
        export.Tolerance(*arguments)


def test_draw_takes_data_sets_and_examples(images):
    model = classifier()
    dataset = tf.data.Dataset.from_tensor_slices((images, np.zeros((40, 3), "float32"))).batch(16).repeat()
    np.testing.assert_array_equal(samples.draw(dataset, model, count=20), images[:20])

    examples = data.Examples(np.repeat([0, 1], 20), ("a", "b"), images.astype("uint8"))
    inputs, targets = samples.draw_with_targets(examples, model, count=4)
    np.testing.assert_array_equal(inputs, images[[0, 1, 20, 21]])
    np.testing.assert_array_equal(targets, [0, 0, 1, 1])
    assert len(samples.draw(examples, model, count=None)) == 40
    with pytest.raises(InputError, match="infinite dataset"):
        samples.draw(dataset, model, count=None)
    with pytest.raises(TypeError, match="`samples` must be an array"):
        samples.draw(Path("a"), model, count=4)


def test_stratified_gives_every_class_its_share():
    strata = np.array([0] * 60 + [1] * 30 + [2] * 10)
    np.testing.assert_array_equal(np.bincount(strata[samples.stratified(strata, 20)]), [12, 6, 2])


def test_an_outlier_channel_stays_in_float_until_a_kernel_has_read_it(images, tmp_path):
    """The range of one channel is 300 times as wide as that of the 15 others, which int8 rounds away; pooling keeps it."""
    layers, inputs = keras.layers, keras.Input((8, 8, 3))
    x = layers.Conv2D(8, 3, activation="relu", padding="same", name="first")(inputs)
    outliers = layers.Conv2D(16, 3, padding="same", name="outliers")
    x = layers.ReLU(name="relu")(layers.MaxPooling2D(name="pool")(outliers(x)))
    reader = layers.Conv2D(16, 3, activation="relu", name="reader")
    x = layers.GlobalAveragePooling2D(name="mean")(layers.Conv2D(8, 1, name="last")(reader(x)))
    model = keras.Model(inputs, layers.Dense(3, name="head")(x))
    outliers.kernel.assign(outliers.kernel * np.where(np.arange(16) == 0, 300.0, 1.0))
    reader.kernel.assign(reader.kernel / np.where(np.arange(16) == 0, 3000.0, 1.0)[:, None])
    differences, floats, loose = [], [], export.Tolerance(2.0, agreement=0.0)
    for count in (0, 1):
        path = tmp_path / f"{count}.tflite"
        options = {"quantize": "int8", "representative": images, "float_layers": count, "tolerance": loose}
        differences.append(export.tflite(model, path, samples=images, **options).largest_difference)
        tensors = Interpreter(str(path)).get_tensor_details()
        # Float kernels and biases have the name of the layer too.
        floats.append({tensor["name"] for tensor in tensors if tensor["dtype"] == np.float32} - {"first"})
    assert not floats[0]
    assert {"outliers", "reader"} <= floats[1]
    assert floats[1] & {"pool", "relu"}
    assert not floats[1] & {"last", "mean"}
    assert differences[1] < differences[0] / 3
    with export.Session(model, samples=images) as session:  # measures the noise once for both
        for count in (2, 1):
            options = {"quantize": "int8", "representative": images, "float_layers": count, "tolerance": loose}
            session.tflite(tmp_path / f"shared_{count}.tflite", **options)
    assert (tmp_path / "shared_1.tflite").read_bytes() == (tmp_path / "1.tflite").read_bytes()


def test_noise_share_is_a_mean_over_channels():
    reference = np.array([[[0.4, 90.0, 0.0], [0.3, 60.0, 0.0]]], "float32")
    integers = np.array([[[0, 90, 7], [0, 61, 7]]], "int8") - np.array([-7, -7, 0], "int8")
    share = selective.noise_share(reference, integers, 1.0, 7)
    assert share == pytest.approx((0.5 + 1 / (1 + 90**2 + 60**2) + 0) / 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"float_layers": -1}, "`float_layers` must be a whole number >= 0"),
        ({"float_layers": 1, "quantize": "dynamic"}, '`float_layers` needs quantize="int8"'),
        ({"float_layers": 99}, "`float_layers` must leave an operation in int8. Received: 99 of"),
    ],
)
def test_float_layers_refuse_what_they_cannot_do(change, message, images, tmp_path):
    options = {"quantize": "int8", "representative": images, "samples": images, **change}
    with pytest.raises(InputError, match=message):
        export.tflite(classifier(), tmp_path / "a.tflite", **options)


def test_costs_are_ratios_to_the_first_file(tmp_path):
    """A network of a hundred times the work takes longer, and one with more weights holds more memory."""
    paths = []
    for name, units in (("small", 16), ("large", 2000)):
        inputs = keras.Input((64,))
        x = keras.layers.Dense(units, activation="relu")(keras.layers.Dense(units, activation="relu")(inputs))
        converter = tf.lite.TFLiteConverter.from_keras_model(keras.Model(inputs, keras.layers.Dense(2)(x)))
        paths.append(tmp_path / f"{name}.tflite")
        paths[-1].write_bytes(converter.convert())
    small, large = export.costs(paths, threads=1, repeats=5)
    quick, slow = benchmark.seconds(paths, budget_seconds=0.1)
    assert 0 < quick < slow
    assert (small.file, small.time_ratio, small.memory_ratio, small.threads) == ("small.tflite", 1.0, 1.0, 1)
    assert large.time_ratio == large.seconds / small.seconds > 5
    assert large.memory_bytes > small.memory_bytes + 4 * 2000 * 2000
    with pytest.raises(InputError, match="`paths` must not be empty"):
        export.costs([])
    with pytest.raises(FileNotFoundError, match="is not a file"):
        export.costs([tmp_path / "nowhere.tflite"])
