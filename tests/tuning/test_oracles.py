import json
import math
import random
import resource

import pytest
import search_workers as black_box

from kerastrain import tuning
from kerastrain.errors import InputError
from kerastrain.system import files, isolated_imports
from kerastrain.tuning import journal, search_state

HALVING = tuning.Pruning("halving", min_epochs=1, factor=3)
SEARCHES = {
    "random": {"trials": 9},
    "grid": {"trials": 9},
    "bayesian": {"trials": 7},
    "hyperband": {"trials": None},
    "tpe": {"trials": 12},
    "random, median": {"trials": 9, "pruning": tuning.Pruning("median", startup_trials=2)},
    "tpe, halving": {"trials": 9, "pruning": HALVING},
    "random, seeds": {"trials": 4, "seeds": 3, "finalists": 2},
    "random, two objectives": {
        "trials": 5,
        "objectives": (tuning.Objective("loss", "min"), tuning.Objective("bytes", "min")),
    },
}
GRID = tuning.Space({key: black_box.SPACE.parameters[key] for key in ("units", "name", "layers", "dropout")})


def opened(name, directory, **others):
    """The Oracle of an entry of `SEARCHES`."""
    algorithm = name.partition(",")[0]
    if algorithm == "tpe":
        pytest.importorskip("hyperopt")
    space = GRID if algorithm == "grid" else black_box.SPACE
    return tuning.oracle(black_box.settings(algorithm, **SEARCHES[name]), space, directory, **others)


def measure(values, epoch, seed):
    values = {"rate": 0.01, **values}
    return {"loss": black_box.loss(values, epoch) + seed / 100, "bytes": 4.0 * values["units"]}


def starts(directory):
    """What was handed out first, in order, without times and workers."""
    names = ("trial", "point", "seed", "epochs", "values", "bracket")
    return [{n: event[n] for n in names} for event in journal.read(directory) if event["event"] == "start"]


def outcomes(directory):
    state = search_state.SearchState()
    for event in journal.read(directory):
        state.apply(event)
    return {name: (training.status, training.reports) for name, training in state.trainings.items()}


@pytest.mark.parametrize("name", SEARCHES)
def test_a_search_that_is_killed_at_every_event_ends_as_if_undisturbed(tmp_path, name):
    black_box.Workers(opened(name, tmp_path / "whole"), 2, measure).run()
    workers, steps = None, 0
    while True:
        workers = black_box.Workers(opened(name, tmp_path / "killed"), 2, measure)
        if not workers.step():  # two trials started and one ended in the life of each process
            break
        with (tmp_path / "killed" / "journal.jsonl").open("a") as file:
            file.write('{"event": "end", "tri')  # a line that was not finished
        steps += 1
    assert starts(tmp_path / "killed") == starts(tmp_path / "whole")
    assert outcomes(tmp_path / "killed") == outcomes(tmp_path / "whole")
    ends = [event["trial"] for event in journal.read(tmp_path / "killed") if event["event"] == "end"]
    assert len(ends) == len({*ends}) == steps
    assert workers.oracle.state == "finished"
    assert workers.oracle.reason is None


@pytest.mark.parametrize("algorithm", ["random", "bayesian", "tpe"])
def test_points_meet_conditions_and_constraints_and_differ(tmp_path, algorithm):
    if algorithm == "tpe":
        pytest.importorskip("hyperopt")
    directory = tmp_path / algorithm
    black_box.Workers(tuning.oracle(black_box.settings(algorithm, trials=9), black_box.SPACE, directory)).run()
    points = [start["values"] for start in starts(directory)]
    assert len(points) == len({json.dumps(values, sort_keys=True) for values in points}) == 9
    for values in points:
        assert values == black_box.SPACE.active(values)
        assert ("momentum" in values) == (values["name"] == "sgd")
        assert ("dropout" in values) == (values["layers"] != [])
        assert values["rate"] * values["units"] <= 32
        assert type(values["units"]) is int


@pytest.mark.slow
@pytest.mark.parametrize(("algorithm", "trials", "start"), [("bayesian", 10, 4), ("tpe", 40, 14)])
def test_a_model_proposes_better_points_than_chance(tmp_path, algorithm, trials, start):
    if algorithm == "tpe":
        pytest.importorskip("hyperopt")
    space = tuning.Space({"x": tuning.Interval(-5.0, 5.0)})
    oracle = tuning.oracle(black_box.settings(algorithm, trials=trials), space, tmp_path)
    black_box.Workers(oracle, measure=lambda values, epoch, seed: abs(values["x"] - 3)).run()
    distances = [abs(start["values"]["x"] - 3) for start in starts(tmp_path)]
    by_chance = (8**2 + 2**2) / (2 * 10)  # the mean distance of uniform points
    assert sum(distances[start:]) / (trials - start) < 0.7 * by_chance


def test_grid_goes_through_every_allowed_point_once_in_order(tmp_path):
    space = tuning.Space({"a": tuning.Interval(1, 3, integer=True), "b": tuning.Choices((1, 2))}, ("a * b < 6",))
    oracle = tuning.oracle(black_box.settings("grid", trials=None), space, tmp_path)
    workers = black_box.Workers(oracle, 2, lambda values, epoch, seed: values["a"]).run()
    points = [tuple(start["values"].values()) for start in starts(tmp_path)]
    assert points == [(1, 1), (1, 2), (2, 1), (2, 2), (3, 1)]
    assert (workers.oracle.state, workers.oracle.reason, workers.oracle.max_trials) == ("finished", None, 5)


def test_a_grid_of_an_interval_without_step_is_refused(tmp_path):
    with pytest.raises(InputError, match="a grid needs a step or a list of choices for every key. Received: rate"):
        tuning.oracle(black_box.settings("grid"), black_box.SPACE, tmp_path)


@pytest.mark.parametrize("algorithm", ["random", "bayesian", "tpe", "hyperband"])
def test_a_space_that_is_used_up_ends_the_search_with_a_sentence(tmp_path, algorithm):
    if algorithm == "tpe":
        pytest.importorskip("hyperopt")
    space = tuning.Space({"a": tuning.Choices((1, 2, 3)), "b": tuning.Choices((True, False))}, ("a != 2",))
    oracle = tuning.oracle(black_box.settings(algorithm, trials=20), space, tmp_path)
    black_box.Workers(oracle, 2, lambda values, epoch, seed: values["a"] + values["b"]).run()
    assert oracle.state == "finished"
    assert oracle.reason == "every point of the space that meets the constraints was tried: 4"
    assert len({start["point"] for start in starts(tmp_path)}) == 4
    assert any(start["epochs"] is None for start in starts(tmp_path))


def test_failures_end_the_search_and_reopening_continues_it(tmp_path):
    oracle = tuning.oracle(black_box.settings(trials=6), black_box.SPACE, tmp_path)
    failed = []
    while (trial := oracle.create_trial("a")).status == "RUNNING":
        failed.append(trial.trial_id)
        trial.status, trial.message = "FAILED", "out of memory"
        oracle.end_trial(trial)
        oracle.end_trial(trial)  # A worker repeats the call if the answer was lost.
    assert failed == ["001", "002", "003"]
    assert trial.status == "STOPPED"
    assert oracle.stopped
    assert oracle.state == "stopped"
    assert oracle.reason == "3 trials in a row failed; the last one with: out of memory"
    again = tuning.oracle(black_box.settings(trials=6), black_box.SPACE, tmp_path)
    assert (again.state, again.reason) == ("running", None)
    black_box.Workers(again).run()
    assert [status for status, _ in outcomes(tmp_path).values()] == ["failed"] * 3 + ["completed"] * 3
    assert again.state == "finished"


@pytest.mark.parametrize(
    ("values", "reason"),
    [({"loss": math.nan}, "loss is nan"), ({"loss": -math.inf}, "loss is -inf"), ({}, "loss is missing")],
)
def test_an_objective_that_is_no_number_fails_the_trial(tmp_path, values, reason):
    oracle = tuning.oracle(black_box.settings(), black_box.SPACE, tmp_path)
    trial = oracle.create_trial("a")
    oracle.update_trial(trial.trial_id, values, step=1)
    trial.status = "COMPLETED"
    oracle.end_trial(trial)
    assert (trial.status, trial.message) == ("FAILED", reason)


def test_the_reason_of_a_failure_is_taken_from_the_folder_if_the_trial_has_none(tmp_path):
    oracle = tuning.oracle(black_box.settings(), black_box.SPACE, tmp_path)
    trial = oracle.create_trial("a")
    (tmp_path / "trials" / "001").mkdir(parents=True)
    (tmp_path / "trials" / "001" / "trial.json").write_text('{"reason": "killed by SIGKILL"}')
    trial.status = "FAILED"
    oracle.end_trial(trial)
    assert trial.message == "killed by SIGKILL"


def test_a_worker_gets_its_own_trial_again_and_that_of_a_lost_one(tmp_path):
    oracle = tuning.oracle(black_box.settings(), black_box.SPACE, tmp_path)
    first, second = oracle.create_trial("a"), oracle.create_trial("b")
    assert oracle.create_trial("a") is first
    assert first.trial_id != second.trial_id
    oracle.hand_back("b")
    assert oracle.tuner_ids == {"a"}
    assert oracle.create_trial("c").trial_id == second.trial_id
    kept = tuning.oracle(black_box.settings(), black_box.SPACE, tmp_path, keep_ongoing=True)
    assert {name: trial.trial_id for name, trial in kept.ongoing_trials.items()} == {"a": "001", "c": "002"}
    assert kept.create_trial("d").trial_id == "003"
    assert kept.create_trial("a").trial_id == "001"
    kept.hand_back("c")
    again = tuning.oracle(black_box.settings(), black_box.SPACE, tmp_path, keep_ongoing=True)
    assert {name: trial.trial_id for name, trial in again.ongoing_trials.items()} == {"a": "001", "d": "003"}
    assert again.create_trial("e").trial_id == "002"
    anyone = tuning.oracle(black_box.settings(), black_box.SPACE, tmp_path)
    assert [anyone.create_trial(name).trial_id for name in "xyz"] == ["001", "002", "003"]


def test_a_search_that_is_stopped_hands_out_nothing_until_it_is_opened_again(tmp_path):
    oracle = tuning.oracle(black_box.settings(), black_box.SPACE, tmp_path)
    trial = oracle.create_trial("a")
    oracle.stop("30 minutes are over")
    assert oracle.create_trial("b").status == "STOPPED"
    assert (oracle.state, oracle.reason) == ("stopped", "30 minutes are over")
    oracle.update_trial(trial.trial_id, {"loss": 1.0}, step=1)
    trial.status = "COMPLETED"
    oracle.end_trial(trial)
    assert oracle.state == "stopped"
    again = tuning.oracle(black_box.settings(), black_box.SPACE, tmp_path)
    assert again.create_trial("b").trial_id == "002"


def test_a_trial_survives_the_messages_of_the_chief(tmp_path, capsys):
    oracle = tuning.oracle(black_box.settings(seeds=2, pruning=HALVING), black_box.SPACE, tmp_path)
    trial_class = isolated_imports.keras_tuner().engine.trial.Trial
    for number in range(8):
        trial = oracle.create_trial(f"tuner{number}")
        received = trial_class.from_proto(trial.to_proto())
        assert tuning.assignment(received) == tuning.assignment(trial)
        assert received.hyperparameters.values == trial.hyperparameters.values
        assert tuning.assignment(received).values == starts(tmp_path)[number]["values"]
    assert tuning.assignment(trial).folder == "trials/008"
    oracle.update_trial("001", {"loss": 0.25}, step=1)
    received = trial_class.from_proto(oracle.create_trial("tuner0").to_proto())
    received.status = "COMPLETED"
    oracle.end_trial(received)
    assert oracle.get_trial("001").score == 0.25
    assert capsys.readouterr().out == ""


def test_keras_tuners_own_tuner_runs_a_search(tmp_path):
    keras_tuner = isolated_imports.keras_tuner()
    oracle = tuning.oracle(black_box.settings(trials=5), black_box.SPACE, tmp_path / "search")
    tried = []

    class Tuner(keras_tuner.Tuner):
        def run_trial(self, trial, **options):
            tried.append(tuning.assignment(trial).values)
            return {"loss": black_box.loss(tried[-1], 9)}

    tuner = Tuner(oracle=oracle, directory=str(tmp_path / "tuner"))
    tuner.search(verbose=0)
    assert len(tried) == 5
    best = min(tried, key=lambda values: black_box.loss(values, 9))
    assert tuning.assignment(oracle.get_best_trials()[0]).values == best


def test_another_search_in_the_same_folder_is_refused_with_what_differs(tmp_path):
    tuning.oracle(black_box.settings(), black_box.SPACE, tmp_path)
    with pytest.raises(InputError, match=r"Received: another trials, 9 instead of 8\. Resume it with the same"):
        tuning.oracle(black_box.settings(trials=9), black_box.SPACE, tmp_path)
    space = tuning.Space(
        {**black_box.SPACE.parameters, "rate": tuning.Interval(1e-4, 2.0, "log")}, ("rate * units <= 32",)
    )
    with pytest.raises(InputError, match=r"Received: another max, 2\.0 instead of 1\.0"):
        tuning.oracle(black_box.settings(), space, tmp_path)


def test_another_version_of_a_library_is_told_once_and_changes_nothing_that_was_done(tmp_path, caplog):
    workers = black_box.Workers(tuning.oracle(black_box.settings(trials=4), black_box.SPACE, tmp_path))
    workers.step()
    path, before = tmp_path / "journal.jsonl", starts(tmp_path)
    first, rest = path.read_text().split("\n", 1)
    header = json.loads(first)
    header["versions"]["numpy"] = "1.0.0"
    path.write_text(json.dumps(header) + "\n" + rest)
    black_box.Workers(tuning.oracle(black_box.settings(trials=4), black_box.SPACE, tmp_path)).run()
    assert len(caplog.messages) == 1
    assert "numpy 1.0.0 is now" in caplog.messages[0]
    assert "the trials that ended stay" in caplog.messages[0]
    assert starts(tmp_path)[: len(before)] == before
    assert len(starts(tmp_path)) == 4


def test_an_event_that_the_disk_has_no_room_for_leaves_a_whole_journal(tmp_path):
    written = journal.Journal(tmp_path)
    written.append("first")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (written.path.stat().st_size + 10, limits[1]))
    try:
        with pytest.raises(files.WriteError):
            written.append("second")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    written.append("third")
    assert [event["event"] for event in journal.read(tmp_path)] == ["first", "third"]


def test_a_damaged_journal_names_the_line(tmp_path):
    black_box.Workers(tuning.oracle(black_box.settings(trials=2), black_box.SPACE, tmp_path)).run()
    path = tmp_path / "journal.jsonl"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:3], lines[3][:20], *lines[4:], ""]))
    with pytest.raises(InputError, match=r"every line of .*journal.jsonl' must be an event.*in line 4"):
        tuning.oracle(black_box.settings(trials=2), black_box.SPACE, tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"algorithm": "bayes"}, "unknown search algorithm 'bayes'.*Did you mean 'bayesian'"),
        ({"trials": None}, "`trials` must be a whole number >= 1. Received: None"),
        ({"seeds": 0}, "`seeds` must be a whole number >= 1"),
        ({"algorithm": "hyperband", "max_epochs": None}, "`max_epochs` must be a whole number"),
        (
            {"algorithm": "grid", "pruning": HALVING},
            "`pruning` is for random, bayesian and tpe. Received: halving with grid",
        ),
        (
            {"pruning": tuning.Pruning("halving", min_epochs=9)},
            "`pruning.min_epochs` must be less than the epochs of a training for halving. Received: 9, and a training has 9",
        ),
        ({"objectives": ()}, "`objectives` must be at least one"),
        (
            {"pruning": HALVING, "objectives": (tuning.Objective("a", "max"), tuning.Objective("b", "min"))},
            "`pruning` and hyperband compare trials by one objective. Received: a, b",
        ),
    ],
)
def test_settings_that_contradict_each_other_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        black_box.settings(**arguments)


@pytest.mark.parametrize("name", ["hyperband", "random, median", "tpe, halving", "random, seeds"])
def test_a_journal_that_ends_after_any_event_is_continued_to_the_same_end(tmp_path, name):
    black_box.Workers(opened(name, tmp_path / "whole"), 1, measure).run()
    lines = (tmp_path / "whole" / "journal.jsonl").read_text().splitlines(keepends=True)
    for count in random.Random(3).sample(range(len(lines)), 6):
        directory = tmp_path / f"cut{count}"
        directory.mkdir()
        (directory / "journal.jsonl").write_text("".join([*lines[:count], lines[count][:-3]]))
        black_box.Workers(opened(name, directory), 1, measure).run()
        assert starts(directory) == starts(tmp_path / "whole")
        assert outcomes(directory) == outcomes(tmp_path / "whole")


def test_finalists_of_several_objectives_are_those_that_few_others_beat(tmp_path):
    space = tuning.Space({"x": tuning.Interval(0, 9, integer=True)})
    objectives = (tuning.Objective("a", "min"), tuning.Objective("b", "max"))
    values = {
        0: (1, 9),
        1: (0, 5),
        2: (2, 8),
        3: (5, 5),
        4: (6, 1),
        5: (7, 7),
        6: (8, 3),
        7: (9, 2),
        8: (9, 1),
        9: (0, 4),
    }
    settings = black_box.settings("grid", trials=None, seeds=2, finalists=2, objectives=objectives)
    oracle = tuning.oracle(settings, space, tmp_path)
    measured = black_box.Workers(
        oracle, measure=lambda point, epoch, seed: dict(zip("ab", values[point["x"]], strict=True))
    )
    measured.run()
    further = [start["values"]["x"] for start in starts(tmp_path) if start["seed"]]
    assert further == [0, 1]


def test_finalists_are_not_pruned_and_one_that_fails_leaves_its_point_completed(tmp_path):
    pruning = tuning.Pruning("median", startup_trials=2)
    oracle = tuning.oracle(
        black_box.settings(trials=6, seeds=3, finalists=1, pruning=pruning), black_box.SPACE, tmp_path
    )
    further = []
    while (trial := oracle.create_trial("a")).status == "RUNNING":
        asked = tuning.assignment(trial)
        worse = 100.0 if asked.seed else black_box.loss(asked.values, 9)
        for epoch in range(1, 10):
            if oracle.update_trial(trial.trial_id, {"loss": worse}, step=epoch).status == "STOPPED":
                assert asked.seed == 0
                break
        trial.status = "FAILED" if asked.seed == 1 else "COMPLETED"
        oracle.end_trial(trial)
        further += [(asked.point, asked.seed, asked.folder)] if asked.seed else []
    (point, _, _), _ = further
    assert further == [(point, seed, f"trials/00{point}_seed{seed}") for seed in (1, 2)]
    best = min(oracle.get_best_trials(6), key=lambda trial: trial.score)
    assert tuning.assignment(best).point == point
    assert oracle.state == "finished"
