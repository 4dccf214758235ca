import http.server
import json
import os
import shutil
import subprocess
import sys
import tarfile
import threading
import zipfile
from pathlib import Path

import hub_comparison
import keras
import numpy as np
import pytest
import tensorflow as tf

from kerastrain import testing
from kerastrain.errors import InputError
from kerastrain.hub import modules
from kerastrain.hub.layer import HubLayer

IMAGES, TARGETS = hub_comparison.IMAGES, hub_comparison.TARGETS


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return hub_comparison.image_module(tmp_path_factory.mktemp("modules") / "images")


@pytest.fixture(scope="module")
def text_folder(tmp_path_factory):
    return hub_comparison.text_module(tmp_path_factory.mktemp("modules") / "text")


@pytest.fixture(scope="module")
def tf1_folder(tmp_path_factory):
    return hub_comparison.tf1_module(tmp_path_factory.mktemp("modules") / "tf1")


def model_of(layer, shape=(8, 8, 3), dtype="float32", units=2):
    inputs = keras.Input(shape, dtype=dtype)
    return keras.Model(inputs, keras.layers.Dense(units, name="dense")(layer(inputs)))


def test_weights_are_the_modules_own(folder):
    layer = HubLayer(folder, trainable=True)
    module = layer.resolved_object
    layer.trainable_weights[0].assign(np.ones((3, 3, 3, 4)))
    np.testing.assert_array_equal(module.variables[0], np.ones((3, 3, 3, 4)))
    assert [v.name for v in layer.trainable_weights] == ["0_conv_kernel", "1_norm_gamma", "2_norm_beta"]
    assert [v.name for v in layer.non_trainable_weights] == ["3_norm_moving_mean", "4_norm_moving_variance"]


def test_trainable_can_change_after_building(folder):
    layer = HubLayer(folder)
    model = model_of(layer)
    assert (len(model.trainable_weights), model.losses) == (2, [])
    layer.trainable = True
    assert len(model.trainable_weights) == 5
    kernel = layer.resolved_object.variables[0].numpy()
    np.testing.assert_allclose(sum(model.losses), 0.01 * np.sum(kernel**2), rtol=1e-5)
    layer.trainable = False
    assert (len(model.trainable_weights), model.losses) == (2, [])


@pytest.mark.parametrize(
    ("trainable", "freeze_statistics", "moves"), [(False, False, False), (True, False, True), (True, True, False)]
)
def test_batch_norm_moves_only_where_it_trains(folder, trainable, freeze_statistics, moves):
    layer = HubLayer(folder, trainable=trainable, freeze_batch_norm_statistics=freeze_statistics)
    model = model_of(layer)
    model.compile("sgd", "mse")
    model.fit(IMAGES, TARGETS, batch_size=6, verbose=0)
    model.predict(IMAGES, verbose=0)
    kernel = kernel_of(folder)
    expected = 0.1 * np.mean(tf.nn.conv2d(IMAGES, kernel, 1, "SAME"), axis=(0, 1, 2)) if moves else np.zeros(4)
    np.testing.assert_allclose(layer.resolved_object.variables[3], expected, atol=1e-6)


def kernel_of(folder):
    return tf.saved_model.load(str(folder)).variables[0].numpy()


def test_none_among_variables_is_passed_over(folder):
    module = tf.saved_model.load(str(folder))
    listed = list(module.variables)
    plain = type("Module", (), {"__call__": lambda self, x, training=False: module(x, training=training)})()
    plain.variables, plain.trainable_variables = [None, *listed], [listed[0], None]
    layer = HubLayer(plain, trainable=True)
    assert (len(layer.weights), len(layer.trainable_weights)) == (5, 1)
    np.testing.assert_allclose(layer(IMAGES), module(IMAGES), atol=1e-6)


def test_two_layers_on_one_module_train_its_variables_once(folder):
    module = tf.saved_model.load(str(folder))
    inputs = keras.Input((8, 8, 3))
    first, second = HubLayer(module, trainable=True), HubLayer(module, trainable=True)
    model = keras.Model(inputs, keras.layers.add([first(inputs), second(inputs)]))
    assert len(model.trainable_weights) == 3
    before = module.variables[1].numpy()
    model.compile(keras.optimizers.SGD(1.0), "mse")
    with tf.GradientTape() as tape:
        twice = module(IMAGES, training=False)
        loss = tf.reduce_mean((2 * twice - 1.0) ** 2)
    gradient = tape.gradient(loss, module.variables[1])
    first.freeze_batch_norm_statistics = second.freeze_batch_norm_statistics = True
    model.fit(IMAGES, np.ones((6, 4)), batch_size=6, verbose=0)
    np.testing.assert_allclose(module.variables[1], before - gradient, atol=1e-5)


def shared_model(module):
    inputs = keras.Input((8, 8, 3))
    first = HubLayer(module, trainable=True, freeze_batch_norm_statistics=True)
    second = HubLayer(module, trainable=True, freeze_batch_norm_statistics=True)
    outputs = keras.layers.Dense(2)(keras.layers.concatenate([first(inputs), second(inputs[:, ::2])]))
    return keras.Model(inputs, outputs)


@pytest.mark.slow
@pytest.mark.parametrize("arrives", ["at once", "with the file's assets"])
def test_two_layers_on_one_module_still_share_it_when_a_file_is_opened(folder, tmp_path, arrives):
    moved = shutil.copytree(folder, tmp_path / "module")
    (moved / "note.txt").write_text(arrives)  # changes the fingerprint to one that no other test has loaded
    model = shared_model(tf.saved_model.load(str(moved)))
    model.compile(keras.optimizers.Adam(0.01), "mse")
    model.fit(IMAGES, TARGETS, batch_size=6, verbose=0)
    model.save(tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "model.keras") as file:
        assert sum(name.endswith("saved_model.pb") for name in file.namelist()) == 1
    if arrives == "at once":
        modules.load(moved)
    with modules.allow_modules():
        back, other = (keras.models.load_model(tmp_path / "model.keras") for _ in range(2))
    first, second = (layer for layer in back.layers if isinstance(layer, HubLayer))
    assert first.module is second.module
    assert (len(back.weights), len(back.trainable_weights), len(back.losses)) == (7, 5, 1)
    assert len(back.optimizer.variables) == len(model.optimizer.variables)
    for trained in (model, back):
        trained.fit(IMAGES, TARGETS, batch_size=6, verbose=0)
    for ours, theirs in zip(back.weights, model.weights, strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), atol=1e-6)
    assert other.layers[1].module is not first.module
    assert not np.array_equal(other.weights[0].numpy(), back.weights[0].numpy())


def test_a_module_that_one_of_its_layers_embeds_travels(folder):
    module = tf.saved_model.load(str(folder))
    first, second = HubLayer(module, embed=False), HubLayer(module)
    assert (first.embed, second.embed) == (True, True)


def test_bfloat16_policy_runs_the_module_in_its_own_dtype(folder):
    layer = HubLayer(folder, dtype="mixed_bfloat16")
    outputs = layer(tf.cast(IMAGES, tf.bfloat16))
    assert outputs.dtype == tf.bfloat16
    expected = tf.saved_model.load(str(folder))(tf.cast(tf.cast(IMAGES, tf.bfloat16), tf.float32))
    np.testing.assert_array_equal(outputs, tf.cast(expected, tf.bfloat16))


@pytest.mark.slow
def test_sequential_and_subclassed_models_train_and_come_back(folder, tmp_path):
    sequential = keras.Sequential([keras.Input((8, 8, 3)), HubLayer(folder, trainable=True), keras.layers.Dense(2)])
    for name, model in {"sequential": sequential, "subclassed": Subclassed(HubLayer(folder, trainable=True))}.items():
        model.compile("adam", "mse")
        model.fit(IMAGES, TARGETS, verbose=0)
        model.save(tmp_path / f"{name}.keras")
        back = keras.models.load_model(tmp_path / f"{name}.keras")
        np.testing.assert_array_equal(back.predict(IMAGES, verbose=0), model.predict(IMAGES, verbose=0))


@keras.saving.register_keras_serializable("tests")
class Subclassed(keras.Model):
    def __init__(self, layer, **options):
        super().__init__(**options)
        self.layer = layer
        self.dense = keras.layers.Dense(2)

    def call(self, inputs):
        return self.dense(self.layer(inputs))

    def get_config(self):
        return {"layer": keras.saving.serialize_keras_object(self.layer)}

    @classmethod
    def from_config(cls, config):
        return cls(keras.saving.deserialize_keras_object(config["layer"]))


OPEN_ELSEWHERE = """
import sys, numpy as np, keras, tensorflow as tf
import kerastrain.hub.layer
images = tf.constant(np.load(sys.argv[2]))
try:
    keras.models.load_model(sys.argv[1])
    raise SystemExit("safe mode let an unknown module in")
except ValueError as error:
    assert "allow_modules" in str(error), error
model = keras.models.load_model(sys.argv[1], safe_mode=False)
np.save(sys.argv[3] + "/outputs.npy", model.predict(images, verbose=0))
model.export(sys.argv[3] + "/exported", verbose=False)
model.save(sys.argv[3] + "/again.keras")
if model.compiled:
    model.fit(images, np.zeros((len(images), 2)), batch_size=6, verbose=0)
    np.save(sys.argv[3] + "/trained.npy", model.predict(images, verbose=0))
"""


def open_elsewhere(file, inputs, out):
    """Opens a `.keras` file in a new process and returns the folder with its outputs, exports and saved models."""
    np.save(out / "inputs.npy", inputs)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-c", OPEN_ELSEWHERE, str(file), str(out / "inputs.npy"), str(out)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    return out


@pytest.mark.slow
def test_a_keras_file_opens_where_the_module_is_not(folder, tmp_path):
    moved = shutil.copytree(folder, tmp_path / "module")
    model = model_of(HubLayer(moved, trainable=True, freeze_batch_norm_statistics=True))
    model.compile(keras.optimizers.Adam(0.01), "mse")
    model.fit(IMAGES, TARGETS, batch_size=6, verbose=0)
    model.save(tmp_path / "model.keras")
    expected = model.predict(IMAGES, verbose=0)
    shutil.rmtree(moved)
    out = open_elsewhere(tmp_path / "model.keras", IMAGES, tmp_path)
    np.testing.assert_allclose(np.load(out / "outputs.npy"), expected, atol=1e-6)
    exported = tf.saved_model.load(str(out / "exported"))
    np.testing.assert_allclose(exported.serve(IMAGES), expected, atol=1e-5)
    with modules.allow_modules():
        again = keras.models.load_model(out / "again.keras")
    np.testing.assert_allclose(again.predict(IMAGES, verbose=0), expected, atol=1e-6)
    # The optimizer, built before the module was loaded, continued with the module's variables and its own moments.
    model.fit(IMAGES, np.zeros((6, 2)), batch_size=6, verbose=0)
    np.testing.assert_allclose(np.load(out / "trained.npy"), model.predict(IMAGES, verbose=0), atol=1e-5)


@pytest.mark.slow
def test_a_text_module_brings_its_vocabulary(text_folder, tmp_path):
    moved = shutil.copytree(text_folder, tmp_path / "module")
    model = model_of(HubLayer(moved), shape=(), dtype="string")
    model.save(tmp_path / "model.keras")
    sentences = np.array(["good film", "bad", "what"])
    expected = model.predict(tf.constant(sentences), verbose=0)
    shutil.rmtree(moved)
    open_elsewhere(tmp_path / "model.keras", sentences, tmp_path)
    np.testing.assert_allclose(np.load(tmp_path / "outputs.npy"), expected, atol=1e-6)
    exported = tf.saved_model.load(str(tmp_path / "exported"))
    np.testing.assert_allclose(exported.serve(tf.constant(sentences)), expected, atol=1e-5)


def test_handle_only_files_name_and_pin_the_module(folder, tmp_path):
    model = model_of(HubLayer(folder, embed=False))
    model.save(tmp_path / "model.keras")
    assert (tmp_path / "model.keras").stat().st_size < 40_000
    config = model.layers[1].get_config()
    source = config["handle"]["config"]
    assert source["handle"] == str(folder)
    changed = {**config, "handle": {**config["handle"], "config": {**source, "sha256": "0" * 64}}}
    with modules.allow_modules(), pytest.raises(InputError, match="not the pinned one"):
        HubLayer.from_config(changed)


def test_a_layer_of_a_loaded_object_can_be_saved(folder, tmp_path):
    model = model_of(HubLayer(tf.saved_model.load(str(folder))))
    model.save(tmp_path / "model.keras")
    with modules.allow_modules():
        back = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(back.predict(IMAGES, verbose=0), model.predict(IMAGES, verbose=0), atol=1e-6)


def test_archives_and_pins_resolve(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "cache"))
    archive = tmp_path / "module.tar.gz"
    with tarfile.open(archive, "w:gz") as file:
        file.add(folder, arcname=".")
    pin = modules.fingerprint(folder)
    layer = HubLayer(f"{archive}#sha256={pin}")
    np.testing.assert_allclose(layer(IMAGES), tf.saved_model.load(str(folder))(IMAGES), atol=1e-6)
    shell = "find . -type f -printf '%P\\n' | LC_ALL=C sort | xargs -d '\\n' sha256sum | sha256sum"
    assert subprocess.check_output(shell, shell=True, cwd=folder, text=True).split()[0] == pin


@pytest.mark.parametrize(
    ("handle", "error", "match"),
    [
        ("{folder}#sha256=" + "0" * 64, InputError, "not the pinned one"),
        ("{folder}#sha256=12", InputError, "64 hexadecimal digits"),
        ("{folder}/nowhere", FileNotFoundError, "does not exist"),
        ("{folder}/variables", InputError, "holds no saved_model.pb"),
        ("{folder}/nowhere.tar.gz", FileNotFoundError, "no archive"),
    ],
)
def test_a_handle_that_does_not_resolve_says_why(folder, handle, error, match):
    with pytest.raises(error, match=match):
        HubLayer(handle.format(folder=folder))


def test_a_broken_archive_and_a_broken_module_say_so(tmp_path, monkeypatch):
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "cache"))
    (tmp_path / "module.tar.gz").write_bytes(b"no archive")
    with pytest.raises(InputError, match="cannot be unpacked"):
        HubLayer(tmp_path / "module.tar.gz")
    (tmp_path / "module").mkdir()
    (tmp_path / "module" / "saved_model.pb").write_bytes(b"no graph")
    with pytest.raises(InputError, match="cannot be loaded"):
        HubLayer(tmp_path / "module")


def test_an_offline_machine_names_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "cache"))
    with pytest.raises(ConnectionError, match=f"copy the folder {tmp_path}/cache/[0-9a-f]{{40}} here"):
        HubLayer("https://tfhub.dev/google/imagenet/mobilenet_v2_100_224/feature_vector/5")
    with pytest.raises(
        ConnectionError, match=r"'https://www\.kaggle\.com/models/google/nnlm/TensorFlow2/en-dim50/1' is not"
    ):
        HubLayer("kaggle:google/nnlm/TensorFlow2/en-dim50/1")
    with pytest.raises(ConnectionError, match=r"'https://tfhub\.dev/google/nnlm-en-dim50/2' is not"):
        HubLayer("hub:google/nnlm-en-dim50/2")


class ModuleServer(http.server.BaseHTTPRequestHandler):
    """Serves a module as tfhub.dev does: the URL redirects to an archive if the query names its format."""

    def do_GET(self):  # noqa: N802
        self.server.requested.append(self.path)
        if self.path == "/owner/images/1?tf-hub-format=compressed":
            self.send_response(302)
            self.send_header("Location", "/storage/images.tar.gz")
            self.end_headers()
        elif self.path == "/storage/images.tar.gz":
            self.send_response(200)
            self.end_headers()
            self.wfile.write(self.server.archive)
        else:
            self.send_error(404)

    def log_message(self, *_):
        pass


@pytest.fixture
def module_server(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "cache"))
    with tarfile.open(tmp_path / "images.tar.gz", "w:gz") as file:
        file.add(folder, arcname=".")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), ModuleServer) as server:
        server.archive, server.requested = (tmp_path / "images.tar.gz").read_bytes(), []
        server.address = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_an_address_is_fetched_once_pinned_and_works_without_its_server(folder, module_server):
    address = f"{module_server.address}/owner/images/1"
    pin = modules.fingerprint(folder)
    layer = HubLayer(f"{address}#sha256={pin}")
    np.testing.assert_array_equal(layer(IMAGES), tf.saved_model.load(str(folder))(IMAGES))
    assert module_server.requested == ["/owner/images/1?tf-hub-format=compressed", "/storage/images.tar.gz"]
    HubLayer(address)
    assert len(module_server.requested) == 2
    with pytest.raises(InputError, match=f"its sha256 is {pin}, the handle says 0{{64}}"):
        HubLayer(f"{address}#sha256={'0' * 64}")
    with pytest.raises(
        ConnectionError, match=r"HTTP Error 404: Not Found. .* copy the folder .*cache/[0-9a-f]{40} here"
    ):
        HubLayer(f"{module_server.address}/owner/images/2")


def test_what_a_server_sends_must_be_an_archive(module_server):
    module_server.archive = b"<html>please log in</html>"
    with pytest.raises(ConnectionError, match="does not appear to be a valid module"):
        HubLayer(f"{module_server.address}/owner/images/1")


def test_a_folder_on_a_file_system_of_tensorflow_is_copied_into_the_cache(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "cache"))
    for path in filter(Path.is_file, folder.rglob("*")):
        remote = f"ram://bucket/images/{path.relative_to(folder)}"
        tf.io.gfile.makedirs(os.path.dirname(remote))
        with tf.io.gfile.GFile(remote, "wb") as file:
            file.write(path.read_bytes())
    pinned = f"ram://bucket/images#sha256={modules.fingerprint(folder)}"
    np.testing.assert_array_equal(HubLayer(pinned)(IMAGES), HubLayer(folder)(IMAGES))
    tf.io.gfile.rmtree("ram://bucket/images")
    HubLayer(pinned)
    with pytest.raises(ConnectionError, match="'ram://bucket/other' is not in the cache .*: NotFoundError"):
        HubLayer("ram://bucket/other")
    with pytest.raises(ConnectionError, match="File system scheme 'hdfs' not implemented"):
        HubLayer("hdfs://bucket/other")


def signatures_only(path):
    module = tf.Module()
    module.weight = tf.Variable(2.0)
    spec = tf.TensorSpec((None, 3), tf.float32)
    double = tf.function(lambda x: {"twice": module.weight * x, "sum": tf.reduce_sum(x, 1)}, input_signature=[spec])
    both = tf.function(lambda a, b: {"out": a - b}, input_signature=[spec, spec])
    tf.saved_model.save(module, str(path), signatures={"double": double, "both": both})
    return path


def test_signatures_are_called_by_name(tmp_path):
    path = signatures_only(tmp_path / "module")
    rows = np.arange(6, dtype="float32").reshape(2, 3)
    np.testing.assert_array_equal(HubLayer(path, signature="double", output_key="twice")(rows), 2 * rows)
    everything = HubLayer(path, signature="double", signature_outputs_as_dict=True)(rows)
    np.testing.assert_array_equal(everything["sum"], rows.sum(1))
    two = HubLayer(path, signature="both", output_key="out")
    np.testing.assert_array_equal(two({"a": rows, "b": np.ones_like(rows)}), rows - 1)
    with pytest.raises(InputError, match="takes a dict with a, b"):
        two(rows)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({}, r"set `signature` and `output_key`. It has both\(a: float32 \(None, 3\), .*; double\(.*-> sum, twice"),
        ({"signature": "doubel", "output_key": "sum"}, "Did you mean 'double'"),
        ({"signature": "double"}, "set `output_key` to one of sum, twice"),
        ({"signature": "double", "output_key": "twise"}, "Did you mean 'twice'"),
        ({"signature": "double", "output_key": "sum", "signature_outputs_as_dict": True}, "not both"),
        ({"signature_outputs_as_dict": True}, "needs a `signature`"),
        ({"signature": "double", "output_key": "sum", "trainable": True}, "a signature cannot be trained"),
    ],
)
def test_a_wrong_choice_of_signature_lists_the_right_ones(tmp_path, options, match):
    with pytest.raises(InputError, match=match):
        HubLayer(signatures_only(tmp_path / "module"), **options)


def test_a_tf1_module_infers_and_refuses_to_train(tf1_folder, tmp_path):
    layer = HubLayer(tf1_folder)
    expected = IMAGES.mean((1, 2)) @ np.full((3, 2), 0.5)
    np.testing.assert_allclose(layer(IMAGES), expected, atol=1e-6)
    with pytest.raises(InputError, match="a TF1 module cannot be trained"):
        HubLayer(tf1_folder, trainable=True)
    layer.trainable = True
    with pytest.raises(InputError, match="a TF1 module cannot be trained"):
        layer(IMAGES)
    layer.trainable = False
    model = model_of(layer)
    model.save(tmp_path / "model.keras")
    back = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(back.predict(IMAGES, verbose=0), model.predict(IMAGES, verbose=0))


def test_nested_inputs_outputs_and_arguments_come_back(tmp_path):
    module = tf.train.Checkpoint(weight=tf.Variable(3.0))
    module.variables = module.trainable_variables = [module.weight]

    @tf.function
    def call(inputs, scale=1.0):
        numbers, indices = inputs["numbers"], inputs["more"][0]
        return {"scaled": scale * module.weight * numbers, "pair": (indices + 1, numbers)}

    numbers, indices = tf.TensorSpec((None, 2)), tf.TensorSpec((None,), tf.int32)
    call.get_concrete_function({"numbers": numbers, "more": [indices]}, scale=2.0)
    module.__call__ = call
    tf.saved_model.save(module, str(tmp_path / "module"))
    layer = HubLayer(tmp_path / "module", arguments={"scale": 2.0}, trainable=True)
    inputs = {"numbers": keras.Input((2,), name="numbers"), "more": [keras.Input((), dtype="int32")]}
    model = keras.Model(inputs, layer(inputs))
    values = {"numbers": np.ones((2, 2), "float32"), "more": [np.array([4, 5], "int32")]}
    model.save(tmp_path / "model.keras")
    for nested in (model, keras.models.load_model(tmp_path / "model.keras")):
        outputs = nested(values)
        np.testing.assert_array_equal(outputs["scaled"], np.full((2, 2), 6.0))
        np.testing.assert_array_equal(outputs["pair"][0], [5, 6])
    key = HubLayer(tmp_path / "module", arguments={"scale": 2.0}, output_key="scaled")
    np.testing.assert_array_equal(key(values), np.full((2, 2), 6.0))
    with pytest.raises(InputError, match="unknown output_key 'scales'"):
        HubLayer(tmp_path / "module", arguments={"scale": 2.0}, output_key="scales")(values)


def test_output_shape_says_what_the_graph_does_not(tmp_path):
    def first_two(rows):
        return tf.numpy_function(lambda values: values[:, :2], [rows], tf.float32)

    layer = HubLayer(first_two, output_shape=[2])
    assert layer(keras.Input((3,))).shape == (None, 2)
    np.testing.assert_array_equal(layer(np.ones((4, 3), "float32")), np.ones((4, 2)))


def test_shapes_are_known_before_the_call_and_dtypes_stay_the_modules_own(folder, text_folder, tmp_path):
    assert HubLayer(folder).compute_output_shape((None, 8, 9, 3)) == (None, 4)
    assert HubLayer(text_folder).compute_output_shape((None,)) == (None, 4)
    both = HubLayer(signatures_only(tmp_path / "module"), signature="both", signature_outputs_as_dict=True)
    assert both.compute_output_shape({"a": (None, 3), "b": (None, 3)}) == {"out": (None, 3)}
    layer = HubLayer(lambda rows: {"index": tf.argmax(rows, 1), "pair": (rows, rows[:, :1])}, dtype="mixed_bfloat16")
    assert layer.compute_output_shape((7, 3)) == {"index": (7,), "pair": ((7, 3), (7, 1))}
    outputs = layer(keras.Input((3,)))
    assert (outputs["index"].dtype, outputs["pair"][1].dtype) == ("int64", "bfloat16")


def test_a_wrapper_of_keras_that_asks_for_shapes_takes_the_layer_and_comes_back(folder, tmp_path):
    clips = np.stack([IMAGES, IMAGES[::-1]], axis=1)
    frames = keras.layers.TimeDistributed(HubLayer(folder))
    model = keras.Sequential([keras.Input((2, 8, 8, 3)), frames, keras.layers.Flatten()])
    assert model.compute_output_shape((None, 2, 8, 8, 3)) == (None, 8)
    features = tf.saved_model.load(str(folder))(IMAGES)
    expected = np.concatenate([features, features[::-1]], axis=1)
    model.save(tmp_path / "model.keras")
    modules._loaded.clear()  # as in a new process, where the module is loaded after the model is built
    with modules.allow_modules():
        back = keras.models.load_model(tmp_path / "model.keras")
    for wrapped in (model, back):
        np.testing.assert_allclose(wrapped.predict(clips, verbose=0), expected, atol=1e-6)


def test_tags_choose_the_graph_and_are_saved(tf1_folder, tmp_path):
    layer = HubLayer(tf1_folder, tags=[])  # a TF1 Hub module has no tags
    model = model_of(layer)
    model.save(tmp_path / "model.keras")
    back = keras.models.load_model(tmp_path / "model.keras")
    assert back.layers[1].get_config()["handle"]["config"]["tags"] == []
    np.testing.assert_array_equal(back.predict(IMAGES, verbose=0), model.predict(IMAGES, verbose=0))
    with pytest.raises(InputError, match="cannot be loaded: .*train"):
        HubLayer(tf1_folder, tags=["train"])


def test_load_options_reach_tensorflow(folder):
    skip = tf.saved_model.LoadOptions(experimental_skip_checkpoint=True)
    for options, is_read in ((None, True), (skip, False)):
        kernel = HubLayer(folder, load_options=options).resolved_object.variables[0]
        assert bool(kernel.is_initialized()) == is_read


def test_a_keras_layer_is_no_handle():
    with pytest.raises(TypeError, match="is a Keras layer already"):
        HubLayer(keras.layers.Dense(2))


def test_a_config_alone_does_not_carry_the_module(folder):
    layer = HubLayer(folder)
    layer(IMAGES)
    config = json.loads(json.dumps(layer.get_config()))
    config["handle"]["config"]["sha256"] = "0" * 64
    with modules.allow_modules():
        waiting = HubLayer.from_config(config)
    with pytest.raises(InputError, match="is not loaded"):
        waiting(IMAGES)


@pytest.mark.slow
def test_two_replicas_equal_one(folder):
    weights = []
    for strategy in (
        None,
        tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"], cross_device_ops=tf.distribute.HierarchicalCopyAllReduce()),
    ):
        keras.utils.set_random_seed(0)
        with strategy.scope() if strategy else tf.device("CPU:0"):
            model = model_of(HubLayer(folder, trainable=True, freeze_batch_norm_statistics=True))
            model.compile(keras.optimizers.Adam(0.01), "mse")
        model.fit(IMAGES, TARGETS, batch_size=6, epochs=2, shuffle=False, verbose=0)
        weights.append([v.numpy() for v in model.weights])
    for one_device, two_devices in zip(*weights, strict=True):
        np.testing.assert_allclose(one_device, two_devices, atol=1e-6)


@pytest.mark.slow
def test_a_file_opens_under_a_strategy_and_goes_on(folder, tmp_path):
    moved = shutil.copytree(folder, tmp_path / "module")
    (moved / "note.txt").write_text("another fingerprint")
    model = model_of(HubLayer(moved, trainable=True, freeze_batch_norm_statistics=True))
    model.compile(keras.optimizers.Adam(0.01), "mse")
    model.fit(IMAGES, TARGETS, batch_size=6, verbose=0)
    model.save(tmp_path / "model.keras")
    modules._loaded.clear()
    shutil.rmtree(moved)
    strategy = tf.distribute.MirroredStrategy(
        ["CPU:0", "CPU:1"], cross_device_ops=tf.distribute.HierarchicalCopyAllReduce()
    )
    with strategy.scope(), modules.allow_modules():
        back = keras.models.load_model(tmp_path / "model.keras")
    for trained in (model, back):
        trained.fit(IMAGES, TARGETS, batch_size=6, verbose=0)
    for expected, weight in zip(model.weights, back.weights, strict=True):
        np.testing.assert_allclose(weight.numpy(), expected.numpy(), atol=1e-6)


def test_tflite_gives_the_same_answers(folder):
    from ai_edge_litert.interpreter import Interpreter

    model = model_of(HubLayer(folder))
    interpreter = Interpreter(model_content=tf.lite.TFLiteConverter.from_keras_model(model).convert())
    input_index = interpreter.get_input_details()[0]["index"]
    interpreter.resize_tensor_input(input_index, IMAGES.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(input_index, IMAGES)
    interpreter.invoke()
    outputs = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    np.testing.assert_allclose(outputs, model.predict(IMAGES, verbose=0), atol=1e-5)


@pytest.mark.slow
def test_it_compares_with_hub_keras_layer(folder, text_folder, tf1_folder, tmp_path):
    """The same three steps with `hub.KerasLayer` under tf_keras, in another process."""
    rows = hub_comparison.differences(folder, text_folder, tf1_folder, tmp_path)
    for quantity, (count, difference) in rows.items():
        assert count > 0, quantity
        assert difference <= (1e-5 if "three steps" in quantity else 1e-6), quantity
    table = (Path(__file__).parents[2] / "docs" / "hub_layer.md").read_text(encoding="utf-8")
    for quantity, (count, _) in rows.items():
        assert f"| {quantity} | {count} |" in table


def test_a_trusted_fingerprint_does_not_carry_another_module(folder, tmp_path):
    other = testing.saved_model(tmp_path / "other", features=4, seed=1)
    config = HubLayer(folder, embed=False).get_config()
    source = config["handle"]["config"]
    modules._loaded.pop(source["sha256"])
    forged = {**source, "handle": f"{other}#sha256={modules.fingerprint(other)}"}
    with modules.allow_modules(), pytest.raises(InputError, match="not the pinned one"):
        HubLayer.from_config({**config, "handle": {**config["handle"], "config": forged}})
