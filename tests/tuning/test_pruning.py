import itertools
import math
from statistics import median

import numpy as np
import pytest
import search_workers

from kerastrain import tuning
from kerastrain.system import isolated_imports
from kerastrain.tuning import journal, scalarisation, search_state

UNLIMITED = tuning.Space({"x": tuning.Interval(0.0, 1.0)})
HALVING = tuning.Pruning("halving", min_epochs=1, factor=3)
RESULTS = np.random.default_rng(7).random((200, 100))  # of a point after a number of epochs


def opened(directory, algorithm="random", **settings):
    return tuning.oracle(search_workers.settings(algorithm, **settings), UNLIMITED, directory)


def state_of(directory):
    state = search_state.SearchState()
    for event in journal.read(directory):
        state.apply(event)
    return state


def carried_out(oracle, workers=1, fails=lambda asked: False, result=lambda asked, epochs: None, on_idle=lambda: None):
    """Workers that take turns: what starts first ends first. Returns (point, epochs) of each trial in the order of starts."""
    free, busy, order = [f"tuner{number}" for number in range(workers)], [], []
    while True:
        for name in list(free):
            trial = oracle.create_trial(name)
            if trial.status == "IDLE":
                on_idle()
            if trial.status != "RUNNING":
                continue
            free.remove(name)
            busy.append((name, trial))
            asked = tuning.assignment(trial)
            order.append((asked.point, asked.epochs))
        if not busy:
            return order
        name, trial = busy.pop(0)
        asked = tuning.assignment(trial)
        epochs = asked.epochs or oracle.settings.max_epochs
        trial.status, trial.message = ("FAILED", "it failed") if fails(asked) else ("COMPLETED", None)
        if trial.status == "COMPLETED":
            value = result(asked, epochs)
            step, value = value if value is not None else (epochs, RESULTS[asked.point, epochs])
            oracle.update_trial(asked.trial_id, {"loss": value}, step=step)
            trial.status = "COMPLETED"
        oracle.end_trial(trial)
        free.append(name)


def of_keras_tuner(directory, max_epochs, workers):
    """The same with keras-tuner's HyperbandOracle."""
    keras_tuner = isolated_imports.keras_tuner()
    hyperparameters = keras_tuner.HyperParameters()
    hyperparameters.Float("x", 0.0, 1.0)
    oracle = keras_tuner.oracles.HyperbandOracle(
        keras_tuner.Objective("loss", "min"), max_epochs=max_epochs, factor=3, seed=1, hyperparameters=hyperparameters
    )
    keras_tuner.engine.base_tuner.BaseTuner(oracle=oracle, directory=str(directory))
    oracle.verbose = 0
    free, busy, order, points = [f"tuner{number}" for number in range(workers)], [], [], {}
    while True:
        for name in list(free):
            trial = oracle.create_trial(name)
            if trial.status != "RUNNING":
                continue
            free.remove(name)
            busy.append((name, trial))
            values = trial.hyperparameters.values
            before = points.get(values.get("tuner/trial_id"))
            points[trial.trial_id] = before or len({*points.values()}) + 1
            epochs = values["tuner/epochs"]
            order.append((points[trial.trial_id], None if epochs == max_epochs else epochs))
        if not busy:
            return order
        name, trial = busy.pop(0)
        epochs = trial.hyperparameters.values["tuner/epochs"]
        oracle.update_trial(trial.trial_id, {"loss": RESULTS[points[trial.trial_id], epochs]}, step=epochs)
        trial.status = "COMPLETED"
        oracle.end_trial(trial)
        free.append(name)


@pytest.mark.parametrize(("max_epochs", "workers"), [(9, 1), (10, 1), (4, 1), (1, 1), (9, 3), (27, 2)])
def test_hyperband_starts_the_trials_of_keras_tuner_in_its_order(tmp_path, max_epochs, workers):
    oracle = opened(tmp_path / "ours", "hyperband", trials=None, max_epochs=max_epochs)
    order = carried_out(oracle, workers)
    assert order == of_keras_tuner(tmp_path / "theirs", max_epochs, workers)
    assert oracle.state == "finished"
    assert oracle.max_trials == len({point for point, _ in order})


def test_hyperband_fills_its_rounds_although_trials_fail(tmp_path):
    oracle = opened(tmp_path, "hyperband", trials=None, max_epochs=9, failures=99)
    order = carried_out(oracle, fails=lambda asked: asked.point in (1, 2, 3, 4, 5, 6, 7))
    first = [(point, epochs) for point, epochs in order if point <= 9]
    best = min((8, 9), key=lambda point: RESULTS[point, 3])
    assert first == [(number, 1) for number in range(1, 10)] + [
        (point, 3) for point in sorted((8, 9), key=lambda point: RESULTS[point, 1])
    ] + [(best, None)]
    assert oracle.state == "finished"


@pytest.mark.parametrize("points", [9, 27, 10, 8, 4, 1])
def test_halving_continues_the_best_third_of_each_rung(tmp_path, points):
    oracle = opened(tmp_path, trials=points, max_epochs=27, pruning=HALVING)
    order = carried_out(oracle)
    reached = {epochs: [point for point, given in order if given == epochs] for epochs in (1, 3, 9, None)}
    assert sorted(reached[1]) == list(range(1, points + 1))
    for lower, higher in itertools.pairwise((1, 3, 9, None)):
        count = len(reached[lower])
        best = sorted(reached[lower], key=lambda point: RESULTS[point, lower])
        # Asynchronously a point may continue that is overtaken later, but never fewer than the best third do.
        assert {*best[: count // 3]} <= {*reached[higher]} <= {*reached[lower]}
        assert len(reached[higher]) >= -(-count // 3)
    if points == 27:
        assert len(order) < 27 + 9 + 3 + 1 + 12
    assert oracle.state == "finished"


def test_halving_continues_a_point_as_soon_as_it_is_in_the_best_third(tmp_path):
    losses = {1: 0.5, 2: 0.6, 3: 0.4, 4: 0.9, 5: 0.8, 6: 0.7, 7: 0.95, 8: 0.96, 9: 0.97}
    oracle = opened(tmp_path, trials=9, max_epochs=9, pruning=HALVING)
    order = carried_out(oracle, result=lambda asked, epochs: (epochs, losses[asked.point]))
    # After 3 points the best continues; after 6 the second best; after 9 the third best; then the best of 3 at the next rung.
    assert order == [(1, 1), (2, 1), (3, 1), (3, 3), (4, 1), (5, 1), (6, 1), (1, 3)] + [
        (7, 1),
        (8, 1),
        (9, 1),
        (2, 3),
        (3, None),
    ]


@pytest.mark.parametrize("workers", [2, 5])
def test_no_worker_of_halving_waits_while_a_point_may_continue(tmp_path, workers):
    oracle, idle = opened(tmp_path, trials=20, max_epochs=27, pruning=HALVING), []

    def on_idle():
        idle.append(1)
        points = state_of(tmp_path).points.values()
        assert len(points) == 20
        for lower, higher in itertools.pairwise((1, 3, 9, None)):
            at, further = (
                sum(training.epochs == epochs for point in points for training in point.trainings)
                for epochs in (lower, higher)
            )
            waits = any(point.status == "paused" and point.trainings[-1].epochs == lower for point in points)
            assert not (waits and further < -(-at // 3))

    order = carried_out(oracle, workers, on_idle=on_idle)
    assert idle
    assert {epochs for _, epochs in order} == {1, 3, 9, None}
    assert len(order) == len({*order})
    assert oracle.state == "finished"


def test_a_training_that_ends_by_itself_below_its_rung_is_complete(tmp_path):
    oracle = opened(tmp_path, trials=9, max_epochs=9, pruning=HALVING)

    def result(asked, epochs):  # Point 2 stops early after 2 epochs, the best of all.
        return (2, 0.1) if asked.point == 2 else (epochs, 0.2 + asked.point / 100)

    order = carried_out(oracle, result=result)
    assert (2, 3) in order
    assert (2, None) not in order
    state = state_of(tmp_path)
    assert state.points[2].status == "completed"
    hyperband = opened(tmp_path / "hyperband", "hyperband", trials=None, max_epochs=9)
    order = carried_out(hyperband, result=result)
    assert (2, 3) in order
    assert (2, None) not in order
    assert hyperband.state == "finished"


def test_median_prunes_a_trial_that_diverged_from_its_first_epoch_on(tmp_path):
    settings = search_workers.settings(trials=4, max_epochs=3, pruning=tuning.Pruning("median", startup_trials=1))
    oracle, answers = tuning.oracle(settings, UNLIMITED, tmp_path), []
    for values in ([math.nan, 0.5, 0.4], [0.6, 0.3, 0.2], [math.nan, math.nan, math.nan]):
        trial = oracle.create_trial("a")
        for epoch, value in enumerate(values, start=1):
            trial = oracle.update_trial(trial.trial_id, {"loss": value}, step=epoch)
            if trial.status == "STOPPED":
                break
        answers.append((epoch, trial.status))
        trial.status = "COMPLETED"
        oracle.end_trial(trial)
    assert answers == [(3, "RUNNING"), (3, "RUNNING"), (2, "STOPPED")]


def test_median_prunes_what_is_worse_than_half_of_the_completed(tmp_path):
    pruning = tuning.Pruning("median", min_epochs=2, startup_trials=3)
    settings = search_workers.settings(
        trials=30, max_epochs=6, pruning=pruning, objectives=(tuning.Objective("accuracy", "max"),)
    )
    oracle, curves = tuning.oracle(settings, UNLIMITED, tmp_path), []
    pruned = 0
    while (trial := oracle.create_trial("a")).status == "RUNNING":
        asked = tuning.assignment(trial)
        curve = RESULTS[asked.point, :6]
        for epoch in range(1, 7):
            told = oracle.update_trial(asked.trial_id, {"accuracy": curve[epoch - 1]}, step=epoch).status
            limit = median([max(other[:epoch]) for other in curves]) if len(curves) >= 3 else -1
            expected = 2 <= epoch < 6 and max(curve[:epoch]) < limit
            assert told == ("STOPPED" if expected else "RUNNING")
            if expected:
                pruned += 1
                break
        else:
            curves.append(curve)
        trial.status = "COMPLETED"
        oracle.end_trial(trial)
    assert 5 < pruned < 27
    state = state_of(tmp_path)
    assert sum(point.status == "pruned" for point in state.points.values()) == pruned
    assert len(curves) == 30 - pruned


def test_models_see_one_value_of_each_point_that_of_its_highest_rung(tmp_path):
    pytest.importorskip("hyperopt")
    oracle = opened(tmp_path, "tpe", trials=12, max_epochs=9, pruning=HALVING)
    order = carried_out(oracle)
    highest = {}
    for point, epochs in order:
        highest[point] = epochs or 9
    state = state_of(tmp_path)
    losses = scalarisation.losses(oracle.settings.objectives, [*state.points.values()], seed=3, number=12)
    assert losses == {point: RESULTS[point, epochs] for point, epochs in highest.items()}
    assert len({*highest.values()}) == 3
