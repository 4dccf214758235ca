import os

import keras
import pytest
import tensorflow as tf
from PIL import Image

from kerastrain import data
from kerastrain.data.image_files.decoder import ImageFault


@pytest.fixture
def split(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for number in range(8):
            Image.new("RGB", (4, 4), (20 * number, 0, len(name) + ord(name[0]))).save(tmp_path / name / f"{number}.png")
    return data.image_folder(tmp_path, image_size=(4, 4), cache="none")


@pytest.fixture
def model():
    model = keras.Sequential([keras.Input((4, 4, 3)), keras.layers.Flatten(), keras.layers.Dense(2)])
    model.compile(loss="mse")
    return model


def write_empty(path):
    open(path, "w").close()


@pytest.mark.parametrize(
    ("spoil", "kind", "message"),
    [
        (os.remove, FileNotFoundError, "^no image at '{}': there is no such file.$"),
        (write_empty, ImageFault, "^cannot read '{}' as an image: the file is empty.$"),
    ],
)
def test_a_file_that_goes_bad_during_the_run_is_named_in_one_sentence(split, model, spoil, kind, message):
    path = split.train.paths[5]
    with pytest.raises(kind, match=message.format(path)), data.surface_read_errors():
        model.fit(data.batches(split.train, 4, shuffle=True), shuffle=False, verbose=0)
        spoil(path)
        model.fit(data.batches(split.train, 4, shuffle=True), shuffle=False, verbose=0)


def test_without_the_block_the_file_is_named_too(split, model):
    os.remove(split.train.paths[5])
    with pytest.raises(tf.errors.OpError, match=split.train.paths[5]):
        model.fit(data.batches(split.train, 4), shuffle=False, verbose=0)


def test_other_errors_pass_as_they_are(split, model):
    os.remove(split.train.paths[5])
    with pytest.raises(tf.errors.OpError):
        model.fit(data.batches(split.train, 4), shuffle=False, verbose=0)
    with (
        pytest.raises(tf.errors.InvalidArgumentError, match="Incompatible shapes|Dimensions"),
        data.surface_read_errors(),
    ):
        tf.ones(2) + tf.ones(3)
    with pytest.raises(KeyError), data.surface_read_errors():
        raise KeyError("mine")
