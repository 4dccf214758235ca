import re
import typing

import keras
import numpy as np
import pytest

from kerastrain import config, models, optimizers, recipe, schedules
from kerastrain.config import training
from kerastrain.recipe import plan


@pytest.fixture(scope="module")
def model():
    backbone = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(2, 3), keras.layers.BatchNormalization()])
    made = models.image_classifier(backbone, labels=["a", "b"])
    models.unfreeze(made)
    return made


def compiled(model, *overrides, phase=0):
    settings = config.load(overrides=["fit.head_epochs=2", "fit.epochs=2", *overrides])
    return recipe.compiled(model, settings, plan.phases(settings, 320)[phase]).optimizer


def test_the_config_names_every_optimizer_and_every_schedule():
    assert set(typing.get_args(training.OptimizerName)) == set(optimizers.OPTIMIZERS)
    assert set(typing.get_args(training.ScheduleName)) == set(schedules.CURVES)


@pytest.mark.parametrize("name", optimizers.OPTIMIZERS)
def test_every_optimizer_gets_its_options_from_the_config(model, name):
    further = {"sgd": "nesterov: true", "ftrl": "beta: 0.5", "muon": "ns_steps: 3", "adafactor": "clip_threshold: 2"}
    argument, value = further.get(name, "epsilon: 1e-5" if name != "lion" else "beta_1: 0.8").split(": ")
    optimizer = compiled(
        model,
        f"optimizer.name={name}",
        "optimizer.weight_decay=0.1",
        "optimizer.decay_norms_and_biases=true",
        "optimizer.global_clip_norm=2",
        "optimizer.ema_momentum=0.9",
        f"optimizer.arguments.{argument}={value}",
        "optimizer.layer_rates={kernel: 0.5}",
    )
    assert type(optimizer) is optimizers.OPTIMIZERS[name]
    assert optimizer.built
    settings = optimizer.get_config()
    expected = {
        "weight_decay": 0.1,
        "decay_norms_and_biases": True,
        "global_clipnorm": 2.0,
        "use_ema": True,
        "ema_momentum": 0.9,
        "layer_rates": {"kernel": 0.5},
        argument: {"true": True}.get(value) or float(value),
    }
    assert {key: settings[key] for key in expected} == expected


def test_rates_by_pattern_win_over_those_by_layer_and_spare_the_head_phase(model):
    overrides = ["optimizer.layer_rates={conv2d: 0.3, logits/bias: 2}", "fine_tune.layer_rate_decay=0.5"]
    head = dict(compiled(models.split_at_backbone(model)[1], *overrides, phase=0).layer_rates)
    assert head == {"logits/bias": 2.0}
    rates = list(compiled(model, *overrides, phase=1).layer_rates)
    assert rates[:2] == [("conv2d", 0.3), ("logits/bias", 2.0)]
    assert all(re.search("sequential", pattern) for pattern, _ in rates[2:])


@pytest.mark.parametrize("name", schedules.CURVES)
def test_every_schedule_has_the_rates_of_its_phase_also_after_loading(model, name, tmp_path):
    piecewise = "boundaries: [30%, 1 epoch], fractions: [0.5, 0.1]"
    override = f"schedule={{name: {name}, warmup: 2 steps, {piecewise if name == 'piecewise' else ''}}}"
    settings = config.load(overrides=["fit={head_epochs: 0, epochs: 2}", override])
    (phase,) = plan.phases(settings, 320)
    optimizer = recipe.compiled(model, settings, phase).optimizer
    model.save(tmp_path / "model.keras")
    loaded = models.load(tmp_path / "model.keras").optimizer
    for step in (0, 1, 2, 9, 19):
        for each in (optimizer, loaded):
            each.iterations.assign(step)
            np.testing.assert_allclose(float(each.learning_rate), phase.learning_rates[step], rtol=1e-5, atol=1e-9)
