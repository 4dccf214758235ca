import csv
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from kerastrain import data
from kerastrain.data.sources import tables
from kerastrain.data.sources.table_columns import Columns
from kerastrain.errors import InputError
from kerastrain.system.optional_imports import MissingExtra

HEADER = ("path", "label", "split", "weight", "patient")
ROWS = [
    ("a/0.png", "cat", "train", "1", "p1"),
    ("a/1.png", "dog", "train", "0.5", "p1"),
    ("b/2.png", "dog", "val", "2", "p2"),
    ("b/3.png", "cat", "test", "1", "p3"),
]


def write(path, rows, delimiter=","):
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=delimiter).writerows(rows)
    return path


def write_images(folder, names):
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (3, 3), (number, 0, 0)).save(folder / name)


@pytest.fixture
def folder(tmp_path):
    write_images(tmp_path, [row[0] for row in ROWS])
    return tmp_path


def test_an_image_that_is_not_there_is_left_out(folder):
    rows = [row[:3] for row in ROWS]
    path = write(folder / "m.csv", [HEADER[:3], *rows, ("a/gone.png", "cat", "train")])
    split = data.manifest(path, image_size=(4, 4), unreadable_fraction=0.2)
    assert split.sizes == {"train": 2, "validation": 1, "test": 1}
    assert [(Path(file.path).name, file.reason) for file in split.quarantined] == [("gone.png", "it is missing")]
    with pytest.raises(InputError, match="1 of 5 files cannot be read as images, .*a/gone.png': it is missing"):
        data.manifest(path, image_size=(4, 4))


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet"])
def test_a_manifest_says_all_of_its_examples(folder, suffix):
    path = folder / f"all{suffix}"
    if suffix == ".parquet":
        arrow = pytest.importorskip("pyarrow")
        columns = dict(zip(HEADER, zip(*ROWS, strict=True), strict=True))
        columns["weight"] = [float(weight) for weight in columns["weight"]]
        pytest.importorskip("pyarrow.parquet").write_table(arrow.table(columns), path)
    else:
        write(path, [HEADER, *ROWS], "\t" if suffix == ".tsv" else ",")
    columns = Columns(weight="weight", group="patient")
    split = data.split(data.listing(path, image_size=(4, 4), columns=columns))
    assert (split.labels, split.task, split.sizes) == (
        ("cat", "dog"),
        "single_label",
        {"train": 2, "validation": 1, "test": 1},
    )
    assert split.train.targets.tolist() == [0, 1]
    assert split.train.weights.tolist() == [1, 0.5]
    assert split.train.groups.tolist() == ["p1", "p1"]
    assert split.train.keys == ("a/0.png", "a/1.png")
    assert split.validation.paths == (str(folder / "b/2.png"),)
    assert [int(part.image(0)[0, 0, 0]) for part in split.parts.values()] == [0, 2, 3]


def test_several_labels_stand_in_one_column_or_in_one_each(folder):
    names = [row[0] for row in ROWS]
    labels = ["cat|dog", "", "dog", " bird | cat "]
    joined = write(folder / "one.csv", [("path", "labels"), *zip(names, labels, strict=True)])
    truths = [(0, 1, 1), ("0", "false", 0), (0, 0, "True"), (1, "1.0", 0)]
    rows = [(name, *row) for name, row in zip(names, truths, strict=True)]
    separate = write(folder / "each.csv", [("path", "bird", "cat", "dog"), *rows])
    expected = [[0, 1, 1], [0, 0, 0], [0, 0, 1], [1, 1, 0]]
    for path, columns in ((joined, Columns()), (separate, Columns(targets=("bird", "cat", "dog")))):
        examples = data.listing(path, task="multi_label", columns=columns).examples
        assert (examples.labels, examples.targets.tolist()) == (("bird", "cat", "dog"), expected)
        assert examples.class_counts.tolist() == [1, 2, 2]


def test_numbers_are_targets_of_a_regression(folder):
    rows = [(row[0], f" {number}.5 ", number * 10) for number, row in enumerate(ROWS)]
    path = write(folder / "ages.csv", [("path", "age", "height"), *rows])
    columns = Columns(targets=("age", "height"))
    examples = data.listing(path, task="regression", columns=columns).examples
    assert (examples.labels, examples.task) == (("age", "height"), "regression")
    assert examples.targets.tolist() == [[0.5, 0], [1.5, 10], [2.5, 20], [3.5, 30]]


def test_texts_stand_in_the_manifest_themselves(tmp_path):
    texts = ['one, with a comma and "quotes"', "two\nlines", "  three ", "four\u2028and on", "x" * 200_000, "dogs"]
    rows = [(text, number % 2) for number, text in enumerate(texts)]
    path = write(tmp_path / "texts.csv", [("text", "label"), *rows])
    split = data.split(data.listing(path, kind="text"), validation_fraction=0)
    assert split.labels == ("0", "1")
    assert split.train.inputs.tolist() == [text.strip() for text in texts]
    assert csv.field_size_limit() == 131072


def test_classes_that_are_numbers_stand_in_their_order(tmp_path):
    path = write(tmp_path / "a.csv", [("text", "label"), *((f"text {number}", number) for number in range(12))])
    assert data.listing(path, kind="text").examples.labels == tuple(map(str, range(12)))


def test_a_manifest_is_counted_without_tensorflow(folder):
    import subprocess

    path = write(folder / "all.csv", [HEADER, *ROWS])
    code = (
        "import sys; from kerastrain import data; print(data.sizes(data.listing(sys.argv[1])));"
        "assert 'tensorflow' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "{'train': 2, 'validation': 1, 'test': 1}", done.stderr


def test_parquet_names_its_extra_when_it_is_not_there(tmp_path, monkeypatch):
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtra, match=r"read a Parquet file, .* pip install 'kerastrain\[parquet\]'"):
        data.listing(tmp_path / "a.parquet")
    assert issubclass(MissingExtra, ImportError)


def test_a_broken_parquet_file_is_told(tmp_path):
    pytest.importorskip("pyarrow")
    (tmp_path / "a.parquet").write_bytes(b"PAR1 and nothing else")
    with pytest.raises(InputError, match="cannot read '.*a.parquet' as a Parquet file: "):
        data.listing(tmp_path / "a.parquet")


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        ([], {}, "'.*m.csv' is empty. Its first line must name the columns"),
        ([("path", "label")], {}, "'.*m.csv' has no rows. Give a row for each example"),
        ([("path;label",), ("a/0.png;cat",)], {}, "must be separated by ','. Received: 'path;label', .* by ';'"),
        (
            [("path", "path"), ("a", "b")],
            {},
            "the column names in the header of .* must be unique. Received: 'path' twice",
        ),
        ([("path", ""), ("a", "b")], {}, "Received: a column without a name"),
        ([("path", "label"), ("a/0.png",)], {}, "line 2 of .* must have 2 values, .* Received: 1. Put quotes"),
        (
            [("pth", "label"), ("a/0.png", "cat")],
            {},
            "has no column path, image, file, .* or filename. It has: pth, label",
        ),
        (
            [("path", "lable"), ("a/0.png", "cat")],
            {},
            "unknown column 'label'. Known: lable, path. Did you mean 'lable'",
        ),
        (
            [("path", "label"), ("a/0.png", "cat"), ("a/1.png", " ")],
            {},
            "line 3 of '.*m.csv': column 'label' must hold a class. Received: ' '.$",
        ),
        ([("path", "label"), ("", "cat")], {}, "line 2 of '.*': column 'path' must hold a path. Received: ''"),
        (
            [("path", "label"), ("gone.png", "cat"), ("lost.png", "dog")],
            {},
            "none of the images in .* exists: 'gone.png', 'lost.png'. Paths are relative to the folder of the manifest",
        ),
        (
            [("path", "label"), ("a/0.png", "cat"), ("b/../a/0.png", "dog")],
            {},
            "line 3 of .* names the same image as line 2 of .*: 'b/../a/0.png'. Keep one",
        ),
        (
            [("path", "age"), ("a/0.png", "1"), ("a/1.png", "nan"), ("b/2.png", "old")],
            {"task": "regression", "columns": Columns(targets=("age",))},
            "line 3 of .* column 'age' must hold a finite number. Received: 'nan'. Invalid too: 1 more row.$",
        ),
        (
            [("path", "cat", "dog"), ("a/0.png", "1", "2")],
            {"task": "multi_label", "columns": Columns(targets=("cat", "dog"))},
            "column 'dog' must hold 0 or 1. Received: '2'",
        ),
        (
            [("path", "cat", "dog"), ("a/0.png", "1", "0")],
            {"columns": Columns(targets=("cat", "dog"))},
            "`columns.targets` must be one column for task 'single_label'. Received: cat, dog. Name one",
        ),
        ([("path", "labels"), ("a/0.png", "|")], {"task": "multi_label"}, "'labels' of .* names no class in any row"),
        ([("path", "label", "split"), ("a/0.png", "cat", "tran")], {}, "unknown part 'tran'. .* Did you mean 'train'"),
        (
            [("path", "label", "w"), ("a/0.png", "cat", "-1")],
            {"columns": Columns(weight="w")},
            "column 'w' must hold a finite number >= 0. Received: '-1'",
        ),
        (
            [("path", "label", "g"), ("a/0.png", "cat", "")],
            {"columns": Columns(group="g")},
            "column 'g' must hold the name of a group. Received: ''",
        ),
        ([("path", "label"), ("a/0.png", "cat")], {"columns": Columns(group="g")}, "unknown column 'g'"),
    ],
)
def test_a_manifest_tells_what_is_wrong(folder, rows, options, message):
    with pytest.raises(InputError, match=message):
        data.listing(write(folder / "m.csv", rows), **options)


def test_a_manifest_that_is_no_text_or_no_csv_or_not_there_is_told(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"path,label\na,b\xff\n")
    with pytest.raises(InputError, match="a.csv' must be UTF-8. Received: byte 0xff in line 2"):
        data.listing(tmp_path / "a.csv")
    (tmp_path / "b.csv").write_text('path,label\na,"b\n')
    with pytest.raises(InputError, match="line 2 of '.*b.csv' is not valid CSV: unexpected end of data"):
        data.listing(tmp_path / "b.csv")
    with pytest.raises(FileNotFoundError, match="no manifest at '.*c.csv'"):
        data.listing(tmp_path / "c.csv")


def test_groups_that_the_marks_part_are_told(folder):
    rows = [*ROWS[:3], (*ROWS[3][:4], "p1")]
    listing = data.listing(write(folder / "m.csv", [HEADER, *rows]), columns=Columns(group="patient"))
    with pytest.raises(
        InputError, match=r"one part, and group 'p1' of .* is in train and test \(groups in two parts: 1\)"
    ):
        data.sizes(listing)


def test_groups_stay_whole_when_the_manifest_is_divided(tmp_path):
    rows = [(f"text {number}", number % 3, f"p{number // 4}") for number in range(120)]
    path = write(tmp_path / "m.csv", [("text", "label", "patient"), *rows])
    listing = data.listing(path, kind="text", columns=Columns(group="patient"))
    split = data.split(listing, test_fraction=0.1)
    groups = [set(part.groups) for part in split.parts.values()]
    assert split.sizes == {"train": 84, "validation": 24, "test": 12}
    assert len(set.union(*groups)) == sum(map(len, groups)) == 30
    with pytest.raises(InputError, match=r"class '0' occurs in only one group \('p0'\)"):
        data.sizes(data.listing(write(path, [("text", "label", "patient"), *rows[:3]]), kind="text",
                                columns=Columns(group="patient")))  # fmt: skip


cells = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\r\x00"), max_size=12)


@given(st.lists(st.tuples(cells.filter(str.strip), cells.filter(str.strip)), min_size=1, max_size=20))
@settings(deadline=None, max_examples=60)
def test_every_row_is_read_as_it_was_written(tmp_path_factory, rows):
    path = write(tmp_path_factory.getbasetemp() / "any.csv", [("text", "label"), *rows])
    examples = data.listing(path, kind="text").examples
    assert examples.inputs.tolist() == [text.strip() for text, _ in rows]
    assert [examples.labels[target] for target in examples.targets] == [label.strip() for _, label in rows]


@given(st.binary(max_size=60))
@settings(deadline=None, max_examples=200)
def test_any_bytes_are_a_manifest_or_an_input_error(tmp_path_factory, content):
    path = Path(tmp_path_factory.getbasetemp(), "bytes.csv")
    path.write_bytes(content)
    try:
        table = tables.read(path)
    except InputError:
        return
    assert all(len(column) == len(table) for column in table.values.values())
    assert np.all(np.diff(table.rows) > 0)
