"""The whole road through the command line, as a user walks it: real files, real processes, real interpreters."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pictures
import pytest
import sharing
import yaml
from ai_edge_litert.interpreter import Interpreter
from PIL import Image
from processes import kerastrain

from kerastrain import export, models, testing
from kerastrain.evaluation import measuring, predictions

QUICK = ["fit.head_epochs=30", "fit.epochs=1", "optimizer.learning_rate=0.02", "data.test_fraction=0.2"]


@pytest.fixture(scope="session")
def place(tmp_path_factory):
    """A folder with data and backbones; each test adds files of other names."""

    def make(place):
        testing.saved_model(place / "module", image_size=(32, 32))
        testing.colour_folder(place / "colours", count=20)
        inputs = keras.Input((32, 32, 3))
        maps = keras.layers.Conv2D(4, 3, activation="relu")(keras.layers.Conv2D(4, 3, activation="relu")(inputs))
        keras.Model(inputs, maps).save(place / "network.keras")

    return sharing.once(tmp_path_factory, "road", make)


def interpreted(place, *arguments):
    """As `kerastrain`, in an interpreter of its own, with its own order of sets and its own greeting of TensorFlow."""
    command = [sys.executable, "-m", "kerastrain", *arguments]
    environment = {**os.environ, "XDG_STATE_HOME": str(place / "state")}
    done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="session")
def run(place, tmp_path_factory):
    """A finished run, to be read or copied."""

    def make(folder):
        arguments = ["train", "data.path=colours", "model.backbone=module", "export.samples=8", *QUICK, "--run", "run"]
        done = kerastrain(place, *arguments)
        assert "re-opened and compared with the model" in done.stdout
        assert "Traceback" not in done.stdout + done.stderr

    sharing.once(tmp_path_factory, "road_run", make)
    return place / "run"


def test_solid_colours_fit_perfectly_and_the_run_holds_every_file(run):
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["test"]["accuracy"] == 1.0
    assert metrics["validation"]["accuracy"] == 1.0
    for part in ("validation", "test"):
        found = predictions.read(run / "predictions" / f"{part}.npz")
        assert len(found) == metrics[part]["count"] == len(set(found.keys))
        assert measuring.measures(found) == metrics[part]
    assert (run / "labels.txt").read_text().split() == ["blue", "green", "red"]
    expected = {"config.yaml", "environment.json", "log.txt", "history.csv", "model.keras", "report.html"}
    assert expected <= {path.name for path in run.iterdir()}
    history = (run / "history.csv").read_text().splitlines()
    assert history[0].startswith("phase,epoch")
    assert len(history) == 1 + 30 + 1
    assert "exported model_int8.tflite" in (run / "log.txt").read_text()


def test_the_resolved_config_spells_out_every_value(run, place):
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["data"]["path"] == str(place / "colours")
    assert config["fit"]["global_batch_size"] == 32


def tflite_outputs(path, image):
    """The outputs of a TFLite file for one image file."""
    interpreter = Interpreter(str(path))
    interpreter.allocate_tensors()
    source, target = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    interpreter.set_tensor(source["index"], np.asarray(Image.open(image))[None].astype(source["dtype"]))
    interpreter.invoke()
    return interpreter.get_tensor(target["index"])[0]


def test_the_tflite_file_alone_gives_the_answers(run, place):
    labels = (run / "exports" / "model_int8.labels.txt").read_text().split()
    for colour in labels:
        outputs = tflite_outputs(run / "exports" / "model_int8.tflite", place / "colours" / colour / "003.png")
        assert labels[outputs.argmax()] == colour


@pytest.mark.slow
def test_predict_evaluate_export_compress_explain_and_report_work_on_the_finished_run(run, place):
    run = shutil.copytree(run, place / "walked")
    answers = json.loads(
        kerastrain(place, "predict", "walked", "colours/red/001.png", "colours/blue/002.png", "--json").stdout
    )
    assert [max(answer["labels"], key=answer["labels"].get) for answer in answers] == ["red", "blue"]
    assert all(abs(sum(answer["labels"].values()) - 1) < 1e-5 for answer in answers)

    kerastrain(place, "evaluate", "walked", "--data", "again=colours")
    assert json.loads((run / "evaluations" / "again.json").read_text())["accuracy"] == 1.0

    kerastrain(place, "export", "walked", "--format", "tflite_float16")
    logits = tflite_outputs(run / "exports" / "model_float16.tflite", place / "colours/red/001.png")
    shares = np.exp(logits) / np.exp(logits).sum()
    np.testing.assert_allclose(shares, [answers[0]["labels"][name] for name in ("blue", "green", "red")], atol=0.01)
    assert "replace" in kerastrain(place, "export", "walked", "--format", "tflite_float16", code=2).stderr

    kerastrain(place, "compress", "walked", "prune.fraction=0.5", "prune.epochs=2")
    rows = json.loads((run / "compressed" / "compression.json").read_text())["results"]
    assert [row["file"] for row in rows] == ["baseline_float32.tflite", "pruned_float32.tflite", "pruned_int8.tflite"]
    assert rows[1]["zeros_fraction"] == pytest.approx(0.5, abs=0.01)
    assert rows[2]["test"]["value"] == 1.0

    drawn = kerastrain(place, "explain", "walked", "colours/green/000.png").stdout.split()
    explained = pictures.pixels(place / drawn[-1]).reshape(-1, 3)
    original = pictures.pixels(place / "colours/green/000.png").reshape(-1, 3)
    assert (np.abs(explained.astype(int) - original[0]) <= 2).all(axis=1).any()  # the image itself
    assert len(np.unique(explained, axis=0)) > len(np.unique(original, axis=0)) + 100  # and the heat over it

    (run / "report.html").unlink()
    kerastrain(place, "report", "walked")
    page = (run / "report.html").read_text()
    names = ["green", "100.0%", "Measures: again", "exports/model_float16.tflite", "pruned_int8", Path(drawn[-1]).name]
    assert [name for name in names if name not in page] == []
    assert page.count("data:image/") >= 3  # curves, reliability, what was explained


@pytest.mark.slow
def test_an_evaluation_on_the_training_data_says_so_and_leaves_the_held_out_measures(run, place):
    shutil.copytree(run, place / "reused", ignore=shutil.ignore_patterns("exports"))
    held_out = (place / "reused" / "metrics.json").read_text()
    printed = kerastrain(place, "evaluate", "reused", "--data", "test=colours").stdout
    record = json.loads((place / "reused" / "evaluations" / "test.json").read_text())
    # Each file is in one part of the run.
    shared, sizes = (
        record["data"]["shared"],
        {part: json.loads(held_out)[part]["count"] for part in ("validation", "test")},
    )
    sizes["train"] = len(list((place / "colours").rglob("*.png"))) - sum(sizes.values())
    assert shared == sizes
    assert record["data"]["path"] == str(place / "colours")
    assert f"test: the run was trained on {sizes['train']} of these {record['count']} examples" in printed
    assert (place / "reused" / "metrics.json").read_text() == held_out
    page = (place / "reused" / "report.html").read_text()
    assert ">test accuracy<" in page
    assert ">test (other data) accuracy<" in page
    assert f"The run was trained on {sizes['train']} of them." in page


@pytest.mark.slow
def test_a_file_that_answers_otherwise_is_removed_with_the_reason_and_an_exit_code(run, place):
    shutil.copytree(run, place / "steep", ignore=shutil.ignore_patterns("exports"))
    model = models.load(run / "model.keras", allow_modules=True)
    head = next(layer for layer in reversed(model.layers) if isinstance(layer, keras.layers.Dense))
    head.set_weights([1e6 * weight for weight in head.get_weights()])  # beyond what float16 can hold
    model.save(place / "steep" / "model.keras")
    said = kerastrain(place, "export", "steep", "--format", "tflite_float16", code=2).stderr
    assert "`model_float16.tflite` (float16) does not match its model" in said
    assert "It was removed." in said
    assert not list((place / "steep" / "exports").glob("*float16*"))
    done = kerastrain(place, "export", "steep", "probabilities=true", "samples=null", "--format", "keras").stdout
    assert "model.keras" in done
    assert "export.sample: unknown key" in kerastrain(place, "export", "steep", "sample=3", code=2).stderr


@pytest.mark.chaos
def test_a_budget_tries_every_way_and_keeps_the_files_that_no_other_beats(place):
    quick = ["data.path=colours", "data.image_size=[32, 32]", "fit.head_epochs=5", "fit.epochs=3", "export.formats=[]"]
    kerastrain(place, "train", "model.backbone=network.keras", *quick, "--run", "plain")
    epochs = [f"{step}.epochs=1" for step in ("distill", "prune_channels", "prune", "cluster", "quantize_aware")]
    settings = ["budget.kilobytes=500", "budget.exhaustive=true", "calibration_counts=[4, 16]", *epochs]
    done = kerastrain(place, "compress", "plain", *settings)
    record = json.loads((place / "plain/compressed/compression.json").read_text())
    names, choice = [result["name"] for result in record["results"]], record["choice"]
    tried = {"baseline_int8", "qat_int8", "pruned_clustered_qat_int8", "channel_pruned_float32"}
    assert tried <= set(names)
    assert "must leave enough for a network" in record["skipped"]["distilled_int8"]  # than which none is smaller
    reason = " ".join(done.stdout.split())
    assert f"{choice['winner']} wins: the most accurate of " in reason
    assert f" files with at most 500 kB, of {len(names)} tried" in reason
    assert set(choice["removed"]) == set(names) - set(choice["pareto"])
    assert {path.stem for path in (place / "plain/compressed").glob("*.tflite")} == set(choice["pareto"])
    best = max(result["validation"]["value"] for result in record["results"])
    assert {result["name"]: result for result in record["results"]}[choice["winner"]]["validation"]["value"] == best
    assert [row["count"] for row in record["calibration"]] == [4, 16]
    assert pictures.pixels(place / "plain/compressed/pareto.png").shape == (720, 1350, 3)
    assert pictures.shows(place / "plain/compressed/pareto.png", "#c2410c")  # the winner
    page = (place / "plain/report.html").read_text()
    assert choice["reason"] in page
    assert "pruned_clustered_qat_int8" in page
    assert "exists already" in kerastrain(place, "compress", "plain", "budget.kilobytes=500", code=2).stderr


@pytest.mark.chaos
def test_random_labels_cannot_be_learnt(place):
    random = np.random.default_rng(0)
    for label in ("heads", "tails"):
        (place / "coins" / label).mkdir(parents=True)
        for number in range(40):
            pixels = random.integers(0, 256, (32, 32, 3)).astype("uint8")
            Image.fromarray(pixels).save(place / "coins" / label / f"{number}.png")
    kerastrain(
        place, "train", "data.path=coins", "model.backbone=module", "export.formats=[]", *QUICK, "--run", "coin_run"
    )
    metrics = json.loads((place / "coin_run" / "metrics.json").read_text())
    assert metrics["test"]["accuracy"] < 0.9


@pytest.mark.chaos
def test_a_folder_of_photos_with_no_module_uses_the_bundled_backbone_and_comes_out_the_same_twice(place):
    arguments = ["train", "data.path=colours", "fit.head_epochs=3", "fit.epochs=1", "export.formats=[]"]
    arguments += ["runtime.deterministic=true", "--run"]
    kerastrain(place, *arguments, "first")
    assert "I0000" not in interpreted(place, *arguments, "second").stderr  # what TensorFlow logs when it is imported
    first, second = (Path(place, name, "metrics.json").read_text() for name in ("first", "second"))
    assert first == second


@pytest.mark.chaos
def test_tune_writes_a_winner_that_trains(place):
    space = {"optimizer.learning_rate": [1e-4, 0.02], "model.dropout": {"min": 0.0, "max": 0.5}}
    (place / "search.yaml").write_text(yaml.safe_dump({"trials": 2, "space": space}))
    quick = ["data.path=colours", "model.backbone=module", "fit.head_epochs=3", "fit.epochs=0", "export.formats=[]"]
    kerastrain(place, "tune", "search.yaml", *quick, "--out", "search")
    view = json.loads((place / "search" / "trials.json").read_text())
    trials = {trial["point"]: trial for trial in view["trials"]}
    assert trials[view["best"]]["score"] == max(trial["score"] for trial in trials.values())
    best = yaml.safe_load((place / "search" / "best.yaml").read_text())
    assert best["optimizer"]["learning_rate"] == trials[view["best"]]["values"]["optimizer.learning_rate"]
    kerastrain(place, "train", "search/best.yaml", "--run", "tuned")


@pytest.mark.slow
def test_texts_train_and_answer(place):
    (place / "reviews").mkdir()
    for label, word in (("good", "wonderful"), ("bad", "dreadful")):
        lines = [f"a {word} film number {number}" for number in range(60)]
        (place / "reviews" / f"{label}.txt").write_text("\n".join(lines))
    kerastrain(
        place, "train", "data.kind=text", "data.path=reviews", "fit.epochs=3", "export.samples=8", "--run", "texts"
    )
    assert json.loads((place / "texts" / "metrics.json").read_text())["test"]["accuracy"] == 1.0
    answer = json.loads(kerastrain(place, "predict", "texts", "what a wonderful film", "--json").stdout)[0]
    assert answer["labels"]["good"] > 0.5
    assert (place / "texts" / "exports" / "saved_model" / "saved_model.pb").is_file()
    kerastrain(place, "export", "texts", "--format", "tflite_int8")
    for kind in ("float32", "int8"):
        path = place / "texts" / "exports" / f"model_{kind}.tflite"
        outputs = export.litert.run(path, export.tokenize(path, ["a wonderful film", "a dreadful film"]))
        assert outputs.argmax(axis=1).tolist() == [1, 0]
    kerastrain(place, "compress", "texts", "prune.epochs=1", "calibration_counts=[]")
    rows = json.loads((place / "texts" / "compressed" / "compression.json").read_text())["results"]
    assert [row["file"] for row in rows][1:] == ["pruned_float32.tflite", "pruned_int8.tflite"]
    assert rows[2]["validation"]["value"] == 1.0


@pytest.mark.slow
@pytest.mark.parametrize(
    "override",
    [
        "fine_tune.last=2",
        "fine_tune={timetable: {0: 1, 1: null}, layer_rate_decay: 0.8}",
        "model={backbone: 'keras:MobileNet', weights: random, alpha: 0.25, hidden_units: [8], batch_norm: true}",
    ],
)
def test_every_way_to_fine_tune_walks_the_road(place, override):
    number = str(abs(hash(override)))
    quick = ["data.path=colours", "data.image_size=[32, 32]", "fit.head_epochs=1", "fit.epochs=2", "export.formats=[]"]
    kerastrain(place, "train", "model.backbone=network.keras", *quick, override, "--run", number)
    assert (place / number / "model.keras").is_file()


@pytest.mark.slow
def test_a_weight_that_the_last_update_of_a_phase_spoils_is_told_by_its_name(place):
    overrides = ["model.backbone=module", "data.path=colours", "fit.head_epochs=1", "fit.epochs=1"]
    overrides += ["fit.global_batch_size=64", "optimizer.name=sgd", "optimizer.learning_rate=1e25"]
    done = kerastrain(place, "train", *overrides, "--run", "spoilt", code=2)
    assert "Traceback" not in done.stderr
    assert "the update of this step made the weight" in done.stderr
    [record] = json.loads((place / "spoilt" / "nonfinite.json").read_text())
    assert record["place"] == "update"
    assert record["layer"].endswith("kernel")
