"""A run that pauses after some epochs, and continues in new processes, ends as one that never paused."""

import csv

import keras
import numpy as np
import pytest

from kerastrain import callbacks, config, recipe, testing


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = tmp_path_factory.mktemp("pauses")
    testing.colour_folder(place / "colours", count=8)
    testing.saved_model(place / "module", image_size=(16, 16))
    return place


def settings(place, *overrides):
    shared = [f"data.path={place}/colours", f"model.backbone={place}/module", "fit.global_batch_size=8"]
    shared += ["fit.head_epochs=2", "fit.epochs=2", "fit.checkpoint_every=1000 steps", "optimizer.ema_momentum=0.9"]
    return config.load(overrides=[*shared, *overrides])


def fitted(wanted, directory, pauses=()):
    """Trains, after each pause with new objects as in a new process; returns the model, its best epoch and what was asked."""
    asked = []

    def on_epoch(epoch, logs):
        asked.append((epoch, logs["val_data_loss"]))
        assert len(rows(directory)) == epoch
        return "pause" if epoch in pauses else "continue"

    directory.mkdir(parents=True)
    best = None
    while best is None:
        keras.backend.clear_session(free_memory=False)
        prepared = recipe.prepare(wanted)
        model = prepared.build()
        try:
            best = recipe.fit(model, prepared.config, prepared.split, directory, on_epoch=on_epoch)
        except callbacks.Paused as paused:
            assert (paused.epoch, paused.is_saved) == (asked[-1][0], True)
    return model, best, asked


def rows(directory):
    with (directory / "history.csv").open(newline="", encoding="utf-8") as file:
        return [{name: text for name, text in row.items() if name != "seconds"} for row in csv.DictReader(file)]


def assert_equal_runs(one, other, directories):
    for first, second in zip(one[0].get_weights(), other[0].get_weights(), strict=True):
        np.testing.assert_array_equal(first, second)
    assert rows(directories[0]) == rows(directories[1])
    assert (one[1].phase, one[1].epoch, one[2]) == (other[1].phase, other[1].epoch, other[2])


@pytest.mark.slow
def test_a_run_that_pauses_after_every_epoch_ends_as_one_that_never_does(place, tmp_path):
    undisturbed = fitted(settings(place), tmp_path / "undisturbed")
    assert [epoch for epoch, _ in undisturbed[2]] == [1, 2, 3, 4]
    paused = fitted(settings(place), tmp_path / "paused", pauses=(1, 2, 3, 4))
    assert_equal_runs(undisturbed, paused, [tmp_path / "undisturbed", tmp_path / "paused"])
