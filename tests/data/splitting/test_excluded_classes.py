import numpy as np
import pytest

from kerastrain import data
from kerastrain.data.splitting import classes
from kerastrain.errors import InputError

PARTS = np.array(["train", "train", "test", "test", "train", "train"])


def listing(task="single_label", targets=(0, 1, 0, 1, 2, 2)):
    targets = np.array(targets, np.int64 if task == "single_label" else np.float32)
    inputs = np.array([f"text {row}" for row in range(len(targets))], object)
    examples = data.Examples(targets, ("neg", "pos", "unsup"), inputs, task, keys=tuple(inputs))
    return data.Listing("'reviews'", examples, PARTS[: len(targets)], notes=("a note",))


def test_an_excluded_class_is_gone_with_its_examples():
    left = data.without_classes(listing(), ["neg"])
    assert left.examples.labels == ("pos", "unsup")
    assert left.examples.targets.tolist() == [0, 0, 1, 1]
    assert left.examples.inputs.tolist() == ["text 1", "text 3", "text 4", "text 5"]
    assert left.predefined_split.tolist() == ["train", "test", "train", "train"]
    assert left.notes == ("a note", "left out the class 'neg' with 2 examples, as data.exclude_classes says")


@pytest.mark.parametrize("names", ["UNSUP", ["unsup"], ["Unsup "]])
def test_a_name_may_be_given_in_any_case_and_alone(names):
    assert data.without_classes(listing(), names).examples.labels == ("neg", "pos")


def test_nothing_excluded_changes_nothing():
    whole = listing()
    assert data.without_classes(whole, ()) is whole


def test_an_example_keeps_its_other_labels():
    left = data.without_classes(listing("multi_label", [[1, 0, 1], [0, 0, 1], [0, 0, 0], [0, 1, 0]]), ["unsup"])
    assert left.examples.targets.tolist() == [[1, 0], [0, 0], [0, 1]]
    assert left.examples.inputs.tolist() == ["text 0", "text 2", "text 3"]


@pytest.mark.parametrize(
    ("task", "targets", "message"),
    [
        ("single_label", (0, 1, 2), "`data.exclude_classes`: unknown class 'unsupp'. Known: .* Did you mean 'unsup'?"),
        ("regression", [[1, 2, 3]], "`data.exclude_classes` requires classes. Received: task 'regression'"),
    ],
)
def test_what_cannot_be_excluded_is_refused(task, targets, message):
    with pytest.raises(InputError, match=message):
        data.without_classes(listing(task, targets), ["unsupp"])


def test_a_class_that_a_part_lacks_is_noted():
    assert classes.notes(listing()) == [
        "no examples in test: the class 'unsup'; data.exclude_classes=[unsup] leaves it out"
    ]
    assert classes.notes(data.without_classes(listing(), "unsup")) == []


def test_a_class_that_train_lacks_is_refused_before_anything_is_drawn():
    whole = listing(targets=(0, 0, 1, 2, 0, 0))
    with pytest.raises(
        InputError,
        match=r"^classes 'pos', 'unsup' of 'reviews' have no training example and cannot be learned\. Move some "
        "examples to train, or leave them out with data.exclude_classes=.pos,unsup..$",
    ):
        data.divide(whole)


def test_every_source_can_leave_out_classes(tmp_path):
    (tmp_path / "table.csv").write_text(
        "text,label\n" + "".join(f"{word} {row},{word}\n" for row in range(9) for word in "abc")
    )
    for word in "abc":
        (tmp_path / "lines" / f"{word}.txt").parent.mkdir(exist_ok=True)
        (tmp_path / "lines" / f"{word}.txt").write_text("".join(f"{word} {row}\n" for row in range(9)))
    np.savez(tmp_path / "a.npz", inputs=np.zeros((30, 4), np.uint8), targets=np.arange(30) % 3, labels=list("abc"))
    for path, options in (("table.csv", {"kind": "text"}), ("lines", {"kind": "text"})):
        left = data.listing(tmp_path / path, exclude_classes=["b"], **options)
        assert (left.examples.labels, left.examples.class_counts.tolist()) == (("a", "c"), [9, 9])
    assert data.digits(image_size=(8, 8), exclude_classes=["0", "9"]).labels == tuple("12345678")


def test_labels_of_a_model_are_found_in_any_case():
    examples = data.under_labels(listing(), ("unsup", "Pos", "neg"))
    assert examples.labels == ("unsup", "Pos", "neg")
    assert examples.targets.tolist() == [2, 1, 2, 1, 0, 0]
