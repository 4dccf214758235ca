"""A finished run is trained further: interrupted, without the run that it starts from, to the same bits."""

import io
import json
import shutil
import zipfile

import h5py
import numpy as np
import pytest

from kerastrain import config, recipe, report, testing
from kerastrain.recipe import fitting

QUICK = ["fit.head_epochs=2", "fit.epochs=2", "fit.checkpoint_every=1 steps", "export.formats=[tflite_float32]"]
QUICK += ["optimizer.fine_tune_fraction=0.5"]  # so that fine-tuning ships


class Stopped(Exception):
    pass


def weights(path):
    """The weights in a model.keras by name, without those of the optimizer."""
    found = {}
    with zipfile.ZipFile(path) as archive, h5py.File(io.BytesIO(archive.read("model.weights.h5"))) as file:
        file.visititems(lambda name, item: found.update({name: item[()]} if isinstance(item, h5py.Dataset) else {}))
    return {name: value for name, value in found.items() if not name.startswith("optimizer")}


@pytest.mark.chaos
def test_a_run_trained_further_resumes_to_the_same_bits_without_the_run_that_it_starts_from(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    testing.saved_model("module", image_size=(16, 16))
    testing.colour_folder(tmp_path / "three", colours=["red", "green", "blue"], count=12)
    testing.colour_folder(tmp_path / "four", colours=["red", "green", "blue", "yellow"], count=12)
    first = ["model.backbone=module", "data.path=three", "optimizer.learning_rate=0.05", "data.test_fraction=0.2"]
    recipe.run(config.load(overrides=[*first, *QUICK]), "first")

    settings = recipe.config_from("first", overrides=["data.path=four", *QUICK])
    whole = recipe.run(settings, "whole")
    assert whole.measures["test"]["accuracy"] > 0.5
    assert [path.name for path in whole.exports] == ["model_float32.tflite"]
    start = json.loads((tmp_path / "whole/start.json").read_text())
    assert (start["kept"], start["new"], start["dropped"]) == (["blue", "green", "red"], ["yellow"], [])
    assert "1 new (yellow)" in report.write("whole").read_text()

    fit_phase = fitting.fit_phase

    def stop_at_fine_tuning(stage, settings, phase, directory, **options):
        if phase.name == "fine_tune":
            raise Stopped
        return fit_phase(stage, settings, phase, directory, **options)

    monkeypatch.setattr(fitting, "fit_phase", stop_at_fine_tuning)
    with pytest.raises(Stopped):
        recipe.run(settings, "parts")
    monkeypatch.setattr(fitting, "fit_phase", fit_phase)
    shutil.rmtree("first")
    recipe.resume("parts")
    assert not (tmp_path / "parts/checkpoints/resume").exists()
    one, other = weights("whole/model.keras"), weights("parts/model.keras")
    assert one.keys() == other.keys()
    for name, value in one.items():
        np.testing.assert_array_equal(other[name], value, err_msg=name)
