"""Text of files as programs write them: UTF-8 and UTF-16 with or without a byte order mark, and Windows-1252.

Takes a path, returns a string and the name of its encoding. Must not know tables or classes.
"""

import bz2
import codecs
import gzip
import lzma
import re
import string
from pathlib import Path

from kerastrain.errors import InputError

COMPRESSED = {".gz": (b"\x1f\x8b", gzip.open), ".bz2": (b"BZh", bz2.open), ".xz": (b"\xfd7zXZ\x00", lzma.open)}
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8", "UTF-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le", "UTF-32"),  # Before UTF-16, whose mark is its beginning.
    (codecs.BOM_UTF32_BE, "utf-32-be", "UTF-32"),
    (codecs.BOM_UTF16_LE, "utf-16-le", "UTF-16"),
    (codecs.BOM_UTF16_BE, "utf-16-be", "UTF-16"),
)
_UTF8_SEQUENCE = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")
_HIGH = bytes(range(0x80, 0x100))
_LETTERS = string.ascii_letters.encode()
_MOST_HIGH = 0.25  # Of the letters; in Western European texts fewer than one in eight is outside ASCII.


def read(path: Path) -> tuple[str, str]:
    """Reads a text file, compressed or not.

    The encoding is that of the byte order mark, else UTF-8 if the file is valid UTF-8, else UTF-16 if every second byte
    of its letters is 0, else Windows-1252 if it looks like a Western European text.

    Args:
        path: Path of the file; a file of gzip, bzip2 or xz is unpacked.

    Returns:
        tuple of the text with line feeds as line ends and without a byte order mark, and a note that names the encoding
        if it is not UTF-8, such as "'a.csv' is read as Windows-1252"; else "".

    Raises:
        InputError: the encoding is none of these, or the compressed file is damaged (the message names the line).
    """
    content = read_bytes(path)
    text, encoding = decoded(content, path)
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return text, "" if encoding == "UTF-8" else f"'{path}' is read as {encoding}"


def read_bytes(path: Path, size: int = -1) -> bytes:
    """Reads the bytes of a file, which are unpacked if it is a file of gzip, bzip2 or xz.

    Args:
        path: Path of the file.
        size: int, the number of bytes to read; -1 for all.

    Returns:
        bytes.

    Raises:
        InputError: the compressed file is damaged.
    """
    with open(path, "rb") as file:
        start = file.read(6)
        opened = next((open_ for magic, open_ in COMPRESSED.values() if start.startswith(magic)), None)
        if opened is None:
            return (
                start[:size] if 0 <= size <= len(start) else start + file.read(size if size < 0 else size - len(start))
            )
    try:
        with opened(path, "rb") as file:
            return file.read(size)
    except (OSError, EOFError, lzma.LZMAError, ValueError) as error:
        raise InputError(f"cannot unpack '{path}': {str(error).rstrip('.')}. Copy or download it again.") from None


def decoded(content: bytes, path: Path) -> tuple[str, str]:
    """Decodes the bytes of a text file, as `read` does.

    Args:
        content: bytes.
        path: Path of the file, for messages.

    Returns:
        tuple of the text, with line ends as they are, and the name of the encoding, such as "UTF-8".

    Raises:
        InputError: the encoding is unknown (the message names the line).
    """
    for mark, codec, encoding in _BYTE_ORDER_MARKS:
        if content.startswith(mark):
            try:
                return content[len(mark) :].decode(codec), encoding
            except UnicodeDecodeError as error:
                raise InputError(_not(encoding, path, content, error.start + len(mark))) from None
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        fault = error
    else:
        if "\0" not in text:
            return text, "UTF-8"
        fault = None
    utf16 = _utf16(content)
    if utf16 is not None:
        return utf16, "UTF-16"
    if fault is None:
        line = content.count(b"\n", 0, content.index(b"\0")) + 1
        raise InputError(f"'{path}' must be a text. Received: a byte 0 in line {line}. Give a text file in UTF-8.")
    if b"\0" not in content and _is_western(content):
        try:
            return content.decode("cp1252"), "Windows-1252"
        except UnicodeDecodeError:
            pass  # Five bytes have no character in it.
    raise InputError(_not("UTF-8", path, content, fault.start))


def _utf16(content: bytes) -> str | None:
    """Decodes UTF-16 without a mark: in the right byte order it has line ends and separators, in the other next to none."""
    if len(content) % 2 or b"\0" not in content:
        return None
    readings = []
    for codec in ("utf-16-le", "utf-16-be"):
        try:
            text = content.decode(codec)
        except UnicodeDecodeError:
            continue
        readings.append((sum(map(text.count, '\n\t ,;|"')), text))
    count, text = max(readings, default=(0, ""))
    return text if count >= 0.005 * len(text) > 0 and "\0" not in text else None


def _is_western(content: bytes) -> bool:
    high = _count(content, _HIGH)
    in_utf8 = sum(map(len, _UTF8_SEQUENCE.findall(content)))
    # A file with mostly valid sequences is damaged UTF-8, and Windows-1252 would garble all of it.
    return high <= max(2, _MOST_HIGH * (high + _count(content, _LETTERS))) and in_utf8 <= high / 2


def _count(content: bytes, which: bytes) -> int:
    return len(content) - len(content.translate(None, which))


def _not(encoding: str, path: Path, content: bytes, position: int) -> str:
    line = content.count(b"\n", 0, position) + 1
    return (
        f"'{path}' must be {encoding}. Received: byte 0x{content[position]:02x} in line {line}. Convert it, for example "
        "with `iconv -f ENCODING -t UTF-8`, where ENCODING is the one that it was written in."
    )
