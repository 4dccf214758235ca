import keras
import numpy as np
import pytest
import tensorflow as tf
import untrained

from kerastrain import recipe
from kerastrain.errors import InputError
from kerastrain.recipe import predicting
from kerastrain.recipe.inputs import Input


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return untrained.made_once(tmp_path_factory.mktemp("runs"))


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_one_broken_image_among_many_costs_only_itself(place, runs):
    for name, colour in (("a/red.png", "red"), ("b/blue.png", "blue")):
        untrained.picture(place / name, colour)
    (place / "bad.png").write_text("not an image")
    faults = []
    names = ["a/red.png", "bad.png", Input("gone.png", "line 3 of 't.csv'"), "b/blue.png"]
    predictions = list(recipe.predict(runs(), names, top=1, on_fault=faults.append))
    assert [(item.input, item.scores[0][0]) for item in predictions] == [("a/red.png", "red"), ("b/blue.png", "blue")]
    assert [fault.split(":")[0] for fault in faults] == ["cannot read 'bad.png' as an image", "line 3 of 't.csv'"]
    assert "no image at 'gone.png'" in faults[1]
    with pytest.raises(InputError, match=r"cannot read 'bad\.png'"):
        list(recipe.predict(runs(), names))


def test_inputs_are_decoded_a_batch_at_a_time_and_predicted_alike(place, runs, monkeypatch):
    paths = [
        untrained.picture(place / f"{number}.png", colour) for number, colour in enumerate(["red", "green", "blue"] * 3)
    ]
    whole = list(recipe.predict(runs(), paths, top=None))
    sizes = []
    monkeypatch.setattr(
        predicting, "forward", lambda model: lambda values: sizes.append(len(values)) or np.zeros((len(values), 3))
    )
    run = untrained.Run(
        runs().directory, recipe.inputs.override(runs().config, ["evaluation.batch_size=4"]), runs().model
    )
    assert len(list(recipe.predict(run, paths))) == 9
    assert sizes == [4, 4, 1]
    monkeypatch.undo()
    parts = list(recipe.predict(run, [str(path) for path in paths], top=None))
    for one, other in zip(whole, parts, strict=True):
        assert [label for label, _ in one.scores] == [label for label, _ in other.scores]
        np.testing.assert_allclose(*([score for _, score in item.scores] for item in (one, other)), rtol=1e-5)


def test_a_regression_predicts_every_number_in_order(place, runs):
    path = untrained.picture(place / "x.png", "red")
    [prediction] = recipe.predict(runs(task="regression", labels=["price", "age"]), [path], top=1)
    assert [name for name, _ in prediction.scores] == ["price", "age"]


def test_texts_are_predicted_with_their_rows(runs):
    [one, two] = recipe.predict(runs("texts"), ["good", Input("bad", "line 2 of 'a.csv'")], top=1)
    assert (one.input, one.row) == ("good", "")
    assert (two.input, two.row) == ("bad", "line 2 of 'a.csv'")


def test_batches_are_computed_as_by_predict_also_if_they_are_smaller_than_the_number_of_replicas():
    reduction = tf.distribute.HierarchicalCopyAllReduce()
    with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"], cross_device_ops=reduction).scope():
        pixels, numbers = keras.Input((4, 4, 3)), keras.Input((2,))
        features = keras.layers.BatchNormalization()(keras.layers.Conv2D(2, 3)(pixels))
        joined = keras.layers.Concatenate()([keras.layers.Flatten()(features), numbers])
        model = keras.Model([pixels, numbers], keras.layers.Dropout(0.5)(keras.layers.Dense(3)(joined)))
    random = np.random.default_rng(0)
    images, columns = random.integers(0, 256, (5, 4, 4, 3), np.uint8), random.normal(size=(5, 2)).astype(np.float32)
    compute, expected = predicting.forward(model), model.predict((images, columns), verbose=0)
    for count in (5, 1):
        np.testing.assert_allclose(compute((images[:count], columns[:count])), expected[:count], rtol=1e-5)
