import os
import re
import tempfile
from pathlib import Path

import numpy as np
import odd_files
import pytest
from PIL import Image

from kerastrain.data import load_image
from kerastrain.data.image_files import decoder

RED, GREEN = (255, 0, 0), (0, 255, 0)


def halves(left=RED, right=GREEN, size=(40, 20)):
    image = Image.new("RGB", size, left)
    image.paste(right, (size[0] // 2, 0, *size))
    return image


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp", "gif", "webp", "tiff", "ppm"])
def test_every_format_gives_the_same_picture(tmp_path, suffix):
    halves().save(tmp_path / f"picture.{suffix}")
    image = load_image(tmp_path / f"picture.{suffix}", (10, 30))
    assert (image.shape, image.dtype) == ((10, 30, 3), np.uint8)
    np.testing.assert_allclose(image[:, 5], np.tile(RED, (10, 1)), atol=40)
    np.testing.assert_allclose(image[:, 25], np.tile(GREEN, (10, 1)), atol=40)


@pytest.mark.parametrize(
    ("mode", "value", "expected"),
    [
        ("L", 100, (100, 100, 100)),
        ("1", 1, (255, 255, 255)),
        ("I;16", 257 * 100, (100, 100, 100)),
        ("I;16", 65535, (255, 255, 255)),
        ("I;16", 0, (0, 0, 0)),
        ("LA", (100, 255), (100, 100, 100)),
        ("RGBA", (9, 9, 9, 0), (255, 255, 255)),
        ("RGBA", (200, 0, 0, 255), (200, 0, 0)),
    ],
)
def test_pixels_become_rgb_when_the_mode_is_another(tmp_path, mode, value, expected):
    Image.new(mode, (6, 6), value).save(tmp_path / "picture.png")
    assert (load_image(tmp_path / "picture.png", (3, 3)) == expected).all()


def test_sixteen_bits_are_scaled_whatever_the_format_and_the_byte_order(tmp_path):
    ramp = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    Image.fromarray(ramp).save(tmp_path / "ramp.png")
    Image.fromarray(ramp).save(tmp_path / "ramp.tiff")
    (tmp_path / "big.pgm").write_bytes(b"P5\n16 16\n65535\n" + ramp.astype(">u2").tobytes())
    for path in tmp_path.iterdir():
        np.testing.assert_array_equal(load_image(path, (16, 16))[..., 0], ramp // 256)


def test_sixteen_bits_of_colour_keep_their_upper_half(tmp_path):
    colours = np.random.default_rng(0).integers(0, 65536, (8, 8, 3))
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in colours)
    odd_files.write_png(tmp_path / "colours.png", (8, 8), depth=16, colour=2, pixels=rows)
    np.testing.assert_array_equal(load_image(tmp_path / "colours.png", (8, 8)), colours // 256)


@pytest.mark.parametrize(
    ("orientation", "upright"),
    [
        (1, lambda pixels: pixels),
        (2, lambda pixels: pixels[:, ::-1]),
        (3, lambda pixels: pixels[::-1, ::-1]),
        (4, lambda pixels: pixels[::-1]),
        (5, lambda pixels: pixels.swapaxes(0, 1)),
        (6, lambda pixels: pixels[::-1].swapaxes(0, 1)),
        (7, lambda pixels: pixels[::-1, ::-1].swapaxes(0, 1)),
        (8, lambda pixels: pixels.swapaxes(0, 1)[::-1]),
        (9, lambda pixels: pixels),
    ],
)
def test_exif_orientation_is_honoured(tmp_path, orientation, upright):
    pixels = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    for name in ("picture.png", "picture.tiff", "picture.webp"):
        Image.fromarray(pixels).save(tmp_path / name, exif=exif, lossless=True)
        expected = upright(pixels)
        np.testing.assert_array_equal(load_image(tmp_path / name, expected.shape[:2]), expected)


def test_large_jpeg_keeps_the_picture_when_decoded_small(tmp_path):
    ramp = np.tile(np.linspace(0, 255, 2000), (2000, 1)).astype(np.uint8)
    Image.fromarray(ramp).save(tmp_path / "large.jpg", quality=95)
    expected = np.tile((np.arange(20) + 0.5) * 255 / 20, (20, 1))
    np.testing.assert_allclose(load_image(tmp_path / "large.jpg", (20, 20))[..., 0], expected, atol=3)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("name", odd_files.BAD)
def test_image_fault_tells_what_a_bad_file_is(tmp_path, name):
    write, kind, reason = odd_files.BAD[name]
    write(tmp_path / name)
    with pytest.raises(decoder.ImageFault, match=rf"cannot read .*{name}' as an image: .*{re.escape(reason)}") as error:
        load_image(tmp_path / name, (8, 8))
    assert error.value.kind == kind


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("name", odd_files.ODD)
def test_odd_files_show_their_colour(tmp_path, name):
    write, colour = odd_files.ODD[name]
    write(tmp_path / name)
    image = load_image(tmp_path / name, (4, 6))
    assert (image.shape, image.dtype) == ((4, 6, 3), np.uint8)
    np.testing.assert_allclose(image.astype(int), np.tile(colour, (4, 6, 1)), atol=4 if "jpg" in name else 1)


def test_image_fault_tells_that_permission_is_missing():
    folder = Path(tempfile.mkdtemp())  # Only the owner may enter pytest's folders.
    folder.chmod(0o755)
    halves().save(folder / "secret.png")
    (folder / "secret.png").chmod(0)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)  # nobody; root may read everything
    try:
        with pytest.raises(decoder.ImageFault, match="secret.png' as an image: permission denied"):
            load_image(folder / "secret.png", (8, 8))
    finally:
        os.seteuid(user)
        (folder / "secret.png").unlink()
        folder.rmdir()


def test_file_not_found_names_the_file_when_it_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match="no image at .*gone.jpg': there is no such file"):
        load_image(tmp_path / "gone.jpg", (8, 8))
