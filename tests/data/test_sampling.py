import numpy as np
import pytest

from kerastrain.data import sampling


@pytest.mark.parametrize("count", [1, 2, 3, 7, 64, 1000])
def test_order_is_a_permutation_for_any_count(count):
    assert sorted(sampling.order(count, seed=1, epoch=2).tolist()) == list(range(count))


def test_order_is_the_same_on_every_machine():
    assert sampling.order(8, seed=0, epoch=0).tolist() == [0, 2, 1, 5, 4, 3, 6, 7]


@pytest.mark.parametrize("position", [0, 1, 9])
def test_order_puts_each_example_anywhere(position):
    counts = np.bincount([sampling.order(10, seed=0, epoch=epoch)[position] for epoch in range(2000)], minlength=10)
    assert ((counts - 200) ** 2 / 200).sum() < 27.9  # chi-squared with 9 degrees of freedom, p = 0.001


CLASSES = np.repeat([4, 0, 2], [1, 30, 9])  # 40 examples: 13 or 14 of each class in an epoch


def epochs(count, seed=0):
    return [sampling.balanced(CLASSES, seed=seed, epoch=epoch) for epoch in range(count)]


def test_each_class_comes_equally_often_in_every_epoch():
    for drawn in epochs(30):
        assert sorted(np.bincount(CLASSES[drawn])[[0, 2, 4]].tolist()) == [13, 13, 14]


def test_the_class_that_comes_once_more_changes():
    most = [np.bincount(CLASSES[drawn]).argmax() for drawn in epochs(300)]
    counts = np.bincount(most)[[0, 2, 4]]
    assert ((counts - 100) ** 2 / 100).sum() < 13.8  # chi-squared with 2 degrees of freedom, p = 0.001


def test_within_an_epoch_no_example_comes_twice_more_than_another_of_its_class():
    for drawn in epochs(30):
        counts = np.bincount(drawn, minlength=40)
        for number in (0, 2, 4):
            # An epoch may contain the end of a round and the start of the next, or both around a whole round.
            assert np.ptp(counts[number == CLASSES]) <= 2


def test_examples_of_a_large_class_take_turns_over_the_epochs():
    counts = np.bincount(np.concatenate(epochs(300)), minlength=40)[CLASSES == 0]
    assert counts.sum() == pytest.approx(300 * 40 / 3, rel=0.01)
    assert counts.min() >= 0.9 * counts.mean()
    first = np.concatenate(epochs(2))
    assert len(set(first[CLASSES[first] == 0])) >= 26  # of about 27 draws; drawing with replacement would give about 18


def test_balanced_differs_by_epoch_and_seed_alone():
    same, other = epochs(3), epochs(3, seed=1)
    assert all(np.array_equal(drawn, again) for drawn, again in zip(same, epochs(3), strict=True))
    assert len({drawn.tobytes() for drawn in [*same, *other]}) == 6


def test_balanced_mixes_the_classes():
    positions = np.concatenate([np.flatnonzero(CLASSES[drawn] == 4) for drawn in epochs(100)])
    assert np.mean(positions) == pytest.approx(19.5, abs=1)


def test_balanced_is_the_same_on_every_machine():
    assert sampling.balanced(np.array([0, 0, 0, 0, 0, 1]), seed=0, epoch=0).tolist() == [1, 2, 4, 5, 5, 5]


def test_balanced_over_equal_classes_gives_every_example_once():
    classes = np.tile(np.arange(4), 5)
    for epoch in range(5):
        assert sorted(sampling.balanced(classes, seed=3, epoch=epoch).tolist()) == list(range(20))


def test_balanced_takes_a_large_data_set_in_its_stride():
    classes = np.zeros(1_000_000, np.int64)
    classes[:3] = [1, 2, 2]
    drawn = sampling.balanced(classes, seed=0, epoch=5)
    assert sorted(np.bincount(classes[drawn]).tolist()) == [333333, 333333, 333334]


LENGTHS = np.random.default_rng(0).integers(1, 100, 1003)


def by_length(epoch=0, batch_size=10, window=50):
    order = sampling.order(1003, seed=1, epoch=epoch)
    return order, sampling.by_length(order, LENGTHS, batch_size, seed=1, epoch=epoch, window=window)


def test_by_length_keeps_every_example_and_the_rest_in_the_last_batch():
    order, drawn = by_length()
    assert sorted(drawn.tolist()) == list(range(1003))
    assert drawn[1000:].tolist() == order[1000:].tolist()


def test_by_length_puts_examples_of_similar_lengths_in_a_batch():
    drawn = by_length()[1][:1000].reshape(100, 10)
    spread = LENGTHS[drawn].max(axis=1) - LENGTHS[drawn].min(axis=1)
    assert spread.mean() < 3
    assert len(set(LENGTHS[drawn].max(axis=1)[:20])) > 10


def test_by_length_draws_other_neighbours_in_every_epoch():
    batches = [{frozenset(batch) for batch in by_length(epoch)[1][:1000].reshape(100, 10).tolist()} for epoch in (0, 1)]
    assert len(batches[0] & batches[1]) < 5


def test_by_length_sorts_within_a_window_only():
    order, drawn = by_length(window=2)
    windows = {frozenset(order[start : start + 20].tolist()) for start in range(0, 1000, 20)}
    batches = [frozenset(batch) for batch in drawn[:1000].reshape(100, 10).tolist()]
    assert all(any(batch <= window for window in windows) for batch in batches)


def test_by_length_leaves_fewer_examples_than_a_batch_as_they_are():
    order = np.array([2, 0, 1])
    assert sampling.by_length(order, np.array([3, 1, 2]), 4, seed=0, epoch=0).tolist() == [2, 0, 1]
