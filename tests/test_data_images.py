import numpy as np
import pytest
from PIL import Image

from kerastrain.data import load_image
from kerastrain.errors import InputError

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


def test_cmyk_jpeg_becomes_rgb(tmp_path):
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "picture.jpg")
    np.testing.assert_allclose(load_image(tmp_path / "picture.jpg", (8, 8))[4, 4], RED, atol=3)


@pytest.mark.parametrize(("orientation", "transpose"), [(2, "FLIP_LEFT_RIGHT"), (3, "ROTATE_180"), (8, "ROTATE_90")])
def test_exif_orientation_is_honoured(tmp_path, orientation, transpose):
    exif = Image.Exif()
    exif[0x0112] = orientation
    halves().save(tmp_path / "picture.png", exif=exif)
    upright = halves().transpose(Image.Transpose[transpose]).resize((20, 20), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(load_image(tmp_path / "picture.png", (20, 20)), upright)


def test_first_frame_is_read_when_a_gif_moves(tmp_path):
    halves(RED, RED).save(tmp_path / "moving.gif", save_all=True, append_images=[halves(GREEN, GREEN)])
    assert (load_image(tmp_path / "moving.gif", (4, 4)) == RED).all()


def test_large_jpeg_keeps_the_picture_when_decoded_small(tmp_path):
    ramp = np.tile(np.linspace(0, 255, 2000), (2000, 1)).astype(np.uint8)
    Image.fromarray(ramp).save(tmp_path / "large.jpg", quality=95)
    expected = np.tile((np.arange(20) + 0.5) * 255 / 20, (20, 1))
    np.testing.assert_allclose(load_image(tmp_path / "large.jpg", (20, 20))[..., 0], expected, atol=3)


def write_truncated(path):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:3000])


@pytest.mark.parametrize(
    ("name", "write", "reason"),
    [
        ("empty.jpg", lambda path: path.write_bytes(b""), "the file is empty"),
        ("notes.jpg", lambda path: path.write_text("no picture"), "it is none of BMP, GIF, JPEG"),
        ("cut.jpg", write_truncated, "truncated"),
        ("cut.png", write_truncated, "image"),
        ("folder.jpg", lambda path: path.mkdir(), "it is a folder"),
        ("float.tiff", lambda path: Image.new("F", (4, 4), 0.5).save(path), "floating-point"),
    ],
)
def test_input_error_names_the_file_when_it_is_no_image(tmp_path, name, write, reason):
    write(tmp_path / name)
    with pytest.raises(InputError, match=rf"cannot read .*{name}' as an image: .*{reason}"):
        load_image(tmp_path / name, (8, 8))


def test_file_not_found_names_the_file_when_it_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match="no image at .*gone.jpg': there is no such file"):
        load_image(tmp_path / "gone.jpg", (8, 8))
