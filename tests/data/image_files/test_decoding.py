"""What decides how image files are decoded: the way to resize, the limit on pixels, and the formats that can be read."""

import re

import numpy as np
import odd_files
import pytest
from PIL import Image, features

from kerastrain import data
from kerastrain.data.image_files import file_signatures, pictures, pixel_cache, resizing
from kerastrain.data.image_files.stores import ArrayImages, ImageFiles
from kerastrain.decoding import Decoding
from kerastrain.errors import InputError

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def stripes(size=(60, 20)):
    """Red, green and blue, from left to right."""
    image = Image.new("RGB", size)
    for number, colour in enumerate((RED, GREEN, BLUE)):
        image.paste(colour, (number * size[0] // 3, 0, (number + 1) * size[0] // 3, size[1]))
    return image


def test_stretch_pad_and_crop_of_a_wide_and_a_tall_picture(tmp_path):
    stripes().save(tmp_path / "wide.png")
    stripes().transpose(Image.Transpose.ROTATE_270).save(tmp_path / "tall.png")
    for name, turn in (("wide.png", lambda image: image), ("tall.png", lambda image: image.swapaxes(0, 1))):
        stretch, pad, crop = (
            turn(data.load_image(tmp_path / name, (30, 30), Decoding(way))) for way in ("stretch", "pad", "crop")
        )
        assert (stretch[:, [2, 15, 27]] == [RED, GREEN, BLUE]).all()
        assert (pad[:10] == 0).all()
        assert (pad[20:] == 0).all()
        assert (pad[10:20, [2, 15, 27]] == [RED, GREEN, BLUE]).all()
        assert (crop == GREEN).all()


@pytest.mark.parametrize(
    ("size", "to", "cropped", "padded"),
    [
        ((640, 480), (224, 224), (480, 480), (224, 168)),
        ((480, 640), (224, 224), (480, 480), (168, 224)),
        ((100, 100), (50, 100), (50, 100), (50, 50)),
        ((1, 5000), (32, 32), (1, 1), (1, 32)),
        ((5000, 1), (32, 32), (1, 1), (32, 1)),
        ((3, 2), (300, 200), (3, 2), (300, 200)),
        ((1, 1), (7, 9), (1, 1), (7, 7)),
    ],
)
def test_sizes_keep_the_aspect_ratio_and_are_never_nothing(tmp_path, size, to, cropped, padded):
    assert resizing.cropped_size(*size, *to) == cropped
    assert resizing.padded_size(*size, *to) == padded
    Image.new("RGB", size, GREEN).save(tmp_path / "a.png")
    for way in ("stretch", "pad", "crop"):
        image = data.load_image(tmp_path / "a.png", to[::-1], Decoding(way))
        assert (image == GREEN).all(axis=2).sum() == (np.prod(padded) if way == "pad" else np.prod(to))


@pytest.mark.parametrize("way", ["pad", "crop"])
def test_a_large_jpeg_that_is_decoded_small_keeps_its_aspect_ratio(tmp_path, way):
    exif = Image.Exif()
    exif[0x0112] = 6
    stripes((3003, 1001)).save(tmp_path / "a.jpg", quality=95, exif=exif)
    stripes((3003, 1001)).transpose(Image.Transpose.ROTATE_270).save(tmp_path / "upright.png")
    jpeg, png = (data.load_image(tmp_path / name, (32, 32), Decoding(way)) for name in ("a.jpg", "upright.png"))
    assert np.abs(jpeg.astype(int) - png).mean() < 6


def test_every_source_resizes_alike(tmp_path):
    wide, files = np.asarray(stripes((12, 4))), tmp_path / "files"
    for number in range(8):
        path = files / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.roll(wide, number, axis=0) // (number + 1)).save(path)
    (tmp_path / "table.csv").write_text(
        "path,label\n" + "".join(f"files/{'ab'[n % 2]}/{n}.png,{'ab'[n % 2]}\n" for n in range(8))
    )
    options = {"image_size": (6, 6), "resize": "pad", "validation_fraction": 0.25}
    folder = data.image_folder(files, **options)
    assert folder.train.decoding == Decoding("pad")
    data.write_tfrecords(data.listing(files), tmp_path / "set", shards=1)
    arrays = np.stack([np.asarray(Image.open(path)) for path in sorted(files.rglob("*.png"))])
    np.savez(tmp_path / "a.npz", x=arrays, y=np.repeat([0, 1], 4))
    others = [
        data.manifest(tmp_path / "table.csv", **options),
        data.tfrecord_set(tmp_path / "set", **options),
        data.split(
            data.listing(tmp_path / "a.npz", image_size=(6, 6), decoding=Decoding("pad")), validation_fraction=0.25
        ),
        data.arrays(arrays, np.repeat([0, 1], 4), **options),
    ]

    def images(split):
        parts = split.parts.values()
        return {image.tobytes() for part in parts for image in part.read(np.arange(len(part)))}

    assert len(images(folder)) == 8
    for other in others:
        assert images(other) == images(folder)
        assert other.train.decoding == Decoding("pad")


def test_each_way_has_pixels_of_its_own_in_the_cache(tmp_path):
    stripes().save(tmp_path / "a.png")
    for way in ("stretch", "pad", "crop", "pad"):
        store = pixel_cache.cache(ImageFiles([str(tmp_path / "a.png")], (30, 30), Decoding(way)), "disk")
        expected = data.load_image(tmp_path / "a.png", (30, 30), Decoding(way))
        np.testing.assert_array_equal(store[np.array([0])][0], expected)
        assert store.decoding == Decoding(way)


def test_arrays_are_resized_in_the_same_way(tmp_path):
    stripes().save(tmp_path / "a.png")
    for way in ("stretch", "pad", "crop"):
        image = ArrayImages(np.asarray(stripes())[np.newaxis], (30, 30), Decoding(way))[np.array([0])][0]
        np.testing.assert_array_equal(image, data.load_image(tmp_path / "a.png", (30, 30), Decoding(way)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"resize": "fit"}, "unknown `resize` 'fit'. Known: crop, pad, stretch."),
        ({"largest_megapixels": 0}, "`largest_megapixels` must be above 0. Received: 0."),
        ({"pixel_range": (1, 0)}, "`pixel_range` must be two finite numbers, black and white, the smaller one first."),
    ],
)
def test_a_decoding_refuses_what_cannot_be(arguments, message):
    with pytest.raises(InputError, match=re.escape(message)):
        Decoding(**arguments)
    with pytest.raises(InputError, match=re.escape(message)):
        data.digits(image_size=(8, 8), **arguments)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_the_limit_on_pixels_can_be_raised_and_lowered(tmp_path):
    odd_files.write_png(tmp_path / "large.png", (20_000, 9_500))
    before = Image.MAX_IMAGE_PIXELS
    with pytest.raises(
        InputError, match="more than 89.48 megapixels. If the memory suffices, raise `largest_megapixels`"
    ):
        data.load_image(tmp_path / "large.png", (4, 4))
    with pytest.raises(InputError, match=r"its PNG data end before|its PNG data are damaged|rest is not one"):
        data.load_image(
            tmp_path / "large.png", (4, 4), Decoding(largest_megapixels=200)
        )  # Its picture is not in the file.
    stripes().save(tmp_path / "small.png")
    with pytest.raises(InputError, match="more than 0.001 megapixels"):
        data.load_image(tmp_path / "small.png", (4, 4), Decoding(largest_megapixels=0.001))
    assert before == Image.MAX_IMAGE_PIXELS


@pytest.mark.slow
@pytest.mark.parametrize("way", ["stretch", "pad", "crop"])
def test_a_picture_of_190_megapixels_is_read(tmp_path, way):
    Image.new("L", (20_000, 9_500), 200).save(tmp_path / "large.png", compress_level=1)
    decoding = Decoding(way, largest_megapixels=190)
    assert data.load_image(tmp_path / "large.png", (8, 8), decoding).max() == 200


@pytest.mark.skipif(not pictures.reads("AVIF"), reason="Pillow below 11.3")
def test_avif_is_read_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    stripes().save(tmp_path / "a.jpg", "AVIF", quality=95, exif=exif)
    image = data.load_image(tmp_path / "a.jpg", (60, 20))
    np.testing.assert_allclose(image[[5, 30, 55], 10].astype(int), [RED, GREEN, BLUE], atol=30)


def test_avif_without_its_decoder_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(features, "modules", {})
    (tmp_path / "a.avif").write_bytes(b"\0\0\0\x1cftypavif" + bytes(40))
    with pytest.raises(
        InputError, match="a.avif' as an image: it is an AVIF image, which Pillow reads from 11.3 on: pip install"
    ):
        data.load_image(tmp_path / "a.avif", (4, 4))


def test_heic_is_read_upright(tmp_path):
    heif = pytest.importorskip("pillow_heif")
    heif.from_pillow(stripes()).save(tmp_path / "IMG_1.HEIC", quality=95)
    image = data.load_image(tmp_path / "IMG_1.HEIC", (20, 60))
    np.testing.assert_allclose(image[10, [5, 30, 55]].astype(int), [RED, GREEN, BLUE], atol=30)


@pytest.mark.parametrize("head", [b"\0\0\0\x18ftypheic", b"\0\0\0\x18ftypmif1\0\0\0\0heic", b"\0\0\0\x18ftypmsf1"])
def test_heic_without_its_extra_is_refused_by_name(tmp_path, monkeypatch, head):
    monkeypatch.setattr(pictures, "_registered_heif", lambda: False)
    (tmp_path / "IMG_1.HEIC").write_bytes(head + bytes(40))
    message = r"IMG_1.HEIC' as an image: it is a HEIC image, which needs pillow-heif: pip install 'kerastrain\[heic\]'"
    with pytest.raises(InputError, match=message):
        data.load_image(tmp_path / "IMG_1.HEIC", (4, 4))


def test_a_listing_leaves_out_what_needs_a_missing_extra_so_that_check_says_so(tmp_path, monkeypatch):
    for number in range(8):
        path = tmp_path / "ab"[number % 2] / f"{number}.heic"
        path.parent.mkdir(exist_ok=True)
        if number < 2:
            path.write_bytes(b"\0\0\0\x18ftypheic" + bytes(40))
        else:
            stripes().save(path, "JPEG")  # Only the content counts.
    assert len(data.listing(tmp_path)) == 8 or not pictures.reads("HEIF")
    monkeypatch.setattr(pictures, "_registered_heif", lambda: False)
    listing = data.listing(tmp_path)
    reason = "it is a HEIC image, which needs pillow-heif: pip install 'kerastrain[heic]'"
    assert [(file.path, file.reason) for file in listing.skipped] == [
        (str(tmp_path / f"{'ab'[n]}/{n}.heic"), reason) for n in (0, 1)
    ]
    assert len(listing) == 6
    message = re.escape("pip install 'kerastrain[heic]'")
    with pytest.raises(InputError, match=message):
        data.split(listing, unreadable_fraction=0.1)


def test_the_brand_of_the_codec_counts_if_it_is_not_the_first():
    assert file_signatures.image_format(b"\0\0\0\x1cftypmif1\0\0\0\0miafavif") == "AVIF"
    assert file_signatures.image_format(b"\0\0\0\x1cftypmif1\0\0\0\0miafheic") == "HEIF"
    assert file_signatures.image_format(b"\0\0\0\x1cftypisom\0\0\0\0mp41avc1") is None
    assert file_signatures.image_format(b"\xff\xff\xff\xffftypisom") is None
