import numpy as np
import pytest

from kerastrain.data.splits import stratified
from kerastrain.errors import InputError


def split(labels, keys=None, *, validation=0.2, test=0.1, seed=0):
    keys = [f"{index}.jpg" for index in range(len(labels))] if keys is None else keys
    names = [f"class {number}" for number in range(max(labels) + 1)]
    return stratified(
        np.array(labels), keys, names=names, validation_fraction=validation, test_fraction=test, seed=seed
    )


def test_parts_share_nothing_and_cover_everything():
    parts = split([0] * 50 + [1] * 30)
    assert sorted(np.concatenate(list(parts.values()))) == list(range(80))


def test_each_class_is_divided_in_the_same_proportions():
    labels = np.array([0] * 50 + [1] * 30)
    parts = split(labels)
    counts = {part: np.bincount(labels[indices]).tolist() for part, indices in parts.items()}
    assert counts == {"train": [35, 21], "validation": [10, 6], "test": [5, 3]}


def test_no_class_is_left_out_when_its_share_rounds_to_nothing():
    labels = np.array([0] * 50 + [1] * 3)
    assert all(set(labels[indices]) == {0, 1} for indices in split(labels).values())


def test_part_is_absent_when_its_fraction_is_zero():
    assert list(split([0, 0, 1, 1], validation=0.5, test=0)) == ["train", "validation"]
    assert list(split([0, 0, 1, 1], validation=0, test=0)) == ["train"]


def test_split_is_the_same_for_the_same_seed_and_another_for_another():
    labels = [0] * 40 + [1] * 40
    first, again, other = (split(labels, seed=seed)["validation"].tolist() for seed in (3, 3, 4))
    assert first == again
    assert first != other


def test_files_stay_in_their_part_when_one_is_added():
    keys = [f"{index}.jpg" for index in range(100)]
    before = {keys[index] for index in split([0] * 100, keys)["train"]}
    after = {[*keys, "new.jpg"][index] for index in split([0] * 101, [*keys, "new.jpg"])["train"]}
    assert len(before - after) <= 2


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 0, 0, 1], "class 'class 1' has one example, too few for train, validation, test: 1 for test and 1 for"),
        ([0, 0, 0, 1, 1], "class 'class 1' has 2 examples, too few .* leaves none to train on"),
    ],
)
def test_input_error_names_the_class_when_it_is_too_small(labels, message):
    with pytest.raises(InputError, match=message):
        split(labels)


@pytest.mark.parametrize(("validation", "test"), [(1.0, 0.0), (-0.1, 0.0), (0.2, 1.5), (float("nan"), 0.0)])
def test_input_error_names_the_fraction_when_it_is_out_of_range(validation, test):
    with pytest.raises(InputError, match=r"`(validation|test)_fraction` must lie in \[0, 1\)"):
        split([0, 0, 1, 1], validation=validation, test=test)


def test_input_error_when_the_fractions_leave_nothing():
    with pytest.raises(InputError, match="must leave something to train on. Received: 0.5 \\+ 0.5"):
        split([0, 0, 1, 1], validation=0.5, test=0.5)
