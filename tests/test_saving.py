"""Models come back from `.keras` files as they were saved."""

import errno
import zipfile

import keras
import numpy as np
import pytest

from kerastrain import saving
from kerastrain.keras_internals.layers import every_layer
from kerastrain.system import optional_imports


def attention(values):
    return keras.layers.MultiHeadAttention(2, 4, name="inner")(values, values)


@pytest.mark.parametrize("frozen", [True, False])
@pytest.mark.slow
def test_layers_inside_a_layer_stay_frozen(tmp_path, frozen):
    images = keras.Input((3, 8))
    backbone = keras.Model(images, attention(images), name="backbone")
    backbone.trainable = not frozen
    model = keras.Sequential([keras.Input((3, 8)), backbone, keras.layers.Flatten(), keras.layers.Dense(2)])
    model.compile("adam", "mse")
    model.fit(np.ones((4, 3, 8)), np.ones((4, 2)), epochs=2, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = saving.load(tmp_path / "model.keras")
    flags = [layer.trainable for layer in every_layer(model.get_layer("backbone"))]
    assert [layer.trainable for layer in every_layer(loaded.get_layer("backbone"))][2:] == flags[2:] == [not frozen] * 7
    assert len(loaded.trainable_variables) == (2 if frozen else 10)
    before = np.array(model.get_layer("backbone").get_layer("inner").get_weights()[0])
    for name in ("weights", "optimizer.variables"):
        for one, other in zip(*(read(each, name) for each in (model, loaded)), strict=True):
            np.testing.assert_array_equal(one, other)
    loaded.fit(np.ones((4, 3, 8)), np.zeros((4, 2)), verbose=0)
    after = np.array(loaded.get_layer("backbone").get_layer("inner").get_weights()[0])
    assert np.array_equal(before, after) is frozen


@keras.saving.register_keras_serializable("tests")
class NeedsLibrary(keras.layers.Layer):
    """A layer whose library can be missing, such as a tokenizer."""

    library = "numpy"

    def __init__(self, **options):
        super().__init__(**options)
        optional_imports.need(self.library, extra="kerashub", to="read tokens")

    def call(self, inputs):
        return inputs


def test_a_missing_library_of_a_layer_names_its_extra(tmp_path, monkeypatch):
    path = tmp_path / "model.keras"
    keras.Sequential([keras.Input((2,)), NeedsLibrary()]).save(path)
    monkeypatch.setattr(NeedsLibrary, "library", "no_such_library")
    with pytest.raises(optional_imports.MissingExtra) as caught:
        saving.load(path)
    assert str(caught.value) == (
        f"{str(path)!r} cannot be opened: to read tokens, kerastrain needs no_such_library. Install it: pip install "
        "'kerastrain[kerashub]'. (No module named 'no_such_library')"
    )


def read(model, name):
    for part in name.split("."):
        model = getattr(model, part)
    return [np.array(each) for each in model]


def test_weights_and_the_state_of_the_optimizer_come_from_a_file_with_or_without_room_to_unpack_it(
    tmp_path, monkeypatch
):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.compile("adam", "mse")
    model.fit(np.ones((4, 3)), np.ones((4, 2)), verbose=0)
    model.save(tmp_path / "model.keras")
    saved = {each.path: np.array(each) for each in (*model.weights, *model.optimizer.variables)}
    for fails in (False, True):
        if fails:
            monkeypatch.setattr(zipfile.ZipFile, "extract", no_room)
        model.fit(np.ones((4, 3)), np.ones((4, 2)), verbose=0)
        saving.load_weights(model, tmp_path / "model.keras")
        for each in (*model.weights, *model.optimizer.variables):
            np.testing.assert_array_equal(each, saved[each.path])


def no_room(*arguments):
    raise OSError(errno.ENOSPC, "No space left on device")
