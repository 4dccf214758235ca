import csv

import pytest

from kerastrain.data.image_files import quarantine
from kerastrain.data.image_files.quarantine import Quarantined


def test_one_of_equal_files_stays():
    paths = ["c.png", "b.png", "a.png", "d.png", "broken.png"]
    found = quarantine.repeats(paths, ["same", "same", "same", "other", None], ["cat"] * 5)
    assert {index: one.kind for index, one in found.items()} == {0: "duplicate", 1: "duplicate"}
    assert found[0] == Quarantined("c.png", "duplicate", "it has the same bytes as 'a.png'")


@pytest.mark.parametrize(
    ("marks", "kinds"),
    [
        (["train", "train", "test"], {0: "leakage", 1: "leakage"}),
        (["train", "validation", "test"], {0: "leakage", 1: "leakage"}),
        (["train", "validation", "train"], {0: "leakage", 2: "leakage"}),
        (["test", "test", "train"], {1: "duplicate", 2: "leakage"}),
    ],
)
def test_the_held_out_copy_stays_when_the_parts_are_given(marks, kinds):
    found = quarantine.repeats(["a", "b", "c"], ["same"] * 3, ["cat"] * 3, marks)
    assert {index: one.kind for index, one in found.items()} == kinds


def test_no_copy_stays_when_the_labels_contradict():
    found = quarantine.repeats(["a", "b", "c"], ["same"] * 3, ["cat", "dog", "cat"], ["train", "test", "train"])
    assert {one.kind for one in found.values()} == {"contradiction"}
    assert sorted(found) == [0, 1, 2]
    assert found[2].reason == "it has the same bytes as 'b', but 'cat' is not 'dog'"


def test_files_without_digest_are_no_copies():
    assert quarantine.repeats(["a", "b"], [None, None], ["cat", "dog"]) == {}


def test_counts_stand_in_the_order_of_the_kinds():
    found = [Quarantined("a", kind, "") for kind in ("leakage", "empty", "leakage")]
    assert list(quarantine.counts(found).items()) == [("empty", 1), ("leakage", 2)]


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
    written = quarantine.write(tmp_path / "quarantine.csv", [Quarantined(name, "empty", "=1") for name in names])
    with open(written, encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["path", "kind", "reason"]
    assert [row[0] for row in rows] == list(names.values())
    assert len(written.read_text().splitlines()) == 1 + len(names)
