import csv

import pytest

from kerastrain.data.image_files import quarantine
from kerastrain.data.image_files.quarantine import Quarantined


def test_one_of_equal_files_stays():
    paths = ["c.png", "b.png", "a.png", "d.png", "broken.png"]
    skipped = quarantine.repeats(paths, ["same", "same", "same", "other", None], ["cat"] * 5)
    assert {index: file.kind for index, file in skipped.items()} == {0: "duplicate", 1: "duplicate"}
    assert skipped[0] == Quarantined("c.png", "duplicate", "it has the same bytes as 'a.png'")


@pytest.mark.parametrize(
    ("predefined_split", "kinds"),
    [
        (["train", "train", "test"], {0: "leakage", 1: "leakage"}),
        (["train", "validation", "test"], {0: "leakage", 1: "leakage"}),
        (["train", "validation", "train"], {0: "leakage", 2: "leakage"}),
        (["test", "test", "train"], {1: "duplicate", 2: "leakage"}),
    ],
)
def test_the_held_out_copy_stays_when_the_parts_are_given(predefined_split, kinds):
    skipped = quarantine.repeats(["a", "b", "c"], ["same"] * 3, ["cat"] * 3, predefined_split)
    assert {index: file.kind for index, file in skipped.items()} == kinds


def test_no_copy_stays_when_the_labels_contradict():
    skipped = quarantine.repeats(["a", "b", "c"], ["same"] * 3, ["cat", "dog", "cat"], ["train", "test", "train"])
    assert {file.kind for file in skipped.values()} == {"contradiction"}
    assert sorted(skipped) == [0, 1, 2]
    assert skipped[2].reason == "it has the same bytes as 'b', whose label is 'dog', not 'cat'"


def test_files_without_digest_are_no_copies():
    assert quarantine.repeats(["a", "b"], [None, None], ["cat", "dog"]) == {}


def test_counts_stand_in_the_order_of_the_kinds():
    skipped = [Quarantined("a", kind, "") for kind in ("leakage", "empty", "leakage")]
    assert list(quarantine.counts(skipped).items()) == [("empty", 1), ("leakage", 2)]


@pytest.mark.parametrize(
    ("kinds", "text"),
    [
        ({"duplicate": 2, "contradiction": 8}, "2 duplicates, 8 with conflicting labels"),
        ({"contradiction": 1, "empty": 1}, "1 empty, 1 with conflicting labels"),
        ({"duplicate": 1, "leakage": 1, "no image": 1}, "1 not an image, 1 duplicate, 1 copy of a held-out example"),
        ({"leakage": 2, "no image": 1200, "empty": 2}, "2 empty, 1,200 not images, 2 copies of held-out examples"),
    ],
)
def test_summary_counts_the_kinds_in_words(kinds, text):
    files = [Quarantined("a", kind, "") for kind, count in kinds.items() for _ in range(count)]
    assert quarantine.summary(files) == text


def test_every_name_is_one_harmless_row(tmp_path):
    names = {
        "plain.png": "plain.png",
        "=HYPERLINK(1).png": "./=HYPERLINK(1).png",
        "+1.png": "./+1.png",
        "-1.png": "./-1.png",
        "@sum.png": "./@sum.png",
        "\t=1.png": "\\t=1.png",
        'two\nlines,\r"q".png': 'two\\nlines,\\r"q".png',
        "\udcff.png": "\\udcff.png",
        "犬 <b>.png": "犬 <b>.png",
        "a\u202egpj.exe": "a\\u202egpj.exe",
    }
    written = quarantine.write([Quarantined(name, "empty", "=1") for name in names], tmp_path / "quarantine.csv")
    with open(written, encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["path", "kind", "reason"]
    assert [row[0] for row in rows] == list(names.values())
    assert len(written.read_text().splitlines()) == 1 + len(names)
