"""Tables of pairs of texts: how they are read, what is said, and what is refused."""

import json

import numpy as np
import pytest

from kerastrain import data
from kerastrain.data.sources import tables
from kerastrain.errors import InputError

PAIR = data.Columns(input="premise", pair="hypothesis")
ROWS = [
    ("a man sleeps", "a man rests", "yes"),
    ("a man sleeps", "a man runs", "no"),
    ("a dog runs", "an animal runs", "yes"),
    ("a dog runs", "a dog sits", "no"),
]


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "nli.csv"
    path.write_text("premise,hypothesis,label\n" + "".join(f"{','.join(row)}\n" for row in ROWS))
    return path


def listing(path, columns=PAIR):
    return data.listing(path, kind="text", columns=columns)


def test_a_table_of_pairs_is_read_and_described(table):
    read = listing(table)
    assert read.examples.inputs.tolist() == [list(row[:2]) for row in ROWS]
    assert read.examples.shape == (2,)
    assert "with first texts of pairs in column 'premise', second texts in column 'hypothesis'" in read.layout
    assert read.notes == (
        "2 of 4 pairs have the first text of another pair, also across parts; data.columns.group=premise keeps them together",
    )


def test_jsonl_and_joined_columns_are_read_in_the_written_order(tmp_path):
    path = tmp_path / "pairs.jsonl"
    records = [{"a": f"first {n}", "b": "x", "c": f"second {n}", "label": str(n % 2)} for n in range(4)]
    path.write_text("".join(f"{json.dumps(record)}\n" for record in records))
    read = listing(path, data.Columns(input=("b", "a"), pair="c"))
    assert read.examples.inputs[0].tolist() == ["x first 0", "second 0"]


def test_a_row_without_a_second_text_is_skipped(table):
    table.write_text(table.read_text() + "a cat sits,,no\n")
    (skipped,) = listing(table).skipped
    assert (skipped.path, skipped.reason) == (f"line 6 of '{table}'", "column 'hypothesis' is empty")


def test_equal_pairs_with_other_classes_contradict_but_equal_premises_do_not(table):
    table.write_text(table.read_text() + "a dog runs,a dog sits,yes\n")
    scan = data.scan(listing(table))
    assert scan.kept.tolist() == [0, 1, 2]
    assert {(item.path, item.kind) for item in scan.quarantined} == {("a dog runs | a dog sits", "contradiction")}


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (data.Columns(), "read pairs of texts with data.columns.input=premise data.columns.pair=hypothesis"),
        (data.Columns(input="premise", pair="premise"), "the two texts of a pair must be different columns"),
        (data.Columns(input="premise", pair="hypotesis"), "Did you mean 'hypothesis'. Correct `data.columns.pair`"),
    ],
)
def test_near_misses_are_refused(table, columns, message):
    with pytest.raises(InputError, match=message):
        listing(table, columns)


def test_pairs_are_for_texts(table):
    with pytest.raises(InputError, match="`data.columns.pair` is for texts. Received: hypothesis, with images"):
        tables.listing(table, kind="images", columns=PAIR)


def test_joining_the_columns_of_a_pair_is_said(table):
    notes = listing(table, data.Columns(input=("premise", "hypothesis"))).notes
    assert (
        "'premise' and 'hypothesis' are joined to one text; data.columns.input=premise data.columns.pair=hypothesis reads "
        "them as pairs of texts"
    ) in notes


def test_pairs_share_digests_only_if_both_texts_are_equal():
    def examples(*pairs):
        return data.Examples(np.zeros(len(pairs), int), ("a", "b"), np.array(pairs, object))

    first, second, third = data.overlap.digests(examples(("a b", "c"), ("a", "b c"), ("a b", "c")))
    assert first == third != second


def test_sharded_sets_refuse_pairs(table, tmp_path):
    with pytest.raises(InputError, match="Received: pairs of texts. Keep them in a table"):
        data.write_tfrecords(listing(table), tmp_path / "records")
