import csv
import logging
import os
import re
import sys

import numpy as np
import odd_files
import pytest

from kerastrain import cli, testing
from kerastrain.data import load_image
from kerastrain.data.image_files import decoder, scanning
from kerastrain.errors import InputError


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """The folder of cached scans."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "kerastrain" / "scans"


@pytest.fixture
def paths(tmp_path):
    """Ten good files of ten colours."""
    made = [tmp_path / f"{number}.png" for number in range(10)]
    for number, path in enumerate(made):
        odd_files.Image.new("RGB", (9, 9), (20 * number, 0, 0)).save(path)
    return [str(path) for path in made]


def scan(paths, **options):
    options = {"targets": ["cat"] * len(paths), **options}
    return scanning.scan(paths, (4, 4), **options)


def kinds(result):
    return {os.path.basename(file.path): file.kind for file in result.quarantined}


def test_every_good_file_is_decoded_once_and_handed_on(paths):
    cached = {}
    result = scan(paths, cache=cached.__setitem__)
    assert result.quarantined == ()
    np.testing.assert_array_equal(result.kept, np.arange(10))
    assert [int(cached[index][0, 0, 0]) for index in range(10)] == [20 * number for number in range(10)]


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_each_bad_file_is_named_with_its_reason_and_each_odd_one_used(tmp_path):
    folder = tmp_path / "folder" / "class"
    folder.mkdir(parents=True)
    odd_files.write(folder, odd_files.BAD | odd_files.ODD)
    paths, cached = sorted(map(str, folder.iterdir())), {}
    result = scan(paths, unreadable_fraction=0.5, cache=cached.__setitem__)
    assert kinds(result) == {name: kind for name, (_, kind, _) in odd_files.BAD.items()}
    for file in result.quarantined:
        assert odd_files.BAD[os.path.basename(file.path)][2] in file.reason
    assert {os.path.basename(paths[index]) for index in result.kept} == set(odd_files.ODD)
    for index in result.kept:
        if "sixteen_bit" in paths[index]:
            assert index not in cached  # Its scale is found from all files.
        else:
            np.testing.assert_array_equal(cached[index], load_image(paths[index], (4, 4)))


def test_a_file_that_is_gone_is_left_out(paths):
    os.remove(paths[3])
    result = scan(paths)
    assert [(file.path, file.kind, file.reason) for file in result.quarantined] == [
        (paths[3], "unreadable", "it is missing")
    ]


def test_equal_files_are_left_out_and_are_not_unreadable(paths, tmp_path):
    os.link(paths[0], tmp_path / "again.png")
    os.symlink(paths[1], tmp_path / "linked.png")
    both = [*paths, str(tmp_path / "again.png"), str(tmp_path / "linked.png")]
    result = scan(both, unreadable_fraction=0.0)
    assert kinds(result) == {"again.png": "duplicate", "linked.png": "duplicate"}


def test_leakage_and_contradiction_are_told_loudly(paths, tmp_path, caplog):
    os.link(paths[0], tmp_path / "leak.png")
    os.link(paths[1], tmp_path / "wrong.png")
    os.truncate(paths[5], 0)
    both = [*paths, str(tmp_path / "leak.png"), str(tmp_path / "wrong.png")]
    result = scan(both, predefined_split=["train"] * 10 + ["test"] * 2, targets=["cat"] * 11 + ["dog"])
    skipped = {"0.png": "leakage", "1.png": "contradiction", "5.png": "empty", "wrong.png": "contradiction"}
    assert kinds(result) == skipped
    scanning.log_quarantined(result.quarantined, len(both))
    messages = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(messages) == 3
    assert messages[0].startswith(
        "skipped 4 of 12 images: 1 empty, 1 copy of a held-out example, 2 with conflicting labels ("
    )
    assert messages[0].endswith("5.png': the file is empty)")
    assert messages[1].startswith("LEAKAGE in 1 of them: a model would be evaluated on what it was trained on (")
    assert messages[2].startswith("CONFLICTING LABELS in 2 of them: it is unknown which of the labels is right (")


def test_nothing_is_told_of_a_clean_folder(paths, caplog):
    scanning.log_quarantined(scan(paths).quarantined, len(paths))
    assert caplog.records == []


def test_a_long_scan_says_how_far_it_has_come(paths, monkeypatch, caplog):
    monkeypatch.setattr(scanning, "_PROGRESS_SECONDS", 0)
    monkeypatch.setattr(scanning, "_FIRST_PROGRESS_SECONDS", 0)
    with caplog.at_level(logging.INFO):
        scan(paths * 4)
    assert [record.getMessage() for record in caplog.records] == ["read 32 of 40 images", "read 40 of 40 images"]


def test_the_run_stops_when_more_than_a_share_is_unreadable(paths):
    for path in paths[2:7]:
        open(path, "w").close()
    assert len(scan(paths, unreadable_fraction=0.5).quarantined) == 5
    with pytest.raises(InputError) as error:
        scan(paths, unreadable_fraction=0.4)
    assert str(error.value).startswith("5 of 10 files cannot be read as images, more than the fraction 0.4 that")
    assert f"{paths[2]!r}: the file is empty; {paths[3]!r}: the file is empty; " in str(error.value)
    assert "; and 2 more. Repair or remove them" in str(error.value)


@pytest.mark.parametrize("fraction", [-0.1, 1.1])
def test_a_share_outside_of_zero_to_one_is_refused(paths, fraction):
    with pytest.raises(InputError, match=r"`unreadable_fraction` must lie in \[0, 1\]. Received: "):
        scan(paths, unreadable_fraction=fraction)


def test_nothing_to_scan_is_nothing_found():
    result = scan([])
    assert (len(result.kept), result.quarantined) == (0, ())


def test_a_file_is_read_again_only_when_it_has_changed(paths, monkeypatch):
    open(paths[5], "w").close()
    before = scan(paths)
    read = []
    monkeypatch.setattr(decoder, "read", lambda path, reader=decoder.read: read.append(path) or reader(path))
    after = scan(paths)
    assert (read, after.quarantined, after.kept.tolist()) == ([], before.quarantined, before.kept.tolist())
    odd_files.red().save(paths[5])
    os.remove(paths[7])
    assert kinds(scan(paths)) == {"7.png": "unreadable"}
    assert read == [paths[5]]


def test_what_is_no_matter_of_the_content_is_asked_again(tmp_path, paths):
    paths[0] = str(tmp_path / "link.png")
    os.symlink("gone.png", paths[0])
    assert kinds(scan(paths)) == {"link.png": "unreadable"}
    odd_files.red().save(tmp_path / "gone.png")
    assert kinds(scan(paths)) == {}


@pytest.fixture(scope="module")
def messy(tmp_path_factory):
    """A folder with one class per colour, and every bad and odd file among the red ones."""
    place = tmp_path_factory.mktemp("messy")
    testing.saved_model(place / "module", image_size=(16, 16))
    testing.colour_folder(place / "data", count=40, size=(16, 16))
    red = place / "data" / "red"
    odd_files.write(red, odd_files.BAD | odd_files.ODD)
    (red / "copy.png").hardlink_to(red / "000.png")
    (place / "data" / "blue" / "wrong.png").hardlink_to(red / "001.png")
    return place


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.slow
def test_a_folder_with_every_bad_and_odd_file_trains_to_the_end(messy, monkeypatch, capsys):
    monkeypatch.chdir(messy)
    overrides = ["data.path=data", "model.backbone=module", "fit.head_epochs=2", "fit.epochs=0", "export.formats=[]"]
    arguments = ["train", *overrides, "data.unreadable_fraction=0.3", "--run", "run"]
    monkeypatch.setattr(sys, "argv", ["kerastrain", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0
    with open("run/quarantine.csv", encoding="utf-8", newline="") as file:
        rows = {os.path.basename(row["path"]): (row["kind"], row["reason"]) for row in csv.DictReader(file)}
    # The sources follow links to folders.
    bad = {name: file for name, file in odd_files.BAD.items() if name != "folder_link.jpg"}
    for name, (_, kind, reason) in bad.items():
        assert rows[name][0] == kind
        assert reason in rows[name][1]
    repeated = {"copy.png": "duplicate", "001.png": "contradiction", "wrong.png": "contradiction"}
    assert {name: kind for name, (kind, _) in rows.items() if name not in bad} == repeated
    assert len(odd_files.BAD) + len(odd_files.ODD) > 25
    assert "Skipped files" in (messy / "run" / "report.html").read_text()
    log = (messy / "run" / "log.txt").read_text()
    assert f"quarantine: skipped {len(bad) + 3} files (5 unreadable, 1 empty, " in log
    sizes = map(int, re.search(r"which leaves (\d+) train, (\d+) validation, (\d+) test", log).groups())
    assert sum(sizes) == 3 * 40 - 1 + len(odd_files.ODD)
    assert "CONFLICTING LABELS in 2 of them" in capsys.readouterr().out
