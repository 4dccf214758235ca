"""Tables of examples to leave out, on folders, tables, texts and arrays."""

import numpy as np
import pytest

from kerastrain import data, testing
from kerastrain.data import exclusions, overlap
from kerastrain.errors import InputError

HEADER = "action,key,digest,kind,given_label,proposed_label\n"


@pytest.fixture
def folder(tmp_path):
    return testing.colour_folder(tmp_path / "photos", count=4, size=(8, 8))


def applied(tmp_path, listing, rows, header=HEADER, **options):
    path = tmp_path / "proposals.csv"
    path.write_text(header + rows, encoding="utf-8")
    return exclusions.apply(listing, exclusions.read(path), source="the table", **options)


def digest(listing, index):
    return exclusions.digest_text(overlap.digests(listing.examples.subset(np.array([index])))[0])


def test_examples_of_a_folder_are_left_out_by_their_keys_and_after_renaming_by_their_digests(folder, tmp_path):
    listing = data.listing(folder)
    rows = f"exclude,red/000.png,,leakage,red,\nlook,none.png,,,,\nexclude,blue/old.png,{digest(listing, 0)},blurred,blue,\n"
    left = applied(tmp_path, listing, rows)
    assert listing.examples.keys[0] == "blue/000.png"
    assert set(listing.examples.keys) - set(left.examples.keys) == {"red/000.png", "blue/000.png"}
    assert left.notes[-1] == "data.exclude: left out 2 examples of the table (1 leakage, 1 blurred)"


def test_a_spreadsheet_with_semicolons_and_a_byte_order_mark_is_read(folder, tmp_path):
    header = "\ufeff" + HEADER.replace(",", ";")
    left = applied(tmp_path, data.listing(folder), 'Exclude;"red/001.png";;;;\n;;;;;\n', header)
    assert len(left) == 11
    assert left.notes[-1] == "data.exclude: left out 1 example of the table (1 without a kind)"


def test_relabelled_examples_get_the_label(folder, tmp_path):
    left = applied(tmp_path, data.listing(folder), "relabel,red/000.png,,label_error,red,BLUE\n")
    assert left.examples.targets[left.examples.keys.index("red/000.png")] == left.examples.labels.index("blue")
    assert left.notes[-1] == "data.exclude: relabelled 1 example of the table"


def test_texts_and_arrays_without_keys_are_found_by_their_digests(tmp_path):
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "neg.txt").write_text("a bad film\nworse, much worse\nthe worst\n")
    (tmp_path / "texts" / "pos.txt").write_text("a fine film\n=best of all\n")
    listing = data.listing(tmp_path / "texts", kind="text")
    left = applied(tmp_path, listing, f"exclude,,{digest(listing, 4)},short,pos,\nexclude,the worst,,,neg,\n")
    assert list(left.examples.inputs) == ["a bad film", "worse, much worse", "a fine film"]
    digits = data.listing("digits")
    left = applied(tmp_path, digits, f"exclude,,{digest(digits, 7)},dark,7,\n")
    assert len(left) == len(digits) - 1


def test_predefined_parts_stay_those_of_their_examples(tmp_path):
    for part in ("train", "test"):
        testing.colour_folder(tmp_path / "photos" / part, count=2, size=(8, 8))
    left = applied(tmp_path, data.listing(tmp_path / "photos"), "exclude,train/red/000.png,,,,\n")
    assert (left.predefined_split == "train").sum() == 5
    assert all(key.startswith(part) for key, part in zip(left.examples.keys, left.predefined_split, strict=True))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            "exclude,red/9.png,,,red,\n",
            r"Received: the table, of which line 2 \('red/9.png'\) matches no example of '.*photos', or one that has changed "
            r"since. Remove the row, or run `kerastrain data check` again.",
        ),
        ("exclude,red/000.png,blake2:0000000000000001,,red,\n", "matches no example of"),
        (
            "drop,red/000.png,,,red,\n",
            "line 2 of '.*proposals.csv': unknown action 'drop'. Known: exclude, look, relabel",
        ),
        (
            "exclude,red/000.png,123,,red,\n",
            "digest must be as `kerastrain data check` writes it, such as blake2:0+ff. Rec",
        ),
        ("exclude,,,,red,\n", "line 2 of '.*proposals.csv' has neither key nor digest. Add one, or remove the row."),
        (
            "relabel,red/000.png,,,red,\n",
            "line 2 of '.*': relabel needs a proposed_label. Received: none. Write the label.",
        ),
        (
            "relabel,red/000.png,,,red,bleu\n",
            "line 2 of the table: unknown class 'bleu'. Known: .* Did you mean 'blue'?",
        ),
        (
            "exclude,red/000.png,,,red,\nrelabel,red/000.png,,,red,blue\n",
            "the table, whose lines 2 and 3 want exclude and relabel to 'blue' for 'red/000.png'. Remove one.",
        ),
    ],
)
def test_a_row_that_is_not_understood_is_refused(folder, tmp_path, rows, message):
    with pytest.raises(InputError, match=message):
        applied(tmp_path, data.listing(folder), rows)


def test_a_missing_file_or_another_table_is_refused(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match="`data.exclude`: there is no file 'none.csv'. Give a proposals.csv of"):
        exclusions.read("none.csv")
    (tmp_path / "quarantine.csv").write_text("path,kind,reason\n")
    with pytest.raises(
        InputError, match="with the columns path, kind, reason, without action. Give a proposals.csv of"
    ):
        exclusions.read(tmp_path / "quarantine.csv")
    (tmp_path / "latin.csv").write_bytes("action,key\nexclude,café.png\n".encode("latin-1"))
    with pytest.raises(InputError, match="which is not UTF-8. Save it so."):
        exclusions.read(tmp_path / "latin.csv")


def test_what_is_written_is_read_again_and_is_no_formula(tmp_path):
    rows = [
        {"action": "exclude", "key": "=1+1", "digest": exclusions.digest_text(7), "score": 0.5},
        {"action": "look", "key": "'a"},
    ]
    path = exclusions.write(rows, tmp_path / "table.csv")
    assert path.read_text().splitlines()[1] == "exclude,,,,,,0.5,,,'=1+1,blake2:0000000000000007"
    read = exclusions.read(path)
    assert [(row.action, row.key, row.digest) for row in read] == [("exclude", "=1+1", 7), ("look", "'a", None)]


def test_rows_of_classes_that_are_left_out_anyway_need_not_match(folder, tmp_path):
    listing = data.listing(folder, exclude_classes=["red"])
    assert len(applied(tmp_path, listing, "exclude,red/000.png,,,red,\n", without=["Red"])) == 8


def test_only_classes_are_relabelled(tmp_path):
    (tmp_path / "table.csv").write_text("text,score\n" + "".join(f"text {n},{n}.5\n" for n in range(9)))
    listing = data.listing(tmp_path / "table.csv", kind="text", task="regression")
    with pytest.raises(
        InputError, match="relabels only examples of one class each. Received: line 2 of the table with rel"
    ):
        applied(tmp_path, listing, "relabel,text 1,,,,3\n")
