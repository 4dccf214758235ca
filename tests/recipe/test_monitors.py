"""`fit.monitor`: the measure that decides which epoch is the best, when a phase stops, and which phase ships."""

import csv

import numpy as np
import pytest

from kerastrain import config, data, evaluation, recipe, testing
from kerastrain.errors import InputError
from kerastrain.recipe import best_phase, monitors, plan


def evaluation_batches(split):
    return data.batches(split.validation, 64)


LANGUAGE = ("data.path=texts.txt", "model.backbone=hf:owner/name")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = tmp_path_factory.mktemp("monitors")
    testing.colour_folder(place / "colours", count=8)
    testing.saved_model(place / "module", image_size=(16, 16))
    return place


def settings(place, *overrides):
    shared = [
        f"data.path={place}/colours",
        f"model.backbone={place}/module",
        "fit.global_batch_size=8",
        "data.augment=[]",
    ]
    return config.load(overrides=[*shared, "fit.head_epochs=4", "fit.epochs=2", *overrides])


def fitted(wanted, directory):
    directory.mkdir()
    prepared = recipe.prepare(wanted)
    model = prepared.build()
    return model, prepared.split, recipe.fit(model, prepared.config, prepared.split, directory)


def rows(directory):
    with (directory / "history.csv").open(newline="", encoding="utf-8") as file:
        return [*csv.DictReader(file)]


@pytest.mark.slow
def test_any_measure_is_logged_after_each_epoch_and_chooses_the_best(place, tmp_path):
    wanted = settings(place, "fit.monitor=validation.macro.roc_auc")
    model, split, best = fitted(wanted, tmp_path / "run")
    history = rows(tmp_path / "run")
    measured = evaluation.evaluate(model, evaluation_batches(split))
    assert best.value == pytest.approx(measured["macro"]["roc_auc"], rel=1e-6)
    head = [float(row["val_macro_roc_auc"]) for row in history if row["phase"] == "head"]
    assert max(head) == best_phase.best_epoch(tmp_path / "run", ["head"], monitors.monitor(wanted)).value


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["fit.monitor=validation.macro_f1"], "fit.monitor: unknown measure .*Did you mean 'validation.macro.f1'"),
        (
            ["fit.monitor=test.accuracy"],
            "fit.monitor: models are compared on the validation part.*Use validation.accuracy",
        ),
        (["fit.monitor=validation.mae"], "validation.mae is a measure of regression. Received: it for single_label"),
        (["fit.monitor=validation.accuracy", "data.task=regression"], "is a measure of single_label and multi_label"),
        (["fit.monitor=model.parameters"], "model.parameters is not measured after each epoch of single_label"),
        (
            ["fit.monitor=validation.perplexity", "data.kind=language", *LANGUAGE],
            "not measured after each epoch",
        ),
    ],
)
def test_what_epochs_cannot_be_compared_by_is_refused_in_the_config(overrides, message):
    with pytest.raises(InputError, match=message):
        config.load(overrides=overrides)


def test_a_class_that_the_data_do_not_have_is_refused_before_training():
    wanted = config.load(overrides=["fit.monitor=validation.classes.cat.recall"])
    plan.check_labels(wanted, ("cat", "dog"))
    with pytest.raises(
        InputError, match="`fit.monitor`: validation.classes.cat.recall: unknown class 'cat'. Known: cow, dog"
    ):
        plan.check_labels(wanted, ("cow", "dog"))


@pytest.mark.parametrize(
    ("overrides", "column", "mode", "is_computed"),
    [
        ([], "val_data_loss", "min", False),
        (["fit.monitor=validation.loss", "data.task=regression"], "val_data_loss", "min", False),
        (["fit.monitor=validation.accuracy"], "val_accuracy", "max", False),
        (["fit.monitor=validation.brier"], "val_brier", "min", True),
        (["fit.monitor=validation.r2", "data.task=regression"], "val_r2", "max", True),
        (
            ["fit.monitor=validation.accuracy", "data.kind=chat", *LANGUAGE],
            "val_accuracy",
            "max",
            False,
        ),
    ],
)
def test_the_monitor_of_a_config(overrides, column, mode, is_computed):
    monitor = monitors.monitor(config.load(overrides=overrides))
    assert (monitor.column, monitor.mode, monitor.is_computed) == (column, mode, is_computed)


def history(folder, column, **values):
    lines = [f"{phase},{epoch},{value}" for phase, each in values.items() for epoch, value in enumerate(each, start=1)]
    (folder / "history.csv").write_text("\n".join([f"phase,epoch,{column}", *lines]) + "\n", "utf-8")


ACCURACY = monitors.Monitor("validation.accuracy", "val_accuracy")
KAPPA = monitors.Monitor("validation.kappa", "val_kappa", is_computed=True)


@pytest.mark.parametrize(
    ("monitor", "head", "fine_tune", "examples", "phase"),
    [
        (ACCURACY, [0.8, 0.9], [0.92], 100, "head"),  # 0.9 + sqrt(0.9 * 0.1 / 100) = 0.93
        (ACCURACY, [0.8, 0.9], [0.94], 100, "fine_tune"),
        (ACCURACY, [0.8, 0.9], [0.92], 400, "fine_tune"),  # 0.915
        (ACCURACY, [1.0], [1.0], 400, "head"),
        (ACCURACY, ["nan"], [0.1], 400, "fine_tune"),
        (ACCURACY, [0.1], ["nan"], 400, "head"),
        (KAPPA, [0.5], [0.54], 25, "head"),  # 1 - 0.5 * 0.9 = 0.55
        (KAPPA, [0.5], [0.56], 25, "fine_tune"),
        (KAPPA, [-0.5], [-0.3], 25, "fine_tune"),
    ],
)
def test_a_later_phase_ships_only_if_it_is_better_beyond_chance(tmp_path, monitor, head, fine_tune, examples, phase):
    history(tmp_path, monitor.column, head=head, fine_tune=fine_tune)
    best, bests, rule = best_phase.choose(tmp_path, ["head", "fine_tune"], examples=examples, monitor=monitor)
    assert best.phase == phase
    assert [epoch.phase for epoch in bests] == ["head", "fine_tune"]
    assert f"with {examples} validation examples, phase fine_tune counts as better above" in rule


def test_an_undefined_value_is_never_the_best_and_of_none_the_last_epoch_ships(tmp_path):
    history(tmp_path, "val_accuracy", head=["nan", 0.5, 0.7, 0.7], fit=["nan", "nan"])
    assert best_phase.best_epoch(tmp_path, ["head"], ACCURACY).epoch == 3
    assert best_phase.best_epoch(tmp_path, ["fit"], ACCURACY).epoch == 2


def test_a_measure_of_a_class_has_the_standard_error_of_its_examples():
    targets, inputs = np.array([0, 0, 0, 1]), np.zeros((4, 2), "float32")
    shown = data.Examples(targets, ("a.b", "c", "d"), inputs)
    counts = [
        monitors.examples(monitors.Monitor(f"validation.{name}", "val"), shown)
        for name in ("accuracy", "classes.a.b.f1", "classes.c.recall", "classes.d.recall")
    ]
    assert counts == [4, 3, 1, 1]
