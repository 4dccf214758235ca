import keras
import numpy as np
import pytest
from test_image_methods import BLUE, RED, Opaque, colour_image, colour_model, photos, small_network

from kerastrain import explain, models
from kerastrain.errors import InputError


def heatmap_of(box, size=32):
    heatmap = np.zeros((1, size, size), "float32")
    top, left, bottom, right = box
    heatmap[:, top:bottom, left:right] = 1
    return heatmap


def test_deletion_and_insertion_tell_a_true_heatmap_from_a_false_one():
    model, image = colour_model(end=keras.layers.Softmax()), colour_image()
    assert model.predict(image, verbose=0)[0, 1] > 0.8  # there is more blue than red
    areas = {}
    for name, box in (("true", BLUE), ("false", RED)):
        found = explain.deletion_insertion(model, image, heatmap_of(box), 1, steps=8)
        np.testing.assert_array_equal(found.fractions, np.arange(9) / 8)
        np.testing.assert_allclose(found.deletion[0, 0], model.predict(image, verbose=0)[0, 1], rtol=1e-5)
        np.testing.assert_allclose(found.insertion[0, -1], found.deletion[0, 0], rtol=1e-5)
        areas[name] = {key: float(value[0]) for key, value in found.areas.items()}
        np.testing.assert_allclose(
            areas[name]["deletion"], (found.deletion[0, 1:] + found.deletion[0, :-1]).sum() / 16, rtol=1e-6
        )
    assert areas["true"]["deletion"] < areas["true"]["random_deletion"] < areas["false"]["deletion"]
    assert areas["true"]["insertion"] > areas["true"]["random_insertion"] > areas["false"]["insertion"]


def test_the_probability_is_that_of_the_task():
    image = colour_image()
    blue = heatmap_of(BLUE)
    start = explain.deletion_insertion(colour_model(), image, blue, steps=1).deletion[0, 0]
    for model in (colour_model(end=keras.layers.Softmax()), colour_model(outputs=1), Opaque()):
        assert explain.deletion_insertion(model, image, blue, 1, steps=1).deletion[0, 0] == pytest.approx(
            start, abs=0.1
        )
    many = colour_model(end=models.Labels(["red", "blue"], "multi_label"))
    logit = many.predict(image, verbose=0)[0, 1]
    found = explain.deletion_insertion(many, image, blue, 1, steps=1)
    assert found.deletion[0, 0] == pytest.approx(1 / (1 + np.exp(-logit)), rel=1e-5)
    with pytest.raises(InputError, match="a regression model does not have"):
        explain.deletion_insertion(colour_model(end=models.Labels(["a", "b"], "regression")), image, blue)
    with pytest.raises(InputError, match=r"`heatmaps` must fit the images, \(1, 32, 32\). Received: \(1, 8, 8\)"):
        explain.deletion_insertion(colour_model(), image, blue[:, :8, :8])


def test_the_pointing_game_counts_peaks_on_the_object():
    heatmaps = np.concatenate([heatmap_of(BLUE), heatmap_of(RED), np.zeros((1, 32, 32), "float32")])
    assert explain.pointing_game(heatmaps, [BLUE, BLUE, BLUE]).tolist() == [True, False, False]
    assert explain.pointing_game(heatmaps[:1], [(0, 0, 20, 32)]).tolist() == [False]
    assert explain.pointing_game(heatmaps[:1], [(0, 0, 20, 32)], tolerance_pixels=1).tolist() == [True]
    with pytest.raises(
        InputError, match="with a box .top, left, bottom, right. for each. Received: .3, 32, 32. and 1 boxes"
    ):
        explain.pointing_game(heatmaps, [BLUE])


@pytest.mark.parametrize("method", ["gradcam", "integrated_gradients"])
def test_heatmaps_change_with_randomised_weights_and_the_weights_come_back(method):
    model = small_network()
    before = model.get_weights()
    found = explain.sanity_check(model, photos(), [1, 2], method, stages=3)
    assert found.fractions.tolist() == pytest.approx([1 / 3, 2 / 3, 1])
    assert found.correlations.shape == (3, 2)
    assert np.abs(found.correlations[-1]).max() < 0.6
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_heatmaps_that_ignore_the_weights_fail_the_comparison():
    inputs = keras.Input((32, 32, 3))
    maps = keras.layers.Conv2D(1, 1, kernel_initializer="ones", name="maps")(inputs)
    outputs = keras.layers.Dense(2, kernel_initializer="ones")(keras.layers.GlobalAveragePooling2D()(maps))
    # Shuffling equal values changes nothing, as if the heatmap did not depend on them.
    found = explain.sanity_check(keras.Model(inputs, outputs), photos(), 0, "gradcam", stages=2)
    np.testing.assert_allclose(found.correlations, 1, atol=1e-6)
    with pytest.raises(InputError, match="no weights"):
        explain.sanity_check(keras.Model(inputs, keras.ops.mean(inputs, axis=(1, 2))), photos(), 0, "occlusion")
