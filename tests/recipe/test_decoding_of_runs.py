"""A finished run decodes images as it was trained: the model stores how."""

import keras
import numpy as np
import pytest
from PIL import Image

from kerastrain import config as configs
from kerastrain import data, models, recipe, run_directory
from kerastrain.decoding import OF_EARLIER_VERSIONS, Decoding
from kerastrain.errors import InputError
from kerastrain.recipe import inputs, plan, predicting

DECODING = Decoding("pad", largest_megapixels=100, pixel_range=(0, 4095))


def small_model(decoding):
    images = keras.Input((6, 6, 3))
    scores = keras.layers.Dense(2)(keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(images)))
    return keras.Model(images, models.Labels(["a", "b"], decoding=decoding)(scores))


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    config = configs.validate({"data": {"path": str(tmp_path / "data"), "resize": "pad", "largest_megapixels": 100}})
    (folder / "config.yaml").write_text(configs.dump(config))
    small_model(DECODING).save(folder / "model.keras")
    return run_directory.load(folder)


def test_a_model_stores_how_images_are_decoded(tmp_path):
    for decoding in (DECODING, Decoding()):
        small_model(decoding).save(tmp_path / "model.keras")
        model = models.load(tmp_path / "model.keras")
        assert models.decoding(model) == models.decoding(keras.models.clone_model(model)) == decoding
    split = data.digits(image_size=(8, 8), resize="crop")
    model = small_model(None)
    assert models.decoding(model) == OF_EARLIER_VERSIONS
    models.store_decoding(model, split.train.decoding)
    assert models.decoding(model) == Decoding("crop")


def test_a_run_knows_the_scale_that_was_found_in_training(run, tmp_path):
    assert plan.decoding(run.config) == DECODING
    values = np.random.default_rng(0).integers(0, 900, (8, 4, 6))  # Of other data, that seem to have 10 bits.
    for number, picture in enumerate(values):
        path = tmp_path / "data" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture.astype(np.uint16)).save(path)
    expected = np.zeros((8, 6, 6, 3))
    expected[:, 1:5] = np.rint(values * 255 / 4095)[..., np.newaxis]
    paths = sorted((tmp_path / "data").rglob("*.png"), key=lambda path: int(path.stem))
    outputs = keras.ops.softmax(run.model.predict(expected, verbose=0)).numpy()
    predictions = [dict(prediction.scores) for prediction in predicting.predict(run, paths)]
    np.testing.assert_allclose([[scores["a"], scores["b"]] for scores in predictions], outputs, atol=1e-5)
    split = recipe.load_data(run.config, run.image_size)
    assert split.train.decoding == DECODING
    assert split.train.read(np.arange(2)).max() <= round(900 * 255 / 4095)


def test_what_the_model_stores_cannot_be_changed_afterwards(run):
    for change in ("data.resize=crop", "data.pixel_range=[0,255]"):
        with pytest.raises(InputError, match="belongs to the trained model and cannot be changed"):
            inputs.override(run.config, [change])
    assert plan.decoding(inputs.override(run.config, ["data.largest_megapixels=200"])).largest_megapixels == 200
