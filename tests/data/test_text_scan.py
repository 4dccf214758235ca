import csv
import json

import numpy as np
import pytest

from kerastrain import data
from kerastrain.data.image_files.quarantine import Quarantined


def write(folder, files):
    for name, texts in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(texts) + "\n", encoding="utf-8")
    return folder


def numbered(word, count=6, start=0):
    return [f"{word} {number}" for number in range(start, start + count)]


def test_equal_lines_of_text_files_are_skipped_like_equal_images(tmp_path, caplog):
    write(tmp_path, {"neg.txt": [*numbered("bad"), "bad 0 "], "pos.txt": [*numbered("good"), "bad 1"]})
    split = data.split(data.listing(tmp_path, kind="text"))
    assert split.quarantined == (
        Quarantined("bad 1", "contradiction", "its label is 'neg' here, and 'pos' where it occurs again"),
        Quarantined("bad 0", "duplicate", "it occurs 2 times"),
        Quarantined("bad 1", "contradiction", "its label is 'pos' here, and 'neg' where it occurs again"),
    )
    assert sum(split.sizes.values()) == 11
    texts = [text for part in split.parts.values() for text in part.inputs]
    assert sorted(texts) == sorted(set(numbered("bad") + numbered("good")) - {"bad 1"})
    logged = [record.message for record in caplog.records]
    assert logged == [
        "skipped 3 of 14 texts: 1 duplicate, 2 with conflicting labels ('bad 0': it occurs 2 times)",
        "CONFLICTING LABELS in 2 of them: it is unknown which of the labels is right ('bad 1': its label is 'neg' here, "
        "and 'pos' where it occurs again; 'bad 1': its label is 'pos' here, and 'neg' where it occurs again)",
    ]


def test_a_text_of_a_held_out_part_is_not_trained_on(tmp_path):
    files = {"train/neg.txt": numbered("bad"), "train/pos.txt": numbered("good")}
    files |= {"test/neg.txt": ["bad 2", "bad 9"], "test/pos.txt": ["good 9"]}
    listing = data.listing(write(tmp_path, files), kind="text")
    split = data.split(listing)
    assert split.quarantined == (
        Quarantined("bad 2", "leakage", "it is in the train part, and again in the test part"),
    )
    assert "bad 2" in split.test.inputs
    assert data.scan(listing).quarantined == split.quarantined


def test_rows_of_a_table_count_as_often_as_they_occur_but_in_one_part(tmp_path):
    rows = [(f"text {number % 10}", "ab"[number % 2], "train") for number in range(20)] + [("text 3", "b", "test")]
    rows += [("new", "a", "test")]
    with open(tmp_path / "t.csv", "w", newline="") as file:
        csv.writer(file).writerows([("text", "label", "split"), *rows])
    split = data.split(data.listing(tmp_path / "t.csv", kind="text"))
    assert split.test.inputs.tolist() == ["text 3", "new"]
    assert [fault.kind for fault in split.quarantined] == ["leakage", "leakage"]
    assert sum(split.sizes.values()) == 20


@pytest.mark.parametrize("grouped", [False, True])
def test_equal_texts_that_could_get_into_two_parts_are_duplicates(grouped):
    texts = np.array([*numbered("a", 8), *numbered("b", 8), "a 0"], object)
    groups = np.array([str(number) for number in range(17)]) if grouped else None
    targets = np.array([0] * 8 + [1] * 8 + [0])
    split = data.arrays(texts, targets, labels=["a", "b"], groups=groups)
    assert split.quarantined == (Quarantined("a 0", "duplicate", "it occurs 2 times"),)


def test_different_numbers_of_one_text_do_not_contradict_each_other(tmp_path):
    lines = [f"great,{number % 5}\ntext {number},{number % 5}\n" for number in range(20)]
    (tmp_path / "t.csv").write_text("text,target\n" + "".join(lines))
    split = data.split(data.listing(tmp_path / "t.csv", kind="text", task="regression"))
    assert split.quarantined == ()
    assert sorted(("great" in part.inputs) for part in split.parts.values()) == [False, True]
    assert sum(split.sizes.values()) == 40


def test_numbers_in_memory_are_not_scanned():
    with pytest.raises(data.reading.InputError, match="a scan requires image files or texts, and there are none in"):
        data.scan(data.listing("digits"))


def test_half_of_an_emoji_in_json_is_no_reason_to_stop(tmp_path):
    rows = [{"text": f"cut \ud83d {number}", "label": "ab"[number % 2]} for number in range(8)]
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    texts = data.listing(tmp_path / "t.jsonl", kind="text").examples.inputs
    assert texts[0] == "cut \ufffd 0"
    assert [text.encode() for text in texts]
