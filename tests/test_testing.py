import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from kerastrain import testing


@pytest.fixture(scope="module")
def module(tmp_path_factory):
    return tf.saved_model.load(str(testing.saved_model(tmp_path_factory.mktemp("m") / "module", features=4, l2=0.5)))


def test_saved_model_moves_its_statistics_only_in_training(module):
    images = tf.random.uniform((2, 5, 6, 3), seed=1)
    mean = module.variables[3]
    module(images)
    np.testing.assert_array_equal(mean, np.zeros(4))
    module(images, training=True)
    expected = 0.1 * np.mean(tf.nn.conv2d(images, module.variables[0], 1, "SAME"), axis=(0, 1, 2))
    np.testing.assert_allclose(mean, expected, atol=1e-6)
    assert float(module.regularization_losses[0]()) == pytest.approx(0.5 * np.sum(module.variables[0].numpy() ** 2))


def test_saved_model_pools_its_feature_maps(module):
    images = tf.random.uniform((2, 5, 6, 3), seed=2)
    np.testing.assert_allclose(np.mean(module.feature_maps(images), axis=(1, 2)), module(images), atol=1e-6)


def test_text_saved_model_averages_its_words(tmp_path):
    module = tf.saved_model.load(str(testing.text_saved_model(tmp_path / "text", words=["good", "bad"], size=3)))
    table = module.embeddings.numpy()
    np.testing.assert_allclose(module(tf.constant(["Good bad", "odd"])), [table[:2].mean(0), table[2]], atol=1e-6)


def test_colour_folder_holds_images_of_its_colours(tmp_path):
    folder = testing.colour_folder(tmp_path / "images", colours=["red", "blue"], count=3, size=(4, 6))
    assert sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*.png"))[0] == "blue/000.png"
    pixels = np.array(Image.open(folder / "red" / "002.png"))
    assert pixels.shape == (4, 6, 3)
    assert np.abs(pixels.astype(int) - testing.COLOURS["red"]).max() <= 8
