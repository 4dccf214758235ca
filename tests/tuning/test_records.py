import csv
import json

import pytest
import search_workers

from kerastrain import tuning
from kerastrain.errors import InputError
from kerastrain.system import files
from kerastrain.tuning import records


def searched(directory, algorithm="random", measure=None, **settings):
    oracle = tuning.oracle(search_workers.settings(algorithm, **settings), search_workers.SPACE, directory)
    options = {"measure": measure} if measure else {}
    return search_workers.Workers(oracle, 2, **options).run().oracle


def test_records_of_a_search_have_every_trial_and_the_best(tmp_path):
    searched(tmp_path, trials=6)
    record = records.write(tmp_path)
    assert record == records.read(tmp_path)
    assert [trial["point"] for trial in record["trials"]] == [1, 2, 3, 4, 5, 6]
    assert (record["state"], record["reason"], record["trials_planned"]) == ("finished", None, 6)
    assert record["objectives"] == [{"measure": "loss", "direction": "min", "epoch": "best"}]
    for trial in record["trials"]:
        curve = [[epoch, search_workers.loss(trial["values"], epoch)] for epoch in range(1, 10)]
        assert trial["curve"] == curve
        assert trial["scores"] == [trial["score"]] == [curve[-1][1]]
        assert (trial["status"], trial["epochs"], trial["folder"]) == ("completed", 9, f"trials/00{trial['point']}")
        assert 0 <= trial["seconds"] <= record["seconds"]
    assert record["best"] == min(record["trials"], key=lambda trial: trial["score"])["point"]
    assert record["space"]["rate"] == {"min": 1e-4, "max": 1.0, "sampling": "log"}
    assert record["space"]["momentum"]["min"] == 0
    assert record["space"]["layers"] == [[], [64], [128, 64]]
    assert record["space"]["momentum"]["when"] == {"name": ["sgd"]}
    assert record["constraints"] == ["rate * units <= 32"]


def test_the_table_has_a_line_for_each_trial_and_tells_null_from_a_key_that_is_not_set(tmp_path):
    searched(tmp_path, trials=8)
    record = records.write(tmp_path)
    with (tmp_path / "trials.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 8
    for row, trial in zip(rows, record["trials"], strict=True):
        assert float(row["score"]) == float(row["loss"]) == trial["score"]
        assert float(row["rate"]) == trial["values"]["rate"]
        assert row["name"] == (trial["values"]["name"] or "null")
        assert json.loads(row["layers"]) == trial["values"]["layers"]
        assert (row["dropout"] == "") == ("dropout" not in trial["values"])


def test_texts_that_look_like_other_values_are_quoted_in_the_table(tmp_path):
    values = [None, "null", [1], "[1]", 1, "1", "", "a b"]
    space = tuning.Space({"key": tuning.Choices(tuple(values))})
    oracle = tuning.oracle(search_workers.settings("grid", trials=None), space, tmp_path)
    search_workers.Workers(oracle, measure=lambda values, epoch, seed: 1.0).run()
    records.write(tmp_path)
    with (tmp_path / "trials.csv").open(newline="") as file:
        cells = [row["key"] for row in csv.DictReader(file)]
    assert cells == ["null", '"null"', "[1]", '"[1]"', "1", '"1"', '""', "a b"]


def test_points_that_halving_leaves_behind_are_paused_and_at_the_end_pruned(tmp_path):
    settings = search_workers.settings(trials=9, pruning=tuning.Pruning("halving"))
    workers = search_workers.Workers(tuning.oracle(settings, search_workers.SPACE, tmp_path))
    for _ in range(4):
        workers.step()
    trial = workers.oracle.create_trial("tuner0")
    statuses = [trial["status"] for trial in records.write(tmp_path)["trials"]]
    assert sorted(statuses) == ["paused"] * (len(statuses) - 1) + ["running"]
    workers.oracle.stop("10 minutes are over")
    record = records.write(tmp_path)
    assert (record["state"], record["reason"], record["best"]) == ("stopped", "10 minutes are over", None)
    assert {trial["status"] for trial in record["trials"]} == {"paused"}
    assert trial.status == "RUNNING"
    search_workers.Workers(tuning.oracle(settings, search_workers.SPACE, tmp_path)).run()
    record = records.write(tmp_path)
    assert sorted((trial["status"], trial["epochs"]) for trial in record["trials"]) == (
        [("completed", 9)] + [("pruned", 1)] * 6 + [("pruned", 3)] * 2
    )
    assert record["trials"][record["best"] - 1]["status"] == "completed"


def test_finalists_have_a_score_for_each_seed_and_their_mean(tmp_path):
    searched(tmp_path, trials=5, seeds=3, finalists=2)
    record = records.write(tmp_path)
    finalists = [trial for trial in record["trials"] if len(trial["scores"]) == 3]
    assert len(finalists) == 2
    for trial in finalists:
        base = search_workers.loss(trial["values"], 9)
        assert trial["scores"] == [base, base + 0.01, base + 0.02]
        assert trial["score"] == pytest.approx(base + 0.01)
        assert trial["epochs"] == 27
    assert {len(trial["scores"]) for trial in record["trials"]} == {1, 3}
    worst_finalist = max(trial["scores"][0] for trial in finalists)
    assert all(trial["score"] > worst_finalist for trial in record["trials"] if len(trial["scores"]) == 1)


def test_what_a_trial_wrote_itself_is_in_its_record(tmp_path):
    searched(tmp_path, trials=2)
    written = {"measures": {"macro.f1": 0.5, "odd": None}, "curve": [[9, 7.0]], "epochs": 9, "seconds": 12.5}
    files.write_json(tmp_path / "trials" / "001" / "trial.json", written)
    files.write_json(tmp_path / "test.json", {"folder": "best", "measured": "2026-01-01T00:00:00"})
    record = records.write(tmp_path)
    trial = record["trials"][0]
    assert trial["measures"] == {"loss": trial["score"], "macro.f1": 0.5}
    assert (trial["curve"][-1], trial["seconds"]) == ([9, 7.0], 12.5)
    assert record["test"]["folder"] == "best"


def test_several_objectives_give_a_pareto_set(tmp_path):
    def measure(values, epoch, seed):
        return {"loss": search_workers.loss(values, epoch), "bytes": 100.0 * values["units"]}

    objectives = (tuning.Objective("loss", "min"), tuning.Objective("bytes", "min"))
    searched(tmp_path, measure=measure, trials=8, objectives=objectives)
    record = records.write(tmp_path)
    assert record["best"] is None
    scores = {trial["point"]: (trial["measures"]["loss"], trial["measures"]["bytes"]) for trial in record["trials"]}
    beaten = {
        point
        for point, (loss, size) in scores.items()
        for other in scores.values()
        if other != (loss, size) and other[0] <= loss and other[1] <= size
    }
    assert record["pareto"] == sorted(scores.keys() - beaten)


def test_failed_trials_have_no_score_and_their_reason(tmp_path):
    oracle = tuning.oracle(search_workers.settings(trials=2), search_workers.SPACE, tmp_path)
    trial = oracle.create_trial("a")
    oracle.update_trial(trial.trial_id, {"loss": 0.5}, step=1)
    trial.status, trial.message = "FAILED", "out of memory"
    oracle.end_trial(trial)
    (trial,) = records.write(tmp_path)["trials"]
    assert (trial["status"], trial["score"], trial["scores"], trial["reason"]) == (
        "failed",
        None,
        [None],
        "out of memory",
    )
    assert trial["curve"] == [[1, 0.5]]


def test_a_folder_without_a_search_is_refused(tmp_path):
    with pytest.raises(InputError, match="must be the folder of a search. Received: a folder without journal.jsonl"):
        records.write(tmp_path)
    with pytest.raises(InputError, match="must be the folder of a search. Received: a folder without trials.json"):
        records.read(tmp_path)
