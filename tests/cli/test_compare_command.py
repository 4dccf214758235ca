"""`kerastrain compare` and `recipe.compare`, on folders with the files that they read; no model is opened."""

import json
import re
import zipfile
from html.parser import HTMLParser

import commands
import h5py
import numpy as np
import pytest

from kerastrain import config, recipe
from kerastrain.errors import InputError
from kerastrain.evaluation import Predictions, predictions

LABELS = ("cat", "<script>alert(1)</script>", "owl")


def classes(count=300, share=0.8, seed=1, *, order=None, digests=None):
    truth = np.random.default_rng(0).choice(3, count)
    random = np.random.default_rng(seed)
    outputs = random.normal(size=(count, 3))
    outputs[np.arange(count), truth] += 5 * (random.random(count) < share)
    order = np.arange(count) if order is None else order
    keys = tuple(f"{index}.png" for index in order)
    digests = np.arange(count)[order] if digests is None else digests
    return Predictions(truth[order], outputs[order], LABELS, "single_label", keys=keys, digests=digests)


def make(folder, parts, *overrides, parameters=None, seconds=None, exports=(), trained_on=None):
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(config.dump(config.load(overrides=overrides)))
    for name, each in parts.items():
        (folder / "predictions").mkdir(exist_ok=True)
        predictions.write(each, folder / f"predictions/{name}.npz")
    if parameters:
        with h5py.File(folder / "weights.h5", "w") as file:
            file["layers/dense/vars/0"] = np.zeros((parameters, 2))
            file["optimizer/vars/0"] = np.zeros(99)
        with zipfile.ZipFile(folder / "model.keras", "w") as archive:
            archive.write(folder / "weights.h5", "model.weights.h5")
    if seconds:
        (folder / "finished.json").write_text(json.dumps({"seconds": seconds}))
    for name, size in exports:
        (folder / "exports").mkdir(exist_ok=True)
        record = {"file": name, "size_bytes": size, "agreement": 0.995}
        (folder / f"exports/{name}.parity.json").write_text(json.dumps(record))
        (folder / "exports/latency.json").write_text(json.dumps({"seconds": {name: 0.002}, "processor": "fast"}))
    if trained_on is not None:
        np.savez(folder / "example_digests.npz", train=np.array(trained_on, np.uint64))
    return folder


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = tmp_path_factory.mktemp("compared")
    backwards = np.arange(300)[::-1]
    test, validation = classes(share=0.6), classes(80)
    make(
        place / "small",
        {"test": test, "validation": validation},
        "fit.epochs=3",
        parameters=50,
        seconds=12.0,
        exports=[("model_int8.tflite", 1000)],
    )
    make(
        place / "large",
        {"test": classes(share=0.95, seed=2, order=backwards)},
        "fit.epochs=9",
        parameters=5000,
        seconds=300.0,
        trained_on=range(290, 400),
    )
    make(place / "same", {"test": test, "validation": validation}, "fit.epochs=3")
    (place / "same/operating_point.json").write_text("{}")
    make(place / "other", {"test": classes(200)})
    make(place / "old", {}, parameters=5)
    make(place / "stopped", {}, "data.folds=3", "data.fold=all")
    make(place / "folds", {"out_of_fold": test}, "data.folds=3", "data.fold=all")
    make(place / "more_folds", {"out_of_fold": classes(share=0.9, seed=5)}, "data.folds=5", "data.fold=all")
    return place


@pytest.fixture
def kerastrain(place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    monkeypatch.setenv("COLUMNS", "100")
    call = commands.runner(monkeypatch, capsys)

    def printed(*arguments, code=0):
        return call(*map(str, arguments), code=code)[1 if code else 0]

    return printed


def test_a_better_run_is_told_from_chance(kerastrain, place):
    comparison = recipe.compare([place / "small", place / "large"])
    (other,) = comparison.others
    accuracy = other.measures[0]
    assert (comparison.part, comparison.count, other.run, accuracy.name) == ("test", 300, "large", "accuracy")
    own = [classes(share=0.6), classes(share=0.95, seed=2)]
    right = [run.outputs.argmax(axis=1) == run.targets for run in own]
    assert accuracy.difference == pytest.approx(right[1].mean() - right[0].mean())
    assert 0 < accuracy.low < accuracy.difference < accuracy.high
    assert (other.test.only_first, other.test.only_second) == (
        (right[0] & ~right[1]).sum(),
        (right[1] & ~right[0]).sum(),
    )
    assert other.p == other.test.p < 0.001
    assert max(other.class_p) < 0.05
    assert comparison.facts == {
        "parameters": (100, 10_000),
        "model_bytes": comparison.facts["model_bytes"],
        "training_seconds": (12.0, 300.0),
    }
    assert comparison.exports == {
        "exports/model_int8.tflite": ({"size_bytes": 1000, "agreement": 0.995, "milliseconds": 2.0}, None)
    }
    assert comparison.settings == {"fit.epochs": (3, 9)}
    assert comparison.notes == ("large was trained on 10 of these 300 examples, so it looks better than it is",)


def test_the_command_prints_tables_and_writes_a_page(kerastrain, place):
    printed = kerastrain("compare", "small", "large", "same", "--out", "page.html")
    assert "large compared with small on test, 300 examples" in printed
    assert "after Holm for 2 comparisons" in printed
    assert re.search(r"large +0\.\d+ +\+0\.\d+ +\+0\.\d+ to \+0\.\d+ +better +\d", printed)
    assert re.search(
        r"large is better than small by accuracy: the difference is \+0\.\d+, with a 95 % interval from", printed
    )
    assert (
        "same cannot be told from small by accuracy: the difference is 0, with a 95 % interval from 0 to 0" in printed
    )
    assert re.search(r"accuracy +0\.\d+ +0\.\d+ +\+0\.\d+ +\+0\.\d+ to \+0\.\d+ +better", printed)
    assert re.search(r"fit\.epochs +3 +9 +3", printed)
    assert re.search(r"parameters +100 +10,000 +–", printed)
    assert "note: large was trained on 10 of these 300 examples" in printed
    page = (place / "page.html").read_text()
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert page.count("<svg") == 2 * (4 + 3)
    assert "p after Holm" in page
    HTMLParser().feed(page)
    said = kerastrain("compare", "small", "large", "--out", "page.html", code=2)
    assert "'page.html' exists already and is not overwritten" in said
    kerastrain("compare", "small", "large", "--out", "page.html", "--replace")
    assert kerastrain("compare", "small", "same").splitlines()[-1].startswith("page    comparisons/")


def test_json_is_all_that_is_printed(kerastrain, place):
    before = sorted(place.rglob("*.html"))
    record = json.loads(kerastrain("compare", "small", "same", "--json", "--part", "validation"))
    assert (record["part"], record["examples"], record["settings"]) == ("validation", 80, {})
    (other,) = record["comparisons"]
    assert other["mcnemar"] == {"only_first": 0, "only_second": 0, "p": 1.0, "p_holm": 1.0}
    assert {row["verdict"] for row in other["measures"]} == {"not told apart"}
    assert [row["label"] for row in other["classes"]] == list(LABELS)
    assert sum(row["examples"] for row in other["classes"]) == 80
    assert record["notes"] == [
        "the validation part has chosen the best epoch of each run, so all runs look a little better on it than they are",
        "the thresholds and the temperature of same are not applied; its probabilities are compared as they are",
    ]
    assert sorted(place.rglob("*.html")) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["small"], "give at least two runs to compare. Received: only 'small'."),
        (["small", "small/"], "give each run once. Received: 'small' twice."),
        (["small", "gone"], "'gone' is not a run directory: it has no config.yaml."),
        (
            ["small", "old"],
            "Received: 'old', which has none, because an earlier version trained it. Write them with `kerastrain evaluate old`.",
        ),
        (["small", "stopped"], "has not finished. Resume it with `kerastrain train --resume stopped`."),
        (["small", "other"], "Received: 300 of 'small' and 200 of 'other', of which 200 are the same."),
        (
            ["small", "large", "--part", "validation"],
            "Received: validation, and 'small' has test, validation; 'large' has test.",
        ),
        (["small", "large", "--part", "tset"], "unknown part 'tset'. Known: test, validation. Did you mean 'test'?"),
        (["folds", "small"], "Compare a cross-validation with another one, or give the run of one of its folds"),
        (["small", "large", "--out", "page.txt"], "--out must name a .html file. Received: 'page.txt'."),
    ],
)
def test_what_cannot_be_compared_is_refused_in_a_sentence(kerastrain, arguments, message):
    said = kerastrain("compare", *arguments, code=2)
    assert message in said
    assert said.count("\n") == 1


def test_cross_validations_are_compared_by_their_out_of_fold_predictions(kerastrain):
    record = json.loads(kerastrain("compare", "folds", "more_folds", "--json"))
    assert record["part"] == "out_of_fold"
    assert record["settings"] == {"data.folds": [3, 5]}
    assert record["comparisons"][0]["measures"][0]["verdict"] == "better"


@pytest.mark.parametrize("task", ["multi_label", "regression"])
def test_labels_and_numbers_are_compared_too(kerastrain, place, task):
    random = np.random.default_rng(0)
    targets = random.random((100, 2)) if task == "regression" else random.random((100, 2)) < 0.5
    for name, noise in (("rough", 2.0), ("fine", 0.5)):
        outputs = (targets - 0.5) * (1 if task == "regression" else 4) + noise * random.normal(size=targets.shape)
        part = Predictions(targets, outputs, ("height", "weight"), task, digests=np.arange(100))
        make(place / task / name, {"test": part}, f"data.task={task}")
    printed = kerastrain("compare", f"{task}/rough", f"{task}/fine")
    assert ("mean absolute error of each number" in printed) == (task == "regression")
    assert ("wholly right" in printed) == (task == "multi_label")
    assert "better" in printed
    with pytest.raises(
        InputError, match=f"runs must have the same task. Received: 'small' .single_label. and 'fine' .{task}"
    ):
        recipe.compare([place / "small", place / task / "fine"])


def test_a_language_model_is_refused(place):
    with pytest.raises(
        InputError, match="Received: 'writer', a language model .data.kind=chat.. Compare the perplexities"
    ):
        overrides = ["data.kind=chat", f"data.path={place / 'chat.jsonl'}", "model.backbone=hf:a/b"]
        recipe.compare([place / "small", make(place / "writer", {}, *overrides)])
