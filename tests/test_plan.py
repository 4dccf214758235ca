import pytest

from kerastrain import config, plan
from kerastrain.errors import InputError


def test_phases_count_every_batch_and_the_warmup_of_each():
    settings = config.load(overrides=["fit.head_epochs=4", "fit.epochs=2", "schedule.warmup=10%"])
    head, fine_tune = plan.phases(settings, 65)
    assert (head.name, head.steps_per_epoch, head.steps, head.warmup_steps) == ("head", 3, 12, 1)
    assert (fine_tune.name, fine_tune.steps, fine_tune.warmup_steps) == ("fine_tune", 6, 1)
    assert fine_tune.learning_rate == pytest.approx(0.01 * 0.05)


def test_a_backbone_with_random_weights_has_one_phase_at_the_full_rate():
    (phase,) = plan.phases(config.load(overrides=["model.backbone=keras:MobileNet"]), 64)
    assert (phase.name, phase.learning_rate) == ("fit", 0.01)
    with pytest.raises(InputError, match=r"`fit.epochs` must be above 0 for a backbone with random weights"):
        plan.phases(config.load(overrides=["model.backbone=keras:MobileNet", "fit.epochs=0"]), 64)


def test_a_warmup_as_long_as_a_phase_is_refused():
    settings = config.load(overrides=["schedule.warmup=2 epochs", "fit.epochs=2"])
    with pytest.raises(InputError, match=r"`schedule.warmup` must be shorter than each phase.*'2 epochs' \(6 steps\)"):
        plan.phases(settings, 65)


def test_part_sizes_are_those_that_training_gets(tmp_path):
    from kerastrain import data, testing

    folder = testing.colour_folder(tmp_path / "data", count=7)
    sizes = plan.part_sizes(config.load(overrides=[f"data.path={folder}"]))
    split = data.image_folder(folder, image_size=(8, 8), validation_fraction=0.2, test_fraction=0.1)
    assert sizes == {name: len(part) for name, part in split.parts.items()}
    assert plan.part_sizes(config.load()) == {"train": 1259, "validation": 359, "test": 179}
