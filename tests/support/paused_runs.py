"""Trains a run in processes of its own, of which each but the last pauses after an epoch."""

import csv
import json

import numpy as np
import processes

PAUSED = 3
"""The exit code of a process that has paused."""


def train(overrides, directory, pauses=(), environment=None):
    """Trains the run of a config in as many processes as are needed; each pauses after the epochs `pauses`.

    Returns:
        (dict of the weights, list of the rows of history.csv without times, list of (epoch, logs) as they were reported).
    """
    directory.mkdir()
    code = PAUSED
    while code == PAUSED:
        arguments = (list(overrides), directory, tuple(pauses), dict(environment or {}))
        process = processes.server().Process(target=_train, args=arguments)
        process.start()
        process.join()
        code = process.exitcode
    assert code == 0, (directory / "output").read_text()
    with (directory / "history.csv").open(newline="", encoding="utf-8") as file:
        rows = [{name: text for name, text in row.items() if name != "seconds"} for row in csv.DictReader(file)]
    reports = [json.loads(line) for line in (directory / "reports").read_text().splitlines()]
    with np.load(directory / "weights.npz") as weights:
        return dict(weights), rows, reports


def assert_equal(one, other):
    """Raises AssertionError unless two results of `train` are equal bit for bit."""
    assert one[0].keys() == other[0].keys()
    for name, weight in one[0].items():
        np.testing.assert_array_equal(weight, other[0][name], err_msg=name)
    assert one[1:] == other[1:]


def _train(overrides, directory, pauses, environment):
    import os

    processes.enter({**os.environ, **environment}, [directory / "output"] * 2)
    from kerastrain import callbacks, config, recipe

    wanted = config.load(overrides=overrides)

    def on_epoch(epoch, logs):
        with (directory / "reports").open("a") as file:
            file.write(json.dumps([epoch, logs]) + "\n")
        return "pause" if epoch in pauses else "continue"

    try:
        if wanted.is_language:
            model = _language_model(wanted, directory, on_epoch)
        else:
            prepared = recipe.prepare(wanted)
            model = prepared.build()
            recipe.fit(model, prepared.config, prepared.split, directory, on_epoch=on_epoch)
    except callbacks.Paused as paused:
        assert paused.is_saved
        raise SystemExit(PAUSED) from None
    np.savez(directory / "weights.npz", **{str(index): weight for index, weight in enumerate(model.get_weights())})


def _language_model(wanted, directory, on_epoch):
    import contextlib

    import tensorflow as tf

    from kerastrain.recipe import language_trial

    model, measures = language_trial.train_and_measure(
        tf.distribute.get_strategy(),
        wanted,
        directory,
        lambda *arguments, **digests: contextlib.nullcontext(),
        on_epoch=on_epoch,
        on_begin=lambda config, count: None,
        on_trained=lambda best: None,
    )
    assert set(measures) == {"validation"}
    return model
