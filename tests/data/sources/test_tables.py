import csv
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from kerastrain import data
from kerastrain.data.sources import table_columns, tables
from kerastrain.data.sources.table import Columns
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
    with pytest.raises(
        InputError, match="1 of 5 examples of '.*m.csv' cannot be used, .*a/gone.png: it is missing. Repair"
    ):
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
        (
            [("path", "path"), ("a", "b")],
            {},
            "the column names in the header of .* must be unique. Received: 'path' twice",
        ),
        ([("path", ""), ("a", "b")], {}, "'.*m.csv' has no column of classes. It has: path. Add a column label"),
        ([("path", "label"), ("a/0.png",)], {}, "line 2 of .* must have 2 values, .* Received: 1. Put quotes"),
        (
            [("pth", "where", "label"), ("a/0.png", "b", "cat")],
            {},
            "has no column path, image, file, .* or filename. It has: pth, where, label. Set `data.columns.input` to",
        ),
        (
            [("path", "lable", "other"), ("a/0.png", "cat", "b")],
            {},
            "unknown column 'label'. Known: lable, other, path. Did you mean 'lable'.* Set `data.columns.targets` to the cl",
        ),
        (
            [("path", "label"), ("a/0.png", "-"), ("a/1.png", " ")][:1] + [("a/0.png", "NaN"), ("a/1.png", " ")],
            {},
            "line 2 of '.*m.csv': column 'label' must hold a class, .* Received: 'NaN'. Invalid too: 1 more row.$",
        ),
        (
            [("path", "label"), ("", "cat")],
            {},
            "line 2 of '.*': column 'path' must hold a text or a path. Received: ''",
        ),
        (
            [("path", "label"), ("gone.png", "cat"), ("lost.png", "dog")],
            {},
            "none of the images in .* exists: 'gone.png', 'lost.png'. Paths are relative to the folder of the table, ",
        ),
        (
            [("path", "age"), ("a/1.png", "nan"), ("b/2.png", "old")],
            {"task": "regression", "columns": Columns(targets=("age",))},
            "line 2 of .* column 'age' must hold a finite number. Received: 'nan'. Invalid too: 1 more row.$",
        ),
        (
            [("path", "cat", "dog"), ("a/0.png", "1", "2")],
            {"task": "multi_label", "columns": Columns(targets=("cat", "dog"))},
            "column 'dog' must hold 0 or 1. Received: '2'",
        ),
        (
            [("path", "cat", "dog"), ("a/0.png", "1", "0")],
            {"columns": Columns(targets=("cat", "dog"))},
            "`data.columns.targets` must be one column for task 'single_label'. Received: cat, dog. Name one",
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
    (tmp_path / "a.csv").write_bytes(b"path,label\na,\xff\xff\xff\xff\n")
    with pytest.raises(InputError, match="a.csv' must be UTF-8. Received: byte 0xff in line 2"):
        data.listing(tmp_path / "a.csv")
    (tmp_path / "b.csv").write_text('path,label\na,"b\n')
    with pytest.raises(InputError, match="mark that opens in line 2 of '.*b.csv' is never closed"):
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


# A class is one whatever its case, and the marks of missing values are none.
cells = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\r\x00\n"), max_size=12)
classes = st.sampled_from(["a, b", "1", 'x "y"', "ß;", "\u2028z"])


@given(st.dictionaries(cells.filter(table_columns.is_present), classes, min_size=1, max_size=20))
@settings(deadline=None, max_examples=60)
def test_every_row_is_read_as_it_was_written(tmp_path_factory, rows):
    path = write(tmp_path_factory.getbasetemp() / "any.csv", [("text", "label"), *rows.items()])
    examples = data.listing(path, kind="text").examples
    assert examples.inputs.tolist() == [text.strip() for text in rows]
    assert [examples.labels[target] for target in examples.targets] == [label.strip() for label in rows.values()]


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


def incomplete(listing):
    return [(row.kind, row.path.split(" of ")[0], row.reason) for row in listing.skipped]


def test_a_row_with_an_empty_or_invalid_cell_is_skipped_and_not_the_end(tmp_path):
    rows = [("a", "x", "1", "p"), ("b", "", "1", "p"), ("", "x", "1", "p"), ("c", "NaN", "1", "p"), ("d", "x", "-1", "p"),
            ("e", "y", "1", " "), ("f", "y", "2", "q")]  # fmt: skip
    path = write(tmp_path / "m.csv", [("text", "label", "w", "g"), *rows])
    listing = data.listing(path, kind="text", columns=Columns(weight="w", group="g"))
    assert listing.examples.inputs.tolist() == ["a", "f"]
    assert listing.examples.weights.tolist() == [1, 2]
    assert listing.examples.groups.tolist() == ["p", "q"]
    assert incomplete(listing) == [
        ("incomplete", "line 3", "column 'label' is empty"),
        ("incomplete", "line 4", "column 'text' is empty"),
        ("incomplete", "line 5", "column 'label' is 'NaN', which stands for a missing value"),
        ("incomplete", "line 6", "column 'w' is '-1' and must be a finite number >= 0"),
        ("incomplete", "line 7", "column 'g' is empty"),
    ]
    with pytest.raises(
        InputError, match="5 of 7 examples of '.*m.csv' cannot be used, .* line 3 of .*; and 2 more. Repair"
    ):
        data.split(listing)


def test_a_row_that_ends_early_is_incomplete_unless_nothing_is_needed_there(tmp_path):
    path = tmp_path / "m.csv"
    path.write_text("text,labels,note\na,x|y,z\nb,x\nc\nd,,z\n")
    listing = data.listing(path, kind="text", task="multi_label")
    assert listing.examples.inputs.tolist() == ["a", "b", "d"]
    assert listing.examples.targets.tolist() == [[1, 1], [1, 0], [0, 0]]
    assert incomplete(listing) == [("incomplete", "line 4", "it has no value in column 'labels'")]


def test_numbers_with_a_decimal_comma(folder):
    path = folder / "ages.csv"
    path.write_text("path;age\na/0.png;3,5\na/1.png;1.204,25\nb/2.png;4\nb/3.png;unknown\n")
    listing = data.listing(path, task="regression")
    assert listing.examples.targets.tolist() == [[3.5], [1204.25], [4]]
    assert "the numbers in column 'age' have a decimal comma" in listing.notes
    assert incomplete(listing) == [("incomplete", "line 5", "column 'age' is 'unknown' and must be a finite number")]


def test_whole_numbers_are_classes_without_decimals(tmp_path):
    path = write(tmp_path / "m.csv", [("text", "label"), ("a", "1.0"), ("b", "0.0"), ("c", "10"), ("d", "")])
    listing = data.listing(path, kind="text")
    assert listing.examples.labels == ("0", "1", "10")
    assert "the classes in column 'label' are whole numbers: 1.0 is read as 1" in listing.notes
    path = write(tmp_path / "v.csv", [("text", "label"), ("a", "1.0"), ("b", "1.5")])
    assert data.listing(path, kind="text").examples.labels == ("1.0", "1.5")


def test_columns_of_minus_one_and_one(folder):
    path = write(folder / "m.csv", [("path", "cat", "dog"), ("a/0.png", 1, -1), ("a/1.png", -1, -1)])
    listing = data.listing(path, task="multi_label")
    assert listing.examples.targets.tolist() == [[1, 0], [0, 0]]
    assert "the columns of the labels hold 1 and -1, and -1 is read as no" in listing.notes
    path = write(folder / "m.csv", [("path", "cat", "dog"), ("a/0.png", 1, -1), ("a/1.png", 0, 0)])
    listing = data.listing(path, task="multi_label", columns=Columns(targets=("cat", "dog")))
    assert incomplete(listing) == [("incomplete", "line 2", "column 'dog' is '-1' and must be 0 or 1")]


def test_a_row_for_each_label_is_joined_or_a_contradiction(folder):
    rows = [("a/0.png", "cat"), ("a/1.png", "dog"), ("a/../a/0.png", "dog"), ("b/2.png", "cat"), ("b/2.png", "cat")]
    path = write(folder / "m.csv", [("path", "label"), *rows])
    listing = data.listing(path, task="multi_label")
    assert listing.examples.targets.tolist() == [[1, 1], [0, 1], [1, 0], [1, 0]]
    assert listing.examples.keys == ("a/0.png", "a/1.png", "b/2.png", "b/2.png")
    assert listing.notes[-2:] == (
        "1 row with the image and the targets of another row; it counts as often as it occurs",
        "2 rows with one image each are joined to 1 image with all labels",
    )
    listing = data.listing(path)
    assert listing.examples.keys == ("a/1.png", "b/2.png", "b/2.png")
    assert incomplete(listing) == [
        (
            "contradiction",
            "line 2",
            f"it gives 'a/0.png' the class 'cat', but line 4 of '{path}' gives it the class 'dog'",
        ),
        (
            "contradiction",
            "line 4",
            f"it gives 'a/../a/0.png' the class 'dog', but line 2 of '{path}' gives it the class 'cat'",
        ),
    ]
    assert (
        listing.notes[-1]
        == "2 rows with the image of another row but another class; data.task=multi_label joins such rows"
    )


def test_repeated_rows_are_trained_on_as_they_are(folder):
    rows = [row[:2] for row in ROWS]
    path = write(folder / "m.csv", [HEADER[:2], *rows, *rows, rows[0]])
    split = data.split(data.listing(path, image_size=(4, 4)), validation_fraction=0)
    assert split.sizes == {"train": 9}
    assert split.quarantined == ()
    split = data.split(data.listing(path, image_size=(4, 4)), validation_fraction=0.5)
    assert not set(split.train.keys) & set(split.validation.keys)


def test_several_columns_of_text_are_joined_in_order(tmp_path):
    rows = [("one", "two", 0), ("", "three", 1), ("four", "NaN", 0), ("", " ", 1)]
    path = write(tmp_path / "m.csv", [("title", "body", "label"), *rows])
    listing = data.listing(path, kind="text", columns=Columns(input=("body", "title")))
    assert listing.examples.inputs.tolist() == ["two one", "three", "four"]
    assert listing.layout.startswith(
        "a table separated by commas, with texts in the columns 'body', 'title' joined by a space"
    )
    assert incomplete(listing) == [("incomplete", "line 5", "the columns 'body', 'title' are empty")]


def test_the_inputs_of_a_table_need_no_targets(folder):
    path = write(folder / "news.csv", [("id", "title", "body"), (1, "a", "b"), (2, "", ""), (3, "c", "d")])
    found = tables.inputs(path, kind="text", columns=Columns(input=("title", "body"), targets=("label",)))
    assert found.values == ("a b", "c d")
    assert found.rows == (f"line 2 of '{path}'", f"line 4 of '{path}'")
    assert [(row.path, row.reason) for row in found.skipped] == [
        (f"line 3 of '{path}'", "the columns 'title', 'body' are empty")
    ]
    path = write(folder / "images.csv", [("path",), ("a/0.png",), ("gone.png",)])
    assert tables.inputs(path).values == (str(folder / "a/0.png"), str(folder / "gone.png"))
    with pytest.raises(InputError, match="has several columns that may hold the texts: title, body"):
        tables.inputs(folder / "news.csv", kind="text")


def test_parquet_without_a_usual_name_and_with_an_index(tmp_path):
    arrow = pytest.importorskip("pyarrow")
    columns = {"review": ["a", None, "c"], "stars": [1.0, 2.0, None], "__index_level_0__": [5, 6, 7]}
    pytest.importorskip("pyarrow.parquet").write_table(arrow.table(columns), tmp_path / "m.parquet")
    listing = data.listing(tmp_path / "m.parquet", kind="text")
    assert (listing.examples.inputs.tolist(), listing.examples.labels) == (["a"], ("1",))
    assert incomplete(listing) == [
        ("incomplete", "row 2", "column 'review' is empty"),
        ("incomplete", "row 3", "column 'stars' is empty"),
    ]
