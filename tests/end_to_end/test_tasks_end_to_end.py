"""Many labels and numbers through the command line, as a user walks it: a manifest, a run, and every verb on it."""

import csv
import json
import sys

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from PIL import Image

from kerastrain import cli, export, testing
from kerastrain.export import litert

QUICK = ["data.path=m.csv", "data.augment=[]", "model.backbone=module", "fit.head_epochs=60", "fit.epochs=0"]
QUICK += ["optimizer.learning_rate=0.1", "model.dropout=0", "export.formats=[saved_model, tflite_int8]"]


def write(path, rows):
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows(rows)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Pictures whose upper half is red or not, lower half green or not, and which are more or less blue."""
    place = tmp_path_factory.mktemp("tasks")
    testing.saved_model(place / "module", image_size=(16, 16), features=16)
    random, rows = np.random.default_rng(0), []
    for number in range(160):
        red, green, blue = random.random() < 0.5, random.random() < 0.5, random.random()
        pixels = np.full((16, 16, 3), 20.0) + random.normal(0, 4, (16, 16, 3))
        pixels[:, :, 0] += 200 * red
        pixels[:, :, 1] += 200 * green
        pixels[:, :, 2] += 200 * blue
        name = f"images/{number:03}.png"
        (place / "images").mkdir(exist_ok=True)
        Image.fromarray(pixels.clip(0, 255).astype("uint8")).save(place / name)
        labels = "|".join(["red"] * red + ["green"] * green)
        rows.append(
            (name, labels, 1000 + 500 * blue, f"p{number // 4}", ("train", "train", "train", "val", "test")[number % 5])
        )
    write(place / "m.csv", [("path", "labels", "price", "patient", "part"), *rows])
    write(place / "more.csv", [("path", "labels", "price", "patient", "part"), *rows[:20]])
    return place


@pytest.fixture
def kerastrain(place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    monkeypatch.setenv("XDG_STATE_HOME", str(place / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(place / "cache"))

    def called(*arguments):
        monkeypatch.setattr(sys, "argv", ["kerastrain", *arguments])
        try:
            cli.main()
        except SystemExit as end:
            assert not end.code, capsys.readouterr().err
        return capsys.readouterr().out

    return called


def measures(place, path):
    return json.loads((place / path).read_text())


def int8_answers(path, image):
    interpreter = Interpreter(str(path))
    interpreter.allocate_tensors()
    source, target = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    interpreter.set_tensor(source["index"], np.asarray(Image.open(image))[None])
    interpreter.invoke()
    scale, zero = target["quantization"]
    return (interpreter.get_tensor(target["index"])[0].astype("float32") - zero) * scale


@pytest.mark.slow
def test_many_labels_go_all_the_way(place, kerastrain):
    options = ["data.task=multi_label", "data.columns.group=patient", "export.probabilities=true"]
    options += ["export.formats=[tflite_int8]"]
    printed = kerastrain("train", *QUICK, *options, "--run", "many")
    assert "\nlabels: 2\n" in printed
    assert "all labels right" in printed
    test = measures(place, "many/metrics.json")["test"]
    assert (test["task"], test["accuracy"]) == ("multi_label", pytest.approx(1, abs=0.05))
    assert test["macro"]["average_precision"] > 0.98
    kerastrain("evaluate", "many", "--data", "more=more.csv")
    more = measures(place, "many/evaluations/more.json")
    assert (more["count"], more["accuracy"]) == (20, pytest.approx(1, abs=0.05))
    with open(place / "m.csv") as file:
        both = next(row["path"] for row in csv.DictReader(file) if row["labels"] == "red|green")
    answers = json.loads(kerastrain("predict", "many", both, "--json"))[0]["labels"]
    assert all(share > 0.5 for share in answers.values())
    shipped = int8_answers(place / "many/exports/model_int8.tflite", place / both)
    labels = (place / "many/labels.txt").read_text().split()
    np.testing.assert_allclose(shipped, [answers[label] for label in labels], atol=0.15)
    assert "saliency_green.png" in kerastrain("explain", "many", both, "--method", "saliency", "--label", "green")
    assert "accuracy" in kerastrain("compress", "many", "prune.epochs=1", "prune.fraction=0.2")
    page = (place / "many/report.html").read_text()
    assert "mean average precision" in page
    assert "saliency" in page


@pytest.mark.slow
def test_numbers_go_all_the_way(place, kerastrain):
    options = ["data.task=regression", "data.columns={targets: price, split: part}"]
    printed = kerastrain("train", *QUICK, *options, "--run", "numbers")
    assert "\nnumbers: 1\n" in printed
    test = measures(place, "numbers/metrics.json")["test"]
    assert (test["task"], test["count"]) == ("regression", 32)
    assert test["r2"] > 0.9
    assert test["outputs"][0]["mae"] < 50
    kerastrain("evaluate", "numbers", "--data", "test=m.csv", "--data", "all=m.csv")
    evaluated = measures(place, "numbers/evaluations/test.json")
    assert evaluated.pop("data")["shared"] == {"train": 0, "validation": 0, "test": 32}
    assert evaluated.pop("findings") == []
    assert evaluated == test
    everything = measures(place, "numbers/evaluations/all.json")
    assert everything["count"] == sum(everything["data"]["shared"].values()) == 160
    with open(place / "m.csv") as file:
        row = next(csv.DictReader(file))
    answers = json.loads(kerastrain("predict", "numbers", row["path"], "--json"))[0]["numbers"]
    assert answers == {"price": pytest.approx(float(row["price"]), abs=150)}
    shipped = int8_answers(place / "numbers/exports/model_int8.tflite", place / row["path"])
    assert shipped == pytest.approx([answers["price"]], abs=30)
    assert f"price {answers['price']:.4g}" in kerastrain("predict", "numbers", row["path"])
    assert "saliency.png" in kerastrain("explain", "numbers", row["path"], "--method", "saliency")
    assert "R²" in kerastrain("compress", "numbers", "prune.epochs=1", "prune.fraction=0.2")
    assert "Predicted over true price" in (place / "numbers/report.html").read_text()


@pytest.mark.slow
def test_texts_of_many_labels_are_trained_and_measured_on_other_data(place, kerastrain):
    words = {"good": ["fine", "grand"], "bad": ["dull", "slow"], "long": ["endless", "hours"]}
    random = np.random.default_rng(0)
    rows = []
    for number in range(240):
        labels = [label for label in words if random.random() < 0.5]
        text = " ".join(random.choice(words[label]) for label in labels) + f" film {number}"
        rows.append((text, ";".join(labels), ("train", "train", "dev")[number % 3]))
    write(place / "t.csv", [("text", "labels", "split"), *rows])
    options = ["data={kind: text, path: t.csv, task: multi_label, columns: {separator: ;}}", "fit.epochs=15"]
    kerastrain("train", *options, "export.formats=[]", "--run", "texts")
    assert measures(place, "texts/metrics.json")["validation"]["macro"]["average_precision"] > 0.95
    kerastrain("evaluate", "texts", "--data", "dev=t.csv", "--data", "whole=t.csv")
    counts = [measures(place, f"texts/evaluations/{name}.json")["count"] for name in ("dev", "whole")]
    assert counts == [80, 240]
    assert "good" in kerastrain("predict", "texts", "a fine and grand film")


@pytest.mark.slow
def test_texts_are_rated_by_numbers_and_chinese_ones_read_by_characters(place, kerastrain):
    good, bad = "好棒妙佳喜", "差烂糟坏恨"
    random = np.random.default_rng(0)
    rows = []
    for number in range(240):
        stars = random.integers(0, 5)
        text = "".join(random.permutation([*random.choice(list(good), stars), *random.choice(list(bad), 4 - stars)]))
        rows.append((f"{text}。第{number}", 1 + stars, ("train", "train", "dev")[number % 3]))
    write(place / "stars.csv", [("text", "stars", "split"), *rows])
    options = ["data={kind: text, path: stars.csv, task: regression, columns: {targets: stars}}"]
    assert "set model.tokenizer=characters (or subwords)" in " ".join(kerastrain("check", *options).split())
    options += ["model.tokenizer=characters", "fit.epochs=30", "export.formats=[saved_model, tflite_float32]"]
    kerastrain("train", *options, "--run", "stars")
    assert measures(place, "stars/metrics.json")["validation"]["r2"] > 0.9
    kerastrain("evaluate", "stars", "--data", "dev=stars.csv")
    assert measures(place, "stars/evaluations/dev.json")["count"] == 80
    assert "Predicted over true stars" in (place / "stars/report.html").read_text()
    texts = ["好棒妙佳。", "差烂糟坏。"]
    answers = [answer["numbers"]["stars"] for answer in json.loads(kerastrain("predict", "stars", *texts, "--json"))]
    assert answers[0] > 4 > 2 > answers[1]
    ids = export.tokenize(place / "stars/exports/model_float32.tflite", texts)
    assert litert.run(place / "stars/exports/model_float32.tflite", ids)[:, 0] == pytest.approx(answers, abs=1e-3)
