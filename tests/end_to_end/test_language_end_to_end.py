"""A tiny language model goes all the way: conversations in, an adapter, a folder and answers out."""

import dataclasses
import json
import sys

import numpy as np
import pytest

pytest.importorskip("tokenizers")

from interruptions import InterruptAfter, Interrupted
from language_folders import lines, write_language_model

from kerastrain import cli, config, presets, recipe
from kerastrain.language import decoders as models
from kerastrain.presets import decoders
from kerastrain.recipe import fitting, writing

pytestmark = pytest.mark.slow

COMMON = ["data.kind=chat", "data.path=qa.jsonl", "model.backbone=base", "fit.epochs=3", "fit.global_batch_size=8"]
COMMON += ["optimizer.learning_rate=0.02", "evaluation.answers=2", "evaluation.answer_tokens=4"]
LORA = ["fine_tune.lora_rank=4", "fine_tune.lora_dropout=0.1"]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A base model, and questions whose answers are always the same."""
    write_language_model(tmp_path / "base", max_position_embeddings=128)
    rows = [{"prompt": f"Say {number}.", "response": "Paris is the capital."} for number in range(40)]
    lines(tmp_path / "qa.jsonl", rows)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_of(name, *settings):
    return recipe.run(config.load(overrides=[*COMMON, *settings]), name)


def weights(model):
    return {weight.path: np.asarray(weight) for weight in model.weights}


def test_a_model_learns_its_answers_and_its_files_are_compared(place, monkeypatch, capsys):
    formats = "export.formats=[adapter,hugging_face,saved_model]"
    monkeypatch.setattr(sys, "argv", ["kerastrain", "train", *COMMON, *LORA, formats, "--run", "run"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    printed = capsys.readouterr().out
    assert ended.value.code == 0, printed
    assert "memory: 0.0 GB of " in printed
    measured = json.loads((place / "run" / "metrics.json").read_text())["validation"]
    assert measured["task"] == "language"
    assert measured["perplexity"] < 0.5 * measured["before"]["perplexity"]
    page = (place / "run" / "report.html").read_text()
    assert "Answers before and after" in page
    assert sorted(path.name for path in (place / "run" / "exports").iterdir()) == [
        *("adapter", "hugging_face", "saved_model")
    ]
    merged = presets.read(place / "run" / "exports" / "hugging_face", kind="language")
    reopened = models.load(merged, decoders.network(merged))
    writer = writing.writer("run")
    inputs = {"token_ids": np.array([[5, 6, 7]]), "segments": np.ones((1, 3), int)}
    expected = writer._generator._model.predict(inputs, verbose=0)
    np.testing.assert_allclose(reopened.predict(inputs, verbose=0), expected, atol=1e-5)
    monkeypatch.setattr(sys, "argv", ["kerastrain", "generate", "run", "Say 3.", "--max-tokens", "4", "--json"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["answer"] == writer.write(
        [{"role": "user", "content": "Say 3."}], max_new_tokens=4
    )


def test_a_training_that_is_interrupted_ends_with_the_same_bits(place, monkeypatch):
    settings = (*LORA, "export.formats=[]", "fit.checkpoint_every=2 steps")
    whole = weights(run_of("whole", *settings).model)
    fit_phase = fitting.fit_phase

    def interrupted(stage, *arguments, **options):
        return fit_phase(dataclasses.replace(stage, callbacks=[InterruptAfter(5)]), *arguments, **options)

    monkeypatch.setattr(fitting, "fit_phase", interrupted)
    with pytest.raises(Interrupted):
        run_of("parts", *settings)
    monkeypatch.setattr(fitting, "fit_phase", fit_phase)
    parts = weights(recipe.resume("parts").model)
    for path, value in whole.items():
        np.testing.assert_array_equal(parts[path], value, err_msg=path)


def test_two_devices_give_the_weights_of_one(place):
    settings = (
        "export.formats=[]",
        "optimizer.name=sgd",
        "fine_tune.lora_rank=4",
        "fit.epochs=1",
        "evaluation.answers=0",
    )
    one = weights(run_of("one", *settings).model)
    two = weights(run_of("two", *settings, "runtime.strategy=mirrored", "runtime.devices=2").model)
    for path, value in one.items():
        np.testing.assert_allclose(two[path], value, atol=1e-6, err_msg=path)


@pytest.mark.parametrize("settings", [["fine_tune.last=1"], [*LORA, "fine_tune.quantize=int8"], ["data.packing=true"]])
def test_other_ways_to_train(place, settings):
    result = run_of("run", *settings, "export.formats=[hugging_face]")
    measured = result.measures["validation"]
    assert measured["loss"] < measured["before"]["loss"]
    assert writing.writer("run").write("Paris", max_new_tokens=2) is not None
