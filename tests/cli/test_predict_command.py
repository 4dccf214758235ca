"""Odd inputs and files of `kerastrain predict`, on runs that were never trained."""

import csv
import json
import os
import signal

import commands
import numpy as np
import pytest
import untrained
from PIL import Image

from kerastrain.cli import new_inputs


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = tmp_path_factory.mktemp("predicting")
    untrained.images(place / "run")
    untrained.texts(place / "texts")
    for name in ("in/a.png", "in/deep/b", "in/<script>.png", "in/[1].png"):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), untrained.COLOURS["red"]).save(place / name, format="png")
    (place / "in/zero.png").write_bytes(b"")
    (place / "in/notes.txt").write_text("no image\n")
    (place / "rows.csv").write_text("image,label\nin/a.png,red\ngone.png,blue\nin/a.png,red\n")
    (place / "empty").mkdir()
    return place


@pytest.fixture
def predict(place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    return commands.runner(monkeypatch, capsys, "predict")


def test_folders_patterns_and_tables_are_mixed_and_every_input_has_a_row(predict, place):
    printed, said = predict("run", "in", "in/**/*.png", "rows.csv", "empty", "no*.png", "--out", "all.csv", code=1)
    assert printed.endswith("6 predictions written to all.csv\n")
    for sentence in (
        "'in': 5 images (skipped: 1 .txt)",
        "'in/**/*.png': 4 matching paths",
        "4 files are named more than once, and used once",
        "kerastrain: 'empty' contains no images.",
        "kerastrain: no file matches the pattern 'no*.png'.",
        "kerastrain: cannot read 'in/zero.png' as an image: the file is empty.",
        "kerastrain: line 3 of 'rows.csv': no image at 'gone.png': there is no such file.",
    ):
        assert sentence in said
    rows = list(csv.DictReader((place / "all.csv").open()))
    found = [(row["input"], row["row"].split(" of ")[0], row["prediction"], bool(row["error"])) for row in rows]
    assert found == [
        ("in/<script>.png", "", "red", False),
        ("in/[1].png", "", "red", False),
        ("in/a.png", "", "red", False),
        ("in/deep/b", "", "red", False),
        ("in/zero.png", "", "", True),
        ("in/a.png", "line 2", "red", False),
        ("gone.png", "line 3", "", True),
        ("in/a.png", "line 4", "red", False),
    ]
    assert (rows[4]["probability_red"], rows[4]["error"]) == (
        "",
        "cannot read 'in/zero.png' as an image: the file is empty.",
    )


def test_json_lines_are_written_and_printed(predict, place):
    printed, _ = predict("run", "-", "--out", "-", stdin="in/a.png\n\ngone.png\n", code=1)
    one, two = map(json.loads, printed.splitlines())
    assert (one["input"], one["row"], one["prediction"]) == ("in/a.png", "line 1 of standard input", "red")
    assert set(one["labels"]) == {"blue", "green", "red"}
    assert two == {
        "input": "gone.png",
        "row": "line 3 of standard input",
        "error": "no image at 'gone.png': there is no such file.",
    }
    predict("texts", "--text", "so good", "--out", "one.jsonl", "--embeddings")
    [record] = map(json.loads, (place / "one.jsonl").read_text().splitlines())
    assert (record["prediction"], len(record["embedding"])) == ("pos", 4)


def test_embeddings_are_written_row_by_row(predict, place):
    printed, _ = predict("run", "in/?.png", "in/zero.png", "in/[1].png", "--embeddings", "--out", "e.npz", code=1)
    assert printed.endswith("2 embeddings written to e.npz\n")
    with np.load(place / "e.npz") as arrays:
        assert arrays["inputs"].tolist() == ["in/a.png", "in/zero.png", "in/[1].png"]
        assert arrays["errors"].tolist() == ["", "cannot read 'in/zero.png' as an image: the file is empty.", ""]
        embeddings = arrays["embeddings"]
    assert (embeddings.shape, embeddings.dtype) == ((3, 3), np.float32)
    assert np.isnan(embeddings).all(axis=1).tolist() == [False, True, False]
    predict("run", "in/a.png", "in/zero.png", "--embeddings", "--out", "e.npy", code=1)
    np.testing.assert_array_equal(np.load(place / "e.npy"), embeddings[:2])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--embeddings"], "--embeddings needs --out with a .npz, .npy or .jsonl file, or -. Received: no --out."),
        (["--embeddings", "--out", "x.csv"], "Received: 'x.csv'."),
        (["--out", "x.npy"], "--out with a .npy file is for embeddings. Received: 'x.npy'. Add --embeddings."),
        (["--out", "x"], "--out must name a .csv or .jsonl file, or be -. Received: 'x'."),
        (["--out", "x.csv", "--top", "2"], "--top is for labels that are printed, and --out writes all of them."),
        (["--out", "x.csv", "--json"], "--json prints, and --out writes a file. Received: both. Give one of them."),
    ],
)
def test_a_file_that_cannot_be_meant_is_refused_before_tensorflow_starts(predict, arguments, message):
    printed, said = predict("run", "in/a.png", *arguments, code=2)
    assert (printed, message in said) == ("", True), said


def test_nothing_is_written_without_a_prediction(predict, place):
    for name in ("none.csv", "none.jsonl"):
        predict("run", "in/zero.png", "--out", f"new/{name}", code=2)
    predict("run", "in/zero.png", "--out", "new/none.npz", "--embeddings", code=2)
    assert not (place / "new").exists()
    _, said = predict("run", "-", stdin="\x89PNG\x00\x01", code=2)
    assert "standard input must be text, such as a path in each line. Received: binary data." in said


def test_a_signal_leaves_no_half_file(predict, place, monkeypatch):
    def counted(self, items):
        for item in items:
            self.done += 1
            yield item
            os.kill(os.getpid(), signal.SIGTERM)

    (place / "kept.csv").write_text("before\n")
    monkeypatch.setattr(new_inputs.Progress, "counted", counted)
    _, said = predict("run", "in", "--out", "kept.csv", "--replace", code=128 + signal.SIGTERM)
    assert said.endswith("kerastrain: stopped by SIGTERM after 1 of 5 inputs; 'kept.csv' was not written\n")
    assert (place / "kept.csv").read_text() == "before\n"
    assert not [path for path in place.iterdir() if path.name.endswith(".tmp")]


def test_the_operating_point_of_a_run_is_applied_and_said(predict, place):
    path = place / "run/operating_point.json"
    path.write_text('{"temperature": 4.0, "thresholds": {}, "reject_below": 0.99}')
    printed, said = predict("run", "in/a.png")
    assert "operating point of the run: temperature 4, no class below a probability of 0.99" in said
    assert "rejected" in printed
    printed, said = predict("run", "in/a.png", "--without-operating-point", "--json")
    assert (json.loads(printed)[0]["prediction"], "operating point" in said) == ("red", False)
    assert json.loads(predict("run", "in/a.png", "--json")[0])[0]["prediction"] is None
    path.write_text("[]")
    assert "'run/operating_point.json' is not an operating point" in predict("run", "in/a.png", code=2)[1]
    path.unlink()
