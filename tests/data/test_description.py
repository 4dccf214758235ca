"""What is said about a source before a model is trained on it."""

import numpy as np
import pytest

from kerastrain import data
from kerastrain.data.image_files.quarantine import Quarantined
from kerastrain.data.splitting.listings import Listing
from kerastrain.errors import InputError


def examples(targets, labels, inputs=None, **options):
    inputs = np.array(inputs if inputs is not None else [f"text {row}" for row in range(len(targets))], object)
    return data.Examples(np.array(targets), tuple(labels), inputs, keys=tuple(inputs), **options)


def described(listing, **rows):
    return data.describe(listing, {part: listing.examples.subset(np.array(chosen)) for part, chosen in rows.items()})


def test_classes_are_counted_by_part_and_shown_with_two_examples():
    listing = Listing(
        "'reviews'",
        examples([0, 1, 0, 0], ["neg", "pos"], ["dull", "a " + "very " * 20 + "long\ntext", "bad", "worse"]),
        layout="one file per class, a text on each line",
        notes=("2 files with the suffix .md were skipped",),
        skipped=(Quarantined("line 7 of 'reviews/neg.txt'", "incomplete", "it has no text"),),
    )
    assert described(listing, train=[0, 1], validation=[2, 3]) == [
        "source: 'reviews'",
        "layout: one file per class, a text on each line",
        "examples: 2 train, 2 validation",
        "classes: 2",
        "  neg: 3 (1 train, 2 validation), such as 'dull' and 'bad'",
        "  pos: 1 (1 train, 0 validation), such as 'a very very very very very very very very very ver…'",
        "skipped: 1 incomplete (line 7 of 'reviews/neg.txt': it has no text)",
        "note: 2 files with the suffix .md were skipped",
    ]


def test_labels_and_numbers_are_described_too():
    targets = np.array([[1, 0], [0, 0], [1, 1]], np.float32)
    many = Listing("'x.csv'", examples(targets, ["red", "round"], task="multi_label"))
    assert described(many, train=[0, 1, 2])[2:] == [
        "labels: 2",
        "  red: 2 (2 train), such as 'text 0' and 'text 2'",
        "  round: 1 (1 train), such as 'text 2'",
        "  without a label: 1",
    ]
    ages = Listing("'x.csv'", examples(np.array([[3], [9]], np.float32), ["age"], task="regression"))
    assert described(ages, train=[0, 1])[2:] == ["numbers: 1", "  age: 3 to 9, mean 6"]


def test_of_many_classes_the_first_are_shown():
    listing = Listing("'x'", examples(np.arange(42) // 2, [f"class {number}" for number in range(21)]))
    lines = described(listing, train=range(42))
    assert lines[-1] == "  and 11 more, with 2 examples each"
    assert len(lines) == 3 + 10 + 1


def test_more_skipped_examples_than_allowed_end_the_reading():
    skipped = tuple(Quarantined(f"line {line}", "incomplete", "it has no label") for line in range(2, 7))
    listing = Listing("'x.csv'", examples([0, 1] * 5, "ab"), skipped=skipped)
    with pytest.raises(InputError) as error:
        data.split(listing, unreadable_fraction=0.3)
    assert str(error.value) == (
        "5 of 15 examples of 'x.csv' cannot be used, more than the fraction 0.3 that `data.unreadable_fraction` allows: "
        "line 2: it has no label; line 3: it has no label; line 4: it has no label; and 2 more. Repair or remove them, or "
        "raise `data.unreadable_fraction` to skip them."
    )
    assert data.split(listing, unreadable_fraction=0.34, validation_fraction=0.4).quarantined == skipped
