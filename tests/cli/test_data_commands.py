import csv

import commands
import pytest

from kerastrain import testing


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = testing.colour_folder(tmp_path / "data", count=10, size=(8, 8))
    for number in range(22):
        (folder / "red" / f"\x1b[2J[b]{number:02}.png").write_bytes(b"")
    (folder / "red" / "copy.png").hardlink_to(folder / "red" / "000.png")
    return folder


def output(monkeypatch, capsys, *arguments, code=0):
    return commands.runner(monkeypatch, capsys)(*arguments, code=code)[1 if code else 0]


def test_scan_counts_and_names_what_a_run_would_leave_out(folder, monkeypatch, capsys):
    out = output(monkeypatch, capsys, "data", "scan", "data.path=data", "--out", "skipped.csv")
    assert "30 of 53 image files can be used" in out
    assert "empty: " in out
    assert "red/\\x1b[2J[b]00.png: the file is empty" in out
    assert "and 3 more; --out FILE.csv lists all of them" in out
    assert "a run would stop: 41.51% of the files are unreadable, and data.unreadable_fraction allows 10.00%" in out
    assert "\x1b" not in out
    with open("skipped.csv", newline="", encoding="utf-8") as file:
        kinds = [row["kind"] for row in csv.DictReader(file)]
    assert sorted(kinds) == ["duplicate"] + ["empty"] * 22


def test_scan_of_a_clean_folder_says_what_it_holds(folder, monkeypatch, capsys):
    for path in [*folder.glob("red/*[[]b*"), folder / "red" / "copy.png"]:
        path.unlink()
    lines = output(monkeypatch, capsys, "data", "scan", "data.path=data").splitlines()
    assert lines[0] == f"source: '{folder}'"
    assert "  blue: 10 (7 train, 2 validation, 1 test), such as 'blue/000.png' and 'blue/002.png'" in lines
    assert lines[-1] == "30 of 30 image files can be used"


def test_scan_refuses_what_has_no_image_files(monkeypatch, capsys):
    assert "there are none in the digits" in output(monkeypatch, capsys, "data", "scan", code=2)
