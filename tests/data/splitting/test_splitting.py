import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedGroupKFold

from kerastrain.data.splitting.balanced import balanced
from kerastrain.data.splitting.stratified import fold_numbers, shares, split_by_strata
from kerastrain.errors import InputError


def split(classes, keys=None, *, validation=0.2, test=0.1, seed=0, groups=None):
    keys = [f"{index}.jpg" for index in range(len(classes))] if keys is None else keys
    names = [f"class {number}" for number in range(max(classes) + 1)]
    return split_by_strata(np.array(classes), keys, shares(validation, test), names=names, groups=groups, seed=seed)


def test_parts_share_nothing_and_cover_everything():
    parts = split([0] * 50 + [1] * 30)
    assert sorted(np.concatenate(list(parts.values()))) == list(range(80))


def test_each_class_is_divided_in_the_same_proportions():
    classes = np.array([0] * 50 + [1] * 30)
    parts = split(classes)
    counts = {part: np.bincount(classes[indices]).tolist() for part, indices in parts.items()}
    assert counts == {"train": [35, 21], "validation": [10, 6], "test": [5, 3]}


def test_no_class_is_left_out_when_its_share_rounds_to_nothing():
    classes = np.array([0] * 50 + [1] * 3)
    assert all(set(classes[indices]) == {0, 1} for indices in split(classes).values())


def test_part_is_absent_when_its_fraction_is_zero():
    assert list(split([0, 0, 1, 1], validation=0.5, test=0)) == ["train", "validation"]
    assert list(split([0, 0, 1, 1], validation=0, test=0)) == ["train"]


def test_split_is_the_same_for_the_same_seed_and_another_for_another():
    classes = [0] * 40 + [1] * 40
    first, again, other = (split(classes, seed=seed)["validation"].tolist() for seed in (3, 3, 4))
    assert first == again
    assert first != other


def test_split_is_the_same_on_every_machine():
    assert split([0] * 6 + [1] * 6)["validation"].tolist() == [4, 9]


def test_files_stay_in_their_part_when_one_is_added():
    keys = [f"{index}.jpg" for index in range(100)]
    before = {keys[index] for index in split([0] * 100, keys)["train"]}
    after = {[*keys, "new.jpg"][index] for index in split([0] * 101, [*keys, "new.jpg"])["train"]}
    assert len(before - after) <= 2


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ([0, 0, 0, 1], "class 'class 1' has one example, too few for train, validation, test: 1 for test and 1 for"),
        ([0, 0, 0, 1, 1], "class 'class 1' has 2 examples, too few .* leaves none to train on"),
    ],
)
def test_input_error_names_the_class_when_it_is_too_small(classes, message):
    with pytest.raises(InputError, match=message):
        split(classes)


@pytest.mark.parametrize(("names", "hint"), [(["0.5", "2"], True), (["0", "2"], False), (["1.5", "two"], False)])
def test_classes_that_are_measured_numbers_suggest_a_regression(names, hint):
    with pytest.raises(InputError) as caught:
        split_by_strata(np.array([0, 0, 0, 1]), list("abcd"), shares(0.2, 0.1), names=names)
    assert (
        str(caught.value).endswith("All 2 classes are numbers: to predict numbers, set data.task=regression.") is hint
    )


@pytest.mark.parametrize(("validation", "test"), [(1.0, 0.0), (-0.1, 0.0), (0.2, 1.5), (float("nan"), 0.0)])
def test_input_error_names_the_fraction_when_it_is_out_of_range(validation, test):
    with pytest.raises(InputError, match=r"`(validation|test)_fraction` must lie in \[0, 1\)"):
        split([0, 0, 1, 1], validation=validation, test=test)


def test_input_error_when_the_fractions_leave_nothing():
    with pytest.raises(InputError, match="must leave something to train on. Received: 0.5 \\+ 0.5"):
        split([0, 0, 1, 1], validation=0.5, test=0.5)


rows = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 12), st.integers(0, 60)), min_size=1, max_size=80)


@given(rows, st.sampled_from([(0.2, 0.1), (0.5, 0.0), (0.1, 0.4)]), st.booleans(), st.integers(0, 5))
@settings(deadline=None)
def test_every_row_comes_into_one_part_and_what_belongs_together_stays(rows, fractions, in_groups, seed):
    classes, groups, keys = map(np.array, zip(*rows, strict=True))
    classes = np.unique(classes, return_inverse=True)[1]
    groups, keys = groups.astype(str) if in_groups else None, [str(key) for key in keys]
    try:
        parts = split(classes, keys, validation=fractions[0], test=fractions[1], seed=seed, groups=groups)
    except InputError:
        return
    assert sorted(np.concatenate(list(parts.values()))) == list(range(len(rows)))
    assert all(set(classes[indices]) == set(classes) for indices in parts.values())
    part_of = {index: part for part, indices in parts.items() for index in indices}
    together = groups if in_groups else [f"{label} {key}" for label, key in zip(classes, keys, strict=True)]
    assert len(set(zip(together, part_of.values(), strict=False))) >= len(parts)
    assert len({(together[index], part) for index, part in part_of.items()}) == len(set(together))
    again = split(classes, keys, validation=fractions[0], test=fractions[1], seed=seed, groups=groups)
    assert all((parts[part] == again[part]).all() for part in parts)


@given(rows, st.integers(2, 5), st.booleans())
@settings(deadline=None)
def test_every_row_is_held_out_once_and_what_belongs_together_stays(rows, count, in_groups):
    classes, groups, keys = map(np.array, zip(*rows, strict=True))
    classes = np.unique(classes, return_inverse=True)[1]
    groups, keys = groups.astype(str) if in_groups else None, [str(key) for key in keys]
    names = [str(number) for number in range(classes.max() + 1)]
    try:
        folds = fold_numbers(classes, keys, count, names=names, groups=groups)
    except InputError:
        return
    assert set(folds) == set(range(count))
    together = groups if in_groups else [f"{label} {key}" for label, key in zip(classes, keys, strict=True)]
    assert len(set(zip(together, folds.tolist(), strict=True))) == len(set(together))


@pytest.mark.parametrize("many_sizes", [False, True])
def test_grouped_folds_are_as_even_as_those_of_scikit_learn(many_sizes):
    def unevenness(folds):
        counts = np.stack([np.bincount(classes[folds == fold], minlength=4) for fold in range(5)])
        return np.abs(counts * 5 / np.bincount(classes) - 1).max()

    ours, theirs = [], []
    for trial in range(10):
        random = np.random.default_rng(trial)
        groups = (random.pareto(1.5, 1500) * 5).astype(int) % 60 if many_sizes else random.integers(0, 60, 1500)
        class_shares = random.dirichlet([0.7] * 4, 60)
        classes = np.array([random.choice(4, p=class_shares[group]) for group in groups])
        keys = [str(index) for index in range(len(classes))]
        ours.append(unevenness(fold_numbers(classes, keys, 5, names="abcd", groups=groups.astype(str))))
        reference = StratifiedGroupKFold(5, shuffle=True, random_state=trial).split(classes, classes, groups)
        folds = np.zeros(len(classes), int)
        for fold, (_, held_out) in enumerate(reference):
            folds[held_out] = fold
        theirs.append(unevenness(folds))
    assert np.mean(ours) < 1.1 * np.mean(theirs)


def test_many_labels_are_shared_out_rare_ones_too():
    random = np.random.default_rng(0)
    labels = (random.random((2000, 8)) < [0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5]).astype(np.float32)
    keys = [str(index) for index in range(2000)]
    parts = split_by_strata(labels, keys, shares(0.2, 0.1), names="abcdefgh")
    for part, share in (("train", 0.7), ("validation", 0.2), ("test", 0.1)):
        assert abs(len(parts[part]) - share * 2000) <= 2
        np.testing.assert_allclose(labels[parts[part]].sum(axis=0), share * labels.sum(axis=0), atol=1.5)


def test_a_label_that_occurs_once_is_trained_on():
    labels = np.zeros((30, 2), np.float32)
    labels[:15, 0] = labels[7, 1] = 1
    assert 7 in split_by_strata(labels, [str(index) for index in range(30)], shares(0.2, 0.1), names="ab")["train"]


@given(st.lists(st.lists(st.booleans(), min_size=3, max_size=3), min_size=3, max_size=30), st.integers(0, 3))
@settings(deadline=None)
def test_no_part_is_empty_however_rare_the_labels_are(labels, seed):
    keys = [str(index) for index in range(len(labels))]
    parts = split_by_strata(np.array(labels, np.float32), keys, shares(0.2, 0.1), names="abc", seed=seed)
    assert sorted(np.concatenate(list(parts.values()))) == list(range(len(labels)))
    assert all(len(indices) for indices in parts.values())


def test_balanced_gives_each_part_its_share():
    assert np.bincount(balanced(np.ones((100, 1)), [0.7, 0.2, 0.1], np.arange(100))).tolist() == [70, 20, 10]


def test_folds_hold_each_class_in_its_share():
    classes = np.array([0] * 13 + [1] * 7)
    folds = fold_numbers(classes, [str(index) for index in range(20)], 5, names="ab")
    assert np.bincount(folds).tolist() == [4] * 5
    counts = np.stack([np.bincount(classes[folds == fold]) for fold in range(5)])
    assert counts.max(axis=0).tolist() == [3, 2]
    assert counts.min(axis=0).tolist() == [2, 1]


def test_folds_tell_a_class_that_is_too_small_and_a_wrong_count():
    with pytest.raises(InputError, match="class 'b' has 2 examples, too few for 3 folds"):
        fold_numbers(np.array([0, 0, 0, 1, 1]), "abcde", 3, names="ab")
    with pytest.raises(InputError, match="`folds` must be at least 2. Received: 1"):
        fold_numbers(np.array([0, 0]), "ab", 1, names="a")


def test_a_class_in_one_group_alone_is_told():
    groups = np.array(["p1", "p2", "p3", "p4", "p7", "p7"])
    with pytest.raises(InputError, match=r"class 'class 1' occurs in only one group \('p7'\), too few for train"):
        split([0, 0, 0, 0, 1, 1], groups=groups)


def test_too_few_groups_or_examples_are_told():
    labels = np.ones((2, 1), np.float32)
    with pytest.raises(InputError, match="2 examples are too few for train, validation, test: none is left for"):
        split_by_strata(labels, "ab", shares(0.2, 0.1), names="a")
