import numpy as np
import pytest
from PIL import Image

from kerastrain import data
from kerastrain.data.image_files.stores import ImageFiles
from kerastrain.errors import InputError


def examples(**changes):
    defaults = {"targets": np.array([0, 1, 1]), "labels": ("a", "b"), "inputs": np.arange(6.0).reshape(3, 2)}
    return data.Examples(**{**defaults, **changes})


def test_examples_count_their_classes():
    assert examples().class_counts.tolist() == [1, 2]
    multi_hot = np.array([[1, 0], [1, 1], [0, 0]], np.float32)
    assert examples(targets=multi_hot, task="multi_label").class_counts.tolist() == [2, 1]
    assert examples(targets=multi_hot, task="regression").class_counts is None


def test_subset_keeps_everything_that_belongs_to_an_example(tmp_path):
    paths = tuple(str(tmp_path / f"{number}.png") for number in range(3))
    for number, path in enumerate(paths):
        Image.new("RGB", (5, 4), (number, 0, 0)).save(path)
    whole = examples(
        inputs=ImageFiles(paths, (4, 5)),
        weights=np.array([1, 2, 3], np.float32),
        groups=np.array(["x", "y", "z"]),
        paths=paths,
    )
    part = whole.subset([2, 0])
    assert (part.targets.tolist(), part.weights.tolist(), part.groups.tolist()) == ([1, 0], [3, 1], ["z", "x"])
    assert part.paths == (paths[2], paths[0])
    assert part.read(np.arange(2))[:, 0, 0, 0].tolist() == [2, 0]
    assert (part.shape, part.image_size, part.dtype, len(part)) == ((4, 5, 3), (4, 5), np.uint8, 2)


def test_strata_hold_alike_targets():
    assert examples().strata.tolist() == [0, 1, 1]
    multi_hot = np.array([[1, 0], [1, 1], [1, 0]], np.float32)
    assert examples(targets=multi_hot, task="multi_label").strata.tolist() == [0, 1, 0]
    numbers = np.arange(50, dtype=np.float32)[:, None]
    bins = data.Examples(numbers, ("age",), numbers, "regression").strata
    assert np.bincount(bins).tolist() == [5] * 10
    assert (np.diff(bins) >= 0).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task": "multilabel"}, "unknown task 'multilabel'. Known: .* Did you mean 'multi_label'"),
        ({"targets": np.array([0, 1])}, "`inputs` must hold one value for each target. Received: 3 for 2."),
        ({"targets": np.array([0, 1, 2])}, r"`targets` must lie in \[0, 2\), .* Received: 0 to 2."),
        ({"targets": np.zeros(3)}, r"must be whole numbers of shape \(3,\) for task 'single_label' and 2 labels"),
        ({"targets": np.zeros((3, 4)), "task": "multi_label"}, r"float numbers of shape \(3, 2\) .* \(3, 4\)"),
        ({"targets": np.full((3, 2), 0.5), "task": "multi_label"}, "must be 0 or 1"),
        ({"targets": np.array([[0.0], [np.nan], [0.0]]), "labels": ("age",), "task": "regression"}, "at index 1"),
        ({"weights": np.array([1.0, -1.0, 0.0])}, "`weights` must be finite and >= 0"),
    ],
)
def test_examples_refuse_what_breaks_their_rules(changes, message):
    with pytest.raises(InputError, match=message):
        examples(**changes)
