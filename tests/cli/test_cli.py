"""Invalid input of the command line: one error message, exit code 2, and nothing is written."""

import importlib.util
import json
import subprocess
import sys

import keras
import numpy as np
import pictures
import processes
import pytest
from PIL import Image

from kerastrain import cli, testing
from kerastrain.hub import modules

TRAIN = ["train", "model.backbone=module", "fit.head_epochs=1", "fit.epochs=0", "export.formats=[]", "--run", "run"]


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path


@pytest.fixture(scope="module")
def module(tmp_path_factory):
    return testing.saved_model(tmp_path_factory.mktemp("shared") / "module", image_size=(32, 32))


def refused(capsys, monkeypatch, *arguments):
    """Returns the error message of arguments that lead to exit code 2."""
    return refused_after(capsys, monkeypatch, *arguments)[1]


def refused_after(capsys, monkeypatch, *arguments):
    """Returns the log before the error, and the error message."""
    monkeypatch.setattr(sys, "argv", ["kerastrain", *arguments])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    logged, printed = (text.strip() for text in capsys.readouterr())
    assert caught.value.code == 2
    assert "Traceback" not in printed
    return logged, printed


def before_a_compression(run):
    """The lines of what has to be read before a candidate can be refused."""
    return ["starting TensorFlow", f"loading the model of {run}", "reading the data of the run"]


def test_unknown_key_is_told_with_the_nearest_and_nothing_is_made(place, capsys, monkeypatch):
    printed = refused(capsys, monkeypatch, "train", "fit.epoch=3", "--run", "run")
    assert "fit.epoch: unknown key 'epoch'" in printed
    assert "Did you mean 'epochs'?" in printed
    assert not list(place.iterdir())


def _empty(place):
    (place / "data").mkdir()


def _one_class(place):
    testing.colour_folder(place / "data", colours=["red"])


def _one_image(place):
    testing.colour_folder(place / "data", colours=["red", "green"])
    for path in sorted((place / "data" / "red").iterdir())[1:]:
        path.unlink()


def _broken_images(place):
    testing.colour_folder(place / "data")
    for number in range(4):
        path = place / "data" / "red" / f"00{number}.png"
        path.write_bytes(path.read_bytes()[:100])


def _missing(place):
    pass


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (_empty, "contains no folders"),
        (_one_class, "a classifier needs at least two classes. Received: only 'red'"),
        (_one_image, "class 'red' has one example, too few"),
        (_broken_images, "4 of 30 files cannot be read as images, more than the fraction 0.1"),
        (_missing, "there is no such folder"),
    ],
)
def test_data_that_cannot_be_used_is_one_sentence(place, module, capsys, monkeypatch, make, sentence):
    make(place)
    printed = refused(capsys, monkeypatch, *TRAIN, "data.path=data", f"model.backbone={module}")
    assert sentence in printed
    assert len(printed.splitlines()) <= 2
    assert not (place / "run").exists()


def test_an_existing_run_directory_is_left_alone(place, capsys, monkeypatch):
    (place / "run").mkdir()
    (place / "run" / "precious").write_text("mine")
    printed = refused(capsys, monkeypatch, *TRAIN)
    assert "exists already" in printed
    assert [path.name for path in (place / "run").iterdir()] == ["precious"]


def test_a_saved_model_without_a_usable_callable_is_told(place, capsys, monkeypatch):
    import tensorflow as tf

    tf.saved_model.save(tf.train.Checkpoint(v=tf.Variable(1.0)), str(place / "module"))
    printed = refused(capsys, monkeypatch, *TRAIN)
    assert str(place / "module") in printed
    assert "call" in printed
    assert not (place / "run").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("evaluate", "nowhere"),
        ("predict", "nowhere", "a.png"),
        ("explain", "nowhere", "a.png"),
        ("compress", "nowhere"),
        ("export", "nowhere", "--format", "saved_model"),
        ("report", "nowhere"),
    ],
)
def test_a_folder_that_is_no_run_is_told(place, capsys, monkeypatch, arguments):
    assert "'nowhere' is not a run directory" in refused(capsys, monkeypatch, *arguments)


@pytest.fixture(scope="module", params=["module", "network"])
def finished(request, module, tmp_path_factory):
    """A run that cannot be trained for int8, and the reason: a Hub module, or batch norm before its convolution."""
    place = tmp_path_factory.mktemp("finished")
    testing.colour_folder(place / "data")
    backbone, reason = module, "a SavedModel is a finished graph"
    if request.param == "network":
        backbone, reason = place / "network.keras", "batch norm becomes part of the convolution right before it"
        inputs = keras.Input((32, 32, 3))
        x = keras.layers.Conv2D(4, 3, strides=2, activation="relu")(inputs)
        x = keras.layers.Conv2D(4, 3, strides=2, activation="relu")(keras.layers.BatchNormalization()(x))
        keras.Model(inputs, x).save(backbone)
    options = [f"data.path={place / 'data'}", f"model.backbone={backbone}", "--run", str(place / "run")]
    processes.kerastrain(place, *TRAIN[:1], *TRAIN[2:-2], *options)
    return place, reason


@pytest.fixture(scope="module", params=[pytest.param("embedding", marks=pytest.mark.chaos), "transformer"])
def of_texts(request, tmp_path_factory):
    """The folder of a finished run of a text model, and of the user's state."""
    place = tmp_path_factory.mktemp("texts")
    (place / "data").mkdir()
    for label, word in (("good", "wonderful"), ("bad", "dreadful")):
        lines = [f"a {word} film number {number}" for number in range(40)]
        (place / "data" / f"{label}.txt").write_text("\n".join(lines))
    options = [f"data.path={place / 'data'}", "data.kind=text", f"model.backbone=keras:{request.param}", "fit.epochs=1"]
    processes.kerastrain(place, "train", *options, "export.formats=[]", "--run", "run")
    return place


@pytest.mark.slow
def test_training_texts_for_int8_is_refused_with_the_reason_and_what_to_do_instead(of_texts, capsys, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(of_texts / "state"))
    for steps in ([], ["prune.fraction=0.8"]):
        arguments = ["compress", str(of_texts / "run"), *steps, "quantize=quantize_aware"]
        logged, printed = refused_after(capsys, monkeypatch, *arguments)
        assert logged.splitlines() == before_a_compression(of_texts / "run")  # Nothing was trained or written before.
        assert "(keras.TextVectorization) cannot be trained for int8: tensorflow_model_optimization has no" in printed
        assert "Quantize after training instead, with `quantize=int8`" in printed
        assert not (of_texts / "run" / "compressed").exists()


@pytest.mark.slow
def test_a_step_that_the_model_cannot_take_is_told_before_those_before_it_train(finished, capsys, monkeypatch):
    place, reason = finished
    monkeypatch.setenv("XDG_STATE_HOME", str(place / "state"))
    before = {path: path.stat().st_mtime_ns for path in (place / "run").rglob("*")}

    def error(*arguments):
        logged, printed = refused_after(capsys, monkeypatch, "compress", str(place / "run"), *arguments)
        # Every exported file is logged, the float file first.
        assert logged.splitlines() == before_a_compression(place / "run")
        assert len(printed.splitlines()) == 1, printed
        assert {path: path.stat().st_mtime_ns for path in (place / "run").rglob("*")} == before
        return printed

    printed = error("prune.fraction=0.8", "quantize=quantize_aware")
    assert reason in printed
    assert "Quantize after training instead, with `quantize=int8`" in printed
    if "SavedModel" in reason:
        printed = error("prune.fraction=0.8", "prune_channels={}")
        assert "cannot lose channels: a SavedModel is a finished graph" in printed
        assert "Distil a smaller network from it, with `distill={}`" in printed
    if importlib.util.find_spec("ai_edge_quantizer") is None:
        assert "pip install 'kerastrain[int4]'" in error("prune.fraction=0.8", "quantize=int4")


def test_search_over_an_unknown_key_or_an_impossible_value_is_told(place, capsys, monkeypatch):
    (place / "search.yaml").write_text("space: {optimizer.learning_rat: [0.1]}")
    assert "Did you mean 'learning_rate'?" in refused(capsys, monkeypatch, "tune", "search.yaml")
    (place / "search.yaml").write_text("space: {model.dropout: [0.1, 2.0]}")
    assert "model.dropout" in refused(capsys, monkeypatch, "tune", "search.yaml")
    assert [path.name for path in place.iterdir()] == ["search.yaml"]


@pytest.mark.slow
def test_labels_and_images_that_do_not_fit_the_model_are_told(place, module, capsys, monkeypatch):
    testing.colour_folder(place / "data")
    monkeypatch.setattr(sys, "argv", ["kerastrain", *TRAIN, "data.path=data", f"model.backbone={module}"])
    cli_main_ends_well()
    capsys.readouterr()
    testing.colour_folder(place / "other", colours=["red", "yellow"])
    printed = refused(capsys, monkeypatch, "evaluate", "run", "--data", "other=other")
    assert "yellow" in printed
    assert "blue, green, red" in printed
    (place / "text.png").write_text("no image")
    assert "text.png" in refused(capsys, monkeypatch, "predict", "run", "text.png")
    monkeypatch.setenv("XDG_STATE_HOME", str(place / "another_user"))
    kept = dict(modules._loaded)
    modules._loaded.clear()
    assert "`kerastrain trust RUN`" in refused(capsys, monkeypatch, "predict", "run", "data/red/000.png")
    monkeypatch.setattr(sys, "argv", ["kerastrain", "trust", "run"])
    cli_main_ends_well()
    modules._loaded.clear()
    monkeypatch.setattr(sys, "argv", ["kerastrain", "predict", "run", "data/red/000.png"])
    cli_main_ends_well()
    modules._loaded.update(kept)
    assert "nothing.png" in refused(capsys, monkeypatch, "predict", "run", "nothing.png")
    Image.fromarray(np.zeros((8, 8, 3), "uint8")).save(place / "black.png")
    printed = refused(capsys, monkeypatch, "explain", "run", "black.png", "--method", "gradcan")
    assert "Did you mean 'gradcam'?" in printed
    printed = refused(capsys, monkeypatch, "explain", "run", "black.png", "--label", "gren")
    assert "Did you mean 'green'?" in printed


def cli_main_ends_well():
    try:
        cli.main()
    except SystemExit as stopped:
        assert not stopped.code


@pytest.mark.parametrize("arguments", [["--help"], ["check", "--plot", "rates.svg"], ["schema"]])
def test_help_check_and_schema_answer_without_tensorflow(arguments, tmp_path):
    script = f"""
import sys
sys.argv = ["kerastrain", *{arguments!r}]
from kerastrain import cli
try:
    cli.main()
except SystemExit as stopped:
    assert not stopped.code
assert "tensorflow" not in sys.modules and "keras" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout
    if "--plot" in arguments:
        assert {"head", "fine_tune", "optimizer step", "learning rate"} <= pictures.texts(tmp_path / "rates.svg")
        for curve, steps, warmup_steps in zip(
            pictures.curves(tmp_path / "rates.svg"), (1200, 400), (60, 20), strict=True
        ):
            x, y = curve.T
            step = (x - x[0]) / (x[-1] - x[0]) * steps
            cosine = (1 + np.cos(np.pi * (step - warmup_steps) / (steps - warmup_steps))) / 2
            rates = np.where(step < warmup_steps, (step + 1) / (warmup_steps + 1), cosine)
            pictures.assert_proportional(y, rates, points=10)  # of 171: a step of the warm-up is a level line


def test_check_prints_the_parts_and_the_phases(place, capsys, monkeypatch):
    testing.colour_folder(place / "data", count=20)
    monkeypatch.setattr(sys, "argv", ["kerastrain", "check", "data.path=data", "fit.global_batch_size=16"])
    cli_main_ends_well()
    printed = capsys.readouterr().out
    assert "42 train, 12 validation, 6 test" in printed
    assert "30 x 3 = 90" in printed
    assert "fine_tune" in printed


def test_schema_is_json(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["kerastrain", "schema"])
    cli_main_ends_well()
    assert json.loads(capsys.readouterr().out)["title"] == "Config"
