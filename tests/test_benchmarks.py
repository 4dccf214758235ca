import datetime
import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from kerastrain import testing

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def module(monkeypatch):
    """Imports a module of the folder of benchmarks."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module


FIGURE = {"name": "ratio", "value": 2.0, "low": 1.0, "high": 3.0, "better": "lower"}


def figure(value, low=None, high=None, better="lower"):
    return {"value": value, "low": low, "high": high, "better": better}


def row(machine="2 cores of A", **figures):
    return {"date": "2026-11-30", "machine": machine, "versions": {"Keras": "3"}, "figures": figures, "failed": {}}


def test_figures_are_recorded_only_for_the_run_of_all(module, tmp_path, monkeypatch):
    results, history = module("results"), module("history")
    monkeypatch.delenv(results.FIGURES, raising=False)
    results.record("ratio", 2)
    monkeypatch.setenv(results.FIGURES, str(tmp_path / "figures"))
    results.record("ratio", *results.spread([3, 1, 2]), better="higher")
    results.record("seconds", 4)
    lines = (tmp_path / "figures").read_text().splitlines()
    expected = {"start: ratio": figure(2, 1, 3, "higher"), "start: seconds": figure(4)}
    assert history.by_name("start", lines) == expected
    with pytest.raises(ValueError, match="unique in its benchmark. Received: 'start: ratio' twice"):
        history.by_name("start", [*lines, lines[0]])
    with pytest.raises(ValueError, match="must be 'lower' or 'higher'. Received: 'up'"):
        results.record("ratio", 1, better="up")


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        (figure(1.0, 0.9, 1.1), figure(1.2, 1.15, 1.25), "same"),
        (figure(1.0, 0.9, 1.1), figure(1.3, 1.25, 1.35), "worse"),
        (figure(1.0, 0.9, 1.1), figure(0.7, 0.65, 0.75), "better"),
        (figure(1.0, 0.99, 1.01), figure(1.3, 1.1, 1.5), "same"),  # its own repeats lie as far apart
        (figure(1.0, 0.9, 1.1, "higher"), figure(0.7, 0.65, 0.75, "higher"), "worse"),
        (figure(0.95, 0.95, 0.95, "higher"), figure(0.95, 0.95, 0.95, "higher"), "same"),
        (figure(0.95, 0.95, 0.95, "higher"), figure(0.94, 0.94, 0.94, "higher"), "worse"),
        (figure(10), figure(10.9), "same"),
        (figure(10), figure(11.2), "worse"),
    ],
)
def test_figure_is_worse_if_it_moved_by_more_than_its_spread(module, before, now, expected):
    assert module("history").change(before, now) == expected


def test_figures_are_compared_with_the_last_ones_of_the_same_kind_of_machine(module, tmp_path):
    history = module("history")
    rows = [row(a=figure(1), b=figure(1)), row(a=figure(2)), row("2 cores of B", a=figure(9), b=figure(9))]
    last = history.last_figures(rows, "2 cores of A")
    assert last == {"a": figure(2), "b": figure(1)}  # `b` was not measured again
    assert history.worse(last, {"a": figure(2.1), "b": figure(2), "c": figure(5)}) == ["b"]
    assert history.worse(history.last_figures(rows, "8 cores of C"), {"a": figure(99)}) == []
    path = tmp_path / "history.jsonl"
    for count in (3, 4):  # of rows; a run writes after each benchmark
        history.write(path, [*rows, row(a=figure(1), b=figure(2))][:count])
    printed = history.table(history.read(path))
    assert "| 2026-11-30 | 2 cores of A | Keras 3 | 1 | a | – |" in printed  # the second run
    assert "| a | lower | 2 | 1 | better |\n| b | lower | 1 | 2 | worse |" in printed
    history.write(path, [*rows[:2], row(b=figure(1))])
    assert "| a | lower | 2 | – | not measured |\n| b | lower | 1 | 1 | same |" in history.table(history.read(path))
    path.write_text(path.read_text()[:-20])
    with pytest.raises(ValueError, match="must be JSON. Received: line 3, '{.*Remove it"):
        history.read(path)


def test_benchmark_that_fails_or_is_too_slow_costs_only_itself(module, tmp_path, monkeypatch):
    every, results = module("all"), module("results")
    monkeypatch.setattr(every, "HERE", tmp_path)
    monkeypatch.setenv("KERASTRAIN_SHARED", str(tmp_path))
    record = f"import os, sys; open(os.environ['{results.FIGURES}'], 'a').write('{json.dumps(FIGURE)}\\n'); "
    for name, rest in (("good", ""), ("bad", "sys.exit('no memory')"), ("slow", "import time; time.sleep(60)")):
        (tmp_path / f"{name}.py").write_text(record + rest)

    def run(name, minutes=1, **options):
        folder = tmp_path / f"of_{name}"
        folder.mkdir()
        return every.run(every.Benchmark(f"{name}.py", 1, **options), folder, encoder=None, minutes=minutes)

    figures = {key: value for key, value in FIGURE.items() if key != "name"}
    assert run("good") == ({"good: ratio": figures}, None)
    assert run("bad") == ({"bad: ratio": figures}, "exit code 1: no memory")
    assert run("slow", minutes=0.02)[1] == "not finished in 0.02 minutes"
    assert run("other", needs="data/photos") == ({}, "needs data/photos in KERASTRAIN_SHARED")


def test_every_benchmark_is_in_the_list_of_all(module):
    names = [benchmark.name for benchmark in module("all").BENCHMARKS]
    assert len(set(names)) == len(names)
    assert {path.stem for path in BENCHMARKS.glob("*.py")} - {"all", "history", "results"} <= set(names)


def test_line_of_the_table_beside_rivals_compares_turns_of_one_repeat(module):
    lines = module("rivals.lines")
    line = lines.Line("fit", "Keras", 0.5, [2.0, 3.0, 2.0], [10.0, 4.0, 5.0], accuracies=(0.9, 0.9))
    assert line.ratios == [0.2, 0.75, 0.4]
    assert str(line) == "| fit | Keras | 2 s | 5 s | 0.400 | 0.200 … 0.750 | 0.5: met | 0.900, 0.900 | 3 repeats |"
    assert lines.Line("fit", "Keras", 0.3, [2.0], [5.0]).verdict == "missed"
    within = {"accuracies": (0.895, 0.9), "points": 0.5}
    assert lines.Line("fit", "Keras", 0.5, [2.0], [5.0], **within).verdict == "met"
    below = {"accuracies": (0.894, 0.9), "points": 0.5}
    assert lines.Line("fit", "Keras", 0.5, [2.0], [5.0], **below).verdict == "missed: less accurate"
    turns = [
        {"seconds": 5, "parts": [["a", 4.0], ["b", 1.0]]},
        {"seconds": 9, "parts": []},
        {"seconds": 1, "parts": []},
    ]
    assert lines.where_time_went(turns) == "4.0 s after “a”; 1.0 s after “b”"


def test_parts_of_a_run_are_the_times_between_its_messages(module, tmp_path):
    log_times, started = module("rivals.log_times"), 1_800_000_000
    times = [datetime.datetime.fromtimestamp(started + second).isoformat(" ") for second in (2, 7)]
    (tmp_path / "log.txt").write_text(f"{times[0]} images: resized\n{times[1]} exporting\n  to a folder\n")
    parts = log_times.parts_of_run(tmp_path / "log.txt", started, started + 20.5)
    assert parts == [["exporting", 13.5], ["images: resized", 5.0], ["start", 2.0]]


def test_contestants_take_turns_and_the_one_that_begins_changes(module, tmp_path):
    contestants = module("rivals.contestants")

    def command(name, code=0):
        program = f"import sys; open('order', 'a').write('{name}'); print('out of memory'); sys.exit({code})"
        words = [sys.executable, "-S", "-c", f"import os; os.chdir({str(tmp_path)!r}); {program}"]
        return contestants.Command(lambda turn: words, log=tmp_path / name, facts=lambda turn, *_: {"turn": turn})

    facts = contestants.alternate({name: command(name) for name in "ab"}, 2)
    assert (tmp_path / "order").read_text() == "abba"
    assert [fact["turn"] for fact in facts["a"]] == [0, 1]
    assert all(fact["seconds"] > 0 for fact in facts["b"])
    with pytest.raises(contestants.ContestantError, match="out of memory"):
        contestants.alternate({"c": command("c", code=1)}, 1)


def test_contestant_that_stays_answers_its_turns_and_its_last_words_are_the_error(module, tmp_path):
    contestants = module("rivals.contestants")
    (tmp_path / "echo.py").write_text(
        f"import sys; sys.path.insert(0, {str(BENCHMARKS / 'rivals')!r}); from turns import Turns\n"
        "turns = Turns(); print('what a library prints')\n"
        "for _ in range(3): turns.answer(asked=turns.wait())\n"
        "sys.exit('enough')"
    )
    contestant = contestants.Process(sys.executable, tmp_path / "echo.py", log=tmp_path / "log")
    facts = contestants.alternate({"a": contestant}, 2, warm_up=1, request=lambda repeat: {"repeat": repeat})
    assert [fact["asked"] for fact in facts["a"]] == [{"repeat": 0}, {"repeat": 1}]
    with pytest.raises(contestants.ContestantError, match="what a library prints\nenough"):
        contestants.alternate({"a": contestants.Process(sys.executable, tmp_path / "echo.py", log=tmp_path / "log")}, 4)


def test_environment_of_a_rival_is_made_again_only_for_other_versions(module, tmp_path, monkeypatch):
    environments, made = module("rivals.environments"), []
    assert "torch==2.9.1" in environments.requirements("pytorch", ["torch==2.9.1"])
    assert environments.requirements("pytorch") != environments.requirements("pytorch", ["torch==2.9.1"])

    def pip(command, **_):
        python = tmp_path / "pytorch" / "bin" / "python"
        python.parent.mkdir(parents=True, exist_ok=True)
        python.touch()
        made.append(command[-1])
        return subprocess.CompletedProcess(command, 0, stderr="")

    monkeypatch.setattr(environments.subprocess, "run", pip)
    for replaced, expected in (([], 2), ([], 2), (["torch==2.9.1"], 4)):
        environments.interpreter("pytorch", tmp_path, replaced)
        assert len(made) == expected


@pytest.mark.slow
def test_input_pipeline_prints_its_ratios(tmp_path):
    folder = testing.colour_folder(tmp_path / "colours", count=16)
    options = ["--folder", folder, "--image-size", "32", "32", "--augment", "flip", "colour", "--repeats", "1"]
    command = [sys.executable, BENCHMARKS / "input_pipeline.py", *map(str, options)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout
    rows = re.findall(r"^\| (first|second) \| (.*?) \| (\d+) \| ([\d.]+) \| ([\d.]+) \|", printed, re.MULTILINE)
    assert [(epoch, name) for epoch, name, *_ in rows if "kerastrain" in name] == [
        (epoch, f"kerastrain, {place}") for epoch in ("first", "second") for place in ("memory", "disk", "none")
    ]
    assert all(float(number) > 0 for _, _, *numbers in rows for number in numbers)
    ratios = re.findall(r"epoch: [\d.]+ times the rival \(([\d.]+) times per processor second\)", printed)
    assert len(ratios) == 2
    assert all(float(ratio) > 0 for ratio in ratios)


def compression(*options):
    options = ["--epochs", "1", "--student-epochs", "1", "--seeds", "1", "--image-size", "16", *options]
    command = [sys.executable, BENCHMARKS / "compression.py", *options]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=600).stdout


@pytest.mark.chaos
def test_compression_prints_a_row_for_each_method():
    printed = compression("--only", "methods")
    rows = re.findall(r"^\| ([a-z 8+-]+?) \| ([\d.]+) \|.* \|$", printed, re.MULTILINE)
    assert [name for name, _ in rows][:4] == ["float", "int8", "quantization-aware", "half the multiply-adds"]
    assert len(rows) == 10
    assert printed.count(": met |") + printed.count(": missed |") == 5


@pytest.mark.chaos
def test_compression_prints_how_much_of_the_gap_distillation_closes():
    printed = compression("--only", "students")
    assert re.search(r"Teacher [\d.]+, trained on \d+ images; students with 0\.2\d of its parameters", printed)
    assert re.search(r"gap closed: (none|-?[\d.]+ \(goal 0\.33\))\.", printed)


def rows(name, *options):
    command = [sys.executable, BENCHMARKS / name, *map(str, options)]
    printed = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)
    assert printed.returncode == 0, printed.stderr[-3000:]
    table = [line.strip("| ").split(" | ") for line in printed.stdout.splitlines() if line.startswith("| ")]
    return table[1:]


@pytest.mark.chaos
def test_rivals_prints_a_line_of_each_comparison_and_says_what_is_not_measured(monkeypatch):
    monkeypatch.delenv("KERASTRAIN_SHARED", raising=False)  # its photos are drawn
    found = rows("rivals.py", "--quick", "--only", "predict", "files")
    lines = [row for row in found if row[-1].startswith("1 repeats")]
    assert len(lines) >= 3
    assert {row[1].partition(",")[0] for row in lines} == {"Keras over `image_dataset_from_directory`", "ONNX Runtime"}
    assert all(float(row[4]) > 0 for row in lines)


@pytest.mark.chaos
def test_memory_prints_its_ratios():
    found = rows("memory.py", "--models", "transformer", "--blocks", 1, "--batch-size", 4, "--steps", 1)
    assert [variant for _, variant, *_ in found] == ["plain", "rematerialized", "accumulated", "both"]
    assert {float(row[4]) for row in found if row[1] == "plain"} == {1.0}
    assert all(float(row[2]) > 0 and float(row[5]) > 0 for row in found)


ONE_CELL = ["--sets", "digits", "--per-class", "10", "--backbones", "fractal_small", "--seeds", "0"]


@pytest.mark.chaos
def test_recipe_prints_a_row_of_each_recipe_and_trains_no_cell_twice(tmp_path):
    results = tmp_path / "cells.jsonl"
    [row] = rows("recipe.py", *ONE_CELL, "--results", results)
    cells = [json.loads(line) for line in results.read_text().splitlines()]
    assert [cell["key"][-1] for cell in cells] == ["kerastrain", "keras_guide", "fastai"]
    assert max(assert_row_shows(row, cells)) > 0.5
    assert rows("recipe.py", *ONE_CELL, "--results", results) == [row]
    assert len(results.read_text().splitlines()) == 3


@pytest.mark.chaos
def test_recipe_trains_the_cell_that_is_missing_for_a_few_epochs(tmp_path):
    known = [
        {"key": ["digits", "10", "fractal_small", 0, f"{name} epochs=3"], "shipped": "1" * right + "0" * (300 - right)}
        for name, right in (("keras_guide", 30), ("fastai", 60))
    ]
    results = tmp_path / "cells.jsonl"
    results.write_text("".join(json.dumps(cell) + "\n" for cell in known))
    [row] = rows("recipe.py", *ONE_CELL, "--epochs", 3, "--results", results)
    *before, trained = [json.loads(line) for line in results.read_text().splitlines()]
    assert before == known
    assert trained["key"][-1] == "kerastrain fit.head_epochs=3 fit.epochs=3"
    assert assert_row_shows(row, [trained, *known])[3:] == [0.1, 0.2]


def assert_row_shows(row, cells):
    """Compares a row with the answers of the three recipes; returns the accuracies."""
    parts = [(cells[0], "head"), (cells[0], "fine_tune"), *((cell, "shipped") for cell in cells)]
    assert all(len(cell[part]) == 300 for cell, part in parts)
    accuracies = [f"{cell[part].count('1') / 300:.3f}" for cell, part in parts]
    assert row[:4] == ["digits", "10", "fractal_small", "1"]
    assert [word.partition(" ")[0] for word in (*row[4:7], *row[8:])] == accuracies
    points = 100 * (float(accuracies[2]) - float(accuracies[0]))
    assert float(row[7].partition(" ")[0]) == pytest.approx(points, abs=0.15)
    return [float(accuracy) for accuracy in accuracies]


@pytest.mark.chaos
def test_few_shot_prints_the_accuracy_of_each_backbone_and_trains_no_cell_twice(tmp_path):
    results = tmp_path / "cells.jsonl"
    choice = ("--sets", "digits", "--per-class", 10, 100, "--backbones", "fractal_small", "--seeds", 0)
    options = (*choice, "--results", results)
    results.write_text('{"key": ["digits", "100", "fractal_small", 0], "answers": "' + "1" * 270 + "0" * 30 + '"}\n')
    few, many = rows("few_shot.py", *options)
    cells = [json.loads(line) for line in results.read_text().splitlines()]
    assert [cell["key"] for cell in cells] == [["digits", count, "fractal_small", 0] for count in ("100", "10")]
    assert len(cells[1]["answers"]) == 300
    assert few[:3] == ["digits", "10", "1"]
    assert few[3].startswith(f"{cells[1]['answers'].count('1') / 300:.3f} (")
    assert 0.7 < float(few[3].partition(" ")[0]) < 1
    assert many == ["digits", "100", "1", "0.900 (0.861 to 0.929)"]
    assert rows("few_shot.py", *options, "--table") == [few, many]


@pytest.mark.chaos
@pytest.mark.multi_worker
def test_scaling_prints_its_ratios():
    options = ("--batch-size", 8, "--image-size", 16, "--steps", 2, "--epochs", 2, "--repeats", 1)
    found = rows("scaling.py", *options)
    assert [row[-1].split(":")[0] for row in found] == ["1.6", "0.9", "0.97", "–"]
    assert all(float(row[3]) > 0 for row in found)


@pytest.mark.chaos
def test_texts_prints_a_row_of_each_recipe_and_trains_no_cell_twice(tmp_path):
    lines = [f"{'ham' if number % 2 else 'spam'}\t{('call', 'win')[number % 2 == 0]} {number}" for number in range(60)]
    (tmp_path / "sms_spam").mkdir()
    (tmp_path / "sms_spam" / "SMSSpamCollection").write_text("\n".join(["header", *lines]), encoding="utf-8")
    options = [
        "--sets",
        "sms_spam",
        "headlines",
        "--seeds",
        0,
        "--data",
        tmp_path,
        "--results",
        tmp_path / "cells.jsonl",
    ]
    found = rows("texts.py", *options, "--set", "fit.epochs=6")
    assert [row[:4] for row in found] == [
        ["sms_spam", "42", "1", recipe] for recipe in ("kerastrain fit.epochs=6", "words", "words and characters")
    ]
    cells = [json.loads(line) for line in (tmp_path / "cells.jsonl").read_text().splitlines()]
    assert [len(cell["truth"]) for cell in cells] == [6, 6, 6]
    for row, cell in zip(found, cells, strict=True):
        share = sum(a == b for a, b in zip(cell["test"], cell["truth"], strict=True)) / 6
        assert row[5].startswith(f"{share:.3f} (")
    assert found[1][5].startswith("1.000 (")
    assert rows("texts.py", *options, "--set", "fit.epochs=6", "--table") == found


@pytest.mark.chaos
def test_verdicts_prints_what_is_found_of_a_planted_fault(tmp_path):
    options = ("--only", "digits, stopped early", "--group", "tuning", "--records", tmp_path)
    found = rows("verdicts.py", *options)
    assert found == rows("verdicts.py", *options)  # from its record
    assert ["digits, stopped early", "tuning", "still_improving", "still_improving"] in [row[:4] for row in found]


@pytest.mark.chaos
def test_comparisons_prints_how_often_it_is_wrong():
    found = rows("comparisons.py", "--repeats", 3)
    compared, cross_validated = found[1:10], found[12:]
    assert [row[0] for row in compared] == ["50", "200", "1000"] * 3
    assert [row[1] for row in compared][::3] == ["+0.0", "+4.2", "+8.3"]
    assert [row[0] for row in cross_validated] == ["100", "400"]
    shares = [cell for row in compared + cross_validated for cell in row if cell.endswith("%")]
    assert len(shares) == 9 * 5 + 2 * 3
    assert all(0 <= float(share.rstrip("%")) <= 100 for share in shares)


@pytest.mark.chaos
def test_search_prints_the_scores_and_costs_of_the_algorithms_and_trains_no_point_twice(tmp_path):
    results = tmp_path / "search.jsonl"
    choice = ("--seeds", 0, 1, "--trials", 3, "--epochs", 2, "--algorithms", "random", "random, halving")
    options = (*choice, "--results", results)
    found = rows("search.py", *options)
    cells = {tuple(cell["key"]): cell for cell in map(json.loads, results.read_text().splitlines())}
    curves = [cell["curve"] for key, cell in cells.items() if key[0] == "curve"]
    assert [len(curve) for curve in curves] == [2] * 6  # both searches of a seed try the same points
    steps = [cells["search", "random", seed, 3, 2]["steps"] for seed in (0, 1)]
    best = sum(max(value for _, value, _ in each) for each in steps) / 2
    assert [row[:2] for row in found[:2]] == [["random", "6"], ["random, halving", "4"]]
    assert found[0][4].startswith(f"{best:.4f} (")
    assert found[3][:2] == ["random, halving", "random"]
    assert rows("search.py", *options, "--table") == found
    assert len(results.read_text().splitlines()) == 10
