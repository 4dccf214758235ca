"""Image files as they occur in real folders: bad ones with the reason to skip them, odd ones with their colour."""

import io
import os
import socket
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

RED = (200, 30, 30)
PNG_START = b"\x89PNG\r\n\x1a\n"


def red(size=(16, 12)):
    return Image.new("RGB", size, RED)


def noise(size=(64, 64)):
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8))


def exif(orientation):
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


def saver(image, file_format=None, **options):
    return lambda path: image.save(path, format=file_format, **options)


def content(whole):
    return lambda path: path.write_bytes(whole)


def truncated(**options):
    def write(path):
        noise().save(path, **options)
        os.truncate(path, path.stat().st_size // 2)

    return write


def write_png(path, size, *, depth=8, colour=0, pixels=b""):
    """Writes a PNG file of one image chunk, whose header may announce more pixels than it has."""

    def chunk(name, body):
        return len(body).to_bytes(4, "big") + name + body + zlib.crc32(name + body).to_bytes(4, "big")

    header = b"".join(side.to_bytes(4, "big") for side in size) + bytes([depth, colour, 0, 0, 0])
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")
    path.write_bytes(PNG_START + chunks)


def write_scratched(path):
    red().save(path)
    whole = path.read_bytes()
    place = whole.index(b"IDAT") + 6
    path.write_bytes(whole[:place] + bytes(20) + whole[place + 20 :])


def write_endless(path):
    path.write_bytes(PNG_START)
    os.truncate(path, 2**30 + 1)


def write_socket(path):
    here = os.getcwd()
    os.chdir(path.parent)  # The path of a socket is limited to 107 bytes.
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name)
    finally:
        os.chdir(here)


def write_folder_link(path):
    (path.parent.parent.parent / "elsewhere").mkdir(exist_ok=True)
    path.symlink_to(path.parent.parent.parent / "elsewhere")


BAD = {
    "empty.jpg": (content(b""), "empty", "the file is empty"),
    "zeros.jpg": (content(bytes(5000)), "no image", "it is all zeros, as after a disk failure"),
    "notes.jpg": (
        content(b"no picture"),
        "no image",
        "it is not one of AVIF, BMP, GIF, HEIF, JPEG, PNG, PPM, TIFF, WEBP",
    ),
    "page.jpg": (content(b"\xef\xbb\xbf\r\n<!DOCTYPE html><html>"), "no image", "it is a web page (HTML)"),
    "logo.png": (content(b"<?xml version='1.0'?><svg/>"), "no image", "it is an SVG drawing"),
    "feed.png": (content(b"<?xml version='1.0'?><rss/>"), "no image", "it is an XML document"),
    "photos.png": (content(b"PK\3\4 and more"), "no image", "it is a ZIP archive"),
    "paper.png": (content(b"%PDF-1.7"), "no image", "it is a PDF document"),
    "pointer.jpg": (content(b"version https://git-lfs.github.com/spec/v1"), "no image", "it is a Git LFS pointer"),
    "film.jpg": (content(b"\0\0\0\x18ftypisom"), "no image", "it is a video"),
    "cut.jpg": (truncated(), "truncated", "its JPEG data end before the picture does"),
    "cut_progressive.jpg": (truncated(progressive=True), "truncated", "its JPEG data end before the picture does"),
    "cut.png": (truncated(), "truncated", "its PNG data end before the picture does"),
    "cut.gif": (truncated(), "truncated", "its GIF data end before the picture does"),
    "cut.bmp": (truncated(), "truncated", "its BMP data end before the picture does"),
    "cut.webp": (truncated(), "truncated", "its WEBP data end before the picture does"),
    "cut.tiff": (truncated(), "truncated", "its TIFF data end before the picture does"),
    "head.png": (content(PNG_START), "damaged", "it starts like a PNG file, but the rest is not one"),
    "scratched.png": (write_scratched, "damaged", "its PNG data are damaged"),
    "bomb.png": (lambda path: write_png(path, (60000, 60000)), "too large", "more than 89.48 megapixels"),
    "small_bomb.png": (
        lambda path: write_png(path, (10000, 9000)),
        "too large",
        "more than 89.48 megapixels",
    ),
    "endless.png": (write_endless, "too large", "it has 1,073,741,825 bytes, and the limit is 1,073,741,824"),
    "float.tiff": (
        saver(Image.new("F", (4, 4), float("nan"))),
        "unsupported",
        "its pixels include NaN or infinite numbers",
    ),
    "counts.tiff": (
        saver(Image.new("I", (4, 4), 70000)),
        "unsupported",
        "its pixels are integers from 70000 to 70000, outside 0 to 65535",
    ),
    "lab.tiff": (saver(Image.new("LAB", (4, 4))), "unsupported", "its pixels are CIELAB colours"),
    "lost.jpg": (lambda path: path.symlink_to("gone.jpg"), "unreadable", "a link to 'gone.jpg', which is missing"),
    "ring.jpg": (lambda path: path.symlink_to(path), "unreadable", "it is a link that leads back to itself"),
    "folder_link.jpg": (write_folder_link, "unreadable", "it is a link to a folder, which is not followed"),
    "pipe.jpg": (os.mkfifo, "unreadable", "it is a pipe, a socket or a device, not a file"),
    "socket.jpg": (write_socket, "unreadable", "it is a pipe, a socket or a device, not a file"),
    "device.jpg": (lambda path: path.symlink_to("/dev/zero"), "unreadable", "it is a pipe, a socket or a device"),
}


def animated(file_format, **options):
    return saver(red(), file_format, save_all=True, append_images=[Image.new("RGB", (16, 12), "green")], **options)


def write_ycck(path):
    """Writes a JPEG as Photoshop does: inverted inks, the first three as luma and two colour differences."""
    inks = 255.0 - np.array(RED)
    luma = inks @ [0.299, 0.587, 0.114]
    stored = [luma, 128 + 0.564 * (inks[2] - luma), 128 + 0.713 * (inks[0] - luma), 255]
    Image.new("CMYK", (16, 12), tuple(255 - round(value) for value in stored)).save(path, "JPEG", quality=100)
    whole = path.read_bytes()
    place = whole.index(b"Adobe") + 11  # The colour transform: 0 for CMYK, 2 for YCCK.
    path.write_bytes(whole[:place] + b"\2" + whole[place + 1 :])


def write_transparent_palette(path):
    image = Image.new("P", (16, 12), 0)
    image.putpalette([10, 20, 30] * 256)
    image.save(path, transparency=0)


def write_without_end(path):
    buffer = io.BytesIO()
    red().save(buffer, "PNG")
    path.write_bytes(buffer.getvalue()[:-12])


def write_sixteen_bit_colours(path):
    row = b"\0" + (np.array(RED, ">u2") * 257).tobytes() * 16
    write_png(path, (16, 12), depth=16, colour=2, pixels=row * 12)


def write_tag_soup(path):
    red().save(path, quality=95, exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\1\x12\0\3\0\0")


GREY, WHITE = (119, 119, 119), (255, 255, 255)
HALF = tuple(round(0.2 * value + 0.8 * 255) for value in RED)  # Red on white at an opacity of one fifth.
ODD = {
    "plain.jpg": (saver(red(), quality=95), RED),
    "progressive.jpg": (saver(red(), progressive=True, quality=95), RED),
    "cmyk.jpg": (saver(Image.new("CMYK", (16, 12), tuple(255 - v for v in (*RED, 255))), quality=95), RED),
    "ycck.jpg": (write_ycck, RED),
    "grey.jpg": (saver(Image.new("L", (16, 12), 119)), GREY),
    "stereo.mpo": (animated("MPO", quality=95), RED),
    "turned.jpg": (saver(red(size=(12, 16)), exif=exif(6), quality=95), RED),
    "tag_soup.jpg": (write_tag_soup, RED),
    "camera.jpg": (saver(red(size=(3024, 3024)), quality=95), RED),
    "square.png": (saver(red(size=(100, 100))), RED),
    "point.png": (saver(red(size=(1, 1))), RED),
    "banner.png": (saver(red(size=(3000, 1))), RED),
    "grey.png": (saver(Image.new("L", (16, 12), 119)), GREY),
    "grey_alpha.png": (saver(Image.new("LA", (16, 12), (119, 255))), GREY),
    "alpha.png": (saver(Image.new("RGBA", (16, 12), (*RED, 51))), HALF),
    "hidden.png": (saver(Image.new("RGBA", (16, 12), (0, 0, 0, 0))), WHITE),
    "black_and_white.png": (saver(Image.new("1", (16, 12), 1)), WHITE),
    "palette.png": (saver(red().quantize()), RED),
    "transparent_palette.png": (write_transparent_palette, WHITE),
    "sixteen_bit.png": (saver(Image.new("I;16", (16, 12), 119 * 257)), GREY),
    "sixteen_bit.tiff": (saver(Image.new("I;16", (17, 12), 119 * 257)), GREY),
    "sixteen_bit.pgm": (content(b"P5\n1 1\n65535\n\x77\x77"), GREY),
    "sixteen_bit_colours.png": (write_sixteen_bit_colours, RED),
    "without_end.png": (write_without_end, RED),
    "fax.tiff": (saver(Image.new("1", (16, 12), 1), compression="group4"), WHITE),
    "pages.tiff": (animated("TIFF", compression="tiff_lzw"), RED),
    "moving.gif": (animated("GIF"), RED),
    "moving.webp": (animated("WEBP", lossless=True), RED),
    "alpha.webp": (saver(Image.new("RGBA", (16, 12), (0, 0, 0, 0)), lossless=True), WHITE),
    "picture.bmp": (saver(red()), RED),
    "PICTURE.JPG": (saver(red(size=(18, 12)), quality=95), RED),
    "really_png.jpg": (saver(red(size=(19, 12)), "PNG"), RED),
    "no_suffix": (saver(red(size=(20, 12)), "PNG"), RED),
    "犬 é.png": (saver(red(size=(21, 12))), RED),
    "two\nlines.png": (saver(red(size=(22, 12))), RED),
    "<img src=x onerror=alert(1)>.png": (saver(red(size=(23, 12))), RED),
    "=HYPERLINK(1),2;3.png": (saver(red(size=(24, 12))), RED),
    "\x1b[2J[red]\u202egpj.png": (saver(red(size=(25, 12))), RED),
    os.fsdecode(b"caf\xe9.png"): (saver(red(size=(26, 12))), RED),
}


def write(folder: Path, table) -> None:
    """Writes the files of a table into a folder."""
    for name, (make, *_) in table.items():
        make(folder / name)
