"""A tiny language model learns which answers people prefer, and a stopped run ends with the same bits."""

import dataclasses
import io
import json

import numpy as np
import pytest
import rich

pytest.importorskip("tokenizers")

from interruptions import InterruptAfter, Interrupted
from language_folders import lines, write_language_model

from kerastrain import config, evaluation, recipe, run_directory
from kerastrain.language import preferences
from kerastrain.recipe import evaluating, fitting, language_exports

pytestmark = pytest.mark.slow

SETTINGS = ["data.kind=chat", "data.path=pairs.jsonl", "model.backbone=base", "fit.objective=dpo", "fit.dpo_beta=0.2"]
SETTINGS += ["fine_tune.lora_rank=4", "fine_tune.lora_dropout=0.1", "optimizer.learning_rate=0.02", "fit.epochs=2"]
SETTINGS += ["evaluation.answers=0", "export.formats=[adapter]", "fit.checkpoint_every=2 steps"]
SETTINGS += ["evaluation.sets=[validation]"]


def weights(result):
    return {weight.path: np.asarray(weight) for weight in result.model.weights}


def test_a_run_learns_preferences_and_resumes_with_the_same_bits(tmp_path, monkeypatch):
    write_language_model(tmp_path / "base", max_position_embeddings=128, num_hidden_layers=1)
    rows = [
        {"prompt": f"Say {n}.", "chosen": "Paris is the capital.", "rejected": f"France {n % 7}"} for n in range(40)
    ]
    lines(tmp_path / "pairs.jsonl", rows)
    monkeypatch.chdir(tmp_path)
    whole = recipe.run(config.load(overrides=SETTINGS), "whole")
    measured = json.loads((tmp_path / "whole" / "metrics.json").read_text())["validation"]
    after, before = measured["preference"], measured["before"]["preference"]
    assert (before["loss"], before["accuracy"], before["margin"]) == (pytest.approx(np.log(2)), 0.5, 0.0)
    assert after["pairs"] == measured["sequences"] == 8
    assert after["beta"] == 0.2
    assert after["loss"] < 0.5
    assert after["accuracy"] == 1.0
    assert after["margin"] > 0.5
    printed = io.StringIO()
    rich.print(evaluation.table(measured, title="validation"), file=printed)
    assert "validation: 8 pairs of answers, beta 0.2" in printed.getvalue()
    page = (tmp_path / "whole" / "report.html").read_text()
    assert "Of 8 pairs of answers, with beta 0.2" in page
    assert "Chosen answer is likelier" in page
    [again] = evaluating.evaluate(run_directory.load("whole"), {}).values()
    assert again["preference"] == after
    adapter = tmp_path / "whole" / "exports" / "adapter" / "adapter_model.safetensors"
    written, finished = adapter.read_bytes(), run_directory.load("whole")
    language_exports.export_run(finished, finished.config, replace=True)
    assert adapter.read_bytes() == written
    assert preferences.margin_model(finished.model).output_shape == (None, 1)

    fit_phase = fitting.fit_phase

    def interrupted(stage, *arguments, **options):
        return fit_phase(dataclasses.replace(stage, callbacks=[InterruptAfter(5)]), *arguments, **options)

    monkeypatch.setattr(fitting, "fit_phase", interrupted)
    with pytest.raises(Interrupted):
        recipe.run(config.load(overrides=SETTINGS), "parts")
    monkeypatch.setattr(fitting, "fit_phase", fit_phase)
    parts = recipe.resume("parts")
    for path, value in weights(whole).items():
        np.testing.assert_array_equal(weights(parts)[path], value, err_msg=path)
    assert json.loads((tmp_path / "parts" / "metrics.json").read_text())["validation"] == measured
