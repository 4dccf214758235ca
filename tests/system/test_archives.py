"""Archives that write outside their folder, fill the disk or are damaged raise; others are unpacked unchanged."""

import io
import tarfile
import zipfile

import pytest

from kerastrain.errors import InputError
from kerastrain.system import archives


def tar(path, *members, content=b"x"):
    with tarfile.open(path, "w:gz") as file:
        for member in members:
            member.size = len(content) if member.isreg() and not member.size else member.size
            file.addfile(member, io.BytesIO(content) if member.isreg() and member.size == len(content) else None)
    return path


def link(name, to, kind=tarfile.SYMTYPE):
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, to
    return member


def huge(name):
    member = tarfile.TarInfo(name)
    member.size = 2**40
    return member


def test_an_archive_comes_out_as_it_went_in(tmp_path):
    (tmp_path / "in" / "variables").mkdir(parents=True)
    (tmp_path / "in" / "saved_model.pb").write_bytes(b"graph")
    (tmp_path / "in" / "variables" / "data").write_bytes(b"\0" * 5000)
    with tarfile.open(tmp_path / "module.tar.gz", "w:gz") as file:
        file.add(tmp_path / "in", ".")
    folder = archives.unpack(tmp_path / "module.tar.gz", tmp_path / "out")
    assert (folder / "saved_model.pb").read_bytes() == b"graph"
    assert (folder / "variables" / "data").read_bytes() == b"\0" * 5000


@pytest.mark.parametrize(
    ("member", "reason"),
    [
        (tarfile.TarInfo("../outside"), "leads out"),
        (tarfile.TarInfo("/etc/outside"), "leads out"),
        (tarfile.TarInfo("a/../../outside"), "leads out"),
        (link("inside", "/etc/passwd"), "a link or a device"),
        (link("inside", "../../outside", tarfile.LNKTYPE), "a link or a device"),
        (link("pipe", "", tarfile.FIFOTYPE), "a link or a device"),
        (link("disk", "", tarfile.BLKTYPE), "a link or a device"),
        (huge("zeros"), "unpacks to more than 1.1 GB"),
    ],
)
def test_a_hostile_tar_is_refused(tmp_path, member, reason):
    archive = tar(tmp_path / "module.tar.gz", tarfile.TarInfo("good"), member)
    with pytest.raises(InputError, match=reason):
        archives.unpack(archive, tmp_path / "a" / "b" / "out")
    assert not (tmp_path / "a" / "outside").exists()
    assert not (tmp_path / "a" / "b" / "outside").exists()


def test_a_link_cannot_be_written_through(tmp_path):
    through = tarfile.TarInfo("folder/file")
    archive = tar(tmp_path / "module.tar.gz", link("folder", str(tmp_path)), through)
    with pytest.raises(InputError, match="a link or a device"):
        archives.unpack(archive, tmp_path / "out")
    assert not (tmp_path / "file").exists()


def test_many_files_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MOST_FILES", 10)
    archive = tar(tmp_path / "module.tar.gz", *(tarfile.TarInfo(str(number)) for number in range(11)))
    with pytest.raises(InputError, match="more than 10 files"):
        archives.unpack(archive, tmp_path / "out")


@pytest.mark.parametrize("length", [0, 10, 60])
def test_a_damaged_tar_is_refused(tmp_path, length):
    archive = tar(tmp_path / "module.tar.gz", tarfile.TarInfo("good"), content=bytes(range(256)) * 8)
    archive.write_bytes(archive.read_bytes()[:length])
    with pytest.raises(InputError, match="cannot be unpacked"):
        archives.unpack(archive, tmp_path / "out")


@pytest.mark.slow
def test_a_zip_bomb_is_refused(tmp_path):
    with (
        zipfile.ZipFile(tmp_path / "model.keras", "w", zipfile.ZIP_DEFLATED) as file,
        file.open("model.weights.h5", "w", force_zip64=True) as member,
    ):
        for _ in range(1100):
            member.write(bytes(2**20))
    assert (tmp_path / "model.keras").stat().st_size < 2e6
    with pytest.raises(InputError, match="like a decompression bomb"):
        archives.check_zip(tmp_path / "model.keras")


@pytest.mark.parametrize("name", ["../config.json", "/config.json", "a\\..\\..\\config.json"])
def test_a_zip_that_leads_out_is_refused(tmp_path, name):
    with zipfile.ZipFile(tmp_path / "model.keras", "w") as file:
        file.writestr(name, "{}")
    with pytest.raises(InputError, match="leads out"):
        archives.check_zip(tmp_path / "model.keras")


def test_what_is_no_zip_is_told(tmp_path):
    (tmp_path / "model.keras").write_text("<html>404</html>")
    with pytest.raises(InputError, match="not a zip archive"):
        archives.check_zip(tmp_path / "model.keras")
