"""`kerastrain data check` on runs with planted faults, and `data.exclude`, which acts on what it proposes."""

import csv
import json

import commands
import numpy as np
import pytest
import untrained
from PIL import Image
from sklearn.datasets import load_digits

from kerastrain import config, data, recipe
from kerastrain.recipe import starting_run

FLIPPED = (3, 33, 63)


@pytest.fixture
def kerastrain(tmp_path, monkeypatch, capsys):
    """A function that runs a command, and returns what it prints."""
    monkeypatch.chdir(tmp_path)

    call = commands.runner(monkeypatch, capsys)

    def printed(*arguments, code=0):
        out, error = call(*arguments, code=code)
        return error if code else " ".join(out.split())

    return printed


def proposals(run):
    with open(run / "data_check" / "proposals.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def finished(folder, labels, overrides):
    """A run that was trained on the data as they are."""
    run = untrained.card(folder, labels, overrides=overrides)
    settings = config.load(run / "config.yaml")
    split = recipe.load_data(settings, starting_run.read_start(run).image_size)
    (run / "environment.json").write_text(json.dumps({"data_sha256": data.fingerprint(split)}))
    return run


@pytest.mark.slow
def test_flips_and_copies_among_pictures_are_found_and_left_out(kerastrain, tmp_path):
    digits = load_digits()
    for number, row in enumerate(np.flatnonzero(digits.target < 3)[:180]):
        label = (digits.target[row] + (number in FLIPPED)) % 3
        picture = Image.fromarray((digits.images[row] * 15).astype(np.uint8))
        (tmp_path / "shapes" / str(label)).mkdir(parents=True, exist_ok=True)
        picture.save(tmp_path / f"shapes/{label}/{number:03}.png")
        if number in (10, 11, 12):
            darker = picture.point(lambda value: round(value * 0.9))
            darker.save(tmp_path / f"shapes/{label}/{number:03}_=copy.png")
    run = finished(tmp_path / "run", ["0", "1", "2"], ["data.path=shapes", "export.formats=[]"])
    printed = kerastrain("data", "check", "run")
    assert "a cross-validated logistic regression on features of kerastrain:fractal_small, as published" in printed
    found = json.loads((run / "data_check/findings.json").read_text())
    rows = proposals(run)
    doubted = {row["key"][2:5] for row in rows if row["kind"] == "label_error"}
    assert doubted >= {f"{number:03}" for number in FLIPPED}
    assert len(doubted) <= 6
    copies = [row for row in rows if row["kind"] in ("near_duplicate", "leakage")]
    assert {row["key"][2:5] for row in copies} == {"010", "011", "012"}
    assert all(row["action"] == "exclude" for row in copies if row["part"] != "test")
    assert not any(row["action"] == "exclude" for row in rows if row["part"] == "test")
    first = next(kind for kind in found["findings"] if kind["kind"] in ("leakage", "near_duplicate"))["examples"][0]
    for name in ("picture", "other_picture"):
        with Image.open(run / first[name]) as thumbnail:
            assert thumbnail.size == (8, 8)
    assert found["proposals"]["exclude"] == sum(row["action"] == "exclude" for row in rows)
    scores = (run / "data_check/label_scores.csv").read_text().splitlines()
    assert scores[0] == "score,part,input,given_label,proposed_label"
    assert len(scores) == 184
    excluded = {row["key"] for row in rows if row["action"] == "exclude"}
    printed = kerastrain(
        "check",
        "data.path=shapes",
        "data.exclude=run/data_check/proposals.csv",
        "model.backbone=kerastrain:fractal_small",
    )
    assert f"note: data.exclude: left out {len(excluded)} examples of '{run}/data_check/proposals.csv'" in printed
    assert "is not overwritten. Use --replace" in kerastrain("data", "check", "run", code=2)
    (tmp_path / "shapes/0/new.png").write_bytes((tmp_path / f"shapes/{rows[0]['key']}").read_bytes()[:-1] + b"x")
    for path in (tmp_path / "shapes/1").glob("05*"):
        path.unlink()
    said = kerastrain("data", "check", "run", "--replace", code=2)
    assert "data check needs the data that the run was trained on. Received: at " in said
    assert len(proposals(run)) == len(rows)


def test_texts_are_compared_and_judged(kerastrain, tmp_path):
    generator = np.random.default_rng(0)
    words = {label: [f"{label}{chr(97 + n % 26)}{chr(97 + n // 26)}" for n in range(60)] for label in ("neg", "pos")}
    rows = [
        [f"the {' '.join(generator.choice(words[label], 9))} and {number}", label]
        for number, label in enumerate(["neg", "pos"] * 60)
    ]
    rows[4][1] = "pos"
    parts = ["train"] * 80 + ["val"] * 20 + ["test"] * 20
    rows += [
        [rows[7][0].upper() + "!", "pos"],
        [rows[110][0] + "...", "neg"],
        [rows[9][0] + " ", "neg"],
        ["=1+1", "neg"],
    ]
    parts += ["train"] * 4
    with open(tmp_path / "texts.csv", "w", newline="") as file:
        csv.writer(file).writerows(
            [["text", "label", "split"], *([*row, part] for row, part in zip(rows, parts, strict=True))]
        )
    run = finished(tmp_path / "run", ["neg", "pos"], ["data.kind=text", "data.path=texts.csv"])
    printed = kerastrain("data", "check", "run")
    assert (
        "labels: doubted by a cross-validated logistic regression on TF-IDF of words and word pairs; its accuracy is"
        in printed
    )
    found = {(row["kind"], row["action"], row["part"], row["input"]) for row in proposals(run)}
    assert ("label_error", "exclude", "train", rows[4][0]) in found
    assert ("near_duplicate", "exclude", "train", rows[120][0]) in found
    assert ("leakage", "exclude", "train", rows[121][0]) in found
    assert ("short", "look", "train", "'=1+1") in found
    assert len(found) <= 8
    printed = kerastrain("check", "data.kind=text", "data.path=texts.csv", "data.exclude=run/data_check/proposals.csv")
    count = sum(row["action"] == "exclude" for row in proposals(run))
    assert f"note: data.exclude: left out {count} examples of" in printed
    # The next run is checked too: what it left out stays in its table.
    overrides = ["data.kind=text", "data.path=texts.csv", f"data.exclude={run}/data_check/proposals.csv"]
    second = finished(tmp_path / "second", ["neg", "pos"], overrides)
    kerastrain("data", "check", "second")
    earlier = {row["digest"] for row in proposals(run) if row["action"] == "exclude"}
    assert earlier <= {row["digest"] for row in proposals(second) if row["action"] == "exclude"}


def test_what_cannot_be_checked_is_refused(kerastrain, tmp_path):
    run = untrained.card(tmp_path / "run", ["a", "b"])
    (run / "model.keras").unlink()
    assert "data check needs a finished run. Received: 'run', whose training was stopped." in kerastrain(
        "data", "check", "run", code=2
    )
    assert "'none' is not a run directory: it has no config.yaml." in kerastrain("data", "check", "none", code=2)
