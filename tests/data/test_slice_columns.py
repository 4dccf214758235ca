import numpy as np
import pytest

from kerastrain import config, data
from kerastrain.errors import InputError
from kerastrain.recipe import plan


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "texts.csv"
    rows = [f"text {number},{'pos' if number % 2 else 'neg'},{'AB'[number % 3 > 0]},{number}" for number in range(30)]
    rows[4] = "text 4,neg, ,NA"
    path.write_text("\n".join(["text,label,camera,age", *rows]))
    return path


def listed(table, *slices, **columns):
    return data.listing(table, kind="text", columns=data.Columns(slices=slices, **columns))


def test_slices_go_with_their_examples_through_the_split(table):
    listing = listed(table, "camera", "age")
    examples = listing.examples
    assert examples.slices["camera"][[0, 1, 4]].tolist() == ["A", "B", "(missing)"]
    assert examples.slices["age"][[3, 4]].tolist() == ["3", "(missing)"]
    assert "slices in the columns 'camera', 'age'" in listing.layout
    for rows in data.divide(listing).values():
        part = examples.subset(rows)
        assert part.slices["age"].tolist() == [
            "(missing)" if text == "text 4" else text.removeprefix("text ") for text in part.inputs
        ]
    with pytest.raises(InputError, match="`camera` must hold one value for each target. Received: 1 for 2"):
        data.Examples(np.array([0, 1]), ("a", "b"), np.zeros((2, 1)), slices={"camera": np.array(["A"], object)})


@pytest.mark.parametrize(
    ("slices", "columns", "message"),
    [
        (["kamera"], {}, "unknown column 'kamera'.* Did you mean 'camera'. Correct `data.columns.slices`"),
        (["camera", "camera"], {}, "must name each column once. Received: 'camera' twice"),
        (["text"], {}, "Received: 'text', which holds the inputs"),
        (["label"], {}, "must name other columns than the targets.* Received: 'label'"),
        (["camera"], {"targets": ("camera",)}, "must name other columns than the targets.* Received: 'camera'"),
    ],
)
def test_slices_that_cannot_be_are_refused(table, slices, columns, message):
    with pytest.raises(InputError, match=message):
        listed(table, *slices, **columns)


def test_the_table_of_a_part_without_the_column_is_named(table):
    folder = table.parent / "parts"
    folder.mkdir()
    (folder / "train.csv").write_text(table.read_text())
    (folder / "test.csv").write_text("text,label\none,pos\ntwo,neg\n")
    with pytest.raises(InputError, match="test.csv': unknown column 'camera'"):
        listed(folder, "camera")


def test_slices_of_a_folder_are_refused_by_its_config(tmp_path):
    for name in ("neg", "pos"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "texts.txt").write_text("a text")
    overrides = ["data.kind=text", f"data.path={tmp_path}", "data.columns.slices=camera"]
    loaded = config.load(overrides=overrides)
    assert loaded.data.columns.slices == ("camera",)
    with pytest.raises(InputError, match="`data.columns` requires a table or a named set"):
        plan.listing(loaded)


def test_the_words_of_texts_and_pairs_are_counted():
    texts = np.array(["a short text", "", "one"], object)
    counted = data.properties.properties(data.Examples(np.array([0, 1, 0]), ("a", "b"), texts))
    assert {name: values.tolist() for name, values in counted.items()} == {"words": [3.0, 0.0, 1.0]}
    pairs = np.array([["a b", "c"], ["d", "e"]], object)
    assert data.properties.properties(data.Examples(np.array([0, 1]), ("a", "b"), pairs))["words"].tolist() == [
        3.0,
        2.0,
    ]
    assert data.properties.properties(data.Examples(np.array([0, 1]), ("a", "b"), np.zeros((2, 3), np.float32))) == {}
