"""Arrays as people store them: each type, scale, shape and name is taken rightly, or refused with what to do."""

import logging
import re

import numpy as np
import pytest

from kerastrain import data
from kerastrain.errors import InputError

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (40, 6, 7))
GREY[0, 0, :3] = 0, 1, 255
RGB = RNG.integers(0, 256, (40, 6, 7, 3))
RGB[0, 0, 0] = 0, 1, 255
CLASSES = np.arange(40) % 4
AS_RGB = np.repeat(GREY[..., np.newaxis], 3, axis=3)


def pixels(inputs, **options):
    """The images of a split in the order of the inputs, which the targets of a regression number."""
    split = data.arrays(inputs, np.arange(len(inputs)), task="regression", validation_fraction=0.25, **options)
    numbers = np.concatenate([part.targets[:, 0] for part in split.parts.values()])
    images = np.concatenate([part.read(np.arange(len(part))) for part in split.parts.values()])
    return images[np.argsort(numbers)], split.train.decoding


@pytest.mark.parametrize(
    ("inputs", "expected", "pixel_range"),
    [
        (GREY.astype(np.uint8), AS_RGB, None),
        (GREY[..., np.newaxis].astype(np.uint8), AS_RGB, None),
        (GREY[:, np.newaxis].astype(np.uint8), AS_RGB, None),
        (RGB.astype(np.uint8), RGB, None),
        (np.moveaxis(RGB, 3, 1).astype(np.uint8), RGB, None),
        (np.asfortranarray(RGB.astype(np.uint8)), RGB, None),
        (GREY, AS_RGB, (0, 255)),
        (GREY.astype(np.int32), AS_RGB, (0, 255)),
        (GREY.astype(np.uint16), AS_RGB, (0, 255)),
        (RGB.astype(np.float32), RGB, (0, 255)),
        (RGB / 255, RGB, (0, 1)),
        ((RGB / 255).astype(np.float32), RGB, (0, 1)),
        (RGB / 127.5 - 1, RGB, (-1, 1)),
        ((RGB * 16).astype(np.uint16), RGB * 16 * 255 / 4095, (0, 4095)),
        ((RGB * 16).astype(">u2"), RGB * 16 * 255 / 4095, (0, 4095)),
        ((RGB * 4).astype(np.int64), RGB * 4 * 255 / 1023, (0, 1023)),
        ((RGB * 64).astype(np.uint16), RGB * 64 * 255 / 16383, (0, 16383)),
        ((RGB * 196).astype(np.uint16), RGB * 196 // 256, (0, 65535)),
        (GREY > 127, AS_RGB.__gt__(127) * 255, None),
        ((GREY > 127).astype(np.uint8), AS_RGB.__gt__(127) * 255, None),
        ((GREY > 127).astype(float), AS_RGB.__gt__(127) * 255, (0, 1)),
        ((GREY > 127).astype(np.int64), AS_RGB.__gt__(127) * 255, (0, 1)),
    ],
)
def test_images_of_any_type_scale_and_order_of_axes_are_the_same(inputs, expected, pixel_range):
    images, decoding = pixels(inputs)
    assert (images.dtype, images.shape) == (np.uint8, (40, 6, 7, 3))
    np.testing.assert_allclose(images.astype(float), expected, atol=0.51)
    assert decoding.pixel_range == pixel_range


def test_opacity_is_shown_on_white():
    opacity = RNG.integers(0, 256, (40, 6, 7, 1))
    expected = RGB * (opacity / 255) + 255 * (1 - opacity / 255)
    for inputs in (np.concatenate([RGB, opacity], 3).astype(np.uint8), np.concatenate([RGB, opacity], 3) / 255):
        np.testing.assert_allclose(pixels(inputs)[0].astype(float), expected, atol=1)


def test_a_range_that_is_given_is_used_and_values_beyond_it_are_limited():
    images, decoding = pixels(RGB / 255 * 1.2 - 0.1, pixel_range=(0, 1))
    np.testing.assert_allclose(images.astype(float), np.clip(RGB * 1.2 - 25.5, 0, 255), atol=0.51)
    assert decoding.pixel_range == (0, 1)
    images, _ = pixels(RGB / 4, pixel_range=(0, 255))
    np.testing.assert_allclose(images.astype(float), RGB / 4, atol=0.51)


UNKNOWN = "it cannot be known which values of `inputs` are black and white. Received: "


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (
            RGB / 255 - 0.5,
            UNKNOWN + "floats from -0.5 to 0.5. Choose `pixel_range` (data.pixel_range): [-0.5, 0.5] if 0.5",
        ),
        (
            (RGB / 255 - 0.5) * 6,
            UNKNOWN + "floats from -3 to 3. Choose `pixel_range` (data.pixel_range): [-3, 3] if these",
        ),
        (RGB / 255 * 1.2 - 0.1, "[0, 1] if what is beyond was caused by resampling"),
        (
            GREY // 16,
            UNKNOWN
            + "integers from 0 to 15. Choose `pixel_range` (data.pixel_range): [0, 15] if 15 is white; [0, 255]",
        ),
        (GREY / 16, UNKNOWN + "floats from 0 to 15.9375. Choose"),
        (
            (GREY - 128).astype(np.int8),
            "[-128, 127] if 128 was subtracted; if they are uint8 in the wrong type, view them",
        ),
        ((GREY * 16 - 1024).astype(np.int16), UNKNOWN + "integers from -1024 to 3056. Choose"),
        (GREY * 1000, UNKNOWN + "integers from 0 to 255000. Choose"),
        (GREY * 4.0, UNKNOWN + "floats from 0 to 1020. Choose"),
        (
            np.where(GREY == 255, np.nan, GREY / 255),
            "`inputs` must hold finite numbers. Received: NaN or infinite numbers in",
        ),
        (
            np.where(GREY == 255, np.inf, GREY),
            "`inputs` must hold finite numbers. Received: NaN or infinite numbers in",
        ),
        (
            list(GREY[:39]) + [GREY[0, :3]],
            "`inputs` must have one shape. Received: inputs of several. Images of several sizes",
        ),
        (
            np.array([None] * 40),
            "Received: object of shape (40,). Images of one size make an array of numbers: numpy.stack",
        ),
        (
            np.moveaxis(RGB, 0, 3),
            "Received: 6 for 40. The last axis seems to count the inputs: move it to the front with",
        ),
        (GREY * 1j, "`inputs` must be numbers or texts. Received: complex128"),
        (np.float32(3), "Received: shape () for 40"),
    ],
)
def test_images_of_unknown_scale_or_shape_are_refused_with_the_choices(inputs, message):
    with pytest.raises(InputError, match=re.escape(message)):
        data.arrays(inputs, CLASSES)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((40, 784), "If each row is a flattened image, reshape them: inputs.reshape(-1, 28, 28)."),
        ((40, 3072), "inputs.reshape(-1, 32, 32, 3), or inputs.reshape(-1, 3, 32, 32) if all red values come first."),
        ((40, 8, 8, 5), "Received: (40, 8, 8, 5). Choose or compute three channels."),
        ((40, 4, 4, 4, 1), "Volumes and films are not supported: choose one slice or picture of each."),
    ],
)
def test_other_shapes_are_no_images(shape, message):
    with pytest.raises(InputError, match=re.escape(message)):
        data.arrays(np.zeros(shape, np.uint8), CLASSES, kind="images")


@pytest.mark.parametrize(
    ("pixel_range", "message"),
    [
        (
            (0, 1),
            "the pixels of `inputs` must fit `pixel_range`, black 0 and white 1. Received: integers from 0 to 4080.",
        ),
        (
            (0, 10**7),
            "must use `pixel_range`, black 0 and white 1e+07. Received: integers from 0 to 4080, so every image",
        ),
        ((5, 5), "`pixel_range` must be two finite numbers, black and white, the smaller one first. Received: (5, 5)."),
        ("12", "`pixel_range` must be two finite numbers"),
    ],
)
def test_a_range_that_cannot_be_meant_is_refused(pixel_range, message):
    inputs = (GREY * 16).astype(np.uint16)
    if pixel_range == "12":
        pixel_range = (1, float("nan"))
    with pytest.raises(InputError, match=re.escape(message)):
        data.arrays(inputs, CLASSES, pixel_range=pixel_range)


@pytest.mark.parametrize(
    ("targets", "labels", "expected"),
    [
        (CLASSES.astype(np.uint8), None, ("0", "1", "2", "3")),
        (CLASSES.astype(float), None, ("0", "1", "2", "3")),
        (CLASSES[:, np.newaxis], None, ("0", "1", "2", "3")),
        (CLASSES + 1, None, ("1", "2", "3", "4")),
        (np.array([3, 10, 2, 40])[CLASSES], None, ("2", "3", "10", "40")),
        (np.where(CLASSES < 2, -1, 1), None, ("-1", "1")),
        (np.eye(4)[CLASSES], None, ("0", "1", "2", "3")),
        (np.eye(4, dtype=bool)[CLASSES], ["a", "b", "c", "d"], ("a", "b", "c", "d")),
        (np.eye(6)[CLASSES + 1], None, ("1", "2", "3", "4")),
        (np.array(["dog", "cat"])[CLASSES % 2], None, ("cat", "dog")),
        (np.array(["dog", "cat"], object)[CLASSES % 2], ["dog", "cat"], ("dog", "cat")),
        (np.array([b"10", b"2"])[CLASSES % 2], None, ("2", "10")),
        (CLASSES > 1, None, ("False", "True")),
    ],
)
def test_targets_as_people_store_them_are_classes(targets, labels, expected):
    split = data.arrays(GREY.astype(np.uint8), targets, labels=labels, validation_fraction=0.25)
    assert split.labels == expected
    images = np.concatenate([part.inputs for part in split.parts.values()])
    numbers = np.concatenate([part.targets for part in split.parts.values()])
    names = targets.argmax(axis=1) if targets.ndim == 2 and targets.shape[1] > 1 else targets.ravel()
    names = np.array(labels)[names] if labels and names.dtype.kind in "iu" else names
    rows = [int(np.flatnonzero((image == AS_RGB).all(axis=(1, 2, 3)))[0]) for image in images]
    for row, number in zip(rows, numbers, strict=True):
        name = names[row].decode() if isinstance(names[row], bytes) else str(names[row])
        assert split.labels[number] == name.removesuffix(".0")


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (
            CLASSES + 0.5,
            "`targets` must be whole numbers, the classes of the inputs. Received: 0.5 at index 0. To predict",
        ),
        (
            np.where(CLASSES, CLASSES, np.nan),
            "`targets` must be classes. Received: nan at index 0. Remove that example.",
        ),
        (np.where(CLASSES, CLASSES, -1), "Received: -1, which usually means without a label, 10 times. Remove those"),
        (np.ones((40, 4)), "Received: 4 ones at index 0, and 40 such rows. If an example may have several labels, set"),
        (np.full((40, 4), 0.25), "Received: other numbers. Round them to a class each: targets.argmax(axis=1)."),
        (np.array(["cat", ""])[CLASSES % 2], "`targets` must name a class for each input. Received: '' at index 1."),
        (np.array([{}] * 40), "`targets` must be numbers or names. Received: Python objects such as {}."),
        (
            np.zeros((40, 2, 2), int),
            "`targets` must have the shape (n,), a class for each input. Received: (40, 2, 2).",
        ),
    ],
)
def test_targets_that_are_no_classes_are_refused(targets, message):
    with pytest.raises(InputError, match=re.escape(message)):
        data.arrays(GREY.astype(np.uint8), targets)


def test_what_was_understood_is_logged(caplog):
    with caplog.at_level(logging.WARNING):
        data.arrays((np.moveaxis(RGB, 3, 1) * 16).astype(np.uint16), np.eye(4)[CLASSES])
    assert [record.getMessage() for record in caplog.records][:3] == [
        "the channels of `inputs` come first, (3, 6, 7), and are moved to the end",
        "`inputs` are uint16 from 0 to 4080: 0 is black and 4095 white",
        "`targets` are one-hot: the class is the column of the 1",
    ]


def test_other_arrays_are_used_as_they_are():
    features = RNG.normal(size=(40, 6))
    maps = RNG.normal(size=(40, 6, 7, 5))
    for inputs, options in ((features, {}), (maps, {}), (GREY / 999, {"kind": "arrays"})):
        split = data.arrays(inputs, CLASSES, **options)
        assert split.train.decoding is None
        assert all(np.isin(part.inputs, inputs).all() for part in split.parts.values())


IMAGES = GREY.astype(np.uint8)
TRAIN, TEST = slice(0, 28), slice(28, 40)


def parts(*names):
    slices = (TRAIN, TEST)
    return {
        name: array[rows]
        for pair, rows in zip(names, slices, strict=True)
        for name, array in zip(pair, (IMAGES, CLASSES), strict=True)
    }


@pytest.mark.parametrize(
    ("arrays", "layout", "has_test"),
    [
        ({"inputs": IMAGES, "targets": CLASSES}, "inputs with targets", False),
        ({"X": IMAGES, "y": CLASSES}, "X with y", False),
        ({"images": IMAGES, "labels": CLASSES}, "images with labels", False),
        ({"data": IMAGES, "target": CLASSES}, "data with target", False),
        ({"arr_0": IMAGES, "arr_1": CLASSES}, "arr_0 with arr_1", False),
        ({"arr_0": CLASSES, "arr_1": IMAGES}, "arr_1 with arr_0", False),
        (parts(("x_train", "y_train"), ("x_test", "y_test")), "x_train with y_train; x_test with y_test", True),
        (parts(("X", "y"), ("X_test", "y_test")), "X with y; X_test with y_test", True),
        (parts(("trainX", "trainY"), ("testX", "testY")), "trainX with trainY; testX with testY", True),
        (parts(("Xtrain", "ytrain"), ("Xtest", "ytest")), "Xtrain with ytrain; Xtest with ytest", True),
        (
            parts(("train_images", "train_labels"), ("test_images", "test_labels")),
            "train_images with train_labels; test_images with test_labels",
            True,
        ),
        (
            parts(("train_set_x", "train_set_y"), ("test_set_x", "test_set_y")),
            "train_set_x with train_set_y; test_set_x with test_set_y",
            True,
        ),
    ],
)
def test_arrays_in_a_file_are_known_by_their_usual_names(tmp_path, arrays, layout, has_test):
    np.savez(tmp_path / "a.npz", **arrays)
    listing = data.listing(tmp_path / "a.npz")
    assert listing.layout == f"arrays {layout}; grey images of 6 x 7"
    assert listing.notes == ()
    np.testing.assert_array_equal(listing.examples.inputs.pixels, IMAGES)
    np.testing.assert_array_equal(listing.examples.targets, CLASSES)
    parts = None if listing.predefined_split is None else listing.predefined_split.tolist()
    assert parts == (["train"] * 28 + ["test"] * 12 if has_test else None)


def test_a_file_of_medmnist_has_its_three_parts(tmp_path):
    arrays = {}
    for name, rows in (("train", slice(0, 20)), ("val", slice(20, 28)), ("test", TEST)):
        arrays |= {f"{name}_images": RGB.astype(np.uint8)[rows], f"{name}_labels": CLASSES[rows, np.newaxis]}
    np.savez(tmp_path / "pathmnist.npz", **arrays)
    split = data.split(data.listing(tmp_path / "pathmnist.npz", image_size=(6, 7)))
    assert split.sizes == {"train": 20, "validation": 8, "test": 12}
    np.testing.assert_array_equal(split.test.inputs, RGB[TEST])
    np.testing.assert_array_equal(split.test.targets, CLASSES[TEST])


@pytest.mark.parametrize(
    ("arrays", "note"),
    [
        (
            {"images": IMAGES, "labels": CLASSES, "ids": CLASSES, "url": np.array("x")},
            "arrays that are not used: ids, url",
        ),
        (
            {"x_train": IMAGES, "y_train": CLASSES, "x_test": IMAGES},
            "left out x_test: the test part has inputs or targets only",
        ),
        (
            {"x_train": IMAGES, "y_train": CLASSES, "x_test": IMAGES, "y_test": np.full(40, -1)},
            "left out the test part: all its targets are -1, which means without a label",
        ),
    ],
)
def test_what_is_not_used_of_a_file_is_said(tmp_path, arrays, note):
    np.savez(tmp_path / "a.npz", **arrays)
    listing = data.listing(tmp_path / "a.npz")
    assert (len(listing), listing.notes) == (40, (note,))


def test_names_of_classes_are_read_beside_targets(tmp_path):
    names = np.array(["a", "b", "c", "d"])
    for extra in (
        {"targets": CLASSES, "labels": names},
        {"y": CLASSES, "class_names": names},
        {"labels": names[CLASSES]},
    ):
        np.savez(tmp_path / "a.npz", x=IMAGES, **extra)
        examples = data.listing(tmp_path / "a.npz").examples
        assert examples.labels == ("a", "b", "c", "d")
        np.testing.assert_array_equal(examples.targets, CLASSES)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (
            {"x": IMAGES, "images": IMAGES, "y": CLASSES},
            "must have one array for each role. Received: 'x' and 'images', both inputs",
        ),
        (
            {"x_train": IMAGES, "y_train": CLASSES[1:], "x_test": IMAGES, "y_test": CLASSES},
            "one of y_train for each of x_train",
        ),
        (
            {"x_train": IMAGES / 255, "y_train": CLASSES, "x_test": IMAGES, "y_test": CLASSES},
            "x_train is float64 of shape (40, 6, 7), and x_test is uint8 of shape (40, 6, 7)",
        ),
        ({"x": IMAGES, "y": CLASSES, "weigths": CLASSES}, "unknown array 'weigths'. Known:"),
        (
            {"arr_0": IMAGES, "arr_1": CLASSES, "arr_2": IMAGES},
            "must have arrays inputs and targets. Received: arr_0, arr_1, arr_2",
        ),
        (
            {"x": IMAGES.astype(object), "y": CLASSES},
            "the array 'x' of '{}' must hold numbers or texts. Received: Python objects",
        ),
        ({"x": np.array(["a film"] * 40), "y": CLASSES}, "must be images. Received: texts. Set data.kind=text."),
        ({}, "must have arrays inputs and targets. Received: no arrays."),
    ],
)
def test_a_file_that_can_be_read_in_two_ways_is_refused(tmp_path, arrays, message):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(InputError, match=re.escape(message.format(tmp_path / "a.npz"))):
        data.listing(tmp_path / "a.npz")


def test_other_files_of_arrays_are_refused_with_the_code_that_converts_them(tmp_path):
    for name in ("x.npy", "x.mat", "x.h5", "x.pkl"):
        (tmp_path / name).write_bytes(b"content")
        with pytest.raises(
            InputError, match=rf"arrays must be in an .npz file. Received: '.*{name}'.*np.savez\('data.npz'"
        ):
            data.listing(tmp_path / name)
    folder = tmp_path / "pairs"
    folder.mkdir()
    for name in ("X_train.npy", "y_train.npy"):
        np.save(folder / name, CLASSES)
    with pytest.raises(InputError, match=r"np.savez\('data.npz', X_train=np.load\('X_train.npy'\), y_train="):
        data.listing(folder)
    np.save(tmp_path / "renamed.npy", CLASSES)
    (tmp_path / "renamed.npy").rename(tmp_path / "renamed.npz")
    with pytest.raises(InputError, match="must be an .npz file. Received: an .npy file, which holds one array"):
        data.listing(tmp_path / "renamed.npz")
