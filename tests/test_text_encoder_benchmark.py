"""The benchmark of pretrained text encoders runs on a tiny folder, takes a finished run, and measures no cell twice."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from text_encoder_folders import BERT, WIDTH, WORDS, tensors, write_encoder

pytest.importorskip("keras_hub")
pytest.importorskip("tensorflow_text")

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "text_encoders.py"


def run(*options):
    command = [sys.executable, SCRIPT, *map(str, options)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stdout


@pytest.mark.chaos
def test_text_encoders_prints_a_row_of_each_recipe_and_measures_nothing_twice(tmp_path):
    random, table = np.random.default_rng(0), tmp_path / "films.csv"
    with open(table, "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["text", "label"])
        for number in range(200):
            words = [*random.choice(WORDS[4:10], 4), ("good", "bad")[number % 2], f"x{number}"]
            rows.writerow([" ".join(words), "+-"[number % 2]])
    results, runs = tmp_path / "cells.jsonl", tmp_path / "runs"
    config = {**BERT, "architectures": ["BertModel"]}
    pooler = {"pooler.dense.weight": np.eye(WIDTH, dtype="float32"), "pooler.dense.bias": np.zeros(WIDTH, "float32")}
    encoder = write_encoder(
        tmp_path / "bert", config, values={**tensors(config), **pooler}
    )  # KerasHub needs the pooler.
    command = [
        "--encoder",
        encoder,
        "--data",
        table,
        "--results",
        results,
        "--runs",
        runs,
    ]
    command += ["--per-class", "10", "all", "--seeds", 0, "--set", "fit.epochs=1", "--pass-texts", 50]
    first = run(*command)
    cells = {tuple(cell["key"][2:]): cell for cell in map(json.loads, results.read_text().splitlines())}
    recipes = ["kerastrain fit.epochs=1", "words", "words and characters", "2e-5", "5e-5"]
    passes = ["kerastrain", "kerastrain, mixed_bfloat16", "KerasHub"]
    assert list(cells) == [
        *((count, 0, recipe) for count in ("10", "all") for recipe in recipes),
        *((50, "pass", name) for name in passes),
    ]
    assert cells["all", 0, "words"]["shipped"] == "1" * 20
    assert [cells[count, 0, "words"]["training"] for count in ("10", "all")] == [16, 140]
    head = cells["all", 0, recipes[0]]["head"]
    assert f"| kerastrain, the head | {head.count('1') / 20:.3f} (" in first
    assert all(cells[50, "pass", name]["training"] > 0 for name in passes)
    lines = results.read_text().splitlines()
    assert run(*command) == first[first.index("| a class") :]
    assert results.read_text().splitlines() == lines
    # The finished run is taken, and gives the same answers.
    results.write_text("\n".join(line for line in lines if '"all", 0, "kerastrain' not in line) + "\n")
    run(*command)
    again = json.loads(results.read_text().splitlines()[-1])
    assert again == cells["all", 0, recipes[0]]
