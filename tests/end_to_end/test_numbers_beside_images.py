"""Numbers beside images through the command line: training, resuming, and every verb on the run."""

import csv
import dataclasses
import json
import re

import h5py
import numpy as np
import pytest
from interruptions import StopInStep
from PIL import Image

from kerastrain import config, recipe, testing
from kerastrain.recipe import fitting
from kerastrain.system.signals import Stopped

TRAIN = [
    "data.path=t.csv",
    "data.columns.numbers=[age,weight]",
    "model.backbone=module",
    "model.dropout=0",
    "fit.head_epochs=30",
    "fit.epochs=1",
    "fit.global_batch_size=16",
    "fit.checkpoint_every=2 steps",
    "optimizer.learning_rate=0.03",
]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Pictures of noise whose class is told by the age alone."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    testing.saved_model("module", image_size=(8, 8))
    random, rows = np.random.default_rng(0), []
    for number in range(80):
        Image.fromarray(random.integers(0, 256, (8, 8, 3)).astype("uint8")).save(f"{number}.png")
        age = int(random.integers(20, 80))
        shown = "" if number % 20 == 7 else age
        rows.append((f"{number}.png", shown, f"{random.normal(70, 9):.1f}", "old" if age > 50 else "young"))
    with open("t.csv", "w", newline="") as file:
        csv.writer(file).writerows([("image", "age", "weight", "label"), *rows])
    with open("short.csv", "w", newline="") as file:
        csv.writer(file).writerows([("image", "weight"), *((row[0], row[2]) for row in rows[:4])])
    return tmp_path


def weights(path):
    values = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, item: values.update({name: item[()]} if isinstance(item, h5py.Dataset) else {}))
    return values


@pytest.mark.slow
def test_numbers_go_all_the_way(place, kerastrain, monkeypatch):
    code, out, err = kerastrain("train", *TRAIN, "fit.epochs=0", "export.formats=[keras]", "--run", "run")
    assert code == 0, out + err
    assert "inputs beside each image: 2 numbers" in out + err
    assert re.search(r"  age: 2\d to 79, mean [\d.]+; missing in 4 of 80 examples", out + err)
    assert json.loads((place / "run/metrics.json").read_text())["validation"]["accuracy"] > 0.8
    assert (place / "run/exports/model.keras.numbers.txt").read_text() == "age\nweight\n"

    code, out, err = kerastrain("predict", "run", "t.csv", "--out", "p.csv")
    assert code == 0
    assert "missing numbers count as the mean of the training part: 'age' in 4 rows" in out + err
    with open("p.csv") as file, open("t.csv") as truth:
        rows = list(zip(csv.DictReader(file), csv.DictReader(truth), strict=True))
    assert np.mean([row["prediction"] == true["label"] for row, true in rows]) > 0.85
    assert kerastrain("evaluate", "run", "t.csv")[0] == 0
    for arguments, sentence in [
        (
            ("predict", "run", "1.png"),
            "the run reads 2 numbers beside each image. Received: '1.png', which has no columns",
        ),
        (("predict", "run", "short.csv"), "'short.csv': unknown column 'age'"),
        (("explain", "run", "1.png"), "explain draws over images alone"),
        (("compress", "run"), "compress needs a model of images or texts alone"),
        (("check", *TRAIN, "export.formats=[tflite_int8]"), "a file of integers holds its inputs beside each other"),
        (
            ("check", "--from", "run", "data.columns.numbers=[age]"),
            "must name as many columns as in the run to start from",
        ),
    ]:
        code, out, err = kerastrain(*arguments)
        assert (code, sentence in out + err) in ((2, True), (1, True)), (arguments, code, out + err)


@pytest.mark.chaos
def test_a_run_with_numbers_resumes_to_the_same_bits(place, monkeypatch):
    settings = config.load(overrides=[*TRAIN, "fit.head_epochs=2", "export.formats=[]"])
    whole = recipe.run(settings, "whole")
    whole.model.save_weights("whole.weights.h5")
    fit_phase = fitting.fit_phase

    def stop_in_fine_tuning(stage, settings, phase, directory, **options):
        if phase.name == "fine_tune":
            stage = dataclasses.replace(stage, callbacks=[*stage.callbacks, StopInStep(2)])
        return fit_phase(stage, settings, phase, directory, **options)

    monkeypatch.setattr(fitting, "fit_phase", stop_in_fine_tuning)
    with pytest.raises(Stopped):
        recipe.run(settings, "parts")
    monkeypatch.setattr(fitting, "fit_phase", fit_phase)
    recipe.resume("parts").model.save_weights("parts.weights.h5")
    one, other = weights("whole.weights.h5"), weights("parts.weights.h5")
    assert one.keys() == other.keys()
    for name, value in one.items():
        np.testing.assert_array_equal(other[name], value, err_msg=name)
