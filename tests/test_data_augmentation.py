import colorsys
import math

import numpy as np
import pytest
import scipy.ndimage
import tensorflow as tf

from kerastrain import data
from kerastrain.data import augmentation
from kerastrain.errors import InputError

NAMES = tuple(augmentation.AUGMENTATIONS)
SEEDS = [(0, position) for position in range(60)]


@pytest.fixture
def image():
    return tf.constant(np.random.default_rng(0).uniform(0, 255, (16, 20, 3)), tf.float32)


def ramp(axis, size=(16, 20)):
    values = np.linspace(0, 1, size[axis], dtype=np.float32)
    plane = np.broadcast_to(values[:, np.newaxis] if axis == 0 else values, size)
    return tf.constant(np.repeat(plane[..., np.newaxis], 3, axis=-1) * 255)


@pytest.mark.parametrize("name", NAMES)
def test_image_depends_on_the_seed_alone_and_keeps_its_shape_and_range(image, name):
    augmented = data.augment(name)
    results = [augmented(image, seed).numpy() for seed in SEEDS[:12]]
    graph = tf.function(augmented)
    for seed, result in zip(SEEDS[:12], results, strict=True):
        np.testing.assert_allclose(graph(image, tf.constant(seed, tf.int64)), result, atol=1e-3)
        assert (result.shape, result.dtype) == (image.shape, np.float32)
        assert result.min() >= 0
        assert result.max() <= 255
    assert len({result.tobytes() for result in results}) > 1
    assert any(np.abs(result - image).max() > 1 for result in results)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("flip", {"probability": 0}),
        ("crop", {"area_fraction": 1.0, "aspect_factor": 1}),
        ("rotation", {"degrees": 0}),
        ("colour", {"brightness": 0, "contrast": 0, "saturation": 0, "hue": 0}),
        ("erasing", {"probability": 0}),
        ("noise", {"deviation": 0}),
    ],
)
def test_image_is_unchanged_when_the_strength_is_nothing(image, name, arguments):
    np.testing.assert_allclose(data.augment(**{name: arguments})(image, (1, 2)), image, atol=1e-2)


def test_adding_one_leaves_the_draws_of_the_others(image):
    flips = [bool(np.allclose(data.augment("flip")(image, seed), image)) for seed in SEEDS[:20]]
    both = data.augment("noise", flip={}, noise={"deviation": 0.1})
    assert flips == [bool(np.allclose(both(image, seed), image, atol=2)) for seed in SEEDS[:20]]


def test_flip_mirrors_half_of_the_images(image):
    results = [data.augment("flip")(image, seed).numpy() for seed in SEEDS]
    mirrored = [np.array_equal(result, image.numpy()[:, ::-1]) for result in results]
    same = [np.array_equal(result, image) for result in results]
    assert all(a != b for a, b in zip(mirrored, same, strict=True))
    assert 18 <= sum(mirrored) <= 42


def test_crop_enlarges_a_rectangle_of_the_area_asked_for():
    cropped = data.augment(crop={"area_fraction": 0.5, "aspect_factor": 1.3})
    spans = [[np.ptp(cropped(ramp(axis), seed).numpy()) / 255 for axis in (0, 1)] for seed in SEEDS]
    heights, widths = np.array(spans).T
    assert (heights * widths).min() >= 0.5 - 1e-3
    assert (heights * widths).min() < 0.6
    assert (heights / widths).max() <= 1.3 + 1e-3
    assert (heights / widths).min() >= 1 / 1.3 - 1e-3


def test_rotation_turns_about_the_centre_like_scipy():
    smooth = scipy.ndimage.gaussian_filter(np.random.default_rng(1).uniform(0, 255, (31, 41, 3)), (3, 3, 0))
    result = augmentation.rotation(degrees=40)(tf.constant(smooth, tf.float32), (3, 4)).numpy()
    draw = tf.random.stateless_uniform((1,), (3, 4), alg="philox").numpy()[0]
    angle = (2 * draw - 1) * 40
    assert abs(angle) > 3
    expected = scipy.ndimage.rotate(smooth, angle, reshape=False, order=1, mode="reflect")
    np.testing.assert_allclose(result[8:-8, 8:-8], expected[8:-8, 8:-8], atol=0.5)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0, 1.5])
def test_colour_matrix_blends_with_grey(share):
    pixel = np.array([200.0, 50.0, 90.0])
    grey = pixel @ [0.299, 0.587, 0.114]
    matrix = augmentation.colour_matrix(tf.constant(share), tf.constant(0.0)).numpy()
    np.testing.assert_allclose(pixel @ matrix, grey + share * (pixel - grey), atol=0.05)


@pytest.mark.parametrize("turn", [1 / 3, -1 / 3])
def test_colour_matrix_turns_the_hue(turn):
    matrix = augmentation.colour_matrix(tf.constant(1.0), tf.constant(turn * 2 * math.pi)).numpy()
    turned = np.array([0.6, 0.4, 0.4]) @ matrix
    hue = colorsys.rgb_to_hsv(*turned)[0]
    assert min(abs(hue - turn % 1), 1 - abs(hue - turn % 1)) < 0.06
    np.testing.assert_allclose(np.full(3, 0.7) @ matrix, 0.7, atol=1e-3)


@pytest.mark.parametrize("name", ["brightness", "contrast"])
def test_light_and_contrast_stay_within_their_strengths(image, name):
    none = {"brightness": 0, "contrast": 0, "saturation": 0, "hue": 0}
    coloured = augmentation.colour(**none | {name: 0.3})
    centre = image.numpy().mean(axis=(0, 1)) @ [0.299, 0.587, 0.114] if name == "contrast" else 0
    factors = []
    for seed in SEEDS:
        quotient = (coloured(image, seed).numpy() - centre) / (image.numpy() - centre)
        factors.append(np.median(quotient))
        np.testing.assert_allclose(coloured(image, seed), centre + factors[-1] * (image - centre), atol=0.1)
    assert 0.7 <= min(factors) < 0.75
    assert 1.25 < max(factors) <= 1.3


def test_erasing_covers_one_rectangle_of_the_share_asked_for():
    black = tf.zeros((50, 50, 3))
    results = [data.augment(erasing={"area_fraction": 0.3})(black, seed).numpy() for seed in SEEDS]
    shares = np.array([(result == 127.5).mean() for result in results])
    assert 18 <= (shares > 0).sum() <= 42
    assert shares.max() <= 0.33
    assert shares[shares > 0].min() > 0.02
    for result in results:
        rows, columns = result.any(axis=(1, 2)), result.any(axis=(0, 2))
        assert (result.any(axis=2) == np.outer(rows, columns)).all()


def test_noise_is_gaussian_with_the_deviation_asked_for():
    grey = tf.fill((64, 64, 3), 128.0)
    errors = [data.augment(noise={"deviation": 10})(grey, seed).numpy() - 128 for seed in SEEDS]
    deviations = np.array([error.std() for error in errors])
    assert deviations.max() <= 10.3
    assert abs(deviations.mean() - 5) < 1.2
    standard = np.concatenate([(error / error.std()).ravel() for error in errors])
    assert abs(standard.mean()) < 0.01
    np.testing.assert_allclose(np.quantile(standard, [0.0228, 0.1587, 0.8413, 0.9772]), [-2, -1, 1, 2], atol=0.02)


def test_function_of_your_own_comes_last_with_a_seed_of_its_own(image):
    seen = []

    def darker(image, seed):
        seen.append(tuple(seed.numpy()))
        return image / 2

    result = data.augment(darker, "flip")(image, (5, 6))
    np.testing.assert_allclose(result, data.augment("flip")(image, (5, 6)) / 2)
    assert seen[0] != (5, 6)


@pytest.mark.parametrize(
    ("names", "arguments", "message"),
    [
        (["color"], {}, "unknown augmentation 'color'. Known: .* Did you mean 'colour'?"),
        ([], {"noise": {"sigma": 3}}, "unknown argument of augmentation 'noise' 'sigma'. Known: deviation."),
        ([], {"flip": {"probability": 2}}, r"`flip.probability` must lie in \[0, 1\]. Received: 2"),
        ([], {"crop": {"area_fraction": 0}}, r"`crop.area_fraction` must lie in \(0, 1\]. Received: 0"),
        ([], {"crop": {"aspect_factor": 0.5}}, "`crop.aspect_factor` must be >= 1. Received: 0.5"),
        ([], {"rotation": {"degrees": 200}}, r"`rotation.degrees` must lie in \[0, 180\]"),
        ([], {"colour": {"hue": 0.6}}, r"`colour.hue` must lie in \[0, 0.5\]"),
        ([], {"colour": {"contrast": -1}}, r"`colour.contrast` must lie in \[0, 1\]"),
        ([], {"erasing": {"area_fraction": float("nan")}}, r"`erasing.area_fraction` must lie in \(0, 1\]"),
        ([], {"noise": {"deviation": -1}}, "`noise.deviation` must be >= 0. Received: -1"),
    ],
)
def test_input_error_names_what_is_unknown_or_out_of_range(names, arguments, message):
    with pytest.raises(InputError, match=message):
        data.augment(*names, **arguments)
