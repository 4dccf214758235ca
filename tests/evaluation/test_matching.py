import dataclasses

import numpy as np
import pytest

from kerastrain.errors import InputError
from kerastrain.evaluation import Predictions
from kerastrain.evaluation.matching import aligned


def run(digests, targets, *, labels=("cat", "dog"), keys=None, task="single_label", outputs=None):
    count = len(digests)
    outputs = np.arange(count * len(labels)).reshape(count, -1) if outputs is None else outputs
    return Predictions(targets, outputs, labels, task, keys=keys, digests=np.array(digests, np.uint64))


def test_another_order_of_examples_and_labels_is_the_same():
    first = run([7, 9, 8], [0, 1, 1])
    second = run([9, 8, 7], [0, 0, 1], labels=("dog", "cat"), outputs=[[9, 0], [8, 0], [7, 0]])
    one, other = aligned({"a": first, "b": second}).values()
    assert one.digests.tolist() == other.digests.tolist() == [7, 8, 9]
    assert one.targets.tolist() == other.targets.tolist() == [0, 1, 1]
    assert other.labels == ("cat", "dog")
    assert other.outputs.tolist() == [[0, 7], [0, 8], [0, 9]]


def test_equal_inputs_are_paired_by_their_targets_and_keys():
    first = run([5, 5, 5], [1, 0, 1], keys=("x", "y", "z"), outputs=[[1, 0], [2, 0], [3, 0]])
    second = run([5, 5, 5], [0, 1, 1], keys=("y", "z", "x"), outputs=[[2, 1], [3, 1], [1, 1]])
    one, other = aligned({"a": first, "b": second}).values()
    assert one.keys == other.keys == ("y", "x", "z")
    assert one.outputs[:, 0].tolist() == other.outputs[:, 0].tolist() == [2, 1, 3]


@pytest.mark.parametrize("task", ["multi_label", "regression"])
def test_several_targets_are_aligned_too(task):
    first = run([5, 5], [[0, 1], [1, 0]], task=task)
    second = run([5, 5], [[0, 1], [1, 0]], task=task, labels=("dog", "cat"))
    one, other = aligned({"a": first, "b": second}).values()
    assert one.targets.tolist() == other.targets.tolist() == [[0, 1], [1, 0]]


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (
            run([7, 8, 8, 1], [0, 1, 1, 0]),
            "3 of 'a' and 4 of 'b', of which 2 are the same. Evaluate both on the same data",
        ),
        (run([7, 8, 9], [0, 0, 1]), "1 of 3 examples whose answers in 'a' and 'b' differ, such as '2'"),
        (run([7, 8, 9], [0, 1, 1], labels=("cat", "fox")), "only 'a' has 'dog'"),
        (run([7, 8, 9], [0, 1, 1], labels=("cat", "dog", "fox")), "'a' with 2 and 'b' with 3; only 'b' has 'fox'"),
        (run([7, 8, 9], [[0, 1]] * 3, task="multi_label"), "'a' (single_label) and 'b' (multi_label)"),
        (dataclasses.replace(run([7, 8, 9], [0, 1, 1]), digests=None), "Received: 'b' without them"),
    ],
)
def test_other_examples_are_refused_with_how_many_are_shared(second, message):
    with pytest.raises(InputError) as error:
        aligned({"a": run([7, 8, 9], [0, 1, 1]), "b": second})
    assert message in str(error.value)
