import itertools

import pytest

from kerastrain.data.sources import label_sets
from kerastrain.errors import InputError

SETS = [["a"], ["b"], ["a", "b"], ["b", "c"]]


@pytest.mark.parametrize(
    ("write", "note"),
    [
        ("|".join, ""),
        (str, "the labels in column 'tags' are written as lists, such as \"['a', 'b']\""),
        (lambda labels: str(labels).replace("'", '"'), 'are written as lists, such as \'["a", "b"]\''),
        (lambda labels: str(labels).replace(",", ""), "are written as lists, such as \"['a' 'b']\""),
        (lambda labels: f"{{{','.join(labels)}}}", "are written as lists, such as '{a,b}'"),
        (",".join, "',' separates labels in column 'tags', such as "),
        ("; ".join, "';' separates labels in column 'tags', such as "),
        (" ".join, "a space separates labels in column 'tags', such as "),
        (list, ""),
    ],
)
def test_several_labels_in_a_cell_are_read_as_they_are_written(write, note):
    labels, notes = label_sets.parsed([write(labels) for labels in SETS], None, "column 'tags'")
    assert labels == SETS
    assert note in "".join(notes)
    assert bool(note) == bool(notes)


def test_a_separator_that_is_named_is_the_only_one():
    assert label_sets.parsed(["a, b;c", "d"], ";", "it") == ([["a, b", "c"], ["d"]], ())
    assert label_sets.parsed(["no finding", "a, b"], "|", "it") == ([["no finding"], ["a, b"]], ())


def test_an_empty_cell_has_no_label():
    assert label_sets.parsed(["a|b", "", None, float("nan"), "|"], None, "it")[0] == [["a", "b"], [], [], [], []]


def test_names_of_several_words_are_one_label():
    labels, notes = label_sets.parsed(["no finding", "pleural effusion", "mass"], None, "column 'tags'")
    assert labels == [["no finding"], ["pleural effusion"], ["mass"]]
    assert notes == ("no cell in column 'tags' has several labels; `data.columns.separator` sets what separates them",)


@pytest.mark.parametrize(
    ("cells", "shown"),
    [
        (
            ["salt, pepper", "sugar, honey"],
            "',' separates labels in it, such as '.*'. Set `data.columns.separator` to ','",
        ),
        (["finding", "no finding"], "a space separates labels in it, such as 'no finding'. Set .* to ' ', or to '|'"),
        ([f"{a} {b}" for a, b in itertools.product("xyz", "uvw")], "a space separates labels"),
    ],
)
def test_what_may_be_one_label_or_several_is_refused(cells, shown):
    with pytest.raises(InputError, match=f"it is unclear whether {shown}"):
        label_sets.parsed(cells, None, "it")
