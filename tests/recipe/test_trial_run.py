"""Searches whose trials are runs: real processes, and a kill in the middle."""

import json
import os
import random
import signal
import time

import processes
import pytest

from kerastrain import config as configs
from kerastrain import testing
from kerastrain.errors import InputError
from kerastrain.recipe import search_files, trial_config, tuning
from kerastrain.system import signals
from kerastrain.tuning.assignments import Assignment
from kerastrain.tuning.settings import Objective

TEXTS = ["data.kind=text", "model.backbone=keras:embedding", "model.embedding_dim=2", "fit.epochs=3"]
SPACE = {"optimizer.learning_rate": [0.003, 0.1], "model.dropout": [0.0, 0.3]}


@pytest.fixture(autouse=True, scope="module")
def _server():
    processes.server()


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    """A folder of texts of two classes."""
    folder, rng = tmp_path_factory.mktemp("texts"), random.Random(0)
    for name, words in (("good", "fine great lovely happy"), ("poor", "bad dull awful sad")):
        lines = [f"{rng.choice(words.split())} film number {number} {rng.choice('abcdef')}" for number in range(24)]
        (folder / f"{name}.txt").write_text("\n".join(lines))
    return folder


def searched(texts, directory, *overrides, workers=1, on_event=None, **search):
    search = {"trials": 2, "space": SPACE, **search}
    config = configs.load(overrides=[*TEXTS, f"data.path={texts}", *overrides])
    search = configs.validate(search, configs.SearchConfig, source="the test")
    return tuning.run(config, search, directory, workers=workers, on_event=on_event)


def outcomes(result):
    """What must not depend on how the trials were carried out."""
    return [
        (trial["point"], trial["values"], trial["score"], trial["status"], trial["curve"]) for trial in result.trials
    ]


@pytest.fixture(scope="module")
def undisturbed(texts, tmp_path_factory):
    """A search of two trials that nothing disturbed: its result and its events."""
    events = []
    directory = tmp_path_factory.mktemp("searches") / "undisturbed"
    return searched(texts, directory, on_event=events.append), events


@pytest.mark.slow
def test_a_search_trains_each_trial_as_a_run_and_keeps_the_best_model(undisturbed):
    result, events = undisturbed
    assert (result.state, result.reason, result.failure) == ("finished", None, None)
    assert [event.kind for event in events] == ["start", "epoch", "epoch", "epoch", "end"] * 2
    assert {event.epochs for event in events if event.kind == "epoch"} == {3}
    best = max(result.trials, key=lambda trial: (trial["score"], -trial["point"]))
    assert result.best == best["point"]
    for trial in result.trials:
        folder = result.directory / trial["folder"]
        measures = json.loads((folder / "metrics.json").read_text())
        assert [*measures] == ["validation"]
        assert trial["score"] == measures["validation"]["accuracy"] == trial["measures"]["validation.accuracy"]
        assert not (folder / "checkpoints").exists()
        assert (folder / "model.keras").exists() == (trial is best)
        assert configs.load(folder / "config.yaml").fit.monitor == "validation.accuracy"
        assert [epoch for epoch, _ in trial["curve"]] == [1, 2, 3]
    for name in ("best.yaml", "search.html", "trials.csv", "finished.json", "log.txt"):
        assert (result.directory / name).is_file()
    assert outcomes(tuning.resume(result.directory)) == outcomes(result)


@pytest.mark.chaos
def test_a_search_that_was_stopped_in_a_trial_goes_on_there(texts, tmp_path, undisturbed):
    def stop(event):
        if (event.kind, event.assignment.point, event.epoch) == ("epoch", 1, 2):
            os.kill(os.getpid(), signal.SIGTERM)

    directory = tmp_path / "search"
    with pytest.raises(signals.Stopped) as stopped, signals.graceful():
        searched(texts, directory, on_event=stop)
    assert stopped.value.code == 75
    record = json.loads((directory / "trials.json").read_text())
    assert (record["state"], record["reason"]) == ("stopped", "stopped by SIGTERM")
    assert [trial["status"] for trial in record["trials"]] == ["paused"]
    events = []
    result = tuning.resume(directory, on_event=events.append)
    assert outcomes(result) == outcomes(undisturbed[0])
    assert [event.epoch for event in events if event.kind == "epoch" and event.assignment.point == 1] in ([2, 3], [3])
    assert events[0].kind == "resume"


@pytest.mark.slow
def test_a_second_process_does_not_search_in_the_same_folder(undisturbed):
    from kerastrain.system import locks

    directory = undisturbed[0].directory
    (directory / "finished.json").rename(directory / "aside.json")
    with locks.locked(directory, "searching in"), pytest.raises(InputError, match="another process is searching in"):
        tuning.resume(directory)
    (directory / "aside.json").rename(directory / "finished.json")


@pytest.mark.slow
def test_a_search_that_was_killed_loses_nothing_and_trains_nothing_twice(texts, tmp_path, undisturbed):
    directory = tmp_path / "search"
    search = processes.server().Process(target=_search, args=(texts, directory))
    search.start()
    while not (directory / "trials/002/history.csv").is_file():
        assert search.is_alive()
        time.sleep(0.02)
    search.kill()
    search.join()
    finished = (directory / "trials/001/finished.json").stat().st_mtime_ns
    result = tuning.resume(directory)
    assert outcomes(result) == outcomes(undisturbed[0])
    assert (directory / "trials/001/finished.json").stat().st_mtime_ns == finished


def _search(texts, directory):
    processes.share_server()
    searched(texts, directory)


@pytest.mark.slow
def test_two_workers_reach_the_scores_of_one(texts, tmp_path, undisturbed):
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("needs two cores")
    result = searched(texts, tmp_path / "search", workers=2)
    assert outcomes(result) == outcomes(undisturbed[0])


@pytest.mark.slow
def test_a_trial_that_halving_continues_equals_one_that_was_never_paused(texts, tmp_path):
    pruning = {"name": "halving", "min_epochs": 1, "factor": 2}
    result = searched(texts, tmp_path / "search", "fit.epochs=4", trials=3, pruning=pruning)
    straight = searched(texts, tmp_path / "straight", "fit.epochs=4", trials=3)
    scores = {trial["point"]: (trial["score"], trial["curve"]) for trial in straight.trials}
    completed = [trial for trial in result.trials if trial["status"] == "completed"]
    assert completed
    for trial in completed:
        assert (trial["score"], trial["curve"]) == scores[trial["point"]]
    assert {trial["epochs"] for trial in result.trials} > {4}
    assert not [*(tmp_path / "search").glob("trials/*/checkpoints")]


@pytest.mark.slow
def test_a_search_in_which_every_trial_fails_says_why_the_first_one_did(texts, tmp_path):
    space = {"optimizer.learning_rate": [1e37, 1e38]}
    result = searched(texts, tmp_path / "search", "optimizer.name=sgd", trials=2, space=space, failures=5)
    assert result.best is None
    assert "not finite" in result.failure or "NaN" in result.failure
    assert {trial["status"] for trial in result.trials} == {"failed"}


@pytest.mark.slow
def test_the_size_of_an_exported_file_is_an_objective(tmp_path):
    testing.colour_folder(tmp_path / "colours", count=8)
    testing.saved_model(tmp_path / "module", image_size=(16, 16))
    config = configs.load(
        overrides=[
            *(f"data.path={tmp_path}/colours", f"model.backbone={tmp_path}/module"),
            *("fit.head_epochs=1", "fit.epochs=0", "export.samples=8"),
        ]
    )
    objective = ["validation.accuracy", "export.tflite_float32.bytes", "export.tflite_float32.milliseconds"]
    search = {"algorithm": "grid", "objective": objective, "space": {"model.hidden_units": [[], [64]]}}
    search = configs.validate(search, configs.SearchConfig, source="the test")
    result = tuning.run(config, search, tmp_path / "search")
    small, large = sorted(result.trials, key=lambda trial: len(trial["values"]["model.hidden_units"]))
    assert small["measures"]["export.tflite_float32.bytes"] < large["measures"]["export.tflite_float32.bytes"]
    assert min(trial["measures"]["export.tflite_float32.milliseconds"] for trial in result.trials) > 0
    assert not (tmp_path / "search/features").exists()


def test_the_config_of_a_trial_keeps_the_parts_of_the_data_under_other_seeds():
    base = configs.load(overrides=["runtime.seed=5"])
    objectives = (Objective("validation.macro.f1", "max"), Objective("export.tflite_int8.bytes", "min"))
    config = trial_config.of_trial(base, objectives, Assignment("7", 7, 2, {"model.dropout": 0.25}, None))
    assert (config.runtime.seed, config.data.split_seed, config.model.dropout) == (7, 5, 0.25)
    assert (config.export.formats, config.evaluation.sets) == (("tflite_int8",), ("validation",))
    assert (config.fit.monitor, config.data.cache) == ("validation.macro.f1", "disk")


def test_only_models_of_the_best_trials_stay_and_those_of_trials_that_run(tmp_path):
    states = {
        1: ("completed", 0.5),
        2: ("completed", 0.9),
        3: ("running", None),
        4: ("failed", None),
        5: ("completed", 0.7),
    }
    for point in states:
        folder = tmp_path / f"trials/{point:03d}"
        (folder / "exports").mkdir(parents=True)
        (folder / "finished.json").touch()
        (folder / "model.keras").touch()
    trials = [{"point": point, "status": status, "score": score} for point, (status, score) in states.items()]
    record = {"objectives": [{"direction": "max"}], "trials": trials}
    search_files.keep_models(tmp_path, record, 2)
    assert [path.parent.name for path in sorted(tmp_path.glob("trials/*/model.keras"))] == ["002", "003", "005"]
    assert [path.parent.name for path in sorted(tmp_path.glob("trials/*/exports"))] == ["002", "003", "005"]
