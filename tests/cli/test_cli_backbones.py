"""Backbones on the command line: error messages, `doctor`, and every kind of backbone trains with one override."""

import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import hub_comparison
import keras
import numpy as np
import pretrained_folders
import pytest
import tensorflow as tf
import text_encoder_folders
import yaml
from typer.testing import CliRunner

from kerastrain import cli, models, run_directory, testing
from kerastrain.hub import modules, trust

TRAIN = ["train", "data.path=colours", "export.formats=[]", "--run", "run"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = tmp_path_factory.mktemp("place")
    module = testing.saved_model(place / "module", image_size=(32, 32))
    with tarfile.open(place / "module.tar.gz", "w:gz") as file:
        file.add(module, arcname=".")
    testing.text_saved_model(place / "text", words=["good"])
    hub_comparison.tf1_module(place / "tf1")
    several = tf.Module()
    spec = tf.TensorSpec((None, 32, 32, 3), tf.float32, name="images")
    mean = tf.function(lambda images: {"mean": tf.reduce_mean(images, [1, 2])}, input_signature=[spec])
    both = tf.function(lambda images: {"mean": images[:, 0, 0], "max": images[:, 1, 1]}, input_signature=[spec])
    tf.saved_model.save(several, str(place / "signatures"), signatures={"mean": mean, "both": both})
    inputs = keras.Input((32, 32, 3))
    maps = keras.layers.Conv2D(4, 3, name="first", activation="relu")(inputs)
    network = keras.Model(inputs, keras.layers.Conv2D(4, 3, name="second")(maps))
    network.save(place / "network.keras")
    network.export(str(place / "exported"), verbose=False)
    models.image_classifier(module, labels=["x", "y"]).save(place / "ours.keras")
    (place / "finished").mkdir()
    (place / "finished" / "model.keras").symlink_to(place / "ours.keras")
    texts = ["a good film", "a bad film"]
    models.text_classifier("keras:embedding", labels=["x", "y"], texts=texts, embedding_dim=8).save(
        place / "text.keras"
    )
    strings = keras.Input((1,), dtype="string")
    tokens = keras.layers.TextVectorization(vocabulary=["a", "fine", "dull", "film"], output_sequence_length=4)
    words = keras.layers.Embedding(6, 3)(tokens(strings))
    keras.Model(strings, keras.layers.GlobalAveragePooling1D()(words)).save(place / "column.keras")
    (place / "reviews").mkdir()
    for name, word in (("good", "fine"), ("bad", "dull")):
        (place / "reviews" / f"{name}.txt").write_text("".join(f"a {word} film {number}\n" for number in range(20)))
    testing.colour_folder(place / "colours", count=10)
    pretrained_folders.write_images(place / "dinov2-small", "dinov2_with_registers", size=32)
    text_encoder_folders.write_encoder(place / "all-MiniLM-L6-v2")
    return place


@pytest.fixture(autouse=True)
def _in_place(place, tmp_path, monkeypatch):
    monkeypatch.chdir(place)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "cache"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["model.backbone=finished"], "it holds no saved_model.pb. A run's model is '"),
        (["model.backbone=nowhere"], "no SavedModel at 'nowhere': the path does not exist"),
        ([f"model.backbone=module#sha256={'0' * 64}"], "is not the pinned one: its sha256 is"),
        (["model.backbone=https://tfhub.dev/google/nothing/1"], "is not in the cache and could not be downloaded"),
        (["model.backbone=keras:MobilNet"], "Did you mean 'MobileNet'?"),
        (["model.backbone=module", "data.image_size=[64, 64]"], "takes images of 32 by 32 pixels only"),
        (["model.backbone=network.keras", "data.image_size=[64, 64]"], "takes images of 32 by 32 pixels only"),
        (["model.backbone=text.keras"], "takes no images, which are one tensor (batch, height, width, 3)"),
        (["model.backbone=text"], "takes no images, which are one tensor (batch, height, width, 3) of numbers"),
        (["model.backbone=signatures"], "It has both(images: float32 (None, 32, 32, 3)) -> max, mean; mean(images"),
        (["model.backbone=signatures", "model.signature=meam"], "Did you mean 'mean'?"),
        (["model.backbone=signatures", "model.signature=both"], "set `output_key` to one of max, mean"),
        (
            ["model.backbone=signatures", "model.signature=mean", "model.output_key=mean"],
            "a signature cannot be trained: it has no `training` argument and no losses",
        ),
        (
            ["model.backbone=tf1", "data.image_size=[8, 8]"],
            "a TF1 module cannot be trained: it has no `training` argument",
        ),
        (["data.kind=text", "data.path=reviews", "model.backbone=network.keras"], "takes no texts, which are strings"),
        (["data.kind=text", "data.path=reviews", "model.backbone=no.keras"], "no model at 'no.keras'"),
        (["model.backbone=module", "fine_tune.last=1"], "one Hub module, which trains as a whole or not at all"),
        (["model.backbone=module", "fine_tune.lora_rank=2"], "A Hub module is opaque: unfreeze it instead"),
        (["model.backbone=network.keras", "fine_tune={lora_rank: 2, lora_layers: [secnd]}"], "Did you mean 'second'?"),
        (["model.backbone=module", "fine_tune.timetable={0: 1}"], "which trains as a whole or not at all"),
        (["model.backbone=network.keras", "fine_tune.last=3"], "`last` must be at most 2, the layers with weights"),
        (["model.backbone=network.keras", "fine_tune.timetable={0: 1, 2: 3}"], "`last` must be at most 2"),
        (["model.backbone=network.keras", "fine_tune.from_layer=secnd"], "Did you mean 'second'?"),
        (
            ["model.backbone=network.keras", "fine_tune.lora_rank=2"],
            "has no Dense, EinsumDense, Embedding or attention",
        ),
    ],
)
def test_a_backbone_that_cannot_do_what_is_asked_is_one_sentence_and_nothing_is_written(
    overrides, sentence, place, monkeypatch, capsys
):
    monkeypatch.setattr(sys, "argv", ["kerastrain", *TRAIN, *overrides])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    printed = capsys.readouterr().err
    assert caught.value.code == 2
    assert sentence in printed
    assert "Traceback" not in printed
    assert len(printed.strip().splitlines()) == 1
    assert not (place / "run").exists()


def described(*arguments):
    result = CliRunner().invoke(cli.app, ["doctor", "--backbone", *arguments])
    assert result.exit_code == 0, result.output
    return yaml.safe_load(result.output)


def test_doctor_lists_the_signatures_of_a_module_that_has_nothing_else():
    facts = described("signatures")
    assert facts["signatures"] == {
        "both": {
            "inputs": {"images": ["float32", [None, 32, 32, 3]]},
            "outputs": {"max": ["float32", [None, 3]], "mean": ["float32", [None, 3]]},
        },
        "mean": {
            "inputs": {"images": ["float32", [None, 32, 32, 3]]},
            "outputs": {"mean": ["float32", [None, 3]]},
        },
    }
    assert (facts["inputs"], facts["outputs"], facts["trains"]) == (None, None, False)
    assert facts["sha256"] == modules.fingerprint("signatures")
    for choice, outputs in ((["--output-key", "max"], 1), ([], 2)):
        facts = described("signatures", "--signature", "both", *choice)
        assert facts["inputs"] == [["float32", [None, 32, 32, 3]]]
        assert facts["outputs"] == [["float32", [None, 3]]] * outputs
        assert (facts["image_size"], facts["trains"]) == ([32, 32], False)


def test_doctor_tells_of_networks_and_files_of_texts(place):
    facts = described("keras:transformer")
    # Word and position embeddings, two blocks of attention (4 kernels) and dense layers (64, 256, 64), layer norms.
    block = 4 * (64 * 64 + 64) + (64 * 256 + 256) + (256 * 64 + 64) + 2 * 2 * 64
    assert facts["parameters"] == 30_000 * 64 + 64 * 64 + 2 * block + 2 * 64
    assert (facts["inputs"], facts["outputs"]) == ([["string", [None]]], [["float32", [None, 64]]])
    facts = described("keras:embedding")
    assert (facts["parameters"], facts["image_size"], facts["trains"]) == (30_000 * 32, None, True)
    facts = described("text.keras")
    assert (facts["inputs"], facts["outputs"]) == ([["string", [None]]], [["float32", [None, 8]]])
    facts = described("network.keras")
    assert (facts["image_size"], facts["feature_maps"]) == ([32, 32], "second")
    facts = described("text")
    assert (facts["inputs"], facts["outputs"]) == ([["string", [None]]], [["float32", [None, 8]]])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["keras:transfomer"], "Did you mean 'transformer'?"),
        (["signatures", "--signature", "bot"], "Did you mean 'both'?"),
        (["signatures", "--signature", "both", "--output-key", "men"], "Did you mean 'mean'?"),
        (["network.keras", "--signature", "both"], "`signature` is an option of a SavedModel only"),
    ],
)
def test_doctor_says_what_it_cannot_describe(arguments, sentence, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["kerastrain", "doctor", "--backbone", *arguments])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 2
    printed = capsys.readouterr().err
    assert sentence in printed
    assert len(printed.strip().splitlines()) == 1


@pytest.mark.slow
def test_a_signature_of_a_text_module_is_reached_from_the_config(place, monkeypatch, tmp_path):
    several = tf.Module()
    spec = [tf.TensorSpec((None,), tf.string, name="texts")]
    length = tf.function(
        lambda texts: {
            "length": tf.cast(tf.strings.length(texts), tf.float32)[:, None],
            "zero": tf.zeros((tf.size(texts), 2)),
        },
        input_signature=spec,
    )
    other = tf.function(lambda texts: {"zero": tf.zeros((tf.size(texts), 2))}, input_signature=spec)
    tf.saved_model.save(several, str(tmp_path / "several"), signatures={"lengths": length, "zeros": other})
    (tmp_path / "texts").mkdir()
    for name, word in (("long", "a very long word "), ("short", "no ")):
        lines = [f"{word * (1 + number % 3)}{number}" for number in range(20)]
        (tmp_path / "texts" / f"{name}.txt").write_text("\n".join(lines) + "\n")
    monkeypatch.chdir(tmp_path)
    words = [
        "data.kind=text",
        "data.path=texts",
        "fit.head_epochs=1",
        "fit.epochs=0",
        "export.formats=[]",
        "--run",
        "run",
    ]
    chosen = ["model.backbone=several", "model.signature=lengths", "model.output_key=length"]
    monkeypatch.setattr(sys, "argv", ["kerastrain", "train", *words, *chosen])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 0
    backbone = run_directory.load(tmp_path / "run", allow_modules=True).model.get_layer("backbone")
    np.testing.assert_array_equal(backbone(tf.constant(["no", "word"])), [[2], [4]])


DOCUMENT = (Path(__file__).parents[2] / "docs" / "backbones.md").read_text(encoding="utf-8")


def documented(chapter):
    """The overrides in each row of the table in a chapter of docs/backbones.md, by the kind of backbone."""
    rows = re.findall(
        r"^\| (.+) \| `(model\.backbone=.+)` \|$", DOCUMENT.split(f"## {chapter}\n")[1].split("\n## ")[0], re.M
    )
    assert rows
    return {kind: words.split() for kind, words in rows}


# Large networks are traced for half a minute.
LARGE = ("the bundled one for photos", "the same with random weights")


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=pytest.mark.chaos) if kind.startswith(LARGE) else kind
        for kind in documented("Image backbones")
    ],
)
def test_every_kind_of_backbone_is_fine_tuned_by_one_word(kind, place, monkeypatch, tmp_path):
    quick = ["data.augment=[]", "fit.head_epochs=1", "fit.epochs=1", "--run", str(tmp_path / "run")]
    quick += ["data.image_size=[32, 32]"]
    sha256 = modules.fingerprint(place / "module")
    words = [word.replace("SHA256", sha256) for word in documented("Image backbones")[kind]]
    monkeypatch.setattr(sys, "argv", ["kerastrain", *TRAIN[:-2], *quick, *words])
    if "ours.keras" in words[0]:  # a model that this user has trained before
        trust.remember(sha256)
    with pytest.raises(SystemExit) as caught:
        cli.main()
    if words == ["model.backbone=keras:MobileNetV3Small"]:  # whose weights are on another machine
        assert caught.value.code == 2
        assert not (tmp_path / "run").exists()
        return
    assert caught.value.code == 0
    modules._loaded.clear()  # as in a new process, which must trust the module of the run
    run = run_directory.load(tmp_path / "run")
    assert models.labels(run.model) == ("blue", "green", "red")
    assert np.isfinite(run.model.predict(np.zeros((1, 32, 32, 3)), verbose=0)).all()


@pytest.mark.slow
def test_a_model_of_ones_own_is_fine_tuned_in_python(place, tmp_path):
    (script,) = re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)
    (tmp_path / "flowers").symlink_to(place / "colours")
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "val_accuracy" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("kind", documented("Text backbones"))
def test_every_kind_of_text_backbone_is_fine_tuned_by_one_word(kind, place, monkeypatch, tmp_path):
    quick = ["fit.head_epochs=1", "fit.epochs=1", "export.formats=[]", "--run", str(tmp_path / "run")]
    words = documented("Text backbones")[kind]
    if "MiniLM" in words[0]:
        pytest.importorskip("tensorflow_text")
    monkeypatch.setattr(sys, "argv", ["kerastrain", "train", "data.kind=text", "data.path=reviews", *quick, *words])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 0
    modules._loaded.clear()  # as in a new process, which must trust the module of the run
    run = run_directory.load(tmp_path / "run")
    assert models.labels(run.model) == ("bad", "good")
    assert np.isfinite(run.model.predict(tf.constant(["a fine film"]), verbose=0)).all()
    if "text.keras" in words[0]:  # whose words were trained further
        before = models.load(place / "text.keras").get_layer("backbone").get_layer("words")
        fine_tuned = models.load(tmp_path / "run" / "checkpoints" / "best_fine_tune.keras")
        after = fine_tuned.get_layer("backbone").get_layer("words")
        assert np.abs(after.embeddings.numpy() - before.embeddings.numpy()).max() > 1e-5
