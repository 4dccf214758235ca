"""What ships is the best epoch of all phases, by a loss that means the same in all of them."""

import csv
import logging

import keras
import numpy as np
import pytest

from kerastrain import callbacks, config, evaluation, recipe, run_directory, testing
from kerastrain.recipe import best_phase


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = tmp_path_factory.mktemp("phases")
    testing.colour_folder(place / "colours", count=8)
    testing.saved_model(place / "module", image_size=(16, 16), l2=1e-2)
    return place


def settings(place, *overrides):
    shared = [f"data.path={place}/colours", f"model.backbone={place}/module", "data.augment=[]", "model.dropout=0"]
    shared += ["fit.head_epochs=6", "fit.epochs=9", "fit.global_batch_size=8", "optimizer.learning_rate=0.5"]
    shared += ["optimizer.fine_tune_fraction=1"]
    return config.load(overrides=[*shared, *overrides])


def fitted(wanted, directory):
    directory.mkdir(exist_ok=True)
    prepared = recipe.prepare(wanted)
    model = prepared.build()
    return model, recipe.fit(model, prepared.config, prepared.split, directory)


def rows(directory, phase):
    with (directory / "history.csv").open(newline="", encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if row["phase"] == phase]


def assert_equal_weights(one, other):
    for first, second in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(first, second)


def test_a_phase_that_makes_the_model_worse_ends_and_does_not_ship(place, tmp_path, caplog):
    caplog.set_level(logging.INFO, "kerastrain")
    model, best = fitted(settings(place), tmp_path / "both")
    head, best_of_head = fitted(settings(place, "fit.epochs=0"), tmp_path / "head")
    assert_equal_weights(model, head)
    assert (best.phase, best.epoch, best.logs["val_data_loss"]) == (
        "head",
        best_of_head.epoch,
        best_of_head.logs["val_data_loss"],
    )
    fine_tuned = rows(tmp_path / "both", "fine_tune")
    assert len(fine_tuned) == 3  # a third of nine epochs
    assert all(float(row["val_data_loss"]) > best.value for row in fine_tuned)
    assert (
        f"ended after epoch 3: val_data_loss has been worse than in phase head ({best.value:.4g}) for 3" in caplog.text
    )
    (kept,) = tmp_path.rglob("best_before.weights.h5")  # in the folder that is removed when a run is finished
    assert kept.parent == run_directory.resume_folder(tmp_path / "both")
    worse = min(float(row["val_data_loss"]) for row in fine_tuned)
    assert (
        f"best: epoch {best.epoch} of phase head, among val_data_loss {best.value:.4g} in phase head, val_data_loss "
        f"{worse:.4g} in phase fine_tune" in caplog.text
    )


def test_a_stopped_run_ships_the_same_phase(place, tmp_path, monkeypatch):
    wanted = settings(place, "fit.checkpoint_every=1 steps")
    model, best = fitted(wanted, tmp_path / "whole")
    own = callbacks.EndWorsePhase.on_epoch_end

    def interrupt(self, epoch, logs=None):
        own(self, epoch, logs)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(callbacks.EndWorsePhase, "on_epoch_end", interrupt)
        with pytest.raises(KeyboardInterrupt):
            fitted(wanted, tmp_path / "stopped")
    resumed, again = fitted(wanted, tmp_path / "stopped")
    assert_equal_weights(resumed, model)
    assert (again.phase, again.epoch, again.value) == (best.phase, best.epoch, best.value)
    assert len(rows(tmp_path / "stopped", "fine_tune")) == len(rows(tmp_path / "whole", "fine_tune"))


def test_a_phase_that_helps_ships(place, tmp_path):
    gentle = settings(place, "optimizer.learning_rate=0.05", "fit.head_epochs=1", "fit.epochs=4")
    model, best = fitted(gentle, tmp_path / "run")
    assert best.phase == "fine_tune"
    assert best.value < min(float(row["val_data_loss"]) for row in rows(tmp_path / "run", "head"))
    # The module's own penalty counts in the loss as soon as it trains, and never in the loss of the data.
    (head,) = rows(tmp_path / "run", "head")
    assert float(head["val_loss"]) == pytest.approx(float(head["val_data_loss"]), rel=1e-6)
    penalties = [float(row["val_loss"]) - float(row["val_data_loss"]) for row in rows(tmp_path / "run", "fine_tune")]
    assert min(penalties) > 1e-4


def test_the_loss_of_the_data_is_that_of_keras_without_penalties():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(10, 3)).astype(np.float32), np.eye(2, dtype=np.float32)[rng.integers(0, 2, 10)]
    weights = rng.random(10).astype(np.float32)
    loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1)
    dense = keras.layers.Dense(2, kernel_regularizer=keras.regularizers.L2(0.1))
    model = keras.Sequential([keras.Input((3,)), dense])
    model.compile(loss=loss, weighted_metrics=[evaluation.DataLoss(loss)])
    measured = model.evaluate(x, y, sample_weight=weights, batch_size=4, verbose=0, return_dict=True)
    penalty = 0.1 * float(np.sum(np.square(dense.kernel)))
    assert measured["data_loss"] == pytest.approx(measured["loss"] - penalty, rel=1e-5)
    copy = evaluation.DataLoss.from_config(evaluation.DataLoss(loss).get_config())
    assert copy.loss.get_config() == loss.get_config()


def test_nan_is_worse_than_every_number(tmp_path):
    (tmp_path / "history.csv").write_text(
        "phase,epoch,val_data_loss\nhead,1,nan\nhead,2,0.5\nhead,3,0.5\nfine_tune,1,nan\n", encoding="utf-8"
    )
    best = best_phase.best_epoch(tmp_path, ["head"])
    assert (best.epoch, best.value, best.logs) == (2, 0.5, {"epoch": 2.0, "val_data_loss": 0.5})
    assert best_phase.best_epoch(tmp_path, ["fine_tune"]).value == float("inf")
    assert best_phase.best_epoch(tmp_path, ["fit"]) is None
