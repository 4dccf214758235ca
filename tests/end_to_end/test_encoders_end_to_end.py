"""A pretrained text encoder through the command line: refusals, training, resuming, exported files and predictions."""

import csv
import dataclasses
import json
import os
import shutil
import subprocess
import sys

import h5py
import numpy as np
import pytest
from interruptions import StopInStep
from text_encoder_folders import BERT, write_encoder

from kerastrain import config, recipe
from kerastrain.recipe import fitting
from kerastrain.system.signals import Stopped

pytest.importorskip("keras_hub")
pytest.importorskip("tensorflow_text")

TRAIN = [
    "data.kind=text",
    "data.path=films.csv",
    "model.backbone=encoder",
    "model.dropout=0",
    "fit.head_epochs=2",
    "fit.epochs=2",
    "fit.global_batch_size=16",
    "fit.checkpoint_every=2 steps",
    "optimizer.fine_tune_fraction=0.5",
]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Short reviews of which one word tells the class, and an encoder of random weights."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    write_encoder(tmp_path / "encoder", BERT)
    random = np.random.default_rng(0)
    with open("films.csv", "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["text", "label"])
        for number in range(96):
            words = [*random.choice(["the", "a", "film", "story", "is", "was"], random.integers(1, 6))]
            words.append(("good", "bad")[number % 2])
            rows.writerow(
                [f"{' '.join(words)} {'x' * (number // 2 % 9)} {'qyz'[number % 3]}{number}", "+-"[number % 2]]
            )
    return tmp_path


def weights(path):
    values = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, item: values.update({name: item[()]} if isinstance(item, h5py.Dataset) else {}))
    return values


def test_what_cannot_be_trained_is_refused_before_tensorflow_starts(place):
    for name in ("cut", "other", "without"):
        shutil.copytree("encoder", name)
    content = (place / "encoder/model.safetensors").read_bytes()
    (place / "cut/model.safetensors").write_bytes(content[: len(content) // 2])
    (place / "other/config.json").write_text(json.dumps({**BERT, "model_type": "modernbert"}))
    (place / "without/vocab.txt").unlink()
    program = (
        "import sys, json\nfrom kerastrain import cli\n"
        "for arguments in json.loads(sys.argv[1]):\n"
        "    sys.argv = ['kerastrain', *arguments]\n"
        "    try:\n        cli.main()\n    except SystemExit as end:\n        print(end.code, file=sys.stderr)\n"
        "print('tensorflow' in sys.modules, file=sys.stderr)"
    )
    cases = {
        "cut": "is cut off: it has",
        "other": "unknown architecture 'modernbert'. Known: bert, deberta-v2, distilbert, electra, mpnet, roberta",
        "without": "holds no tokenizer (vocab.txt",
        "hf:nobody/nothing": "is not in the cache of Hugging Face",
        "encoder": "`sequence_length` must lie in [3, 24]",
    }
    commands = [
        ["train", *TRAIN, f"model.backbone={name}", "model.sequence_length=99", "--run", "run"] for name in cases
    ]
    commands[-1][0] = "check"
    commands[-1] = commands[-1][:-2]
    commands.append(["train", *TRAIN, "export.formats=[tflite_int8]", "--run", "run"])
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(place / "hf")}
    result = subprocess.run(
        [sys.executable, "-c", program, json.dumps(commands)], capture_output=True, text=True, env=environment
    )
    lines = result.stderr.splitlines()
    for sentence, line, code in zip(
        [*cases.values(), "do not fit into integers"], lines[::2], lines[1::2], strict=False
    ):
        assert sentence in line, result.stderr
        assert code == "2"
    assert lines[-1] == "False"
    assert not (place / "run").exists()


@pytest.mark.chaos
def test_an_encoder_goes_all_the_way_without_its_folder(place, kerastrain):
    code, out, err = kerastrain(
        "train", *TRAIN, "export.formats=[saved_model,tflite_dynamic,tflite_float32]", "--run", "run"
    )
    assert code == 0, out + err
    assert "backbone: a bert network of 2 blocks, 16 wide; a text's vector is the mean over its tokens" in out + err
    assert "model.sequence_length is 24" in out + err
    assert {path.name for path in (place / "run/exports").iterdir()} >= {"model_float32.tokenizer.json", "saved_model"}
    shutil.rmtree("encoder")
    code, out, err = kerastrain("predict", "run", "--text", "the film is good", "--json")
    assert code == 0, out + err
    assert set(json.loads(out[: out.rindex("]") + 1])[0]["labels"]) == {"+", "-"}
    code, out, err = kerastrain("evaluate", "run", "--data", "test=films.csv")
    assert code == 0, out + err
    # Whether a file can be exported is a question of the run's model, not of the folder.
    code, out, err = kerastrain("check", "--from", "run", "export.formats=[tflite_float32]")
    assert code == 0, out + err
    code, out, err = kerastrain("check", "--from", "run", "export.formats=[keras]")
    assert code == 2
    assert "cannot hold the tokenizer of a pretrained text encoder" in err


@pytest.mark.chaos
def test_an_encoder_resumes_to_the_same_bits(place, monkeypatch):
    settings = config.load(overrides=[*TRAIN, "export.formats=[]"])
    recipe.run(settings, "whole").model.save_weights("whole.weights.h5")
    fit_phase = fitting.fit_phase

    def stop_in_fine_tuning(stage, settings, phase, directory, **options):
        if phase.name == "fine_tune":
            stage = dataclasses.replace(stage, callbacks=[*stage.callbacks, StopInStep(2)])
        return fit_phase(stage, settings, phase, directory, **options)

    monkeypatch.setattr(fitting, "fit_phase", stop_in_fine_tuning)
    with pytest.raises(Stopped):
        recipe.run(settings, "parts")
    monkeypatch.setattr(fitting, "fit_phase", fit_phase)
    recipe.resume("parts").model.save_weights("parts.weights.h5")
    one, other = weights("whole.weights.h5"), weights("parts.weights.h5")
    assert one.keys() == other.keys()
    for name, value in one.items():
        np.testing.assert_array_equal(other[name], value, err_msg=name)
