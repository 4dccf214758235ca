"""Runs that train on their validation part: the same examples, no choice on held-out data, and the test part as before."""

import dataclasses
import json

import numpy as np
import pytest
import tensorflow as tf
from interruptions import InterruptAfter, Interrupted

from kerastrain import config, data, recipe
from kerastrain.errors import InputError
from kerastrain.recipe import building, compressing, fitting, plan, ranking_backbones, starting_run, training_run
from kerastrain.run_directory import Run

WORDS = {"fruit": ("apple", "pear", "plum"), "tool": ("saw", "hammer", "drill")}
TARGETS = {"label": "single_label", "tags": "multi_label", "price": "regression"}


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A table of 80 texts with a class, labels, a number, a weight, a writer, and parts of its own."""
    lines, random = ["text,label,tags,price,weight,writer,part"], np.random.default_rng(0)
    for number in range(40):
        part = ("train", "train", "val", "train", "test")[number % 5]
        for label, words in WORDS.items():
            tags = f"{label}|odd" if number % 2 else label
            numbers = f"{random.random():.3f},{1 + number % 3}"
            lines.append(
                f"{words[number % 3]} or {words[(number + 1) % 3]} {number},{label},{tags},{numbers},w{number},{part}"
            )
    path = tmp_path_factory.mktemp("texts") / "texts.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def settings(table, *overrides, target="label"):
    columns = f"{{input: text, targets: {target}, split: {'part' if 'own parts' in overrides else 'null'}}}"
    given = [override for override in overrides if override != "own parts"]
    if "own parts" not in overrides:
        columns = columns.replace(", split: null", "")
    return config.load(
        overrides=[
            *("data.kind=text", f"data.path={table}", f"data.columns={columns}", f"data.task={TARGETS[target]}"),
            *(
                "model.backbone=keras:embedding",
                "model.vocabulary_size=100",
                "model.embedding_dim=4",
                "export.formats=[]",
            ),
            *("fit.epochs=3", "fit.global_batch_size=16", "optimizer.learning_rate=0.05", "data.augment=[]", *given),
        ]
    )


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    "overrides",
    [(), ("own parts",), ("data.columns.group=writer", "data.columns.weight=weight"), ("data.test_fraction=0",)],
    ids=["fractions", "own parts", "groups and weights", "no test part"],
)
def test_train_and_validation_are_trained_on_and_the_test_part_stays(table, target, overrides):
    held_out = plan.parts(settings(table, *overrides, target=target))
    final = plan.parts(settings(table, "data.train_on_validation=true", *overrides, target=target))
    assert set(final) == set(held_out) - {"validation"}
    assert set(final["train"].keys) == {*held_out["train"].keys, *held_out["validation"].keys}
    assert len(final["train"]) == len(held_out["train"]) + len(held_out["validation"])
    rows = {key: row for row, key in enumerate(final["train"].keys)}
    for part in (held_out["train"], held_out["validation"]):
        own = final["train"].subset([rows[key] for key in part.keys])
        np.testing.assert_array_equal(own.targets, part.targets)
        if part.weights is not None:
            np.testing.assert_array_equal(own.weights, part.weights)
    if "test" in held_out:
        assert final["test"].keys == held_out["test"].keys


def test_another_seed_of_training_keeps_the_parts_if_the_split_has_its_own(table):
    keys = lambda *overrides: {name: part.keys for name, part in plan.parts(settings(table, *overrides)).items()}
    assert keys("runtime.seed=1") != keys()
    assert keys("runtime.seed=1", "data.split_seed=0") == keys()
    assert keys("data.split_seed=1") == keys("runtime.seed=1")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data.folds=3"], "a fold is one. Received: train_on_validation true and folds 3"),
        (["evaluation.threshold=f1"], "evaluation.threshold needs a validation part, as thresholds are chosen"),
        (["evaluation.temperature=true"], "evaluation.temperature needs a validation part"),
        (["fit.early_stopping_epochs=2"], "fit.early_stopping_epochs needs a validation part"),
        (["schedule.plateau_epochs=2"], "schedule.plateau_epochs needs a validation part"),
        (["data.kind=chat", "data.path=a.jsonl"], "train_on_validation is not for data.kind=chat"),
    ],
)
def test_what_needs_a_validation_part_is_refused(overrides, message):
    with pytest.raises(InputError, match=message):
        config.load(overrides=["data.train_on_validation=true", *overrides])


def test_a_choice_between_backbones_or_files_is_refused(tmp_path):
    final = config.load(overrides=["data.train_on_validation=true"])
    with pytest.raises(InputError, match="a ranking of backbones needs a validation part"):
        ranking_backbones.find_backbone(final, ["kerastrain:fractal_small"])
    with pytest.raises(InputError, match="compress, which chooses among files, needs a validation part"):
        compressing.compress(Run(tmp_path, final, None), config.validate({}, config.CompressConfig))


def test_a_phase_stops_within_the_schedule_of_its_full_length():
    whole = plan.phases(config.load(overrides=["fit.head_epochs=6", "fit.epochs=4"]), 100)
    stopped = plan.phases(
        config.load(overrides=["fit.head_epochs=6", "fit.epochs=4", "fit.head_stop_epoch=2", "fit.stop_epoch=3"]), 100
    )
    assert [phase.trained_epochs for phase in whole] == [6, 4]
    assert [phase.trained_epochs for phase in stopped] == [2, 3]
    for one, other in zip(whole, stopped, strict=True):
        np.testing.assert_array_equal(one.learning_rates, other.learning_rates)


def test_a_phase_cannot_stop_after_its_end():
    with pytest.raises(InputError, match="head_stop_epoch must be at most head_epochs. Received: 9 and 6"):
        config.load(overrides=["fit.head_epochs=6", "fit.head_stop_epoch=9"])
    with pytest.raises(
        InputError, match="`fit.stop_epoch` must be at most the epochs .* Received: 50, and phase 'fine_tune' has 25"
    ):
        plan.phases(config.load(overrides=["fit.stop_epoch=50"]), 100)


def _fitted(final, split, directory, strategy=None, **options):
    strategy = tf.distribute.get_strategy() if strategy is None else strategy
    prepared = building.prepare_unmeasured(final, strategy, lambda *arguments: split)
    model = prepared.build()
    return model, recipe.fit(model, final, split, directory, **options)


def test_the_weights_are_those_of_the_last_epoch_and_nothing_else_changes(table, tmp_path):
    final = settings(table, "data.train_on_validation=true", "fit.stop_epoch=2")
    split = recipe.load_data(final, None)
    model, last = _fitted(final, split, tmp_path / "final")
    # Validated on training examples, whose loss falls, the best of two epochs is the second, too.
    validated = dataclasses.replace(split, validation=split.train)
    reference, best = _fitted(final, validated, tmp_path / "reference")
    assert (last.phase, last.epoch) == (best.phase, best.epoch) == ("fit", 2)
    assert not [name for name in last.logs if name.startswith("val_")]
    assert not (tmp_path / "final/checkpoints/best_fit.keras").exists()
    for one, other in zip(model.get_weights(), reference.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_two_devices_train_as_one(table, tmp_path):
    # Each replica draws its own dropout, and AdamW makes steps of rounding errors.
    options = ("model.word_dropout=0", "model.dropout=0", "optimizer.name=sgd", "optimizer.learning_rate=0.5")
    weights = []
    # Other tests of the process have strategies, too, and the collective keys of two could clash.
    mirrored = ("runtime.devices=2", "runtime.all_reduce=hierarchical_copy")
    for name, devices in (("none", ()), ("mirrored", mirrored)):
        given = ("data.train_on_validation=true", "fit.stop_epoch=2", f"runtime.strategy={name}", *devices)
        final = settings(table, *given, *options)
        split = recipe.load_data(final, None)
        weights.append(_fitted(final, split, tmp_path / name, recipe.make_strategy(final))[0].get_weights())
    for one, other in zip(*weights, strict=True):
        np.testing.assert_allclose(one, other, atol=2e-6)


@pytest.mark.slow
def test_a_run_is_whole_without_a_validation_part_and_resumes_bit_for_bit(table, tmp_path, monkeypatch):
    final = settings(table, "data.train_on_validation=true", "fit.stop_epoch=2", "fit.checkpoint_every=1 steps")
    whole = training_run.run(final, tmp_path / "whole")
    assert set(whole.measures) == {"test"}
    history = (tmp_path / "whole/history.csv").read_text()
    assert "val_" not in history
    assert len(history.splitlines()) == 3
    assert [path.name for path in (tmp_path / "whole/predictions").iterdir()] == ["test.npz"]
    page = (tmp_path / "whole/report.html").read_text()
    assert "Nothing was held out to choose an epoch by" in page
    sound = json.loads((tmp_path / "whole/verdict.json").read_text())["sound"]
    assert not {"still_improving", "rate_too_low"} & set(sound)

    fit_phase = fitting.fit_phase

    def interrupted_once(stage, *arguments, **options):
        monkeypatch.setattr(fitting, "fit_phase", fit_phase)
        return fit_phase(
            dataclasses.replace(stage, callbacks=[*stage.callbacks, InterruptAfter(6)]), *arguments, **options
        )

    monkeypatch.setattr(fitting, "fit_phase", interrupted_once)
    with pytest.raises(Interrupted):
        training_run.run(final, tmp_path / "killed")
    resumed = training_run.resume(tmp_path / "killed")
    for one, other in zip(whole.model.get_weights(), resumed.model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert (tmp_path / "killed/metrics.json").read_bytes() == (tmp_path / "whole/metrics.json").read_bytes()

    # The config of a further training has a validation part again.
    further = starting_run.config_from(tmp_path / "whole")
    assert not further.data.train_on_validation
    assert further.fit.stop_epoch is None
    assert "validation" in further.evaluation.sets
    assert config.load(tmp_path / "whole/config.yaml").data.train_on_validation


def test_a_model_without_any_held_out_part_is_not_measured(table):
    final = settings(table, "data.train_on_validation=true", "data.test_fraction=0")
    parts = plan.parts(final)
    assert set(parts) == {"train"}
    assert len(parts["train"]) == 80
    assert data.small_data_warning(parts) is None
