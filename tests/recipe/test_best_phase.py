"""What ships is the best epoch of all phases, by a loss that means the same in all of them."""

import csv
import logging

import keras
import numpy as np
import pytest

from kerastrain import callbacks, config, evaluation, models, recipe, run_directory, testing
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
    shared += ["optimizer.fine_tune_fraction=1", "fit.checkpoint_every=1 epochs"]
    return config.load(overrides=[*shared, *overrides])


def fitted(wanted, directory):
    directory.mkdir(exist_ok=True)
    prepared = recipe.prepare(wanted)
    model = prepared.build()
    return model, recipe.fit(model, prepared.config, prepared.split, directory)


@pytest.fixture(scope="module")
def worsened(place):
    """A run whose fine-tuning destroys the features: its folder, its model, the best epoch and what was logged."""
    records = []
    handler = logging.Handler()
    handler.emit = lambda record: records.append(record.getMessage())
    logger = logging.getLogger("kerastrain")
    logger.addHandler(handler)
    level = logger.level
    logger.setLevel(logging.INFO)
    try:
        model, best = fitted(settings(place), place / "worsened")
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)
    return place / "worsened", model, best, "\n".join(records)


def rows(directory, phase):
    with (directory / "history.csv").open(newline="", encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if row["phase"] == phase]


def assert_equal_weights(one, other):
    for first, second in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(first, second)


@pytest.mark.slow
def test_a_phase_that_makes_the_model_worse_ends_and_does_not_ship(place, worsened):
    folder, model, best, log = worsened
    untrained = recipe.prepare(settings(place)).build()
    assert_equal_weights(models.split_at_backbone(model)[0], models.split_at_backbone(untrained)[0])
    head = models.load(folder / "checkpoints" / "best_head.keras")
    assert_equal_weights(models.split_at_backbone(model)[1], head)
    of_head = best_phase.best_epoch(folder, ["head"])
    assert (best.phase, best.epoch, best.value) == ("head", of_head.epoch, of_head.value)
    fine_tuned = rows(folder, "fine_tune")
    assert len(fine_tuned) == 3  # a third of nine epochs
    assert all(float(row["val_data_loss"]) > best.value for row in fine_tuned)
    assert (
        f"ended after epoch 3: val_data_loss has been worse than in phase head ({best.value:.4g}) for 3 epochs" in log
    )
    (kept,) = folder.rglob("best_before.weights.h5")  # in the folder that is removed when a run is finished
    assert kept.parent == run_directory.resume_folder(folder)
    worse = min(float(row["val_data_loss"]) for row in fine_tuned)
    assert (
        f"best: epoch {best.epoch} of phase head, among val_data_loss {best.value:.4g} in phase head, val_data_loss "
        f"{worse:.4g} in phase fine_tune; with 6 validation examples, phase fine_tune counts as better below "
        f"{best.value * (1 - 0.5 / 6**0.5):.4g}" in log
    )


@pytest.mark.slow
def test_a_stopped_run_ships_the_same_phase(place, worsened, tmp_path, monkeypatch):
    wanted = settings(place)
    folder, model, best, _ = worsened
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
    assert len(rows(tmp_path / "stopped", "fine_tune")) == len(rows(folder, "fine_tune"))


@pytest.mark.slow
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


@pytest.mark.parametrize(
    ("fine_tuned", "examples", "phase"),
    [
        (0.46, 25, "head"),  # 0.45 counts as better than 0.5 with 25 examples, 0.495 with 2,500
        (0.44, 25, "fine_tune"),
        (0.46, 2500, "fine_tune"),
        (0.5, 2500, "head"),
        ("nan", 2500, "head"),
    ],
)
def test_a_gain_that_few_validation_examples_cannot_show_keeps_the_head(tmp_path, caplog, fine_tuned, examples, phase):
    caplog.set_level(logging.INFO, "kerastrain")
    (tmp_path / "history.csv").write_text(f"phase,epoch,val_data_loss\nhead,1,0.5\nfine_tune,1,{fine_tuned}\n", "utf-8")
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    model.layers[0].kernel.assign([[1.0]])
    best_phase.keep(model, tmp_path)
    model.layers[0].kernel.assign([[2.0]])
    best = best_phase.take_best(model, tmp_path, ["head", "fine_tune"], examples=examples)
    assert (best.phase, float(model.layers[0].kernel[0, 0])) == (phase, 1.0 if phase == "head" else 2.0)
    bound = {25: "0.45", 2500: "0.495"}[examples]
    assert f"with {examples:,} validation examples, phase fine_tune counts as better below {bound}" in caplog.text


def test_a_phase_after_one_without_a_loss_counts_as_better(tmp_path):
    (tmp_path / "history.csv").write_text("phase,epoch,val_data_loss\nhead,1,nan\nfine_tune,1,9\n", "utf-8")
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    assert best_phase.take_best(model, tmp_path, ["head", "fine_tune"], examples=1).phase == "fine_tune"


def test_nan_is_worse_than_every_number(tmp_path):
    (tmp_path / "history.csv").write_text(
        "phase,epoch,val_data_loss\nhead,1,nan\nhead,2,0.5\nhead,3,0.5\nfine_tune,1,nan\n", encoding="utf-8"
    )
    best = best_phase.best_epoch(tmp_path, ["head"])
    assert (best.epoch, best.value, best.logs) == (2, 0.5, {"epoch": 2.0, "val_data_loss": 0.5})
    assert best_phase.best_epoch(tmp_path, ["fine_tune"]).value == float("inf")
    assert best_phase.best_epoch(tmp_path, ["fit"]) is None
