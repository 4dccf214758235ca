"""Recognizes the type of a file by its first bytes; its name does not count.

Takes the beginning of a file, returns the name of an image format or a description for a message. Must not decode.
"""

# Not EPS, which starts another program, nor SVG, which fetches files. "JPEG" includes MPO, which many phones write.
# AVIF needs Pillow 11.3, and HEIF, which is HEIC as well, the extra `heic`.
FORMATS = ("AVIF", "BMP", "GIF", "HEIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")

HEAD_BYTES = 512  # `image_format` and `description` need no more of a file.

_FORMATS = {
    b"BM": "BMP",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    **dict.fromkeys((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), "TIFF"),
    **{b"P%d%c" % (number, space): "PPM" for number in range(1, 7) for space in b" \t\r\n#"},
}
_OTHERS = {
    b"%PDF-": "a PDF document",
    b"PK\x03\x04": "a ZIP archive",
    b"\x1f\x8b": "a gzip archive",
    b"\xff\x0a": "a JPEG XL image",
    b"\0\0\0\x0cJXL ": "a JPEG XL image",
    b"\0\0\0\x0cjP  ": "a JPEG 2000 image",
    b"8BPS": "a Photoshop document",
    b"%!PS": "a PostScript program",
    b"version https://git-lfs": "a Git LFS pointer, whose image was not fetched",
}
# The brands in the first box of a file of the ISO base media format, ISO/IEC 14496-12, section 4.3. A HEIF file may have
# a general brand first and that of its codec among the compatible ones.
_BRANDS = {
    "AVIF": {b"avif", b"avis"},
    "HEIF": {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"},
}


def image_format(head: bytes) -> str | None:
    """Image format of a file.

    Args:
        head: bytes, the first `HEAD_BYTES` of the file, or more.

    Returns:
        str, one of `FORMATS`; None for a file of another type.

    Example:
        >>> image_format(b"GIF89a ..."), image_format(b"<html>")
        ('GIF', None)
    """
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head[4:8] == b"ftyp":
        # The major brand, its version, and the compatible brands, up to the end of the box.
        end = min(int.from_bytes(head[:4], "big"), len(head))
        brands = {head[start : start + 4] for start in (8, *range(16, end, 4))}
        return next((name for name, known in _BRANDS.items() if brands & known), None)
    return next((name for start, name in _FORMATS.items() if head.startswith(start)), None)


def description(head: bytes) -> str:
    """Description of a file that has none of the `FORMATS`.

    Args:
        head: bytes, the first `HEAD_BYTES` of the file, or more; not empty.

    Returns:
        str, the end of a sentence that starts with "it is", such as "a ZIP archive".
    """
    if head[4:8] == b"ftyp":
        return "a video"
    known = next((name for start, name in _OTHERS.items() if head.startswith(start)), None)
    if known:
        return known
    if not head.strip(b"\0"):
        return "all zeros, as after a disk failure or an unfinished download"
    words = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if words.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return "a web page (HTML)"
    if words.startswith((b"<?xml", b"<svg")):
        return "an SVG drawing" if b"<svg" in words else "an XML document"
    return f"not one of {', '.join(FORMATS)}"
