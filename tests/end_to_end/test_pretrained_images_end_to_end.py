"""Pretrained networks of images through the recipe and the command line: resuming, and what is refused for finished runs."""

import dataclasses
import shutil

import numpy as np
import pytest
from interruptions import StopInStep
from pretrained_folders import write_images

from kerastrain import config, recipe, testing
from kerastrain.recipe import fitting
from kerastrain.system.signals import Stopped

TRAIN = [
    "data.path=colours",
    "model.backbone=network",
    "fit.head_epochs=2",
    "fit.epochs=2",
    "fit.global_batch_size=8",
    "fit.checkpoint_every=1 steps",
    "fine_tune.layer_rate_decay=0.8",
]


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    testing.colour_folder(tmp_path / "colours", count=12)
    write_images(tmp_path / "network", "dinov3_vit")
    return tmp_path


@pytest.mark.chaos
def test_a_network_resumes_to_the_same_bits_and_its_run_refuses_integers(place, monkeypatch, kerastrain):
    settings = config.load(overrides=[*TRAIN, "export.formats=[]"])
    whole = recipe.run(settings, "whole").model.get_weights()
    fit_phase = fitting.fit_phase

    def stop_in_fine_tuning(stage, settings, phase, directory, **options):
        if phase.name == "fine_tune":
            stage = dataclasses.replace(stage, callbacks=[*stage.callbacks, StopInStep(1)])
        return fit_phase(stage, settings, phase, directory, **options)

    monkeypatch.setattr(fitting, "fit_phase", stop_in_fine_tuning)
    with pytest.raises(Stopped):
        recipe.run(settings, "parts")
    monkeypatch.setattr(fitting, "fit_phase", fit_phase)
    parts = recipe.resume("parts").model.get_weights()
    shutil.rmtree("network")
    for one, other in zip(whole, parts, strict=True):
        np.testing.assert_array_equal(one, other)
    code, out, err = kerastrain("export", "parts", "--format", "tflite_int8")
    assert code == 2, out + err
    assert "`export.formats`: the layer normalization of a vision transformer does not fit into integers" in err
    code, out, err = kerastrain("compress", "parts")
    assert code == 2, out + err
    assert "`quantize`: the layer normalization of" in err
    assert "Use dynamic, which is as small as int8. Received: int8." in err
