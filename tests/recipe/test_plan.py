import numpy as np
import pytest
import yaml
from text_encoder_folders import write_encoder

from kerastrain import config, schedules
from kerastrain.errors import InputError
from kerastrain.recipe import plan


def test_phases_count_every_batch_and_the_warmup_of_each():
    settings = config.load(overrides=["fit.head_epochs=4", "fit.epochs=2", "schedule.warmup=10%"])
    head, fine_tune = plan.phases(settings, 65)
    assert (head.name, head.steps_per_epoch, head.steps, head.warmup_steps) == ("head", 3, 12, 1)
    assert (fine_tune.name, fine_tune.steps, fine_tune.warmup_steps) == ("fine_tune", 6, 1)
    assert fine_tune.learning_rate == pytest.approx(0.01 * 0.01)


@pytest.mark.parametrize(
    ("overrides", "fraction"),
    [
        (["model.backbone=kerastrain:efficientnet_lite0"], 0.01),
        (["model.backbone=kerastrain:fractal_small"], 0.05),
        (["model.backbone=kerastrain:fractal_small", "optimizer.fine_tune_fraction=0.2"], 0.2),
    ],
)
def test_fine_tuning_changes_features_of_photos_less_than_those_of_fractals(overrides, fraction):
    rates = [phase.learning_rate for phase in plan.phases(config.load(overrides=overrides), 320)]
    assert rates == pytest.approx([0.01, 0.01 * fraction])


@pytest.mark.parametrize(("examples", "epochs"), [(1, 100), (80, 34), (320, 10), (321, 10), (5000, 10)])
def test_fine_tuning_has_ten_epochs_and_a_hundred_steps(examples, epochs):
    assert [phase.epochs for phase in plan.phases(config.load(), examples)] == [30, epochs]


@pytest.mark.parametrize(("examples", "epochs"), [(160, 20), (1066, 3), (7464, 3)])
def test_an_encoder_has_three_epochs_and_a_hundred_steps(tmp_path, examples, epochs):
    write_encoder(tmp_path / "encoder")
    lines = ["data.kind=text", f"data.path={tmp_path}", f"model.backbone={tmp_path / 'encoder'}"]
    settings = config.load(overrides=lines)
    assert [phase.epochs for phase in plan.phases(settings, examples)] == [30, epochs]


def test_a_backbone_with_random_weights_trains_for_ten_epochs():
    (phase,) = plan.phases(config.load(overrides=["model.backbone=keras:MobileNet", "model.weights=random"]), 80)
    assert phase.epochs == 10


def test_a_backbone_with_random_weights_has_one_phase_at_the_full_rate():
    (phase,) = plan.phases(config.load(overrides=["model.backbone=keras:MobileNet", "model.weights=random"]), 64)
    assert (phase.name, phase.learning_rate) == ("fit", 0.01)
    with pytest.raises(InputError, match=r"`fit.epochs` must be above 0 for a backbone with random weights"):
        plan.phases(
            config.load(overrides=["model.backbone=keras:MobileNet", "model.weights=random", "fit.epochs=0"]), 64
        )


def test_a_warmup_as_long_as_a_phase_is_refused():
    settings = config.load(overrides=["schedule.warmup=2 epochs", "fit.epochs=2"])
    with pytest.raises(InputError, match=r"`schedule.warmup` must be shorter than each phase.*'2 epochs' \(6 steps\)"):
        plan.phases(settings, 65)


def test_lengths_of_a_schedule_are_steps_of_each_phase():
    settings = config.load(
        overrides=["schedule.name=step", "schedule.every=1 epoch", "schedule.drop_factor=0.5", "fit.head_epochs=4"]
    )
    head, fine_tune = plan.phases(settings, 320)
    assert (head.schedule, head.arguments) == ("step", {"every_steps": 10, "drop_factor": 0.5})
    rates = np.repeat([1.0, 0.5, 0.25, 0.125], 10) * 0.01
    rates[:2] = 0.01 / 3, 0.02 / 3  # 5 % of 40 steps of warm-up
    np.testing.assert_allclose(head.learning_rates, rates, rtol=1e-6)
    assert len(fine_tune.learning_rates) == 100


@pytest.mark.parametrize("name", ["constant", "cosine", "cosine_restarts", "exponential", "inverse_square_root",
                                  "linear", "one_cycle", "piecewise", "polynomial", "step"])  # fmt: skip
def test_the_rates_of_a_phase_are_those_that_it_trains_with(name):
    arguments = "{boundaries: [30%, 1 epoch], fractions: [0.5, 0.1]}" if name == "piecewise" else "{}"
    settings = {"name": name, **yaml.safe_load(arguments)}
    (phase,) = plan.phases(config.load(overrides=[f"schedule={settings}", "fit={head_epochs: 0, epochs: 2}"]), 320)
    schedule = schedules.make(
        phase.schedule, phase.learning_rate, steps=phase.steps, warmup_steps=phase.warmup_steps, **phase.arguments
    )
    assert phase.warmup_steps == (0 if name == "one_cycle" else 1)
    np.testing.assert_allclose(phase.learning_rates, schedules.simulate(schedule, phase.steps), rtol=1e-5, atol=1e-10)


def test_a_schedule_that_does_not_fit_a_phase_is_refused():
    settings = config.load(
        overrides=["schedule={name: piecewise, boundaries: [12 epochs], fractions: [0.1]}", "fit.epochs=10"]
    )
    with pytest.raises(InputError, match="does not fit phase 'fine_tune' of 30 steps: .* Received: boundaries_steps="):
        plan.phases(settings, 65)


def test_part_sizes_are_those_that_training_gets(tmp_path):
    from kerastrain import data, testing

    folder = testing.colour_folder(tmp_path / "data", count=7)
    sizes = {name: len(part) for name, part in plan.parts(config.load(overrides=[f"data.path={folder}"])).items()}
    split = data.image_folder(folder, image_size=(8, 8), validation_fraction=0.2, test_fraction=0.1)
    assert sizes == {name: len(part) for name, part in split.parts.items()}
    assert [len(part) for part in plan.parts(config.load()).values()] == [1259, 359, 179]
