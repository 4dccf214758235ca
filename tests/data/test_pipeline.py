import gc
import os
import subprocess
import sys
import weakref

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from kerastrain import data, distribute
from kerastrain.data.image_files import pixel_cache
from kerastrain.data.image_files.stores import ImageFiles
from kerastrain.errors import InputError


@pytest.fixture
def examples():
    images = np.tile(np.arange(23, dtype=np.uint8)[:, np.newaxis, np.newaxis, np.newaxis], (1, 4, 5, 3))
    return data.Examples(np.arange(23) % 3, ("a", "b", "c"), images)


def numbers(dataset):
    """Returns the numbers of the examples in each batch; all pixels of image i are i."""
    return [images[:, 0, 0, 0].numpy().astype(int).tolist() for images, _ in dataset]


def jitter(image, seed):
    return image + tf.random.stateless_uniform((), seed)


def test_batches_are_float_images_and_one_hot_labels(examples):
    dataset = data.batches(examples, 10)
    assert dataset.element_spec == (
        tf.TensorSpec((None, 4, 5, 3), tf.float32),
        tf.TensorSpec((None, 3), tf.float32),
    )
    images, labels = next(iter(dataset))
    np.testing.assert_array_equal(images, examples.inputs[:10])
    np.testing.assert_array_equal(labels, np.eye(3)[np.arange(10) % 3])


def test_last_batch_keeps_the_rest_and_the_length_is_known(examples):
    dataset = data.batches(examples, 10, epochs=2)
    assert [len(batch) for batch in numbers(dataset)] == [10, 10, 3, 10, 10, 3]
    assert len(dataset) == 6 == 2 * data.steps_per_epoch(examples, 10)


def test_each_epoch_holds_every_example_once_in_its_own_order(examples):
    batches = numbers(data.batches(examples, 10, shuffle=True, epochs=3))
    epochs = [sum(batches[start : start + 3], []) for start in (0, 3, 6)]
    assert all(sorted(epoch) == list(range(23)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in [*epochs, range(23)]}) == 4


def test_order_depends_on_the_seed_and_not_on_the_batch_size(examples):
    orders = [sum(numbers(data.batches(examples, size, shuffle=True, seed=seed)), []) for size, seed in
              [(10, 5), (4, 5), (10, 6)]]  # fmt: skip
    assert orders[0] == orders[1] != orders[2]


def test_labels_stay_with_their_images_when_shuffled(examples):
    for images, labels in data.batches(examples, 10, shuffle=True):
        np.testing.assert_array_equal(np.argmax(labels, axis=1), images[:, 0, 0, 0].numpy() % 3)


@pytest.mark.parametrize("start_step", [0, 1, 4, 6])
def test_the_run_goes_on_equally_when_it_starts_at_a_later_step(examples, start_step):
    options = {"shuffle": True, "seed": 7, "epochs": 2, "augment": data.augment(jitter)}
    whole = [images.numpy() for images, _ in data.batches(examples, 10, **options)]
    rest = [images.numpy() for images, _ in data.batches(examples, 10, start_step=start_step, **options)]
    assert len(rest) == 6 - start_step
    for ours, expected in zip(rest, whole[start_step:], strict=True):
        np.testing.assert_array_equal(ours, expected)


def test_augmentation_differs_by_position_epoch_and_seed_alone(examples):
    def draws(size, seed):
        dataset = data.batches(examples, size, seed=seed, epochs=2, augment=data.augment(jitter))
        return np.concatenate([images[:, 0, 0, 0].numpy() for images, _ in dataset]) % 1

    np.testing.assert_array_equal(draws(10, 0), draws(23, 0))
    assert len(set(np.round(np.concatenate([draws(10, 0), draws(10, 1)]), 5))) > 85


def white_where_even(image, seed):
    if tf.reduce_all(image[0, 0, 0] % 2 == 0):
        image = tf.ones_like(image) * 255
    return image


def test_a_function_of_the_callers_own_may_branch_on_tensors(examples):
    own = data.augment(white_where_even)

    def whole(images, labels, seeds):
        if tf.reduce_any(images > 1000):
            labels = labels + 1
        return own(images, labels, seeds=seeds)

    plain = np.concatenate([images for images, _ in data.batches(examples, 10)])
    expected = np.where(plain[:, :1, :1, :1] % 2 == 0, 255, plain)
    for augment in (own, whole):
        changed = np.concatenate([images for images, _ in data.batches(examples, 10, augment=augment)])
        np.testing.assert_array_equal(changed, expected)


@pytest.mark.parametrize("place", ["memory", "disk", "none"])
@pytest.mark.parametrize("sampling", ["uniform", "balanced"])
def test_files_skipped_by_start_step_are_not_opened(tmp_path, place, sampling):
    paths = [str(tmp_path / f"{number}.png") for number in range(12)]
    for number, path in enumerate(paths):
        Image.new("RGB", (4, 4), (number, 0, 0)).save(path)
    files = pixel_cache.cache(ImageFiles(paths, (4, 4)), place)
    examples = data.Examples(np.repeat([0, 1], [9, 3]), ("a", "b"), files)
    options = {"shuffle": True, "sampling": sampling, "epochs": 3}
    whole = numbers(data.batches(examples, 5, **options))
    left = set(sum(whole[7:], []))
    assert len(left) < 12
    for number in set(range(12)) - left:
        os.remove(paths[number])  # Opening it would raise.
    again = data.Examples(examples.targets, examples.labels, pixel_cache.cache(ImageFiles(paths, (4, 4)), place))
    assert numbers(data.batches(again, 5, start_step=7, **options)) == whole[7:]


@pytest.fixture
def opened():
    """The paths that are opened while the test runs."""
    paths, is_listening = [], [True]
    # An audit hook cannot be removed.
    sys.addaudithook(lambda event, arguments: paths.append(arguments[0]) if event == "open" and is_listening else None)
    yield paths
    is_listening.clear()


def test_a_second_run_opens_no_image_but_those_of_its_steps(tmp_path, opened):
    for number in range(12):
        path = tmp_path / str(number % 2) / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (4, 4), (number, 0, 0)).save(path)
    options = {"image_size": (4, 4), "validation_fraction": 0, "cache": "memory"}
    data.image_folder(tmp_path, **options)
    opened.clear()
    again = data.image_folder(tmp_path, **options).train
    served = sum(numbers(data.batches(again, 5, shuffle=True, start_step=1)), [])
    assert len(served) == 7
    assert {path for path in opened if str(path).endswith(".png")} == {
        str(tmp_path / str(number % 2) / f"{number}.png") for number in served
    }


def test_balanced_draws_each_class_equally_often_and_keeps_the_steps(examples):
    rare = data.Examples(np.repeat([0, 1, 2], [20, 2, 1]), examples.labels, examples.inputs)
    dataset = data.batches(rare, 10, shuffle=True, sampling="balanced", epochs=4)
    assert len(dataset) == 4 * data.steps_per_epoch(rare, 10)
    batches = list(dataset)
    for start in range(0, 12, 3):
        labels = np.concatenate([labels for _, labels in batches[start : start + 3]])
        assert sorted(labels.sum(axis=0).tolist()) == [7, 8, 8]
    for images, labels in batches:
        np.testing.assert_array_equal(labels, np.eye(3)[rare.targets[images[:, 0, 0, 0].numpy().astype(int)]])


@pytest.mark.parametrize("start_step", [1, 4])
def test_balanced_goes_on_equally_when_it_starts_at_a_later_step(examples, start_step):
    options = {"shuffle": True, "sampling": "balanced", "seed": 7, "epochs": 2}
    whole = numbers(data.batches(examples, 10, **options))
    assert numbers(data.batches(examples, 10, start_step=start_step, **options)) == whole[start_step:]


def test_files_memory_and_disk_give_equal_batches(tmp_path):
    for number in range(12):
        folder = tmp_path / str(number % 2)
        folder.mkdir(exist_ok=True)
        Image.new("RGB", (9, 9), (number, 0, 0)).save(folder / f"{number}.png")
    splits = [data.image_folder(tmp_path, image_size=(4, 4), cache=place) for place in ("none", "memory", "disk")]
    first, *others = (list(data.batches(split.train, 4, shuffle=True, epochs=2)) for split in splits)
    for other in others:
        for (images, labels), (expected, expected_labels) in zip(other, first, strict=True):
            np.testing.assert_array_equal(images, expected)
            np.testing.assert_array_equal(labels, expected_labels)


def test_two_replicas_share_each_global_batch(examples):
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    dataset = data.batches(examples, 10, shuffle=True)
    distributed = []
    for images, _ in strategy.experimental_distribute_dataset(dataset):
        local = strategy.experimental_local_results(images)
        distributed.append([int(value) for replica in local for value in replica[:, 0, 0, 0].numpy()])
    assert distributed == numbers(dataset)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"global_batch_size": 0}, "`global_batch_size` must be >= 1. Received: 0"),
        ({"epochs": 0}, "`epochs` must be >= 1. Received: 0"),
        ({"seed": -1}, r"`seed` must lie in \[0, 2147483647\]. Received: -1"),
        ({"start_step": 4}, r"`start_step` must lie in \[0, 3\], the steps of all epochs. Received: 4"),
    ],
)
def test_input_error_names_the_number_that_is_out_of_range(examples, options, message):
    with pytest.raises(InputError, match=message):
        data.batches(examples, **{"global_batch_size": 10, **options})


@pytest.mark.parametrize(
    ("task", "options", "message"),
    [
        ("single_label", {"sampling": "balance"}, "unknown `sampling` 'balance'. Known: balanced, uniform. Did you"),
        ("single_label", {"sampling": "balanced"}, "'balanced' draws examples in random order only. Add shuffle=True"),
        ("regression", {"sampling": "balanced", "shuffle": True}, "needs one class for each .* task 'regression'"),
    ],
)
def test_input_error_when_the_sampling_does_not_fit(examples, task, options, message):
    if task == "regression":
        examples = data.Examples(np.zeros((23, 1), np.float32), ("age",), examples.inputs, task)
    with pytest.raises(InputError, match=message):
        data.batches(examples, 10, **options)


def test_input_error_when_there_are_no_examples():
    with pytest.raises(InputError, match="`examples` must hold at least one example"):
        data.batches(data.Examples(np.zeros(0, np.int64), ("a", "b"), np.zeros((0, 3))), 4)


@pytest.mark.parametrize("task", ["multi_label", "regression"])
def test_targets_and_weights_stay_with_their_inputs(examples, task):
    targets = np.stack([np.arange(23) % 2, np.arange(23) // 12], axis=1).astype(np.float32)
    examples = data.Examples(targets, ("a", "b"), examples.inputs, task, weights=np.arange(23, dtype=np.float32))
    dataset = data.batches(examples, 10, shuffle=True)
    assert dataset.element_spec[1:] == (tf.TensorSpec((None, 2), tf.float32), tf.TensorSpec((None,), tf.float32))
    for images, values, weights in dataset:
        index = images[:, 0, 0, 0].numpy().astype(int)
        np.testing.assert_array_equal(values, targets[index])
        np.testing.assert_array_equal(weights, index)


LENGTHS = np.arange(23)[::-1] % 7


@pytest.mark.parametrize("start_step", [0, 1, 4])
@pytest.mark.parametrize("sampling", ["uniform", "balanced"])
def test_batches_by_length_are_a_function_of_the_step(examples, sampling, start_step):
    options = {"shuffle": True, "sampling": sampling, "seed": 7, "lengths": LENGTHS}
    whole = numbers(data.batches(examples, 5, epochs=2, **options))
    assert numbers(data.batches(examples, 5, epochs=2, start_step=start_step, **options)) == whole[start_step:]
    assert [data.indices(examples, 5, step, **options).tolist() for step in range(10)] == whole
    if sampling == "uniform":
        assert sorted(sum(whole[:5], [])) == list(range(23))
        assert max(np.ptp(LENGTHS[batch]) for batch in whole[:4]) <= 2


def test_input_error_when_lengths_do_not_fit(examples):
    with pytest.raises(InputError, match=r"one length for each of the 23 examples. Received: shape \(3,\)"):
        data.batches(examples, 5, shuffle=True, lengths=LENGTHS[:3])
    with pytest.raises(InputError, match="`lengths` changes the order of shuffled examples. Add shuffle=True"):
        data.batches(examples, 5, lengths=LENGTHS)


class CountingImages(ImageFiles):
    """A store of noise that counts how often each image is read."""

    def __init__(self, count):
        super().__init__(tuple(map(str, range(count))), (4, 5))
        object.__setattr__(self, "reads", np.zeros(count, int))

    def __getitem__(self, indices):
        np.add.at(self.reads, indices, 1)
        return np.random.default_rng(0).integers(0, 256, self.shape, np.uint8)[indices]


@pytest.mark.parametrize(
    ("names", "reads"),  # of two epochs with batches of 10, 10 and 3, of which the last goes to both workers
    [
        ((), 2 * (10 + 10 + 3 + 3)),
        (("flip", "noise"), 2 * (10 + 10 + 3 + 3)),
        (("mixup", "cutmix"), 2 * (12 + 12 + 3 + 3)),
    ],
)
def test_workers_read_their_own_rows_of_each_batch(names, reads):
    noise = CountingImages(23)
    examples = data.Examples(np.arange(23) % 3, ("a", "b", "c"), noise, weights=np.arange(23, dtype=np.float32))
    options = {"shuffle": True, "epochs": 2, "seed": 3, "augment": data.augment(*names)}
    expected = list(data.batches(examples, 10, **options))
    noise.reads[:] = 0
    workers = [distribute.Devices(0, 3, 4), distribute.Devices(3, 1, 4)]
    parts = [list(data.batches(examples, 10, devices=devices, **options)) for devices in workers]
    assert noise.reads.sum() == reads
    for whole, *parts_of_batch in zip(expected, *parts, strict=True):
        assert [int(size) for _, size in parts_of_batch] == [len(whole[0])] * 2
        for values, *rows in zip(whole, *(rows for rows, _ in parts_of_batch), strict=True):
            joined = np.concatenate(rows)
            np.testing.assert_array_equal(joined, values if len(values) >= 4 else np.concatenate([values] * 2))


def test_an_iterator_ends_without_waiting_for_a_thread_that_tunes():
    assert (
        data.batches(data.Examples(np.zeros(4, int), ("a",), np.zeros((4, 2))), 2).options().autotune.enabled is False
    )


@pytest.mark.parametrize("derived", [lambda dataset: dataset, lambda dataset: dataset.repeat(2).take(5)])
def test_examples_are_released_with_their_data_set_and_not_before(derived):
    examples = data.Examples(np.arange(23) % 3, ("a", "b", "c"), np.zeros((23, 4, 5, 3), np.uint8))
    released = weakref.ref(examples)
    iterator = iter(derived(data.batches(examples, 5)))
    next(iterator)
    del examples
    gc.collect()
    assert released() is not None
    assert len(list(iterator)) == 4
    del iterator
    gc.collect()
    data.batches(data.Examples(np.arange(2), ("a", "b"), np.zeros((2, 4, 5, 3), np.uint8)), 1)
    assert released() is None


@pytest.mark.slow
def test_a_data_set_that_is_broken_off_says_nothing():
    script = """
import numpy as np
from kerastrain import data
examples = data.Examples(np.arange(2000) % 3, ("a", "b", "c"), np.zeros((2000, 32, 32, 3), np.uint8))
for seed in range(50):
    next(iter(data.batches(examples, 4, shuffle=True, seed=seed)))
"""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "0"}
    ended = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert "was deleted before it was read" not in ended.stderr
    assert "Traceback" not in ended.stderr
