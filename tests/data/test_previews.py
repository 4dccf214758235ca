import json
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from kerastrain import cli, data, testing
from kerastrain.errors import InputError


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (20, 12, 24, 3), dtype=np.uint8)


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["kerastrain", "data", "preview", *arguments])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    return caught.value.code or 0


class Watched(keras.Model):
    """Keeps the batches that `fit` gives to its steps."""

    def train_step(self, batch):
        """Nothing is learnt."""
        self.batches = [*getattr(self, "batches", []), batch]
        return {"loss": tf.zeros(())}


def test_preview_shows_the_batch_that_training_sees(images):
    examples = data.Examples(np.arange(20) % 3, ("ant", "bee", "cow"), images)
    options = {"shuffle": True, "seed": 5, "augment": data.augment("flip", mixup={"alpha": 5.0})}
    model = Watched()
    model.compile("sgd", run_eagerly=True)
    model.fit(data.batches(examples, 16, **options), steps_per_epoch=1, shuffle=False, verbose=0)
    inputs, _ = model.batches[0]
    np.testing.assert_allclose(data.preview(examples, 16, **options).after, inputs[:12], atol=0.51)


def test_preview_pairs_each_image_with_what_flips_and_mixing_made_of_it():
    """Image `number` has one channel for its class, 200 to the left and 40 to the right, and its number in the first row."""
    classes = np.arange(20) % 3
    images = np.zeros((20, 12, 24, 3), np.uint8)
    images[np.arange(20), :, :12, classes] = 200
    images[np.arange(20), :, 12:, classes] = 40
    images[:, 0] = 12 * np.arange(20, dtype=np.uint8)[:, np.newaxis, np.newaxis]
    examples = data.Examples(classes, ("ant", "bee", "cow"), images)
    change = data.augment("flip", mixup={"alpha": 5.0})
    shown = data.preview(examples, 16, augment=change, shuffle=True, seed=5)
    numbers = shown.before[:, 0, 0, 0] // 12
    assert len(set(numbers)) == 12
    assert list(numbers) != sorted(numbers)
    np.testing.assert_array_equal(shown.before, images[numbers])
    assert shown.labels_before == tuple(("ant", "bee", "cow")[number % 3] for number in numbers)
    left, right = (shown.after[:, 5, column].astype(float) for column in (0, -1))
    shares = (left + right) / (200 + 40)
    np.testing.assert_allclose(shares.sum(axis=1), 1, atol=0.02)
    for told, row in zip(shown.labels_after, shares, strict=True):
        parts = [part.rsplit(" ", 1) if " " in part else (part, "1") for part in told.split(", ")]
        assert [float(share) for _, share in parts] == sorted([float(share) for _, share in parts], reverse=True)
        told_shares = {name: float(share) for name, share in parts}
        np.testing.assert_allclose([told_shares.get(name, 0) for name in ("ant", "bee", "cow")], row, atol=0.015)
    assert any("," in told for told in shown.labels_after)
    assert ((left > right).any(axis=1) & (left < right).any(axis=1)).any()  # one of two is turned


def test_preview_writes_each_image_above_what_became_of_it(images, tmp_path):
    flat = np.zeros_like(images) + np.arange(20, dtype=np.uint8)[:, np.newaxis, np.newaxis, np.newaxis] * 12
    examples = data.Examples(np.arange(20) % 2, ("ant", "bee"), flat)
    shown = data.preview(examples, 8, augment=data.augment(lambda image, seed: 255 - image))
    panels = [axes for axes in shown.figure().axes if axes.get_visible()]
    drawn = [axes.get_images()[0].get_array()[0, 0, 0] for axes in panels]
    assert drawn == [0, 12, 24, 36, 48, 60, 255, 243, 231, 219, 207, 195, 72, 84, 183, 171]
    assert [axes.get_xlabel() for axes in panels][:8] == ["ant", "bee"] * 3 + [
        "→ ant",
        "→ bee",
    ]
    written = Image.open(shown.write(tmp_path / "shown.png"))
    assert (written.format, len(np.unique(np.asarray(written.convert("L")))) > 16) == ("PNG", True)


@pytest.mark.parametrize(
    ("task", "targets", "labels"),
    [
        ("multi_label", [[1, 0, 1], [0, 0, 0]], ("ant, cow", "no label")),
        ("regression", [[1.5, -2, 0], [0.25, 1e6, 3]], ("ant 1.5, bee -2, cow 0", "ant 0.25, bee 1e+06, cow 3")),
    ],
)
def test_preview_tells_labels_of_every_task(images, task, targets, labels):
    examples = data.Examples(np.array(targets, np.float32), ("ant", "bee", "cow"), images[:2], task=task)
    assert data.preview(examples, 2).labels_before == labels


def test_preview_of_texts_gives_lines_and_no_picture():
    texts = np.array(["a fine film", "a dull film", "caf\u00e9"], object)
    examples = data.Examples(np.array([1, 0, 1]), ("bad", "good"), texts)
    shown = data.preview(examples, 3, augment=data.augment(word_dropout={"probability": 1}))
    assert [line[0] for line in shown.lines()] == ["good", "bad", "good"]
    for _, before, _, after in shown.lines():
        assert after in before.split()
    with pytest.raises(InputError, match="printed, not drawn. Use `lines`"):
        shown.figure()


def test_command_draws_images(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    testing.colour_folder("colours", count=6)
    arguments = ["data.path=colours", "data.image_size=[16, 24]", "data.augment=[mixup, cutmix]", "--out", "shown.png"]
    assert run(monkeypatch, *arguments) == 0
    assert "shown.png" in capsys.readouterr().out
    assert Image.open("shown.png").width > 1000


def test_command_prints_texts(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reviews").mkdir()
    for label, words in (("bad", "dull [red]film"), ("good", "fine film")):
        lines = [f"a {words} number {number}" for number in range(6)]
        (tmp_path / "reviews" / f"{label}.txt").write_text("\n".join(lines))
    augment = json.dumps([{"word_dropout": {"probability": 0.5}}])
    assert run(monkeypatch, "data.kind=text", "data.path=reviews", f"data.augment={augment}") == 0
    printed = capsys.readouterr().out
    assert "bad: a dull [red]film number" in printed
    assert printed.count("→ good: ") == printed.count("\ngood: ") + printed.startswith("good: ") > 0
    assert not (tmp_path / "preview.png").exists()


def test_command_tells_a_wrong_name_before_tensorflow_starts(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(monkeypatch, "data.augment=[rotate]") == 2
    assert "Did you mean 'rotation'?" in capsys.readouterr().err
