"""Encoded files are decoded by TensorFlow operations as training decodes them with Pillow."""

import functools

import numpy as np
import odd_files
import pytest
import tensorflow as tf
from PIL import Image

from kerastrain import data
from kerastrain.decoding import Decoding
from kerastrain.export import decoded_images


@pytest.fixture(scope="module")
def picture():
    """A picture of 46 x 31 without symmetry, smooth enough for JPEG."""
    y, x = np.mgrid[:31, :46]
    pixels = np.stack([x * 5, y * 8, (x + 2 * y) * 2], axis=-1).astype(np.uint8)
    return Image.fromarray(pixels)


def exif(orientation, *, is_big=False):
    """EXIF data with an orientation, in either byte order, between two other tags."""
    order, start = ("big", b"MM\0\x2a") if is_big else ("little", b"II\x2a\0")

    def number(value, width):
        return value.to_bytes(width, order)

    tags = [(0x0100, 46), (0x0112, orientation), (0x0128, 2)]
    entries = b"".join(number(tag, 2) + number(3, 2) + number(1, 4) + number(value, 2) + b"\0\0" for tag, value in tags)
    return b"Exif\0\0" + start + number(8, 4) + number(len(tags), 2) + entries + bytes(4)


@functools.cache
def traced(image_size, decoding):
    return tf.function(lambda content: decoded_images.decoded_image(content, image_size, decoding))


def served(path, image_size, decoding=None):
    """What a traced function, as a served model has, makes of a file."""
    return traced(image_size, decoding)(tf.constant(path.read_bytes())).numpy()


@functools.cache
def traced_orientation():
    return tf.function(decoded_images.exif_orientation)


def orientation_of(content):
    return traced_orientation()(tf.constant(content)).numpy()


@pytest.mark.slow
def test_every_orientation_is_served_upright(tmp_path, picture):
    for orientation in (*range(1, 9), 0, 9, 65535):
        for name in ("a.jpg", "a.png", "a.webp"):
            for is_big in (False, True):
                path = tmp_path / name
                picture.save(path, exif=exif(orientation, is_big=is_big), quality=95)
                assert orientation_of(path.read_bytes()) == (orientation if orientation in range(1, 9) else 1)
                expected = data.load_image(path, (20, 20)).astype(float)
                np.testing.assert_allclose(served(path, (20, 20)), expected, atol=2.01, err_msg=f"{name} {orientation}")


@pytest.mark.slow
def test_exif_behind_other_segments_and_broken_exif_are_read_as_pillow_does(tmp_path, picture):
    path = tmp_path / "a.jpg"
    picture.save(path, icc_profile=bytes(70_000), comment=b"Exif\0\0II", exif=exif(6), quality=95)
    expected = data.load_image(path, (20, 20)).astype(float)
    np.testing.assert_allclose(served(path, (20, 20)), expected, atol=1.01)
    whole = path.read_bytes()
    at = whole.index(b"Exif\0\0II")
    for broken in (b"Exif\0\0", b"Exif\0\0XX\x2a\0", b"Exif\0\0II\x2a\0\xff\xff\xff\x7f", b"Exif\0\0II\x2a\0\0\0\0\0"):
        (tmp_path / "b.jpg").write_bytes(whole[:at] + broken + whole[at + len(broken) :])
        assert orientation_of((tmp_path / "b.jpg").read_bytes()) in (1, 6)
        assert served(tmp_path / "b.jpg", (20, 20)).shape == (20, 20, 3)
    for cut in (0, 1, 2, 3, 4, at, at + 9, at + 20):
        assert orientation_of(whole[:cut]) == 1


@pytest.mark.parametrize(
    "resize", ["pad", *(pytest.param(name, marks=pytest.mark.slow) for name in ("stretch", "crop"))]
)
@pytest.mark.slow
def test_each_way_to_resize_is_served_as_it_was_trained_on(tmp_path, picture, resize):
    for size in ((46, 31), (31, 46), (1, 40), (300, 3), (2, 2)):
        for orientation in (1, 6):
            picture.resize(size).save(tmp_path / "a.png", exif=exif(orientation))
            for image_size in ((24, 24), (10, 31)):
                expected = data.load_image(tmp_path / "a.png", image_size, Decoding(resize)).astype(float)
                actual = served(tmp_path / "a.png", image_size, Decoding(resize))
                np.testing.assert_allclose(actual, expected, atol=1.01, err_msg=f"{size} {orientation} {image_size}")


@pytest.mark.parametrize("pixel_range", [(100, 3000), (0, 65535)])
@pytest.mark.parametrize(("colour", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)])
@pytest.mark.slow
def test_sixteen_bits_are_served_with_the_range_of_the_model(tmp_path, pixel_range, colour, channels):
    values = np.random.default_rng(0).integers(0, 4096, (9, 7, channels))
    values[..., channels - 1 + channels % 2 :] = np.array([0, 65535, 30000])[np.arange(63).reshape(9, 7, 1) % 3]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    odd_files.write_png(tmp_path / "a.png", (7, 9), depth=16, colour=colour, pixels=rows)
    decoding = Decoding(pixel_range=pixel_range)
    expected = data.load_image(tmp_path / "a.png", (9, 7), decoding).astype(float)
    np.testing.assert_allclose(served(tmp_path / "a.png", (9, 7), decoding), expected, atol=1.01)
    if colour in (0, 2) and pixel_range != (0, 65535):
        black, white = pixel_range
        scaled = np.clip((values - black) / (white - black), 0, 1) * 255
        np.testing.assert_allclose(expected, np.broadcast_to(scaled, (9, 7, 3)), atol=0.51)
