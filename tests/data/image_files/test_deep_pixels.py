"""Image files of more than 8 bits: their scale is found from all of them, said, and used for every file."""

import logging
import re
import struct
import zlib

import numpy as np
import odd_files
import pytest
from PIL import Image

from kerastrain import data
from kerastrain.data.image_files import decoder
from kerastrain.decoding import Decoding
from kerastrain.errors import InputError

RNG = np.random.default_rng(0)


def write_grey(path, values):
    Image.fromarray(values.astype(np.uint16)).save(path)


def write_png(path, values):
    """A PNG of 16 bits with 1 to 4 channels, which Pillow cannot write."""
    colour = {1: 0, 2: 4, 3: 2, 4: 6}[values.shape[2]]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    odd_files.write_png(path, values.shape[1::-1], depth=16, colour=colour, pixels=rows)


def write_tiff(path, values, *, is_big=False, is_packed=False, is_planar=False):
    """A TIFF of RGB with 16 bits, which Pillow cannot write."""
    order = ">" if is_big else "<"
    content = values.astype(f"{order}u2").tobytes()
    content = zlib.compress(content) if is_packed else content
    height, width, channels = values.shape
    tags = [(256, width), (257, height), (259, 8 if is_packed else 1), (262, 2), (277, channels), (278, height)]
    tags += [(279, len(content)), (284, 2 if is_planar else 1)]
    bits_at = 8 + 2 + 12 * (len(tags) + 2) + 4
    entries = [(tag, 4, 1, value) for tag, value in tags]
    entries += [(258, 3, channels, bits_at), (273, 4, 1, bits_at + 2 * channels)]
    directory = b"".join(struct.pack(f"{order}HHII", *entry) for entry in sorted(entries))
    head = struct.pack(f"{order}2sHI", b"MM" if is_big else b"II", 42, 8) + struct.pack(f"{order}H", len(entries))
    path.write_bytes(head + directory + bytes(4) + struct.pack(f"{order}{channels}H", *[16] * channels) + content)


def folder_of(tmp_path, values, write=write_grey, suffix="png"):
    """A folder of two classes with a file for each of the values."""
    for number, picture in enumerate(values):
        path = tmp_path / f"class{number % 2}" / f"{number}.{suffix}"
        path.parent.mkdir(exist_ok=True)
        write(path, picture)
    return tmp_path


def read(split):
    """The images of a split by the number in their names."""
    images = {}
    for part in split.parts.values():
        for index, key in enumerate(part.keys):
            images[int(key.split("/")[1].split(".")[0])] = part.image(index)
    return np.array([images[number] for number in sorted(images)]).astype(float)


@pytest.mark.parametrize("cache", ["memory", "disk", "none"])
@pytest.mark.parametrize(("bits", "largest"), [(8, 200), (10, 900), (12, 3900), (14, 9000), (16, 40_000)])
def test_files_of_fewer_bits_than_sixteen_are_not_black(tmp_path, caplog, cache, bits, largest):
    values = RNG.integers(0, largest, (10, 6, 5))
    values[3, 2, 2:4] = 0, largest
    white = 2**bits - 1
    with caplog.at_level(logging.WARNING):
        split = data.image_folder(folder_of(tmp_path, values), image_size=(6, 5), cache=cache)
    expected = values >> 8 if bits == 16 else values / white * 255
    for _ in range(2):  # Decoded, and from the cache.
        np.testing.assert_allclose(read(split), np.repeat(expected[..., np.newaxis], 3, axis=3), atol=0.51)
    assert split.train.decoding == Decoding(pixel_range=(0, white))
    note = f"10 of 10 images have integers from 0 to {largest}: 0 is black and {white} white"
    assert [record.getMessage() for record in caplog.records] == [note]


def test_a_second_run_finds_the_same_scale_from_the_cache_of_the_scan(tmp_path, monkeypatch):
    folder = folder_of(tmp_path, RNG.integers(0, 4000, (10, 6, 5)))
    first = data.image_folder(folder, image_size=(6, 5))
    assert data.scan(data.listing(folder)).pixel_range == (0, 4095)
    monkeypatch.setattr(decoder, "examine", None)  # Reading a file again would raise.
    second = data.image_folder(folder, image_size=(6, 5))
    assert second.train.decoding == first.train.decoding == Decoding(pixel_range=(0, 4095))
    np.testing.assert_array_equal(read(first), read(second))


def test_a_scale_that_is_given_is_not_found_from_the_data(tmp_path):
    values = RNG.integers(0, 4000, (10, 6, 5))
    folder = folder_of(tmp_path, values)
    split = data.image_folder(folder, image_size=(6, 5), pixel_range=(0, 65535))
    np.testing.assert_array_equal(read(split)[..., 0], values >> 8)
    split = data.image_folder(folder, image_size=(6, 5), pixel_range=(1000, 3000))
    np.testing.assert_allclose(read(split)[..., 1], np.clip((values - 1000) / 2000, 0, 1) * 255, atol=0.51)
    with pytest.raises(
        InputError, match="the pixels of the picture must fit `pixel_range`, black 0 and white 255. Received"
    ):
        data.image_folder(folder, image_size=(6, 5), pixel_range=(0, 255))
    with pytest.raises(
        InputError, match="so every image would have one colour. Scale them alike, or change `pixel_range`"
    ):
        data.image_folder(folder, image_size=(6, 5), pixel_range=(0, 10**6))


def test_a_scale_that_cannot_be_known_is_refused_with_the_choices(tmp_path):
    folder = folder_of(tmp_path, RNG.integers(0, 17, (10, 6, 5)))
    message = (
        "it cannot be known which values of 10 image files of more than 8 bits, such as '.*0.png', are black and white. "
        r"Received: integers from 0 to 16. Choose `pixel_range` \(data.pixel_range\): \[0, 16\] if 16 is white; \[0, 255\]"
    )
    for call in (lambda: data.image_folder(folder, image_size=(6, 5)), lambda: data.scan(data.listing(folder))):
        with pytest.raises(InputError, match=message):
            call()


def test_images_of_8_bits_beside_others_stay_as_they_are(tmp_path):
    values = RNG.integers(0, 4000, (10, 6, 5))
    folder = folder_of(tmp_path, values)
    plain = RNG.integers(0, 256, (6, 5, 3), dtype=np.uint8)
    Image.fromarray(plain).save(folder / "class0" / "10.png")
    images = read(data.image_folder(folder, image_size=(6, 5)))
    np.testing.assert_array_equal(images[10], plain)
    np.testing.assert_allclose(images[:10, ..., 0], values / 4095 * 255, atol=0.51)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_every_bit_of_every_kind_of_png_is_read(tmp_path, channels):
    values = RNG.integers(0, 4096, (7, 9, channels))
    if channels % 2 == 0:
        values[..., -1] = 65535
    write_png(tmp_path / "a.png", values)
    image = data.load_image(tmp_path / "a.png", (7, 9), Decoding(pixel_range=(0, 4095)))
    colours = values[..., : channels - 1 + channels % 2]
    np.testing.assert_allclose(image.astype(float), np.broadcast_to(colours / 4095 * 255, (7, 9, 3)), atol=0.51)


@pytest.mark.parametrize("is_big", [False, True])
@pytest.mark.parametrize("is_packed", [False, True])
def test_every_bit_of_a_tiff_of_colours_is_read(tmp_path, is_big, is_packed):
    values = RNG.integers(0, 4096, (7, 9, 3))
    write_tiff(tmp_path / "a.tiff", values, is_big=is_big, is_packed=is_packed)
    image = data.load_image(tmp_path / "a.tiff", (7, 9), Decoding(pixel_range=(0, 4095)))
    np.testing.assert_allclose(image.astype(float), values / 4095 * 255, atol=0.51)


def test_a_tiff_of_separate_channels_is_refused(tmp_path):
    write_tiff(tmp_path / "a.tiff", RNG.integers(0, 4096, (7, 9, 3)), is_packed=True, is_planar=True)
    with pytest.raises(InputError, match="its channels of 16 bits are stored one after the other"):
        data.load_image(tmp_path / "a.tiff", (7, 9))


def test_one_dark_file_alone_is_refused_and_a_bright_one_is_read(tmp_path):
    write_grey(tmp_path / "dark.png", np.full((4, 4), 3900))
    message = "its pixels of 16 bits reach 3900, and one file does not tell whether white is 4095 or 65535. Choose"
    with pytest.raises(InputError, match=message):
        data.load_image(tmp_path / "dark.png", (4, 4))
    write_grey(tmp_path / "bright.png", np.full((4, 4), 39_000))
    assert (data.load_image(tmp_path / "bright.png", (4, 4)) == 39_000 >> 8).all()


@pytest.mark.parametrize(("scale", "offset", "pixel_range"), [(1, 0, (0, 1)), (2, -1, (-1, 1)), (255, 0, (0, 255))])
def test_files_of_floats_are_scaled_as_arrays_are(tmp_path, scale, offset, pixel_range):
    values = RNG.random((10, 6, 5)).astype(np.float32)
    values[0, 0, :2] = 0, 1
    write = lambda path, picture: Image.fromarray(picture).save(path)
    split = data.image_folder(folder_of(tmp_path, values * scale + offset, write, "tiff"), image_size=(6, 5))
    np.testing.assert_allclose(read(split)[..., 0], values * 255, atol=0.51)
    assert split.train.decoding.pixel_range == pixel_range


def test_a_file_of_floats_for_a_model_of_integers_is_refused_and_not_black(tmp_path):
    Image.fromarray(RNG.random((6, 5)).astype(np.float32)).save(tmp_path / "a.tiff")
    with pytest.raises(InputError, match="must fit `pixel_range`, black 0 and white 4095. Received: floats from 0"):
        data.load_image(tmp_path / "a.tiff", (6, 5), Decoding(pixel_range=(0, 4095)))


def test_files_of_floats_and_of_integers_are_not_mixed(tmp_path):
    folder = folder_of(tmp_path, RNG.integers(0, 4000, (10, 6, 5)))
    Image.fromarray(RNG.random((6, 5)).astype(np.float32)).save(folder / "class0" / "10.tiff")
    with pytest.raises(
        InputError, match=re.escape("images of more than 8 bits must be integers or floats. Received: both")
    ):
        data.image_folder(folder, image_size=(6, 5))


def test_a_sharded_set_finds_the_scale_of_its_files(tmp_path):
    values = RNG.integers(0, 4000, (10, 6, 5))
    (tmp_path / "files").mkdir()
    split = data.image_folder(folder_of(tmp_path / "files", values), image_size=(6, 5))
    data.write_tfrecords(split, tmp_path / "set", shards=1)
    again = data.tfrecord_set(tmp_path / "set", image_size=(6, 5))
    assert again.train.decoding == split.train.decoding
    brightest = max(part.read(np.arange(len(part))).max() for part in again.parts.values())
    assert brightest == round(values.max() * 255 / 4095)
