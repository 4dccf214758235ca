"""A training that is tracked: each epoch after the history has it, and runs that end as the training did."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest

from kerastrain import callbacks, config
from kerastrain.recipe import tracked_runs
from kerastrain.tracking import tracked_run

SENT = []


class Recorder:
    """A tracker that keeps what it is sent."""

    def __init__(self, *, run, parameters, tags, name, project, directory):
        self.run, self.link = run or "1", "http://there"
        SENT.append(("start", run, name, project, parameters["fit.epochs"], sorted(tags)))

    def logged_epochs(self):
        return 0

    def log(self, epoch, values):
        SENT.append((epoch, sorted(set(values) & {"loss", "learning_rate", "epoch"})))

    def add(self, values, tags, paths):
        SENT.append(("add", values, [path.name for path in paths.get("", [])]))

    def end(self, *, finished):
        SENT.append(("end", finished))


def test_a_training_sends_each_epoch_and_ends_its_run(monkeypatch, tmp_path):
    monkeypatch.setitem(tracked_run.TRACKERS, "mlflow", Recorder)
    SENT.clear()
    settings = config.load(overrides=["tracking.to=[mlflow]", "fit.epochs=2", "tracking.project=own"])
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "environment.json").write_text(json.dumps({"keras": "3", "git": {"commit": "abc"}}))
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    ones = np.ones((4, 1), "float32")

    def fit(epochs):
        history = callbacks.HistoryFile(tmp_path / "run" / "history.csv")
        model.fit(ones, ones, epochs=epochs, verbose=0, callbacks=[history, *tracked_runs.callbacks(settings, folder)])

    folder = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt), tracked_runs.stopped_on_error(folder):
        fit(2)
        raise KeyboardInterrupt
    start = ("start", None, "run", "own", "2", ["run.folder", "run.git", "run.keras"])
    assert [
        start,
        (1, ["epoch", "learning_rate", "loss"]),
        (2, ["epoch", "learning_rate", "loss"]),
        ("end", False),
    ] == SENT
    SENT.clear()
    with tracked_runs.stopped_on_error(folder):
        tracked_runs.finish(settings, folder)  # Another process resumes after the training.
    assert [("start", "1", *start[2:]), ("add", {}, ["environment.json", "history.csv"]), ("end", True)] == SENT
    SENT.clear()
    tracked_runs.add(settings, folder, {"compressed/a/bytes": 5.0}, {})
    assert SENT[1:] == [("add", {"compressed/a/bytes": 5.0}, []), ("end", True)]
    assert tracked_runs.callbacks(tracked_runs.untracked(settings), folder) == []


def test_folds_and_trials_are_named_after_their_run():
    assert tracked_runs.run_name(None, Path("runs/flowers")) == "flowers"
    assert tracked_runs.run_name("own", Path("runs/flowers")) == "own"
    assert tracked_runs.run_name("own", Path("runs/flowers/fold_2")) == "own_fold_2"
    assert tracked_runs.run_name(None, Path("searches/rates/trials/003")) == "rates_003"
