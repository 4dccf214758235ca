import pytest

from kerastrain.data.sources import delimited
from kerastrain.errors import InputError


def read(text, separator=","):
    return delimited.read(text, "'x.csv'", separator)


def cells(text, separator=","):
    return [row.cells for row in read(text, separator).rows]


@pytest.mark.parametrize(
    ("text", "separator", "expected"),
    [
        ("text,label\na,b\n", ",", [["text", "label"], ["a", "b"]]),
        ("text;label\na,x;b\nc;d\n", ",", [["text", "label"], ["a,x", "b"], ["c", "d"]]),
        ("text\tlabel\na,\tb\n", ",", [["text", "label"], ["a,", "b"]]),
        ("text|label\na|b\n", ",", [["text", "label"], ["a", "b"]]),
        ("text,label\na,b\n", "\t", [["text", "label"], ["a", "b"]]),
        ("path;age\na.png;3,5\nb.png;4,1\n", ",", [["path", "age"], ["a.png", "3,5"], ["b.png", "4,1"]]),
        ("sep=;\ntext;label\na;b\n", ",", [["text", "label"], ["a", "b"]]),
        ("Sport;'Ein ; Text'\nWeb;'It''s'\n", ",", [["Sport", "Ein ; Text"], ["Web", "It's"]]),
        ("a/1.jpg 0\nb/2.jpg 1\n", None, [["a/1.jpg", "0"], ["b/2.jpg", "1"]]),
        ("text\na\nb, c\n", ",", [["text"], ["a"], ["b, c"]]),
        ("text,label\n", ",", [["text", "label"]]),
        ("", ",", []),
    ],
)
def test_the_separator_is_that_of_all_rows(text, separator, expected):
    assert cells(text, separator) == expected


def test_another_separator_than_expected_is_said():
    assert read("text;label\na;b\n").notes == ["the columns of 'x.csv' are separated by semicolons"]
    assert read("text,label\na;x,b\n").notes == []


def test_values_in_quotation_marks_contain_separators_quotation_marks_and_line_ends():
    text = 'text,label\n"a, ""x""",b\n"two\nlines",d\nz, "e, f"\n5" pipe,g\n'
    rows = read(text).rows
    assert [row.cells for row in rows[1:]] == [['a, "x"', "b"], ["two\nlines", "d"], ["z", "e, f"], ['5" pipe', "g"]]
    assert [(row.line, row.last_line) for row in rows] == [(1, 1), (2, 2), (3, 4), (5, 5), (6, 6)]
    assert read(text).notes == ["1 row of 'x.csv' spans several lines, in quotation marks, the first from line 3 to 4"]


def test_between_tabs_a_quotation_mark_is_a_letter_unless_it_encloses_the_whole_value():
    rows = ['"Hello\tham', 'bye"\tspam', '"whole ""q"""\tham', '"Hello" and "bye"\tham', '"\tham', '"a\tb"\tham']
    assert cells("\n".join(["text\tlabel", *rows]), "\t")[1:] == [
        ['"Hello', "ham"],
        ['bye"', "spam"],
        ['whole "q"', "ham"],
        ['"Hello" and "bye"', "ham"],
        ['"', "ham"],
        ["a\tb", "ham"],
    ]
    content = read('text\tlabel\n"two\nlines"\tham\nx\tham\n', "\t")
    assert [row.cells for row in content.rows[1:]] == [["two\nlines", "ham"], ["x", "ham"]]
    assert "the first from line 2 to 3" in content.notes[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('text,label\na,pos\n"open,pos\nx,neg\n', "mark that opens in line 3 of 'x.csv' is never closed. Close it"),
        (
            'text,label\na,pos\n"so good,pos\nx,neg\ny,neg\ngreat",neg\nbad,neg\n',
            "mark that opens in line 3 of 'x.csv' closes only in line 6, and the lines between look like rows. Close it",
        ),
        (
            'text,label\n"a\nb",x\n"open,pos\nz,"u, v"\n',
            "opens in line 4 of 'x.csv' closes only in line 5, in the middle",
        ),
        ("a,b\nc\nd\n", "line 2 of 'x.csv' must have 2 values, .* Received: 1. Put quotes around values that contain"),
    ],
)
def test_rows_that_cannot_be_told_apart_are_refused_where_they_begin(text, message):
    with pytest.raises(InputError, match=message):
        read(text)


def test_a_text_of_two_lines_is_no_swallowed_row():
    assert cells('text,label\ngood,pos\n"Hello, you\nbye",pos\nbad,neg\n')[2] == ["Hello, you\nbye", "pos"]


def test_a_quotation_mark_that_does_not_enclose_a_value_is_a_letter_if_the_row_is_clear():
    rows = read('text,label\n"Hello" he said,pos\n"a" b, c,neg\nx,neg\n').rows
    assert (rows[1].cells, rows[1].fault) == (['"Hello" he said', "pos"], "")
    assert rows[2].fault == "a quotation mark closes in the middle of a value"
    assert (rows[3].cells, rows[3].line) == (["x", "neg"], 4)


def test_rows_of_another_width_are_reported():
    content = read("text,label,note\na,b,c,d\ne,f\ng,h,i\nj,k,l,,\n")
    assert [row.fault for row in content.rows] == ["", "it has 4 values, and the first line has 3", "", "", ""]
    assert content.rows[2].cells == ["e", "f", delimited.ABSENT]
    assert content.rows[4].cells == ["j", "k", "l"]
    assert content.notes == ["1 row of 'x.csv' with separators after the last value, which are ignored"]


def test_lines_without_a_value_are_left_out_and_counted():
    content = read("\ntext,label\na,b\n,\n\nc,d\n , \n\n")
    assert [row.line for row in content.rows] == [2, 3, 6]
    assert content.notes == ["left out 5 lines of 'x.csv' without any value, the first in line 1"]


def test_numbers_of_rows_without_a_name_are_no_values():
    content = read("text,label\n1,a,b\n2,c,d\n")
    assert [row.cells for row in content.rows[1:]] == [["a", "b"], ["c", "d"]]
    assert content.notes == ["the first column of 'x.csv' has no name and is taken as the numbers of the rows"]


def test_a_text_is_a_table_if_its_rows_are_even():
    assert delimited.looks_delimited("ham\tGo, now\nspam\tFree\n")
    assert delimited.looks_delimited("i am, well;joy\nok;sadness\n")
    assert not delimited.looks_delimited("a film\nanother, longer film\nthe last\n")
