"""What a run needs is checked before TensorFlow starts, by `check` as by `train`."""

import importlib.util
import itertools
import subprocess
import sys

import pytest

from kerastrain import cli, config, testing
from kerastrain.errors import InputError
from kerastrain.recipe import networks, plan, run_room
from kerastrain.system import folders, optional_imports

TEXT = ["data.kind=text", "data.path=texts"]


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "texts").mkdir()
    for label in ("bad", "good"):
        (tmp_path / "texts" / f"{label}.txt").write_text("".join(f"a {label} film {number}\n" for number in range(30)))
    (tmp_path / "module").mkdir()
    (tmp_path / "module" / "saved_model.pb").write_bytes(b"")
    (tmp_path / "model.keras").write_bytes(b"")
    (tmp_path / "cut.keras").write_bytes(b"PK")
    (tmp_path / "notes.txt").write_text("mine")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "hub"))
    return tmp_path


def refused(capsys, monkeypatch, *arguments):
    """Returns the error message of arguments that lead to exit code 2."""
    monkeypatch.setattr(sys, "argv", ["kerastrain", *arguments])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 2
    return capsys.readouterr().err.strip().removeprefix("kerastrain: ")


@pytest.mark.parametrize("command", ["check", "train"])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            [*TEXT, "model.backbone=module", "export.formats=[saved_model, tflite_float32]"],
            "`export.formats` must be saved_model or keras for a Hub text module, which reads strings, and TFLite and ONNX "
            "have none. Received: tflite_float32, with the backbone '{place}/module'. Remove them, or train with "
            "keras:ngrams or keras:transformer.",
        ),
        (
            ["model.backbone=keras:Xeption"],
            "`model.backbone`: unknown network 'Xeption'. Known: {networks}. Did you mean 'Xception'?",
        ),
        (
            ["model.backbone=keras:embedding"],
            "`model.backbone`: unknown network 'embedding'. Known: {networks}. embedding is for texts: set data.kind.",
        ),
        (
            [*TEXT, "model.backbone=kerastrain:fractal_small"],
            "`model.backbone` must be for texts, such as keras:ngrams. Received: 'kerastrain:fractal_small', which is for "
            "images.",
        ),
        (
            ["model.backbone=keras:InceptionV3", "data.image_size=[64, 64]"],
            "`data.image_size` must be at least 75 by 75 pixels for InceptionV3. Received: [64, 64].",
        ),
        (
            ["model.backbone=keras:MobileNetV2", "model.weights=imagenet", "model.alpha=0.4"],
            "`model.alpha` must be one of 0.35, 0.5, 0.75, 1, 1.3, 1.4 with the ImageNet weights of MobileNetV2. Received: 0.4. "
            "Choose one of them, or set model.weights=random.",
        ),
        (
            ["model.backbone=keras:EfficientNetV2B0"],
            "the ImageNet weights of EfficientNetV2B0 are not on this machine, and storage.googleapis.com cannot be reached. "
            "Download https://storage.googleapis.com/tensorflow/keras-applications/efficientnet_v2/efficientnetv2-b0_notop.h5 "
            "on a machine with a network and put it there as {place}/models/efficientnetv2-b0_notop.h5, or give its path as "
            "model.weights. Without a download: model.backbone=kerastrain:efficientnet_lite0, which has ImageNet weights too, "
            "or model.weights=random.",
        ),
        (
            ["model.backbone=nowhere"],
            "no SavedModel at 'nowhere': the path does not exist. Other networks are named as kerastrain:NAME, "
            "keras:NAME, hf:OWNER/NAME or kerashub:PRESET.",
        ),
        (
            ["model.backbone=timm/resnet18.a1_in1k"],
            "no SavedModel at 'timm/resnet18.a1_in1k': the path does not exist. Did you mean hf:timm/resnet18.a1_in1k?",
        ),
        (
            ["model.backbone=https://huggingface.co/google/vit-base-patch16-224"],
            "a network of Hugging Face is named by hf:google/vit-base-patch16-224, or by its folder. Received: "
            "'https://huggingface.co/google/vit-base-patch16-224'.",
        ),
        (
            ["model.backbone=hub:google/nothing/1"],
            "the module 'https://tfhub.dev/google/nothing/1' is not in the cache and could not be downloaded: https://tfhub.dev "
            "does not answer. Load it once on a machine with internet access and copy the folder "
            "{place}/hub/1a448b0422fa785b0a8d02a88dce0c20913043a5 here, or pass the path of a downloaded SavedModel. The "
            "environment variable TFHUB_CACHE_DIR moves the cache.",
        ),
        (
            ["model.backbone=efficientnet-lite0"],
            "no SavedModel at 'efficientnet-lite0': the path does not exist. Did you mean kerastrain:efficientnet_lite0?",
        ),
        (
            ["model.backbone=MobileNetV2"],
            "no SavedModel at 'MobileNetV2': the path does not exist. Did you mean keras:MobileNetV2?",
        ),
        (["model.backbone=texts"], "'{place}/texts' is no SavedModel: it holds no saved_model.pb."),
        (
            ["model.backbone=cut.keras"],
            "'{place}/cut.keras' is damaged or not a zip archive, which a .keras file must be: File is not a zip file.",
        ),
        (["model.backbone=a.keras"], "no model at 'a.keras': the path does not exist. Set `model.backbone`."),
        (
            ["model.backbone=keras:VGG16", "model.weights=w.h5"],
            "no weights file at 'w.h5': the path does not exist. `model.weights` must be imagenet, random, or a file.",
        ),
        (
            ["model.backbone=keras:VGG16", "model.weights=notes.txt"],
            "`model.weights` must be a .h5, .weights.h5 or .keras file of Keras. Received: '{place}/notes.txt', which is none, "
            "or cut off. Weights in another format are read as `model.backbone`, from the folder of their network.",
        ),
        (
            ["fine_tune.last=2"],
            "`fine_tune.last` needs a backbone of layers. Received: 'kerastrain:fractal_small', one Hub module, which trains "
            "as a whole or not at all. Remove fine_tune.last.",
        ),
        (
            ["--run", "notes.txt/run"],
            "'notes.txt/run' cannot be created: 'notes.txt' is a file. Choose another folder.",
        ),
        (["--run", "texts"], "'texts' exists already and is not overwritten. Choose another name, or remove it."),
        (
            ["--run", "/proc/run"],
            "'/proc/run' cannot be written: nothing can be made in '/proc' (no such file or directory). Choose another "
            "folder.",
        ),
    ],
)
def test_what_a_run_cannot_have_is_refused_in_one_sentence(place, capsys, monkeypatch, command, arguments, message):
    before = sorted(place.rglob("*"))
    printed = refused(capsys, monkeypatch, command, *arguments)
    assert printed == message.format(place=place, networks=", ".join(networks.IMAGE_NETWORKS))
    assert sorted(place.rglob("*")) == before


@pytest.mark.parametrize(
    ("format_name", "library", "extra", "purpose"),
    [
        ("onnx", "tf2onnx", "onnx", "write ONNX files"),
        ("onnx", "onnxruntime", "onnx", "write ONNX files"),
        ("tflite_int4", "ai_edge_quantizer", "int4", "write weights of four bits"),
        ("tflite_dynamic_int4", "ai_edge_quantizer", "int4", "write weights of four bits"),
    ],
)
def test_a_missing_extra_of_a_format_is_told_first(place, capsys, monkeypatch, format_name, library, extra, purpose):
    if library == "onnxruntime" and importlib.util.find_spec("tf2onnx") is None:
        pytest.skip("without tf2onnx, which is asked for first")
    monkeypatch.setitem(sys.modules, library, None)
    for command in ("check", "train"):
        assert refused(capsys, monkeypatch, command, f"export.formats=[keras, {format_name}]") == (
            f"to {purpose}, kerastrain needs {library}. Install it: pip install 'kerastrain[{extra}]'."
        )
    assert not (place / "runs").exists()


def test_a_missing_extra_of_a_search_is_told_first(place, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "hyperopt", None)
    (place / "search.yaml").write_text("algorithm: tpe\nspace: {model.dropout: [0.1, 0.2]}")
    assert refused(capsys, monkeypatch, "tune", "search.yaml") == (
        "to search with tpe, kerastrain needs hyperopt. Install it: pip install 'kerastrain[tpe]'."
    )
    assert not (place / "searches").exists()


def test_nothing_of_this_starts_tensorflow(place):
    arguments = ["train", "model.backbone=keras:Xeption"]
    script = f"""
import sys
sys.argv = ["kerastrain", *{arguments!r}]
from kerastrain import cli
try:
    cli.main()
except SystemExit as stopped:
    assert stopped.code == 2
assert "tensorflow" not in sys.modules and "keras" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=place)
    assert done.returncode == 0, done.stderr


def test_a_disk_without_room_is_told_with_what_is_needed_and_free(tmp_path):
    with pytest.raises(
        InputError, match=r"^the run writes about 1,000,000,000,000 MB to '.*/run', and its disk has [\d,]+ MB"
    ):
        folders.require_room(tmp_path / "run", 10**18, writer="the run", advice="Free some space.")
    folders.require_room(tmp_path / "run", 1, writer="the run", advice="Free some space.")
    assert not (tmp_path / "run").exists()


def test_a_run_writes_its_checkpoints_its_model_and_its_files(tmp_path):
    class Variable:
        shape = (1000, 1000)

    class Model:
        weights = trainable_weights = [Variable()]
        optimizer = type("Optimizer", (), {"variables": [Variable(), Variable()]})

    settings = config.load(overrides=["export.formats=[saved_model, tflite_int8]", "fit.checkpoints_kept=2"])
    # Three checkpoints, the best and the last model with two slots for each weight; a SavedModel, and a quarter in int8.
    assert run_room.written_bytes(settings, Model()) == 4_000_000 * (3 * 3 + 2 * 3 + 1.25) + 1_000_000
    module = module_of(tmp_path, 5000)
    settings = config.load(overrides=[f"model.backbone={module}", "export.formats=[]", "fit.checkpoints_kept=1"])
    assert run_room.written_bytes(settings) == 5000 * 4 + 1_000_000


def module_of(folder, size):
    (folder / "module").mkdir()
    (folder / "module" / "saved_model.pb").write_bytes(bytes(size))
    return folder / "module"


def test_class_weights_and_names_are_checked_without_reading_an_image(tmp_path):
    testing.colour_folder(tmp_path / "data", count=8)
    path = f"data.path={tmp_path / 'data'}"
    with pytest.raises(
        InputError, match="`data.class_weights`: unknown class 'rde'. Known: blue, green, red. Did you mean 'red'"
    ):
        plan.parts(config.load(overrides=[path, "data.class_weights={rde: 2}"]))
    with pytest.raises(
        InputError, match="must give one class a weight above 0, or nothing is learned. Received: 0 for all 3"
    ):
        plan.parts(config.load(overrides=[path, "data.class_weights={red: 0, green: 0, blue: 0}"]))
    with pytest.raises(InputError, match=r"must be one line each, .* Received: 'a\\nb'. Rename the class"):
        plan.check_labels(config.load(), ["a\nb", "c"])
    plan.check_labels(config.load(overrides=["export.formats=[]"]), ["a\nb", "c"])


def test_extras_are_those_of_the_package():
    assert set(optional_imports.EXTRAS) == {"int4", "kerashub", "language", "mlflow", "onnx", "tpe", "wandb"}


def test_networks_are_those_of_keras():
    from kerastrain.backbones import keras_applications, text_backbones

    assert networks.IMAGE_NETWORKS == keras_applications.NETWORKS
    assert set(networks.TEXT_NETWORKS) == set(text_backbones.NETWORKS)
    for name, side in itertools.product(networks.IMAGE_NETWORKS, (31, 32, 70, 71, 74, 75)):
        told = [fails(networks.check, "images", f"keras:{name}", (side, side))]
        told.append(fails(keras_applications.image_size, name, (side, side)))
        assert told[0] == told[1], (name, side)


def fails(function, *arguments):
    try:
        function(*arguments)
    except InputError:
        return True
    return False
