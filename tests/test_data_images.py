import os
import socket
import tempfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kerastrain.data import images, load_image

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
        ("I;16", 255, (0, 0, 0)),
        ("LA", (100, 255), (100, 100, 100)),
        ("RGBA", (9, 9, 9, 0), (255, 255, 255)),
        ("RGBA", (200, 0, 0, 255), (200, 0, 0)),
    ],
)
def test_pixels_become_rgb_when_the_mode_is_another(tmp_path, mode, value, expected):
    Image.new(mode, (6, 6), value).save(tmp_path / "picture.png")
    assert (load_image(tmp_path / "picture.png", (3, 3)) == expected).all()


def test_palette_with_transparent_colour_shows_white(tmp_path):
    image = Image.new("P", (4, 4), 0)
    image.putpalette([10, 20, 30] * 256)
    image.save(tmp_path / "picture.png", transparency=0)
    assert (load_image(tmp_path / "picture.png", (4, 4)) == 255).all()


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
    write_png(tmp_path / "colours.png", (8, 8), depth=16, colour=2, content=rows)
    np.testing.assert_array_equal(load_image(tmp_path / "colours.png", (8, 8)), colours // 256)


def test_half_transparent_pixels_show_half_of_the_white_behind(tmp_path):
    Image.new("RGBA", (4, 4), (200, 0, 100, 51)).save(tmp_path / "picture.png")
    expected = 0.2 * np.array([200, 0, 100]) + 0.8 * 255
    np.testing.assert_allclose(load_image(tmp_path / "picture.png", (4, 4))[0, 0], expected, atol=1)


def test_cmyk_jpeg_becomes_rgb(tmp_path):
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "picture.jpg")
    np.testing.assert_allclose(load_image(tmp_path / "picture.jpg", (8, 8))[4, 4], RED, atol=3)


def test_ycck_jpeg_as_photoshop_writes_it_becomes_rgb(tmp_path):
    # Photoshop stores inverted inks, the first three of them as luma and two differences of colour (transform 2).
    wanted = np.array([180, 90, 30])
    inks = 255.0 - wanted
    luma = inks @ [0.299, 0.587, 0.114]
    stored = [luma, 128 + 0.564 * (inks[2] - luma), 128 + 0.713 * (inks[0] - luma), 255]
    Image.new("CMYK", (8, 8), tuple(255 - round(value) for value in stored)).save(tmp_path / "picture.jpg", quality=100)
    content = (tmp_path / "picture.jpg").read_bytes()
    place = content.index(b"Adobe") + 11
    assert content[place] == 0
    (tmp_path / "picture.jpg").write_bytes(content[:place] + b"\2" + content[place + 1 :])
    np.testing.assert_allclose(load_image(tmp_path / "picture.jpg", (8, 8))[4, 4], wanted, atol=4)


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


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_broken_exif_leaves_the_picture_as_it_lies(tmp_path):
    halves().save(tmp_path / "picture.jpg", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\1\x12\0\3\0\0")
    assert load_image(tmp_path / "picture.jpg", (20, 40))[10, 5, 0] > 200


def test_first_frame_is_read_when_a_gif_moves(tmp_path):
    halves(RED, RED).save(tmp_path / "moving.gif", save_all=True, append_images=[halves(GREEN, GREEN)])
    assert (load_image(tmp_path / "moving.gif", (4, 4)) == RED).all()


def test_first_picture_is_read_when_a_file_holds_several(tmp_path):
    several = {"save_all": True, "append_images": [halves(GREEN, GREEN)]}
    for name, options in (("moving.webp", {"lossless": True}), ("pages.tiff", {}), ("stereo.mpo", {"quality": 95})):
        halves(RED, RED).save(tmp_path / name, **several, **options)
        np.testing.assert_allclose(load_image(tmp_path / name, (4, 4)), np.tile(RED, (4, 4, 1)), atol=3)


@pytest.mark.parametrize("name", ["picture.jpg", "picture.PNG", "picture", "ein Bild\n<b>.txt", "=1+1.gif"])
def test_the_name_of_a_file_says_nothing(tmp_path, name):
    halves(RED, RED).save(tmp_path / name, format="PNG")
    assert (load_image(tmp_path / name, (4, 4)) == RED).all()


def test_a_name_that_is_no_unicode_is_read(tmp_path):
    path = os.path.join(os.fsencode(tmp_path), b"caf\xe9.png")
    halves(RED, RED).save(path, format="PNG")
    assert (load_image(os.fsdecode(path), (4, 4)) == RED).all()


def test_large_jpeg_keeps_the_picture_when_decoded_small(tmp_path):
    ramp = np.tile(np.linspace(0, 255, 2000), (2000, 1)).astype(np.uint8)
    Image.fromarray(ramp).save(tmp_path / "large.jpg", quality=95)
    expected = np.tile((np.arange(20) + 0.5) * 255 / 20, (20, 1))
    np.testing.assert_allclose(load_image(tmp_path / "large.jpg", (20, 20))[..., 0], expected, atol=3)


def write_truncated(path, **options):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path, **options)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def write_png(path, size, *, depth=8, colour=0, content=b""):
    """A PNG file of one image chunk, whose header may promise more than there is."""

    def chunk(name, body):
        return len(body).to_bytes(4, "big") + name + body + zlib.crc32(name + body).to_bytes(4, "big")

    header = b"".join(side.to_bytes(4, "big") for side in size) + bytes([depth, colour, 0, 0, 0])
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(content)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)


def write_damaged(path):
    halves().save(path)
    content = path.read_bytes()
    place = content.index(b"IDAT") + 6
    path.write_bytes(content[:place] + bytes(20) + content[place + 20 :])


def open_socket(path):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize(
    ("name", "write", "kind", "reason"),
    [
        ("empty.jpg", lambda path: path.write_bytes(b""), "empty", "the file is empty"),
        ("zeros.jpg", lambda path: path.write_bytes(bytes(5000)), "no image", "it is zeros only"),
        ("notes.jpg", lambda path: path.write_text("no picture"), "no image", "it is none of BMP, GIF, JPEG"),
        ("page.jpg", lambda path: path.write_text("\ufeff\n<!DOCTYPE html>"), "no image", r"a web page \(HTML\)"),
        ("logo.png", lambda path: path.write_text("<?xml version='1.0'?><svg/>"), "no image", "an SVG drawing"),
        ("feed.png", lambda path: path.write_text("<?xml version='1.0'?><rss/>"), "no image", "an XML document"),
        ("photos.png", lambda path: path.write_bytes(b"PK\3\4 and more"), "no image", "a ZIP archive"),
        ("paper.png", lambda path: path.write_bytes(b"%PDF-1.7"), "no image", "a PDF document"),
        ("phone.jpg", lambda path: path.write_bytes(b"\0\0\0\x18ftypheic"), "no image", "a HEIC image"),
        ("film.jpg", lambda path: path.write_bytes(b"\0\0\0\x18ftypisom"), "no image", "a video"),
        ("cut.jpg", write_truncated, "truncated", "its JPEG data end before the picture does"),
        ("late.jpg", lambda path: write_truncated(path, progressive=True), "truncated", "its JPEG data end"),
        ("cut.png", write_truncated, "truncated", "its PNG data end"),
        ("cut.gif", write_truncated, "truncated", "its GIF data end"),
        ("cut.bmp", write_truncated, "truncated", "its BMP data end"),
        ("cut.webp", write_truncated, "truncated", "its WEBP data end"),
        (
            "head.png",
            lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n"),
            "damaged",
            "begins like a PNG file and does not",
        ),
        ("scratched.png", write_damaged, "damaged", r"its PNG data are damaged \(.+\)"),
        ("bomb.png", lambda path: write_png(path, (60000, 60000)), "too large", "more than 89,478,485 pixels"),
        ("small_bomb.png", lambda path: write_png(path, (10000, 10000)), "too large", "more than 89,478,485 pixels"),
        ("film.png", lambda path: os.truncate(write_head(path), 2**30 + 1), "too large", "has 1,073,741,825 bytes"),
        ("float.tiff", lambda path: Image.new("F", (4, 4), 0.5).save(path), "unsupported", "floating-point"),
        ("counts.tiff", lambda path: Image.new("I", (4, 4), 70000).save(path), "unsupported", "outside of 0 to 65535"),
        ("lab.tiff", lambda path: Image.new("LAB", (4, 4)).save(path), "unsupported", "CIELAB"),
        ("folder.jpg", lambda path: path.mkdir(), "unreadable", "it is a folder"),
        (
            "lost.jpg",
            lambda path: path.symlink_to("gone.jpg"),
            "unreadable",
            "a link to 'gone.jpg', which is not there",
        ),
        ("ring.jpg", lambda path: path.symlink_to(path), "unreadable", "a link that leads back to itself"),
        ("pipe.jpg", lambda path: os.mkfifo(path), "unreadable", "it is a pipe, a socket or a device"),
        ("socket.jpg", open_socket, "unreadable", "it is a pipe, a socket or a device"),
        ("device.jpg", lambda path: path.symlink_to("/dev/zero"), "unreadable", "it is a pipe, a socket or a device"),
    ],
)
def test_image_fault_tells_what_the_file_is_when_it_is_no_image(tmp_path, name, write, kind, reason):
    write(tmp_path / name)
    with pytest.raises(images.ImageFault, match=rf"cannot read .*{name}' as an image: .*{reason}") as fault:
        load_image(tmp_path / name, (8, 8))
    assert fault.value.kind == kind


def write_head(path):
    path.write_bytes(b"\x89PNG\r\n\x1a\n")
    return path


def test_image_fault_tells_that_permission_is_missing():
    folder = Path(tempfile.mkdtemp())  # pytest's own folders are closed to everyone but their owner
    folder.chmod(0o755)
    halves().save(folder / "secret.png")
    (folder / "secret.png").chmod(0)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)  # nobody, as root may read everything
    try:
        with pytest.raises(images.ImageFault, match="secret.png' as an image: permission denied"):
            load_image(folder / "secret.png", (8, 8))
    finally:
        os.seteuid(user)
        (folder / "secret.png").unlink()
        folder.rmdir()


def test_file_not_found_names_the_file_when_it_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match="no image at .*gone.jpg': there is no such file"):
        load_image(tmp_path / "gone.jpg", (8, 8))
