"""The winner of a search on train and validation: how long it trains, and that its test part is measured once."""

import json
from pathlib import Path

import numpy as np
import pytest

from kerastrain import config, tuning
from kerastrain.config import SearchConfig
from kerastrain.errors import InputError
from kerastrain.recipe import plan, retrained_run, retraining, search_files, search_winner, training_run

HEADER = "phase,epoch,val_data_loss,val_accuracy"


def history(folder, best, **losses):
    """A training whose phases had these validation losses, and the best epoch (phase, number)."""
    folder.mkdir(parents=True)
    rows = [
        f"{phase},{epoch},{loss},{1 - loss}" for phase, values in losses.items() for epoch, loss in enumerate(values, 1)
    ]
    (folder / "history.csv").write_text("\n".join([HEADER, *rows]) + "\n")
    (folder / "trial.json").write_text(json.dumps({"best": {"phase": best[0], "epoch": best[1]}}))


def search(folder, scores, *, recipe=(), state="finished", **settings):
    settings = config.validate({"space": {"model.dropout": [0, 0.2]}, **settings}, SearchConfig)
    search_files.write(folder, config.load(overrides=["fit.head_epochs=5", *recipe]), settings)
    trial = {"point": 7, "status": "completed", "scores": scores, "values": {"model.dropout": 0.2}, "measures": {}}
    objectives = [{"measure": each.measure, "direction": each.direction} for each in settings.objectives]
    record = {"objectives": objectives, "trials": [trial], "state": state, "test": None}
    (folder / "trials.json").write_text(json.dumps(record))
    return folder


def test_it_trains_as_long_as_the_seeds_at_their_best_epochs_on_average(tmp_path):
    folder = search(tmp_path / "search", [0.9, 0.9, 0.9], recipe=["fit.epochs=4"])
    history(folder / "trials/007", ("fine_tune", 2), head=[0.5, 0.4, 0.3, 0.6], fine_tune=[0.3, 0.1, 0.2, 0.3])
    history(
        folder / "trials/007_seed1", ("fine_tune", 3), head=[0.5, 0.4, 0.3, 0.2, 0.6], fine_tune=[0.3, 0.2, 0.1, 0.2]
    )
    history(folder / "trials/007_seed2", ("head", 1), head=[0.1, 0.4], fine_tune=[0.3])  # in the minority
    best = search_winner.read_winner(folder)
    assert retraining.stop_epochs(best) == {"head": 4, "fine_tune": 3}  # 3.5 and 2.5, rounded up
    assert retraining.stop_epochs(best, last=True) == {"head": 3, "fine_tune": 3}  # of all: 3, 4, 1 and 4, 4, 1
    final = retraining.config_of(folder)
    assert (final.fit.head_epochs, final.fit.head_stop_epoch, final.fit.epochs, final.fit.stop_epoch) == (5, 4, 4, 3)
    assert final.data.train_on_validation
    assert (final.model.dropout, final.evaluation.sets, final.fit.monitor) == (0.2, ("test",), None)
    parts, whole = plan.parts(final), plan.parts(best.config)
    assert len(parts["train"]) == len(whole["train"]) + len(whole["validation"])
    np.testing.assert_array_equal(parts["test"].targets, whole["test"].targets)


def test_it_leaves_fine_tuning_out_where_the_head_was_best(tmp_path):
    folder = search(tmp_path / "search", [0.9], recipe=["fine_tune.last=3", "memory.micro_batches=2"])
    history(folder / "trials/007", ("head", 2), head=[0.5, 0.1, 0.3], fine_tune=[0.3, 0.2])
    final = retraining.config_of(folder)
    assert (final.fit.head_stop_epoch, final.fit.epochs, final.fit.stop_epoch, final.fine_tune.last) == (
        2,
        0,
        None,
        None,
    )


def test_epochs_that_depend_on_the_number_of_examples_are_those_of_the_search(tmp_path):
    # 60 examples in two steps: 50 epochs of fine-tuning make 100 steps; with the validation part an epoch has three steps.
    table = tmp_path / "texts.csv"
    table.write_text(
        "text,label\n" + "".join(f"{'good' if row % 2 else 'bad'} film {row},{row % 2}\n" for row in range(80))
    )
    own = [f"data.path={table}", "data.kind=text", "data.test_fraction=0.05", "fit.steps_per_execution=2"]
    folder = search(
        tmp_path / "search", [0.9], recipe=[*own, "fit.early_stopping_epochs=3", "fit.global_batch_size=30"]
    )
    history(folder / "trials/007", ("fit", 6), fit=[0.5] * 5 + [0.1, 0.2])
    final = retraining.config_of(folder)
    assert (final.fit.epochs, final.fit.stop_epoch, final.fit.head_stop_epoch) == (10, 6, None)
    assert final.fit.early_stopping_epochs is None
    [phase] = plan.phases(final, len(plan.parts(final)["train"]))
    assert phase.steps_per_epoch % final.fit.steps_per_execution == 0
    assert (phase.steps_per_epoch, final.fit.steps_per_execution) == (3, 1)


@pytest.mark.parametrize(
    ("scores", "settings", "message"),
    [
        ([None], {}, "there is no winner to train again"),
        ([0.9], {"state": "running"}, "the winner is known when the search has ended. .*`kerastrain tune --resume"),
        ([0.9], {}, "has no record of its best epoch"),
        ([0.9], {"objective": ["validation.accuracy", "model.parameters"]}, "several objectives"),
        ([0.9], {"recipe": ["evaluation.threshold=f1"]}, "thresholds are chosen on the validation part"),
    ],
)
def test_what_cannot_be_trained_again_is_refused(tmp_path, scores, settings, message):
    folder = search(tmp_path / "search", scores, **settings)
    (folder / "trials/007").mkdir(parents=True)
    with pytest.raises(InputError, match=message):
        retraining.retrain(folder)
    assert not (folder / "best").exists()


def completed(folder):
    """A search in a folder of `search`, whose only trial has ended."""
    objective = tuning.Objective("validation.accuracy", "max")
    space = tuning.Space({"model.dropout": tuning.Choices((0, 0.2))})
    oracle = tuning.oracle(tuning.Settings("random", 1, (objective,)), space, folder)
    trial = oracle.create_trial("tuner0")
    history(folder / "trials/001", ("fit", 2), fit=[0.5, 0.1, 0.2])
    oracle.update_trial(trial.trial_id, {"validation.accuracy": 0.9}, step=3)
    trial.status = "COMPLETED"
    oracle.end_trial(trial)
    tuning.records.write(folder)
    return folder


def finished(folder, measures):
    """The run of a winner whose process was killed as soon as the run was finished."""
    run = folder / "best"
    run.mkdir()
    (run / "metrics.json").write_text(json.dumps(measures))
    (run / "finished.json").write_text('{"seconds": 1.0}')
    return run


def test_a_second_training_is_refused_also_if_the_first_was_killed_before_it_was_recorded(tmp_path):
    folder = completed(search(tmp_path / "search", [0.9]))
    retrained_run.refuse_second(folder)
    finished(folder, {"test": {"task": "single_label", "accuracy": 0.75}})
    with pytest.raises(FileExistsError, match="was trained again, and the test part was measured on 20"):
        retrained_run.refuse_second(folder)
    assert json.loads((folder / "trials.json").read_text())["test"]["measures"] == {"accuracy": 0.75}
    assert "the test part was measured once, on 20" in (folder / "search.html").read_text()


def test_a_second_training_is_refused_without_a_test_part(tmp_path):
    folder = completed(search(tmp_path / "search", [0.9]))
    finished(folder, {})
    with pytest.raises(FileExistsError, match="was trained again. Its measures"):
        retrained_run.refuse_second(folder)
    assert not (folder / "test.json").exists()


def test_only_the_run_of_a_winner_belongs_to_a_search(tmp_path, monkeypatch):
    folder = search(tmp_path / "search", [0.9])
    assert retrained_run.search_of(folder / "best") == folder
    assert retrained_run.search_of(tmp_path / "best") is None
    assert retrained_run.search_of(folder / "trials") is None
    monkeypatch.chdir(folder)
    assert retrained_run.search_of(Path("best")) == folder


@pytest.mark.slow
def test_the_test_part_is_measured_once_and_the_search_says_when(tmp_path):
    table = tmp_path / "texts.csv"
    lines = [f"{'good' if row % 2 else 'bad'} film {row % 9},{row % 2}" for row in range(80)]
    table.write_text("\n".join(["text,label", *lines]) + "\n")
    own = [
        f"data.path={table}",
        "data.kind=text",
        "model.backbone=keras:embedding",
        "export.formats=[]",
        "fit.epochs=4",
    ]
    folder = completed(search(tmp_path / "search", [0.9], recipe=own))
    result = retraining.retrain(folder)
    assert set(result.measures) == {"test"}
    assert len((folder / "best/history.csv").read_text().splitlines()) == 3
    record = json.loads((folder / "trials.json").read_text())["test"]
    assert record["folder"] == "best"
    assert record["measures"]["accuracy"] == result.measures["test"]["accuracy"]
    assert "the test part was measured once, on 20" in (folder / "search.html").read_text()
    with pytest.raises(FileExistsError, match="was trained again, and the test part was measured on 20"):
        retraining.retrain(folder)
    # A run that was stopped may also be resumed as any other run is, with `kerastrain train --resume`.
    (folder / "best/finished.json").unlink()
    (folder / "test.json").unlink()
    training_run.resume(folder / "best")
    assert json.loads((folder / "test.json").read_text())["measures"] == record["measures"]
    repeated = training_run.run(config.load(folder / "best/config.yaml"), tmp_path / "again")
    for one, other in zip(result.model.get_weights(), repeated.model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
