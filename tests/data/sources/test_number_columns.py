"""Columns of numbers beside images and texts: how they are read, what is said, and what is refused."""

import dataclasses

import numpy as np
import pytest

from kerastrain import data
from kerastrain.config import load
from kerastrain.data.sources import number_columns, tables
from kerastrain.errors import ConfigError, InputError
from kerastrain.recipe import inputs as finding

COLUMNS = data.Columns(numbers=("age", "weight"))
ROWS = [("bad", "20", "61.5", "no"), ("good", "", "70", "yes"), ("fine", "40", "NA", "no"), ("poor", "36", "64", "yes")]
NAN = float("nan")


@pytest.fixture
def table(tmp_path):
    return write(tmp_path / "t.csv", ROWS)


def write(path, rows):
    path.write_text("text,age,weight,label\n" + "".join(f"{','.join(row)}\n" for row in rows))
    return path


def listing(path, columns=COLUMNS, **options):
    return data.listing(path, kind="text", columns=columns, **options)


def described(path, columns=COLUMNS, **options):
    read = listing(path, columns, **options)
    return data.describe(read, {"train": read.examples})


def test_numbers_are_read_and_described_with_range_and_missing(table):
    examples = listing(table).examples
    assert examples.number_names == ("age", "weight")
    np.testing.assert_array_equal(examples.numbers, np.array([[20, 61.5], [NAN, 70], [40, NAN], [36, 64]], "float32"))
    lines = described(table)
    assert "numbers beside them in the columns 'age', 'weight'" in lines[1]
    assert lines[lines.index("inputs beside each text: 2 numbers") :] == [
        "inputs beside each text: 2 numbers",
        "  age: 20 to 40, mean 32; missing in 1 of 4 examples",
        "  weight: 61.5 to 70, mean 65.1667; missing in 1 of 4 examples",
        "note: a missing number counts as the mean of the training part, and the model is told that it is missing",
    ]


def test_numbers_with_a_decimal_comma_are_read(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("text;age;weight;label\n" + "".join(f"t {n};{n};{n},5;{n % 2}\n" for n in range(6)))
    assert listing(path).examples.numbers[3].tolist() == [3.0, 3.5]


def test_a_text_among_the_numbers_is_refused_with_its_row(tmp_path):
    path = write(tmp_path / "t.csv", [*ROWS, ("so", "old", "60", "no"), ("la", "inf", "60", "no")])
    with pytest.raises(
        InputError,
        match=r"line 6 of '.*t.csv': column 'age' must hold a number, or be empty where it is missing. Received: 'old'. "
        "Invalid too: 1 more row.",
    ):
        listing(path)


def test_a_column_without_any_number_is_refused(tmp_path):
    path = write(tmp_path / "t.csv", [(text, "", weight, label) for text, _, weight, label in ROWS])
    with pytest.raises(InputError, match="column 'age' has no number in any training example"):
        described(path)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (data.Columns(numbers=("agee",)), "unknown column 'agee'.*Did you mean 'age'.*Correct `data.columns.numbers`"),
        (data.Columns(numbers=("age", "age")), "must name each column once. Received: 'age' twice"),
        (data.Columns(numbers=("label",)), "column 'label' is what the model is to predict, and cannot be an input"),
        (data.Columns(numbers=("age",), targets=("age",)), "column 'age' is what the model is to predict"),
        (data.Columns(numbers=("text",)), "column 'text' is in `data.columns.numbers` and in `data.columns.input`"),
    ],
)
def test_a_column_with_another_role_is_refused(table, columns, message):
    with pytest.raises(InputError, match=message):
        listing(table, columns)


def test_a_constant_column_and_one_that_tells_the_answer_are_said(tmp_path):
    rows = [(f"text {n}", "5", str(n % 2), ("no", "yes")[n % 2]) for n in range(8)]
    lines = described(write(tmp_path / "t.csv", rows))
    assert "  age: 5 in all examples, so that it adds nothing" in lines
    assert (
        "note: column 'weight' tells the class of every example: leave it out of data.columns.numbers unless it is known "
        "before the answer"
    ) in lines
    rows = [(f"text {n}", str(3 * n + 1), str(n * n), str(n)) for n in range(8)]
    lines = described(write(tmp_path / "r.csv", rows), task="regression")
    assert [line for line in lines if "tells" in line] == [
        "note: column 'age' tells 'label' of every example: leave it out of data.columns.numbers unless it is known before "
        "the answer"
    ]


def test_equal_texts_with_other_numbers_are_other_examples(tmp_path):
    rows = [("same", "1", "2", "no"), ("same", "2", "2", "yes"), ("same", "1", "2", "yes"), ("else", "4", "2", "no")]
    scan = data.scan(listing(write(tmp_path / "t.csv", rows)))
    assert scan.kept.tolist() == [1, 3]
    assert {item.kind for item in scan.quarantined} == {"contradiction"}


def test_numbers_count_in_the_fingerprint(table):
    examples = listing(table).examples
    other = dataclasses.replace(examples, numbers=examples.numbers + 1)
    prints = {data.fingerprint(data.Split(part)) for part in (examples, other, examples.without_numbers())}
    assert len(prints) == 3


def test_batches_hold_the_numbers_of_their_examples(table):
    examples = listing(table).examples
    (texts, numbers), targets = next(iter(data.batches(examples, 4, shuffle=True, seed=3)))
    order = [[row[0] for row in ROWS].index(text.decode()) for text in texts.numpy()]
    assert order != [0, 1, 2, 3]
    np.testing.assert_array_equal(numbers, examples.numbers[order])
    assert targets.shape == (4, 2)


def test_images_with_numbers_are_not_blended():
    examples = data.Examples(
        np.array([0, 1]),
        ("a", "b"),
        np.zeros((2, 8, 8, 3), "uint8"),
        numbers=np.ones((2, 1), "float32"),
        number_names=("n",),
    )
    with pytest.raises(InputError, match="mixup and cutmix blend images, but not the numbers beside them"):
        data.batches(examples, 2, augment=data.augment("mixup"))
    with pytest.raises(ConfigError, match="augment must not use mixup or cutmix with columns.numbers"):
        load(None, ["data.columns.numbers=[age]", "data.augment=[cutmix]", "data.path=t.csv"])


@pytest.mark.parametrize(
    "numbers", [np.ones((2, 2), "float32"), np.ones((2, 1)), np.full((2, 1), np.inf, "float32"), None]
)
def test_numbers_that_do_not_fit_are_refused(numbers):
    with pytest.raises(InputError, match=r"`numbers` must be float32 of shape \(2, 1\)"):
        data.Examples(np.array([0, 1]), ("a", "b"), np.zeros((2, 3), "float32"), numbers=numbers, number_names=("n",))


def test_a_run_finds_the_numbers_of_the_rows_and_a_bad_row_costs_only_itself(tmp_path):
    path = write(tmp_path / "t.csv", [*ROWS[:2], ("so", "old", "60", "no")])
    config = load(
        None, ["data.kind=text", f"data.path={path}", "data.columns.numbers=[age,weight]", "data.columns.input=text"]
    )
    found = finding.find(config, [str(path)])
    assert [(item.value, item.numbers[1]) for item in found.found] == [("bad", 61.5), ("good", 70.0)]
    assert np.isnan(found.found[1].numbers[0])
    assert found.faults == (
        f"line 4 of '{path}': column 'age' is 'old' and must be a number, or be empty where it is missing.",
    )
    assert "missing numbers count as the mean of the training part: 'age' in 1 row" in found.notes[0]
    (fault,) = finding.find(config, ["a text"]).faults
    assert fault == (
        "the run reads 2 numbers beside each text. Received: 'a text', which has no columns. Give a table with the columns "
        "'text', 'age' and 'weight'."
    )
    with pytest.raises(InputError, match="the run reads 2 numbers beside each text"):
        finding.find(config, [], texts=["a text"])
    path.write_text("text,age\na,1\n")
    assert "unknown column 'weight'" in finding.find(config, [str(path)]).faults[0]


def test_a_table_of_a_run_may_have_other_names_but_not_fewer_numbers():
    config = load(None, ["data.columns.numbers=[age,weight]", "data.path=t.csv"])
    assert finding.override(config, ["data.columns.numbers=[a,b]"]).data.columns.numbers == ("a", "b")
    with pytest.raises(InputError, match="`data.columns.numbers` belongs to the trained model and cannot be changed"):
        finding.override(config, ["data.columns.numbers=[a]"])


def test_statistics_leave_out_what_is_missing():
    mean, stddev, missing = number_columns.statistics(np.array([[1, 5], [3, 5], [NAN, 5]]), ["a", "b"])
    assert (mean, stddev, missing) == ([2.0, 5.0], [1.0, 0.0], [True, False])


def test_sharded_sets_do_not_lose_the_numbers(table, tmp_path):
    with pytest.raises(InputError, match="sharded sets hold no numbers beside their inputs. Received: age, weight"):
        data.write_tfrecords(listing(table).examples, tmp_path / "sharded")


def test_inputs_without_numbers_have_none(table):
    assert tables.inputs(table, kind="text").numbers is None
