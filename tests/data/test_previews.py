import json
import sys

import numpy as np
import pytest
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


def test_preview_shows_the_batch_that_training_sees(images):
    examples = data.Examples(np.arange(20) % 3, ("ant", "bee", "cow"), images)
    options = {"shuffle": True, "seed": 5}
    change = data.augment("flip", mixup={"alpha": 5.0})
    shown = data.preview(examples, 16, augment=change, **options)
    before, labels = next(data.batches(examples, 16, **options).as_numpy_iterator())
    after, mixed = next(data.batches(examples, 16, augment=change, **options).as_numpy_iterator())
    np.testing.assert_array_equal(shown.before, before[:12])
    np.testing.assert_allclose(shown.after, after[:12], atol=0.51)
    assert shown.labels_before == tuple(examples.labels[number] for number in labels[:12].argmax(axis=1))
    for told, shares in zip(shown.labels_after, mixed[:12], strict=True):
        largest = int(shares.argmax())
        number = "" if shares[largest] > 0.995 else f" {shares[largest]:.2f}"
        assert told.startswith(examples.labels[largest] + number)
        assert told.count(",") == (shares >= 0.005).sum() - 1
    assert any("," in told for told in shown.labels_after)


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
