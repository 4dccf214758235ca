import gzip
import json

import pytest

from kerastrain import data
from kerastrain.data.sources import table_files
from kerastrain.data.sources.table import Columns
from kerastrain.errors import InputError

ROWS = [(f"a good, fine film {number}", "pos") for number in range(4)] + [
    (f"a dull film {number}", "neg") for number in range(4)
]


def written(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def quoted(rows, separator=","):
    return "".join(f'"{text}"{separator}{label}\n' for text, label in rows)


def as_json(rows):
    return [{"text": text, "label": label} for text, label in rows]


def texts_and_labels(listing):
    examples = listing.examples
    return list(zip(examples.inputs, [examples.labels[number] for number in examples.targets], strict=True))


FORMS = {
    "a.csv": "text,label\n" + quoted(ROWS),
    "a.csv.gz": gzip.compress(b"text,label\n" + quoted(ROWS).encode()),
    "pandas.csv": ",text,label\n" + "".join(f'{row},"{text}",{label}\n' for row, (text, label) in enumerate(ROWS)),
    "trailing.csv": "text,label,\n" + "".join(f'"{text}",{label},\n' for text, label in ROWS),
    "cr.csv": ("text,label\n" + quoted(ROWS)).replace("\n", "\r"),
    "semicolon.csv": "text;label\n" + quoted(ROWS, ";"),
    "a.tsv": "text\tlabel\n" + "".join(f"{text}\t{label}\n" for text, label in ROWS),
    "a.tab": "text\tlabel\n" + "".join(f"{text}\t{label}\n" for text, label in ROWS),
    "no_suffix": "text\tlabel\n" + "".join(f"{text}\t{label}\n" for text, label in ROWS),
    "a.dat": "text;label\n" + quoted(ROWS, ";"),
    "a.jsonl": "".join(json.dumps(row) + "\n" for row in as_json(ROWS)),
    "a.ndjson": "\n".join(json.dumps(row) for row in as_json(ROWS)) + "\n\n",
    "lines.json": "\n".join(json.dumps(row) for row in as_json(ROWS)),
    "lines": "\n".join(json.dumps(row) for row in as_json(ROWS)),
    "list.json": json.dumps(as_json(ROWS), indent=2),
    "inside.json": json.dumps({"version": 1, "data": as_json(ROWS)}),
    "columns.json": json.dumps({"text": [row[0] for row in ROWS], "label": [row[1] for row in ROWS]}),
    "pandas.json": json.dumps(
        {
            name: {str(row): ROWS[row][column] for row in range(len(ROWS))}
            for column, name in enumerate(["text", "label"])
        }
    ),  # fmt: skip
    "fasttext.txt": "".join(f"__label__{label} {text}\n" for text, label in ROWS),
    "a.train": "".join(f"__label__{label} , {text}\n" for text, label in ROWS),
}


@pytest.mark.parametrize("name", FORMS)
def test_a_table_is_read_whatever_its_form(tmp_path, name):
    listing = data.listing(written(tmp_path / name, FORMS[name]), kind="text")
    assert texts_and_labels(listing) == ROWS
    assert data.has_columns(tmp_path / name)
    assert listing.skipped == ()


def test_a_first_line_of_data_is_no_header(tmp_path):
    path = written(tmp_path / "a.csv", quoted(ROWS))
    listing = data.listing(path, kind="text")
    assert texts_and_labels(listing) == ROWS
    assert listing.notes[0] == f"the first line of '{path}' is data, so its columns are called 1 and 2"
    assert "the texts are in column '1', by their contents" in listing.notes
    news = written(tmp_path / "news.csv", "".join(f'"{row % 2 + 1}","Title {row}","Story {row}"\n' for row in range(6)))
    with pytest.raises(
        InputError,
        match="the first line of '.*news.csv' is data and does not name its columns: '1', 'Title 0', 'Story 0'. Add a "
        "line such as text,label before it, or name the columns by their numbers, such as data.columns.input=1",
    ):
        data.listing(news, kind="text")
    examples = data.listing(news, kind="text", columns=Columns(input=("2", "3"), targets=("1",))).examples
    assert (examples.inputs[1], examples.labels, examples.targets.tolist()) == (
        "Title 1 Story 1",
        ("1", "2"),
        [0, 1, 0, 1, 0, 1],
    )


def test_columns_without_a_name_or_with_the_same_name(tmp_path):
    spam = written(
        tmp_path / "spam.csv", "v1,v2,,\n" + "".join(f'{label},"{text}",,\n' for text, label in ROWS) + "pos,x,y,\n"
    )
    listing = data.listing(spam, kind="text")
    assert texts_and_labels(listing) == [*ROWS, ("x", "pos")]
    assert f"column 3 of '{spam}' has no name and is not read" in listing.notes
    twice = written(tmp_path / "b.csv", "label,text,label\npos,a,1\nneg,b,2\n")
    with pytest.raises(
        InputError, match="names in the header of .* must be unique. Received: 'label' twice. Rename one"
    ):
        data.listing(twice, kind="text")
    copied = written(tmp_path / "c.csv", "label,text,label\npos,a,pos\nneg,b,neg\n")
    assert texts_and_labels(data.listing(copied, kind="text")) == [("a", "pos"), ("b", "neg")]


def test_lines_of_fasttext_may_have_several_labels_or_none(tmp_path):
    path = written(
        tmp_path / "a.txt", "__label__b __label__a x y\n__label__b z\nno label\n__label__a\n\n__label__c w\n"
    )
    listing = data.listing(path, kind="text", task="multi_label")
    assert listing.examples.labels == ("a", "b", "c")
    assert listing.examples.targets.tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 1]]
    assert listing.examples.inputs.tolist() == ["x y", "z", "w"]
    assert [(row.path, row.reason) for row in listing.skipped] == [
        (f"line 3 of '{path}'", "it has no __label__"),
        (f"line 4 of '{path}'", "it has no text"),
    ]
    listing = data.listing(path, kind="text")
    assert listing.skipped[2].reason == (
        "column 'label' is ['b', 'a'] and must be a class, and several are for data.task=multi_label"
    )


def test_a_broken_line_of_json_is_skipped_and_a_document_refused(tmp_path):
    lines = [json.dumps(row) for row in as_json(ROWS)]
    path = written(tmp_path / "a.jsonl", "\n".join([*lines[:2], "[1]", *lines[2:], '{"text": "cut']))
    listing = data.listing(path, kind="text")
    assert texts_and_labels(listing) == ROWS
    assert [(row.kind, row.path, row.reason) for row in listing.skipped] == [
        ("incomplete", f"line 3 of '{path}'", "it is not an object with the names and values of its fields"),
        ("incomplete", f"line 10 of '{path}'", "it is not valid JSON (unterminated string starting at)"),
    ]
    coco = written(tmp_path / "coco.json", json.dumps({"images": [{}], "annotations": [{}], "info": {}}, indent=1))
    with pytest.raises(
        InputError, match="must be a list of objects.* Received: an object with the keys images, annotations"
    ):
        data.listing(coco)
    with pytest.raises(InputError, match="neither one JSON object per line nor one JSON document"):
        data.listing(written(tmp_path / "b.json", "{not json"))


def test_a_missing_field_of_json_is_an_empty_cell(tmp_path):
    path = written(tmp_path / "a.jsonl", '{"text": "a", "label": 1}\n{"text": "b"}\n{"label": 0, "text": "c"}\n')
    listing = data.listing(path, kind="text")
    assert texts_and_labels(listing) == [("a", "1"), ("c", "0")]
    assert listing.skipped[0].reason == "it has no value in column 'label'"


@pytest.mark.parametrize(
    ("name", "start"), [("a.xlsx", b"PK\x03\x04"), ("a.xls", b"\xd0\xcf\x11\xe0"), ("a.csv", b"PK\x03\x04")]
)
def test_a_spreadsheet_is_refused(tmp_path, name, start):
    with pytest.raises(
        InputError, match=rf"'.*{name}' is a spreadsheet, which is not read. Save the sheet as CSV in UTF-8"
    ):
        data.listing(written(tmp_path / name, start + b"x" * 9))


def test_only_texts_that_are_surely_tables_are_tables_where_lines_of_text_are_expected(tmp_path):
    lines = written(tmp_path / "a.txt", "well, a film\nso, a play\n")
    assert not table_files.is_table(lines)
    assert table_files.is_table(lines, is_only_choice=True)
    assert table_files.is_table(written(tmp_path / "b.txt", "text,label\na,b\n"))
    assert not table_files.is_table(written(tmp_path / "c.txt", "one film\nanother film, too\n"), is_only_choice=True)


@pytest.mark.parametrize(
    ("first", "is_data"),
    [
        ("text", False),
        ("utterances", False),
        ("a film that is good", True),
        ("im/1.png", True),
        ("0.5", True),
        ("what,mood", False),
        ("what they said about it,mood", True),
        ("pos,1", True),
        ("good,pos", True),
        ("Image Index,Finding Labels", False),
    ],
)
def test_a_header_is_told_from_data(tmp_path, first, is_data):
    path = written(tmp_path / "a.csv", f"{first}\n" + ("x,pos\ny,neg\n" if "," in first else "x\ny\n"))
    assert table_files.read(path).has_names != is_data
    assert len(table_files.read(path)) == 2 + is_data


def test_lines_above_the_header_are_refused_and_repeated_headers_left_out(tmp_path):
    body = "text,label\n" + quoted(ROWS)
    for start in ("# by hand\n", "Reviews of films,\n"):
        with pytest.raises(
            InputError, match="must name the columns. Received: '.*', and the names in line 2. Remove what"
        ):
            data.listing(written(tmp_path / "a.csv", start + body), kind="text")
    path = written(tmp_path / "b.csv", body + "text,label\n" + 'last,"pos"\n')
    listing = data.listing(path, kind="text")
    assert texts_and_labels(listing) == [*ROWS, ("last", "pos")]
    assert f"left out 1 line of '{path}' with the names of the columns, the first in line 10" in listing.notes
