"""`errors.json` of runs that were never trained, whose answers are known."""

import dataclasses
import json

import numpy as np
import untrained
from PIL import Image

from kerastrain import data
from kerastrain.recipe import failures, named_predictions
from kerastrain.recipe.backbone_features import BackboneFeatures


def split_of(examples):
    return data.Split(train=examples, test=examples)


def written(run, examples):
    """The record of the errors of a run on its test part."""
    features = BackboneFeatures(run.model, run.config)
    predict = named_predictions.predictor(features, are_images=examples.image_size is not None)
    named_predictions.write(run.directory, "test", predict("test", examples))
    path = failures.write(run.model, split_of(examples), run.directory)
    return json.loads(path.read_text())


def test_confident_errors_of_pictures_are_shown_with_a_heatmap(tmp_path):
    run = untrained.images(tmp_path / "run")
    colours = [untrained.COLOURS[name] for name in ("blue", "green", "red", "red", "red")]
    pictures = np.stack([np.tile(np.array(colour, np.uint8), (8, 8, 1)) for colour in colours])
    targets, keys = np.array([0, 1, 2, 0, 1]), ("a.png", "b.png", "c.png", "<d>.png", "e.png")
    examples = data.Examples(targets, ("blue", "green", "red"), pictures, keys=keys)
    record = written(run, examples)
    assert (record["part"], record["count"], record["errors"]) == ("test", 5, 2)
    assert {(one["key"], one["true"], one["predicted"]) for one in record["confident"]} == {
        ("<d>.png", "blue", "red"),
        ("e.png", "green", "red"),
    }
    assert [(pair["true"], pair["predicted"], pair["count"], pair["share"]) for pair in record["pairs"]] == [
        ("blue", "red", 1, 0.5),
        ("green", "red", 1, 0.5),
    ]
    assert {one["key"] for one in record["hardest"]} == {"a.png", "b.png", "c.png"}
    named = [one[name] for one in record["confident"] for name in ("picture", "heatmap") if name in one]
    assert len(named) >= 2
    for name in named:
        with Image.open(run.directory / name) as picture:
            assert picture.size == (8, 8)
    # A run that is resumed here writes the same files again.
    before = {path.name: path.read_bytes() for path in (run.directory / "errors").iterdir()}
    assert written(run, examples) == record
    assert {path.name: path.read_bytes() for path in (run.directory / "errors").iterdir()} == before


def test_texts_are_written_out_and_numbers_ordered_by_their_residuals(tmp_path):
    run = untrained.texts(tmp_path / "texts")
    examples = data.Examples(np.array([0, 1, 0]), ("neg", "pos"), np.array(["good film", "good", "bad"], object))
    record = written(run, examples)
    assert [(one["key"], one["text"], one["predicted"]) for one in record["confident"]] == [("1", "good film", "pos")]
    assert not (run.directory / "errors").exists()
    run = untrained.images(tmp_path / "numbers", task="regression", labels=("age",))
    pictures = np.full((3, 8, 8, 3), 100, np.uint8)
    targets = np.array([[0.0], [500.0], [10.0]], np.float32)
    record = written(run, data.Examples(targets, ("age",), pictures, task="regression"))
    assert (record["errors"], record["confident"], record["pairs"]) == (None, [], [])
    assert record["hardest"][0]["target"] == 500.0
    assert record["hardest"][0]["picture"] == "errors/1.jpg"


def test_without_held_out_predictions_there_is_nothing_to_show(tmp_path):
    run = untrained.texts(tmp_path / "run")
    examples = data.Examples(np.array([0, 1]), ("neg", "pos"), np.array(["bad", "good"], object))
    assert failures.write(run.model, dataclasses.replace(split_of(examples), test=None), run.directory) is None
