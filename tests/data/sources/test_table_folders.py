import json

import numpy as np
import pytest
from PIL import Image

from kerastrain import data
from kerastrain.data.sources.table import Columns
from kerastrain.errors import InputError

PAIRS = [(f"a fine film {number}", "pos") for number in range(5)] + [
    (f"a dull film {number}", "neg") for number in range(5)
]


def csv_text(pairs, header="text,label\n", separator=","):
    return header + "".join(f"{text}{separator}{label}\n" for text, label in pairs)


def fasttext(pairs):
    return "".join(f"__label__{label} {text}\n" for text, label in pairs)


def as_jsonl(pairs):
    return "".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in pairs)


def write(folder, files):
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    return folder


def images(folder, names):
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (3, 3), (number, 0, 0)).save(folder / name)
    return folder


def parts(listing):
    if listing.predefined_split is None:
        return {"": len(listing)}
    names, counts = np.unique(listing.predefined_split, return_counts=True)
    return dict(zip(names.tolist(), counts.tolist(), strict=True))


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"train.csv": csv_text(PAIRS), "test.csv": csv_text(PAIRS[:4])}, {"train": 10, "test": 4}),
        ({"train.tsv": csv_text(PAIRS, "text\tlabel\n", "\t"), "dev.tsv": csv_text(PAIRS[4:6], "text\tlabel\n", "\t")},
         {"train": 10, "validation": 2}),
        ({"imdb_train.jsonl": as_jsonl(PAIRS), "imdb_test.jsonl": as_jsonl(PAIRS[:3])}, {"train": 10, "test": 3}),
        ({"cooking.train": fasttext(PAIRS), "cooking.valid": fasttext(PAIRS[3:7])}, {"train": 10, "validation": 4}),
        ({"train.ft.txt": fasttext(PAIRS), "test.ft.txt": fasttext(PAIRS[:1])}, {"train": 10, "test": 1}),
        ({"train.txt": csv_text(PAIRS, "", ";"), "val.txt": csv_text(PAIRS[2:7], "", ";"),
          "test.txt": csv_text(PAIRS[:4], "", ";")}, {"train": 10, "validation": 5, "test": 4}),
        ({"train-00000-of-00002.jsonl": as_jsonl(PAIRS[:4]), "train-00001-of-00002.jsonl": as_jsonl(PAIRS[4:]),
          "test-00000-of-00001.jsonl": as_jsonl(PAIRS[:2])}, {"train": 10, "test": 2}),
        ({"data/train.csv": csv_text(PAIRS), "data/test.csv": csv_text(PAIRS[:4])}, {"train": 10, "test": 4}),
        ({"train/a.csv": csv_text(PAIRS), "test/a.csv": csv_text(PAIRS[:4])}, {"train": 10, "test": 4}),
        ({"reviews.csv": csv_text(PAIRS), "README.md": "About."}, {"": 10}),
        ({"cooking.stackexchange.txt": fasttext(PAIRS)}, {"": 10}),
        ({"SMSSpamCollection": csv_text([(label, text) for text, label in PAIRS], "", "\t"), "readme": "About."}, {"": 10}),
    ],
)  # fmt: skip
def test_tables_and_lines_in_a_text_folder_are_read_in_their_form(tmp_path, files, expected):
    listing = data.listing(write(tmp_path, files), kind="text")
    assert listing.examples.labels == ("neg", "pos")
    assert parts(listing) == expected
    assert {text for text in listing.examples.inputs if "," in text or ";" in text or "__label__" in text} == set()
    assert set(listing.examples.inputs) == {text for text, _ in PAIRS}


def test_files_of_classes_with_a_text_per_line_stay_what_they_are(tmp_path):
    write(tmp_path, {"neg.txt": "well, a film\nso, a play\n", "pos.txt": "yes, fine\nand, good\n"})
    listing = data.listing(tmp_path, kind="text")
    assert listing.examples.labels == ("neg", "pos")
    assert listing.examples.inputs.tolist() == ["well, a film", "so, a play", "yes, fine", "and, good"]


def test_a_part_without_classes_is_left_aside(tmp_path):
    write(
        tmp_path,
        {"train.csv": csv_text(PAIRS), "test.csv": "id,text\n1,a film\n", "sample_submission.csv": "id,label\n1,x\n"},
    )
    listing = data.listing(tmp_path, kind="text")
    assert parts(listing) == {"train": 10}
    assert listing.notes == (
        f"did not read '{tmp_path}/sample_submission.csv', because its name denotes no part",
        f"left aside '{tmp_path}/test.csv' (1 row), because it has no column 'label'",
    )
    write(tmp_path, {"test.csv": csv_text([("a film", -1), ("a play", -1)])})
    assert data.listing(tmp_path, kind="text").notes[1] == (
        f"left aside '{tmp_path}/test.csv' (2 rows), because its column 'label' is -1 in all rows"
    )


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            {"a.csv": csv_text(PAIRS), "b.csv": csv_text(PAIRS)},
            "several tables, and their names denote no parts: a.csv, b.csv",
        ),
        ({"train.csv": csv_text(PAIRS), "train_v2.csv": csv_text(PAIRS)}, "^$"),
        (
            {"a_train.csv": csv_text(PAIRS), "a_train.tsv": csv_text(PAIRS), "a_test.csv": csv_text(PAIRS)},
            "contains the tables a_train.csv and a_train.tsv, both for train. Keep one, or give the path",
        ),
        (
            {"val.csv": csv_text(PAIRS), "test.csv": csv_text(PAIRS)},
            "contains test.csv, val.csv but no train. Name the table",
        ),
        (
            {"train.txt": "a film\nan actor, good\n", "test.txt": "one\n"},
            "test.txt' is named after a part and must say the class",
        ),
        (
            {"train.csv": csv_text(PAIRS, "a,b,c\n").replace("\nf", "\n"), "test.csv": csv_text(PAIRS)},
            "must have 3 values",
        ),
    ],
)
def test_tables_that_are_unclear_are_refused(tmp_path, files, message):
    write(tmp_path, files)
    if message == "^$":  # A table with the name of a part alone wins.
        assert parts(data.listing(tmp_path, kind="text")) == {"": 10}
        return
    with pytest.raises(InputError, match=message):
        data.listing(tmp_path, kind="text")


def rows(names):
    return [(name, "cat" if number % 2 else "dog") for number, name in enumerate(names)]


def test_tables_name_the_images_of_a_folder(tmp_path):
    names = [f"{number}.png" for number in range(6)]
    images(tmp_path, [f"train_images/{name}" for name in names] + [f"test_images/{name}" for name in names])
    write(
        tmp_path,
        {"train.csv": csv_text(rows(names), "image_id,label\n"), "sample_submission.csv": "image_id,label\n0.png,1\n"},
    )
    listing = data.listing(tmp_path)
    assert listing.examples.labels == ("cat", "dog")
    assert listing.examples.paths == tuple(f"{tmp_path}/train_images/{name}" for name in names)
    write(tmp_path, {"test.csv": csv_text(rows(names), "image_id,label\n")})
    listing = data.listing(tmp_path)
    assert parts(listing) == {"train": 6, "test": 6}
    assert listing.examples.paths[6:] == tuple(f"{tmp_path}/test_images/{name}" for name in names)
    assert listing.layout.startswith(
        "tables for the parts, in train.csv, test.csv; a table separated by commas, with images"
    )


def test_a_table_in_each_folder_of_parts_names_its_images(tmp_path):
    names = [f"{number}.png" for number in range(4)]
    images(tmp_path, [f"{part}/{name}" for part in ("train", "test") for name in names])
    write(tmp_path, {f"{part}/metadata.csv": csv_text(rows(names), "file_name,label\n") for part in ("train", "test")})
    listing = data.listing(tmp_path)
    assert parts(listing) == {"train": 4, "test": 4}
    assert listing.examples.paths[0] == f"{tmp_path}/train/0.png"


def test_folders_of_classes_win_over_a_table_that_says_the_same_or_nothing(tmp_path):
    names = [f"{label}/{number}.png" for number in range(2) for label in ("cat", "dog")]
    images(tmp_path, names)
    write(tmp_path, {"labels.csv": csv_text([(name, name[:3]) for name in names], "path,label\n")})
    assert data.listing(tmp_path).layout.startswith("one folder of images per class")
    write(tmp_path, {"labels.csv": "class,count\ncat,2\ndog,2\n"})
    assert data.listing(tmp_path).layout.startswith("one folder of images per class")


def test_the_table_with_the_columns_is_taken_among_several(tmp_path):
    names = [f"{number}" for number in range(4)]
    images(tmp_path, [f"train/{name}.png" for name in names])
    write(
        tmp_path,
        {"labels.csv": csv_text(rows(names), "id,breed\n"), "sample_submission.csv": "id,cat,dog\n7,0.5,0.5\n"},
    )
    listing = data.listing(tmp_path)
    assert listing.examples.labels == ("cat", "dog")
    assert (
        f"did not read '{tmp_path}/sample_submission.csv', because it is not the table of the examples" in listing.notes
    )
    write(tmp_path, {"labels.csv": "id,x,y1\n0,a,b\n1,b,b\n2,a,c\n3,d,b\n"})
    with pytest.raises(InputError, match="unknown column 'label'|several tables"):
        data.listing(tmp_path)


def test_a_table_beside_the_texts_of_classes_is_read_only_if_it_says_the_classes(tmp_path):
    write(tmp_path, {"neg.txt": "a\nb\n", "pos.txt": "c\nd\n", "notes.csv": "file,size\na,1\n"})
    assert data.listing(tmp_path, kind="text").examples.inputs.tolist() == ["a", "b", "c", "d"]
    folder = write(tmp_path / "more", {"neg/1.txt": "a", "pos/1.txt": "b", "notes.csv": "file,size\na,1\n"})
    assert data.listing(folder, kind="text").examples.inputs.tolist() == ["a", "b"]
    write(folder, {"train.csv": csv_text(PAIRS)})
    listing = data.listing(folder, kind="text")
    assert len(listing) == 10
    assert f"did not read the folder '{folder}/neg', because the texts are in tables" in listing.notes


def test_documents_in_json_are_no_tables_of_a_folder(tmp_path):
    write(
        tmp_path, {"neg.txt": "a\nb\n", "pos.txt": "c\nd\n", "info.json": '{"version": 1}', "x.json": '{\n"a": [1]\n}'}
    )
    assert data.listing(tmp_path, kind="text").examples.labels == ("neg", "pos")
    assert not data.has_columns(tmp_path, "text")


def test_keys_without_an_effect_are_refused(tmp_path):
    write(tmp_path, {"train.csv": csv_text(PAIRS), "test.csv": csv_text(PAIRS)})
    with pytest.raises(
        InputError, match="the parts of '.*' are its tables. Received: data.columns.split=label. Remove it"
    ):
        data.listing(tmp_path, kind="text", columns=Columns(split="label"))
    with pytest.raises(
        InputError, match="`data.columns.folder` and `data.columns.suffix` are for images. Received: kind"
    ):
        data.listing(tmp_path, kind="text", columns=Columns(suffix=".txt"))
    with pytest.raises(InputError, match="`data.columns` requires a table or a named set"):
        data.listing(images(tmp_path / "classes", ["a/1.png", "b/1.png"]), columns=Columns(folder="a"))
