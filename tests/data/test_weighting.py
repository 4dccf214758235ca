import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

from kerastrain import data
from kerastrain.errors import InputError


def examples(classes, **more):
    classes = np.array(classes)
    return data.Examples(classes, tuple("abcdef"[: classes.max() + 1]), np.zeros((len(classes), 1)), **more)


def test_class_weights_equal_those_of_scikit_learn():
    classes = [0] * 7 + [1] * 2 + [2] * 11
    expected = compute_class_weight("balanced", classes=np.arange(3), y=classes)
    assert data.class_weights(examples(classes)) == pytest.approx(dict(enumerate(expected)))


def test_a_class_without_examples_has_no_weight():
    without_b = data.Examples(np.array([0, 0, 2]), ("a", "b", "c"), np.zeros((3, 1)))
    assert data.class_weights(without_b) == {0: 0.75, 2: 1.5}


def test_weighted_examples_weigh_what_their_class_does_times_their_own():
    with_weights = examples([0, 1, 1], weights=np.array([1, 2, 3], np.float32))
    assert data.weighted(with_weights, {1: 0.5}).weights.tolist() == [1, 1, 1.5]
    unweighted = examples([0, 0, 0, 1])
    balanced = data.weighted(unweighted, data.class_weights(unweighted))
    assert balanced.weights.dtype == np.float32
    assert balanced.weights.mean() == pytest.approx(1)


def test_class_weights_refuse_numbers():
    ages = data.Examples(np.zeros((2, 1), np.float32), ("age",), np.zeros((2, 1)), "regression")
    for function in (data.class_weights, lambda examples: data.weighted(examples, {})):
        with pytest.raises(InputError, match="class weights require classes. Received: task 'regression'"):
            function(ages)
    with pytest.raises(InputError, match="unknown class number 7. Known: 0, 1"):
        data.weighted(examples([0, 1]), {7: 2.0})
    with pytest.raises(InputError, match="`weights` must be finite and >= 0"):
        data.weighted(examples([0, 1]), {1: -2.0})


def many_labels():
    targets = np.array([[1, 0, 1], [0, 0, 1], [0, 1, 1], [0, 0, 1]], np.float32)
    return data.Examples(targets, ("a", "b", "always"), np.zeros((4, 1)), "multi_label")


def test_the_examples_with_a_label_weigh_as_much_as_those_without():
    weights = data.class_weights(many_labels())
    assert weights == {0: 3.0, 1: 3.0, 2: 1.0}
    weighted = data.weighted(many_labels(), {0: 3.0, 1: 0.5})
    assert (weighted.positive_weights, weighted.weights) == ((3.0, 0.5, 1.0), None)
    assert weighted.subset(np.array([1])).positive_weights == (3.0, 0.5, 1.0)
    with pytest.raises(InputError, match="`positive_weights` must be 3 finite numbers >= 0, one for each label"):
        data.weighted(many_labels(), {1: -2.0})


def parts(train, held_out):
    return {"train": examples(train), "validation": examples(held_out)}


def test_few_examples_are_told_once_with_what_to_expect():
    warning = data.small_data_warning(parts([0] * 30 + [1] * 12, [0] * 20 + [1] * 5))
    assert warning.startswith("few examples: validation has 25, so a measured accuracy of 80 % may be off by 16 points")
    assert "train has 12 of class 'b'" in warning
    few = parts([0] * 30 + [1] * 12, [0] * 20 + [1] * 5)
    assert "cross-validation (data.folds=5 data.fold=all) measures more precisely" in warning
    assert "all folds together measure more precisely" in data.small_data_warning(few, is_fold=True)
    assert data.small_data_warning(parts([0] * 20 + [1] * 20, [0] * 60 + [1] * 40)) is None
    assert "train has" not in data.small_data_warning(parts([0] * 20 + [1] * 20, [0] * 60 + [1] * 39))
    assert "validation" not in data.small_data_warning(parts([0] * 20 + [1] * 19, [0] * 60 + [1] * 40))


def test_few_numbers_are_told_by_their_error():
    ages = data.Examples(np.arange(8.0)[:, None], ("age",), np.zeros((8, 1)), "regression")
    warning = data.small_data_warning({"train": ages, "test": ages})
    assert "test has 8, so a measured error (RMSE) may be off by 49 %" in warning
