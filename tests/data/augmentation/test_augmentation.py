import colorsys
import csv
import inspect
import math

import keras
import numpy as np
import pytest
import scipy.ndimage
import scipy.stats
import tensorflow as tf
from PIL import Image, ImageEnhance, ImageOps

from kerastrain import config, data, recipe, testing
from kerastrain.data.augmentation import AUGMENTATIONS, geometric, mixing, operations, philox, photometric
from kerastrain.errors import InputError

IMAGE_NAMES = tuple(name for name in AUGMENTATIONS if name != "word_dropout")
NOTHING = {
    "flip": {"probability": 0},
    "crop": {"shift_fraction": 0},
    "resized_crop": {"area_fraction": 1.0, "aspect_factor": 1},
    "rotation": {"degrees": 0},
    "colour": {"brightness": 0, "contrast": 0, "saturation": 0, "hue": 0},
    "blur": {"probability": 0},
    "erasing": {"probability": 0},
    "noise": {"stddev": 0},
    "mixup": {"probability": 0},
    "cutmix": {"probability": 0},
    "word_dropout": {"probability": 0},
}


@pytest.fixture
def images():
    return np.random.default_rng(0).uniform(0, 255, (12, 16, 20, 3)).astype(np.float32)


def seeds(count, key=7 << 32, first=0):
    return tf.constant([(key, first + position) for position in range(count)], tf.int64)


def smooth(count=1, size=(31, 41)):
    values = scipy.ndimage.gaussian_filter(np.random.default_rng(1).uniform(0, 255, (count, *size, 3)), (0, 3, 3, 0))
    return ((values - values.min()) * (255 / np.ptp(values))).astype(np.float32)


def transformed(transform, images, draws):
    """The images after one geometric transform, with the given numbers instead of random ones."""
    height, width = (tf.constant(float(side)) for side in images.shape[1:3])
    matrices = transform.matrices(tf.constant(draws, tf.float32), height, width)
    return geometric.resampled(tf.constant(images), matrices, stays_inside=transform.stays_inside).numpy()


def operated(name, images, amount):
    numbers = tf.fill((len(images),), operations.OPERATIONS.index(name))
    return operations.applied(tf.constant(images), numbers, tf.fill((len(images),), float(amount))).numpy()


def ramp(axis, size=(16, 20)):
    values = np.linspace(0, 255, size[axis], dtype=np.float32)
    plane = np.broadcast_to(values[:, np.newaxis] if axis == 0 else values, size)
    return np.repeat(plane[np.newaxis, ..., np.newaxis], 3, axis=-1)


# Promises of every augmentation.


@pytest.mark.slow
@pytest.mark.parametrize("name", IMAGE_NAMES)
def test_an_example_depends_on_its_seed_alone_and_keeps_shape_and_range(images, name):
    change = data.augment(name)
    targets = tf.eye(12)
    changed, labels = change(images, targets, seeds=seeds(12))
    assert (changed.shape, changed.dtype) == (images.shape, tf.float32)
    assert 0 <= changed.numpy().min() < changed.numpy().max() <= 255
    assert len({np.round(one - before, 3).tobytes() for one, before in zip(changed.numpy(), images, strict=True)}) > 1
    np.testing.assert_allclose(labels.numpy().sum(axis=1), 1, rtol=1e-6)
    again, _ = tf.function(lambda batch, seeds: change(batch, targets, seeds=seeds))(images, seeds(12))
    np.testing.assert_allclose(again, changed, atol=1e-3)
    order = [8, 9, 2, 3]  # Partners of MixUp and CutMix stay side by side.
    some, _ = change(images[order], tf.gather(targets, order), seeds=tf.gather(seeds(12), order))
    np.testing.assert_allclose(some, changed.numpy()[order], atol=1e-3)
    other, _ = change(images, targets, seeds=seeds(12, key=7 << 32 | 1))
    assert np.abs(other - changed).max() > 1


@pytest.mark.parametrize(("name", "arguments"), NOTHING.items())
def test_examples_are_unchanged_when_the_strength_is_nothing(images, name, arguments):
    inputs = tf.constant(["a  b ", "", "c"]) if name == "word_dropout" else tf.constant(images[:3])
    changed, targets = data.augment(**{name: arguments})(inputs, tf.eye(3), seeds=seeds(3))
    np.testing.assert_array_equal(targets, np.eye(3))
    if name == "word_dropout":
        np.testing.assert_array_equal(changed, inputs)
    else:
        np.testing.assert_allclose(changed, inputs, atol=1e-2)


def test_naming_none_changes_nothing(images):
    weights = tf.range(12.0)
    changed, targets, same_weights = data.augment()(images, tf.eye(12), weights, seeds=seeds(12))
    np.testing.assert_array_equal(changed, images)
    np.testing.assert_array_equal(targets, np.eye(12))
    np.testing.assert_array_equal(same_weights, weights)


def test_adding_one_leaves_the_draws_of_the_others(images):
    flipped, _ = data.augment("flip")(images, tf.eye(12), seeds=seeds(12))
    both, _ = data.augment("noise", "mixup", flip={}, noise={"stddev": 0.1}, mixup=NOTHING["mixup"])(
        images, tf.eye(12), seeds=seeds(12)
    )
    np.testing.assert_allclose(both, flipped, atol=1)


def test_warps_follow_one_another_in_the_order_of_the_table(images):
    flipped = images[:, :, ::-1]
    straight, _ = data.augment(flip={"probability": 1}, rotation={})(images, None, seeds=seeds(12))
    separate, _ = data.augment("rotation")(flipped, None, seeds=seeds(12))
    np.testing.assert_allclose(straight, separate, atol=1e-2)


def test_function_of_your_own_takes_one_example_and_a_seed_of_its_own(images):
    seen = []

    def darker(image, seed):
        seen.append(tuple(seed.numpy()))
        return image / 2

    changed, _ = data.augment(darker, "flip")(images, None, seeds=seeds(12))
    flipped, _ = data.augment("flip")(images, None, seeds=seeds(12))
    np.testing.assert_allclose(changed, flipped.numpy() / 2)
    assert len(set(seen)) == 12
    assert (7 << 32, 0) not in seen


@pytest.mark.parametrize("names", [("rotation",), ("flip", "crop", "rotation", "resized_crop")])
def test_turned_images_are_bit_for_bit_those_of_other_batches_and_of_their_bytes(images, names):
    change, pixels = data.augment(*names), images.astype(np.uint8)
    whole = change(pixels, seeds=seeds(12))[0].numpy()
    parts = [change(pixels[first : first + 5], seeds=seeds(12)[first : first + 5])[0] for first in (0, 5, 10)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    np.testing.assert_array_equal(change(pixels.astype(np.float32), seeds=seeds(12))[0], whole)


# Random numbers.


def test_words_are_those_of_tensorflows_own_philox():
    pairs = tf.constant([[5 << 32 | 3, 7], [1, 2**40 + 5], [-3, -9]], tf.int64)
    ours = philox.words(pairs, tf.constant([4, 0]), tf.constant([0, 6])).numpy()
    for row, (key, position) in enumerate(tf.bitcast(pairs, tf.uint64)):
        for column, (stream, block) in enumerate([(4, 0), (0, 6)]):
            theirs = tf.raw_ops.StatelessRandomUniformFullIntV2(
                shape=[4], key=[key], counter=[block | stream << 32, position], alg=1, dtype=tf.uint32
            )
            np.testing.assert_array_equal(ours[row, 4 * column : 4 * column + 4], theirs)


def test_uniform_fills_the_interval_evenly_and_more_numbers_leave_the_first_alone():
    few, many = philox.uniform(seeds(5000), {3: 2})[3], philox.uniform(seeds(5000), {1: 3, 3: 9})[3]
    np.testing.assert_array_equal(few, many[:, :2])
    assert many.numpy().min() >= 0
    assert many.numpy().max() < 1
    for column in many.numpy().T:
        assert scipy.stats.kstest(column, "uniform").pvalue > 1e-3
    correlations = np.corrcoef(many.numpy().T) - np.eye(9)
    assert np.abs(correlations).max() < 0.06


@pytest.mark.parametrize("concentration", [0.1, 0.2, 0.5, 1.0, 4.0])
def test_symmetric_beta_has_its_distribution(concentration):
    values = philox.symmetric_beta(*tf.unstack(philox.uniform(seeds(5000), {0: 2})[0], axis=1), concentration).numpy()
    assert np.isfinite(values).all()
    points = [1e-3, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99, 0.999]
    expected = scipy.stats.beta(concentration, concentration).cdf(points)
    np.testing.assert_allclose([(values < point).mean() for point in points], expected, atol=0.025)


# Geometric augmentations.


def test_flip_mirrors_by_chance(images):
    many = np.repeat(images[:1], 400, axis=0)
    changed, _ = data.augment(flip={"vertical_probability": 0.25})(many, None, seeds=seeds(400))
    kinds = [images[0], images[0, :, ::-1], images[0, ::-1], images[0, ::-1, ::-1]]
    counts = [sum(np.array_equal(one, kind) for one in changed.numpy()) for kind in kinds]
    assert sum(counts) == 400
    assert scipy.stats.chisquare(counts, [150, 150, 50, 50]).pvalue > 1e-3


def test_crop_shows_a_moved_window_of_the_reflected_image(images):
    draws = [[0.0, 0.0], [0.999, 0.5], [0.5, 0.999]]
    changed = transformed(geometric.crop(shift_fraction=0.25), images[:3], draws)
    padded = np.pad(images[:3], ((0, 0), (4, 4), (5, 5), (0, 0)), mode="symmetric")
    for one, around, (across, down) in zip(changed, padded, [(-5, -4), (5, 0), (0, 4)], strict=True):
        np.testing.assert_array_equal(one, around[4 + down : 20 + down, 5 + across : 25 + across])


def test_resized_crop_enlarges_the_rectangle_that_was_drawn():
    image = smooth()
    changed = transformed(geometric.resized_crop(area_fraction=0.5, aspect_factor=1.5), image, [[0.2, 0.9, 0.4, 0.7]])
    stretch = 1.5**0.4
    down, across = math.sqrt(0.6) / stretch, math.sqrt(0.6) * stretch
    rows, columns = ((start * (1 - share) + np.linspace(0, 1, side) * share) * (side - 1)
                     for start, share, side in ((0.4, down, 31), (0.7, across, 41)))  # fmt: skip
    grid = np.meshgrid(rows, columns, indexing="ij")
    for channel in range(3):
        expected = scipy.ndimage.map_coordinates(image[0, ..., channel], grid, order=1)
        np.testing.assert_allclose(changed[0, ..., channel], expected, atol=1e-2)


def test_resized_crop_covers_the_area_asked_for():
    change = data.augment(resized_crop={"area_fraction": 0.5, "aspect_factor": 1.3})
    heights, widths = (
        np.ptp(change(np.repeat(ramp(axis), 200, axis=0), None, seeds=seeds(200))[0].numpy(), axis=(1, 2, 3)) / 255
        for axis in (0, 1)
    )
    assert 0.5 - 1e-3 <= (heights * widths).min() < 0.55
    assert abs((heights * widths).mean() - 0.75) < 0.04
    assert 1 / 1.3 - 1e-3 <= (heights / widths).min() < 0.85
    assert 1.18 < (heights / widths).max() <= 1.3 + 1e-3


@pytest.mark.parametrize("size", [(1, 1), (7, 224), (31, 3)])
def test_places_far_beyond_the_edge_are_reflected_as_often_as_it_takes(size):
    image = np.random.default_rng(2).uniform(0, 255, (1, *size, 3)).astype(np.float32)
    around = np.pad(image[0], ((3 * size[0],) * 2, (4 * size[1],) * 2, (0, 0)), mode="symmetric")
    for down, across in ((-3 * size[0], 4 * size[1]), (2 * size[0], -2 * size[1]), (-1, 2), (1, -3 * size[1] - 1)):
        moved = geometric.matrix((1.0, 0.0, float(across)), (0.0, 1.0, float(down)))
        result = geometric.resampled(tf.constant(image), moved, stays_inside=False)[0].numpy()
        top, left = 3 * size[0] + down, 4 * size[1] + across
        np.testing.assert_array_equal(result, around[top : top + size[0], left : left + size[1]])


def test_warps_are_those_of_keras_affine_transform(images):
    turns = geometric.about_centre(geometric.turned(tf.linspace(-3.0, 3.0, 12)), 16.0, 20.0)
    expected = keras.ops.image.affine_transform(
        images, tf.reshape(turns, (-1, 9))[:, :8], fill_mode="reflect", data_format="channels_last"
    )
    np.testing.assert_allclose(geometric.resampled(tf.constant(images), turns, stays_inside=False), expected, atol=0.01)


@pytest.mark.parametrize("draw", [0.0, 0.35, 0.9])
def test_rotation_turns_about_the_centre_like_scipy(draw):
    image = smooth()
    changed = transformed(geometric.rotation(degrees=40), image, [[draw]])[0]
    expected = scipy.ndimage.rotate(image[0], (2 * draw - 1) * 40, reshape=False, order=1, mode="reflect")
    np.testing.assert_allclose(changed, expected, atol=0.5)


# Photometric augmentations.


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0, 1.5])
def test_colour_matrix_blends_with_grey(share):
    pixel = np.array([200.0, 50.0, 90.0])
    grey = pixel @ [0.299, 0.587, 0.114]
    matrix = photometric.colour_matrix(tf.constant([share]), tf.constant([0.0]))[0].numpy()
    np.testing.assert_allclose(pixel @ matrix, grey + share * (pixel - grey), atol=0.05)


@pytest.mark.parametrize("turn", [1 / 3, -1 / 3])
def test_colour_matrix_turns_the_hue(turn):
    matrix = photometric.colour_matrix(tf.constant([1.0]), tf.constant([turn * 2 * math.pi]))[0].numpy()
    turned = np.array([0.6, 0.4, 0.4]) @ matrix
    hue = colorsys.rgb_to_hsv(*turned)[0]
    assert min(abs(hue - turn % 1), 1 - abs(hue - turn % 1)) < 0.06
    np.testing.assert_allclose(np.full(3, 0.7) @ matrix, 0.7, atol=1e-3)


@pytest.mark.parametrize("name", ["brightness", "contrast"])
def test_light_and_contrast_stay_within_their_strengths(name):
    images = np.random.default_rng(0).uniform(80, 170, (60, 8, 8, 3)).astype(np.float32)
    none = NOTHING["colour"]
    changed, _ = data.augment(colour=none | {name: 0.3})(images, None, seeds=seeds(60))
    centres = images.mean(axis=(1, 2)) @ [0.299, 0.587, 0.114] if name == "contrast" else np.zeros(60)
    factors = []
    for before, after, centre in zip(images, changed.numpy(), centres, strict=True):
        factors.append(np.median((after - centre) / (before - centre)))
        np.testing.assert_allclose(after, centre + factors[-1] * (before - centre), atol=0.1)
    assert 0.7 <= min(factors) < 0.75
    assert 1.25 < max(factors) <= 1.3
    assert abs(np.mean(factors) - 1) < 0.07


@pytest.mark.parametrize("size", [(40, 50), (5, 3)])
def test_blur_is_scipys_gaussian_filter(size):
    images = smooth(2, size)
    changed = photometric.blur(probability=1, stddev_pixels=1.5).change(
        tf.constant(images), tf.constant([[0.0, 0.9], [0.0, 0.2]])
    )
    for before, after, stddev in zip(images, changed.numpy(), (1.35, 0.3), strict=True):
        expected = scipy.ndimage.gaussian_filter(before, (stddev, stddev, 0), mode="reflect", radius=(5, 5, 0))
        np.testing.assert_allclose(after, expected, atol=0.02)


def test_erasing_covers_one_rectangle_of_the_share_asked_for():
    changed, _ = data.augment(erasing={"area_fraction": 0.3})(np.zeros((200, 50, 50, 3), "f"), None, seeds=seeds(200))
    shares = (changed.numpy() == 127.5).mean(axis=(1, 2, 3))
    assert 70 <= (shares > 0).sum() <= 130
    assert shares.max() <= 0.33
    assert shares[shares > 0].min() > 0.02
    for result in changed.numpy():
        rows, columns = result.any(axis=(1, 2)), result.any(axis=(0, 2))
        assert (result.any(axis=2) == np.outer(rows, columns)).all()


def test_noise_is_gaussian_with_the_deviation_asked_for():
    grey = np.full((60, 64, 64, 3), 128.0, np.float32)
    errors = data.augment(noise={"stddev": 10})(grey, None, seeds=seeds(60))[0].numpy() - 128
    deviations = errors.std(axis=(1, 2, 3))
    assert deviations.max() <= 10.3
    assert abs(deviations.mean() - 5) < 1.2
    standard = errors / deviations[:, np.newaxis, np.newaxis, np.newaxis]
    assert abs(standard.mean()) < 0.01
    np.testing.assert_allclose(np.quantile(standard, [0.0228, 0.1587, 0.8413, 0.9772]), [-2, -1, 1, 2], atol=0.02)
    between = np.corrcoef(standard.reshape(60, -1)) - np.eye(60)
    assert np.abs(between).max() < 0.05
    inside = [np.mean(standard * np.roll(standard, 1, axis=axis)) for axis in (1, 2, 3)]
    assert np.abs(inside).max() < 0.01


# Operations of the policies.


@pytest.mark.parametrize(
    ("name", "amount", "reference"),
    [
        ("identity", 1.0, lambda image: image),
        ("posterize", 0.5, lambda image: ImageOps.posterize(image, 6)),
        ("posterize", 0.0, lambda image: image),
        ("solarize", -0.5, lambda image: ImageOps.solarize(image, 128)),
        ("solarize", 0.0, lambda image: image),
        ("autocontrast", 0.3, ImageOps.autocontrast),
        ("equalize", 0.3, ImageOps.equalize),
        ("sharpness", 0.8, lambda image: ImageEnhance.Sharpness(image).enhance(1.72)),
        ("sharpness", -0.8, lambda image: ImageEnhance.Sharpness(image).enhance(0.28)),
        ("brightness", -0.5, lambda image: ImageEnhance.Brightness(image).enhance(0.55)),
        ("contrast", 0.4, lambda image: ImageEnhance.Contrast(image).enhance(1.36)),
        ("saturation", -0.6, lambda image: ImageEnhance.Color(image).enhance(0.46)),
    ],
)
def test_operation_on_values_is_pils(name, amount, reference):
    images = np.round(np.stack([smooth(size=(40, 50))[0] * 0.7 + 30, np.full((40, 50, 3), 90.0)])).astype(np.float32)
    changed = operated(name, images, amount)
    for before, after in zip(images, changed, strict=True):
        expected = np.asarray(reference(Image.fromarray(before.astype(np.uint8))), np.float32)
        is_exact = name in ("identity", "posterize", "solarize", "equalize")
        np.testing.assert_allclose(
            after, expected, atol=0 if is_exact else 1.3
        )  # PIL truncates the fraction, in some operations twice.


@pytest.mark.parametrize(
    ("name", "matrix"),
    [
        ("shear_x", ((1, 0.15), (0, 1))),
        ("shear_y", ((1, 0), (0.15, 1))),
        (
            "rotation",
            ((math.cos(math.pi / 12), -math.sin(math.pi / 12)), (math.sin(math.pi / 12), math.cos(math.pi / 12))),
        ),
        ("shift_x", (0.5 * 150 / 331 * 41, 0)),
        ("shift_y", (0, 0.5 * 150 / 331 * 31)),
    ],
)
def test_operation_on_places_is_scipys_affine_map(name, matrix):
    image, centre = smooth(), np.array([20.0, 15.0])
    map_, shift = (np.eye(2), np.array(matrix)) if "shift" in name else (np.array(matrix), np.zeros(2))
    x, y = np.meshgrid(np.arange(41), np.arange(31))
    places = (np.stack([x, y], axis=-1) - centre) @ map_.T + centre + shift
    expected = [
        scipy.ndimage.map_coordinates(image[0, ..., channel], (places[..., 1], places[..., 0]), order=1, mode="reflect")
        for channel in range(3)
    ]
    np.testing.assert_allclose(operated(name, image, 0.5)[0], np.stack(expected, axis=-1), atol=0.5)


def test_each_image_has_its_own_operation(images):
    numbers = np.arange(12) % len(operations.OPERATIONS)
    together = operations.applied(tf.constant(images), tf.constant(numbers, tf.int32), tf.fill((12,), 0.4))
    for image, number, changed in zip(images, numbers, together.numpy(), strict=True):
        np.testing.assert_allclose(
            operated(operations.OPERATIONS[number], image[np.newaxis], 0.4)[0], changed, atol=1e-3
        )


def test_randaugment_applies_its_operations_one_after_the_other(images):
    draws = np.random.default_rng(0).uniform(size=(6, 4)).astype(np.float32)
    changed = AUGMENTATIONS["randaugment"](strength_fraction=0.4).change(tf.constant(images[:6]), tf.constant(draws))
    for image, numbers, ours in zip(images[:6], draws, changed.numpy(), strict=True):
        expected = image[np.newaxis]
        for choice, sign in numbers.reshape(2, 2):
            expected = operated(operations.OPERATIONS[int(choice * 14)], expected, -0.4 if sign < 0.5 else 0.4)
        np.testing.assert_allclose(ours, expected[0], atol=0.01)


def test_augmix_blends_the_image_with_its_chains(images):
    draws = np.random.default_rng(0).uniform(size=(3, 34)).astype(np.float32)
    changed = AUGMENTATIONS["augmix"](strength_fraction=0.4).change(tf.constant(images[:3]), tf.constant(draws))
    for image, numbers, ours in zip(images[:3], draws, changed.numpy(), strict=True):
        shares = -np.log(1 - numbers[30:33])
        mixture = np.zeros_like(image)
        for share, chain in zip(shares / shares.sum(), numbers[:30].reshape(3, 10), strict=True):
            one = image[np.newaxis]
            for choice, amount, sign in chain[1:].reshape(3, 3)[: 1 + int(chain[0] * 3)]:
                name = operations.AUGMIX_OPERATIONS[int(choice * 9)]
                one = operated(name, one, 0.4 * amount * (-1 if sign < 0.5 else 1))
            mixture += share * one[0]
        np.testing.assert_allclose(ours, (1 - numbers[33]) * image + numbers[33] * mixture, atol=0.05)


# Mixing.


def test_partner_is_the_neighbour_in_the_epoch_where_it_is_in_the_batch():
    assert mixing.partners(seeds(5, first=10)).numpy().tolist() == [1, 0, 3, 2, 4]
    assert mixing.partners(seeds(5, first=11)).numpy().tolist() == [0, 2, 1, 4, 3]
    strangers = tf.constant([[1, 4], [2, 5], [2, 4]], tf.int64)
    assert mixing.partners(strangers).numpy().tolist() == [0, 1, 2]


def test_mixup_blends_images_and_targets_by_the_same_share(images):
    changed, targets = data.augment(mixup={"alpha": 1.0})(images, tf.eye(12), seeds=seeds(12))
    partners = images[np.arange(12) ^ 1]
    shares = targets.numpy()[np.arange(12), np.arange(12) ^ 1]
    np.testing.assert_array_equal(shares[::2], shares[1::2])
    assert len(set(shares)) == 6
    assert shares.max() <= 0.5
    expected = images + shares[:, np.newaxis, np.newaxis, np.newaxis] * (partners - images)
    np.testing.assert_allclose(changed, expected, atol=1e-2)
    np.testing.assert_allclose(targets.numpy()[np.arange(12), np.arange(12)], 1 - shares, atol=1e-6)


def test_cutmix_shows_a_rectangle_of_the_partner_with_the_share_of_its_area():
    images = np.repeat(np.arange(400, dtype=np.float32) % 2, 30 * 40 * 3).reshape(400, 30, 40, 3) * 255
    changed, targets = data.augment("cutmix")(images, tf.one_hot(np.arange(400) % 2, 2), seeds=seeds(400))
    np.testing.assert_allclose(
        changed.numpy()[::2] + changed.numpy()[1::2], 255
    )  # Each value of both partners occurs once.
    pasted = changed.numpy()[..., 0] != images[..., 0]
    shares = targets.numpy()[np.arange(400), (np.arange(400) + 1) % 2]
    np.testing.assert_allclose(pasted.mean(axis=(1, 2)), shares, atol=1e-6)
    for one in pasted:
        assert (one == np.outer(one.any(axis=1), one.any(axis=0))).all()
    assert scipy.stats.kstest(shares[::2], "uniform").pvalue > 1e-3


def test_mixup_and_cutmix_together_give_each_example_one_of_them(images):
    both, _ = data.augment("mixup", "cutmix")(images, tf.eye(12), seeds=seeds(12))
    either = [data.augment(name)(images, tf.eye(12), seeds=seeds(12))[0].numpy() for name in ("mixup", "cutmix")]
    chosen = [[np.allclose(one, other) for one, other in zip(both, others, strict=True)] for others in either]
    assert [sum(pair) for pair in zip(*chosen, strict=True)] == [1] * 12
    assert chosen[0][::2] == chosen[0][1::2]
    assert 2 <= sum(chosen[0]) <= 10


def test_weighted_loss_is_the_mean_of_both_examples_losses_by_their_shares(images):
    weights, logits = tf.constant([3.0, 1.0, 0.0, 5.0]), tf.random.stateless_normal((4, 4), (0, 0))
    _, targets, blended = data.augment(mixup={"alpha": 1.0})(images[:4], tf.eye(4), weights, seeds=seeds(4))
    _, plain = data.augment(mixup={"alpha": 1.0})(images[:4], tf.eye(4), seeds=seeds(4))
    losses = -tf.nn.log_softmax(logits).numpy()
    np.testing.assert_allclose(
        blended * tf.nn.softmax_cross_entropy_with_logits(targets, logits),
        (plain.numpy() * weights.numpy() * losses).sum(axis=1),
        rtol=1e-5,
    )
    np.testing.assert_allclose(targets.numpy().sum(axis=1), 1, rtol=1e-6)


def test_even_batches_of_any_size_mix_alike(images):
    examples = data.Examples(np.arange(12) % 3, ("a", "b", "c"), images.astype(np.uint8))
    options = {"shuffle": True, "seed": 3, "augment": data.augment("flip", "mixup", "cutmix")}
    whole, labels = next(iter(data.batches(examples, 12, **options)))
    for size in (4, 8):
        parts = list(data.batches(examples, size, **options))
        np.testing.assert_allclose(np.concatenate([part for part, _ in parts]), whole, atol=1e-3)
        np.testing.assert_allclose(np.concatenate([part for _, part in parts]), labels, atol=1e-6)


# Texts.


def test_word_dropout_leaves_out_each_word_by_chance_in_order():
    words = [f"w{number}" for number in range(40)]
    texts = tf.constant([" ".join(words[: 1 + row % 40]) for row in range(400)])
    changed, _ = data.augment(word_dropout={"probability": 0.3})(texts, None, seeds=seeds(400))
    remaining = [text.decode().split() for text in changed.numpy()]
    for row, some in enumerate(remaining):
        assert some == [word for word in words[: 1 + row % 40] if word in some]
    assert all(remaining)
    total = sum(1 + row % 40 for row in range(400))
    assert abs(sum(map(len, remaining)) / total - 0.7) < 0.02
    alone, _ = data.augment(word_dropout={"probability": 0.3})(texts[30:32], None, seeds=seeds(2, first=30))
    assert alone.numpy().tolist() == changed.numpy()[30:32].tolist()


def test_word_dropout_keeps_one_word_and_the_letters_of_a_text_that_lost_none():
    texts = tf.constant(["one two three", "  single ", "", "zwei\u00a0drei vier"])
    changed, _ = data.augment(word_dropout={"probability": 1})(texts, None, seeds=seeds(4))
    assert [len(text.split()) for text in changed.numpy()] == [1, 1, 0, 1]
    assert changed.numpy()[1] == b"  single "


# Errors.


@pytest.mark.parametrize(
    ("names", "arguments", "message"),
    [
        (["color"], {}, "unknown augmentation 'color'. Known: .* Did you mean 'colour'?"),
        ([], {"noise": {"sigma": 3}}, "unknown argument of augmentation 'noise' 'sigma'. Known: stddev."),
        ([], {"flip": {"probability": 2}}, r"`flip.probability` must lie in \[0, 1\]. Received: 2"),
        ([], {"flip": {"probability": "often"}}, r"`flip.probability` must lie in \[0, 1\]. Received: 'often'"),
        ([], {"resized_crop": {"area_fraction": 0}}, r"`resized_crop.area_fraction` must lie in \(0, 1\]. Received: 0"),
        (
            [],
            {"resized_crop": {"aspect_factor": 0.5}},
            "`resized_crop.aspect_factor` must be >= 1 and finite. Rec.*: 0.5",
        ),
        ([], {"rotation": {"degrees": 200}}, r"`rotation.degrees` must lie in \[0, 180\]"),
        ([], {"colour": {"hue": 0.6}}, r"`colour.hue` must lie in \[0, 0.5\]"),
        ([], {"colour": {"contrast": -1}}, r"`colour.contrast` must lie in \[0, 1\]"),
        ([], {"erasing": {"area_fraction": float("nan")}}, r"`erasing.area_fraction` must lie in \(0, 1\]"),
        ([], {"noise": {"stddev": -1}}, "`noise.stddev` must be >= 0 and finite. Received: -1"),
        ([], {"randaugment": {"count": 0}}, "`randaugment.count` must be a whole number >= 1. Received: 0"),
        ([], {"mixup": {"alpha": 0}}, r"`mixup.alpha` must lie in \[0.001, 1000\]. Received: 0"),
        (["flip", "word_dropout"], {}, "changes images or texts, not both. Received: flip, word_dropout."),
    ],
)
def test_input_error_names_what_is_unknown_or_out_of_range(names, arguments, message):
    with pytest.raises(InputError, match=message):
        data.augment(*names, **arguments)


def test_input_error_where_examples_cannot_be_changed_so(images):
    numbers = data.Examples(np.ones((12, 1), np.float32), ("age",), images.astype(np.uint8), task="regression")
    with pytest.raises(InputError, match="mixup and cutmix blend labels.* Received: examples of task 'regression'"):
        data.batches(numbers, 4, augment=data.augment("mixup"))
    with pytest.raises(InputError, match="augment must not use mixup or cutmix for task 'regression'"):
        config.load(overrides=["data.task=regression", "data.augment.mixup={}"])
    with pytest.raises(
        InputError, match="consists of text augmentations. Received: images. Name image augmentations, or none."
    ):
        data.batches(numbers, 4, augment=data.augment("word_dropout"))
    features = data.Examples(np.arange(12) % 2, ("a", "b"), np.zeros((12, 5), np.float32))
    with pytest.raises(InputError, match=r"changes images \(batch, height, width, 3\). Received: shape \(None, 5\)"):
        data.batches(features, 4, augment=data.augment("flip"))
    with pytest.raises(InputError, match=r"must be float of shape \(batch, labels\).* Received: none"):
        data.augment("mixup")(images, seeds=seeds(12))
    with pytest.raises(InputError, match=r"Received: int64 of shape \(12,\)"):
        data.augment("mixup")(images, tf.range(12, dtype=tf.int64), seeds=seeds(12))


# The config.


def test_config_names_the_same_changes_with_the_same_strengths():
    sections = config.Config.model_fields["data"].annotation.model_fields["augment"].annotation.model_fields
    assert list(sections) == list(AUGMENTATIONS)
    for name, function in AUGMENTATIONS.items():
        parameters = inspect.signature(function).parameters
        every = config.load(overrides=["data.kind=text", "data.path=texts", f"data.augment=[{name}]"]
                            if name == "word_dropout" else [f"data.augment=[{name}]"]).data.augment.named  # fmt: skip
        assert every == {name: {key: parameter.default for key, parameter in parameters.items()}}


# The recipe.


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["images", "text"])
def test_recipe_trains_on_mixed_labels_and_on_texts_without_some_words(tmp_path, kind):
    common = [
        "fit.head_epochs=0",
        "fit.epochs=6",
        "export.formats=[]",
        "optimizer={learning_rate: 0.05, fine_tune_fraction: 1}",
    ]
    if kind == "images":
        testing.saved_model(tmp_path / "module", image_size=(16, 16))
        testing.colour_folder(tmp_path / "data", count=20, size=(16, 16))
        special = [f"model.backbone={tmp_path / 'module'}", "data.augment=[flip, mixup, cutmix]"]
    else:
        (tmp_path / "data").mkdir()
        for label, word in (("bad", "dull"), ("good", "fine")):
            lines = [f"a {word} and {word} film {number}" for number in range(20)]
            (tmp_path / "data" / f"{label}.txt").write_text("\n".join(lines))
        special = ["data.kind=text", "data.augment.word_dropout.probability=0.3"]
    settings = config.load(overrides=[f"data.path={tmp_path / 'data'}", *special, *common])
    finished = recipe.run(settings, tmp_path / "run")
    with open(tmp_path / "run" / "history.csv", encoding="utf-8") as file:
        losses = [float(row["val_loss"]) for row in csv.DictReader(file)]
    assert losses[-1] < (losses[0] if kind == "images" else 0.01)  # The two words are learned in the first epoch.
    assert finished.measures["validation"]["accuracy"] > 0.5
