import html.parser
import json
import re
import shlex

import commands
import numpy as np
import pytest
import search_records
import yaml

from kerastrain import report
from kerastrain.errors import InputError
from kerastrain.report import search_axes, search_charts, search_page, search_trials, search_views
from kerastrain.system import files
from kerastrain.tuning import recorded_space

SECTIONS = ("headline", "winner", "history", "importances", "parallel", "slices", "trials", "failures", "reproduce")
SHORT = {key: search_records.SPACE[key] for key in ("optimizer.learning_rate", "model.hidden_units", "model.dropout")}


class Page(html.parser.HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.ids, self.words, self.charts, self.rows = [], [], [], 0, []
        self.feed(text)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.tags.append(tag)
        self.ids += [attributes["id"]] if "id" in attributes else []
        self.charts += tag == "svg" and "chart" in attributes.get("class", "").split()
        self.rows += [[]] if tag == "tr" else []

    def handle_data(self, data):
        self.words.append(data)
        if self.rows and data.strip():
            self.rows[-1].append(data.strip())


def page(directory, content):
    return Page(report.write(search_records.write(directory, content)).read_text(encoding="utf-8"))


def test_the_page_shows_a_search_and_lets_nothing_run(tmp_path):
    content = search_records.record(30, seeds=3, state="stopped")
    shown = page(tmp_path / "a&b", content)
    raw = (tmp_path / "a&b" / "search.html").read_text(encoding="utf-8")
    assert search_records.HOSTILE not in raw
    assert "default-src 'none'" in raw
    assert not {"script", "img", "link", "iframe"} & set(shown.tags)
    assert set(SECTIONS) <= set(shown.ids)
    assert shown.charts == 2 + 1 + len(search_records.SPACE)
    statuses = [trial["status"] for trial in content["trials"]]
    counts = ", ".join(f"{statuses.count(kind)} {kind}" for kind in ("completed", "pruned", "failed"))
    assert counts in shown.text
    assert "The search was stopped: 3 trials in a row failed." in shown.text
    assert "A search of kerastrain" in shown.text
    assert f"kerastrain tune --resume {shlex.quote(str(tmp_path / 'a&b'))}" in shown.text
    # Each trial has a row in the table, the best first and the failed last.
    rows = [row for row in shown.rows if row[0].isdigit() and len(row) > 6]
    assert sorted(int(row[0]) for row in rows) == list(range(1, 31))
    assert int(rows[0][0]) == content["best"]
    assert "failed" in rows[-1]
    reasons = {trial["reason"]: 0 for trial in content["trials"] if trial["status"] == "failed"}
    assert all(reason in shown.text for reason in reasons)
    assert report.write(tmp_path / "a&b").read_text(encoding="utf-8") == raw


def test_the_command_and_the_yaml_are_the_values_of_the_best(tmp_path):
    content = search_records.record(40, fail=False)
    best = next(trial for trial in content["trials"] if trial["point"] == content["best"])
    best["values"] |= {
        "schedule.name": "null",
        "data.augment": [],
        "optimizer.learning_rate": 0.1 + 0.2,
        "a.b": "it's: 1e-3",
    }
    best["values"] |= {"a.c": None, "a.d": {"x": 1}, "a.e": "\u200b犬", "a.f": "true", "a.g": ""}
    trials = search_trials.read(content)
    view = search_views.best(content, trials, tmp_path)
    program, command, config, *settings = shlex.split(view["command"])
    assert (program, command, config) == ("kerastrain", "train", str(tmp_path / "config.yaml"))
    assert {key: yaml.safe_load(value) for key, _, value in (each.partition("=") for each in settings)} == best[
        "values"
    ]
    nested = yaml.safe_load(view["yaml"])
    for key, value in best["values"].items():
        section, name = key.split(".")
        assert nested[section][name] == value
    best["values"]["hp.units"] = 3
    assert not search_views.best(content, search_trials.read(content), tmp_path)["fits_train"]


@pytest.mark.parametrize(
    ("content", "present", "absent"),
    [
        (search_records.record(0), "No trial has started.", {"winner", "importances", "parallel", "history"}),
        (search_records.record(1, fail=False), "only 1 trial can be compared", {"parallel", "slices", "failures"}),
        (search_records.record(12, state="running"), "was running when this page was written", {"pareto"}),
        (
            search_records.record(40, objectives=2, space=SHORT),
            "No trial is better in one objective than trial",
            {"winner"},
        ),
        (search_records.record(300, space=SHORT), "The other 200 trials", {"pareto"}),
        (
            {
                **search_records.record(30),
                "trials": [t for t in search_records.record(30)["trials"] if t["status"] == "failed"],
                "best": None,
            },
            "no trial has completed",
            {"winner", "slices", "parallel"},
        ),
    ],
)
def test_searches_of_every_size_have_a_page(tmp_path, content, present, absent):
    shown = page(tmp_path / "search", content)
    assert present in shown.text
    assert not absent & set(shown.ids)
    assert "`" not in shown.text
    assert "None" not in shown.text
    assert "nan" not in shown.text
    assert (tmp_path / "search" / "search.html").stat().st_size < 900_000


def test_curves_with_gaps_and_scores_that_diverged_have_a_page(tmp_path):
    content = search_records.record(20, fail=False, prune=False)
    content["objectives"] = [{"measure": "validation.loss", "direction": "min"}]
    content["trials"][0] |= {"score": float("inf"), "curve": [[1, None], [2, float("nan")], [3, 1.0]]}
    content["trials"][1] |= {"score": 1e30, "curve": []}
    content["trials"][2] |= {"score": None, "curve": [], "status": "paused", "seconds": None, "measures": None}
    directory = search_records.write(tmp_path / "search", {**content, "trials": []})
    (directory / "trials.json").write_text(json.dumps(content))  # NaN as Python writes it
    shown = Page(report.write(directory).read_text(encoding="utf-8"))
    assert "1 paused" in shown.text
    assert "1e+30" in shown.text


def test_the_best_so_far_is_that_of_completed_trials():
    content = search_records.record(50)
    trials = search_trials.read(content)
    scores = [trial["score"] if trial["status"] == "completed" else -np.inf for trial in content["trials"]]
    np.testing.assert_array_equal(
        [-np.inf if value is None else value for value in search_trials.best_so_far(trials, "max")],
        np.maximum.accumulate(scores),
    )
    grades = [trial.grade for trial in sorted(trials, key=lambda trial: trial.score or 0) if trial.grade is not None]
    assert grades == sorted(grades)
    assert {grades.count(grade) for grade in range(5)} <= {len(grades) // 5, len(grades) // 5 + 1}


def test_every_trial_is_marked_by_what_became_of_it():
    trials = search_trials.read(search_records.record(50))
    kinds = [trial.kind for trial in trials]
    drawn = str(search_charts.history(trials, search_trials.best_so_far(trials, "max"), title="m"))
    chart, legend = drawn.split("</svg>", maxsplit=1)
    marks = {"completed": '<circle [^>]*class="f-c0"', "pruned": 'class="ring s-quiet"', "failed": 'class="line s-bad"'}
    for kind, mark in marks.items():
        assert len(re.findall(mark, chart)) == kinds.count(kind) > 0
        assert re.search(f"{mark}.*</svg>{kind}</li>", legend)
    best = next(trial.number for trial in trials if trial.grade == 4)
    curves = str(search_charts.curves(trials, best, title="m"))
    assert "<li>" not in curves, "only the best has a name, and one line needs no legend"


def test_a_line_has_a_gap_where_a_key_is_not_set():
    space = {"a": {"min": 1.0, "max": 100.0, "sampling": "log"}, "b": [None, "x"], "c": {"min": 0, "max": 1}}
    points = [
        {"a": 10.0, "b": "x", "c": 0.5},
        {"a": 100.0, "c": 1.0},
        {"a": 1.0, "b": None},
        {"a": 1.0, "b": None, "c": 0.0},
    ]
    trials = [
        {"point": number, "status": "completed" if number < 4 else "failed", "score": score, "values": values}
        for number, (values, score) in enumerate(zip(points, (0.3, 0.9, 0.1, None), strict=True), start=1)
    ]
    content = {"objectives": [{"measure": "m", "direction": "max"}], "trials": trials}
    axes = [search_axes.Axis(key) for key in recorded_space.read(space, points)]
    assert axes[0].place(10.0) == 0.5
    assert axes[1].place("x") == 0.75
    drawn = str(search_charts.parallel(search_trials.read(content), axes, 2, title="m"))
    routes = re.findall(r'<path d="([^"]*)" class="line ([^"]*)"><title>trial (\d)', drawn)
    assert [number for _, _, number in routes] == ["4", "3", "1", "2"], "failed first, then by score, the best last"
    by_number = {number: re.findall(r"M|L|m-5 0h10", route) for route, _, number in routes}
    assert by_number["1"] == ["M", "L", "L", "L"]
    assert by_number["2"] == ["M", "m-5 0h10", "M", "L"]
    assert by_number["3"] == ["M", "L", "M", "m-5 0h10"]
    assert by_number["4"] == ["M", "L", "L"], "it has no score"
    assert "best" in routes[-1][1]


def test_ticks_are_round_numbers_or_the_choices():
    entries = {
        "log": {"min": 1e-4, "max": 1e-1, "sampling": "log"},
        "twos": {"min": 16, "max": 128, "sampling": "log"},
        "short": {"min": 0.002, "max": 0.008, "sampling": "log"},
        "linear": {"min": 0, "max": 0.5},
        "mixed": [None, [64], "null", True, 0.5],
        "many": list(range(100)),
    }
    texts = {key.name: [text for _, text in search_axes.Axis(key).ticks] for key in recorded_space.read(entries, [])}
    assert texts["log"] == ["0.0001", "0.001", "0.01", "0.1"]
    assert texts["twos"] == ["16", "32", "64", "128"]
    assert texts["short"][0] == "0.002"
    assert len(texts["short"]) >= 2
    assert texts["linear"] == ["0", "0.1", "0.2", "0.3", "0.4", "0.5"]
    assert texts["mixed"] == ["null", "[64]", '"null"', "true", "0.5"]
    assert len(texts["many"]) <= 8


def test_damaged_records_are_named(tmp_path):
    directory = search_records.write(tmp_path / "search", search_records.record(3))
    for damaged, message in (
        ("{", "must be JSON"),
        ('{"space": {}}', "Missing: objectives, state, trials"),
        ('{"space": {}, "objectives": [], "state": "running", "trials": []}', "must contain an objective"),
        (json.dumps({**search_records.record(2), "trials": [{"point": 1}]}), "Missing: status, score, values"),
        (json.dumps({**search_records.record(2), "state": "asleep"}), "content that a page cannot show"),
    ):
        (directory / "trials.json").write_text(damaged)
        with pytest.raises(InputError, match=message):
            report.write(directory)
    with pytest.raises(FileNotFoundError, match="not the folder of a search"):
        search_page.write(tmp_path)
    assert not (directory / "search.html").exists()


def test_the_command_writes_the_page_of_a_search(tmp_path, monkeypatch, capsys):
    directory = search_records.write(tmp_path / "search", search_records.record(12))
    files.write_text(directory / "best.yaml", "fit: {monitor: validation.macro.f1}\ndata: {split_seed: 7}\n")
    call = commands.runner(monkeypatch, capsys, "report")
    assert call(str(directory))[0].strip() == str(directory / "search.html")
    assert not (directory / "report.html").exists()
    files.write_json(directory / "build.json", {"path": "my models.py", "name": "build"})
    monkeypatch.chdir(tmp_path)
    content = search_records.record(12)
    content["test"] = {"folder": "best", "measured": "2026-11-29T23:00:00+00:00", "measures": {"accuracy": 0.8125}}
    files.write_json(directory / "trials.json", content)
    text = Page(report.write("search").read_text(encoding="utf-8")).text
    assert "kerastrain train search/best.yaml" in text
    assert " fit.monitor=validation.macro.f1 data.split_seed=7 " in text
    assert "kerastrain tune search/search.yaml search/config.yaml --build 'my models.py:build'" in text
    assert "trained again on train and validation in search/best" in text
    assert "the test part was measured once, on 2026-11-29: accuracy 0.812." in text
    assert "--retrain" not in text
