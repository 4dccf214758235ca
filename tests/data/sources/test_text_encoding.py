import bz2
import gzip
import lzma

import pytest

from kerastrain.data.sources import text_encoding
from kerastrain.errors import InputError

TEXT = "text,label\nein schöner Film,pos\nein müder Film,neg\n"


@pytest.mark.parametrize(
    ("encoding", "name"),
    [
        ("utf-8", ""),
        ("utf-8-sig", ""),
        ("utf-16", "UTF-16"),
        ("utf-16-le", "UTF-16"),
        ("utf-16-be", "UTF-16"),
        ("utf-32", "UTF-32"),
        ("cp1252", "Windows-1252"),
    ],
)
def test_the_encodings_of_programs_are_read_and_named(tmp_path, encoding, name):
    path = tmp_path / "a.csv"
    path.write_bytes(TEXT.replace("\n", "\r\n").encode(encoding))
    text, note = text_encoding.read(path)
    assert text == TEXT
    assert note == (f"'{path}' is read as {name}" if name else "")


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_without_a_mark_is_read_in_scripts_without_latin_letters(tmp_path, encoding):
    text = "一日,一\n日本語の文,二\n" * 3
    (tmp_path / "a.csv").write_bytes(text.encode(encoding))
    assert text_encoding.read(tmp_path / "a.csv")[0] == text


def test_all_line_ends_are_line_feeds(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"a\rb\r\nc\n")
    assert text_encoding.read(tmp_path / "a.csv") == ("a\nb\nc\n", "")


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_compressed_files_are_unpacked_and_damaged_ones_refused(tmp_path, compress):
    content = compress(TEXT.encode() * 100)
    (tmp_path / "a").write_bytes(content)
    assert text_encoding.read(tmp_path / "a") == (TEXT * 100, "")
    (tmp_path / "b").write_bytes(content[:-9])
    with pytest.raises(InputError, match=r"cannot unpack '.*b': .*\. Copy or download it again\."):
        text_encoding.read(tmp_path / "b")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,b\nпривет как дела,да\n".encode("cp1251"), "must be UTF-8. Received: byte 0xef in line 2. Convert it"),
        ("a,b\n日本語の文字,x\n".encode("shift-jis"), "must be UTF-8. Received: byte 0x93 in line 2"),
        ("a,b\ncafé naïve,x\nça\n".encode() + b"\xff", "must be UTF-8. Received: byte 0xff in line 4"),
        (b"a,b\nx\0y,z\n", "must be a text. Received: a byte 0 in line 2"),
        (b"\xff\xfea\0b", "must be UTF-16. Received: byte 0x62 in line 1"),
    ],
)
def test_other_encodings_and_damaged_text_are_refused(tmp_path, content, message):
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(InputError, match=message):
        text_encoding.read(tmp_path / "a.csv")
