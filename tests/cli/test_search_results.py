"""What `kerastrain tune` prints at the end, from recorded searches."""

import re

import pytest
import search_records

from kerastrain.cli import search_results
from kerastrain.cli.search_texts import number
from kerastrain.tuning import winner


@pytest.fixture
def printed(capsys):
    """A function that returns the lines that a function prints."""

    def call(function, *arguments):
        function(*arguments)
        return [line.rstrip() for line in capsys.readouterr().out.splitlines() if line.strip()]

    return call


def trial(point, score=None, *, status="completed", reason=None, **values):
    return {
        "point": point,
        "folder": f"trials/{point:03d}",
        "values": values or {"model.dropout": 0.2},
        "status": status,
        "score": score,
        "scores": [score],
        "measures": {},
        "epochs": 3,
        "curve": [],
        "seconds": 1.4,
        "reason": reason,
    }


def view(*trials, direction="max", **rest):
    goal = {"measure": "validation.accuracy", "direction": direction, "epoch": "best"}
    return {"objectives": [goal], "best": None, "pareto": [], "trials": [*trials], **rest}


def test_the_best_trial_comes_first_in_either_direction(printed):
    trials = [trial(1, 0.5), trial(2, 0.9), trial(3, 0.7)]
    for direction, order in (("max", ["2", "3", "1"]), ("min", ["1", "3", "2"])):
        lines = printed(search_results.print_trials, view(*trials, direction=direction, best=int(order[0])))
        rows = [line.split() for line in lines[2:]]
        assert [row[0] for row in rows] == order
        assert rows[0] == [
            order[0],
            "0.9000" if direction == "max" else "0.5000",
            "3",
            "1",
            "dropout=0.2",
            "best",
        ]


def test_the_winner_comes_before_luckier_trials_of_one_training(printed):
    lines = printed(search_results.print_trials, view(trial(1, 0.7), trial(2, 0.9), trial(3, 0.8), best=3))
    assert [line.split()[0] for line in lines[2:]] == ["3", "2", "1"]
    assert lines[2].endswith("best")


def test_pruned_and_failed_trials_follow_and_equal_reasons_are_one_line(printed):
    lines = printed(
        search_results.print_trials,
        view(
            trial(1, status="failed", reason="out of memory"),
            trial(2, 0.3, status="pruned"),
            trial(3, status="failed", reason="NaN at step 1"),
            trial(4, status="failed", reason="out of memory"),
            trial(5, 0.8),
        ),
    )
    assert [line.split()[0] for line in lines[2:4]] == ["5", "2"]
    assert lines[3].endswith("pruned")
    assert lines[4:] == ["failed  trials 1, 4: out of memory", "failed  trial 3: NaN at step 1"]


def test_a_search_of_300_trials_prints_20_and_says_how_many_more(printed):
    content = search_records.record(300, seed=1)
    lines = printed(search_results.print_trials, content)
    completed = [row for row in content["trials"] if row["status"] == "completed"]
    best = sorted(completed, key=lambda row: -row["score"])[:20]
    assert [int(match[1]) for line in lines if (match := re.match(r" *(\d+)  +\d", line))] == [
        row["point"] for row in best
    ]
    others = sum(row["status"] != "failed" for row in content["trials"]) - 20
    assert f"and {others} more trials" in lines


def test_names_and_reasons_from_data_cannot_control_the_terminal(printed):
    nasty = "\x1b[2J[bold]\u202e"
    lines = printed(
        search_results.print_trials,
        view(trial(1, 0.5, **{"data.path": nasty}), trial(2, status="failed", reason=nasty)),
    )
    text = "\n".join(lines)
    assert not {"\x1b", "\u202e"} & {*text}
    assert "failed  trial 2: \\x1b[2J[bold]\\u202e" in text


def test_several_objectives_have_their_columns_and_the_pareto_set(printed, tmp_path):
    content = search_records.record(12, objectives=2)
    lines = printed(search_results.print_trials, content)
    best = max((row for row in content["trials"] if row["status"] == "completed"), key=lambda row: row["score"])
    size = best["measures"]["exports.tflite_int8.size_bytes"]
    assert any(line.split()[:3] == [str(best["point"]), number(best["score"]), number(size)] for line in lines)
    assert sum(line.endswith("Pareto") for line in lines) == len(content["pareto"])
    (first, second) = printed(search_results.print_pareto, content, tmp_path)
    assert re.search(r"validation.accuracy \(highest\), exports.tflite_int8.size_bytes \(lowest\)", first)
    assert f"{tmp_path}/trials/NUMBER/config.yaml" in second


def test_the_winner_is_named_with_what_chance_explains_and_its_command(printed):
    content = view(trial(1, 0.9), trial(2, 0.7), seeds=2)
    for row, scores in zip(content["trials"], ([0.91, 0.89], [0.9, 0.88]), strict=True):
        row["scores"] = scores
    command = "kerastrain train 'my searches/config.yaml' model.dropout=0.2"
    first, second = printed(search_results.print_winner, winner.choose(content), command)
    assert first.startswith("best        ")
    assert "validation.accuracy 0.9" in first
    assert second == f"train it    {command}"


def test_only_files_that_exist_are_named(printed, tmp_path):
    (tmp_path / "best.yaml").write_text("")
    assert printed(search_results.print_files, tmp_path) == [f"settings    {tmp_path}/best.yaml"]
