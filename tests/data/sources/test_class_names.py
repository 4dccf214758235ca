import os
import unicodedata

import pytest

from kerastrain.data.sources import class_names


@pytest.mark.parametrize(
    ("names", "ordered"),
    [
        (["10", "9", "1", "-2"], ("-2", "1", "9", "10")),
        (["1.5", "10", "0.25"], ("0.25", "1.5", "10")),
        (["01", "1", "002"], ("01", "1", "002")),
        (["10", "9", "b"], ("10", "9", "b")),
        (["--5", "1"], ("--5", "1")),
        ([], ()),
    ],
)
def test_numbers_are_in_the_order_of_their_values(names, ordered):
    assert class_names.ordered(names) == ordered


def test_spellings_of_one_name_are_one_class():
    decomposed = unicodedata.normalize("NFD", "café")
    labels, notes = class_names.spellings({decomposed: 3, "café": 1, "Dog": 2, "dog ": 2, "bird": 1})
    assert labels == {decomposed: "café", "café": "café", "Dog": "dog", "dog ": "dog", "bird": "bird"}
    assert notes == (
        f"the names '{decomposed}' (3) and 'café' (1) that look alike are one class, 'café'",
        "the names 'Dog' (2) and 'dog ' (2) are one class, 'dog'",
    )


def test_the_most_frequent_spelling_is_the_label():
    assert class_names.spellings({"CAT": 5, "cat": 4})[0] == {"CAT": "CAT", "cat": "CAT"}


def test_letters_in_both_cases_are_characters():
    targets, labels, notes = class_names.numbered(list("aAbBcCd"))
    assert labels == tuple("ABCabcd")
    assert [labels[target] for target in targets] == list("aAbBcCd")
    assert notes == ("small and capital letters are different classes (3 pairs)",)
    assert class_names.numbered(["a", "A", "b"])[1] == ("a", "b")


def test_names_that_are_not_utf8_are_read_as_windows_1252():
    name = os.fsdecode("thé".encode("cp1252"))
    targets, labels, notes = class_names.of_files([name, "eau", name])
    assert (targets.tolist(), labels) == ([1, 0, 1], ("eau", "thé"))
    assert notes == ("names that are not UTF-8 are read as Windows-1252: 'thé'",)
