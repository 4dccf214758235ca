"""A tiny language model goes all the way: conversations in, an adapter, a folder and answers out, and what follows."""

import contextlib
import dataclasses
import io
import json
import os
import re
import sys

import numpy as np
import processes
import pytest

pytest.importorskip("tokenizers")

from interruptions import InterruptAfter, Interrupted
from language_folders import lines, write_language_model

from kerastrain import cli, config, distribute, presets, recipe, run_directory
from kerastrain.errors import InputError
from kerastrain.language import adapter_files
from kerastrain.language import decoders as models
from kerastrain.presets import decoders
from kerastrain.recipe import fitting, writing

pytestmark = pytest.mark.slow

COMMON = ["data.kind=chat", "data.path=qa.jsonl", "fit.epochs=3", "fit.global_batch_size=8"]
COMMON += ["optimizer.learning_rate=0.02", "evaluation.answers=2", "evaluation.answer_tokens=4"]
LORA = [*COMMON, "model.backbone=base", "fine_tune.lora_rank=4", "fine_tune.lora_dropout=0.1"]
QUIET = ["evaluation.answers=0", "evaluation.sets=[]", "export.formats=[]"]


def command(*arguments):
    """The exit code of a command in this process, and what it prints."""
    printed, before = io.StringIO(), sys.argv
    sys.argv = ["kerastrain", *arguments]
    try:
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            cli.main()
    except SystemExit as ended:
        return ended.code, printed.getvalue()
    finally:
        sys.argv = before
    return 0, printed.getvalue()


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A base model, questions whose answers are always the same, others, and the run `run`; its output is in `printed`."""
    folder = tmp_path_factory.mktemp("language")
    write_language_model(folder / "base", max_position_embeddings=128, num_hidden_layers=1)
    lines(folder / "qa.jsonl", [{"prompt": f"Say {n}.", "response": "Paris is the capital."} for n in range(40)])
    lines(folder / "other.jsonl", [{"text": f"The number {n} follows {n - 1}."} for n in range(6)])
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        formats = "export.formats=[adapter,hugging_face]"
        code, printed = command("train", *LORA, "fit.checkpoint_every=2 steps", formats, "--run", "run")
        assert code == 0, printed
        (folder / "printed").write_text(printed)
        yield folder


def run_of(name, *settings):
    return recipe.run(config.load(overrides=[*settings, *QUIET]), name)


def weights(model):
    return {weight.path: np.asarray(weight) for weight in model.weights}


def assert_equal(model, other, tolerance):
    one, two = weights(model), weights(other)
    assert one.keys() == two.keys()
    for path, value in one.items():
        np.testing.assert_allclose(two[path], value, rtol=0, atol=tolerance, err_msg=path)


def merged(folder):
    preset = presets.read(folder, kind="language")
    return models.load(preset, decoders.network(preset))


def logits(model):
    inputs = {"token_ids": np.array([[5, 6, 7]]), "segments": np.ones((1, 3), int)}
    return model.predict(inputs, verbose=0)


def test_a_model_learns_its_answers_and_its_files_are_compared(place):
    assert re.search(r"^memory: \d\.\d GB of ", (place / "printed").read_text(), re.MULTILINE)
    measured = json.loads((place / "run" / "metrics.json").read_text())["validation"]
    assert measured["task"] == "language"
    assert measured["perplexity"] < 0.5 * measured["before"]["perplexity"]
    assert "Answers before and after" in (place / "run" / "report.html").read_text()
    writer = writing.writer("run")
    reopened = merged(place / "run" / "exports" / "hugging_face")
    np.testing.assert_allclose(logits(reopened), logits(writer._generator._model), atol=1e-5)
    code, printed = command("generate", "run", "Say 3.", "--max-tokens", "4", "--json")
    assert code == 0, printed
    answer = writer.write([{"role": "user", "content": "Say 3."}], max_new_tokens=4)
    assert json.loads(printed.splitlines()[-1])["answer"] == answer


def test_a_finished_run_is_measured_again_and_on_other_data(place):
    own = json.loads((place / "run" / "metrics.json").read_text())
    code, printed = command("evaluate", "run")
    assert code == 0, printed
    assert all(f"{name}: " in printed and f"{own[name]['loss']:.4f}" in printed for name in ("validation", "test"))
    assert not (place / "run" / "evaluations").exists()
    code, printed = command("evaluate", "run", "other.jsonl")
    assert (code, "For texts without roles, set data.kind=language." in printed) == (2, True), printed
    code, printed = command("evaluate", "run", "--data", "all=qa.jsonl")
    assert code == 0, printed
    measured = json.loads((place / "run" / "evaluations" / "all.json").read_text())
    assert (measured["sequences"], measured["data"]["path"]) == (40, str(place / "qa.jsonl"))
    assert str(place / "qa.jsonl") in (place / "run" / "report.html").read_text()
    for one, parts in (
        (measured, [own[name] for name in ("validation", "test")]),
        (measured["before"], [own[name]["before"] for name in ("validation", "test")]),
    ):
        low, high = sorted(part["loss"] for part in parts)
        assert low - 0.1 < one["loss"] < high + 0.1  # of the same kind of examples


def test_a_finished_run_is_exported_when_its_model_and_data_are_gone(place):
    adapter = (place / "run" / "exports" / "adapter" / adapter_files.WEIGHTS).read_bytes()
    code, printed = command("export", "run")
    assert (code, "adapter' exists already and is not overwritten. Use --replace" in printed) == (2, True), printed
    for name in ("base", "qa.jsonl"):
        (place / name).rename(place / f"{name}.gone")
    try:
        code, printed = command("export", "run", "--replace")
        assert code == 0, printed
        code, printed = command("export", "run", "--format", "saved_model")
        assert code == 0, printed
        code, printed = command("evaluate", "run", "--data", "more=other.jsonl", "data.kind=language")
        assert code == 0, printed
        assert json.loads((place / "run" / "evaluations" / "more.json").read_text())["sequences"] == 6
        assert f"the model before the training, {place / 'base'}, is not measured: no folder at" in printed
    finally:
        for name in ("base", "qa.jsonl"):
            (place / f"{name}.gone").rename(place / name)
    assert (place / "run" / "exports" / "adapter" / adapter_files.WEIGHTS).read_bytes() == adapter
    found = json.loads((place / "run" / "exports" / "adapter" / adapter_files.CONFIG).read_text())
    assert found["base_model_name_or_path"] == str(place / "base")
    assert sorted(path.name for path in (place / "run" / "exports").iterdir()) == [
        *("adapter", "hugging_face", "saved_model")
    ]


def test_a_training_that_is_interrupted_ends_with_the_same_bits(place, monkeypatch):
    fit_phase, settings = fitting.fit_phase, [*LORA, "fit.checkpoint_every=2 steps"]

    def interrupted(stage, *arguments, **options):
        return fit_phase(dataclasses.replace(stage, callbacks=[InterruptAfter(5)]), *arguments, **options)

    monkeypatch.setattr(fitting, "fit_phase", interrupted)
    with pytest.raises(Interrupted):
        run_of("parts", *settings)
    monkeypatch.setattr(fitting, "fit_phase", fit_phase)
    index = place / "base" / "config.json"
    content = index.read_text()
    index.write_text(content + " ")
    with pytest.raises(InputError, match=r"the files of '.*base' have changed since 'parts' was started"):
        recipe.resume("parts")
    index.write_text(content)
    assert_equal(run_directory.load("run").model, recipe.resume("parts").model, 0)


FURTHER = [*COMMON, "fit.epochs=1", "fine_tune.lora_rank=2", "optimizer.name=sgd", "data.packing=true"]


@pytest.fixture(scope="module")
def further(place):
    """A model that one device has trained from the folder that the run exported, several examples in a sequence."""
    return run_of("further", *FURTHER, "model.backbone=run/exports/hugging_face").model


def test_a_run_trains_further_as_its_exported_folder_would_on_two_devices(place, further):
    devices = ["runtime.strategy=mirrored", "runtime.devices=2", "runtime.all_reduce=hierarchical_copy"]
    settings = [*FURTHER, "fine_tune.lora_dropout=0", *devices, *QUIET, "export.formats=[adapter]"]
    code, printed = command("train", "--from", "run", *settings, "--run", "from")
    assert code == 0, printed
    assert f"starts from: {place / 'run'}" in printed
    assert_equal(further, run_directory.load("from").model, 1e-6)
    found = json.loads((place / "from" / "exports" / "adapter" / adapter_files.CONFIG).read_text())
    assert (found["base_model_name_or_path"], found["r"]) == (str(place / "run" / "exports" / "hugging_face"), 2)
    assert f"Trained further from {place / 'run'}." in (place / "from" / "report.html").read_text()


@pytest.mark.multi_worker
@pytest.mark.equality
def test_two_processes_end_with_the_weights_of_one_and_the_chief_alone_writes(place, further, free_addresses):
    arguments = ["train", *FURTHER, "model.backbone=run/exports/hugging_face", *QUIET, "--run", "pair"]
    streams, workers, addresses = [place / f"worker{index}" for index in range(2)], [], free_addresses(2)
    for index in range(2):
        environment = {**os.environ, "TF_CONFIG": distribute.Cluster(addresses, index).tf_config()}
        words = (place, [*arguments, "runtime.strategy=multi_worker"], environment, [streams[index]] * 2)
        workers.append(processes.server().Process(target=processes._command, args=words))
        workers[-1].start()
    for worker in workers:
        worker.join(240)
        worker.kill()
    chief, other = (stream.read_text() for stream in streams)
    assert [worker.exitcode for worker in workers] == [0, 0], chief + other
    assert_equal(further, run_directory.load("pair").model, 1e-6)
    assert "fine_tune epoch 1/1" in chief
    assert "loss" not in other
    assert {path.name for path in (place / "pair").iterdir()} == {path.name for path in (place / "further").iterdir()}


@pytest.mark.parametrize("settings", [["fine_tune.last=1"], ["fine_tune.lora_rank=4", "fine_tune.quantize=int8"]])
def test_other_ways_to_train(place, settings):
    name = settings[-1].partition("=")[2]
    options = [*COMMON, "model.backbone=base", *QUIET, "evaluation.sets=[validation]", *settings]
    options += ["export.formats=[hugging_face,adapter]"] if name == "int8" else []
    measured = recipe.run(config.load(overrides=options), name).measures["validation"]
    assert measured["loss"] < measured["before"]["loss"]
    assert writing.writer(name).write("Paris", max_new_tokens=2) is not None
