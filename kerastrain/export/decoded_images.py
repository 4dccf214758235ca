"""Decodes image files with TensorFlow operations only, as `data.load_image` does with Pillow.

Takes string tensors inside a traced function, returns image tensors. Must not run Python when the exported file is used.
"""

from collections.abc import Callable

import tensorflow as tf

from kerastrain.decoding import Decoding

_WHOLE = (0.0, 65535.0)  # Of 16 bits, of which `data.load_image` keeps the upper 8.
_ORIENTATION, _BYTE, _SHORT, _LONG = 0x0112, 1, 3, 4  # A tag and types of EXIF.
_MOST_TAGS = 1000

# What turns a picture upright, by its EXIF orientation from 1 to 8.
_UPRIGHT = (
    lambda image: image,
    tf.image.flip_left_right,
    lambda image: tf.image.rot90(image, 2),
    tf.image.flip_up_down,
    tf.image.transpose,
    lambda image: tf.image.rot90(image, 3),
    lambda image: tf.image.transpose(tf.image.rot90(image, 2)),
    lambda image: tf.image.rot90(image, 1),
)


def decoded_image(content: tf.Tensor, image_size: tuple[int, int], decoding: Decoding | None = None) -> tf.Tensor:
    """The image in an encoded file; within 1 of `data.load_image`, of 255.

    Decodes JPEG, PNG, GIF (the first frame), BMP, and WebP without transparency or animation, upright by their EXIF
    orientation. There is one difference from `load_image`: it decodes JPEG files at full size, while `load_image` decodes
    files far larger than the input at a reduced size; the difference is then 1.7 on average.

    Args:
        content: string scalar tensor, the bytes of an image file.
        image_size: (height, width) in pixels that the image is resized to.
        decoding: Decoding, how it is resized and how 16 bits become 8; None for its defaults.

    Returns:
        float32 tensor (height, width, 3) in [0, 255].
    """
    decoding = decoding or Decoding()
    starts = tf.strings.substr(content, 0, 3)
    cases = [
        (starts == b"\xff\xd8\xff", lambda: _jpeg(content)),
        (starts == b"\x89PN", lambda: _png(content, decoding)),
    ]
    image = tf.case(cases, default=lambda: _other(content))
    image.set_shape((None, None, 3))
    upright = tf.switch_case(exif_orientation(content) - 1, [_turned(turn, image) for turn in _UPRIGHT])
    upright.set_shape((None, None, 3))
    return _resized(upright, image_size, decoding.resize)


def exif_orientation(content: tf.Tensor) -> tf.Tensor:
    """The EXIF orientation of a JPEG, PNG or WebP file, which TensorFlow's decoders ignore.

    Args:
        content: string scalar tensor, the bytes of an image file.

    Returns:
        int32 scalar tensor in [1, 8], 1 if there is none or it is invalid.

    Reference: CIPA DC-008-2019 (Exif 2.32), sections 4.5.2, 4.6.2 and 4.6.4.
    """
    file = _Bytes(content)
    exif = tf.case(
        [
            (file.is_text(0, b"\xff\xd8"), lambda: _exif_in_jpeg(file)),
            (file.is_text(0, b"\x89PNG"), lambda: _exif_in_png(file)),
            (file.is_text(8, b"WEBP"), lambda: _exif_in_webp(file)),
        ],
        default=lambda: tf.constant(-1, tf.int64),
    )
    exif += tf.where(file.is_text(exif, b"Exif\0\0"), tf.constant(6, tf.int64), 0)
    is_big = file.is_text(exif, b"MM\0\x2a")
    directory = exif + file.number(exif + 4, 4, is_big)
    count = tf.minimum(file.number(directory, 2, is_big), _MOST_TAGS)
    entries = directory + 2 + 12 * tf.range(count)
    kind = file.number(entries + 2, 2, is_big)
    values = [(_BYTE, 1), (_SHORT, 2), (_LONG, 4)]
    value = sum(tf.where(kind == code, file.number(entries + 8, width, is_big), 0) for code, width in values)
    is_orientation = (file.number(entries, 2, is_big) == _ORIENTATION) & (file.number(entries + 4, 4, is_big) == 1)
    orientation = tf.reduce_max(tf.concat([tf.where(is_orientation, value, 0), [0]], 0))
    is_valid = (exif >= 0) & (is_big | file.is_text(exif, b"II\x2a\0")) & (orientation >= 1) & (orientation <= 8)
    return tf.cast(tf.where(is_valid, orientation, 1), tf.int32)


class _Bytes:
    """Reads numbers and texts from the bytes of a file; past its end there are zeros."""

    def __init__(self, content: tf.Tensor):
        content = tf.io.decode_raw(content, tf.uint8)
        self.size = tf.size(content, tf.int64)
        self._padded = tf.concat([content, tf.zeros(1, tf.uint8)], 0)

    def at(self, places: tf.Tensor) -> tf.Tensor:
        """int64 tensor, the bytes at int64 `places`."""
        places = tf.convert_to_tensor(places, tf.int64)
        inside = tf.where((places >= 0) & (places < self.size), places, self.size)
        return tf.cast(tf.gather(self._padded, inside), tf.int64)

    def number(self, places: tf.Tensor, width: int, is_big_endian: tf.Tensor | bool) -> tf.Tensor:
        """int64 tensor, the unsigned numbers of `width` bytes at `places`."""
        places = tf.convert_to_tensor(places, tf.int64)
        digits = self.at(places[..., tf.newaxis] + tf.range(width, dtype=tf.int64))
        little = [256**offset for offset in range(width)]
        return tf.reduce_sum(digits * tf.where(is_big_endian, tf.constant(little[::-1], tf.int64), little), -1)

    def is_text(self, place: tf.Tensor, text: bytes) -> tf.Tensor:
        """Whether the bytes at `place` are `text`, as a bool scalar tensor."""
        return tf.reduce_all(self.at(place + tf.range(len(text), dtype=tf.int64)) == list(text))


def _exif_in_jpeg(file: _Bytes) -> tf.Tensor:
    """Where the EXIF data start, after the marker APP1; -1 if there are none."""

    def step(place: tf.Tensor, exif: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        marker = file.at(place + 1)
        is_exif = (marker == 0xE1) & file.is_text(place + 4, b"Exif\0\0")
        is_alone = (marker == 0x01) | ((marker >= 0xD0) & (marker <= 0xD8))
        length = tf.where(is_alone, tf.constant(0, tf.int64), file.number(place + 2, 2, True))
        ends = (marker == 0xDA) | (marker == 0xD9)  # Start of the scan, end of the image.
        after = tf.where(marker == 0xFF, place + 1, place + 2 + length)
        return tf.where(ends, file.size, after), tf.where(is_exif, place + 10, exif)

    return _walk(file, 2, lambda place: file.at(place) == 0xFF, step)


def _exif_in_png(file: _Bytes) -> tf.Tensor:
    def step(place: tf.Tensor, exif: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        is_exif = file.is_text(place + 4, b"eXIf")
        return place + 12 + file.number(place, 4, True), tf.where(is_exif, place + 8, exif)

    return _walk(file, 8, lambda place: place + 12 <= file.size, step)


def _exif_in_webp(file: _Bytes) -> tf.Tensor:
    def step(place: tf.Tensor, exif: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        length = file.number(place + 4, 4, False)
        return place + 8 + length + length % 2, tf.where(file.is_text(place, b"EXIF"), place + 8, exif)

    return _walk(file, 12, lambda place: place + 8 <= file.size, step)


def _walk(file: _Bytes, start: int, is_segment: Callable, step: Callable) -> tf.Tensor:
    """Walks over the segments of a file until one holds EXIF data; returns their place, or -1."""
    return tf.while_loop(
        lambda place, exif: (exif < 0) & (place < file.size) & is_segment(place),
        step,
        (tf.constant(start, tf.int64), tf.constant(-1, tf.int64)),
    )[1]


def _turned(turn: Callable, image: tf.Tensor) -> Callable[[], tf.Tensor]:
    return lambda: turn(image)


def _jpeg(content: tf.Tensor) -> tf.Tensor:
    # The default method is the fast one, which is off by up to 16.
    return tf.cast(tf.io.decode_jpeg(content, channels=3, dct_method="INTEGER_ACCURATE"), tf.float32)


def _png(content: tf.Tensor, decoding: Decoding) -> tf.Tensor:
    is_deep = tf.strings.substr(content, 24, 1) == b"\x10"  # The bit depth in the header of the file.
    # Decode the file's own number of channels: with channels=4, TensorFlow 2.21 makes small palettes almost transparent.
    image = tf.cond(
        is_deep,
        lambda: tf.cast(tf.io.decode_png(content, dtype=tf.uint16), tf.float32),
        lambda: tf.cast(tf.io.decode_png(content), tf.float32),
    )
    channels = tf.shape(image)[-1]
    has_opacity = channels % 2 == 0
    opacity = tf.where(has_opacity, tf.where(is_deep, image[..., -1:] // 256, image[..., -1:]) / 255, 1.0)
    colours = image[..., : channels - 1 + channels % 2]
    colours = tf.where(is_deep, _eight_bits(colours, decoding), colours)
    return colours * opacity + 255 * (1 - opacity) * tf.ones(3)


def _eight_bits(values: tf.Tensor, decoding: Decoding) -> tf.Tensor:
    black, white = decoding.pixel_range or _WHOLE
    if (black, white) == _WHOLE:
        return values // 256
    return tf.round(tf.clip_by_value((values - black) * (255 / (white - black)), 0, 255))


def _other(content: tf.Tensor) -> tf.Tensor:
    # Request three channels: with the number in an animated WebP, TensorFlow 2.21 writes past its memory.
    return tf.cast(tf.io.decode_image(content, channels=3, expand_animations=False), tf.float32)


def _resized(image: tf.Tensor, image_size: tuple[int, int], resize: str) -> tf.Tensor:
    """As `data.image_files.resizing.resized`."""
    if resize == "stretch":
        return tf.image.resize(image, image_size, antialias=True)
    shape = tf.shape(image, tf.int64)
    full_height, full_width = shape[0], shape[1]
    one, height, width = (tf.constant(side, tf.int64) for side in (1, *image_size))
    if resize == "crop":
        kept_width = tf.minimum(full_width, tf.maximum(one, full_height * width // height))
        kept_height = tf.minimum(full_height, tf.maximum(one, full_width * height // width))
        top, left = (full_height - kept_height) // 2, (full_width - kept_width) // 2
        cropped = image[top : top + kept_height, left : left + kept_width]
        return tf.image.resize(cropped, image_size, antialias=True)
    inner_width = tf.minimum(width, tf.maximum(one, (2 * full_width * height + full_height) // (2 * full_height)))
    inner_height = tf.minimum(height, tf.maximum(one, (2 * full_height * width + full_width) // (2 * full_width)))
    inner = tf.image.resize(image, tf.cast(tf.stack([inner_height, inner_width]), tf.int32), antialias=True)
    top, left = (height - inner_height) // 2, (width - inner_width) // 2
    padded = tf.pad(inner, [[top, height - inner_height - top], [left, width - inner_width - left], [0, 0]])
    padded.set_shape((*image_size, 3))
    return padded
